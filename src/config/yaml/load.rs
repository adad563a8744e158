//! [`Node`] → a type, with every mistake at once.
//!
//! How: serde stops at the first error, so a failing part is noted, set aside, and the type is read
//! again without it; a key that is missing is noted and stood in for by an empty value. The value that
//! comes out at the end is thrown away if anything was noted. A part is set aside at most once, so
//! the readings are bounded, by [`MAX_MISTAKES`] too.

use super::{Entry, MAX_MISTAKES, Mistake, Node, Value};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};

/// Steps from the root: positions in lists and among a map's entries.
type Steps = Vec<usize>;

/// Reads `T` out of a node; on failure every mistake, in the order of the lines.
pub fn load<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Mistake>> {
    let mut attempt = Attempt::default();
    attempt.set_duplicates_aside(node, &mut Vec::new());
    let mut result = read::<T>(node, &attempt);
    while let Err(failure) = result {
        if attempt.mistakes.len() >= MAX_MISTAKES || !attempt.note(node, failure) {
            return Err(attempt.into_mistakes());
        }
        result = read::<T>(node, &attempt);
    }
    match result {
        Ok(value) if attempt.mistakes.is_empty() => Ok(value),
        Ok(_) | Err(_) => Err(attempt.into_mistakes()),
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

    fn set_duplicates_aside(&mut self, node: &Node, steps: &mut Steps) {
        match &node.value {
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    steps.push(index);
                    self.set_duplicates_aside(item, steps);
                    steps.pop();
                }
            }
            Value::Map(entries) => {
                let mut seen = std::collections::HashMap::new();
                for (index, entry) in entries.iter().enumerate() {
                    steps.push(index);
                    if let Some(first) = seen.insert(&entry.key, entry.line) {
                        // The walk began at the root with these very steps: there is a path.
                        self.aside.insert(steps.clone());
                        self.mistakes.push(Mistake {
                            line: entry.line,
                            column: entry.column,
                            path: String::new(),
                            message: format!(
                                "the key {:?} is written twice, first on line {first}",
                                entry.key
                            ),
                        });
                    }
                    self.set_duplicates_aside(&entry.value, steps);
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

/// Why one reading stopped.
#[derive(Debug)]
struct Failure {
    message: String,
    steps: Option<Steps>,
    missing: Option<&'static str>,
    /// The value that stands in for a missing one did not do.
    of_stand_in: bool,
}

impl Failure {
    fn new(message: String) -> Self {
        Self {
            message,
            steps: None,
            missing: None,
            of_stand_in: false,
        }
    }

    /// Fills the place in, if a deeper reader has not.
    fn at(mut self, steps: impl FnOnce() -> Steps) -> Self {
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
    /// Edits up to which another word is taken for a slip of the hand.
    const CLOSE: usize = 3;
    /// Words up to which all are listed.
    const FEW: usize = 8;
    let near = known
        .iter()
        .map(|word| (distance(found, word), *word))
        .filter(|(edits, word)| *edits <= CLOSE && *edits < word.len().max(2))
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

/// A serde deserializer over a node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    steps: &'a Steps,
    attempt: &'a Attempt,
}

impl<'a> Reader<'a> {
    fn list<'de, V: Visitor<'de>>(
        self,
        items: &'a [Node],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_seq(ListReader {
            parent: self,
            items: items.iter().enumerate(),
        })
    }

    fn map<'de, V: Visitor<'de>>(
        self,
        entries: &'a [Entry],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let stand_ins = self
            .attempt
            .stood_in
            .iter()
            .filter(|(steps, _)| steps == self.steps)
            .map(|(_, key)| *key)
            .collect();
        visitor.visit_map(MapReader {
            parent: self,
            entries: entries.iter().enumerate(),
            stand_ins,
            current: None,
        })
    }

    fn child(self, index: usize) -> Steps {
        let mut steps = self.steps.clone();
        steps.push(index);
        steps
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_str(value),
            Value::List(items) => self.list(items, visitor),
            Value::Map(entries) => self.map(entries, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => visitor.visit_none(),
            Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            Value::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(MapReader {
                    parent: self,
                    entries: entries.iter().enumerate(),
                    stand_ins: Vec::new(),
                    current: None,
                }))
            }
            Value::Null
            | Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => self.deserialize_any(visitor),
        }
    }

    // Nothing after the colon is an empty list or map, as Kubernetes reads it.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => self.list(&[], visitor),
            Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.node.value {
            Value::Null => self.map(&[], visitor),
            Value::Bool(_)
            | Value::Unsigned(_)
            | Value::Signed(_)
            | Value::Float(_)
            | Value::String(_)
            | Value::List(_)
            | Value::Map(_) => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct ListReader<'a> {
    parent: Reader<'a>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for ListReader<'_> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        for (index, node) in self.items.by_ref() {
            let steps = self.parent.child(index);
            if self.parent.attempt.aside.contains(&steps) {
                continue;
            }
            let reader = Reader {
                node,
                steps: &steps,
                attempt: self.parent.attempt,
            };
            return match seed.deserialize(reader) {
                Ok(value) => Ok(Some(value)),
                Err(failure) => Err(failure.at(|| steps)),
            };
        }
        Ok(None)
    }
}

enum Current<'a> {
    Written(&'a Node, Steps),
    StandIn,
}

struct MapReader<'a> {
    parent: Reader<'a>,
    entries: std::iter::Enumerate<std::slice::Iter<'a, Entry>>,
    stand_ins: Vec<&'static str>,
    current: Option<Current<'a>>,
}

impl<'de> de::MapAccess<'de> for MapReader<'_> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        for (index, entry) in self.entries.by_ref() {
            let steps = self.parent.child(index);
            if self.parent.attempt.aside.contains(&steps) {
                continue;
            }
            let key = seed.deserialize(entry.key.as_str().into_deserializer());
            return match key {
                Ok(key) => {
                    self.current = Some(Current::Written(&entry.value, steps));
                    Ok(Some(key))
                }
                Err(failure) => Err(Failure::at(failure, || steps)),
            };
        }
        match self.stand_ins.pop() {
            Some(key) => {
                self.current = Some(Current::StandIn);
                seed.deserialize(key.into_deserializer()).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failure> {
        match self.current.take() {
            Some(Current::Written(node, steps)) => {
                let reader = Reader {
                    node,
                    steps: &steps,
                    attempt: self.parent.attempt,
                };
                seed.deserialize(reader)
                    .map_err(|failure| failure.at(|| steps))
            }
            Some(Current::StandIn) => seed.deserialize(StandIn).map_err(|failure| Failure {
                steps: None,
                missing: None,
                of_stand_in: true,
                ..failure
            }),
            None => Err(Failure::new(
                "a value was asked for before its key".to_owned(),
            )),
        }
    }
}

/// Stands in for a value that is missing, so that the rest can be read: empty, whatever is asked for.
struct StandIn;

impl<'de> Deserializer<'de> for StandIn {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_bool(false)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str("")
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_str("")
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_none()
    }
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u64(1)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(de::value::SeqDeserializer::<_, Failure>::new(
            std::iter::empty::<()>(),
        ))
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_map(de::value::MapDeserializer::<_, Failure>::new(
            std::iter::empty::<((), ())>(),
        ))
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }
    // The first variant; if it is not a plain one the map around it is given up.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(variants.first().copied().unwrap_or("").into_deserializer())
    }
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_u64(visitor)
    }
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_u64(visitor)
    }
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_u64(visitor)
    }
    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_u64(visitor)
    }
    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_u64(visitor)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}
