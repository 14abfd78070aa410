//! Figures as SVG files that stand alone: they bring their own background and colours, so they can be read on pages of any theme.

use std::fmt::Write;

use super::aggregate::Cell;
use super::markdown::value;
use super::{Claim, Figure, Unit};
use crate::report::chart::{nice_ticks, number};
use crate::report::page::Text;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 16.0;
const PLOT: f64 = 260.0;
/// Height of a line of text.
const LINE: f64 = 16.0;
/// Letters of a label's line, about 6 pixels each.
const LETTER: f64 = 6.2;
/// Distinguishable with any common colour blindness (Okabe and Ito).
const PALETTE: [&str; 8] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7a6c00", "#555555"];

/// What is on the vertical axis.
struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    step: f64,
    unit: Unit,
}

impl Axis {
    fn of(claim: &Claim, cells: &[Cell]) -> Self {
        let ends = cells
            .iter()
            .flat_map(|c| [Some(c.worst()), Some(c.best()), c.interval.map(|i| i.0), c.interval.map(|i| i.1)]);
        let (low, high) = match claim.unit {
            Unit::Share => (0.0, 1.0),
            Unit::Number => {
                ends.flatten().fold((0.0f64, f64::MIN_POSITIVE), |(low, high), v| (low.min(v), high.max(v)))
            }
        };
        let ticks = nice_ticks(low, high);
        let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
        Self { low, high, step: ticks[1] - ticks[0], ticks, unit: claim.unit }
    }

    fn y(&self, value: f64) -> f64 {
        TOP + PLOT * (1.0 - (value.clamp(self.low, self.high) - self.low) / (self.high - self.low))
    }

    fn draw(&self, svg: &mut String, title: &str) {
        for &tick in &self.ticks {
            let y = self.y(tick);
            let label = match self.unit {
                Unit::Share => format!("{:.0}%", 100.0 * tick),
                Unit::Number => number(tick, self.step),
            };
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                WIDTH - RIGHT
            );
            let _ = write!(svg, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 8.0, y + 4.0);
        }
        let middle = TOP + PLOT / 2.0;
        let _ = writeln!(
            svg,
            "<text transform=\"translate(14 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            Text(title)
        );
    }
}

/// The figure of a claim; none where it has none, or nothing to show.
pub fn draw(claim: &Claim, cells: &[Cell]) -> Option<String> {
    match claim.figure {
        _ if cells.is_empty() => None,
        Figure::None => None,
        Figure::Bars => Some(bars(claim, cells)),
        Figure::Curve => Some(curves(claim, cells)),
    }
}

fn names<'a>(cells: &'a [Cell], get: fn(&Cell) -> &str) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for name in cells.iter().map(get) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A group of bars for each series, a bar for each x, whiskers from the interval's low end to its high one, a dot for each run.
fn bars(claim: &Claim, cells: &[Cell]) -> String {
    let (series, xs) = (names(cells, |cell| &cell.series), names(cells, |cell| &cell.x));
    let axis = Axis::of(claim, cells);
    let group = (WIDTH - LEFT - RIGHT) / series.len() as f64;
    let bar = ((group - 18.0) / xs.len() as f64).min(56.0);
    let labels: Vec<Vec<String>> = series.iter().map(|name| wrapped(name, ((group - 8.0) / LETTER) as usize)).collect();
    let lines = labels.iter().map(Vec::len).max().unwrap_or(1);
    let (legend, below) = legend(&xs, TOP + PLOT + 12.0 + LINE * lines as f64);
    let mut svg = open(claim, below);
    axis.draw(&mut svg, &claim.y);
    for (place, name) in series.iter().enumerate() {
        let centre = LEFT + group * (place as f64 + 0.5);
        for (i, x) in xs.iter().enumerate() {
            let Some(cell) = cells.iter().find(|cell| cell.series == *name && cell.x == *x) else { continue };
            let left = centre + bar * (i as f64 - xs.len() as f64 / 2.0);
            one_bar(&mut svg, cell, &axis, left, bar, colour(i));
        }
        for (line, text) in labels[place].iter().enumerate() {
            let y = TOP + PLOT + LINE * (line as f64 + 1.0);
            let _ = write!(svg, "<text x=\"{centre:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>", Text(text));
        }
        svg.push('\n');
    }
    if xs.len() > 1 {
        svg.push_str(&legend);
    }
    svg + "</svg>\n"
}

fn one_bar(svg: &mut String, cell: &Cell, axis: &Axis, left: f64, width: f64, colour: &str) {
    let (top, base, middle) = (axis.y(cell.iqm), axis.y(0.0), left + width / 2.0);
    let _ = write!(
        svg,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"><title>{}, {}: {}</title></rect>",
        left + 2.0,
        top.min(base),
        width - 4.0,
        (base - top).abs(),
        Text(&cell.series),
        Text(&cell.x),
        value(cell.iqm, axis.unit)
    );
    let mut above = top;
    if let Some((low, high)) = cell.interval {
        let (low, high) = (axis.y(low), axis.y(high));
        above = above.min(high);
        let _ = write!(
            svg,
            "<path class=\"whisker\" d=\"M{middle:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h8M{:.1} {high:.1}h8\"/>",
            middle - 4.0,
            middle - 4.0
        );
    }
    dots(svg, cell, middle + (width / 4.0).min(9.0), axis);
    if width >= 34.0 {
        let y = (above - 5.0).max(TOP - 4.0);
        let text = value(cell.iqm, axis.unit);
        let _ =
            write!(svg, "<text class=\"small\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{text}</text>");
    }
}

fn dots(svg: &mut String, cell: &Cell, x: f64, axis: &Axis) {
    if cell.points.len() > 1 {
        for point in &cell.points {
            let _ = write!(svg, "<circle class=\"run\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"2.2\"/>", axis.y(point.value));
        }
    }
}

/// A curve for each series, with whiskers and a dot for each run.
fn curves(claim: &Claim, cells: &[Cell]) -> String {
    let series = names(cells, |cell| &cell.series);
    let axis = Axis::of(claim, cells);
    let scale = |x: f64| if claim.log_x { x.max(f64::MIN_POSITIVE).ln() } else { x };
    let x_of = |cell: &Cell| cell.points.first().and_then(super::Point::x_number).unwrap_or(0.0);
    let mut xs: Vec<f64> = cells.iter().map(x_of).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let (first, last) = (scale(xs[0]), scale(xs[xs.len() - 1]));
    let span = if last > first { last - first } else { 1.0 };
    let (from, room) = (LEFT + 14.0, WIDTH - LEFT - RIGHT - 28.0);
    let at = |x: f64| from + room * (scale(x) - first) / span;
    let (legend, below) = legend(&series, TOP + PLOT + 2.0 * LINE + 14.0);
    let mut svg = open(claim, below);
    axis.draw(&mut svg, &claim.y);
    // Labels that would touch are left out; the last one stays.
    let mut free = f64::NEG_INFINITY;
    for (i, &x) in xs.iter().enumerate() {
        let label = number(x, if x == x.trunc() { 1.0 } else { x.abs() / 100.0 });
        let half = label.len() as f64 * LETTER / 2.0 + 4.0;
        let is_last = i + 1 == xs.len();
        if at(x) - half < free || (!is_last && at(x) + 2.0 * half > at(xs[xs.len() - 1])) {
            continue;
        }
        free = at(x) + half;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            at(x),
            TOP + PLOT + LINE
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
        TOP + PLOT + 2.0 * LINE + 2.0,
        Text(&claim.x)
    );
    for (i, name) in series.iter().enumerate() {
        let mut own: Vec<&Cell> = cells.iter().filter(|cell| cell.series == *name).collect();
        own.sort_by(|a, b| x_of(a).total_cmp(&x_of(b)));
        // A little aside, so that the whiskers of two curves can be told apart.
        let aside = 3.0 * (i as f64 - (series.len() as f64 - 1.0) / 2.0);
        let place = |cell: &Cell| at(x_of(cell)) + aside;
        let points: Vec<String> = own.iter().map(|c| format!("{:.1},{:.1}", place(c), axis.y(c.iqm))).collect();
        let colour = colour(i);
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/>",
            points.join(" ")
        );
        for cell in own {
            let (x, y) = (place(cell), axis.y(cell.iqm));
            if let Some((low, high)) = cell.interval {
                let _ = write!(
                    svg,
                    "<path fill=\"none\" stroke=\"{colour}\" opacity=\".6\" d=\"M{x:.1} {:.1}V{:.1}\"/>",
                    axis.y(low),
                    axis.y(high)
                );
            }
            let tip = value(cell.iqm, axis.unit);
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\" fill=\"{colour}\"><title>{}, {}: {tip}</title></circle>",
                Text(name),
                Text(&cell.x)
            );
        }
        svg.push('\n');
    }
    svg + &legend + "</svg>\n"
}

fn colour(place: usize) -> &'static str {
    PALETTE[place % PALETTE.len()]
}

fn open(claim: &Claim, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{}\">\n<style>text{{font:12px system-ui,sans-serif;fill:#222}}.small{{font-size:10.5px}}.grid{{stroke:#e2e2e2}}\
         .whisker{{fill:none;stroke:#222;stroke-width:1.3}}.run{{fill:#fff;stroke:#222;stroke-width:1}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#fff\"/>\n",
        Text(&claim.title)
    )
}

/// Names with their colours, from `top` down, and where they end.
fn legend(names: &[&str], top: f64) -> (String, f64) {
    let mut svg = String::new();
    let (mut x, mut y) = (LEFT, top + LINE);
    for (i, name) in names.iter().enumerate() {
        let width = 30.0 + LETTER * name.chars().count() as f64;
        if x > LEFT && x + width > WIDTH - RIGHT {
            (x, y) = (LEFT, y + LINE + 2.0);
        }
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"11\" height=\"11\" fill=\"{}\"/><text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 10.0,
            colour(i),
            x + 16.0,
            Text(name)
        );
        x += width;
    }
    (svg, y + 12.0)
}

/// `text` in lines of about `letters`, cut between words.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.len() - 1;
        if !lines[line].is_empty() && lines[line].chars().count() + 1 + word.chars().count() > letters {
            lines.push(word.to_owned());
        } else {
            if !lines[line].is_empty() {
                lines[line].push(' ');
            }
            lines[line].push_str(word);
        }
    }
    lines
}
