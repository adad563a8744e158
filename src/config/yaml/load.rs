//! [`Node`] → a type, with every mistake at once.
//!
//! How: serde stops at the first error, so a failing part is noted, set aside, and the type is read
//! again without it; a key that is missing is noted and stood in for by an empty value. A part is set aside at most once, so
//! the readings are bounded, by [`MAX_MISTAKES`] too.

use super::{MAX_MISTAKES, Mistake, Node, Value};
use failure::Failure;
use reader::Reader;
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap, hash_map};
use std::fmt::Write as _;

mod failure;
mod reader;
mod stand_in;

/// Steps from the root: positions in lists and among a map's entries.
type Steps = Vec<usize>;

/// Reads `T` out of a node; on failure every mistake, in the order of the lines.
pub fn load<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Mistake>> {
    match load_kept(node) {
        (Some(value), mistakes) if mistakes.is_empty() => Ok(value),
        (Some(_) | None, mistakes) => Err(mistakes),
    }
}

/// The same, and where it can be had the value without its wrong parts, so that the caller's own checks
/// can be told in the same run. There is a value whenever there is no mistake.
pub fn load_kept<T: DeserializeOwned>(node: &Node) -> (Option<T>, Vec<Mistake>) {
    let mut attempt = Attempt::default();
    attempt.set_duplicates_aside(node);
    loop {
        match read::<T>(node, &attempt) {
            Ok(value) => return (Some(value), attempt.into_mistakes()),
            Err(failure) => {
                if attempt.mistakes.len() >= MAX_MISTAKES || !attempt.note(node, failure) {
                    return (None, attempt.into_mistakes());
                }
            }
        }
    }
}

fn read<T: DeserializeOwned>(node: &Node, attempt: &Attempt) -> Result<T, Failure> {
    T::deserialize(Reader {
        node,
        steps: &Vec::new(),
        attempt,
    })
    .map_err(|failure| failure.at(Vec::new))
}

/// What is known of the mistakes so far.
#[derive(Default)]
struct Attempt {
    mistakes: Vec<Mistake>,
    /// Parts that are left out of the next reading.
    aside: BTreeSet<Steps>,
    /// Keys that were missing from the map at these steps, or that were set aside and are needed.
    stood_in: BTreeSet<(Steps, &'static str)>,
}

impl Attempt {
    fn into_mistakes(mut self) -> Vec<Mistake> {
        self.mistakes.sort();
        self.mistakes.dedup();
        self.mistakes
    }

    fn set_duplicates_aside(&mut self, root: &Node) {
        let mut found = Vec::new();
        find_duplicates(root, &mut Vec::new(), &mut found);
        found.truncate(MAX_MISTAKES);
        for (steps, key, first) in found {
            let message = format!("the key {key:?} is written twice, first on line {first}");
            self.mistakes.push(Place::of(root, &steps).mistake(message));
            self.aside.insert(steps);
        }
    }

    /// Takes a failure in; false if no further reading can tell more.
    fn note(&mut self, root: &Node, failure: Failure) -> bool {
        let steps = failure.steps.unwrap_or_default();
        let place = Place::of(root, &steps);
        if let Some(key) = failure.missing {
            let was_there = place.has_key(key);
            if !was_there {
                self.mistakes.push(place.mistake(failure.message));
            }
            if self.stood_in.insert((steps.clone(), key)) {
                return true;
            }
        } else if !failure.of_stand_in {
            // A list or map from which something was set aside may fail because of that alone.
            let follows = self
                .aside
                .iter()
                .any(|other| other.len() > steps.len() && other.starts_with(&steps));
            if !follows {
                self.mistakes.push(place.mistake(failure.message));
            }
        }
        // The root cannot be set aside.
        !steps.is_empty() && self.aside.insert(steps)
    }
}

/// Second and later entries of one key, wherever they stand: steps, key, line of the first.
fn find_duplicates<'a>(node: &'a Node, steps: &mut Steps, found: &mut Vec<(Steps, &'a str, u64)>) {
    match &node.value {
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(index);
                find_duplicates(item, steps, found);
                steps.pop();
            }
        }
        Value::Map(entries) => {
            let mut seen = HashMap::new();
            for (index, entry) in entries.iter().enumerate() {
                steps.push(index);
                match seen.entry(entry.key.as_str()) {
                    hash_map::Entry::Vacant(vacant) => {
                        vacant.insert(entry.line);
                    }
                    hash_map::Entry::Occupied(first) => {
                        found.push((steps.clone(), &entry.key, *first.get()));
                    }
                }
                find_duplicates(&entry.value, steps, found);
                steps.pop();
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Unsigned(_)
        | Value::Signed(_)
        | Value::Float(_)
        | Value::String(_) => {}
    }
}

/// A node, found by its steps, with the path that people read.
struct Place<'a> {
    node: &'a Node,
    line: u64,
    column: u64,
    path: String,
}

impl<'a> Place<'a> {
    fn of(root: &'a Node, steps: &[usize]) -> Self {
        let mut place = Self {
            node: root,
            line: root.line,
            column: root.column,
            path: String::new(),
        };
        for step in steps {
            match &place.node.value {
                Value::List(items) => {
                    let Some(item) = items.get(*step) else { break };
                    // Writing to a string cannot fail.
                    let _ = write!(place.path, "[{step}]");
                    (place.line, place.column) = (item.line, item.column);
                    place.node = item;
                }
                Value::Map(entries) => {
                    let Some(entry) = entries.get(*step) else {
                        break;
                    };
                    if !place.path.is_empty() {
                        place.path.push('.');
                    }
                    place.path.push_str(&entry.key);
                    (place.line, place.column) = (entry.line, entry.column);
                    place.node = &entry.value;
                }
                Value::Null
                | Value::Bool(_)
                | Value::Unsigned(_)
                | Value::Signed(_)
                | Value::Float(_)
                | Value::String(_) => break,
            }
        }
        place
    }

    fn has_key(&self, key: &str) -> bool {
        self.node.get(key).is_some()
    }

    fn mistake(self, message: String) -> Mistake {
        Mistake {
            line: self.line,
            column: self.column,
            path: self.path,
            message,
        }
    }
}
