//! How the commands speak to a server: the gateway, or (once, by `cluster add`) an API server.
//!
//! TLS is always verified: against a CA file, against the certificate that `--ca-sum` names, or against
//! the public web PKI. What a person sees of an error says what to do about it.

use super::pin::{PinnedVerifier, SumMismatch};
use crate::{
    clusters::client::{Client, ClientError},
    proxy::{
        dial::{DialError, Reach},
        endpoint::{self, ClientCertificate, EndpointError, ServerUrl, Target},
    },
};
use bytes::Bytes;
use http::{Method, StatusCode};
use rustls::{CertificateError, ClientConfig};
use serde::{Serialize, de::DeserializeOwned};
use std::{io::ErrorKind, sync::Arc, time::Duration};

pub use super::pin::CaSum;
pub use crate::clusters::client::{APPLY, Answer, JSON, Refusal};

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// The authorities that browsers trust.
    #[default]
    WebPki,
    /// PEM certificates.
    Ca(String),
    /// The certificate with this sum, which the server must present.
    Sum(CaSum),
}

/// How to speak to a server.
#[derive(Default)]
pub struct Options<'a> {
    /// Whom to trust.
    pub trust: Trust,
    /// Sent as a bearer token.
    pub token: Option<&'a str>,
    /// Presented in the TLS handshake.
    pub certificate: Option<ClientCertificate>,
    /// Name to check the server's certificate against, if not the URL's host.
    pub tls_server_name: Option<&'a str>,
    /// Bound on the wait for an answer; `client::ANSWER_TIMEOUT` if none.
    pub limit: Option<Duration>,
}

/// Why a command got no answer, in words for a person.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The options make no sense.
    #[error("{}", with_sources(.0))]
    Options(#[from] EndpointError),
    /// The request failed.
    #[error("{}", advice(.0))]
    Request(#[from] ClientError),
}

impl HttpError {
    /// The answer, if the server answered and said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Options(_) => None,
            Self::Request(error) => error.refusal(),
        }
    }

    /// The status that the server refused with.
    pub fn code(&self) -> Option<StatusCode> {
        self.refusal().map(|refusal| refusal.code)
    }
}

/// One server, as a command sees it. Paths start with a slash and come after the URL's own path.
pub struct HttpClient {
    client: Client,
    pin: Option<Arc<PinnedVerifier>>,
}

impl HttpClient {
    /// `url` is `https://host[:port][/path]`.
    pub fn new(url: &str, options: Options<'_>) -> Result<Self, HttpError> {
        let url = ServerUrl::parse(url)?;
        let mut pin = None;
        let config = match options.trust {
            Trust::WebPki => endpoint::client_config(endpoint::roots(None)?, options.certificate)?,
            Trust::Ca(ca) => {
                endpoint::client_config(endpoint::roots(Some(&ca))?, options.certificate)?
            }
            Trust::Sum(sum) => {
                let verifier = pin.insert(Arc::new(PinnedVerifier::new(sum)));
                pinned_config(Arc::clone(verifier), options.certificate)?
            }
        };
        let authorization = options.token.map(endpoint::bearer).transpose()?;
        let name = url.host.clone();
        // A person's command goes where the person says; the guard is the gateway's.
        let target = Target::new(&name, url, options.tls_server_name, config, Reach::Anywhere)?;
        let mut client = Client::new(Arc::new(target), authorization);
        if let Some(limit) = options.limit {
            client = client.with_limit(limit);
        }
        Ok(Self { client, pin })
    }

    /// PEM of the certificate that [`Trust::Sum`] named, after the first good request.
    pub fn found_ca(&self) -> Option<&str> {
        self.pin.as_deref().and_then(PinnedVerifier::found)
    }

    /// GET, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, HttpError> {
        Ok(self.client.get(path).await?)
    }

    /// GET of another JSON form than the plain one: a Table, say.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<T, HttpError> {
        Ok(self.client.get_as(path, accept).await?)
    }

    /// POST of JSON, answered with JSON.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, HttpError> {
        Ok(self.client.post(path, body).await?)
    }

    /// PUT of JSON, answered with JSON.
    pub async fn put<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, HttpError> {
        Ok(self.client.put(path, body).await?)
    }

    /// DELETE; the answer's body is dropped.
    pub async fn delete(&self, path: &str) -> Result<(), HttpError> {
        Ok(self.client.delete(path).await?)
    }

    /// Any request with a whole body (content type, bytes). Err unless the status is 200 to 299.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, HttpError> {
        Ok(self.client.send(method, path, body).await?)
    }

    /// The client below, for what works on any API server (`clusters::kube`).
    pub fn client(&self) -> &Client {
        &self.client
    }
}

fn pinned_config(
    verifier: Arc<PinnedVerifier>,
    certificate: Option<ClientCertificate>,
) -> Result<ClientConfig, EndpointError> {
    let builder = ClientConfig::builder_with_provider(endpoint::provider())
        .with_safe_default_protocol_versions()
        .map_err(EndpointError::Client)?
        // Stricter than usual, not looser: one root alone, which must be presented (see `pin`).
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match certificate {
        Some(ClientCertificate { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(EndpointError::Client),
        None => Ok(builder.with_no_client_auth()),
    }
}

/// A sentence, and what to do about it where that is known.
fn advice(error: &ClientError) -> String {
    match error {
        ClientError::Dial(dial) => dial_advice(dial).unwrap_or_else(|| error.chain()),
        ClientError::Refused(_)
        | ClientError::Broken { .. }
        | ClientError::Timeout { .. }
        | ClientError::TooLarge { .. }
        | ClientError::Shape { .. }
        | ClientError::Request { .. } => error.chain(),
    }
}

fn dial_advice(error: &DialError) -> Option<String> {
    if let DialError::Connect { address, source } = error
        && source.kind() == ErrorKind::ConnectionRefused
    {
        return Some(format!(
            "nothing listens at {address} (connection refused): is it running, and is the address right?"
        ));
    }
    let DialError::Tls { address, .. } = error else {
        return None;
    };
    let tls = error.tls()?;
    if let rustls::Error::InvalidCertificate(wrong) = tls {
        return certificate_advice(address, wrong);
    }
    matches!(tls, rustls::Error::InvalidMessage(_))
        .then(|| format!("{address} does not speak TLS: is the port right?"))
}

fn certificate_advice(address: &str, wrong: &CertificateError) -> Option<String> {
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        NotValidYet, NotValidYetContext, Other, UnknownIssuer,
    };
    let whose = format!("the certificate of {address}");
    if let Other(other) = wrong {
        let mismatch: &SumMismatch = other.0.downcast_ref()?;
        return Some(format!("{address}: {mismatch}"));
    }
    // A bad signature is what an authority of the same name with another key gives: a state folder that
    // was made anew, say.
    if matches!(wrong, UnknownIssuer | BadSignature) {
        return Some(format!(
            "{whose} is not signed by a trusted authority: give the right one by --ca FILE, or its \
             SHA-256 by --ca-sum"
        ));
    }
    if matches!(wrong, NotValidForName | NotValidForNameContext { .. }) {
        return Some(format!("{whose} is for another name: {wrong}"));
    }
    if matches!(wrong, Expired | ExpiredContext { .. }) {
        return Some(format!("{whose} has expired: {wrong}"));
    }
    matches!(wrong, NotValidYet | NotValidYetContext { .. })
        .then(|| format!("{whose} is not valid yet (is a clock wrong?): {wrong}"))
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        line.push_str(": ");
        line.push_str(&source.to_string());
        next = source.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::{ServerConfig, pki_types::PrivateKeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that answers every request with one text, and the CA it is under.
    struct Server {
        url: String,
        ca: String,
        sum: CaSum,
    }

    /// `name` is what its certificate is for; it presents its CA too.
    async fn serve(name: &str, answer: &str) -> Server {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = ca_params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca_params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let chain = vec![leaf.der().clone(), ca.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(endpoint::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let answer = answer.to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = vec![0; 4096];
                if stream.read(&mut request).await.is_ok() {
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        let sum = CaSum::of(ca.der());
        let ca = ca.pem();
        Server { url, ca, sum }
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
    }

    async fn get(url: &str, trust: Trust) -> Result<serde_json::Value, HttpError> {
        let options = Options {
            trust,
            ..Options::default()
        };
        HttpClient::new(url, options)?.get("/x").await
    }

    #[tokio::test]
    async fn a_ca_file_and_a_ca_sum_are_trusted_and_the_sum_yields_the_ca() {
        let server = serve("127.0.0.1", &answer("200 OK", "", "{\"a\":1}")).await;
        let good = get(&server.url, Trust::Ca(server.ca.clone()))
            .await
            .unwrap();
        assert_eq!(good, serde_json::json!({"a": 1}));

        let options = Options {
            trust: Trust::Sum(server.sum),
            ..Options::default()
        };
        let client = HttpClient::new(&server.url, options).unwrap();
        assert_eq!(client.found_ca(), None);
        let good: serde_json::Value = client.get("/x").await.unwrap();
        assert_eq!(good, serde_json::json!({"a": 1}));
        let found = client.found_ca().unwrap();
        assert_eq!(found.replace('\r', ""), server.ca.replace('\r', ""));
    }

    // CVE-2025-67601: a CA is never trusted because the server says so.
    #[tokio::test]
    async fn a_stranger_is_refused_with_advice() {
        let server = serve("127.0.0.1", &answer("200 OK", "", "{}")).await;
        let other = serve("127.0.0.1", "").await;
        let wrong_sum = get(&server.url, Trust::Sum(other.sum)).await.unwrap_err();
        let text = wrong_sum.to_string();
        assert!(text.contains(&server.sum.to_string()), "{text}");
        assert!(text.contains(&other.sum.to_string()), "{text}");
        for trust in [Trust::WebPki, Trust::Ca(other.ca)] {
            let text = get(&server.url, trust).await.unwrap_err().to_string();
            assert!(text.contains("not signed by a trusted authority"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_sum_does_not_excuse_a_wrong_name() {
        let server = serve("gateway.example", &answer("200 OK", "", "{}")).await;
        for trust in [Trust::Sum(server.sum), Trust::Ca(server.ca.clone())] {
            let text = get(&server.url, trust).await.unwrap_err().to_string();
            assert!(text.contains("is for another name"), "{text}");
            assert!(text.contains("gateway.example"), "{text}");
        }
    }

    #[tokio::test]
    async fn refusals_are_sentences_with_the_request_id() {
        let status = Status::failure(403, None, "you may not");
        let body = String::from_utf8(status.to_json()).unwrap();
        let server = serve(
            "127.0.0.1",
            &answer("403 F", "palisade-request-id: r-1\r\n", &body),
        )
        .await;
        let error = get(&server.url, Trust::Ca(server.ca)).await.unwrap_err();
        assert_eq!(error.to_string(), "you may not (request id r-1)");
        assert_eq!(error.code(), Some(StatusCode::FORBIDDEN));
    }

    // P10
    #[tokio::test]
    async fn redirects_are_not_followed() {
        let server = serve(
            "127.0.0.1",
            &answer("302 F", "location: https://evil/\r\n", ""),
        )
        .await;
        let text = get(&server.url, Trust::Ca(server.ca))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("302") && text.contains("not followed"),
            "{text}"
        );
    }

    // P14
    #[tokio::test]
    async fn an_endless_answer_is_cut_at_the_bound() {
        let body = "x".repeat(clusters_bound() + 1);
        let server = serve("127.0.0.1", &answer("200 OK", "", &body)).await;
        let text = get(&server.url, Trust::Ca(server.ca))
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("larger than 16 MiB"), "{text}");
    }

    fn clusters_bound() -> usize {
        crate::clusters::client::MAX_ANSWER
    }

    #[tokio::test]
    async fn a_closed_port_says_so() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        drop(listener);
        let text = get(&url, Trust::WebPki).await.unwrap_err().to_string();
        assert!(text.contains("nothing listens at 127.0.0.1"), "{text}");
    }
}
