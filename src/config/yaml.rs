//! The one door to YAML (and so to JSON): text → positioned nodes → typed values.
//!
//! [`parse`] turns text into [`Node`]s that know their line and column; [`load()`] turns a node into a
//! type and reports **every** mistake in it at once, each with line, column and path
//! (`spec.rules[2].verbs`). Types say `#[serde(deny_unknown_fields)]`; a wrong or unknown key is noted,
//! set aside, and reading goes on with the rest, so that one run shows a person all there is to mend.
//!
//! What could go wrong: alias bombs and deep nesting (budgets, and [`MAX_DEPTH`], which also bounds the
//! recursion here), duplicate keys of which a reader takes the first and another program the last
//! (refused, wherever they stand), YAML 1.1 booleans (`no` stays a string) and numbers such as `0755`
//! or `1_000` (strings). An anchor's content may be used twice; a mistake in it names the line where it is written.
//!
//! Types with `#[serde(flatten)]`, `untagged` or internally tagged enums still load, but serde buffers
//! them, and a mistake inside names the place of the whole.

mod load;
mod raw;

pub use load::{load, load_kept};

/// Nesting of maps and lists: policy and configuration stay under ten. Reading recurses, and an unoptimised
/// build on a 2 MiB stack has to bear it.
pub const MAX_DEPTH: usize = 32;
/// Mistakes reported for one document: nobody mends more in one go, and each costs one more reading.
pub const MAX_MISTAKES: usize = 50;
/// Bytes of one text. A folder of policies is many files; one of 16 MiB is a mistake.
pub const MAX_BYTES: usize = 16 << 20;

/// A value with the place where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From 1; 0 = not known.
    pub line: u64,
    /// From 1, in characters; 0 = not known.
    pub column: u64,
    /// What is written there.
    pub value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~`, or nothing after the colon.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number from 0.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of writing; may hold a key twice, which [`load()`] refuses.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Line of the key.
    pub line: u64,
    /// Column of the key.
    pub column: u64,
    /// What stands behind it.
    pub value: Node,
}

/// One mistake, with its place. `Display` is `line:column: path: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// From 1; 0 = not known (a key that is missing from the whole file).
    pub line: u64,
    /// From 1; 0 = not known.
    pub column: u64,
    /// `spec.rules[2].verbs`; empty for the document itself.
    pub path: String,
    /// What is wrong, and if possible what would be right.
    pub message: String,
}

impl Mistake {
    /// A mistake found after loading, at `path` of `root`: names the nearest place that is written.
    pub fn at(root: &Node, path: impl Into<String>, message: impl Into<String>) -> Self {
        let path = path.into();
        let (line, column) = root.place_of(&path);
        Self {
            line,
            column,
            path,
            message: message.into(),
        }
    }

    /// `file:line:column: path: message`, as editors and terminals link it.
    pub fn in_file(&self, file: &str) -> String {
        format!("{file}:{self}")
    }
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// Reads all documents of a text; documents with nothing in them are left out. A mistake here is one of
/// YAML itself, behind which nothing can be read.
pub fn parse(text: &str) -> Result<Vec<Node>, Mistake> {
    raw::parse(text)
}

/// Reads a text that must hold one document, of type `T`; none counts as an empty map.
pub fn load_one<T: serde::de::DeserializeOwned>(text: &str) -> Result<(Node, T), Vec<Mistake>> {
    let node = parse_one(text).map_err(|mistake| vec![mistake])?;
    let value = load(&node)?;
    Ok((node, value))
}

/// Reads the one document of a text; none counts as an empty map.
pub fn parse_one(text: &str) -> Result<Node, Mistake> {
    let mut nodes = parse(text)?.into_iter();
    let node = nodes.next().unwrap_or_else(Node::empty);
    match nodes.next() {
        None => Ok(node),
        Some(second) => Err(Mistake {
            line: second.line,
            column: second.column,
            path: String::new(),
            message: "a second document begins here; this file is to hold one".to_owned(),
        }),
    }
}

impl Node {
    /// A map with nothing in it, written nowhere.
    pub fn empty() -> Self {
        Self {
            line: 1,
            column: 1,
            value: Value::Map(Vec::new()),
        }
    }

    /// The value behind `key`, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let mut entries = entries.iter();
        let found = entries.find(|entry| entry.key == key);
        found.map(|entry| &entry.value)
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        let Value::String(text) = &self.value else {
            return None;
        };
        Some(text)
    }

    /// Whether nothing is written after the colon, or `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Line and column of `path` (`a.b[2].c`), or of the deepest part of it that is written. Keys that
    /// hold a dot are not found by this; their map is.
    pub fn place_of(&self, path: &str) -> (u64, u64) {
        let mut node = self;
        let mut place = (self.line, self.column);
        for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
            let next = match &node.value {
                Value::Map(entries) => {
                    entries.iter().find(|entry| entry.key == step).map(|entry| {
                        place = (entry.line, entry.column);
                        &entry.value
                    })
                }
                Value::List(items) => step
                    .trim_end_matches(']')
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index))
                    .inspect(|item| place = (item.line, item.column)),
                Value::Null
                | Value::Bool(_)
                | Value::Unsigned(_)
                | Value::Signed(_)
                | Value::Float(_)
                | Value::String(_) => None,
            };
            match next {
                Some(found) => node = found,
                None => break,
            }
        }
        place
    }
}

#[cfg(test)]
mod tests;
