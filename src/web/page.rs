//! From templates to answers, and the headers that guard them.

use super::{Body, Web, WebError, visit::Visit};
use askama::Template;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// Nothing but the own stylesheet and images, no script at all, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// What stands around each page.
pub(super) struct Frame {
    /// Who is logged in.
    pub(super) who: Option<Who>,
    /// The gateway's address: what somebody who looks closely compares.
    pub(super) host: String,
}

/// Who is logged in.
pub(super) struct Who {
    pub(super) name: String,
    /// Token of the form that ends it.
    pub(super) logout: String,
}

impl Web {
    pub(super) fn frame(&self, visit: &Visit<'_>) -> Frame {
        let who = visit.identity.as_ref().map(|identity| Who {
            name: identity.handle().to_owned(),
            logout: visit.token("/logout"),
        });
        Frame {
            who,
            host: self.external_url.get().host().to_owned(),
        }
    }

    /// `/`, for browsers; for others one line.
    pub(super) fn front(&self, visit: &mut Visit<'_>) -> Result<Response<Body>, WebError> {
        #[derive(Template)]
        #[template(path = "front.html")]
        struct Front<'a> {
            frame: Frame,
            url: &'a str,
        }
        let accept = visit.head.headers.get(header::ACCEPT);
        let accept = accept.and_then(|it| it.to_str().ok()).unwrap_or_default();
        if !accept.contains("text/html") {
            return Ok(line());
        }
        let url = self.external_url.get();
        let page = render(
            StatusCode::OK,
            &Front {
                frame: self.frame(visit),
                url: url.as_str(),
            },
        )?;
        Ok(visit.answer(page))
    }
}

/// What a curious person sees who asks with another program.
fn line() -> Response<Body> {
    let text = "Palisade, a gateway in front of Kubernetes clusters. Log in with: palisade login\n";
    let mut response = Response::new(Body::new(Bytes::from_static(text.as_bytes())));
    let headers = response.headers_mut();
    guard(headers);
    let mime = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, mime);
    response
}

/// A page.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Result<Response<Body>, WebError> {
    let mut response = Response::new(Body::new(Bytes::from(page.render()?)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    guard(headers);
    let mime = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, mime);
    Ok(response)
}

/// A page that says one thing.
pub(super) fn said(frame: Frame, title: &str, text: &str) -> Result<Response<Body>, WebError> {
    #[derive(Template)]
    #[template(path = "said.html")]
    struct Said<'a> {
        frame: Frame,
        title: &'a str,
        text: &'a str,
    }
    let page = Said { frame, title, text };
    render(StatusCode::OK, &page)
}

/// Lets this page's forms lead to `origin` as well: some browsers hold a redirect that answers a form against its
/// page's policy.
pub(super) fn allow_forms_to(headers: &mut HeaderMap, origin: &str) {
    // A policy cannot name an IPv6 address (CSP 3, section 2.3.1): then the scheme must do.
    let source = if origin.contains('[') {
        "http:"
    } else {
        origin
    };
    let own = "form-action 'self'";
    let policy = POLICY.replace(own, &format!("{own} {source}"));
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
}

/// The headers of all answers here.
pub(super) fn guard(headers: &mut HeaderMap) {
    const HEADERS: [(HeaderName, &str); 7] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with it browsers say `Origin: null` for the gateway's own forms.
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The page of an error, with the request's id.
pub fn error(code: StatusCode, message: &str, id: &str) -> Response<Body> {
    #[derive(Template)]
    #[template(path = "error.html")]
    struct Error<'a> {
        frame: Frame,
        title: &'static str,
        text: &'a str,
        id: &'a str,
    }
    let title = match code.as_u16() {
        // 401 where no page is: no page asks for a credential with it.
        401 | 404 => "Page not found",
        429 => "Too many requests",
        400..500 => "This does not work",
        _ => "Something is wrong at the gateway",
    };
    let page = Error {
        frame: Frame {
            who: None,
            host: String::new(),
        },
        title,
        text: &sentence(message),
        id,
    };
    render(code, &page).unwrap_or_else(|_| {
        let mut response = line();
        *response.status_mut() = code;
        response
    })
}

/// With a capital and a full stop.
pub(super) fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    let text: String = first.into_iter().chain(chars).collect();
    if text.ends_with(['.', '!', '?']) {
        text
    } else {
        text + "."
    }
}
