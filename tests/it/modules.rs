//! Holds the order of modules: a part of the program knows only parts that stand below it.
//!
//! The order is total, so it leaves no room for circles. Every path that starts at the crate's root
//! (`crate::x`, groups of a `use`, `super::` chains that reach the root) is read from the tokens of every
//! file in `src`; comments and strings are skipped. `main.rs` and `lib.rs` stand above all.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, also in the functions beside it"
)]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// From the top down.
const ORDER: [&str; 15] = [
    "cli", "serve", "gateway", "web", "api", "clusters", "proxy", "authz", "authn", "request",
    "objects", "store", "config", "observe", "status",
];

/// One mistake.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

#[test]
fn no_module_knows_one_above_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "the sources are in src");
    let mut mistakes = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap().to_str().unwrap();
        mistakes.extend(check(name, &fs::read_to_string(&file).unwrap()));
    }
    let report: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    assert!(report.is_empty(), "{}", report.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The mistakes of one file; `name` is its path under `src`.
fn check(name: &str, source: &str) -> Vec<Mistake> {
    let mut modules: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if modules.last() == Some(&"mod") {
        modules.pop();
    }
    let Some(own) = modules.first().copied() else {
        return Vec::new();
    };
    if name == "main.rs" || name == "lib.rs" {
        return Vec::new();
    }
    let mistake = |line, what| Mistake {
        file: format!("src/{name}"),
        line,
        what,
    };
    let Some(place) = ORDER.iter().position(|module| *module == own) else {
        return vec![mistake(
            1,
            format!("module `{own}` has no place in the order"),
        )];
    };
    let mut mistakes = Vec::new();
    for (line, used) in from_root(&tokens(source), modules.len()) {
        match ORDER.iter().position(|module| *module == used) {
            Some(other) if other >= place => {}
            Some(_) => mistakes.push(mistake(line, format!("`{own}` must not know `{used}`"))),
            None => mistakes.push(mistake(line, format!("`{used}` has no place in the order"))),
        }
    }
    mistakes
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Path,
    Mark(char),
}

type Tokens = Vec<(usize, Token)>;

/// Line and first segment of each path that starts at the crate's root, in a file whose module stands
/// `depth` levels below it.
fn from_root(tokens: &Tokens, depth: usize) -> Vec<(usize, String)> {
    let word = |at: usize| match tokens.get(at) {
        Some((_, Token::Word(word))) => word.as_str(),
        Some((_, Token::Path | Token::Mark(_))) | None => "",
    };
    let is = |at: usize, token: &Token| tokens.get(at).is_some_and(|(_, found)| found == token);
    let mut found = Vec::new();
    // For each open brace, whether it opened a module.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while let Some((_, token)) = tokens.get(at) {
        if *token == Token::Mark('{') {
            braces.push(at >= 2 && word(at - 2) == "mod" && !word(at - 1).is_empty());
        } else if *token == Token::Mark('}') {
            braces.pop();
        }
        let inline = braces.iter().filter(|module| **module).count();
        let mut next = at;
        while word(next) == "super" && is(next + 1, &Token::Path) {
            next += 2;
        }
        let starts = at == 0 || !is(at - 1, &Token::Path);
        if starts && word(at) == "crate" && is(at + 1, &Token::Path) {
            next = at + 2;
        } else if !(starts && (next - at) / 2 >= depth + inline) {
            at = next.max(at + 1);
            continue;
        }
        firsts(tokens, next, &mut found);
        // A group is walked again for its braces; none of its words starts a path at the root.
        at = next;
    }
    found
}

/// The first segments at `at`: one, or those of a group.
fn firsts(tokens: &Tokens, mut at: usize, found: &mut Vec<(usize, String)>) {
    let mut level = 0;
    let mut fresh = true;
    while let Some((line, token)) = tokens.get(at) {
        match token {
            Token::Mark('{') => level += 1,
            Token::Mark('}') => level -= 1,
            Token::Mark(',') if level == 1 => fresh = true,
            Token::Word(_) | Token::Mark('*') if fresh => {
                let name = match token {
                    Token::Word(word) => word.clone(),
                    Token::Path | Token::Mark(_) => "*".to_owned(),
                };
                found.push((*line, name));
                fresh = false;
            }
            Token::Word(_) | Token::Path | Token::Mark(_) => {}
        }
        if level == 0 {
            return;
        }
        at += 1;
    }
}

/// Words and marks of a source, without comments, strings and characters.
fn tokens(source: &str) -> Tokens {
    let chars: Vec<char> = source.chars().collect();
    let char_at = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let end = match (char_at(at), char_at(at + 1)) {
            ('/', '/') => line_end(&chars, at),
            ('/', '*') => comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('r', '"' | '#') if raw_string_end(&chars, at + 1).is_some() => {
                raw_string_end(&chars, at + 1).unwrap()
            }
            ('b', '"') => string_end(&chars, at + 1),
            ('b', 'r') if raw_string_end(&chars, at + 2).is_some() => {
                raw_string_end(&chars, at + 2).unwrap()
            }
            ('\'', '\\') => (at + 3..chars.len()).find(|i| char_at(*i) == '\'').unwrap() + 1,
            ('\'', _) if char_at(at + 2) == '\'' => at + 3,
            (':', ':') => {
                tokens.push((line, Token::Path));
                at + 2
            }
            (c, _) if c == '_' || c.is_alphanumeric() => {
                let in_word = |i: &usize| char_at(*i) == '_' || char_at(*i).is_alphanumeric();
                let end = (at..=chars.len()).find(|i| !in_word(i)).unwrap();
                tokens.push((line, Token::Word(chars[at..end].iter().collect())));
                end
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push((line, Token::Mark(c)));
                }
                at + 1
            }
        };
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

fn line_end(chars: &[char], at: usize) -> usize {
    let length = chars[at..].iter().position(|c| *c == '\n');
    length.map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut level = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => (level, at) = (level + 1, at + 2),
            ('*', '/') => (level, at) = (level - 1, at + 2),
            _ => at += 1,
        }
        if level == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut next = at + 1;
    while next < chars.len() && chars[next] != '"' {
        next += if chars[next] == '\\' { 2 } else { 1 };
    }
    (next + 1).min(chars.len())
}

/// `at` stands on the first `#` or quote; `None` if this is a raw identifier.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars.get(at..)?.iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut close = vec!['"'];
    close.resize(hashes + 1, '#');
    let start = at + hashes + 1;
    let inside = chars.get(start..)?.windows(close.len());
    let length = inside.into_iter().position(|window| window == close)?;
    Some(start + length + close.len())
}

mod the_checker {
    use super::check;

    fn found(name: &str, source: &str) -> Vec<String> {
        check(name, source)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn lets_the_way_down_pass() {
        let source = "
            use crate::{objects::{Kind, rules::PolicyRule}, store::Store, status};
            use super::{index::Index, Identity};
            fn a() -> crate::authn::Identity { self::b(); crate::config::load() }
            mod tests { use super::*; use super::super::index; fn b() { { crate::status::x() } } }
        ";
        assert_eq!(found("authn/tokens.rs", source), [""; 0]);
        assert_eq!(found("main.rs", "use crate::anything;"), [""; 0]);
    }

    #[test]
    fn finds_what_goes_up() {
        let up = [
            "use crate::serve::App;",
            "use crate::{status, serve::App};",
            "use crate::{\n store::{Txn, Op}, serve,};",
            "pub(crate) use crate::serve as below;",
            "fn a(app: &crate::serve::App) {}",
            "fn a() { b::<crate::serve::App>() }",
            "macro_rules! a { () => { $crate::serve::run() } }",
            "use super::super::serve::App;",
            "fn a() { super::super::serve::run() }",
            "mod tests { use super::super::super::serve::App; }",
            "const A: &str = \"a\\\"\"; const B: char = '\"'; use crate::serve::App; // \"",
            "const A: &str = r#\"crate::\"#; use crate::serve::App;",
            "fn a<'a>(b: &'a str) -> crate::serve::App<'a> { '\\'' }",
        ];
        for source in up {
            let mistakes = found("store/hub.rs", source);
            assert_eq!(mistakes.len(), 1, "{source}: {mistakes:?}");
            assert!(
                mistakes[0].ends_with("`store` must not know `serve`"),
                "{mistakes:?}"
            );
        }
        let mod_file = found("store/mod.rs", "\n\nuse super::serve;");
        assert_eq!(
            mod_file,
            ["src/store/mod.rs:3: `store` must not know `serve`"]
        );
        assert_eq!(found("store.rs", "use super::serve;").len(), 1);
    }

    #[test]
    fn reads_no_comment_and_no_string() {
        let source = "
            //! [`crate::serve::App`]
            /* crate::serve /* use crate::cli; */ crate::serve */
            const A: &str = \"use crate::serve::App;\";
            const B: &[u8] = br##\"crate::serve::\"# \"##;
            const C: &[u8] = b\"crate::serve\";
            let r#crate_serve = 1;
        ";
        assert_eq!(found("store.rs", source), [""; 0]);
    }

    #[test]
    fn refuses_what_has_no_place() {
        for source in [
            "use crate::helpers::x;",
            "use crate::*;",
            "use crate::{self, store};",
        ] {
            let mistakes = found("status.rs", source);
            assert!(
                mistakes[0].ends_with("has no place in the order"),
                "{mistakes:?}"
            );
        }
        let file = found("helpers.rs", "");
        assert_eq!(
            file,
            ["src/helpers.rs:1: module `helpers` has no place in the order"]
        );
    }
}
