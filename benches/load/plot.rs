//! Draws the figures as an SVG, written as text.

use crate::load::{peers::Peer, report::Report};
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 280.0;

/// Horizontal offsets of the two diagrams.
const LINES: (f64, f64) = (50.0, 400.0);
const BARS: (f64, f64) = (470.0, 740.0);

const PEERS: [(Peer, &str); 4] = [
    (Peer::Sse, "#b0b7c3"),
    (Peer::Bytes, "#7d8899"),
    (Peer::Plain, "#f0a35e"),
    (Peer::Net, "#d6492a"),
];

/// Draws CPU time by the number of subscribers, and memory per connection.
pub(crate) fn svg(report: &Report, subscribers: &[usize]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
        font-family=\"sans-serif\" font-size=\"12\">\n\
        <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    lines(&mut svg, report, subscribers);
    bars(&mut svg, report);
    legend(&mut svg);
    svg + "</svg>\n"
}

fn lines(svg: &mut String, report: &Report, subscribers: &[usize]) {
    text(
        svg,
        LINES.0,
        24.0,
        "start",
        "CPU time per event and client, as a multiple of one send()",
    );
    let highest = PEERS
        .iter()
        .flat_map(|(peer, _)| report.ratios("CPU", *peer));
    let highest = highest.fold(2.0, f64::max).ceil();
    let x = |index: usize| {
        let step = (LINES.1 - LINES.0 - 40.0) / (subscribers.len() - 1) as f64;
        LINES.0 + 20.0 + step * index as f64
    };
    let y = |ratio: f64| BOTTOM - (BOTTOM - TOP) * ratio / highest;
    for ratio in 0..=highest as usize {
        rule(svg, LINES, y(ratio as f64));
        text(
            svg,
            LINES.0 - 8.0,
            y(ratio as f64) + 4.0,
            "end",
            &ratio.to_string(),
        );
    }
    for (index, count) in subscribers.iter().enumerate() {
        text(
            svg,
            x(index),
            BOTTOM + 18.0,
            "middle",
            &format!("{count} clients"),
        );
    }
    for (peer, colour) in PEERS {
        let ratios = report.ratios("CPU", peer).into_iter();
        let points = ratios.take(subscribers.len()).enumerate();
        let points: Vec<_> = points
            .map(|(index, ratio)| format!("{:.1},{:.1}", x(index), y(ratio)))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            svg,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"3\"/>"
        );
    }
}

fn bars(svg: &mut String, report: &Report) {
    text(
        svg,
        BARS.0,
        24.0,
        "start",
        "Memory per idle connection, bytes",
    );
    rule(svg, BARS, BOTTOM);
    let figure = |peer| report.figure("memory", peer).unwrap_or(0.0);
    let highest = PEERS.iter().map(|(peer, _)| figure(*peer));
    let highest = highest.fold(1.0, f64::max);
    for (index, (peer, colour)) in PEERS.into_iter().enumerate() {
        let (figure, x) = (figure(peer), BARS.0 + 10.0 + 66.0 * index as f64);
        let height = (BOTTOM - TOP) * figure / highest;
        let y = BOTTOM - height;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y:.1}\" width=\"46\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
        text(svg, x + 23.0, y - 6.0, "middle", &format!("{figure:.0}"));
    }
}

fn legend(svg: &mut String) {
    for (index, (peer, colour)) in PEERS.into_iter().enumerate() {
        let x = 50.0 + 175.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"308\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        );
        text(svg, x + 18.0, 318.0, "start", peer.name());
    }
}

fn rule(svg: &mut String, (from, to): (f64, f64), y: f64) {
    let _ = writeln!(
        svg,
        "<line x1=\"{from}\" y1=\"{y:.1}\" x2=\"{to}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#222222\">{text}</text>"
    );
}
