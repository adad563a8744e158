//! The way to the collector: one connection that is kept, HTTP/1.1, one message at a time.

use super::super::{Settings, TraceError};
use crate::observe::metrics::labels::SpanEnd;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header, response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{error::Error, path::Path, sync::Arc, time::Duration};
use tokio::{net::TcpStream, task::AbortHandle};
use tokio_rustls::TlsConnector;

/// An answer says which spans were refused, in a few hundred bytes.
const ANSWER: usize = 64 << 10;
/// Where a collector takes traces (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

type AnyError = Box<dyn Error + Send + Sync>;

/// Why a message did not arrive.
pub(super) struct Failure {
    /// For the log; nothing of the message.
    pub(super) problem: String,
    /// Whether the same message may arrive a little later.
    pub(super) may_pass: bool,
    /// When the collector wants to be asked again.
    pub(super) after: Option<Duration>,
    /// What becomes of its spans.
    pub(super) end: SpanEnd,
}

impl Failure {
    fn lost(problem: String) -> Self {
        Self {
            problem,
            may_pass: true,
            after: None,
            end: SpanEnd::NotSent,
        }
    }

    /// An answer that is no success; the specification names those after which to try again.
    fn answered(status: StatusCode, headers: &HeaderMap) -> Self {
        let may_pass = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let after = headers.get(header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            problem: format!("it answers {status}"),
            may_pass,
            after: after.map(Duration::from_secs),
            end: if may_pass {
                SpanEnd::NotSent
            } else {
                SpanEnd::Refused
            },
        }
    }
}

/// The collector, and the connection to it.
pub(super) struct Collector {
    url: String,
    /// For dialling.
    address: String,
    host: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    open: Option<Connection>,
}

/// One connection. Its task ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Collector {
    pub(super) fn new(settings: &Settings) -> Result<Self, TraceError> {
        let wrong = || TraceError::Endpoint(settings.endpoint.clone());
        let uri: Uri = settings.endpoint.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => {
                let name = authority.host().trim_matches(['[', ']']).to_owned();
                let name = ServerName::try_from(name).map_err(|_| wrong())?;
                let connector = TlsConnector::from(Arc::new(client(settings.ca_file.as_deref())?));
                (Some((connector, name)), 443)
            }
            Some("http") => (None, 80),
            Some(_) | None => return Err(wrong()),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self {
            url: format!("{}{PATH}", settings.endpoint),
            address: format!("{}:{port}", authority.host()),
            host: HeaderValue::try_from(authority.as_str()).map_err(|_| wrong())?,
            tls,
            open: None,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// A try took too long; what became of its message nobody knows.
    pub(super) fn too_slow(&mut self) -> Failure {
        self.open = None;
        Failure::lost("it does not answer in time".to_owned())
    }

    /// Sends a message; says how many of its spans the collector refused.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<u64, Failure> {
        let lost = |error: AnyError| Failure::lost(chain(&*error));
        let (head, body) = self.exchange(message).await.map_err(lost)?;
        if !head.status.is_success() {
            return Err(Failure::answered(head.status, &head.headers));
        }
        // A collector may answer with nothing, or with JSON: a success all the same.
        let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
        let refused = answer.partial_success.map_or(0, |part| part.rejected_spans);
        Ok(u64::try_from(refused).unwrap_or(0))
    }

    async fn exchange(&mut self, message: Bytes) -> Result<(response::Parts, Bytes), AnyError> {
        let mut connection = match self.open.take() {
            Some(connection) if connection.sender.is_ready() => connection,
            Some(_) | None => self.connect().await?,
        };
        let request = Request::post(PATH)
            .header(header::HOST, &self.host)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(message))?;
        let answer = connection.sender.send_request(request).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await?.to_bytes();
        self.open = Some(connection);
        Ok((head, body))
    }

    async fn connect(&self) -> Result<Connection, AnyError> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => begin(TokioIo::new(stream)).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                begin(TokioIo::new(stream)).await
            }
        }
    }
}

async fn begin<I>(io: I) -> Result<Connection, AnyError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await?;
    // How it ends shows at the next message.
    let driver = tokio::spawn(connection).abort_handle();
    Ok(Connection { sender, driver })
}

/// An error with its sources: hyper's own text does not say why.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn client(ca_file: Option<&Path>) -> Result<ClientConfig, TraceError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => add(file, &mut roots).map_err(|why| TraceError::Ca {
            file: file.to_owned(),
            why,
        })?,
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn add(file: &Path, roots: &mut RootCertStore) -> Result<(), String> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
    for certificate in found {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    Ok(())
}
