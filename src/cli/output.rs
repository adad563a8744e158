//! What commands print: tables for people, JSON, YAML and names for scripts.
//!
//! What could go wrong: text that others chose (a display name) moving the cursor or colouring the
//! terminal. Control characters are not printed in tables; JSON and YAML escape them.

use serde_json::Value;
use std::fmt::Write as _;

/// Between two columns, as kubectl has it.
const GAP: usize = 3;

/// How a command prints objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The columns that fit a screen
    #[default]
    Table,
    /// All columns
    Wide,
    /// The objects, as the API has them
    Json,
    /// The same as YAML
    Yaml,
    /// One `kind/name` a line
    Name,
}

/// `-o`, for commands that list.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Columns with their heads, widths by the longest cell.
#[derive(Clone, Debug, Default)]
pub struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads, which are printed in capitals.
    pub fn new<S: AsRef<str>>(heads: impl IntoIterator<Item = S>) -> Self {
        let heads = heads.into_iter();
        Self {
            heads: heads.map(|head| head.as_ref().to_uppercase()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, a cell a head.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().map(|cell| printable(cell.as_ref()));
        self.rows.push(cells.collect());
    }

    /// The text, each line with its end.
    pub fn render(&self) -> String {
        let lines = || std::iter::once(&self.heads).chain(&self.rows);
        let mut widths = vec![0; self.heads.len()];
        for line in lines() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for line in lines() {
            let mut printed = String::new();
            for (width, cell) in widths.iter().zip(line) {
                let padded = width + GAP;
                // Writing to a string cannot fail.
                let _ = write!(printed, "{cell:<padded$}");
            }
            text.push_str(printed.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text that cannot steer a terminal.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Indented JSON with a newline.
pub fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// YAML; `None` if it cannot be written so.
pub fn yaml(value: &Value) -> Option<String> {
    serde_saphyr::to_string(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_lines_up_and_has_no_blanks_at_its_end() {
        let mut table = Table::new(["Name", "Display Name", "State"]);
        table.row(["alice", "Alice Ä.", "Active"]);
        table.row(["bob", "", "Disabled"]);
        table.row(["a-longer-name", "x", ""]);
        assert_eq!(
            table.render(),
            "NAME            DISPLAY NAME   STATE\n\
             alice           Alice Ä.       Active\n\
             bob                            Disabled\n\
             a-longer-name   x\n"
        );
    }

    #[test]
    fn a_table_cannot_steer_the_terminal() {
        let mut table = Table::new(["Name"]);
        table.row(["\u{1b}[31mred\nsecond line"]);
        assert_eq!(table.render().lines().count(), 2);
        assert!(!table.render().contains('\u{1b}'));
    }

    #[test]
    fn yaml_reads_back_as_the_same() {
        let value = json!({"kind": "Role", "spec": {
            "rules": [{"verbs": ["*"], "resources": ["pods/log"]}],
            "text": "yes", "empty": "", "number": "010", "multi": "a\nb: c\n", "date": "2026-01-01"
        }});
        let text = yaml(&value).unwrap();
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, value, "{text}");
    }
}
