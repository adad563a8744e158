//! Where each of the goals G1 to G11 stands, from the figures of a run.

use crate::{
    overload,
    results::{Goal, Measured, Results},
};

struct Check {
    text: String,
    holds: bool,
}

/// Judges all.
pub fn judge(results: &Results) -> Vec<Goal> {
    vec![
        goal("G1", "GET, h1 to h1: at most 0.90 of HAProxy", g1(results)),
        goal(
            "G2",
            "GET, h2 to h2: at most 1.15 of HAProxy; h2 to h1: at most 0.95 of nginx; upstream CPU at most 1.05 of HAProxy's",
            g2(results),
        ),
        goal("G3", "GET: at most 1.10 of the bare proxy", g3(results)),
        goal(
            "G4",
            "flat with the size of the store: at most 1.10; with one user's bindings: 1.05; at most 700 B a token, 250 B a binding",
            g4(results),
        ),
        goal(
            "G5",
            "at most 6.1 system calls a request on one connection; allocations at most 1.5 of the bare proxy's",
            g5(results),
        ),
        goal(
            "G6",
            "idle connection at most 20 KiB, after a 50 KiB list over h2 40 KiB, idle h2 watch 12 KiB",
            g6(results),
        ),
        goal(
            "G7",
            "added p50 and p90 at 1,000/s and 4,000/s at most HAProxy's; p99 at most 1.2 of it",
            g7(results),
        ),
        goal(
            "G8",
            "new TLS connection: at most 0.50 of HAProxy",
            g8(results),
        ),
        goal(
            "G9",
            "watch event at most 1.10 (h2) and 0.85 (h1) of HAProxy; 100 MiB: at least 1.3 of HAProxy's MiB per CPU-second",
            g9(results),
        ),
        goal(
            "G10",
            "at 1.3 x capacity at least 0.80 of it served, new upstream connections within the cap, normal after two seconds (p50 at most 1.5 of before); beside bulk p99 at most 2 of HAProxy's",
            g10(results),
        ),
        goal(
            "G11",
            "API server's CPU of a GET through the gateway: at most 1.35 of a direct one; no new connection",
            g11(results),
        ),
    ]
}

fn goal(id: &str, text: &str, checks: Vec<Option<Check>>) -> Goal {
    let known: Vec<Check> = checks.into_iter().flatten().collect();
    let found: Vec<&str> = known.iter().map(|check| check.text.as_str()).collect();
    Goal {
        id: id.to_owned(),
        goal: text.to_owned(),
        found: found.join("; "),
        holds: (!known.is_empty()).then(|| known.iter().all(|check| check.holds)),
    }
}

fn said(what: &str, value: f64) -> String {
    format!("{what} {value:.2}").trim_start().to_owned()
}

fn at_most(what: &str, value: Option<f64>, most: f64) -> Option<Check> {
    let value = value?;
    Some(Check {
        text: said(what, value),
        holds: value <= most,
    })
}

fn at_least(what: &str, value: Option<f64>, least: f64) -> Option<Check> {
    let value = value?;
    Some(Check {
        text: said(what, value),
        holds: value >= least,
    })
}

fn find<'r>(results: &'r Results, cell: &str, target: &str) -> Option<&'r Measured> {
    let cell = results.cells.iter().find(|found| found.name == cell)?;
    cell.targets.iter().find(|found| found.target == target)
}

fn g1(results: &Results) -> Vec<Option<Check>> {
    let found = find(results, "get-h1", "gateway>h1");
    vec![at_most(
        "",
        found.and_then(|it| Some(it.vs_haproxy?.median)),
        0.90,
    )]
}

fn g2(results: &Results) -> Vec<Option<Check>> {
    let h2 = find(results, "get-h2-controller", "gateway>h2");
    let h1 = find(results, "get-h2-controller", "gateway>h1");
    let upstream = |it: &Measured| Some(it.upstream_vs_haproxy?.median);
    vec![
        at_most(
            "h2 to h2",
            h2.and_then(|it| Some(it.vs_haproxy?.median)),
            1.15,
        ),
        at_most(
            "h2 to h1 over nginx",
            h1.and_then(|it| Some(it.vs_nginx?.median)),
            0.95,
        ),
        at_most("upstream h2", h2.and_then(upstream), 1.05),
        at_most("upstream h1", h1.and_then(upstream), 1.05),
    ]
}

fn g3(results: &Results) -> Vec<Option<Check>> {
    let of = |cell, target| find(results, cell, target).and_then(|it| Some(it.vs_rp?.median));
    vec![
        at_most("h1 to h1", of("get-h1", "gateway>h1"), 1.10),
        at_most("h1 to h2", of("get-h1", "gateway>h2"), 1.10),
        at_most("h2 to h1", of("get-h2-controller", "gateway>h1"), 1.10),
        at_most("h2 to h2", of("get-h2-controller", "gateway>h2"), 1.10),
    ]
}

fn g4(results: &Results) -> Vec<Option<Check>> {
    let of = |what: &str| {
        let row = results.growth.iter().find(|row| row.what.starts_with(what));
        row.map(|row| row.figure.median)
    };
    vec![
        at_most("large store, h1", of("px/up, large over small, H1"), 1.10),
        at_most("large store, h2", of("px/up, large over small, H2"), 1.10),
        at_most(
            "4,000 bindings",
            of("px/up, user with 4,000 bindings"),
            1.05,
        ),
        at_most("4,000 groups", of("px/up, user in 4,000 groups"), 1.05),
        at_most("bytes a token", of("memory of a token"), 700.0),
        at_most("bytes a binding", of("memory of a binding"), 250.0),
    ]
}

fn g5(results: &Results) -> Vec<Option<Check>> {
    let of = |what: &str, load: &str, target: &str| {
        let mut rows = results.counters.iter();
        let row = rows.find(|row| row.what == what && row.load == load && row.target == target);
        row.map(|row| row.each)
    };
    let ratio = |load, target: &str, rp: &str| {
        Some(of("allocations", load, target)? / of("allocations", load, rp)?)
    };
    vec![
        at_most("calls, h1", of("system calls", "h1 1x1", "gateway>h1"), 6.1),
        at_most(
            "calls, h2 upstream",
            of("system calls", "h1 1x1", "gateway>h2"),
            6.1,
        ),
        at_most(
            "allocations h1 to h1",
            ratio("h1 64x1", "gateway>h1", "rp>h1"),
            1.5,
        ),
        at_most(
            "allocations h2 to h2",
            ratio("h2 8x8", "gateway>h2", "rp>h2"),
            1.5,
        ),
    ]
}

fn g6(results: &Results) -> Vec<Option<Check>> {
    let of = |what: &str, target: &str| {
        let mut rows = results.memory.iter();
        let row = rows.find(|row| row.what == what && row.target == target);
        row.map(|row| row.kib_each)
    };
    vec![
        at_most(
            "idle",
            of("idle connection, handshake only", "gateway>h2"),
            20.0,
        ),
        at_most(
            "after a list",
            of("idle connection after a 50 KiB list, h2", "gateway>h2"),
            40.0,
        ),
        at_most(
            "watch",
            of("idle watch, h2, 50 a connection", "gateway>h2"),
            12.0,
        ),
    ]
}

fn g7(results: &Results) -> Vec<Option<Check>> {
    let mut all = Vec::new();
    for row in results
        .latency
        .iter()
        .filter(|row| row.target.starts_with("gateway"))
    {
        let name = |what: &str| format!("{} {}/s {what}", row.proto, row.rate);
        if let Some([p50, p90]) = &row.added_vs_haproxy {
            all.push(at_most(&name("p50"), Some(p50.median), 1.0));
            all.push(at_most(&name("p90"), Some(p90.median), 1.0));
        }
        let p99 = row.p99_vs_haproxy.as_ref().map(|figure| figure.median);
        all.push(at_most(&name("p99"), p99, 1.2));
    }
    all
}

fn g8(results: &Results) -> Vec<Option<Check>> {
    // What is asked is the proxy's CPU: the upstream has no part in a handshake.
    vec![at_most(
        "",
        micros(results, "connect-h1", "gateway>h1"),
        0.50,
    )]
}

/// Microseconds of the proxy's CPU over HAProxy's.
fn micros(results: &Results, cell: &str, target: &str) -> Option<f64> {
    Some(find(results, cell, target)?.micros_vs_haproxy?.median)
}

fn g9(results: &Results) -> Vec<Option<Check>> {
    let event = |target| {
        let found = find(results, "watch-events", target);
        found.and_then(|it| Some(it.vs_haproxy?.median))
    };
    let bulk = |cell, target| Some(1.0 / micros(results, cell, target)?);
    vec![
        at_most("event h2", event("gateway>h2"), 1.10),
        at_most("event h1", event("gateway>h1"), 0.85),
        at_least("100 MiB h1 to h1", bulk("body-100m-h1", "gateway>h1"), 1.3),
        at_least("100 MiB h2 to h2", bulk("body-100m-h2", "gateway>h2"), 1.3),
    ]
}

fn g10(results: &Results) -> Vec<Option<Check>> {
    let of = |what: &str, target: &str, figure: &str| {
        let mut rows = results.overload.iter();
        let row = rows.find(|row| row.what == what && row.target == target)?;
        Some(row.figures.get(figure)?.median)
    };
    let over = |target, figure| of(overload::OVER, target, figure);
    let served = |target| over(target, "served share");
    let p99 = |target| of(overload::BESIDE_BULK, target, "p99 over HAProxy's");
    let dialled = |target| over(target, "new upstream connections");
    let later = |target| over(target, "p50 two seconds later over before");
    vec![
        at_least("served h1", served("gateway>h1"), 0.80),
        at_least("served h2", served("gateway>h2"), 0.80),
        at_most("new connections h1", dialled("gateway>h1"), 256.0),
        at_most("new connections h2", dialled("gateway>h2"), 8.0),
        at_most("p50 two seconds later h1", later("gateway>h1"), 1.5),
        at_most("p50 two seconds later h2", later("gateway>h2"), 1.5),
        at_most("p99 beside bulk h1", p99("gateway>h1"), 2.0),
        at_most("p99 beside bulk h2", p99("gateway>h2"), 2.0),
    ]
}

fn g11(results: &Results) -> Vec<Option<Check>> {
    let rows = |what: &'static str| {
        let rows = results.growth.iter();
        rows.filter(move |row| row.what.starts_with(what))
            .map(|row| (row.what.as_str(), row.figure.median))
    };
    let user = |what: &str| what.rsplit(", ").next().unwrap_or_default().to_owned();
    let ratios = rows("API server's CPU of a GET, gateway over direct")
        .map(|(what, value)| at_most(&user(what), Some(value), 1.35));
    let dials = rows("API server's new connections").map(|(what, value)| {
        at_most(
            &format!("new connections, {}", user(what)),
            Some(value),
            0.0,
        )
    });
    ratios.chain(dials).collect()
}
