//! Clients that send exactly what a test says, over TLS.

use super::{browser::encoded, gate::Gate};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use std::{sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longest that a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The message of a `metav1.Status`, less the request's id.
    pub(crate) fn message(&self) -> String {
        let json = self.json();
        assert_eq!(json["kind"], "Status", "{json}");
        let message = json["message"].as_str().unwrap().to_owned();
        message.split(" (request ").next().unwrap().to_owned()
    }
}

/// A TLS connection to the gate with this ALPN list.
pub(crate) async fn tls(gate: &Gate, alpn: &[&str]) -> TlsStream<TcpStream> {
    tls_to(&gate.address.to_string(), "localhost", &gate.ca_pem, alpn).await
}

/// The same from an address of this machine that is not the usual one: any of 127.0.0.0/8.
async fn tls_from(from: std::net::Ipv4Addr, gate: &Gate) -> TlsStream<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let stream = socket.connect(gate.address).await.unwrap();
    tls_over(stream, "localhost", &gate.ca_pem, &["http/1.1"]).await
}

/// The same to any server, by the name that it calls itself.
pub(crate) async fn tls_to(
    address: &str,
    name: &str,
    ca_pem: &str,
    alpn: &[&str],
) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    tls_over(stream, name, ca_pem, alpn).await
}

async fn tls_over(
    stream: TcpStream,
    name: &str,
    ca_pem: &str,
    alpn: &[&str],
) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let _ = roots.add(certificate.unwrap());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let name = name.to_owned().try_into().unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// Sends one request over HTTP/1.1 and reads the whole answer.
pub(crate) async fn h1(gate: &Gate, request: Request<Full<Bytes>>) -> Answer {
    h1_over(tls(gate, &["http/1.1"]).await, request).await
}

/// The same from another address of 127.0.0.0/8.
pub(crate) async fn h1_from(
    from: std::net::Ipv4Addr,
    gate: &Gate,
    request: Request<Full<Bytes>>,
) -> Answer {
    h1_over(tls_from(from, gate).await, request).await
}

/// Sends a form from there, as a terminal does.
pub(crate) async fn post_form(
    from: std::net::Ipv4Addr,
    gate: &Gate,
    path: &str,
    fields: &[(&str, &str)],
) -> Answer {
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(encoded(fields))))
        .unwrap();
    h1_from(from, gate, request).await
}

pub(crate) async fn h1_over(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(false)
        .handshake(io)
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request))
        .await
        .unwrap();
    whole(response.unwrap()).await
}

/// The same over HTTP/2; the request's URI must be absolute.
pub(crate) async fn h2(gate: &Gate, request: Request<Full<Bytes>>) -> Answer {
    send(tls(gate, &["h2"]).await, request).await
}

/// The same to whatever server the request's URI names, past any gate.
pub(crate) async fn h2_past(ca_pem: &str, request: Request<Full<Bytes>>) -> Answer {
    let authority = request.uri().authority().unwrap().clone();
    let stream = tls_to(authority.as_str(), authority.host(), ca_pem, &["h2"]).await;
    send(stream, request).await
}

async fn send(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let response = tokio::time::timeout(PATIENCE, sender.send_request(request))
        .await
        .unwrap();
    whole(response.unwrap()).await
}

async fn whole(response: Response<hyper::body::Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect())
        .await
        .unwrap();
    let body = body
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Writes these bytes over HTTP/1.1 and returns what comes back until the gate closes, or until
/// `until` stands in it.
pub(crate) async fn raw(gate: &Gate, bytes: &[u8], until: &str) -> String {
    let mut stream = tls(gate, &["http/1.1"]).await;
    stream.write_all(bytes).await.unwrap();
    read_until(&mut stream, until).await
}

/// Reads until `until` stands in what was read, or the end.
pub(crate) async fn read_until(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    until: &str,
) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.extend_from_slice(&buffer[..count]),
        }
        if !until.is_empty() && String::from_utf8_lossy(&seen).contains(until) {
            break;
        }
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// A GET with a token; absolute, as HTTP/2 wants it.
pub(crate) fn get(gate: &Gate, target: &str, token: &str) -> http::request::Builder {
    Request::get(format!("{}{target}", gate.url)).header("authorization", format!("Bearer {token}"))
}

pub(crate) fn empty(builder: http::request::Builder) -> Request<Full<Bytes>> {
    builder.body(Full::default()).unwrap()
}

/// The same request as HTTP/1.1 wants it: path and Host.
pub(crate) fn origin_form(request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let (mut parts, body) = request.into_parts();
    let authority = parts.uri.authority().unwrap().to_string();
    parts.headers.insert("host", authority.parse().unwrap());
    parts.uri = parts
        .uri
        .path_and_query()
        .unwrap()
        .as_str()
        .parse()
        .unwrap();
    Request::from_parts(parts, body)
}
