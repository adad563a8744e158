//! Reading request bodies: bounded in size, in time and in depth before anything is made of them (P13).

use super::{
    ApiError, decode,
    error::{cut, shown},
};
use crate::objects::Kind;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::time::Duration;

/// Deepest nesting of JSON. The kinds nest six deep; managedFields of other clients some fifteen.
const MAX_DEPTH: usize = 32;
/// How long a client may take to send a body: a megabyte over a bad line, but no parking.
const BODY_TIME: Duration = Duration::from_secs(30);
/// What is read of an object.
pub(super) const JSON: &str = "application/json";
/// What is read of an access review, which kubectl sends as protobuf.
pub(super) const JSON_OR_PROTOBUF: &str = "application/json, application/vnd.kubernetes.protobuf";
/// What is read of a patch (RFC 7386); the other kinds of patch are not.
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Reads a whole body of a type in `accepted` (with commas between them) of at most `limit` bytes; empty if there is none.
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
    let known = accepted
        .split(", ")
        .any(|one| mime.eq_ignore_ascii_case(one));
    if known { Ok(()) } else { Err(unsupported()) }
}

/// Reads an object of kind `K`, whose `apiVersion` and `kind` may be left out.
pub(super) fn object<K: Kind>(bytes: &[u8]) -> Result<K, ApiError> {
    decode::object(fields(bytes, K::KIND)?)
}

/// Reads any JSON object; `what` names it in the error.
pub(super) fn value<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields(bytes, what)?)).map_err(|error| {
        let error = error.to_string();
        ApiError::BadRequest(format!(
            "{what} in the body cannot be read: {}",
            // It may quote a field's name, however long.
            cut(&error, MAX_QUOTED)
        ))
    })
}

/// The fields of a JSON object. A field that is there twice is refused, in any depth: of two readers each
/// could take another one. An error of the text itself has line and column.
pub(super) fn fields(bytes: &[u8], what: &str) -> Result<Map<String, Value>, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::BadRequest(format!(
            "{what}: the body of the request is empty"
        )));
    }
    check_depth(bytes)?;
    match serde_json::from_slice(bytes) {
        Ok(Strict(Value::Object(fields))) => Ok(fields),
        Ok(Strict(_)) => Err(ApiError::BadRequest(format!(
            "{what}: the body of the request must be a JSON object"
        ))),
        Err(error) => Err(ApiError::BadRequest(format!(
            "{what} in the body cannot be read: {error}"
        ))),
    }
}

/// Bytes of a reader's complaint that are told: it lists the fields that there are.
const MAX_QUOTED: usize = 1024;

/// A JSON value whose objects have each field once.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Value;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Strict(item)) = seq.next_element()? {
                    items.push(item);
                }
                Ok(items.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut fields = Map::new();
                while let Some(key) = map.next_key::<String>()? {
                    if fields.contains_key(&key) {
                        let key = shown(&key);
                        return Err(de::Error::custom(format_args!("duplicate field {key:?}")));
                    }
                    let Strict(value) = map.next_value()?;
                    fields.insert(key, value);
                }
                Ok(fields.into())
            }
        }
        deserializer.deserialize_any(Values).map(Self)
    }
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
        let flat = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(1000), "{".repeat(1000));
        assert!(value::<serde_json::Value>(flat.as_bytes(), "Group").is_ok());
    }

    #[test]
    fn json_errors_say_where() {
        let (code, text) = message(object::<Group>(
            b"{\n \"metadata\": {\"name\": \"a\"},\n oops\n}",
        ));
        assert_eq!(code, 400);
        assert!(text.contains("line 3 column"), "{text}");
        for (bad, said) in [
            ("", "the body of the request is empty"),
            ("{\"a\":", "EOF while parsing"),
            ("[1]", "must be a JSON object"),
            ("\"x\"", "must be a JSON object"),
            ("{} {}", "trailing characters"),
        ] {
            let (code, text) = message(object::<Group>(bad.as_bytes()));
            assert!(code == 400 && text.contains(said), "{bad}: {text}");
        }
    }

    // F7: of two readers each could take another one.
    #[test]
    fn a_field_that_is_there_twice_is_400() {
        for twice in [
            "{\"kind\":\"Group\",\"kind\":\"Group\"}",
            "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\",\"x\":\"2\"}}}",
            "{\"spec\":{\"members\":[{\"name\":\"a\",\"n\\u0061me\":\"b\"}]}}",
        ] {
            let (code, text) = message(object::<Group>(twice.as_bytes()));
            assert!(code == 400 && text.contains("duplicate field"), "{text}");
        }
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
