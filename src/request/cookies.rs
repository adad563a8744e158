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
    // What is not visible ASCII is none of ours.
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.trim_matches([' ', '\t']).split_once('=')?;
        (found == name).then_some(value)
    });
    let first = values.next();
    if values.next().is_some() {
        return Err(Twice);
    }
    Ok(first.filter(|value| value.len() <= MAX_VALUE))
}
