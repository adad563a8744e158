//! The table.

use crate::{
    results::{Results, Sample},
    stats::Figure,
};
use std::fmt::Write as _;

/// Everything in Markdown.
pub fn markdown(results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = head(&mut text, results);
    let _ = cells(&mut text, results);
    let _ = latency(&mut text, results);
    let _ = rest(&mut text, results);
    text
}

/// `0.83 ± 0.02`: the median, and half of the interval in which it is with 95 % confidence.
fn ratio(figure: Option<&Figure>) -> String {
    figure.map_or_else(
        || "–".to_owned(),
        |figure| format!("{:.2} ± {:.2}", figure.median, figure.spread()),
    )
}

fn number(figure: Option<&Figure>, digits: usize) -> String {
    figure.map_or_else(
        || "–".to_owned(),
        |figure| format!("{:.digits$}", figure.median),
    )
}

fn head(text: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(text, "### Where each goal stands\n")?;
    writeln!(text, "| | goal | found | |\n|---|---|---|---|")?;
    for goal in &results.goals {
        let holds = match goal.holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "not measured",
        };
        writeln!(
            text,
            "| {} | {} | {} | {holds} |",
            goal.id, goal.goal, goal.found
        )?;
    }
    for failure in &results.failures {
        writeln!(text, "\n**Failed:** {failure}")?;
    }
    writeln!(
        text,
        "\n### The run\n\n{} cores, {}, {} GiB, Linux {}; {} rounds, {:.0} minutes.",
        machine.cores, machine.cpu, machine.memory, machine.kernel, machine.rounds, machine.minutes
    )?;
    if let Some(quiet) = &machine.quiet {
        writeln!(
            text,
            "Before a burst {:.0} % of the machine was free (one time in twenty less than {:.0} %).",
            quiet.median * 100.0,
            quiet.low * 100.0
        )?;
    }
    let sizes = &results.sizes;
    writeln!(
        text,
        "The gateway held {} users, {} tokens (one drawn for each request), {} bindings and {} clusters.",
        sizes.users, sizes.tokens, sizes.bindings, sizes.clusters
    )?;
    for version in machine.versions.values() {
        writeln!(text, "- {version}")?;
    }
    Ok(())
}

fn cells(text: &mut String, results: &Results) -> std::fmt::Result {
    if results.cells.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n### Closed loops\n\n\
         | workload | target | rounds | px/up | vs HAProxy | vs nginx | vs rp | µs | µs vs HAProxy | µs vs rp | upstream µs | upstream vs HAProxy | per s | p50 µs | p99 µs | p99.9 µs | MiB/CPU-s | handshakes each |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for cell in &results.cells {
        for target in &cell.targets {
            let latency = |at: usize| {
                let figures = target.latency.as_ref();
                let figure = figures.map(|all| &all[at]).filter(|one| one.median > 0.0);
                number(figure, 0)
            };
            // Beside small answers it says nothing.
            let each = |sample: &Sample| sample.bytes / sample.done.max(1);
            let large = target.samples.iter().any(|sample| each(sample) >= 50 << 10);
            let bulk = target.mib_per_cpu_second.filter(|_| large);
            writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell.name,
                target.target,
                target.samples.len(),
                ratio(target.px_up.as_ref()),
                ratio(target.vs_haproxy.as_ref()),
                ratio(target.vs_nginx.as_ref()),
                ratio(target.vs_rp.as_ref()),
                number(target.micros.as_ref(), 1),
                ratio(target.micros_vs_haproxy.as_ref()),
                ratio(target.micros_vs_rp.as_ref()),
                number(target.upstream_micros.as_ref(), 1),
                ratio(target.upstream_vs_haproxy.as_ref()),
                number(target.rate.as_ref(), 0),
                latency(0),
                latency(1),
                latency(2),
                number(bulk.as_ref(), 0),
                number(target.handshakes.as_ref(), 4),
            )?;
        }
    }
    before(text, results)
}

/// A change beside what was there before it.
fn before(text: &mut String, results: &Results) -> std::fmt::Result {
    let mut begun = false;
    for cell in &results.cells {
        for target in &cell.targets {
            let Some(figure) = &target.vs_before else {
                continue;
            };
            if !std::mem::replace(&mut begun, true) {
                writeln!(
                    text,
                    "\n### Beside the build before\n\n\
                     | workload | target | px/up | µs |\n|---|---|---|---|"
                )?;
            }
            writeln!(
                text,
                "| {} | {} | {} | {} |",
                cell.name,
                target.target,
                ratio(Some(figure)),
                ratio(target.micros_vs_before.as_ref())
            )?;
        }
    }
    Ok(())
}

fn latency(text: &mut String, results: &Results) -> std::fmt::Result {
    if results.latency.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\n### Fixed rates (µs from the intended start)\n\n\
         | client | rate | target | p50 | p90 | p99 | p99.9 | added p50 vs HAProxy | added p90 vs HAProxy | p99 vs HAProxy | proxy CPU µs |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for row in &results.latency {
        let added = |at: usize| ratio(row.added_vs_haproxy.as_ref().map(|both| &both[at]));
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.proto,
            row.rate,
            row.target,
            number(Some(&row.p50), 0),
            number(Some(&row.p90), 0),
            number(Some(&row.p99), 0),
            row.p999.round(),
            added(0),
            added(1),
            ratio(row.p99_vs_haproxy.as_ref()),
            number(row.micros.as_ref(), 0),
        )?;
    }
    Ok(())
}

fn rest(text: &mut String, results: &Results) -> std::fmt::Result {
    if !results.counters.is_empty() {
        writeln!(
            text,
            "\n### Exact counts\n\n| what | load | target | a request |\n|---|---|---|---|"
        )?;
        for row in &results.counters {
            writeln!(
                text,
                "| {} | {} | {} | {:.1} |",
                row.what, row.load, row.target, row.each
            )?;
        }
    }
    if !results.memory.is_empty() {
        writeln!(
            text,
            "\n### Memory\n\n| what | target | base MiB | KiB each |\n|---|---|---|---|"
        )?;
        for row in &results.memory {
            writeln!(
                text,
                "| {} | {} | {:.1} | {:.1} |",
                row.what, row.target, row.base_mib, row.kib_each
            )?;
        }
    }
    if !results.overload.is_empty() {
        writeln!(
            text,
            "\n### Overload, bulk, flood\n\n| what | target | figures |\n|---|---|---|"
        )?;
        for row in &results.overload {
            let figures: Vec<String> = row
                .figures
                .iter()
                .map(|(name, figure)| {
                    let digits = if figure.median < 10.0 { 2 } else { 0 };
                    format!("{name} {:.digits$}", figure.median)
                })
                .collect();
            writeln!(
                text,
                "| {} | {} | {} |",
                row.what,
                row.target,
                figures.join("; ")
            )?;
        }
    }
    if !results.growth.is_empty() {
        writeln!(
            text,
            "\n### Growth\n\n| what | found | 95 % interval | rounds |\n|---|---|---|---|"
        )?;
        for row in &results.growth {
            let figure = &row.figure;
            writeln!(
                text,
                "| {} | {:.2} {} | {:.2} to {:.2} | {} |",
                row.what, figure.median, row.unit, figure.low, figure.high, figure.rounds
            )?;
        }
    }
    Ok(())
}
