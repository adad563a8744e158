//! What browsers and OAuth clients send: `application/x-www-form-urlencoded`, read strictly.

use http::{HeaderMap, header};
use zeroize::Zeroizing;

/// The only type that is read.
pub const MIME: &str = "application/x-www-form-urlencoded";
/// Fields of one form: none of ours has more than eight.
const MAX_FIELDS: usize = 16;

/// Why a form is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Another type, or a compressed one, which could unfold to anything.
    #[error("of the type {MIME}")]
    Type,
    /// More than [`MAX_FIELDS`].
    #[error("one with as few fields as it should have")]
    Many,
    /// Of two readers each could take another one.
    #[error("one that has each field once")]
    Twice,
}

/// What a form says. No `Debug`: it may hold a password.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Whether a body of this message can be a form.
    pub fn check_type(headers: &HeaderMap) -> Result<(), FormError> {
        let mime = headers.get(header::CONTENT_TYPE);
        let mime = mime.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let mime = mime.split(';').next().unwrap_or_default().trim();
        if mime.eq_ignore_ascii_case(MIME) && !headers.contains_key(header::CONTENT_ENCODING) {
            Ok(())
        } else {
            Err(FormError::Type)
        }
    }

    /// Reads `a=b&c=d`, of a body or a query.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            if fields.len() == MAX_FIELDS {
                return Err(FormError::Many);
            }
            if fields.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Twice);
            }
            fields.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(fields))
    }

    /// The value of a field; none: it is not there.
    pub fn find(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    /// The value of a field; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_default()
    }
}

/// Writes `a=b&c=d`.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_strictly() {
        let form = Form::parse(b"a=1+2%26&b=&c").unwrap();
        let all = [form.get("a"), form.get("b"), form.get("c"), form.get("d")];
        assert_eq!(all, ["1 2&", "", "", ""]);
        assert_eq!((form.find("b"), form.find("d")), (Some(""), None));
        assert_eq!(Form::parse(b"a=1&a=2").err(), Some(FormError::Twice));
        assert_eq!(Form::parse(b"a=1&%61=2").err(), Some(FormError::Twice));
        let many: Vec<String> = (0..=MAX_FIELDS).map(|i| format!("f{i}=x")).collect();
        let many = Form::parse(many.join("&").as_bytes());
        assert_eq!(many.err(), Some(FormError::Many));
    }
}
