//! One cookie of a request, by its exact name.
//!
//! What could go wrong: two cookies of one name, of which two readers would each take another one. A browser
//! never sends two whose name begins with `__Host-`, so whoever does is refused.

use http::{HeaderMap, header::COOKIE};

/// Longest value that is read: above what the gateway itself sets, below what browsers keep (4 KiB).
const MAX_VALUE: usize = 4096;

/// There are two of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two cookies of one name")]
pub struct Twice;

/// The value of the cookie of this name (RFC 6265, section 4.2.1; HTTP/2 may part the header into lines).
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Twice> {
    let lines = headers.get_all(COOKIE).iter();
    // Bytes: neighbours below the same domain plant cookies of whatever they like, and ours is read beside them.
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&c| c == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let value = pair.strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    });
    let first = values.next();
    if values.next().is_some() {
        return Err(Twice);
    }
    // What is not visible ASCII is none of ours.
    let visible = |value: &&[u8]| value.iter().all(|c| matches!(c, b' '..=b'~'));
    let first = first.filter(|value| value.len() <= MAX_VALUE);
    Ok(first
        .filter(visible)
        .and_then(|value| std::str::from_utf8(value).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NAME: &str = "__Host-palisade";

    fn read(lines: &[&[u8]]) -> Result<Option<String>, Twice> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        cookie(&headers, NAME).map(|value| value.map(ToOwned::to_owned))
    }

    fn found(lines: &[&[u8]]) -> Option<String> {
        read(lines).unwrap()
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name_beside_whatever_others_there_are() {
        let good = Some("v=1".to_owned());
        assert_eq!(found(&[b"__Host-palisade=v=1"]), good);
        assert_eq!(found(&[b"a=b;\t__Host-palisade=v=1 ; c=d"]), good);
        assert_eq!(found(&[b"a=b", b"c=d; __Host-palisade=v=1"]), good);
        // A neighbour's, in Latin-1, in UTF-8 and in nothing.
        for other in [&b"a=\xfc"[..], "name=\u{fc}".as_bytes(), b"\xff\xfe"] {
            let line = [other, b"; __Host-palisade=v=1; ", other].concat();
            assert_eq!(found(&[&line]), good, "{other:?}");
        }
        for none in [
            &b""[..],
            b"__Host-palisade",
            b"__Host-palisade-form=v",
            b"x__Host-palisade=v",
            b"__host-palisade=v",
            b"__Host-palisade =v",
            b"a=__Host-palisade=v",
        ] {
            assert_eq!(found(&[none]), None, "{none:?}");
        }
    }

    #[test]
    fn a_value_that_none_of_ours_can_be_is_none() {
        assert_eq!(found(&[b"__Host-palisade=\xfc"]), None);
        assert_eq!(found(&[b"__Host-palisade=a\tb"]), None);
        let long = format!("{NAME}={}", "x".repeat(MAX_VALUE + 1));
        assert_eq!(found(&[long.as_bytes()]), None);
    }

    #[test]
    fn two_of_one_name_are_refused_whatever_they_hold() {
        for two in [
            &b"__Host-palisade=a; __Host-palisade=a"[..],
            b"__Host-palisade=a; __Host-palisade=\xfc",
            b"__Host-palisade=\xfc; b=c; __Host-palisade=a",
        ] {
            assert_eq!(read(&[two]), Err(Twice), "{two:?}");
        }
        let lines: [&[u8]; 2] = [b"__Host-palisade=a", b"__Host-palisade=a"];
        assert_eq!(read(&lines), Err(Twice));
    }
}
