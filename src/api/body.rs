//! Reading request bodies: bounded in size, in time and in depth before anything is made of them (P13).

use super::ApiError;
use crate::objects::{API_VERSION, Kind};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;

/// Deepest nesting of JSON. The kinds nest six deep; managedFields of other clients some fifteen.
const MAX_DEPTH: usize = 32;
/// How long a client may take to send a body: a megabyte over a bad line, but no parking.
const BODY_TIME: Duration = Duration::from_secs(30);
/// What is read of an object.
pub(super) const JSON: &str = "application/json";
/// What is read of a patch (RFC 7386); the other kinds of patch are not.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Reads a whole body of the type `accepted` of at most `limit` bytes; empty if there is none.
pub(super) async fn read<B>(
    body: B,
    headers: &HeaderMap,
    accepted: &'static str,
    limit: usize,
) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    check_type(headers, accepted)?;
    collect(body, limit, BODY_TIME).await
}

async fn collect<B>(body: B, limit: usize, time: Duration) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let collected = Limited::new(body, limit).collect();
    match tokio::time::timeout(time, collected).await {
        Err(_) => Err(ApiError::BodyTimeout(time.as_secs())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge(limit)),
        Ok(Err(_)) => Err(ApiError::BodyBroken),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

/// Refuses bodies of another type. Without a content type a body is JSON, as upstream has it; a
/// compressed body is not read (it could unfold to anything).
fn check_type(headers: &HeaderMap, accepted: &'static str) -> Result<(), ApiError> {
    let unsupported = || ApiError::UnsupportedMediaType(accepted);
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(unsupported());
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().map_err(|_| unsupported())?;
    let mime = text.split(';').next().unwrap_or_default().trim();
    if mime.eq_ignore_ascii_case(accepted) {
        Ok(())
    } else {
        Err(unsupported())
    }
}

/// Reads an object of kind `K`, whose `apiVersion` and `kind` may be left out.
pub(super) fn object<K: Kind>(bytes: &[u8]) -> Result<K, ApiError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct TypeMeta {
        #[serde(default)]
        api_version: Option<String>,
        #[serde(default)]
        kind: Option<String>,
    }
    let found: TypeMeta = value(bytes, K::KIND)?;
    if let Some(version) = found
        .api_version
        .filter(|v| !v.is_empty() && v != API_VERSION)
    {
        return Err(ApiError::BadRequest(format!(
            "the API version in the data ({version}) does not match the expected API version ({API_VERSION})"
        )));
    }
    if let Some(kind) = found.kind.filter(|k| !k.is_empty() && k != K::KIND) {
        return Err(ApiError::BadRequest(format!(
            "the kind in the data ({kind}) does not match the expected kind ({})",
            K::KIND
        )));
    }
    let mut object: K = value(bytes, K::KIND)?;
    object.fill_type();
    Ok(object)
}

/// Reads any JSON value; `what` names it in the error, which has line and column.
pub(super) fn value<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::BadRequest(format!(
            "{what}: the body of the request is empty"
        )));
    }
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::BadRequest(format!("{what} in the body cannot be read: {error}"))
    })
}

/// Reads JSON that holds secrets: the error says where, and quotes nothing.
pub(super) fn secret<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| {
        ApiError::BadRequest(format!(
            "the body cannot be read (line {} column {}); this path takes secrets, so the fault is not quoted",
            error.line(),
            error.column()
        ))
    })
}

fn check_depth(bytes: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ApiError::BadRequest(format!(
                "the body of the request nests deeper than {MAX_DEPTH} levels"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::Group;
    use http::HeaderValue;
    use http_body_util::Full;

    const LIMIT: usize = 1024 * 1024;

    const TIME: Duration = Duration::from_mins(1);

    fn message<T>(result: Result<T, ApiError>) -> (u16, String) {
        let Err(error) = result else {
            panic!("read");
        };
        let status = error.status();
        (status.code, status.message)
    }

    // P13: bounded in size.
    #[tokio::test]
    async fn a_large_body_is_413() {
        let body = Full::new(Bytes::from(vec![b' '; LIMIT + 1]));
        assert_eq!(
            message(collect(body, LIMIT, TIME).await),
            (413, "Request entity too large: limit is 1048576".to_owned())
        );
    }

    // P13: a body without end stops being read at the bound.
    #[tokio::test]
    async fn an_endless_body_is_413() {
        struct Endless(usize);
        impl http_body::Body for Endless {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                self.0 += 1;
                assert!(self.0 < 200, "read past the bound");
                let chunk = Bytes::from_static(&[b' '; 16384]);
                std::task::Poll::Ready(Some(Ok(http_body::Frame::data(chunk))))
            }
        }
        assert_eq!(message(collect(Endless(0), LIMIT, TIME).await).0, 413);
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_408() {
        struct Never;
        impl http_body::Body for Never {
            type Data = Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        assert_eq!(
            message(collect(Never, LIMIT, Duration::from_millis(1)).await).0,
            408
        );
    }

    // P13 and CVE-2019-11253: bounded in depth, and brackets in strings do not count.
    #[test]
    fn deep_json_is_400() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let (code, text) = message(value::<serde_json::Value>(deep.as_bytes(), "Group"));
        assert_eq!(
            (code, text.as_str()),
            (400, "the body of the request nests deeper than 32 levels")
        );
        let flat = format!("[\"{}\\\"{}\"]", "[".repeat(1000), "{".repeat(1000));
        assert!(value::<serde_json::Value>(flat.as_bytes(), "Group").is_ok());
    }

    #[test]
    fn json_errors_say_where() {
        let (code, text) = message(object::<Group>(
            b"{\n \"metadata\": {\"name\": \"a\"},\n \"spce\": {}\n}",
        ));
        assert_eq!(code, 400);
        assert!(
            text.contains("unknown field `spce`") && text.contains("line 3 column"),
            "{text}"
        );
        assert_eq!(message(object::<Group>(b"")).0, 400);
        assert_eq!(message(object::<Group>(b"{\"a\":")).0, 400);
        assert_eq!(message(object::<Group>(b"[1]")).0, 400);
    }

    #[test]
    fn another_kind_or_version_is_400() {
        let (code, text) = message(object::<Group>(b"{\"kind\":\"User\"}"));
        assert_eq!(
            (code, text.contains("(User) does not match")),
            (400, true),
            "{text}"
        );
        let (code, text) = message(object::<Group>(
            b"{\"apiVersion\":\"v1\",\"kind\":\"Group\"}",
        ));
        assert_eq!(
            (code, text.contains("(v1) does not match")),
            (400, true),
            "{text}"
        );
        assert!(object::<Group>(b"{\"metadata\":{\"name\":\"a\"}}").is_ok());
    }

    #[test]
    fn only_json_is_read() {
        let with = |name, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            check_type(&headers, JSON)
        };
        assert!(check_type(&HeaderMap::new(), JSON).is_ok());
        assert!(with(header::CONTENT_TYPE, "application/json; charset=utf-8").is_ok());
        for bad in [
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "text/plain",
            "",
        ] {
            assert_eq!(message(with(header::CONTENT_TYPE, bad)).0, 415, "{bad}");
        }
        // P13: nothing is decompressed.
        assert_eq!(message(with(header::CONTENT_ENCODING, "gzip")).0, 415);
    }
}
