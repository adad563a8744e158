//! The text of a token: `pal_<kind>_<id>_<secret><crc>`.
//!
//! The id is public (it names the token object), the secret is 32 random bytes, and the CRC over all
//! before it tells a mangled or invented token from a real one without looking anything up (T8 of the
//! docs/attacks.md) and lets secret scanners be sure of what they found. Only SHA-256 of the secret is kept:
//! with 256 bits of randomness there is nothing to stretch.

use crate::objects::TokenKind;
use aws_lc_rs::{digest, rand};
use std::fmt;
use zeroize::Zeroizing;

/// What every token starts with.
pub const PREFIX: &str = "pal_";
/// Characters of a kind: `pat`, `ses`, `web`.
const KIND_LEN: usize = 3;
/// Characters of an id: 36^16 ids, so that random ones never meet.
const ID_LEN: usize = 16;
/// Base62 characters that hold 32 bytes (62^43 > 2^256).
const SECRET_LEN: usize = 43;
/// Base62 characters that hold a CRC-32 (62^6 > 2^32).
const CRC_LEN: usize = 6;
/// `pal_` kind `_` id `_` secret crc.
const TEXT_LEN: usize = PREFIX.len() + KIND_LEN + 1 + ID_LEN + 1 + SECRET_LEN + CRC_LEN;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The text is not that of a token: wrong length, alphabet, kind or CRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the text of a token")]
pub struct Malformed;

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

/// The public part of a token: 16 of `0-9a-z`, the name of its object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; ID_LEN]);

impl TokenId {
    /// Reads the name of a token object.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            .then_some(Self(bytes))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // The alphabet was checked where the id was made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the gateway keeps of a token text that it read: never the secret itself.
#[derive(Clone, Copy)]
pub struct ParsedToken {
    /// As the text says; the stored token must be of the same kind.
    pub kind: TokenKind,
    /// Which token object to look at.
    pub id: TokenId,
    /// SHA-256 of the secret's characters.
    pub sha256: [u8; 32],
}

impl ParsedToken {
    /// SHA-256 of the secret's characters, as a token object holds it.
    pub fn sha256_hex(&self) -> String {
        to_hex(&self.sha256)
    }
}

/// A whole token with its secret. No `Debug`, no `Display`: showing it takes [`TokenText::expose`].
pub struct TokenText {
    text: Zeroizing<String>,
    parsed: ParsedToken,
}

impl TokenText {
    /// A new random token.
    pub fn generate(kind: TokenKind) -> Result<Self, NoRandomness> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        rand::fill(secret.as_mut_slice()).map_err(|_| NoRandomness)?;
        let id = random_id()?;
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN));
        text.push_str(PREFIX);
        text.push_str(kind.as_str());
        text.push('_');
        text.push_str(id.as_str());
        text.push('_');
        push_base62(&mut text, &mut secret);
        let crc = crc_text(text.as_bytes());
        text.extend(crc.iter().map(|&c| char::from(c)));
        let parsed = Self::parse(&text).map_err(|Malformed| NoRandomness)?;
        Ok(Self { text, parsed })
    }

    /// Reads a token. Everything is checked that can be checked without knowing any token.
    pub fn parse(text: &str) -> Result<ParsedToken, Malformed> {
        let bytes = text.as_bytes();
        if bytes.len() != TEXT_LEN {
            return Err(Malformed);
        }
        let (checked, crc) = bytes
            .split_at_checked(TEXT_LEN - CRC_LEN)
            .ok_or(Malformed)?;
        if crc != crc_text(checked) {
            return Err(Malformed);
        }
        let rest = checked.strip_prefix(PREFIX.as_bytes()).ok_or(Malformed)?;
        let (kind, rest) = rest.split_at_checked(KIND_LEN).ok_or(Malformed)?;
        let rest = rest.strip_prefix(b"_").ok_or(Malformed)?;
        let (id, rest) = rest.split_at_checked(ID_LEN).ok_or(Malformed)?;
        let secret = rest.strip_prefix(b"_").ok_or(Malformed)?;
        if !secret.iter().all(u8::is_ascii_alphanumeric) {
            return Err(Malformed);
        }
        Ok(ParsedToken {
            kind: parse_kind(kind).ok_or(Malformed)?,
            id: std::str::from_utf8(id)
                .ok()
                .and_then(TokenId::parse)
                .ok_or(Malformed)?,
            sha256: sha256(secret),
        })
    }

    /// The id: name of the token's object.
    pub fn id(&self) -> TokenId {
        self.parsed.id
    }

    /// What is stored of it: SHA-256 of the secret, lower-case hex.
    pub fn sha256_hex(&self) -> String {
        to_hex(&self.parsed.sha256)
    }

    /// The whole text, for the answer to whoever asked for it.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

/// 16 random characters of `0-9a-z`.
pub fn random_id() -> Result<TokenId, NoRandomness> {
    let mut id = [0_u8; ID_LEN];
    let mut filled = id.iter_mut().peekable();
    // 252 is the largest multiple of 36 in a byte: what is above would favour the first characters.
    while filled.peek().is_some() {
        let mut random = [0_u8; 2 * ID_LEN];
        rand::fill(&mut random).map_err(|_| NoRandomness)?;
        for byte in random.into_iter().filter(|&byte| byte < 252) {
            let (Some(slot), Some(&c)) = (filled.next(), BASE36.get(usize::from(byte % 36))) else {
                break;
            };
            *slot = c;
        }
    }
    Ok(TokenId(id))
}

/// Reads 64 lower-case hex digits.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0_u8; 32];
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    if pairs.len() != out.len() {
        return None;
    }
    for (slot, &[high, low]) in out.iter_mut().zip(pairs) {
        *slot = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

fn parse_kind(text: &[u8]) -> Option<TokenKind> {
    [TokenKind::Pat, TokenKind::Ses, TokenKind::Web]
        .into_iter()
        .find(|kind| kind.as_str().as_bytes() == text)
}

/// Appends a 256-bit number, most significant digit first, and leaves zeros in its place.
fn push_base62(text: &mut String, number: &mut [u8; 32]) {
    let mut digits = Zeroizing::new([0_u8; SECRET_LEN]);
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u16;
        for byte in number.iter_mut() {
            let value = remainder << 8 | u16::from(*byte);
            // value < 62 * 256, so the quotient is a byte.
            *byte = u8::try_from(value / 62).unwrap_or_default();
            remainder = value % 62;
        }
        *digit = BASE62
            .get(usize::from(remainder))
            .copied()
            .unwrap_or_default();
    }
    text.extend(digits.iter().map(|&c| char::from(c)));
}

fn crc_text(bytes: &[u8]) -> [u8; CRC_LEN] {
    let mut rest = crc32fast::hash(bytes);
    let mut text = [0; CRC_LEN];
    for slot in text.iter_mut().rev() {
        let digit = usize::try_from(rest % 62).unwrap_or_default();
        *slot = BASE62.get(digit).copied().unwrap_or_default();
        rest /= 62;
    }
    text
}

/// A text with a good CRC behind it.
#[cfg(test)]
pub(super) fn with_crc(text: &str) -> String {
    let crc = crc_text(text.as_bytes()).map(char::from);
    text.chars().chain(crc).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_generated_token_reads_back() {
        for kind in [TokenKind::Pat, TokenKind::Ses, TokenKind::Web] {
            let token = TokenText::generate(kind).unwrap();
            assert_eq!(token.expose().len(), 74);
            let parsed = TokenText::parse(token.expose()).unwrap();
            assert_eq!(parsed.kind, kind);
            assert_eq!(parsed.id, token.id());
            assert_eq!(from_hex(&token.sha256_hex()), Some(parsed.sha256));
        }
    }

    #[test]
    fn the_shape_is_stable() {
        // Stored tokens must be readable by every later version: this text is fixed.
        let mut number = [0xff; 32];
        let mut text = String::from("pal_pat_0123456789abcdef_");
        push_base62(&mut text, &mut number);
        let text = with_crc(&text);
        insta::assert_snapshot!(text, @"pal_pat_0123456789abcdef_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp101Lu8L");
        assert!(TokenText::parse(&text).is_ok());
    }

    #[test]
    fn other_kinds_and_alphabets_are_refused_even_with_a_good_crc() {
        let good = format!("pal_pat_0123456789abcdef_{}", "A".repeat(43));
        for (bad, why) in [
            (good.replace("pat", "agt"), "kind"),
            (good.replace("pat", "PAT"), "kind in capitals"),
            (good.replace("abcdef", "abcdeF"), "capital in the id"),
            (good.replace("AAA", "AA-"), "alphabet of the secret"),
            (good.replacen('_', "-", 1), "first separator"),
            (good.replace("f_A", "f-A"), "last separator"),
        ] {
            let text = with_crc(&bad);
            assert_eq!(text.len(), TEXT_LEN, "{why}");
            assert!(TokenText::parse(&text).is_err(), "{why}");
        }
    }

    #[test]
    fn hex_is_read_strictly() {
        assert_eq!(from_hex(&"0f".repeat(32)), Some([15; 32]));
        for bad in [
            "",
            "0f",
            &"0F".repeat(32),
            &"0f".repeat(33),
            &"zz".repeat(32),
        ] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    proptest! {
        // T3: a token that lost, gained or changed anything is refused before any look-up.
        #[test]
        fn a_mangled_token_is_refused(at in 0_usize..74, c in any::<char>(), cut in 0_usize..74, more in ".{1,8}") {
            let token = TokenText::generate(TokenKind::Ses).unwrap();
            let text = token.expose();
            prop_assert!(TokenText::parse(&text[..cut]).is_err());
            prop_assert!(TokenText::parse(&text[cut + 1..]).is_err());
            let longer = format!("{text}{more}");
            prop_assert!(TokenText::parse(&longer).is_err());
            let mut changed = text.to_owned();
            changed.replace_range(at..=at, &c.to_string());
            prop_assert_eq!(TokenText::parse(&changed).is_err(), changed != text);
            let mut twisted: Vec<char> = text.chars().collect();
            twisted.swap(at, (at + 1) % 74);
            let twisted: String = twisted.into_iter().collect();
            prop_assert_eq!(TokenText::parse(&twisted).is_err(), twisted != text);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = TokenText::parse(&text);
        }
    }
}
