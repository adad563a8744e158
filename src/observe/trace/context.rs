//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>): ids, and the header `traceparent`.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// `traceparent`
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// `00-` trace `-` span `-` flags.
const LENGTH: usize = 55;

/// The id of a trace, never all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// From its halves.
    pub(super) fn of(high: [u8; 8], low: [u8; 8]) -> Option<Self> {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(high.into_iter().chain(low)) {
            *to = from;
        }
        (id != [0; 16]).then_some(Self(id))
    }

    /// As it is sent.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

/// The id of a span, never all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl SpanId {
    pub(super) fn of(id: [u8; 8]) -> Option<Self> {
        (id != [0; 8]).then_some(Self(id))
    }

    /// As it is sent.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span of the client's. Whether it is sampled there is nothing that the gateway asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
}

impl Remote {
    /// What the headers name, if they name exactly one.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            (_, _) => None,
        }
    }

    /// A later version may have more at its end, after another hyphen (§3.2.4 there).
    fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split(|&byte| byte == b'-');
        let [version, trace, span, flags] = [(); 4].map(|()| parts.next().unwrap_or_default());
        let [version] = hex(version)?;
        let [_] = hex(flags)?;
        let ends = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let trace: [u8; 16] = hex(trace)?;
        (ends && parts.next().is_none() && trace != [0; 16]).then_some(())?;
        Some(Self {
            trace: TraceId(trace),
            span: SpanId::of(hex(span)?)?,
        })
    }
}

/// Bytes from exactly so many lower-case hexadecimal digits.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// The header of a span that is sampled.
pub(super) fn traceparent(trace: TraceId, span: SpanId) -> HeaderValue {
    // Digits, letters and hyphens are always legal.
    HeaderValue::try_from(format!("00-{trace}-{span}-01"))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_is_read_again() {
        let client = Remote::parse(SENT.as_bytes()).unwrap();
        assert_eq!(client.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(traceparent(client.trace, client.span), SENT);
    }

    #[test]
    fn what_the_standard_calls_invalid_names_nothing() {
        let with = |from: &str, to: &str| SENT.replacen(from, to, 1);
        let wrong = [
            String::new(),
            SENT.to_uppercase(),
            with("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            with("00f067aa0ba902b7", &"0".repeat(16)),
            with("00-", "ff-"),
            with("00-", "0-0"),
            with("-01", "-1"),
            with("-01", "-0g"),
            format!("{SENT}-00"),
            format!("{SENT}0"),
            format!("{}0", with("00-", "01-")),
            with("36-00", "3-600"),
        ];
        for text in wrong {
            assert_eq!(Remote::parse(text.as_bytes()), None, "{text}");
        }
        let later = format!("{}-new", with("00-", "01-"));
        assert_eq!(
            Remote::parse(later.as_bytes()),
            Remote::parse(SENT.as_bytes())
        );
    }

    #[test]
    fn two_of_them_name_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, SENT.parse().unwrap());
        assert!(Remote::read(&headers).is_some());
        headers.append(TRACEPARENT, SENT.parse().unwrap());
        assert_eq!(Remote::read(&headers), None);
    }
}
