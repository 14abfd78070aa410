//! A claim's picture: groups of bars or lines, with the interval over runs and a dot for each run.

use std::fmt::Write;

use super::aggregate::Row;
use super::{Answer, Claim, Figure, Unit, distinct};
use crate::report::chart::{self, Bar, dot, level, nice_ticks, whisker};
use crate::report::page::{Text, drawing};

/// The widest a figure gets before its groups go on in a second row: a page's width, so that nothing is made small.
const WIDTH: f64 = 960.0;
/// The least width, so that the title's legend has room.
const LEAST: f64 = 460.0;
/// Around everything.
const MARGIN: f64 = 18.0;
/// From the margin to the plot: tick labels and, turned, what the axis measures.
const LEFT: f64 = 70.0;
/// Pixels of a letter: more than most need, so that no two labels touch.
const LETTER: f64 = 7.0;
/// Pixels of a line of text.
const LINE: f64 = 15.0;
/// Results that have a colour of their own everywhere.
const PADS: [&str; 4] = ["left", "middle", "right", "none"];

/// The figure as an SVG file.
pub(super) fn draw(answer: &Answer) -> String {
    match answer.claim.figure {
        Figure::Curve => curves(answer),
        Figure::Bars | Figure::None => bars(answer),
    }
}

/// The vertical axis: ticks, and what a value is in pixels from the top of the plot.
struct Axis {
    ticks: Vec<f64>,
    unit: Unit,
    height: f64,
}

impl Axis {
    /// Covers every value, run and interval. Shares go from 0 to 1, or to a quarter where nothing is above that; bars always
    /// from 0.
    fn of(answer: &Answer, from_zero: bool, height: f64) -> Self {
        let rows = answer.rows.iter().flat_map(|row| [row.low, row.high, row.worst, row.best, row.iqm]);
        let bounds = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
        let start = if from_zero { (0.0, 0.0) } else { (f64::INFINITY, f64::NEG_INFINITY) };
        let ticks = match answer.claim.unit {
            Unit::Share if rows.clone().all(|value| value <= 0.25) => vec![0.0, 0.05, 0.1, 0.15, 0.2, 0.25],
            Unit::Share => vec![0.0, 0.25, 0.5, 0.75, 1.0],
            Unit::Number => {
                let (low, high) = rows.fold(start, bounds);
                nice_ticks(low, high)
            }
        };
        Axis { ticks, unit: answer.claim.unit, height }
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = (self.ticks[0], self.ticks[self.ticks.len() - 1]);
        self.height * (1.0 - (value - low) / (high - low))
    }

    /// Lines, labels, and what is measured, for a plot whose top is at `top`.
    fn draw(&self, svg: &mut String, top: f64, right: f64, what: &str) {
        for &tick in &self.ticks {
            let label = match self.unit {
                Unit::Share => format!("{:.0}%", 100.0 * tick),
                Unit::Number => chart::number(tick, self.ticks[1] - self.ticks[0]),
            };
            level(svg, top + self.y(tick), MARGIN + LEFT, right, &label);
        }
        let (x, y) = (MARGIN + 12.0, top + self.height / 2.0);
        let _ = writeln!(
            svg,
            "<text class=\"soft\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 {x} {y:.1})\">{}</text>",
            Text(what)
        );
    }
}

/// A group of bars for each series; groups that do not fit beside each other go on below.
fn bars(answer: &Answer) -> String {
    const GAP: f64 = 30.0;
    const PLOT: f64 = 220.0;
    let Answer { claim, rows, points, .. } = answer;
    let series = distinct(rows.iter().map(|row| row.series.as_str()));
    let xs = distinct(rows.iter().map(|row| row.x.as_str()));
    let label = |row: &Row| claim.unit.shown(row.iqm);
    let longest = rows.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    let room = WIDTH - 2.0 * MARGIN - LEFT;
    let wanted = (longest as f64 * LETTER + 4.0).max(40.0);
    let slot = wanted.min((room - GAP) / xs.len() as f64);
    let name = series.iter().map(|name| name.chars().count()).max().unwrap_or(0) as f64 * LETTER;
    let group = (slot * xs.len() as f64 + GAP).max((name + 12.0).min(150.0));
    let across = ((room / group) as usize).clamp(1, series.len());
    // As even as possible: four and four, not six and two.
    let panels = series.len().div_ceil(across);
    let across = series.len().div_ceil(panels);
    let group = group.max((LEAST - 2.0 * MARGIN - LEFT) / across as f64);
    let width = 2.0 * MARGIN + LEFT + group * across as f64;

    let axis = Axis::of(answer, true, PLOT);
    let colour = |place: usize| match xs[place] {
        pad if PADS.contains(&pad) => chart::pad_colour(pad),
        _ => format!("var(--s{})", place % 6),
    };
    let mut svg = String::new();
    let mut top = MARGIN;
    if xs.len() > 1 {
        let entries: Vec<(&str, String)> = xs.iter().enumerate().map(|(i, x)| (*x, colour(i))).collect();
        top = legend(&mut svg, &claim.x, &entries, width);
    }
    top += 20.0;
    for panel in series.chunks(across) {
        let right = MARGIN + LEFT + group * panel.len() as f64;
        axis.draw(&mut svg, top, right, &claim.y);
        let mut lines = 1;
        for (place, series) in panel.iter().enumerate() {
            let left = MARGIN + LEFT + group * place as f64;
            for (i, x) in xs.iter().enumerate() {
                let Some(row) = rows.iter().find(|row| row.series == *series && row.x == *x) else { continue };
                let runs = points.iter().filter(|p| p.series == *series && p.x == *x).map(|point| point.value);
                let bar = Bar {
                    value: row.iqm,
                    interval: row.has_interval().then_some((row.low, row.high)),
                    dots: if row.runs > 1 { runs.collect() } else { Vec::new() },
                    colour: colour(i),
                    label: if slot < wanted { String::new() } else { label(row) },
                    tip: tip(claim, row),
                };
                let begin = left + (group - slot * xs.len() as f64) / 2.0 + slot * i as f64;
                bar.draw(&mut svg, begin, slot, &|value| top + axis.y(value));
            }
            let wrapped = wrap(series, ((group - 16.0) / LETTER) as usize);
            lines = lines.max(wrapped.len());
            for (line, text) in wrapped.iter().enumerate() {
                let (x, y) = (left + group / 2.0, top + PLOT + 21.0 + LINE * line as f64);
                let _ = writeln!(
                    svg,
                    "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
                    Text(text)
                );
            }
        }
        let base = top + axis.y(0.0);
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{}\" x2=\"{right:.1}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>",
            MARGIN + LEFT
        );
        top += PLOT + 26.0 + LINE * lines as f64 + 22.0;
    }
    drawing(width.round(), (top - 34.0 + MARGIN).round(), &title(claim), &svg)
}

/// A line for each series with the interval as a band, and a dot for each run.
fn curves(answer: &Answer) -> String {
    const PLOT: f64 = 300.0;
    const RIGHT: f64 = 26.0;
    let Answer { claim, rows, points, .. } = answer;
    let width = 760.0;
    let number = |x: &str| x.parse::<f64>().unwrap_or(f64::NAN);
    let scaled = |x: f64| if claim.log_x { x.ln() } else { x };
    let mut xs = distinct(rows.iter().map(|row| number(&row.x)));
    xs.sort_by(f64::total_cmp);
    let (first, last) = (scaled(xs[0]), scaled(xs[xs.len() - 1]));
    let (left, right) = (MARGIN + LEFT, width - MARGIN - RIGHT);
    // Away from the edges, so that the outermost dots are whole.
    let (from, to) = (left + 14.0, right - 14.0);
    let x = |value: f64| from + (to - from) * if last > first { (scaled(value) - first) / (last - first) } else { 0.5 };

    let series = distinct(rows.iter().map(|row| row.series.as_str()));
    let colour = |place: usize| format!("var(--s{})", place % 6);
    let entries: Vec<(&str, String)> = series.iter().enumerate().map(|(i, name)| (*name, colour(i))).collect();
    let mut svg = String::new();
    let top = legend(&mut svg, "", &entries, width) + 14.0;
    let axis = Axis::of(answer, false, PLOT);
    let y = |value: f64| top + axis.y(value);
    axis.draw(&mut svg, top, right, &claim.y);
    let base = top + PLOT;
    let _ = writeln!(svg, "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>");
    for (at, label) in x_ticks(&xs, claim.log_x, &x) {
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{base:.1}\" y2=\"{:.1}\"/>\
             <text class=\"soft\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            base + 4.0,
            base + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"soft\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        (left + right) / 2.0,
        base + 38.0,
        Text(&claim.x)
    );
    for (place, name) in series.iter().enumerate() {
        let colour = colour(place);
        let mut line: Vec<&Row> = rows.iter().filter(|row| row.series == *name).collect();
        line.sort_by(|a, b| number(&a.x).total_cmp(&number(&b.x)));
        if line.len() > 1 && line.iter().any(|row| row.has_interval()) {
            let edge = |get: fn(&Row) -> f64| move |row: &&Row| (number(&row.x), get(row));
            let above = line.iter().map(edge(|row| row.high));
            let below = line.iter().rev().map(edge(|row| row.low));
            let around: Vec<(f64, f64)> = above.chain(below).collect();
            let path = chart::polyline(&around, &x, &y);
            let _ = writeln!(svg, "<path fill=\"{colour}\" opacity=\"0.14\" d=\"{path}Z\"/>");
        }
        for point in points.iter().filter(|point| point.series == *name) {
            let (x, y) = (x(number(&point.x)), y(point.value));
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\" opacity=\"0.55\"/>");
        }
        let middle: Vec<(f64, f64)> = line.iter().map(|row| (number(&row.x), row.iqm)).collect();
        chart::draw(&mut svg, &colour, "curve", &chart::polyline(&middle, &x, &y));
        for row in &line {
            let at = x(number(&row.x));
            let _ = write!(
                svg,
                "<g><title>{}</title><circle cx=\"{at:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>",
                Text(&tip(claim, row)),
                y(row.iqm)
            );
            if row.has_interval() && line.len() == 1 {
                whisker(&mut svg, at, (row.low, row.high), &y);
                dot(&mut svg, at, y(row.iqm));
            }
            svg.push_str("</g>\n");
        }
    }
    drawing(width, (base + 38.0 + MARGIN).round(), &title(claim), &svg)
}

/// Places and labels below a curve: the points' own if there are few, else round numbers; none that touches another.
fn x_ticks(xs: &[f64], log: bool, x: &dyn Fn(f64) -> f64) -> Vec<(f64, String)> {
    let (first, last) = (xs[0], xs[xs.len() - 1]);
    let values: Vec<f64> = match (xs.len() <= 8, log) {
        (true, _) => xs.to_vec(),
        (false, true) => (first.log10().ceil() as i32..=last.log10().floor() as i32).map(|p| 10f64.powi(p)).collect(),
        (false, false) => nice_ticks(first, last).into_iter().filter(|tick| (first..=last).contains(tick)).collect(),
    };
    let mut ticks: Vec<(f64, String)> = Vec::new();
    let mut free = f64::NEG_INFINITY;
    for value in values {
        let label = Unit::Number.bare(value);
        let (at, half) = (x(value), label.chars().count() as f64 * LETTER / 2.0);
        if at - half >= free {
            free = at + half + 4.0;
            ticks.push((at, label));
        }
    }
    ticks
}

/// What a pointer over a value shows.
fn tip(claim: &Claim, row: &Row) -> String {
    let Row { series, x, iqm, low, high, runs, .. } = row;
    let value = claim.unit.shown(*iqm);
    match row.has_interval() {
        true => {
            let (low, high) = (claim.unit.bare(*low), claim.unit.bare(*high));
            format!("{series}, {x}: {value}, 95% interval {low} to {high}, runs: {runs}")
        }
        false => format!("{series}, {x}: {value}, one run"),
    }
}

/// What the picture shows, for those who do not see it.
pub(super) fn title(claim: &Claim) -> String {
    match (claim.y.as_str(), claim.x.as_str()) {
        ("", _) => claim.title.clone(),
        (y, "") => format!("{}: {y}", claim.title),
        (y, x) => format!("{}: {y} by {x}", claim.title),
    }
}

/// The names of colours in as many lines as they need; returns where they end.
fn legend(svg: &mut String, what: &str, entries: &[(&str, String)], width: f64) -> f64 {
    let mut at = MARGIN;
    let mut base = MARGIN + 12.0;
    if !what.is_empty() {
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{at}\" y=\"{base}\">{}:</text>", Text(what));
        at += (what.chars().count() + 1) as f64 * LETTER + 8.0;
    }
    for (name, colour) in entries {
        let room = 18.0 + name.chars().count() as f64 * LETTER;
        if at > MARGIN && at + room > width - MARGIN {
            (at, base) = (MARGIN, base + LINE + 4.0);
        }
        let _ = writeln!(
            svg,
            "<rect x=\"{at:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" rx=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
            base - 10.0,
            at + 17.0,
            Text(name)
        );
        at += room + 16.0;
    }
    base + 6.0
}

/// A name in lines of at most `room` letters: between words, and after `_`, `-` and `/`, where that is possible.
fn wrap(name: &str, room: usize) -> Vec<String> {
    let room = room.max(4);
    let mut lines: Vec<String> = Vec::new();
    let mut line: Vec<char> = Vec::new();
    for word in name.split_inclusive([' ', '_', '-', '/']) {
        if !line.is_empty() && line.len() + word.trim_end().chars().count() > room {
            lines.push(line.drain(..).collect());
        }
        line.extend(word.chars());
        while line.len() > room && !line[room..].iter().all(|c| c.is_whitespace()) {
            lines.push(line.drain(..room).collect());
        }
    }
    lines.extend((!line.is_empty()).then(|| line.into_iter().collect()));
    lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_wrap_and_lose_nothing() {
        assert_eq!(wrap("fine-tuned on curated play", 12), ["fine-tuned", "on curated", "play"]);
        assert_eq!(wrap("aligned_left", 8), ["aligned_", "left"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("short", 12), ["short"]);
    }

    #[test]
    fn labels_below_a_curve_never_touch() {
        let x = |value: f64| value.ln() * 50.0;
        let labels = |xs: &[f64]| x_ticks(xs, true, &x).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(&[1.0, 10.0, 11.0, 100.0, 1000.0]), ["1", "10", "100", "1000"]);
        let many: Vec<f64> = (1..400).map(|i| f64::from(i) * 3.0).collect();
        assert_eq!(labels(&many), ["10", "100", "1000"]);
    }
}
