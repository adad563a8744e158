//! A small HTTPS client for the program's own requests: the commands' to the gateway, the gateway's to
//! its clusters (health, renewal, sync). Users' requests never come here; they go by an outbound and the
//! pool.
//!
//! HTTP/1.1 over one connection that is kept between calls. Redirects are never followed (P10), an answer
//! is read up to a bound (P14), every step has a time limit, and trust is what the [`Target`] says: there
//! is no way to switch verification off.
//!
//! What could go wrong: the kept connection was closed by the peer (a request that was not sent yet goes
//! over a fresh one, once; one that may have been processed is never repeated but for the GET of a watch, O7), or an
//! answer that is not what was asked for (the error says what came).

use crate::{
    observe::chain,
    proxy::{
        dial::DialError,
        endpoint::{Protocols, Target},
    },
    status::{Reason, Status},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kept::{Kept, Link, Waiting};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

mod follow;
mod kept;

pub use follow::{Follow, MAX_LINE};

/// Bound on an answer's head and body after the request went out. TokenRequests and writes behind slow
/// admission webhooks (30 s at most each, upstream) still fit.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// Bound on an answer's size: a list of ten thousand bindings is some five megabytes.
pub const MAX_ANSWER: usize = 16 << 20;
/// Bound on what is quoted from an answer that is not a Status.
const MAX_QUOTE: usize = 300;
/// Bound on the message that is taken from a Status; upstream's longest are lists of mistakes.
const MAX_MESSAGE: usize = 4096;
/// `application/json`
pub const JSON: &str = "application/json";
/// Server-side apply (KEP-555); JSON is YAML, so the body is JSON.
pub const APPLY: &str = "application/apply-patch+yaml";

/// A complete answer with a status of 200 to 299.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// An answer that is not 2xx.
#[derive(Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub code: StatusCode,
    /// A sentence for a person: the Status' message, or what the body says.
    pub message: String,
    /// The Status' reason.
    pub reason: Option<Reason>,
    /// The code of a refusal in the manner of OAuth (RFC 6749, section 5.2), which is no Status.
    pub error: Option<String>,
    /// To find the request in the server's log.
    pub request_id: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        match &self.request_id {
            Some(id) if !self.message.contains(id.as_str()) => write!(f, " (request id {id})"),
            Some(_) | None => Ok(()),
        }
    }
}

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke.
    #[error("the connection to {address} broke")]
    Broken {
        /// `host:port`
        address: String,
        /// What hyper said.
        source: hyper::Error,
    },
    /// No complete answer in time.
    #[error("{address} gave no answer within {} s", limit.as_secs())]
    Timeout {
        /// `host:port`
        address: String,
        /// The bound.
        limit: Duration,
    },
    /// More than [`MAX_ANSWER`], or a line of more than [`MAX_LINE`].
    #[error("the answer of {address} is larger than {} MiB", MAX_ANSWER >> 20)]
    TooLarge {
        /// `host:port`
        address: String,
    },
    /// Not 2xx.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Not the JSON that was asked for.
    #[error("the answer of {address} cannot be read")]
    Shape {
        /// `host:port`
        address: String,
        /// What serde said.
        source: serde_json::Error,
    },
    /// A path or a body that cannot be sent.
    #[error("the request to {address} cannot be made")]
    Request {
        /// `host:port`
        address: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    /// The refusal, if the server answered and said no.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Dial(_)
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. }
            | Self::Shape { .. }
            | Self::Request { .. } => None,
        }
    }

    /// The status that the server refused with.
    pub fn code(&self) -> Option<StatusCode> {
        self.refusal().map(|refusal| refusal.code)
    }

    /// The error and what it rests on, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

type Sender = http1::SendRequest<Full<Bytes>>;

/// Speaks to one server, with one credential (or none, or a client certificate in the target's TLS).
pub struct Client {
    target: Arc<Target>,
    authorization: Option<HeaderValue>,
    limit: Duration,
    kept: Arc<Kept>,
}

impl Client {
    /// `authorization` as `endpoint::bearer` makes it.
    pub fn new(target: Arc<Target>, authorization: Option<HeaderValue>) -> Self {
        Self {
            target,
            authorization,
            limit: ANSWER_TIMEOUT,
            kept: Arc::default(),
        }
    }

    /// The same with another bound on the wait for an answer.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// `host:port`, for messages.
    pub fn address(&self) -> String {
        self.target.url().address()
    }

    /// GET, as JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.send(Method::GET, path, None).await?;
        self.read(&answer)
    }

    /// GET of another JSON form than the plain one: a Table, say.
    pub async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<T, ClientError> {
        let mut request = self.request(Method::GET, path, None)?;
        let accept = HeaderValue::from_static(accept);
        request.headers_mut().insert(header::ACCEPT, accept);
        let answer = self.perform(request).await?;
        self.read(&answer)
    }

    /// POST of JSON, answered with JSON.
    pub async fn post<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = self.write(body)?;
        let answer = self.send(Method::POST, path, Some((JSON, body))).await?;
        self.read(&answer)
    }

    /// PUT of JSON, answered with JSON.
    pub async fn put<B: Serialize + ?Sized, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = self.write(body)?;
        let answer = self.send(Method::PUT, path, Some((JSON, body))).await?;
        self.read(&answer)
    }

    /// DELETE; what the answer's body says is dropped.
    pub async fn delete(&self, path: &str) -> Result<(), ClientError> {
        self.send(Method::DELETE, path, None).await.map(drop)
    }

    /// Any request with a whole body (content type, bytes). Err unless the status is 200 to 299.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, ClientError> {
        self.perform(self.request(method, path, body)?).await
    }

    async fn perform(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let exchange = async {
            let response = self.exchange(request).await?;
            self.collect(response).await
        };
        let answer = timeout(self.limit, exchange).await;
        let answer = answer.map_err(|_| self.timed_out())??;
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(ClientError::Refused(Box::new(refusal(&answer))))
        }
    }

    /// Bytes of a JSON body.
    pub fn write<B: Serialize + ?Sized>(&self, body: &B) -> Result<Bytes, ClientError> {
        serde_json::to_vec(body)
            .map(Bytes::from)
            .map_err(|error| self.unsendable(error))
    }

    /// Reads an answer's JSON.
    pub fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ClientError> {
        serde_json::from_slice(&answer.body).map_err(|source| ClientError::Shape {
            address: self.address(),
            source,
        })
    }

    fn unsendable(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> ClientError {
        ClientError::Request {
            address: self.address(),
            source: source.into(),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.url().path))
            .header(header::HOST, self.target.authority())
            .header(header::ACCEPT, JSON)
            .header(
                header::USER_AGENT,
                concat!("palisade/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(authorization) = &self.authorization {
            builder = builder.header(header::AUTHORIZATION, authorization);
        }
        let body = match body {
            Some((kind, bytes)) => {
                builder = builder.header(header::CONTENT_TYPE, kind);
                Full::new(bytes)
            }
            None => Full::default(),
        };
        builder.body(body).map_err(|error| self.unsendable(error))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut kept = self.kept.lock().await;
        let (link, response) = self
            .ask(kept.take().and_then(Waiting::take), request)
            .await?;
        link.wait(&mut kept);
        Ok(response)
    }

    /// Asks over the kept connection, if it can still be used, or a fresh one.
    async fn ask(
        &self,
        kept: Option<Link>,
        request: Request<Full<Bytes>>,
    ) -> Result<(Link, Response<Incoming>), ClientError> {
        let mut request = request;
        if let Some(mut link) = kept
            && link.sender.ready().await.is_ok()
        {
            match link.sender.try_send_request(request).await {
                Ok(response) => return Ok((link, response)),
                // Not one byte of it went out: the only case that is tried again.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(error.into_error())),
                },
            }
        }
        let mut link = self.open().await?;
        let response = link.sender.send_request(request).await;
        let response = response.map_err(|source| self.broken(source))?;
        Ok((link, response))
    }

    async fn open(&self) -> Result<Link, ClientError> {
        let stream = self.target.connect(Protocols::Http1).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.broken(source))?;
        Ok(Link::drive(sender, connection, &self.kept))
    }

    fn timed_out(&self) -> ClientError {
        ClientError::Timeout {
            address: self.address(),
            limit: self.limit,
        }
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken {
            address: self.address(),
            source,
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Answer, ClientError> {
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|source| self.broken(source))?;
            let Ok(data) = frame.into_data() else {
                continue; // trailers
            };
            if body.len() + data.len() > MAX_ANSWER {
                return Err(ClientError::TooLarge {
                    address: self.address(),
                });
            }
            body.extend_from_slice(&data);
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
        })
    }
}

/// Text from outside as one segment of a path, or one value of a query, whatever it holds.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn refusal(answer: &Answer) -> Refusal {
    let named = |name: &str| {
        let value = answer.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    // The gateway's own name for it, then that of API servers.
    let request_id = named("palisade-request-id").or_else(|| named("audit-id"));
    let status: Option<Status> = serde_json::from_slice(&answer.body).ok();
    let (message, reason, error) = match status {
        Some(status) if status.kind == "Status" && !status.message.is_empty() => {
            (quoted(&status.message, MAX_MESSAGE), status.reason, None)
        }
        Some(_) | None => match serde_json::from_slice::<OauthRefusal>(&answer.body) {
            Ok(OauthRefusal { error, description }) => {
                let error = quoted(&error, MAX_QUOTE);
                let message = description.map(|said| quoted(&said, MAX_MESSAGE));
                (message.unwrap_or_else(|| error.clone()), None, Some(error))
            }
            Err(_) => (described(answer), None, None),
        },
    };
    Refusal {
        code: answer.status,
        message,
        reason,
        error,
        request_id,
    }
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct OauthRefusal {
    error: String,
    #[serde(default, rename = "error_description")]
    description: Option<String>,
}

/// A sentence about an answer that is no Status.
fn described(answer: &Answer) -> String {
    if answer.status.is_redirection() {
        let to = answer.headers.get(header::LOCATION);
        let to = to.and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        return format!(
            "the server answers {} to {to:?}, which is not followed",
            answer.status
        );
    }
    let text = String::from_utf8_lossy(&answer.body);
    let quote = quoted(&text, MAX_QUOTE);
    match quote.trim() {
        "" => format!("the server answers {}", answer.status),
        quote => format!("the server answers {}: {quote}", answer.status),
    }
}

/// A stranger's text for a terminal or a log: no control characters but line ends, and not without end.
fn quoted(text: &str, limit: usize) -> String {
    let plain = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    text.chars().take(limit).map(plain).collect()
}

#[cfg(test)]
mod tests;
