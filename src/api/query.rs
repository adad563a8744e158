//! Query parameters, read as Go's `net/url` reads them, because the policy did so too: a pair with `;` or a
//! bad escape is dropped, the first value wins, keys are case-sensitive.

use super::ApiError;
use std::collections::BTreeMap;

/// The parameters of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pairs: BTreeMap<String, String>,
    /// The one name that the policy took a list to be about.
    pub(super) judged_name: Option<String>,
}

impl Query {
    /// Reads the text after the question mark.
    pub(super) fn parse(raw: &str) -> Self {
        let mut found = BTreeMap::new();
        for pair in raw.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (unescape(key), unescape(value)) {
                found.entry(key).or_insert(value);
            }
        }
        Self {
            pairs: found,
            judged_name: None,
        }
    }

    /// The value of a parameter; an empty one is as good as none.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.pairs
            .get(key)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// Whether the request asks for a watch: upstream's reading of the parameter.
    pub(super) fn watch(&self) -> bool {
        self.pairs
            .get("watch")
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// Whether the request is to be tried only.
    ///
    /// # Errors
    /// 400: a value that means nothing; taking it for "no" would write what was only to be tried.
    pub(super) fn dry_run(&self) -> Result<DryRun, ApiError> {
        match self.get("dryRun") {
            None => Ok(DryRun::No),
            Some("All") => Ok(DryRun::Yes),
            Some(other) => Err(ApiError::BadRequest(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }
}

/// `dryRun=All`, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DryRun {
    /// Write.
    No,
    /// Check everything and write nothing.
    Yes,
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // P5: the same meaning as for the API server.
    #[test]
    fn pairs_are_read_as_go_reads_them() {
        let query = Query::parse("limit=5&limit=6&a;b=1&bad=%zz&x=%41+b&empty=&Watch=true");
        assert_eq!(query.get("limit"), Some("5"));
        assert_eq!(query.get("x"), Some("A b"));
        for absent in ["a;b", "a", "bad", "empty"] {
            assert_eq!(query.get(absent), None, "{absent}");
        }
        assert!(!query.watch());
        for (raw, watch) in [
            ("watch=true", true),
            ("watch=1", true),
            ("watch", true),
            ("watch=no", true),
            ("watch=false", false),
            ("watch=0", false),
            ("watch=FALSE", false),
            ("watch=false&watch=true", false),
            ("watch=true;x=1", false),
        ] {
            assert_eq!(Query::parse(raw).watch(), watch, "{raw}");
        }
    }

    #[test]
    fn an_unknown_dry_run_is_refused() {
        assert_eq!(Query::parse("").dry_run().unwrap(), DryRun::No);
        assert_eq!(Query::parse("dryRun=All").dry_run().unwrap(), DryRun::Yes);
        let error = Query::parse("dryRun=true").dry_run().unwrap_err();
        assert_eq!(error.status().code, 400);
    }
}
