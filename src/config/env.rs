//! The one door to the environment (style.md, rule 11).
//!
//! The gateway takes nothing from it: what decides over access stands in one file that can be reviewed.
//! The commands that a person runs do (their home folder).

use std::path::PathBuf;

/// A variable's text; empty or not UTF-8 counts as absent.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A folder that a variable names; relative ones count as absent, as the XDG base directory
/// specification wants it.
pub fn folder(name: &str) -> Option<PathBuf> {
    var(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
