//! Why one reading stopped, in words for people who write YAML.

use super::Steps;
use serde::de;
use std::fmt::{self, Display};

/// Why one reading stopped.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) steps: Option<Steps>,
    pub(super) missing: Option<&'static str>,
    /// The value that stands in for a missing one did not do.
    pub(super) of_stand_in: bool,
}

impl Failure {
    pub(super) fn new(message: String) -> Self {
        Self {
            message,
            steps: None,
            missing: None,
            of_stand_in: false,
        }
    }

    /// Fills the place in, if a deeper reader has not.
    pub(super) fn at(mut self, steps: impl FnOnce() -> Steps) -> Self {
        self.steps.get_or_insert_with(steps);
        self
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!(
            "expected {}, found {}",
            expected_in_words(expected),
            found_in_words(found)
        ))
    }
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }
    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown("key", key, known))
    }
    fn unknown_variant(value: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown("value", value, known))
    }
    fn missing_field(key: &'static str) -> Self {
        Self {
            missing: Some(key),
            ..Self::new(format!("the key {key:?} is missing"))
        }
    }
}

/// serde's words for types, in those of people who write YAML.
fn expected_in_words(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" => format!("a whole number from 0 to {}", u8::MAX),
        "u16" => format!("a whole number from 0 to {}", u16::MAX),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        _ if text.starts_with("struct ") => "a map".to_owned(),
        _ => text,
    }
}

fn found_in_words(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => value.to_string(),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Str(value) => format!("the text {value:?}"),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        de::Unexpected::Char(_)
        | de::Unexpected::Bytes(_)
        | de::Unexpected::NewtypeStruct
        | de::Unexpected::Enum
        | de::Unexpected::UnitVariant
        | de::Unexpected::NewtypeVariant
        | de::Unexpected::TupleVariant
        | de::Unexpected::StructVariant
        | de::Unexpected::Other(_) => found.to_string(),
    }
}

/// `unknown key "lissten", did you mean "listen"?`
fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    /// Words up to which all are listed.
    const FEW: usize = 8;
    // Up to a third of the letters: a slip of the hand.
    let near = known
        .iter()
        .map(|word| (distance(found, word), *word))
        .filter(|(edits, word)| *edits <= word.len().div_ceil(3))
        .min();
    match near {
        Some((_, word)) => format!("unknown {what} {found:?}, did you mean {word:?}?"),
        None if known.is_empty() => {
            format!("unknown {what} {found:?}: nothing may be written here")
        }
        None if known.len() <= FEW => {
            format!("unknown {what} {found:?}; known here: {}", known.join(", "))
        }
        None => format!("unknown {what} {found:?}"),
    }
}

/// Levenshtein's distance, ignoring case; keys are short.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().take(64).enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (cell, b) in row.iter_mut().skip(1).zip(&other) {
            let best = (left + 1)
                .min(*cell + 1)
                .min(diagonal + usize::from(a != *b));
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
