//! docs/config.md, made from the options and their defaults.

use super::{
    duration,
    options::{Change, OPTIONS, Opt, PROVIDER_OPTIONS, Shape},
    raw, size,
};
use serde_json::Value;
use std::fmt::Write as _;

/// The document; `palisade config docs` prints it, a test holds docs/config.md to it.
pub fn markdown() -> String {
    let mut text = [PREFACE, SMALLEST, AFTER_SMALLEST].concat();
    // The defaults are strings, numbers and switches: they always serialise.
    let defaults = serde_json::to_value(raw::Config::default()).unwrap_or(Value::Null);
    let of_provider = serde_json::to_value(raw::Provider::written()).unwrap_or(Value::Null);
    for option in OPTIONS {
        push(&mut text, option, option.path, &defaults);
        if matches!(option.shape, Shape::Providers) {
            for option in PROVIDER_OPTIONS {
                let path = option.in_provider().unwrap_or(option.path);
                push(&mut text, option, path, &of_provider);
            }
        }
    }
    text
}

/// The paragraph of an option whose default is at `path`.
fn push(text: &mut String, option: &Opt, path: &str, defaults: &Value) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n### `{}`\n\n{}. {}. {}.\n\n{}\n",
        option.path,
        shape_in_words(option.shape),
        default_in_words(option, path, defaults),
        change_in_words(option.change),
        option.doc
    );
}

/// The smallest file: what must be written.
pub(super) const SMALLEST: &str = "\
external_url: https://gate.example.com
tls:
  cert_file: tls/cert.pem
  key_file: tls/key.pem
state:
  store: state.db
  key_file: keys
";

const PREFACE: &str = "\
# Configuration

This document is made from the program (`palisade config docs`).

`palisade serve --config FILE` reads one YAML file. `palisade config check FILE` tells every mistake in it
at once, each with its line, and ends with 1 if there is one. Unknown keys are mistakes, keys written twice
too. The gateway takes nothing from the environment.

The smallest file:

```yaml
";

const AFTER_SMALLEST: &str = "\
```

The JSON Schema of the file, for editors and pipelines, is what `palisade config schema` prints. With it in a file
`palisade.schema.json`, a first line `# yaml-language-server: $schema=palisade.schema.json` has an editor check and
complete.

Relative paths start at the folder of the configuration file. Durations are written `500ms`, `90s`, `1h30m`,
`7d`, sizes `64KiB`, `100MiB`, `1GiB`. What opens a door that is better kept shut has `danger` in its name and is off.

The file is read again on SIGHUP, and within some seconds of a change. An option that *reloads* then counts for
whatever begins after it: connections, requests, logins, tokens, probes. A file with a mistake, or with a change of an
option that *takes a restart*, is not taken at all: nothing of it counts, the log names every reason with its line,
and the gateway goes on as before ([operations.md](operations.md#reload)).

## Options
";

fn shape_in_words(shape: Shape) -> String {
    match shape {
        Shape::Address | Shape::AddressOrNone => {
            "Address and port (`0.0.0.0:8443`, `[::]:8443`)".to_owned()
        }
        Shape::Url => "An `https://` URL of host and port".to_owned(),
        Shape::Collector => "An `http://` or `https://` URL of host and port".to_owned(),
        Shape::Domain => "A DNS name".to_owned(),
        Shape::Path => "A path".to_owned(),
        Shape::Duration(low, high) => format!(
            "A duration from {} to {}",
            duration::format(low),
            duration::format(high)
        ),
        Shape::Size(low, high) => {
            format!(
                "A size from {} to {}",
                size::format(low),
                size::format(high)
            )
        }
        Shape::Number(low, high) => format!("A whole number from {low} to {high}"),
        Shape::Switch => "`true` or `false`".to_owned(),
        Shape::Text => "A text".to_owned(),
        Shape::Texts => "A list of texts".to_owned(),
        Shape::Providers => "A map".to_owned(),
        Shape::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("One of {}", words.join(", "))
        }
    }
}

fn change_in_words(change: Change) -> &'static str {
    match change {
        Change::Reload => "Reloads",
        Change::Restart => "Takes a restart",
    }
}

fn default_in_words(option: &Opt, path: &str, defaults: &Value) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    match defaults.pointer(&pointer) {
        _ if option.required => "Required".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "Default: none".to_owned(),
        Some(Value::Array(list)) if list.is_empty() => "Default: none".to_owned(),
        Some(Value::Object(map)) if map.is_empty() => "Default: none".to_owned(),
        Some(Value::String(text)) => format!("Default: `{text}`"),
        Some(value) => format!("Default: `{value}`"),
        None => "Default: none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn leaves(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    leaves(value, &path, into);
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)
            | Value::Array(_) => {
                into.insert(path.to_owned());
            }
        }
    }

    #[test]
    fn every_option_is_documented_and_every_row_is_an_option() {
        let mut written = BTreeSet::new();
        let defaults = serde_json::to_value(raw::Config::default()).unwrap();
        leaves(&defaults, "", &mut written);
        let rows: BTreeSet<String> = OPTIONS.iter().map(|row| row.path.to_owned()).collect();
        assert_eq!(written, rows);
        let mut written = BTreeSet::new();
        let defaults = serde_json::to_value(raw::Provider::written()).unwrap();
        leaves(&defaults, "", &mut written);
        let rows = PROVIDER_OPTIONS.iter();
        let rows: BTreeSet<String> = rows
            .map(|row| row.in_provider().unwrap().to_owned())
            .collect();
        assert_eq!(written, rows);
    }

    #[test]
    fn the_document_is_what_the_program_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        let (printed, command) = (markdown(), "cargo run -- config docs > docs/config.md");
        let differs = stored
            .lines()
            .zip(printed.lines())
            .position(|(a, b)| a != b);
        assert!(
            stored == printed,
            "differs first in line {differs:?} (from 0); renew it: {command}"
        );
    }
}
