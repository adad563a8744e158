//! The query, read as Go's `url.ParseQuery` reads it: the API server and we must take the same value for the
//! same parameter, or a request is authorised as a list and served as a watch (CVE-2022-2880 is of this kind).

use super::Refusal;
use std::borrow::Cow;

/// Go 1.26 and its security releases drop *all* parameters above this number, earlier ones read them.
const MAX_PARAMETERS: usize = 10_000;

/// What `+` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself (paths).
    Keep,
    /// A blank (queries).
    Blank,
}

/// First values of the parameters that say what a list is, decoded.
#[derive(Default)]
pub(super) struct ListQuery<'a> {
    pub(super) watch: Option<Cow<'a, [u8]>>,
    pub(super) field_selector: Option<Cow<'a, [u8]>>,
    pub(super) label_selector: Option<Cow<'a, [u8]>>,
    pub(super) limit: Option<Cow<'a, [u8]>>,
    pub(super) timeout_seconds: Option<Cow<'a, [u8]>>,
}

/// Reads a query: pairs with `;` or a bad escape are dropped, keys are decoded, the first value wins.
pub(super) fn read(query: &str) -> Result<ListQuery<'_>, Refusal> {
    let mut found = ListQuery::default();
    let mut parameters = 0_usize;
    for pair in query.as_bytes().split(|&byte| byte == b'&') {
        parameters += 1;
        if parameters > MAX_PARAMETERS {
            return Err(Refusal::TooManyParameters);
        }
        let Some((key, value)) = decode_pair(pair) else {
            continue;
        };
        let slot = match key.as_ref() {
            b"watch" => &mut found.watch,
            b"fieldSelector" => &mut found.field_selector,
            b"labelSelector" => &mut found.label_selector,
            b"limit" => &mut found.limit,
            b"timeoutSeconds" => &mut found.timeout_seconds,
            _ => continue,
        };
        slot.get_or_insert(value);
    }
    Ok(found)
}

type Bytes<'a> = Cow<'a, [u8]>;

fn decode_pair(pair: &[u8]) -> Option<(Bytes<'_>, Bytes<'_>)> {
    if pair.is_empty() || pair.contains(&b';') {
        return None;
    }
    let (key, value) = match pair.iter().position(|&byte| byte == b'=') {
        Some(at) => (pair.get(..at)?, pair.get(at + 1..)?),
        None => (pair, &b""[..]),
    };
    Some((unescape(key, Plus::Blank)?, unescape(value, Plus::Blank)?))
}

/// Percent-decoding; `None` for a `%` that two hexadecimal digits do not follow.
pub(super) fn unescape(raw: &[u8], plus: Plus) -> Option<Cow<'_, [u8]>> {
    let plain = |&byte: &u8| byte != b'%' && (byte != b'+' || plus == Plus::Keep);
    if raw.iter().all(plain) {
        return Some(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else {
                    return None;
                };
                decoded.push(hex(*high)? << 4 | hex(*low)?);
                rest = after;
            }
            b'+' if plus == Plus::Blank => decoded.push(b' '),
            &byte => decoded.push(byte),
        }
    }
    Some(Cow::Owned(decoded))
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
