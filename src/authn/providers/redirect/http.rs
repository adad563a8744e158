//! Questions to a provider by HTTPS.
//!
//! Guarantees: TLS, or this very machine where that was allowed; no redirect is followed, so no secret leaves for an
//! address that nobody wrote down or published (CVE-2021-36778); an answer is read up to [`MAX_BODY`] and
//! [`MAX_HEAD`], within a time (P14 of docs/attacks.md); no answer is quoted that may hold a token.
//!
//! HTTP/1.1 over connections that are kept between questions. What was not sent yet when a kept one turns out to be
//! closed goes over a new one; what may have been seen is never sent twice: a code counts once.

use super::{
    super::files::{off_thread, tls},
    Failure,
    failure::quoted,
    files,
};
use crate::config::{Client, Link, may_be_asked};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use url::Url;
use zeroize::Zeroizing;

/// Bytes of one answer: a page of a hundred teams is some 200 KiB, a token with a thousand groups some 50.
pub(in crate::authn::providers) const MAX_BODY: usize = 1 << 20;
/// Bytes of an answer's head.
const MAX_HEAD: usize = 64 << 10;
/// Headers of an answer.
const MAX_HEADERS: usize = 100;
/// Questions to one provider at the same time. Those beyond wait for their turn within their time.
const AT_ONCE: usize = 32;
/// Connections that are kept.
const MAX_IDLE: usize = 8;
/// A connection that was idle for longer is not used again: servers close them after that.
const KEEP: Duration = Duration::from_secs(8);

type Sender = http1::SendRequest<Full<Bytes>>;

/// The way to one provider.
pub(in crate::authn::providers) struct Http {
    link: Link,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    origin: Origin,
    sender: Sender,
    since: Instant,
}

#[derive(Clone, PartialEq, Eq)]
struct Origin {
    is_tls: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &Url) -> Option<Self> {
        Some(Self {
            is_tls: url.scheme() == "https",
            host: url.host_str()?.to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A question.
pub(in crate::authn::providers) struct Question<'a> {
    /// For messages.
    pub(in crate::authn::providers) what: &'static str,
    pub(in crate::authn::providers) method: Method,
    pub(in crate::authn::providers) url: &'a Url,
    pub(in crate::authn::providers) headers: HeaderMap,
    pub(in crate::authn::providers) body: Bytes,
}

impl<'a> Question<'a> {
    pub(in crate::authn::providers) fn get(what: &'static str, url: &'a Url) -> Self {
        Self {
            what,
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A form (`application/x-www-form-urlencoded`).
    pub(in crate::authn::providers) fn post(
        what: &'static str,
        url: &'a Url,
        fields: &[(&str, &str)],
    ) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, kind);
        Self {
            what,
            method: Method::POST,
            url,
            headers,
            body: form.finish().into(),
        }
    }

    /// With a token.
    pub(in crate::authn::providers) fn bearer(self, token: &str) -> Result<Self, Failure> {
        self.authorized(&Zeroizing::new(format!("Bearer {token}")))
    }

    /// With a client's name and secret, each encoded as a form does it (RFC 6749, section 2.3.1).
    pub(in crate::authn::providers) fn basic(
        self,
        id: &str,
        secret: &str,
    ) -> Result<Self, Failure> {
        let encoded = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
        let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        self.authorized(&Zeroizing::new(format!("Basic {}", *pair)))
    }

    /// With this header, if a value is wanted.
    pub(in crate::authn::providers) fn header(
        mut self,
        name: header::HeaderName,
        value: &str,
    ) -> Result<Self, Failure> {
        let value = HeaderValue::from_str(value).map_err(|_| self.unsendable())?;
        self.headers.insert(name, value);
        Ok(self)
    }

    fn authorized(mut self, value: &str) -> Result<Self, Failure> {
        let mut value = HeaderValue::from_str(value).map_err(|_| self.unsendable())?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(self)
    }

    fn unsendable(&self) -> Failure {
        Failure::Malformed {
            what: self.what,
            why: "a value of it cannot stand in a header".to_owned(),
        }
    }
}

/// A whole answer, whatever its status.
pub(in crate::authn::providers) struct Answer {
    pub(in crate::authn::providers) what: &'static str,
    pub(in crate::authn::providers) host: String,
    pub(in crate::authn::providers) status: StatusCode,
    pub(in crate::authn::providers) headers: HeaderMap,
    /// Wiped: it may hold tokens.
    body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Reads JSON, of at most 128 levels (`serde_json`).
    pub(in crate::authn::providers) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::Malformed {
            what: self.what,
            // Its own words could hold a token.
            why: format!(
                "it is not the JSON that was expected (line {}, column {})",
                error.line(),
                error.column()
            ),
        })
    }

    /// The same of an answer that must be a success; `said` finds the words of one that is none.
    pub(in crate::authn::providers) fn success<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.status == StatusCode::OK {
            self.json()
        } else {
            Err(self.failure(""))
        }
    }

    /// An answer that is of no use; `said` are the provider's own words, without a secret in them.
    pub(in crate::authn::providers) fn failure(&self, said: &str) -> Failure {
        Failure::Answer {
            what: self.what,
            host: self.host.clone(),
            status: self.status,
            said: quoted(said),
        }
    }

    /// A header that is text.
    pub(in crate::authn::providers) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    pub(in crate::authn::providers) fn new(link: Link) -> Self {
        Self {
            link,
            turns: Semaphore::new(AT_ONCE),
            idle: Mutex::default(),
        }
    }

    /// Whether this address may be asked at all.
    pub(in crate::authn::providers) fn check(
        &self,
        what: &'static str,
        text: &str,
    ) -> Result<Url, Failure> {
        let wrong = |why| Failure::Address {
            what,
            url: quoted(text),
            why,
        };
        let url = Url::parse(text).map_err(|_| wrong("is not a URL"))?;
        may_be_asked(&url, self.link.danger_plain_http).map_err(wrong)?;
        Ok(url)
    }

    /// The client's secret, read now.
    pub(in crate::authn::providers) async fn secret(
        &self,
        client: &Client,
    ) -> Result<Option<Zeroizing<String>>, Failure> {
        let client = client.clone();
        Ok(off_thread(move || files::secret(&client)).await?)
    }

    /// Asks, and reads the whole answer.
    pub(in crate::authn::providers) async fn ask(
        &self,
        question: Question<'_>,
    ) -> Result<Answer, Failure> {
        let what = question.what;
        may_be_asked(question.url, self.link.danger_plain_http).map_err(|why| {
            Failure::Address {
                what,
                url: quoted(question.url.as_str()),
                why,
            }
        })?;
        let Some(origin) = Origin::of(question.url) else {
            return Err(Failure::Malformed {
                what,
                why: "its address has no host".to_owned(),
            });
        };
        let limit = self.link.timeout;
        let work = async {
            let _turn = self.turns.acquire().await.map_err(|_| Failure::Busy)?;
            self.exchange(&origin, question).await
        };
        match timeout(limit, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout {
                host: origin.address(),
                limit,
            }),
        }
    }

    async fn exchange(&self, origin: &Origin, question: Question<'_>) -> Result<Answer, Failure> {
        let what = question.what;
        let (sender, response) = self.send(origin, request(question)?).await?;
        let answer = read(what, origin, response).await?;
        self.keep(origin, sender);
        if answer.status.is_redirection() && answer.status != StatusCode::NOT_MODIFIED {
            return Err(Failure::Redirected {
                host: answer.host.clone(),
                // Without its query, in which anything may stand.
                to: quoted(
                    answer
                        .text("location")
                        .unwrap_or("nowhere")
                        .split('?')
                        .next()
                        .unwrap_or(""),
                ),
            });
        }
        Ok(answer)
    }

    async fn send(
        &self,
        origin: &Origin,
        request: Request<Full<Bytes>>,
    ) -> Result<(Sender, Response<Incoming>), Failure> {
        let kept = match self.take(origin) {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let request = match kept {
            None => request,
            Some(mut sender) => match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                // Not one byte of it went out: the only case that is tried again.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => unsent,
                    None => return Err(broken(origin, error.into_error())),
                },
            },
        };
        let mut sender = self.open(origin).await?;
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| broken(origin, error))?;
        Ok((sender, response))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.idle();
        idle.retain(|it| it.since.elapsed() < KEEP && !it.sender.is_closed());
        let at = idle.iter().position(|it| it.origin == *origin)?;
        Some(idle.swap_remove(at).sender)
    }

    fn keep(&self, origin: &Origin, sender: Sender) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(Idle {
                origin: origin.clone(),
                sender,
                since: Instant::now(),
            });
        }
    }

    async fn open(&self, origin: &Origin) -> Result<Sender, Failure> {
        let refused = |source| Failure::Connect {
            host: origin.address(),
            source,
        };
        let work = async {
            let host = origin.host.trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, origin.port))
                .await
                .map_err(refused)?;
            stream.set_nodelay(true).map_err(refused)?;
            if !origin.is_tls {
                return begin(origin, TokioIo::new(stream)).await;
            }
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| refused(io::Error::other(error)))?;
            let ca_file = self.link.ca_file.clone();
            let tls = off_thread(move || tls(ca_file.as_deref())).await?;
            let stream = TlsConnector::from(tls).connect(name, stream).await;
            begin(origin, TokioIo::new(stream.map_err(refused)?)).await
        };
        // Told from an answer that does not come: nothing was sent.
        match timeout(self.link.connect_timeout, Box::pin(work)).await {
            Ok(sender) => sender,
            Err(elapsed) => Err(refused(elapsed.into())),
        }
    }
}

async fn begin<I>(origin: &Origin, io: I) -> Result<Sender, Failure>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder
        .handshake(io)
        .await
        .map_err(|error| broken(origin, error))?;
    // Ends when the sender is dropped or the peer closes; its error is the request's error too.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

fn request(question: Question<'_>) -> Result<Request<Full<Bytes>>, Failure> {
    let Question {
        what,
        method,
        url,
        headers,
        body,
    } = question;
    let malformed = |error: http::Error| Failure::Malformed {
        what,
        why: error.to_string(),
    };
    let target = url.query().map_or_else(
        || url.path().to_owned(),
        |query| format!("{}?{query}", url.path()),
    );
    let host = url.host_str().unwrap_or_default();
    let host = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host)
        .header(
            header::USER_AGENT,
            concat!("palisade/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::new(body))
        .map_err(malformed)?;
    request
        .headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.headers_mut().extend(headers);
    Ok(request)
}

async fn read(
    what: &'static str,
    origin: &Origin,
    response: Response<Incoming>,
) -> Result<Answer, Failure> {
    let (head, mut incoming) = response.into_parts();
    let mut body = Zeroizing::new(Vec::new());
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(origin, error))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        if body.len() + data.len() > MAX_BODY {
            return Err(Failure::TooLarge {
                host: origin.address(),
                most: MAX_BODY,
            });
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer {
        what,
        host: origin.address(),
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn broken(origin: &Origin, source: hyper::Error) -> Failure {
    Failure::Broken {
        host: origin.address(),
        source,
    }
}
