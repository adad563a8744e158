//! The picture: px/up of each target, workload by workload, HAProxy with the same upstream protocol being 1.

use crate::results::{Cell, Measured, Results};
use std::fmt::Write as _;

const LEFT: f64 = 190.0;
const WIDTH: f64 = 520.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;
/// The right edge; what is longer is cut, with its number beside it.
const MOST: f64 = 2.0;

/// An SVG.
pub fn draw(results: &Results) -> String {
    let mut body = String::new();
    let mut y = 56.0;
    for cell in &results.cells {
        let bars: Vec<&Measured> = cell
            .targets
            .iter()
            .filter(|target| target.vs_haproxy.is_some() && !target.target.starts_with("HAProxy"))
            .collect();
        if bars.is_empty() {
            continue;
        }
        block(&mut body, cell, &bars, &mut y);
    }
    let height = y + 10.0;
    let one = LEFT + WIDTH / MOST;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height:.0}\" \
         viewBox=\"0 0 860 {height:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">CPU of the proxy over CPU of the upstream; HAProxy with the same \
         upstream protocol is 1 (shorter is better)</text>\n\
         <text x=\"10\" y=\"38\" fill=\"#555\">Medians over up to {rounds} rounds, whiskers: 95 % intervals. The gateway \
         authenticates, decides, impersonates and logs; the others only forward.</text>\n\
         {body}\
         <line x1=\"{one}\" y1=\"48\" x2=\"{one}\" y2=\"{bottom:.0}\" stroke=\"#b00\" stroke-dasharray=\"4 3\"/>\n</svg>\n",
        rounds = results.machine.rounds,
        bottom = height - 6.0,
    )
}

fn block(body: &mut String, cell: &Cell, bars: &[&Measured], y: &mut f64) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        body,
        "<text x=\"10\" y=\"{:.1}\" font-weight=\"bold\">{}</text>",
        *y + BAR - 2.0,
        cell.name
    );
    for bar in bars {
        let Some(figure) = &bar.vs_haproxy else {
            continue;
        };
        let at = |value: f64| LEFT + value.min(MOST) / MOST * WIDTH;
        let color = if bar.target.starts_with("gateway") {
            "#2a6fb0"
        } else if bar.target.starts_with("rp") {
            "#9cc3e6"
        } else {
            "#bbbbbb"
        };
        let middle = *y + BAR / 2.0 - 1.0;
        let _ = writeln!(
            body,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\
             <line x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>",
            LEFT - 6.0,
            *y + BAR - 3.0,
            bar.target.replace('>', "&gt;"),
            *y,
            at(figure.median) - LEFT,
            BAR - 2.0,
            at(figure.low),
            at(figure.high),
            at(figure.median.max(figure.high)) + 6.0,
            *y + BAR - 3.0,
            figure.median,
        );
        *y += BAR;
    }
    *y += GAP;
}
