//! What an error looks like on the wire.
//!
//! `metav1.Status` JSON, except where kubectl throws that away: on discovery paths only `text/plain` with
//! 403 or 502 reaches the person (kubernetes.md §7.2). A 401 is a 401 everywhere: exec plugins act on it.
//! A person in a browser reads a page.

use super::body::Body;
use crate::{
    request::{Head, RequestId, Target},
    status::{Details, Reason, Status},
    web,
};
use http::{HeaderValue, Method, Response, StatusCode, header};

/// Who is at fault; sets the log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client: asked for something that it may not, or that makes no sense.
    Client,
    /// The gateway itself, or what it stands on.
    Gateway,
    /// The cluster.
    Upstream,
}

impl Fault {
    /// As it stands in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}

/// Who reads an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A client of Kubernetes.
    Status,
    /// kubectl where only text reaches a person.
    Discovery,
    /// A person in a browser.
    Page,
    /// A person in a browser, at an address that is none of the pages'.
    NoPage,
}

/// What a person reads where a program would be told that it needs a token. It is the same for every address: strangers
/// learn of none whether programs find something there.
const NO_PAGE: &str = "There is no page at this address. Programs that ask here need a token.";

impl Shape {
    /// By who asks, and where the request goes; `path` is the one that its addressee sees.
    pub(super) fn of(head: &Head, target: &Target, path: &str) -> Self {
        match target {
            Target::Web => Self::Page,
            Target::Own if is_navigation(head) => Self::NoPage,
            Target::Cluster(_) | Target::Own | Target::Login if is_discovery(path) => {
                Self::Discovery
            }
            Target::Cluster(_) | Target::Own | Target::Login => Self::Status,
        }
    }
}

/// An error as a client sees it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub code: StatusCode,
    /// Kubernetes' reason, where it has one.
    pub reason: Option<Reason>,
    /// What a person reads.
    pub message: String,
    /// Only where trying again can help and nothing may have been done already.
    pub retry_after: Option<u32>,
    /// What it is about.
    pub details: Option<Details>,
    /// The methods that there are, of a 405.
    pub allow: Option<&'static str>,
}

impl Answer {
    /// An answer without details and without `Retry-After`.
    pub fn new(code: StatusCode, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            retry_after: None,
            details: None,
            allow: None,
        }
    }

    /// The response of a page, for a person to read.
    fn into_page(self, id: RequestId, shape: Shape) -> Response<Body> {
        let is_unknown = shape == Shape::NoPage && self.code == StatusCode::UNAUTHORIZED;
        let message = if is_unknown { NO_PAGE } else { &self.message };
        let page = web::error_page(self.code, message, &id.to_string());
        let mut response = page.map(Body::own);
        let headers = response.headers_mut();
        if is_unknown {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allowed) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }

    /// The response, in the shape that its reader takes.
    pub fn into_response(self, id: RequestId, shape: Shape) -> Response<Body> {
        if matches!(shape, Shape::Page | Shape::NoPage) {
            return self.into_page(id, shape);
        }
        let message = match self.code {
            // Exec plugins and kubectl show a 401's message in parentheses: the id would only disturb.
            StatusCode::UNAUTHORIZED => self.message,
            _ => format!("{} (request {id})", self.message),
        };
        let text = shape == Shape::Discovery
            && (self.code == StatusCode::FORBIDDEN || self.code.is_server_error());
        let (code, body, content_type) = if text {
            let code = if self.code.is_server_error() {
                StatusCode::BAD_GATEWAY
            } else {
                self.code
            };
            (code, message.into_bytes(), "text/plain; charset=utf-8")
        } else {
            let mut status = Status::failure(self.code.as_u16(), self.reason, message);
            status.details = self.details;
            if let Some(seconds) = self.retry_after {
                status.details.get_or_insert_default().retry_after_seconds = seconds;
            }
            (self.code, status.to_json(), "application/json")
        };
        let mut response = Response::new(Body::full(body.into()));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, private"),
        );
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if code == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        let retry_after = status
            .details
            .as_ref()
            .map(|d| d.retry_after_seconds)
            .filter(|&seconds| seconds > 0);
        Self {
            code: StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            reason: status.reason,
            message: status.message,
            retry_after,
            details: status.details,
            allow: None,
        }
    }
}

/// Whether a person went to this address with a browser: nobody reads JSON there. Not if a credential is sent along, which
/// no address bar does: `kubectl proxy` adds one to what a browser asks it.
fn is_navigation(head: &Head) -> bool {
    let headers = head.headers();
    let reads = matches!(*head.method(), Method::GET | Method::HEAD);
    if !reads || headers.contains_key(header::AUTHORIZATION) {
        return false;
    }
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim_ascii_start());
    match text("sec-fetch-dest") {
        Some(destination) => destination == "document",
        // Browsers from before Fetch Metadata, and those that leave it out.
        None => text("accept").is_some_and(|accept| accept.starts_with("text/html")),
    }
}

/// Whether kubectl reads answers of this path as discovery: exactly `/version`, `/openapi/…`, `/api`,
/// `/api/V`, `/apis`, `/apis/G`, `/apis/G/V`, of the gateway's own API or below a cluster's path.
fn is_discovery(path: &str) -> bool {
    let below = path
        .strip_prefix("/k8s/clusters/")
        .and_then(|rest| rest.split_once('/'));
    let path = below.map_or(path, |(_cluster, rest)| rest);
    let mut parts = path.trim_matches('/').split('/');
    let first = parts.next().unwrap_or_default();
    let rest = parts.count();
    match first {
        "version" => rest == 0,
        "openapi" => true,
        "api" => rest <= 1,
        "apis" => rest <= 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn only_where_a_person_goes_with_a_browser_is_a_page_read() {
        const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let shape = |method: Method, target, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri("/nothing");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.header("host", "gate").body(()).unwrap();
            let (head, ()) = Head::split(request).unwrap();
            Shape::of(&head, &target, "/nothing")
        };
        let (dest, accept) = ("sec-fetch-dest", "accept");
        for headers in [
            &[(accept, CHROMIUM)][..],
            &[(accept, "text/html")],
            &[(dest, "document")],
            &[(dest, "document"), (accept, CHROMIUM), ("cookie", "a=b")],
        ] {
            for method in [Method::GET, Method::HEAD] {
                let found = shape(method, Target::Own, headers);
                assert_eq!(found, Shape::NoPage, "{headers:?}");
            }
            assert_eq!(shape(Method::POST, Target::Own, headers), Shape::Status);
            assert_eq!(shape(Method::GET, Target::Login, headers), Shape::Status);
            assert_eq!(shape(Method::GET, Target::Web, headers), Shape::Page);
            let proxied = [headers, &[("authorization", "Bearer x")]].concat();
            let found = shape(Method::GET, Target::Own, &proxied);
            assert_eq!(found, Shape::Status, "{proxied:?}");
        }
        for headers in [
            &[][..],
            &[(accept, KUBECTL)],
            &[(accept, "*/*")],
            &[(accept, "application/json, text/html")],
            &[(accept, CHROMIUM), (dest, "empty")],
            &[(accept, CHROMIUM), (dest, "image")],
            &[(accept, CHROMIUM), (dest, "iframe")],
        ] {
            let found = shape(Method::GET, Target::Own, headers);
            assert_eq!(found, Shape::Status, "{headers:?}");
        }
    }

    #[test]
    fn discovery_paths_are_exactly_these() {
        for path in [
            "/version",
            "/openapi/v2",
            "/openapi/v3/apis/apps/v1",
            "/api",
            "/api/v1",
            "/apis",
            "/apis/apps",
            "/apis/apps/v1",
            "/api/",
            "/k8s/clusters/prod/api",
            "/k8s/clusters/prod/apis/apps/v1",
            "/k8s/clusters/prod/version",
        ] {
            assert!(is_discovery(path), "{path}");
        }
        for path in [
            "/",
            "/version/x",
            "/api/v1/pods",
            "/apis/apps/v1/deployments",
            "/healthz",
            "/metrics",
            "/k8s/clusters/prod",
            "/k8s/clusters/api",
            "/k8s/clusters/prod/api/v1/pods",
            "/k8s/clusters/prod/healthz",
        ] {
            assert!(!is_discovery(path), "{path}");
        }
    }
}
