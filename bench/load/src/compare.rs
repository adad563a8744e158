//! Two runs beside each other: whether the second gives the same ratios as the first, within the spread that both
//! report.

use crate::{results::Results, stats::Figure};
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Share of ratios that may differ: one in twenty does by chance, and a run may have an odd hour.
const MAY_DIFFER: f64 = 0.1;
/// With fewer rounds there is no interval of 95 %: such figures are shown, and not judged.
const ROUNDS: usize = 6;
/// Exact counts have no spread; a timer's wake-ups are in them.
const COUNT: f64 = 0.02;
/// Memory is measured once for each figure.
const MEMORY: f64 = 0.05;

/// Which runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// results.json of a run
    pub first: PathBuf,
    /// results.json of another
    pub second: PathBuf,
}

/// Prints all ratios of both; an error if too many differ.
pub fn run(options: &Options) -> Result<()> {
    let read = |path: &PathBuf| -> Result<_> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let results: Results =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(ratios(&results))
    };
    let (first, second) = (read(&options.first)?, read(&options.second)?);
    let mut differ = 0;
    let mut count = 0;
    for (name, one) in &first {
        let Some(two) = second.get(name) else {
            continue;
        };
        let agrees = one.agrees(two);
        let few = one.rounds.min(two.rounds) < ROUNDS;
        if !few {
            count += 1;
            differ += usize::from(!agrees);
        }
        println!(
            "{} {:+6.1} %  {}  {}  {name}",
            match (agrees, few) {
                (true, _) => "agrees ",
                (false, false) => "DIFFERS",
                (false, true) => "few    ",
            },
            (two.median / one.median - 1.0) * 100.0,
            shown(one),
            shown(two),
        );
    }
    if count == 0 {
        bail!("the two runs have nothing in common");
    }
    println!(
        "{} of {count} agree; about {:.0} may differ by chance",
        count - differ,
        count as f64 / 20.0
    );
    if differ as f64 > (count as f64 * MAY_DIFFER).max(1.0) {
        bail!("too many differ");
    }
    Ok(())
}

fn shown(figure: &Figure) -> String {
    format!(
        "{:7.3} ({:.3} to {:.3})",
        figure.median, figure.low, figure.high
    )
}

/// Everything in a run that another should find again, by name.
fn ratios(results: &Results) -> BTreeMap<String, Figure> {
    let mut all = BTreeMap::new();
    let mut put = |name: String, figure: Option<Figure>| {
        // What is compared with itself is no ratio.
        if let Some(figure) = figure.filter(|figure| figure.low < figure.high) {
            all.insert(name, figure);
        }
    };
    for cell in &results.cells {
        for it in &cell.targets {
            let name = |what: &str| format!("{} {} {what}", cell.name, it.target);
            put(name("px/up"), it.px_up);
            put(name("vs HAProxy"), it.vs_haproxy);
            put(name("µs vs HAProxy"), it.micros_vs_haproxy);
            put(name("vs nginx"), it.vs_nginx);
            put(name("vs rp"), it.vs_rp);
            put(name("upstream vs HAProxy"), it.upstream_vs_haproxy);
        }
    }
    for row in &results.latency {
        let name = |what: &str| format!("{} {}/s {} {what}", row.proto, row.rate, row.target);
        if let Some([p50, p90]) = row.added_vs_haproxy {
            put(name("added p50 vs HAProxy"), Some(p50));
            put(name("added p90 vs HAProxy"), Some(p90));
        }
        put(name("p99 vs HAProxy"), row.p99_vs_haproxy);
    }
    for row in &results.overload {
        for what in ["served share", "p99 over HAProxy's"] {
            let figure = row.figures.get(what).copied();
            put(format!("{} {} {what}", row.what, row.target), figure);
        }
    }
    for row in results.growth.iter().filter(|row| row.unit == "ratio") {
        put(row.what.clone(), Some(row.figure));
    }
    for row in &results.counters {
        let name = format!("{} {} {}", row.what, row.load, row.target);
        put(name, Some(around(row.each, COUNT)));
    }
    for row in &results.memory {
        let name = format!("{} {}", row.what, row.target);
        put(name, Some(around(row.kib_each, MEMORY)));
    }
    all
}

fn around(value: f64, share: f64) -> Figure {
    Figure {
        median: value,
        low: value * (1.0 - share),
        high: value * (1.0 + share),
        rounds: ROUNDS,
    }
}
