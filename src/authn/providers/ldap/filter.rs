//! Search filters (RFC 4515), made of texts that strangers type.
//!
//! What an attacker would try: a name that closes the filter's own parenthesis and opens another (`*)(uid=*`), a
//! star that finds anybody, a NUL that ends the text for a C program (L2 of docs/attacks.md). Everything that is
//! put into a filter goes through [`escaped`] or [`octets`]; both leave no byte that a filter gives a meaning.

use std::{borrow::Cow, fmt::Write as _};

/// A text as a value of a filter.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    ldap3::ldap_escape(text)
}

/// Bytes as a value of a filter.
pub(super) fn octets(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(3 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\{byte:02x}");
    }
    text
}

/// One of these: `(|(a)(b))`.
pub(super) fn any(filters: impl IntoIterator<Item = String>) -> String {
    let mut text = "(|".to_owned();
    text.extend(filters);
    text.push(')');
    text
}

#[cfg(test)]
mod tests {
    use super::{escaped, octets};
    use proptest::prelude::*;

    // L2: no text can say anything in a filter but itself.
    #[test]
    fn what_a_filter_gives_a_meaning_is_escaped() {
        for (typed, safe) in [
            ("jane", "jane"),
            ("*)(uid=*", "\\2a\\29\\28uid=\\2a"),
            ("a\0b", "a\\00b"),
            ("CORP\\jane", "CORP\\5cjane"),
            ("jürgen", "jürgen"),
        ] {
            assert_eq!(escaped(typed), safe);
        }
        assert_eq!(octets(&[0, 0x2a, 0xff]), "\\00\\2a\\ff");
    }

    proptest! {
        #[test]
        fn any_text_is_one_value_of_one_comparison(typed in any::<String>()) {
            let filter = format!("(&(objectClass=person)(uid={}))", escaped(&typed));
            prop_assert!(ldap3::parse_filter(&filter).is_ok() || typed.is_empty());
            // Of what gives a filter its shape there is as much as without the text.
            prop_assert_eq!(filter.matches('(').count(), 3);
            prop_assert_eq!(filter.matches(')').count(), 3);
            prop_assert!(!filter.contains('*') && !filter.contains('\0'));
        }

        #[test]
        fn any_bytes_are_one_value(bytes in proptest::collection::vec(any::<u8>(), 1..40)) {
            let filter = format!("(objectSid={})", octets(&bytes));
            prop_assert!(ldap3::parse_filter(&filter).is_ok());
            prop_assert_eq!(filter.len(), 3 * bytes.len() + "(objectSid=)".len());
        }
    }
}
