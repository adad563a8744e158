//! Field selectors (`apimachinery/pkg/fields/selector.go`), as far as one can fix a name.

use std::borrow::Cow;

/// The selector cannot be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The value of the first exact `metadata.name` term, after upstream's sorting of the terms.
pub(super) fn exact_name(selector: &str) -> Result<Option<String>, Malformed> {
    let mut terms = split_terms(selector);
    terms.sort_unstable();
    let mut name = None;
    for term in terms.into_iter().filter(|term| !term.is_empty()) {
        let (field, exact, value) = split_term(term).ok_or(Malformed)?;
        let value = unescape(value)?;
        if exact && field == "metadata.name" && name.is_none() {
            name = Some(value.into_owned());
        }
    }
    Ok(name)
}

/// Splits at commas that no backslash stands before.
fn split_terms(selector: &str) -> Vec<&str> {
    let mut escaped = false;
    selector
        .split(|c| {
            let ends = c == ',' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })
        .collect()
}

/// Field, whether the operator is `=` or `==`, and the raw value. The first place where an operator stands
/// counts; nothing is trimmed.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(at, _)| {
        let (field, rest) = term.split_at(at);
        let (exact, value) = match rest.strip_prefix("!=") {
            Some(value) => (false, value),
            None => (
                true,
                rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?,
            ),
        };
        Some((field, exact, value))
    })
}

/// `\\`, `\,` and `\=`; any other escape, and a bare `,` or `=`, is malformed.
fn unescape(value: &str) -> Result<Cow<'_, str>, Malformed> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(Cow::Borrowed(value));
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(_) | None => return Err(Malformed),
            },
            ',' | '=' => return Err(Malformed),
            other => plain.push(other),
        }
    }
    Ok(Cow::Owned(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_exact_term_after_sorting_fixes_the_name() {
        let name = |selector| exact_name(selector).map(|name| name.unwrap_or("-".to_owned()));
        for (selector, expected) in [
            ("", "-"),
            ("metadata.name=x", "x"),
            ("metadata.name==x", "x"),
            ("metadata.name!=x", "-"),
            ("metadata.name=y,metadata.name=x", "x"),
            ("metadata.name= x", " x"),
            (" metadata.name=x", "-"),
            ("metadata.name=", ""),
            (",,metadata.name=x,", "x"),
            ("status.phase=Running,metadata.name=x", "x"),
            (r"metadata.name=a\,b", "a,b"),
            (r"metadata.name=a\=b\\", r"a=b\"),
            ("=", "-"),
            ("a!=b,metadata.name=c", "c"),
        ] {
            assert_eq!(name(selector), Ok(expected.to_owned()), "{selector}");
        }
        for bad in [
            "x",
            "metadata.name=x=y",
            r"a=\x",
            r"a=\",
            "a=b,c",
            "metadata.name===x",
        ] {
            assert_eq!(name(bad), Err(Malformed), "{bad}");
        }
    }
}
