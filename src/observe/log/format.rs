//! How a line looks.
//!
//! JSON: `timestamp`, `level`, `message`, the fields in the order in which they were given, `target`; numbers
//! and switches as such, all else as text. Text: the same without names for the first three. Nothing that
//! is logged can end a line or look like a terminal's command: control characters are escaped in both.

use super::lines::Lines;
use crate::status::clock;
use std::{
    cell::RefCell,
    fmt::{self, Write as _},
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// Longest line whose buffer a thread keeps (bytes); most are a tenth of it.
const KEPT_BUFFER: usize = 16 << 10;

thread_local! {
    static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The shape of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Makes a line of each event.
pub(super) struct LineLayer {
    format: Format,
    lines: &'static Lines,
}

impl LineLayer {
    pub(super) fn new(format: Format, lines: &'static Lines) -> Self {
        Self { format, lines }
    }
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let whole = |buffer: &mut String| {
            buffer.clear();
            write_line(buffer, self.format, event);
            self.lines.push(buffer);
            if buffer.capacity() > KEPT_BUFFER {
                *buffer = String::new();
            }
        };
        let reused = BUFFER.try_with(|buffer| {
            // Borrowed already where a value that is being formatted logs itself.
            buffer.try_borrow_mut().map(|mut buffer| whole(&mut buffer))
        });
        if !matches!(reused, Ok(Ok(()))) {
            whole(&mut String::new());
        }
    }
}

fn write_line(out: &mut String, format: Format, event: &Event<'_>) {
    let metadata = event.metadata();
    let level = match *metadata.level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    };
    let now = clock::now();
    // Writing to a string cannot fail.
    let _ = match format {
        Format::Json => write!(out, r#"{{"timestamp":"{now:.6}","level":"{level}""#),
        Format::Text => write!(out, "{now:.6} {level:>5}"),
    };
    // The message stands first, wherever it was given.
    event.record(&mut Message { out, format });
    event.record(&mut Fields { out, format });
    if format == Format::Json {
        let _ = write!(out, r#","target":"{}"}}"#, metadata.target());
    }
    out.push('\n');
}

/// Writes the message alone.
struct Message<'o> {
    out: &'o mut String,
    format: Format,
}

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            return;
        }
        // Writing to a string cannot fail, here and below.
        let _ = match self.format {
            Format::Json => write!(
                self.out,
                r#","message":"{}""#,
                Escaped(value, Quotes::Escaped)
            ),
            Format::Text => write!(self.out, " {}", Escaped(value, Quotes::Kept)),
        };
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Writes everything but the message.
struct Fields<'o> {
    out: &'o mut String,
    format: Format,
}

impl Fields<'_> {
    // Without `write!`: every request has a line of twenty fields.
    fn name(&mut self, field: &Field) {
        let (before, after) = match self.format {
            Format::Json => (",\"", "\":"),
            Format::Text => (" ", "="),
        };
        for text in [before, field.name(), after] {
            self.out.push_str(text);
        }
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.out, "{value}");
    }
}

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.name(field);
            self.out.push('"');
            let _ = escape(self.out, value, Quotes::Escaped);
            self.out.push('"');
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            return;
        }
        self.name(field);
        // For people a name or a number reads better bare.
        let _ = match self.format {
            Format::Json => write!(self.out, r#""{}""#, Escaped(value, Quotes::Escaped)),
            Format::Text => write!(self.out, "{}", Escaped(value, Quotes::Kept)),
        };
    }
}

/// Whether quotation marks and backslashes are escaped too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Escaped,
    Kept,
}

/// A value that ends no line, and with [`Quotes::Escaped`] no string.
struct Escaped<'v>(&'v dyn fmt::Debug, Quotes);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f, self.1), "{:?}", self.0)
    }
}

struct Escaping<'f, 'b>(&'f mut fmt::Formatter<'b>, Quotes);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text, self.1)
    }
}

fn escape(out: &mut impl fmt::Write, text: &str, quotes: Quotes) -> fmt::Result {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    // Nearly every text.
    if text.bytes().all(plain) {
        return out.write_str(text);
    }
    for c in text.chars() {
        match c {
            '"' | '\\' if quotes == Quotes::Escaped => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            // C0, DEL and C1: what a terminal could take for a command.
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes, less the time.
    fn written(format: Format, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let lines: &'static Lines = Box::leak(Box::new(Lines::to(kept.clone())));
        let subscriber = tracing_subscriber::registry().with(LineLayer::new(format, lines));
        tracing::subscriber::with_default(subscriber, log);
        lines.finish();
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let (time, rest) = match format {
            Format::Json => text.split_at(r#"{"timestamp":"2026-01-01T00:00:00.000000Z","#.len()),
            Format::Text => text.split_at("2026-01-01T00:00:00.000000Z".len()),
        };
        assert!(time.contains('T') && time.contains('Z'), "{text}");
        rest.to_owned()
    }

    fn some() {
        let (quoted, bare) = (
            "a \"b\"\n\u{1b}[31m",
            format_args!("c\r\n\"d\"").to_string(),
        );
        tracing::warn!(target: "palisade::x", quoted, %bare, n = 5, minus = -1, yes = true, "it \u{9b}m");
    }

    #[test]
    fn json_lines_are_json_and_hold_everything() {
        let text = written(Format::Json, some);
        assert_eq!(
            text,
            r#""level":"WARN","message":"it \u009bm","quoted":"a \"b\"\n\u001b[31m","bare":"c\u000d\n\"d\"","n":5,"minus":-1,"yes":true,"target":"palisade::x"}"#
                .to_owned()
                + "\n"
        );
        let whole: serde_json::Value = serde_json::from_str(&format!("{{{text}")).unwrap();
        assert_eq!(whole["quoted"], "a \"b\"\n\u{1b}[31m");
    }

    #[test]
    fn text_lines_end_only_at_their_end() {
        let text = written(Format::Text, some);
        assert_eq!(
            text,
            "  WARN it \\u009bm quoted=\"a \\\"b\\\"\\n\\u001b[31m\" bare=c\\u000d\\n\"d\" n=5 minus=-1 yes=true\n"
        );
    }
}
