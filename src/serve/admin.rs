//! The admin listener: `/livez`, `/readyz`, `/metrics`, in plain HTTP on an address of its own.
//!
//! It answers operators and their machinery, without authentication; so it says nothing of users, tokens
//! or clusters' secrets (O1 of docs/attacks.md), takes no input but a path, and its connections are few
//! and short.

use crate::observe::metrics::Metrics;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible, fmt::Write as _, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections at the same time: a few probers and scrapers.
const CONNECTIONS: usize = 64;
/// Bound on a head, and on idleness between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on a whole connection: probers open a new one each time or soon.
const CONNECTION_AGE: Duration = Duration::from_mins(10);
/// Bytes that a connection may buffer: a prober's head is below one KiB.
const BUFFER: usize = 16 << 10;
/// Pause after a failed accept, as on the main listener.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One thing that must be so before the gateway takes requests.
pub struct Check {
    /// A word for `/readyz?verbose`.
    pub name: &'static str,
    /// What is wrong, if something is. Quick: it runs at every probe.
    pub test: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Check {
    /// A check.
    pub fn new(
        name: &'static str,
        test: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            test: Box::new(test),
        }
    }
}

/// Something to know that is no reason to take no requests.
pub struct Note {
    /// A word for `/readyz?verbose`.
    pub name: &'static str,
    /// How it is, or what is wrong. Quick.
    pub tell: Box<dyn Fn() -> Result<String, String> + Send + Sync>,
}

/// What the admin listener shows.
pub struct Admin {
    /// All must pass for `/readyz`.
    pub checks: Vec<Check>,
    /// What `/readyz?verbose` tells besides; a failure here is no reason to take no requests.
    pub notes: Vec<Note>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    scraping: Mutex<()>,
}

/// A bound admin socket.
pub struct AdminListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`, which comes after the drain: `/readyz` says meanwhile that it drains.
    pub async fn run(self, admin: Arc<Admin>, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = async {
                let permit = Arc::clone(&places).acquire_owned().await.ok();
                (permit, self.socket.accept().await)
            };
            let Some((permit, accepted)) = stop.run_until_cancelled(accepted).await else {
                return;
            };
            match accepted {
                Ok((stream, _)) => {
                    let (admin, stop) = (Arc::clone(&admin), stop.clone());
                    tokio::spawn(async move {
                        let _permit = permit;
                        serve(stream, admin, &stop).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an admin connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, admin: Arc<Admin>, stop: &CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(admin.answer(request.method(), request.uri()).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // A prober that went away in the middle concerns nobody.
        _ = timeout(CONNECTION_AGE, connection.as_mut()) => {}
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
}

impl Admin {
    /// Shows these.
    pub fn new(checks: Vec<Check>, notes: Vec<Note>, metrics: Arc<Metrics>) -> Self {
        Self {
            checks,
            notes,
            metrics,
            scraping: Mutex::new(()),
        }
    }

    async fn answer(&self, method: &Method, uri: &hyper::Uri) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        match uri.path() {
            "/livez" => plain(StatusCode::OK, "ok\n".to_owned()),
            "/readyz" => self.ready(uri.query().is_some_and(|query| query == "verbose")),
            "/metrics" => self.scrape().await,
            _ => plain(
                StatusCode::NOT_FOUND,
                "here are /livez, /readyz (?verbose) and /metrics\n".to_owned(),
            ),
        }
    }

    /// With a thousand clusters the text has megabytes and takes as many milliseconds: not on a thread that
    /// serves requests, and one at a time.
    async fn scrape(&self) -> Response<Full<Bytes>> {
        let _one_at_a_time = self.scraping.lock().await;
        let metrics = Arc::clone(&self.metrics);
        let Ok(text) = tokio::task::spawn_blocking(move || metrics.encode()).await else {
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "failed\n".to_owned());
        };
        let mut response = plain(StatusCode::OK, text);
        let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let format = HeaderValue::from_static(format);
        response.headers_mut().insert(CONTENT_TYPE, format);
        response
    }

    fn ready(&self, verbose: bool) -> Response<Full<Bytes>> {
        let mut text = String::new();
        let mut failed = 0;
        for check in &self.checks {
            // Writing to a string cannot fail.
            let _ = match (check.test)() {
                Ok(()) if verbose => writeln!(text, "[+]{} ok", check.name),
                Ok(()) => Ok(()),
                Err(reason) => {
                    failed += 1;
                    writeln!(text, "[-]{} failed: {reason}", check.name)
                }
            };
        }
        for note in self.notes.iter().filter(|_| verbose) {
            let _ = match (note.tell)() {
                Ok(how) => writeln!(text, "[+]{} ok: {how}", note.name),
                Err(problem) => writeln!(text, "[!]{}: {problem}", note.name),
            };
        }
        if failed == 0 {
            text.push_str("ok\n");
            plain(StatusCode::OK, text)
        } else {
            text.push_str("not ready\n");
            plain(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
