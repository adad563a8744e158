//! Files that the pages need: from the program itself and from nowhere else (CVE-2025-32198, CVE-2026-25705).

use super::{Body, WebError, page};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    mime: &'static str,
    content: &'static str,
    /// Of the content (RFC 9110, section 8.8.3).
    etag: HeaderValue,
}

static ASSETS: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    [
        asset(
            "palisade.css",
            "text/css; charset=utf-8",
            include_str!("../../assets/palisade.css"),
        ),
        asset(
            "icon.svg",
            "image/svg+xml",
            include_str!("../../assets/icon.svg"),
        ),
    ]
});

fn asset(name: &'static str, mime: &'static str, content: &'static str) -> Asset {
    let sum = URL_SAFE_NO_PAD.encode(digest(&SHA256, content.as_bytes()));
    let etag = HeaderValue::try_from(format!("\"{sum}\""));
    Asset {
        name,
        mime,
        content,
        // Base64 in quotes is a header's value.
        etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
    }
}

/// The file of this name, exactly as it is written.
pub(super) fn answer(name: &str, headers: &HeaderMap) -> Result<Response<Body>, WebError> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or(WebError::NoSuchPage)?;
    let known = headers.get(header::IF_NONE_MATCH);
    let known = known.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_known = known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.as_bytes() == asset.etag.as_bytes());
    let mut response = if is_known {
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::new(Bytes::from_static(asset.content.as_bytes())))
    };
    let headers = response.headers_mut();
    page::guard(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.mime));
    headers.insert(header::ETAG, asset.etag.clone());
    // Kept, and asked about each time: another version of the program has other ones.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
