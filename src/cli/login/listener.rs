//! Where the browser brings the answer: a small web server on this machine's own address, for one login
//! (RFC 8252, section 7.3).
//!
//! Every program and every web page that this machine shows can speak to it (G4). It answers one path of one
//! host name, and takes an answer with the right state alone; it is bounded in time, connections and bytes. What
//! it answers loads nothing and tells nobody its address.

use crate::cli::run::Failure;
use aws_lc_rs::digest;
use axum::extract::Query;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};
use subtle::ConstantTimeEq as _;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use zeroize::Zeroizing;

/// Where the gateway sends the browser.
const PATH: &str = "/callback";
/// Connections at a time: a browser opens some in advance.
const MAX_AT_ONCE: usize = 16;
/// Connections in all: who comes so often is no browser that brings an answer.
const MAX_CONNECTIONS: usize = 1024;
/// Longest that one connection is listened to.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Longest head: an address with a code and a state, and what browsers send along. hyper's least.
const MAX_HEAD: usize = 8192;

/// What the browser brought.
pub(super) enum Brought {
    /// To be exchanged.
    Code(Zeroizing<String>),
    /// Why there is none: a code of RFC 6749, section 4.1.2.1.
    Refused(String),
}

/// Listens on a port of its own.
pub(super) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    pub(super) async fn bind() -> Result<Self, Failure> {
        let own: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let own = own.map(|address| SocketAddr::new(address, 0));
        let bound = TcpListener::bind(own.as_slice()).await;
        let bound = bound.and_then(|tcp| Ok((tcp.local_addr()?, tcp)));
        let (address, tcp) = bound.map_err(|error| {
            Failure::said(format!(
                "cannot listen on this machine for the browser's answer ({error}): log in with --device"
            ))
        })?;
        Ok(Self { tcp, address })
    }

    /// Where the browser is to come.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits for the answer with this state; whoever brings another is turned away.
    pub(super) async fn answer(self, state: &str) -> Result<Brought, Failure> {
        let expected = Arc::new(Expected {
            host: self.address.to_string(),
            state: state.to_owned(),
        });
        let mut connections = JoinSet::new();
        let mut count = 0;
        loop {
            tokio::select! {
                Some(ended) = connections.join_next() => if let Ok(Some(brought)) = ended {
                    return Ok(brought);
                },
                accepted = self.tcp.accept(), if connections.len() < MAX_AT_ONCE => {
                    count += 1;
                    if count > MAX_CONNECTIONS {
                        return Err(Failure::said(
                            "something on this machine floods the login with requests: log in with --device",
                        ));
                    }
                    // One that broke before it was there is no matter.
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(serve(stream, Arc::clone(&expected)));
                    }
                }
            }
        }
    }
}

struct Expected {
    host: String,
    state: String,
}

/// One request; done when its answer has gone out, so that the person sees it.
async fn serve(stream: TcpStream, expected: Arc<Expected>) -> Option<Brought> {
    let brought = Arc::new(OnceLock::new());
    let kept = Arc::clone(&brought);
    let service = service_fn(move |request: Request<_>| {
        let answer = match expected.read(&request) {
            Ok(found) => {
                let page = found.page();
                let _ = kept.set(found);
                page
            }
            Err(refusal) => refusal.page(),
        };
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).max_buf_size(MAX_HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    let _ = timeout(CONNECTION_LIMIT, connection).await;
    Arc::into_inner(brought)?.into_inner()
}

/// Why a request brings nothing.
#[derive(Debug, PartialEq, Eq)]
enum Stray {
    /// Another name for this address: a page of a stranger that rebound its own (DNS rebinding).
    Host,
    Method,
    Path,
    /// Of another login, or made up.
    State,
}

impl Expected {
    fn read<B>(&self, request: &Request<B>) -> Result<Brought, Stray> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let is_ours = |host: &HeaderValue| host.as_bytes() == self.host.as_bytes();
        if !hosts.next().is_some_and(is_ours) || hosts.next().is_some() {
            return Err(Stray::Host);
        }
        if request.uri().path() != PATH {
            return Err(Stray::Path);
        }
        if request.method() != Method::GET {
            return Err(Stray::Method);
        }
        self.read_query(request.uri()).ok_or(Stray::State)
    }

    /// Each name once: what stands there twice would be read in one way here and in another elsewhere.
    fn read_query(&self, uri: &Uri) -> Option<Brought> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
        let only = |wanted: &str| {
            let mut found = pairs.iter().filter(|(name, _)| name == wanted);
            let (_, value) = found.next()?;
            found.next().is_none().then(|| value.clone())
        };
        let state = only("state")?;
        if !bool::from(state.as_bytes().ct_eq(self.state.as_bytes())) {
            return None;
        }
        match (only("code"), only("error")) {
            (Some(code), None) => Some(Brought::Code(code.into())),
            (None, Some(error)) => Some(Brought::Refused(error)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

impl Brought {
    fn page(&self) -> Response<Full<Bytes>> {
        let (title, text) = match self {
            Self::Code(_) => (
                "Back to the terminal",
                "It goes on there. You can close this window.",
            ),
            Self::Refused(_) => (
                "Not logged in",
                "The login was refused. You can close this window.",
            ),
        };
        page(StatusCode::OK, title, text)
    }
}

impl Stray {
    fn page(&self) -> Response<Full<Bytes>> {
        let (status, text) = match self {
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "This is another address than the one that the login gave.",
            ),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "The answer comes by GET."),
            Self::Path => (StatusCode::NOT_FOUND, "There is nothing here."),
            Self::State => (
                StatusCode::BAD_REQUEST,
                "This is no answer to the login that waits here. Open the address that the terminal shows.",
            ),
        };
        page(status, "Not the login that waits", text)
    }
}

/// The whole style of a page: its colours in light and dark are its own, so that they can be read.
const STYLE: &str = "\
:root{color-scheme:light dark;--page:#f5f6f8;--card:#fff;--text:#1b2430;--line:#c9d0d9}\
@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b212a;--text:#e8ecf1;--line:#37414d}}\
body{margin:0;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,sans-serif}\
main{max-width:30rem;margin:4rem auto;padding:2rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}\
h1{margin:0 0 1rem;font-size:1.6rem;line-height:1.2}p{margin:0}";

/// A page without anything to load. Its own texts alone: nothing of the request is in it.
fn page(status: StatusCode, title: &str, text: &str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title} – Palisade</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // This style and nothing else: it is named by its sum.
    let sum = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{sum}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    // Base64 and these words: it cannot fail, and without a policy nothing is loaded either.
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

#[cfg(test)]
mod tests;
