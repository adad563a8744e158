//! docs/metrics.md, made from the catalogue.

use super::catalog::{ALL, Kind, Label, Metric, Values};
use std::fmt::Write as _;

/// The document; `palisade config metrics` prints it, a test holds docs/metrics.md to it.
pub fn markdown() -> String {
    let mut text = [PREFACE, CLUSTERS].concat();
    // Writing to a string cannot fail.
    for metric in ALL {
        let _ = writeln!(text, "| [`{0}`](#{0}) | {1} |", metric.name, metric.help);
    }
    for metric in ALL {
        let _ = write!(text, "\n### {}\n\n{}", metric.name, body(metric));
    }
    text
}

fn body(metric: &Metric) -> String {
    let mut text = format!("{}{}. {}.\n", kind(metric), unit(metric), metric.help);
    if !metric.more.is_empty() {
        let _ = write!(text, "\n{}\n", metric.more);
    }
    if let Kind::Histogram(bounds) = metric.kind {
        let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
        let _ = write!(text, "\nBuckets up to {} s, and +Inf.\n", bounds.join(", "));
    }
    if !metric.labels.is_empty() {
        text.push_str("\n| label | values |\n|---|---|\n");
    }
    for label in metric.labels {
        let _ = writeln!(text, "| `{}` | {} |", label.name, values(label));
    }
    text
}

fn kind(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "Counter",
        Kind::Gauge => "Gauge",
        Kind::Histogram(_) => "Histogram",
        Kind::Info => "Info",
    }
}

fn unit(metric: &Metric) -> &'static str {
    let name = metric.name.trim_end_matches("_total");
    if name.ends_with("_seconds") {
        " in seconds"
    } else if name.ends_with("_bytes") {
        " in bytes"
    } else {
        ""
    }
}

fn values(label: &Label) -> String {
    match label.values {
        Values::Words(words) => {
            let words: Vec<String> = words().iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Values::Cluster => "see [Clusters](#clusters)".to_owned(),
        Values::Text(what) => what.to_owned(),
    }
}

const PREFACE: &str = "\
# Metrics

This document is made from the program (`palisade config metrics`).

`/metrics` on `admin_listen` answers with OpenMetrics text, which Prometheus reads as it is. Every metric is named here
with all values that its labels can have: no user, token, path, namespace or address is ever a label. What to alert on
is in [operations.md](operations.md#alerts).

Counters begin at 0 when the process starts. Each replica counts what it did itself: add them up.
";

const CLUSTERS: &str = "
## Clusters

The label `cluster` has the names of registered clusters as its values. A cluster that is removed takes its series
with it. Beyond 1,000 registered clusters the further ones are counted together. Words that no cluster can have as its
name:

| value | what |
|---|---|
| `_gateway` | the gateway's own API, login, and what was refused before it was known where it goes |
| `_unknown` | every name that is not registered |
| `_other` | registered clusters beyond the first 1,000 |

## Metrics

| metric | what |
|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_is_what_the_program_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        let printed = markdown();
        let differs = stored
            .lines()
            .zip(printed.lines())
            .position(|(a, b)| a != b);
        assert!(
            stored == printed,
            "differs first in line {differs:?} (from 0); renew it: make docs"
        );
    }

    // prometheus.io/docs/practices/naming, and what promtool's lint asks for.
    #[test]
    fn names_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            assert!(
                name.starts_with("palisade_") || name.starts_with("process_"),
                "{name}"
            );
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(plain(name), "{name}");
            let total = matches!(metric.kind, Kind::Counter);
            assert_eq!(name.ends_with("_total"), total, "{name}");
            let info = matches!(metric.kind, Kind::Info);
            assert_eq!(name.ends_with("_info"), info, "{name}");
            if let Kind::Histogram(bounds) = metric.kind {
                assert!(name.ends_with("_seconds"), "{name}");
                assert!(bounds.is_sorted(), "{name}");
            }
            for word in ["_ms", "_millis", "_minutes", "_kib", "_mib", "_percent"] {
                assert!(!name.contains(word), "{name}");
            }
            assert!(!metric.help.ends_with('.'), "{name}");
            for label in metric.labels {
                assert!(plain(label.name) && label.name != "le", "{name}");
                if let Values::Words(words) = label.values {
                    for word in words() {
                        let digits = word.bytes().all(|b| b.is_ascii_digit());
                        assert!(plain(&word) || digits, "{name}: {word}");
                    }
                }
            }
        }
    }
}
