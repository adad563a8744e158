//! Queries of lists against a plain reading of Go's rules.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::authz::RequestInfo;

/// Decodes as Go's `url.QueryUnescape`; `None` for a bad escape.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'%' => {
                let digits = text.get(at + 1..at + 3)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                let digits = std::str::from_utf8(digits).ok()?;
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
                at += 2;
            }
            b'+' => decoded.push(b' '),
            other => decoded.push(other),
        }
        at += 1;
    }
    Some(decoded)
}

/// The first value of a parameter.
fn first(query: &str, wanted: &str) -> Option<Vec<u8>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((unescape(key.as_bytes())?, unescape(value.as_bytes())?))
        })
        .find(|(key, _)| key == wanted.as_bytes())
        .map(|(_, value)| value)
}

fuzz_target!(|query: &str| {
    if query.contains('#') || query.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return;
    }
    let target = format!("/api/v1/pods?{query}");
    let Ok(info) = RequestInfo::parse("GET", &target, false) else {
        return;
    };
    assert!(info.verb == "list" || info.verb == "watch", "{info:?}");
    let watch = match first(query, "watch") {
        None => false,
        Some(value) => value != b"0" && !value.eq_ignore_ascii_case(b"false"),
    };
    // U+017F folds to an s where the options decode.
    if !query.contains('ſ') && !query.contains('%') {
        assert_eq!(info.verb == "watch", watch, "{query}");
    }
    assert!(
        info.name != "." && info.name != ".." && !info.name.contains(['/', '%']),
        "{info:?}"
    );
    let selector = first(query, "fieldSelector").unwrap_or_default();
    assert_eq!(info.field_selector.as_bytes(), selector, "{query}");
    let selector = first(query, "labelSelector").unwrap_or_default();
    assert_eq!(info.label_selector.as_bytes(), selector, "{query}");
    if !info.name.is_empty() {
        assert!(info.field_selector.contains("metadata.name="), "{info:?}");
    }
});
