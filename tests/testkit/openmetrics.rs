//! A reader of OpenMetrics text that believes nothing (the OpenMetrics specification 1.0, section 4), and
//! what `promtool check metrics` would say besides.

use std::collections::{BTreeMap, BTreeSet};

/// All that one scrape showed.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) families: Vec<Family>,
}

/// One metric.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// As in `# TYPE`: without `_total`.
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) unit: Option<String>,
    pub(crate) samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        let is = |(name, value): &(&str, &str)| self.labels.get(*name).is_some_and(|v| v == value);
        labels.iter().all(is)
    }
}

impl Exposition {
    /// Reads a scrape; panics with the line that is wrong.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let mut read = Self::default();
        for line in body.lines() {
            read.line(line).unwrap_or_else(|| panic!("{line}"));
        }
        read
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let Some(comment) = line.strip_prefix("# ") else {
            let sample = sample(line)?;
            let family = self.families.last_mut()?;
            let suffix = sample.name.strip_prefix(&family.name)?;
            let fits = match family.kind.as_str() {
                "counter" => suffix == "_total",
                "gauge" => suffix.is_empty(),
                "info" => suffix == "_info",
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => false,
            };
            family.samples.push(sample);
            return fits.then_some(());
        };
        let (what, rest) = comment.split_once(' ')?;
        let (name, text) = rest.split_once(' ')?;
        // Each head begins with HELP; TYPE and UNIT belong to the family that is open, before its samples.
        if what == "HELP" {
            self.families.push(Family {
                name: name.to_owned(),
                help: text.to_owned(),
                ..Family::default()
            });
            return Some(());
        }
        let family = self.families.last_mut()?;
        if family.name != name || !family.samples.is_empty() {
            return None;
        }
        match what {
            "TYPE" if family.kind.is_empty() => text.clone_into(&mut family.kind),
            "UNIT" if family.unit.is_none() => family.unit = Some(text.to_owned()),
            _ => return None,
        }
        Some(())
    }

    /// The sum of all series of this name that have these labels; 0 if there are none.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.iter().flat_map(|family| &family.samples);
        samples
            .filter(|sample| sample.name == name && sample.has(labels))
            .map(|sample| sample.value)
            .sum()
    }

    /// Whether there is any series with this label.
    pub(crate) fn mentions(&self, label: &str, value: &str) -> bool {
        let mut samples = self.families.iter().flat_map(|family| &family.samples);
        samples.any(|sample| sample.has(&[(label, value)]))
    }

    /// Number of lines with a value.
    pub(crate) fn series(&self) -> usize {
        self.families
            .iter()
            .map(|family| family.samples.len())
            .sum()
    }

    /// Everything that is wrong with it.
    pub(crate) fn lint(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut names = BTreeSet::new();
        for family in &self.families {
            let name = &family.name;
            if !names.insert(name) {
                wrong.push(format!("{name}: two families"));
            }
            if family.help.is_empty() || family.kind.is_empty() {
                wrong.push(format!("{name}: no HELP or no TYPE"));
            }
            let words = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if !words(name)
                || ["_total", "_info", "_count", "_sum"]
                    .iter()
                    .any(|s| name.ends_with(s))
            {
                wrong.push(format!("{name}: name"));
            }
            let unit = family.unit.as_deref();
            if unit.is_some_and(|unit| !name.ends_with(&format!("_{unit}"))) {
                wrong.push(format!("{name}: its unit is not in its name"));
            }
            let base = ["seconds", "bytes"];
            let says = base.iter().find(|unit| name.ends_with(&format!("_{unit}")));
            if says.copied() != unit {
                wrong.push(format!("{name}: UNIT is {unit:?}"));
            }
            let mut seen = BTreeSet::new();
            for sample in &family.samples {
                if !seen.insert((&sample.name, &sample.labels)) {
                    wrong.push(format!(
                        "{name}: the same series twice: {:?}",
                        sample.labels
                    ));
                }
                let negative = family.kind != "gauge" && sample.value < 0.0;
                if !sample.value.is_finite() || negative {
                    wrong.push(format!("{name}: {}", sample.value));
                }
            }
            if family.kind == "histogram" {
                wrong.extend(histograms(family));
            }
        }
        wrong
    }
}

/// What is wrong with a family's histograms.
fn histograms(family: &Family) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut all: BTreeMap<BTreeMap<String, String>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        let le = labels.remove("le");
        if le.is_some() != sample.name.ends_with("_bucket") {
            wrong.push(format!("{}: le", sample.name));
        }
        all.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in all {
        let one = |suffix: &str| -> Vec<f64> {
            let of = samples.iter().filter(|s| s.name.ends_with(suffix));
            of.map(|s| s.value).collect()
        };
        let buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter_map(|sample| Some((sample.labels.get("le")?, sample.value)))
            .map(|(le, value)| (le.replace("+Inf", "inf").parse().expect("a number"), value))
            .collect();
        let (counts, sums) = (one("_count"), one("_sum"));
        let last = buckets.last().copied().unwrap_or_default();
        let ascending = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
        let whole = last.0 == f64::INFINITY && counts == [last.1] && sums.len() == 1;
        if !ascending || !whole || (counts == [0.0]) != (sums == [0.0]) && sums != [0.0] {
            wrong.push(format!("{} {labels:?}: no histogram", family.name));
        }
    }
    wrong
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return None;
            }
            rest = after;
            match rest.chars().next()? {
                ',' => rest = &rest[1..],
                '}' => break rest = &rest[1..],
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                other @ ('\\' | '"') => other,
                _ => return None,
            }),
            (_, other) => value.push(other),
        }
    }
}
