//! serde-saphyr → [`Node`]: the only file that names the YAML crate.

use super::{Entry, MAX_BYTES, MAX_DEPTH, Mistake, Node, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned, options::DuplicateKeyPolicy};
use std::fmt;

/// Aliases of one text. Hand-written files have a handful; each may be replayed.
const MAX_ALIASES: usize = 1_000;
/// Events that aliases may replay in all: what bounds an alias bomb.
const MAX_REPLAYED: usize = 100_000;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, Mistake> {
    if text.len() > MAX_BYTES {
        return Err(Mistake {
            line: 0,
            column: 0,
            path: String::new(),
            message: format!(
                "the text has {} bytes; {MAX_BYTES} are the limit",
                text.len()
            ),
        });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_aliases: MAX_ALIASES },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        // All duplicates are reported, by load(), with their places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Raw>>(text, options)
        .map(|documents| documents.into_iter().map(node).collect())
        .map_err(|error| {
            let (line, column) = error.location().map_or((0, 0), place);
            Mistake {
                line,
                column,
                path: String::new(),
                message: one_line(&error),
            }
        })
}

/// The crate's message without the place, which is said in front already.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default().trim();
    let cut = first.rfind(" at line ").map_or(first, |at| &first[..at]);
    cut.trim_end_matches([':', ' ']).to_owned()
}

fn place(location: Location) -> (u64, u64) {
    (location.line(), location.column())
}

/// Where a value is written: an alias's content stands at its anchor.
fn place_of<T>(spanned: &Spanned<T>) -> (u64, u64) {
    if spanned.defined == Location::UNKNOWN {
        place(spanned.referenced)
    } else {
        place(spanned.defined)
    }
}

fn node(spanned: Spanned<Raw>) -> Node {
    let (line, column) = place_of(&spanned);
    let value = match spanned.value {
        Raw::Scalar(value) => value,
        Raw::List(items) => Value::List(items.into_iter().map(node).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let (line, column) = place_of(&key);
                    Entry {
                        key: key.value,
                        line,
                        column,
                        value: node(value),
                    }
                })
                .collect(),
        ),
    };
    Node {
        line,
        column,
        value,
    }
}

enum Raw {
    Scalar(Value),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Null))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Bool(value)))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Unsigned(value)))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        let value = u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned);
        Ok(Raw::Scalar(value))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::Float(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::String(value.to_owned())))
    }
    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Scalar(Value::String(value)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
