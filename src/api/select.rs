//! Label and field selectors of list requests (`apimachinery/pkg/labels`, `pkg/fields`).
//!
//! They are asked of the object as it is shown to the caller, so that no selector finds out what the answer
//! hides (F1).

use super::ApiError;
use super::resource::Resource;

/// Most requirements of one selector: a selector is written by a person.
const MAX_REQUIREMENTS: usize = 64;

/// Which objects a list shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// A field, and whether it is to have this value or any other.
#[derive(Debug, PartialEq, Eq)]
struct FieldTerm {
    field: &'static str,
    value: String,
    same: bool,
}

/// What every kind can be selected by beside its own fields.
const NAME: &str = "metadata.name";

impl Selection {
    /// Reads both selectors, for objects of kind `K`.
    ///
    /// # Errors
    /// 400 with upstream's texts.
    pub(super) fn parse<K: Resource>(
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<Self, ApiError> {
        let mut selection = Self::default();
        for term in split_terms(labels.unwrap_or_default()) {
            selection.labels.push(requirement(term).ok_or_else(|| {
                ApiError::BadRequest(format!(
                    "unable to parse requirement of labelSelector: {term:?}"
                ))
            })?);
        }
        for term in fields
            .unwrap_or_default()
            .split(',')
            .filter(|t| !t.is_empty())
        {
            selection.fields.push(field_term(term, K::FIELDS)?);
        }
        if selection.labels.len() + selection.fields.len() > MAX_REQUIREMENTS {
            return Err(ApiError::BadRequest(format!(
                "a selector has at most {MAX_REQUIREMENTS} requirements"
            )));
        }
        Ok(selection)
    }

    /// Only the object of this name, whatever else is selected.
    pub(super) fn restrict_to(&mut self, name: &str) {
        self.fields.push(FieldTerm {
            field: NAME,
            value: name.to_owned(),
            same: true,
        });
    }

    /// Whether the list shows this object, which is as the caller may see it.
    pub(super) fn matches<K: Resource>(&self, object: &K) -> bool {
        let meta = object.meta();
        let labels = self.labels.iter().all(|r| {
            let value = meta.labels.get(&r.key);
            match &r.test {
                Test::In(values) => value.is_some_and(|v| values.contains(v)),
                // An object without the label is "not in", as upstream has it.
                Test::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
            }
        });
        labels
            && self.fields.iter().all(|term| {
                let same = match term.field {
                    NAME => meta.name == term.value,
                    field => object.field(field) == term.value,
                };
                same == term.same
            })
    }
}

/// Splits at commas that are not between brackets.
fn split_terms(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let at_comma = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    let terms = text.split(at_comma).map(str::trim);
    terms.filter(|t| !t.is_empty()).collect()
}

fn requirement(term: &str) -> Option<Requirement> {
    let make = |key: &str, test| {
        let key = key.trim();
        is_label_key(key).then(|| Requirement {
            key: key.to_owned(),
            test,
        })
    };
    if let Some(key) = term.strip_prefix('!') {
        return make(key, Test::Absent);
    }
    if let Some((left, values)) = term.split_once('(') {
        let values = values.strip_suffix(')')?.split(',').map(str::trim);
        let values: Vec<String> = values.map(str::to_owned).collect();
        let valid = values.iter().all(|v| is_label_value(v));
        let (key, word) = left.trim().rsplit_once(char::is_whitespace)?;
        return match word {
            "in" if valid => make(key, Test::In(values)),
            "notin" if valid => make(key, Test::NotIn(values)),
            _ => None,
        };
    }
    let one = |value: &str| is_label_value(value.trim()).then(|| vec![value.trim().to_owned()]);
    if let Some((key, value)) = term.split_once("!=") {
        return make(key, Test::NotIn(one(value)?));
    }
    if let Some((key, value)) = term.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return make(key, Test::In(one(value)?));
    }
    make(term, Test::Exists)
}

fn field_term(term: &str, known: &[&'static str]) -> Result<FieldTerm, ApiError> {
    let (field, value, same) = if let Some((field, value)) = term.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = term.split_once('=') {
        (field, value.strip_prefix('=').unwrap_or(value), true)
    } else {
        return Err(ApiError::BadRequest(format!(
            "invalid field selector: {term:?}; can't understand it"
        )));
    };
    let mut all = known.iter().chain([&NAME]);
    let Some(field) = all.find(|known| **known == field) else {
        let all: Vec<&str> = [NAME].into_iter().chain(known.iter().copied()).collect();
        return Err(ApiError::BadRequest(format!(
            "field label not supported: {field}: objects of this kind are selected by {}",
            all.join(", ")
        )));
    };
    let value = value.to_owned();
    Ok(FieldTerm { field, value, same })
}

/// `[prefix/]name`: a DNS subdomain of at most 253 bytes, and a name of at most 63.
pub(super) fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let prefix_ok = prefix.is_none_or(|p| {
        p.len() <= 253
            && p.split('.')
                .all(|part| edges(part, lower) && part.bytes().all(|c| lower(c) || c == b'-'))
    });
    prefix_ok && !name.is_empty() && is_label_value(name)
}

/// Empty, or at most 63 of letters, digits, `-`, `_`, `.`, with a letter or digit at both ends.
pub(super) fn is_label_value(value: &str) -> bool {
    let alnum = |c: u8| c.is_ascii_alphanumeric();
    let inner = |c: u8| alnum(c) || matches!(c, b'-' | b'_' | b'.');
    value.is_empty() || (value.len() <= 63 && edges(value, alnum) && value.bytes().all(inner))
}

fn edges(text: &str, ok: impl Fn(u8) -> bool) -> bool {
    let ok = |c: Option<&u8>| c.is_some_and(|c| ok(*c));
    ok(text.as_bytes().first()) && ok(text.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{User, UserSpec};

    fn user(name: &str, labels: &[(&str, &str)]) -> User {
        let mut user = User::new(name, UserSpec::default());
        user.metadata.labels = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        user
    }

    #[test]
    fn selectors_mean_what_kubernetes_means() {
        let object = user("one", &[("env", "prod"), ("a.b/c", "")]);
        for (labels, fields, expected) in [
            ("", "", true),
            ("env=prod", "", true),
            ("env==prod", "", true),
            ("env = prod", "", true),
            ("env=dev", "", false),
            ("env!=dev", "", true),
            ("env!=prod", "", false),
            ("none!=x", "", true),
            ("env in (dev, prod)", "", true),
            ("env notin (dev,prod)", "", false),
            ("none notin (dev)", "", true),
            ("env", "", true),
            ("!env", "", false),
            ("!none", "", true),
            ("none", "", false),
            ("a.b/c=", "", true),
            ("env in (prod),a.b/c", "", true),
            ("env=prod,none", "", false),
            ("", "metadata.name=one", true),
            ("", "metadata.name==one", true),
            ("", "metadata.name=two", false),
            ("", "metadata.name!=one", false),
            ("env=prod", "metadata.name!=two", true),
            ("", "spec.disabled=false", true),
            ("", "spec.disabled==true", false),
            ("", "spec.machine!=true,metadata.name=one", true),
        ] {
            let selection = Selection::parse::<User>(Some(labels), Some(fields)).unwrap();
            assert_eq!(selection.matches(&object), expected, "{labels} {fields}");
        }
    }

    #[test]
    fn selectors_that_cannot_be_read_are_400() {
        let many = vec!["a"; MAX_REQUIREMENTS + 1].join(",");
        for (labels, fields) in [
            ("a b", ""),
            ("=x", ""),
            ("a in prod", ""),
            ("a in (x", ""),
            ("a near (x)", ""),
            ("a=b c", ""),
            ("-a", ""),
            ("A.b/", ""),
            (many.as_str(), ""),
            ("", "metadata.name"),
            ("", "spec.displayName=x"),
            ("", "spec.role=admin"),
        ] {
            let error = Selection::parse::<User>(Some(labels), Some(fields)).unwrap_err();
            assert_eq!(error.status().code, 400, "{labels} {fields}");
        }
    }
}
