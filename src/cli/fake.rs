//! A small gateway for the tests of the commands: TLS under an authority of its own, answers by a closure.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Where it is, and how it is trusted.
pub(super) struct FakeGateway {
    pub(super) url: String,
    pub(super) ca: String,
}

impl FakeGateway {
    /// Each request with its whole body goes to `answer`; `None` hangs up.
    pub(super) async fn start(
        answer: impl Fn(Request<Bytes>) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static,
    ) -> Self {
        let (config, ca) = certificate();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let answer = Arc::clone(&answer);
                let service = hyper::service::service_fn(move |request: Request<_>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let (head, body): (_, hyper::body::Incoming) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        answer(Request::from_parts(head, body)).ok_or(HungUp)
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, ca }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("hung up")]
struct HungUp;

/// An answer of JSON.
pub(super) fn json(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn certificate() -> (ServerConfig, String) {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(params, ca_key)).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(crate::proxy::endpoint::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (config, ca.pem())
}
