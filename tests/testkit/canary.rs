//! Looks for usable secrets where none may be: in logs, audit files, metrics, answers and the store.
//!
//! Every harness that runs a gateway asks here when the gateway ends, so that the whole suite is one
//! canary test (G8, O6): whatever a test does, no secret that it used may turn up. What is found by its
//! shape needs no planting: texts of tokens, JSON Web Tokens (the credentials of clusters), private keys.

use palisade::authn::TokenText;
use std::{
    fs,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
};

/// Stands in every secret that a test makes up.
pub(crate) const PLANTED: &str = "correct horse";
/// Another, for places that take no blank.
pub(crate) const PLANTED_WORD: &str = "canary-7f3k";
/// Characters of a token's text.
const TOKEN: usize = 74;
/// Files below a gateway's state folder that are secrets end like this.
const KEYS: [&str; 2] = ["keys", ".key"];

/// What was found, as far as it may be shown in a failing test: where in the text it stands.
pub(crate) fn find(text: &[u8], known: &[&str]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let around = |what: &str, at: usize| {
        let before: String = text[..at].chars().rev().take(120).collect();
        let before: String = before.chars().rev().collect();
        format!("{what} after {before:?}")
    };
    for word in known.iter().copied().chain([PLANTED, PLANTED_WORD]) {
        if let Some(at) = text.find(word) {
            return Some(around("a planted secret", at));
        }
    }
    if let Some(at) = text.find("PRIVATE KEY-----") {
        return Some(around("a private key", at));
    }
    for (at, _) in text.match_indices("pal_") {
        let token = text.get(at..at + TOKEN);
        if token.is_some_and(|token| TokenText::parse(token).is_ok()) {
            return Some(around("a token", at));
        }
    }
    let jwt = text
        .match_indices("eyJ")
        .find(|(at, _)| is_jwt(&text[*at..]));
    jwt.map(|(at, _)| around("a JSON Web Token", at))
}

/// Header and payload are JSON objects: both begin with `{"` in base64.
fn is_jwt(text: &str) -> bool {
    let header = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')
        .unwrap_or(text.len());
    header > 10 && text[header..].starts_with(".eyJ")
}

/// Fails the test if one of these texts, or a file of the state folder, holds a secret.
#[track_caller]
pub(crate) fn assert_none(texts: &[(&str, &[u8])], state: Option<&Path>, known: &[&str]) {
    for (what, text) in texts {
        assert_eq!(find(text, known), None, "a secret in {what}");
    }
    let Some(state) = state else { return };
    for file in files(state) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !KEYS.iter().any(|end| name.ends_with(end))
            && let Ok(bytes) = fs::read(&file)
        {
            assert_eq!(find(&bytes, known), None, "a secret in {}", file.display());
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let (folders, mut files): (Vec<_>, Vec<_>) = entries
        .map(|entry| entry.path())
        .partition(|path| path.is_dir());
    // The demo of a test may put a cluster's own files below; they are not the gateway's.
    files.extend(folders.iter().flat_map(|folder| self::files(folder)));
    files
}

/// What the in-process gateways of this test program log, at trace level, is looked at line by line.
pub(crate) fn watch_log() {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        use tracing_subscriber::{Layer as _, filter, fmt, prelude::*};
        let own = filter::Targets::new()
            .with_default(filter::LevelFilter::WARN)
            .with_target("palisade", filter::LevelFilter::TRACE);
        let layer = fmt::layer().with_ansi(false).with_writer(|| Lines);
        // Another subscriber of the same program would be a test's own.
        let _ = tracing_subscriber::registry()
            .with(layer.with_filter(own))
            .try_init();
    });
}

/// What [`watch_log`] has found so far.
pub(crate) fn found_in_log() -> Vec<String> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The formatter writes one line a call.
struct Lines;

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        if let Some(found) = find(line, &[]) {
            let mut all = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(found);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The canary is no good if it does not sing.
mod sings {
    use super::*;
    use palisade::objects::TokenKind;

    #[test]
    fn what_is_a_secret_by_its_shape_is_found() {
        let token = TokenText::generate(TokenKind::Pat).expect("randomness");
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln";
        for text in [
            format!("GET /?token={} HTTP", token.expose()),
            format!("token: {jwt}"),
            "-----BEGIN PRIVATE KEY-----".to_owned(),
            format!("password={PLANTED} x"),
            format!("cookie={PLANTED_WORD}"),
            "hunter2 of a test".to_owned(),
        ] {
            assert!(find(text.as_bytes(), &["hunter2"]).is_some(), "{text}");
        }
        for text in [
            format!("token={}", token.id()),
            "pal_pat_abc and eyJ alone".to_owned(),
            "palisade eyJhbGciOiJSUzI1NiJ9 and no payload".to_owned(),
        ] {
            assert_eq!(find(text.as_bytes(), &["hunter2"]), None);
        }
        watch_log();
        tracing::trace!(target: "palisade::canary", "a line that is looked at");
        assert_eq!(found_in_log(), Vec::<String>::new());
    }
}
