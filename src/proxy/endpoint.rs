//! Where a cluster is, and with which credential it is spoken to.
//!
//! A [`Target`] is the identity of connections: host, port, server name, trust. An [`Endpoint`] is a
//! target with the credential of the moment. Credentials are renewed while connections live on, so a pool
//! belongs to a target, and a request takes the authorization from the endpoint it was routed to.
//!
//! What could go wrong: a connection that outlives a change of URL or CA (the registry then makes a new
//! target: pools compare with [`Endpoint::same_target`]), or a token in a log (no `Debug` shows it).

use super::dial::{self, DialError, Reach};
use http::{HeaderValue, Uri, uri::Authority};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName, pem, pem::PemObject,
    },
};
use std::{fmt, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Port of a server URL that names none.
const HTTPS: u16 = 443;

/// Why a server URL, a CA or a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// Not `https://host[:port]`.
    #[error("the server must be a URL of the form https://host:port, not {0:?}")]
    Url(String),
    /// The URL carries more than scheme, host, port and (where it is allowed) a path.
    #[error("the server URL {0:?} must hold no user name, query or fragment")]
    UrlParts(String),
    /// Not a name or an address.
    #[error("{name:?} is not a host name or an IP address")]
    Name {
        /// What was written.
        name: String,
        /// Why.
        source: InvalidDnsNameError,
    },
    /// No PEM.
    #[error("the CA is not PEM: {0}")]
    CaPem(pem::Error),
    /// PEM, but without a certificate.
    #[error("the CA holds no certificate")]
    CaEmpty,
    /// A certificate that rustls cannot use as a root.
    #[error("a certificate of the CA cannot be used")]
    Ca(#[source] rustls::Error),
    /// No PEM, or not one key and its certificates.
    #[error("the client certificate or its key is not PEM: {0}")]
    ClientPem(pem::Error),
    /// Key and certificate do not belong together, or a kind of key that is not known.
    #[error("the client certificate or its key cannot be used")]
    Client(#[source] rustls::Error),
    /// A token with bytes that no header can hold.
    #[error("the token holds characters that no token has")]
    Token,
}

/// Host and port of a server URL, and the path behind them (without the slash at its end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// 443 if the URL names none.
    pub port: u16,
    /// `""`, or `/path`.
    pub path: String,
}

impl ServerUrl {
    /// Reads `https://host[:port][/path]`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Url(text.to_owned());
        // Hyper's Uri drops a fragment silently: it must not be lost without a word.
        if text.contains(['#', '?', '@']) {
            return Err(EndpointError::UrlParts(text.to_owned()));
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(wrong)?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if text.ends_with(':') || uri.port_u16() == Some(0) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(HTTPS),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// `host:port`, an IPv6 address in brackets: for messages.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }

    /// The `Host` header: the port is left out if it is the scheme's own (RFC 9110, 7.2).
    pub fn authority(&self) -> String {
        let mut address = self.address();
        if self.port == HTTPS {
            address.truncate(address.len() - ":443".len());
        }
        address
    }
}

/// A name or an address that a certificate is checked against.
pub fn server_name(name: &str) -> Result<ServerName<'static>, EndpointError> {
    ServerName::try_from(name.to_owned()).map_err(|source| EndpointError::Name {
        name: name.to_owned(),
        source,
    })
}

/// The one crypto provider.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The certificates of a PEM text as roots; no text: the public web PKI.
pub fn roots(ca: Option<&str>) -> Result<RootCertStore, EndpointError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(EndpointError::CaPem)?;
        roots.add(certificate).map_err(EndpointError::Ca)?;
    }
    // No root at all would refuse every server: say so here, where the mistake is (S6).
    if roots.is_empty() {
        return Err(EndpointError::CaEmpty);
    }
    Ok(roots)
}

/// A client certificate and its key.
pub struct ClientCertificate {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// Reads both from PEM texts.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, EndpointError> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(EndpointError::ClientPem)?;
        if chain.is_empty() {
            return Err(EndpointError::ClientPem(pem::Error::NoItemsFound));
        }
        let key =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(EndpointError::ClientPem)?;
        Ok(Self { chain, key })
    }
}

/// Which protocols a connection offers (ALPN).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// `h2`, then `http/1.1`: ordinary requests.
    Http2Or1,
    /// `http/1.1` alone: upgrades, which HTTP/2 has no word for.
    Http1,
}

/// Where a cluster is and whom to trust there: the identity of a connection.
pub struct Target {
    name: Box<str>,
    url: ServerUrl,
    authority: HeaderValue,
    uri_authority: Authority,
    server_name: ServerName<'static>,
    http2_or_1: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
    reach: Reach,
}

impl Target {
    /// `name` is the cluster's, for logs. `config` comes without ALPN; both variants are made here.
    pub fn new(
        name: &str,
        url: ServerUrl,
        tls_server_name: Option<&str>,
        config: ClientConfig,
        reach: Reach,
    ) -> Result<Self, EndpointError> {
        let server_name = server_name(tls_server_name.unwrap_or(&url.host))?;
        let authority = HeaderValue::try_from(url.authority())
            .map_err(|_| EndpointError::Url(url.authority()))?;
        let uri_authority = Authority::try_from(url.authority())
            .map_err(|_| EndpointError::Url(url.authority()))?;
        let mut http1 = config;
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2_or_1 = http1.clone();
        http2_or_1.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            name: name.into(),
            url,
            authority,
            uri_authority,
            server_name,
            http2_or_1: Arc::new(http2_or_1),
            http1: Arc::new(http1),
            reach,
        })
    }

    /// The cluster's name, for logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `Host` header of requests to it.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The same as a part of a URI: `:authority`.
    pub fn uri_authority(&self) -> &Authority {
        &self.uri_authority
    }

    /// Host, port and path.
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Opens a TLS connection; bounded by the constants of [`dial`]. Which protocol was agreed on says
    /// `stream.get_ref().1.alpn_protocol()` (none: HTTP/1.1).
    pub async fn connect(&self, protocols: Protocols) -> Result<TlsStream<TcpStream>, DialError> {
        let config = match protocols {
            Protocols::Http2Or1 => &self.http2_or_1,
            Protocols::Http1 => &self.http1,
        };
        let stream = dial::tcp(&self.url.host, self.url.port, self.reach).await?;
        let address = self.url.address();
        dial::tls(
            stream,
            &address,
            self.server_name.clone(),
            Arc::clone(config),
        )
        .await
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("name", &self.name)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// A target and the credential of the moment. Cheap to clone.
#[derive(Clone)]
pub struct Endpoint {
    target: Arc<Target>,
    authorization: HeaderValue,
}

impl Endpoint {
    /// `token` becomes `Authorization: Bearer …`, marked sensitive.
    pub fn new(target: Arc<Target>, token: &str) -> Result<Self, EndpointError> {
        Ok(Self {
            target,
            authorization: bearer(token)?,
        })
    }

    /// Where it is.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// `Bearer …`, marked sensitive. Written last, by the outbound stage alone.
    pub fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// Whether connections opened for the one may carry requests of the other.
    pub fn same_target(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.target, &other.target)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// `Bearer <token>` as a header value that no log shows.
pub fn bearer(token: &str) -> Result<HeaderValue, EndpointError> {
    // The alphabet of RFC 6750, 2.1 (b68token): what cannot be in a token cannot be in the header.
    let good = |c: u8| c.is_ascii_alphanumeric() || b"-._~+/=".contains(&c);
    if token.is_empty() || !token.bytes().all(good) {
        return Err(EndpointError::Token);
    }
    let mut value =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| EndpointError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// TLS towards a server whose certificate chains to `roots`: TLS 1.2 and 1.3, optionally with a client
/// certificate.
pub fn client_config(
    roots: RootCertStore,
    client: Option<ClientCertificate>,
) -> Result<ClientConfig, EndpointError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(EndpointError::Client)?
        .with_root_certificates(roots);
    match client {
        Some(ClientCertificate { chain, key }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(EndpointError::Client),
        None => Ok(builder.with_no_client_auth()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls_are_https_with_host_and_port() {
        let url = |text| ServerUrl::parse(text).unwrap();
        assert_eq!(url("https://a.example").authority(), "a.example");
        assert_eq!(url("https://a.example").address(), "a.example:443");
        assert_eq!(url("https://A.example:6443/").authority(), "a.example:6443");
        assert_eq!(url("https://[fd00::1]:6443").authority(), "[fd00::1]:6443");
        assert_eq!(url("https://gw/k8s/clusters/c/").path, "/k8s/clusters/c");
        for bad in [
            "http://a.example",
            "a.example:6443",
            "https://",
            "https://a:0",
            "https://a:",
            "https://u:p@a",
            "https://a/?x=1",
            "https://a/#x",
            "https://a b",
            "",
        ] {
            assert!(ServerUrl::parse(bad).is_err(), "{bad}");
        }
    }

    // S6: an unreadable or empty CA never means "trust everybody", and says what is wrong.
    #[test]
    fn an_empty_or_broken_ca_is_a_mistake() {
        assert!(matches!(roots(Some("")), Err(EndpointError::CaEmpty)));
        assert!(matches!(roots(Some("hello")), Err(EndpointError::CaEmpty)));
        let broken = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert!(roots(Some(broken)).is_err());
        assert!(!roots(None).unwrap().is_empty());
    }

    #[test]
    fn tokens_never_smuggle_header_bytes_and_never_show() {
        for bad in ["", "a b", "a\r\nX: y", "a\n", "é"] {
            assert!(matches!(bearer(bad), Err(EndpointError::Token)), "{bad:?}");
        }
        let value = bearer("abc.def-_=").unwrap();
        assert!(value.is_sensitive());
        assert!(!format!("{value:?}").contains("abc"));
    }
}
