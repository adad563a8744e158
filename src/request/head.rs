//! Head of a request: method, raw target, headers, and whether it asks for an upgrade.

use http::{HeaderMap, Method, Request, Version, header, uri::PathAndQuery};
use hyper::upgrade::OnUpgrade;

/// Longest target that is read (bytes). The API server itself takes 1 MiB of headers; selectors of real
/// clients stay far below this.
const MAX_TARGET: usize = 32 * 1024;

/// Why a message is refused before anybody asks who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// `CONNECT`, `TRACE`.
    #[error("the method is not allowed here")]
    Method,
    /// `OPTIONS *`, an authority alone.
    #[error("the request target must be a path")]
    NoPath,
    /// Longer than [`MAX_TARGET`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// Two Host headers, a Host that is no text, or one that differs from `:authority` (P12).
    #[error("the Host header and the request's authority disagree")]
    Host,
    /// A header that means one thing was sent twice (H7).
    #[error("the header {0} was sent twice")]
    Duplicate(&'static str),
    /// `Connection: upgrade` without `Upgrade`, not over HTTP/1.1, or with a body.
    #[error("the upgrade request cannot be read")]
    Upgrade,
}

/// The protocol that a client wants to switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// `websocket` (RFC 6455).
    WebSocket,
    /// `SPDY/3.1`, of older kubectl.
    Spdy,
}

/// A request's head. No `Debug`: headers hold credentials.
pub struct Head {
    method: Method,
    target: PathAndQuery,
    host: Option<Box<str>>,
    headers: HeaderMap,
    version: Version,
    upgrade: Option<(Upgrade, OnUpgrade)>,
}

impl Head {
    /// Splits a message into its head and its body.
    ///
    /// # Errors
    /// [`HeadError`]: the message must be answered 400 (405 for a method).
    pub fn split<B>(mut request: Request<B>) -> Result<(Self, B), HeadError> {
        let upgrade = upgrade_of(&mut request)?;
        let (parts, body) = request.into_parts();
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(HeadError::Method);
        }
        let host = host_of(&parts.uri, &parts.headers)?;
        for name in ["authorization", "content-type", "upgrade"] {
            if parts.headers.get_all(name).iter().nth(1).is_some() {
                return Err(HeadError::Duplicate(name));
            }
        }
        let target = parts
            .uri
            .into_parts()
            .path_and_query
            .ok_or(HeadError::NoPath)?;
        if target.as_str().len() > MAX_TARGET {
            return Err(HeadError::TargetTooLong);
        }
        if !target.as_str().starts_with('/') {
            return Err(HeadError::NoPath);
        }
        let head = Self {
            method: parts.method,
            target,
            host,
            headers: parts.headers,
            version: parts.version,
            upgrade,
        };
        Ok((head, body))
    }

    /// The method, as sent.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query, byte for byte as they arrived (scheme and authority of an absolute form left out).
    pub fn raw_target(&self) -> &str {
        self.target.as_str()
    }

    /// The path alone, raw. For logs: the query may hold secrets.
    pub fn raw_path(&self) -> &str {
        self.target.path()
    }

    /// Host without port, lower-case; from `:authority` or `Host`.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// HTTP version of the client's side.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The protocol asked for, if any.
    pub fn upgrade(&self) -> Option<Upgrade> {
        self.upgrade.as_ref().map(|(kind, _)| *kind)
    }

    /// Gives up the parts that an outbound request is made of.
    pub fn into_parts(self) -> HeadParts {
        HeadParts {
            method: self.method,
            target: self.target,
            headers: self.headers,
            upgrade: self.upgrade.map(|(kind, on)| Switch { kind, on }),
        }
    }
}

/// A head taken apart.
pub struct HeadParts {
    /// The method.
    pub method: Method,
    /// Raw path and query.
    pub target: PathAndQuery,
    /// All headers.
    pub headers: HeaderMap,
    /// The client's side of an upgrade.
    pub upgrade: Option<Switch>,
}

/// An upgrade that the client asked for, and the hook that yields its connection after a 101.
pub struct Switch {
    /// Which protocol.
    pub kind: Upgrade,
    /// Resolves once a 101 went out.
    pub on: OnUpgrade,
}

/// Upstream's test is: any `Connection` value that contains "upgrade", in any case
/// (apimachinery `pkg/util/httpstream`).
fn upgrade_of<B>(request: &mut Request<B>) -> Result<Option<(Upgrade, OnUpgrade)>, HeadError> {
    let asked = request
        .headers()
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| contains_ignore_case(value.as_bytes(), b"upgrade"));
    if !asked {
        return Ok(None);
    }
    let Some(value) = request.headers().get(header::UPGRADE) else {
        return Err(HeadError::Upgrade);
    };
    let kind = if value.as_bytes().eq_ignore_ascii_case(b"websocket") {
        Upgrade::WebSocket
    } else if value.as_bytes().eq_ignore_ascii_case(b"spdy/3.1") {
        Upgrade::Spdy
    } else {
        // A server may ignore an offer (RFC 9110, section 7.8): the request goes on as it is, without it.
        return Ok(None);
    };
    if request.version() != Version::HTTP_11 {
        return Err(HeadError::Upgrade);
    }
    Ok(Some((kind, hyper::upgrade::on(request))))
}

fn contains_ignore_case(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window.eq_ignore_ascii_case(needle))
}

fn host_of(uri: &http::Uri, headers: &HeaderMap) -> Result<Option<Box<str>>, HeadError> {
    let mut values = headers.get_all(header::HOST).iter();
    let header = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(HeadError::Host),
        (Some(value), None) => Some(value.to_str().map_err(|_| HeadError::Host)?),
        (None, None) => None,
    };
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let text = match (authority, header) {
        (Some(a), Some(h)) if !a.eq_ignore_ascii_case(h) => return Err(HeadError::Host),
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Ok(None),
    };
    // Userinfo in an authority is never meant; two readers could split it differently.
    if text.contains('@') {
        return Err(HeadError::Host);
    }
    let host = match text.rfind(':') {
        Some(colon) if !text.ends_with(']') => text.get(..colon).unwrap_or(text),
        _ => text,
    };
    // `host.` is the same name, spelt to its root.
    let host = host.strip_suffix('.').unwrap_or(host);
    Ok(Some(host.to_ascii_lowercase().into_boxed_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(request: Request<()>) -> Result<Head, HeadError> {
        Head::split(request).map(|(head, ())| head)
    }

    #[test]
    fn raw_target_survives_untouched() {
        for target in [
            "/api/v1/pods?watch=1&x=%2F",
            "/a/../b//c%2e",
            "/k8s/clusters/a/api?;x",
        ] {
            let head = split(Request::get(target).body(()).unwrap()).unwrap();
            assert_eq!(head.raw_target(), target);
        }
    }

    // P6: absolute form is read as its path, its authority counts as the host.
    #[test]
    fn absolute_form_is_its_path() {
        let head = split(
            Request::get("http://Gate:8443/api/v1/pods")
                .body(())
                .unwrap(),
        )
        .unwrap();
        assert_eq!(head.raw_target(), "/api/v1/pods");
        assert_eq!(head.host(), Some("gate"));
    }

    // P12: Host and :authority that disagree.
    #[test]
    fn two_hosts_are_refused() {
        let request = Request::get("https://a.example/")
            .header("host", "b.example")
            .body(())
            .unwrap();
        assert_eq!(split(request).err(), Some(HeadError::Host));
        let request = Request::get("/")
            .header("host", "a")
            .header("host", "a")
            .body(())
            .unwrap();
        assert_eq!(split(request).err(), Some(HeadError::Host));
        let request = Request::get("/").header("host", "u@a").body(()).unwrap();
        assert_eq!(split(request).err(), Some(HeadError::Host));
    }

    // P6: CONNECT, TRACE, `*`.
    #[test]
    fn methods_that_are_no_calls_are_refused() {
        for method in [Method::CONNECT, Method::TRACE] {
            let request = Request::builder()
                .method(method)
                .uri("/api")
                .body(())
                .unwrap();
            assert_eq!(split(request).err(), Some(HeadError::Method));
        }
        let request = Request::builder()
            .method("OPTIONS")
            .uri("*")
            .body(())
            .unwrap();
        assert_eq!(split(request).err(), Some(HeadError::NoPath));
    }

    // H7: duplicates of headers that mean one thing.
    #[test]
    fn duplicated_headers_of_one_meaning_are_refused() {
        for name in ["authorization", "content-type"] {
            let request = Request::get("/api")
                .header(name, "a")
                .header(name, "b")
                .body(())
                .unwrap();
            assert_eq!(split(request).err(), Some(HeadError::Duplicate(name)));
        }
    }

    #[test]
    fn upgrade_is_seen_as_upstream_sees_it() {
        let ask = |connection: &str, upgrade: &str| {
            let request = Request::get("/")
                .header("connection", connection)
                .header("upgrade", upgrade)
                .body(())
                .unwrap();
            split(request).unwrap().upgrade()
        };
        assert_eq!(ask("Upgrade", "WebSocket"), Some(Upgrade::WebSocket));
        assert_eq!(ask("keep-alive, UPGRADE", "SPDY/3.1"), Some(Upgrade::Spdy));
        assert_eq!(ask("upgrade, http2-settings", "h2c"), None);
        assert_eq!(ask("keep-alive", "websocket"), None);
        let request = Request::get("/")
            .header("connection", "upgrade")
            .body(())
            .unwrap();
        assert_eq!(split(request).err(), Some(HeadError::Upgrade));
    }
}
