//! The path: cut out of the target, split, decoded once, and refused where it is ambiguous.
//!
//! Because an encoded slash is refused, splitting before decoding and after it give the same segments.
//! Everything after `…/proxy/` is data for a workload and is looked at for dot segments and control bytes
//! alone.

use super::Refusal;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Segments that a path of the Kubernetes API has at most before it means nothing more:
/// `apis/G/V/watch/namespaces/NS/RESOURCE/NAME/SUBRESOURCE`.
const USUAL_SEGMENTS: usize = 9;

/// Decoded segments; a trailing slash adds none.
pub(super) type Segments<'a> = SmallVec<[Cow<'a, str>; USUAL_SEGMENTS]>;

/// A target, cut in two.
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

/// Cuts the target into path and query, in origin form or absolute form (RFC 9112, section 3.2).
pub(super) fn cut(raw: &str) -> Result<Target<'_>, Refusal> {
    for byte in raw.bytes() {
        match byte {
            b'#' => return Err(Refusal::Fragment),
            0..=b' ' | 0x7f => return Err(Refusal::ControlByte),
            _ => {}
        }
    }
    let local = if raw.starts_with('/') {
        raw
    } else {
        after_authority(raw)?
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    // Only an absolute form has an empty path; it goes out as `/` (RFC 9112, section 3.2.1).
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target { path, query })
}

fn after_authority(raw: &str) -> Result<&str, Refusal> {
    let (scheme, rest) = raw.split_once("://").ok_or(Refusal::TargetForm)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Refusal::TargetForm);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, local) = rest.split_at(end);
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    if authority.is_empty() || !authority.bytes().all(plain) {
        return Err(Refusal::TargetForm);
    }
    Ok(local)
}

/// Splits and decodes a path that starts with a slash.
pub(super) fn segments(path: &str) -> Result<Segments<'_>, Refusal> {
    let mut found = Segments::new();
    let mut rest = path.strip_prefix('/').ok_or(Refusal::TargetForm)?;
    loop {
        let (raw, after) = match rest.split_once('/') {
            Some((raw, after)) => (raw, Some(after)),
            None => (rest, None),
        };
        if raw.is_empty() {
            return after.map_or(Ok(found), |_| Err(Refusal::EmptySegment));
        }
        found.push(decode_segment(raw)?);
        let Some(after) = after else {
            return Ok(found);
        };
        if ends_in_proxy(&found) {
            check_tail(after)?;
            return Ok(found);
        }
        rest = after;
    }
}

/// The whole path, decoded; bytes that are not UTF-8 can only stand after `…/proxy/`, and show as U+FFFD.
pub(super) fn decode_whole(path: &str) -> Cow<'_, str> {
    match unescape(path) {
        Some(Cow::Owned(bytes)) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        Some(Cow::Borrowed(_)) | None => Cow::Borrowed(path),
    }
}

fn decode_segment(raw: &str) -> Result<Cow<'_, str>, Refusal> {
    let decoded = match unescape(raw).ok_or(Refusal::BadEscape)? {
        Cow::Borrowed(_) => Cow::Borrowed(raw),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Refusal::NotUtf8)?),
    };
    for byte in decoded.bytes() {
        match byte {
            b'/' => return Err(Refusal::EncodedSlash),
            b'\\' => return Err(Refusal::Backslash),
            _ if is_control(byte) => return Err(Refusal::ControlByte),
            _ => {}
        }
    }
    if is_dots(decoded.as_bytes()) {
        return Err(Refusal::DotSegment);
    }
    Ok(decoded)
}

/// What follows `…/proxy/`: a backslash parts segments here too, so that no reader finds dots we did not.
fn check_tail(raw: &str) -> Result<(), Refusal> {
    let decoded = unescape(raw).ok_or(Refusal::BadEscape)?;
    if decoded.iter().copied().any(is_control) {
        return Err(Refusal::ControlByte);
    }
    if decoded
        .split(|&byte| matches!(byte, b'/' | b'\\'))
        .any(is_dots)
    {
        return Err(Refusal::DotSegment);
    }
    Ok(())
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}

fn is_dots(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// Whether the last segment is the subresource `proxy` of some resource.
fn ends_in_proxy(found: &Segments<'_>) -> bool {
    if found.last().is_none_or(|last| last != "proxy") {
        return false;
    }
    super::parts_start(found)
        .is_some_and(|start| start.verb != Some("proxy") && found.len() == start.resource + 3)
}

/// Percent-decoding as Go's `url.PathUnescape`: `None` for a bad escape; `+` is itself.
fn unescape(raw: &str) -> Option<Cow<'_, [u8]>> {
    super::query::unescape(raw.as_bytes(), super::query::Plus::Keep)
}
