//! Building answers.

use super::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// Plain JSON.
pub(super) const JSON: &str = "application/json";

/// A JSON answer. Answers depend on who asks, so nothing on the way may keep them.
pub(super) fn json(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
) -> Response<Body> {
    // What is answered holds strings, numbers, lists and string-keyed maps: serialising cannot fail.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    let mut response = Response::new(Body::new(Bytes::from(bytes)));
    *response.status_mut() = status;
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
    response
}

/// 200 with a JSON body.
pub(super) fn ok(value: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, JSON, value)
}

/// What an `Accept` header asks of an answer that has several shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaRange<'a> {
    /// `application/json`
    pub(super) mime: &'a str,
    /// `as=`
    pub(super) shape: Option<&'a str>,
    /// `g=`
    pub(super) group: Option<&'a str>,
    /// `v=`
    pub(super) version: Option<&'a str>,
}

/// The media ranges of an `Accept` header in the order in which they are written, which is the order that
/// Kubernetes clients mean (they send no `q`). Without the header: anything.
pub(super) fn accepted(headers: &http::HeaderMap) -> Vec<MediaRange<'_>> {
    let ranges: Vec<MediaRange<'_>> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(media_range)
        .collect();
    if ranges.is_empty() {
        return vec![media_range("*/*")];
    }
    ranges
}

impl MediaRange<'_> {
    /// Whether JSON of no special shape fits.
    pub(super) fn takes_plain_json(&self) -> bool {
        matches!(self.mime, JSON | "application/*" | "*/*") && self.shape.is_none()
    }
}

fn media_range(text: &str) -> MediaRange<'_> {
    let mut parts = text.split(';').map(str::trim);
    let mut range = MediaRange {
        mime: parts.next().unwrap_or_default(),
        shape: None,
        group: None,
        version: None,
    };
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => range.shape = Some(value),
            Some(("g", value)) => range.group = Some(value),
            Some(("v", value)) => range.version = Some(value),
            // `charset`, `q`, `profile`: nothing here has two forms by them.
            _ => {}
        }
    }
    range
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_is_read_in_order() {
        let mut headers = http::HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static(
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json; charset=utf-8",
            ),
        );
        let ranges = accepted(&headers);
        assert_eq!(ranges.len(), 2);
        assert_eq!(ranges[0].shape, Some("Table"));
        assert_eq!(ranges[0].group, Some("meta.k8s.io"));
        assert!(ranges[1].takes_plain_json());
        assert!(accepted(&http::HeaderMap::new())[0].takes_plain_json());
    }
}
