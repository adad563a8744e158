//! How much of a request's target may be told.
//!
//! A query can hold anything: the arguments of a command (`exec`), a token that somebody put into a URL,
//! whatever an application behind a `proxy` subresource takes. So a parameter is shown only if it is one of
//! Kubernetes' own that say how objects are listed, watched or written; of all others neither name nor
//! value is, only how many they were. What looks like a token is hidden wherever it stands.

use std::borrow::Cow;

/// Parameters that are shown, in the spelling that clients use; any other spelling is hidden. Not in it:
/// `command` (arguments), `continue` (opaque, long), `path` (of deprecated proxies).
const SHOWN: [&str; 37] = [
    "allowWatchBookmarks",
    "container",
    "dryRun",
    "fieldManager",
    "fieldSelector",
    "fieldValidation",
    "follow",
    "force",
    "gracePeriodSeconds",
    "includeObject",
    "insecureSkipTLSVerifyBackend",
    "labelSelector",
    "limit",
    "limitBytes",
    "orphanDependents",
    "ports",
    "pretty",
    "previous",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "shardSelector",
    "sinceSeconds",
    "sinceTime",
    "stderr",
    "stdin",
    "stdout",
    "stream",
    "tailLines",
    "timeout",
    "timeoutSeconds",
    "timestamps",
    "tty",
    "verbose",
    "version",
    "watch",
];

/// What a token of the gateway begins with, and a JSON Web Token (`{"` in base64).
const TOKENS: [&str; 2] = ["pal_", "eyJ"];
/// What begins so and goes on for this long is taken for one; a gateway's has 74 bytes.
const TOKEN_LIKE: usize = 24;
/// What stands in its place. Not a legal byte of a target, so that nobody takes it for one.
const HIDDEN: &str = "<token>";

/// A target as it may be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown<'t> {
    /// The raw path, and the parameters that may be shown, as they were written.
    pub(super) text: Cow<'t, str>,
    /// How many parameters are not shown.
    pub(super) hidden: usize,
}

/// Takes out of a raw target what may not be told.
pub(super) fn shown(raw: &str) -> Shown<'_> {
    let Some((path, query)) = raw.split_once('?') else {
        return Shown {
            text: without_tokens(raw),
            hidden: 0,
        };
    };
    // Everything after `…/proxy/` means something to an application alone.
    let proxied = path.contains("/proxy");
    let (mut text, mut hidden) = (path.to_owned(), 0);
    let mut mark = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if proxied || pair.contains(';') || SHOWN.binary_search(&name).is_err() {
            hidden += 1;
            continue;
        }
        text.push(mark);
        text.push_str(pair);
        mark = '&';
    }
    if let Cow::Owned(clean) = without_tokens(&text) {
        text = clean;
    }
    Shown {
        text: text.into(),
        hidden,
    }
}

/// The text without tokens in it.
pub(super) fn without_tokens(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut rest = text;
    while let Some(at) = TOKENS.iter().filter_map(|token| rest.find(token)).min() {
        let (before, from) = rest.split_at(at);
        // Dots part the three parts of a JSON Web Token.
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = from.find(|c: char| !part(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        clean.push_str(before);
        clean.push_str(if word.len() < TOKEN_LIKE {
            word
        } else {
            HIDDEN
        });
        rest = after;
    }
    if clean.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    clean.push_str(rest);
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(SHOWN.is_sorted());
    }

    // G8: what a query holds is shown only if it cannot be a secret.
    #[test]
    fn only_parameters_of_lists_and_writes_are_shown() {
        for (raw, text, hidden) in [
            ("/api/v1/pods", "/api/v1/pods", 0),
            ("/api/v1/pods?", "/api/v1/pods", 0),
            (
                "/api/v1/pods?watch=true&labelSelector=a%3Db&limit=5",
                "/api/v1/pods?watch=true&labelSelector=a%3Db&limit=5",
                0,
            ),
            (
                "/exec?command=mysql&command=-psecret&stdin=true&tty",
                "/exec?stdin=true&tty",
                2,
            ),
            ("/a?access_token=secret&watch=1", "/a?watch=1", 1),
            ("/a?secret", "/a", 1),
            // Another spelling of a shown name, and a pair that Go drops.
            ("/a?%77atch=secret&watch=1;secret", "/a", 2),
            ("/pods/x/proxy/login?watch=secret", "/pods/x/proxy/login", 1),
            ("/pods/x/proxy?limit=secret", "/pods/x/proxy", 1),
        ] {
            let shown = shown(raw);
            assert_eq!((&*shown.text, shown.hidden), (text, hidden), "{raw}");
        }
    }

    // G8: a token that was put into a URL or a User-Agent.
    #[test]
    fn tokens_are_hidden_wherever_they_stand() {
        let token = format!("pal_pat_{}", "x".repeat(66));
        for (text, clean) in [
            (
                format!("/k8s/clusters/{token}/api"),
                "/k8s/clusters/<token>/api",
            ),
            (format!("curl {token}"), "curl <token>"),
            (format!("{token}{token}"), "<token>"),
            (format!("{token},{token}"), "<token>,<token>"),
            (
                "/a/eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln/b".to_owned(),
                "/a/<token>/b",
            ),
            ("/pods/pal_x".to_owned(), "/pods/pal_x"),
            ("/pods/eyJ-web".to_owned(), "/pods/eyJ-web"),
            ("pal_".to_owned(), "pal_"),
            (String::new(), ""),
        ] {
            assert_eq!(without_tokens(&text), clean, "{text}");
        }
        let raw = format!("/a?labelSelector={token}");
        assert_eq!(shown(&raw).text, "/a?labelSelector=<token>");
    }
}
