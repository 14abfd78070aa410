//! Charts as inline SVG: bars with intervals, curves, ranges. Colours are the style sheet's, so both themes are served.

use std::fmt::Write;

use super::page::{Text, legend};
use crate::evaluate::{Pads, Share};

/// Colour of a pad's bars.
pub fn pad_colour(pad: &str) -> String {
    format!("var(--{pad})")
}

/// Grouped bars of the four results of each policy, with Wilson's 95% intervals as whiskers.
pub fn pad_bars(policies: &[(String, Pads)]) -> String {
    const LEFT: f64 = 44.0;
    const TOP: f64 = 18.0;
    const PLOT: f64 = 250.0;
    const BOTTOM: f64 = 30.0;
    const WIDTH: f64 = 960.0;
    let group = (WIDTH - LEFT) / policies.len().max(1) as f64;
    let bar = ((group - 26.0) / 4.0).min(54.0);
    let y = |share: f64| TOP + PLOT * (1.0 - share);
    let mut svg = open(WIDTH, TOP + PLOT + BOTTOM, "Share of rollouts ending on each pad, by policy");
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        level(&mut svg, y(share), LEFT, WIDTH, &format!("{:.0}%", 100.0 * share));
    }
    for (place, (policy, pads)) in policies.iter().enumerate() {
        let centre = LEFT + group * (place as f64 + 0.5);
        for (i, (pad, share)) in pads.entries().into_iter().enumerate() {
            pad_bar(pad, share).draw(&mut svg, centre + bar * (i as f64 - 2.0), bar, &y);
        }
        let base = TOP + PLOT + 21.0;
        let _ = write!(
            svg,
            "<text x=\"{centre:.1}\" y=\"{base}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>",
            Text(policy)
        );
    }
    let base = y(0.0);
    let _ = writeln!(svg, "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{base}\" y2=\"{base}\"/></svg>");
    let names = ["left", "middle", "right", "none"];
    legend(names.map(|pad| (pad, pad_colour(pad)))) + &svg
}

fn pad_bar(pad: &str, share: Share) -> Bar {
    let tip = format!(
        "{pad}: {} of {} = {:.1}%, 95% interval {:.1} to {:.1}%",
        share.count,
        share.of,
        100.0 * share.share,
        100.0 * share.low,
        100.0 * share.high
    );
    Bar {
        value: share.share,
        interval: Some((share.low, share.high)),
        dots: Vec::new(),
        colour: pad_colour(pad),
        label: super::page::percent(share.share),
        tip,
    }
}

/// A horizontal line across a plot, with its label to the left.
pub(crate) fn level(svg: &mut String, at: f64, left: f64, right: f64, label: &str) {
    let _ = write!(
        svg,
        "<line class=\"grid-line\" x1=\"{left}\" x2=\"{right:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
         <text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        left - 8.0,
        at + 4.0
    );
}

/// One bar of a chart.
pub(crate) struct Bar {
    /// Where it ends; it begins at 0.
    pub value: f64,
    /// The ends of its whisker.
    pub interval: Option<(f64, f64)>,
    /// Single values, as dots side by side.
    pub dots: Vec<f64>,
    /// Of the bar.
    pub colour: String,
    /// What stands above it.
    pub label: String,
    /// What a pointer over it shows.
    pub tip: String,
}

impl Bar {
    /// Draws it into the slot of `width` pixels that begins at `x`; `y` turns values into pixels.
    pub(crate) fn draw(&self, svg: &mut String, x: f64, width: f64, y: &dyn Fn(f64) -> f64) {
        let (from, to, middle, inner) = (y(0.0), y(self.value), x + width / 2.0, width - 5.0);
        let _ = write!(
            svg,
            "<g><title>{}</title><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{inner:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"{}\"/>",
            Text(&self.tip),
            x + 2.5,
            from.min(to),
            (from - to).abs(),
            self.colour
        );
        if let Some(interval) = self.interval {
            whisker(svg, middle, interval, y);
        }
        let step = ((inner - 8.0) / self.dots.len() as f64).min(7.0);
        for (i, value) in self.dots.iter().enumerate() {
            dot(svg, middle + step * (i as f64 - (self.dots.len() - 1) as f64 / 2.0), y(*value));
        }
        let highest = self.dots.iter().copied().chain(self.interval.map(|(_, high)| high)).fold(self.value, f64::max);
        let _ = write!(
            svg,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11.5\">{}</text></g>",
            y(highest.max(0.0)) - 5.0,
            Text(&self.label)
        );
    }
}

/// An interval as a line with a stroke at each end.
pub(crate) fn whisker(svg: &mut String, middle: f64, (low, high): (f64, f64), y: &dyn Fn(f64) -> f64) {
    let (low, high, left) = (y(low), y(high), middle - 4.0);
    let _ = write!(
        svg,
        "<path class=\"whisker\" fill=\"none\" d=\"M{middle:.1} {high:.1}V{low:.1}M{left:.1} {high:.1}h8M{left:.1} {low:.1}h8\"/>"
    );
}

/// One of several values that an average is of: seen on a bar as well as on the ground.
pub(crate) fn dot(svg: &mut String, x: f64, y: f64) {
    let _ = write!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.3\" fill=\"var(--card)\" stroke=\"var(--ink)\" stroke-width=\"1.1\"/>"
    );
}

/// One curve of a chart.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// (step, value), by step.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// A colour of its own; else the next of the palette.
    pub colour: Option<String>,
}

/// How a curve is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A full line.
    Plain,
    /// A dashed line: a baseline to compare with.
    Dashed,
    /// Thin and pale, with its smoothed self on top: noisy training values.
    Noisy,
}

/// What the vertical axis spans.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// As much as the values need.
    Free,
    /// All of 0 to 1.
    Shares,
    /// From below the values to 1.
    UpToOne,
}

/// Curves over steps. Values that are not finite are left out; without any point there is no chart.
pub fn curves(title: &str, x_label: &str, range: Range, series: &[Series]) -> String {
    const LEFT: f64 = 52.0;
    const TOP: f64 = 10.0;
    const RIGHT: f64 = 12.0;
    const PLOT: f64 = 190.0;
    const WIDTH: f64 = 480.0;
    let finite: Vec<(f64, f64)> =
        series.iter().flat_map(|s| s.points.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if finite.is_empty() {
        return String::new();
    }
    let bounds = |get: fn(&(f64, f64)) -> f64| {
        finite.iter().map(get).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (x0, x1) = bounds(|point| point.0);
    let (low, high) = match (range, bounds(|point| point.1)) {
        (Range::Free, values) => values,
        (Range::Shares, _) => (0.0, 1.0),
        (Range::UpToOne, (low, _)) => (low.min(0.9), 1.0),
    };
    let ticks = nice_ticks(low, high);
    let (y0, y1) = (ticks[0].min(low), ticks[ticks.len() - 1].max(high));
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * if x1 > x0 { (value - x0) / (x1 - x0) } else { 0.5 };
    let y = |value: f64| TOP + PLOT * (1.0 - (value - y0) / (y1 - y0));

    let mut svg = open(WIDTH, TOP + PLOT + 36.0, title);
    for &tick in &ticks {
        level(&mut svg, y(tick), LEFT, WIDTH - RIGHT, &number(tick, ticks[1] - ticks[0]));
    }
    for (anchor, value) in [("start", x0), ("middle", (x0 + x1) / 2.0), ("end", x1)] {
        if anchor == "start" || x1 > x0 {
            let (at, base) = (x(value), TOP + PLOT + 18.0);
            let _ = write!(
                svg,
                "<text class=\"soft\" x=\"{at:.1}\" y=\"{base}\" text-anchor=\"{anchor}\">{value:.0}</text>"
            );
        }
    }
    let (middle, base) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, TOP + PLOT + 33.0);
    let _ =
        write!(svg, "<text class=\"soft\" x=\"{middle}\" y=\"{base}\" text-anchor=\"middle\">{}</text>", Text(x_label));
    for (place, one) in series.iter().enumerate() {
        let colour = series_colour(place, one);
        let path = |points: &[(f64, f64)]| polyline(points, &x, &y);
        match one.stroke {
            Stroke::Plain => draw(&mut svg, &colour, "curve", &path(&one.points)),
            Stroke::Dashed => draw(&mut svg, &colour, "curve dashed", &path(&one.points)),
            Stroke::Noisy => {
                draw(&mut svg, &colour, "curve faint", &path(&one.points));
                draw(&mut svg, &colour, "curve", &path(&smooth(&one.points)));
            }
        }
        if let [only] = one.points[..] {
            let _ =
                write!(svg, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" fill=\"{colour}\"/>", x(only.0), y(only.1));
        }
    }
    svg.push_str("</svg>\n");
    let names = series.iter().enumerate().map(|(place, one)| (one.name.as_str(), series_colour(place, one)));
    let legend = if series.len() > 1 { legend(names) } else { String::new() };
    format!("<div class=\"card\"><h3>{}</h3>\n{legend}{svg}</div>\n", Text(title))
}

fn series_colour(place: usize, series: &Series) -> String {
    series.colour.clone().unwrap_or_else(|| format!("var(--s{})", place % 6))
}

pub(crate) fn draw(svg: &mut String, colour: &str, class: &str, path: &str) {
    let _ = write!(svg, "<path class=\"{class}\" stroke=\"{colour}\" d=\"{path}\"/>");
}

pub(crate) fn polyline(points: &[(f64, f64)], x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let finite = points.iter().filter(|(_, value)| value.is_finite());
    let mut path = String::new();
    for (i, &(step, value)) in finite.enumerate() {
        let _ = write!(path, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, x(step), y(value));
    }
    path
}

/// A centred moving average over a fortieth of the points to either side, thinned to at most 400 points.
fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 40;
    let every = points.len().div_ceil(400).max(1);
    let average = |i: usize| {
        let near = &points[i.saturating_sub(reach)..(i + reach + 1).min(points.len())];
        (points[i].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).step_by(every).map(average).collect()
}

/// Dots with a line from the lowest to the highest decile: one row for each name.
pub fn ranges(title: &str, rows: &[(String, String, [f64; 3], usize)]) -> String {
    const LEFT: f64 = 92.0;
    const WIDTH: f64 = 480.0;
    const ROW: f64 = 30.0;
    const TOP: f64 = 8.0;
    if rows.is_empty() {
        return String::new();
    }
    let values = rows.iter().flat_map(|row| row.2);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let ticks = nice_ticks(low, high);
    let (x0, x1) = (ticks[0].min(low), ticks[ticks.len() - 1].max(high));
    let x = |value: f64| LEFT + (WIDTH - LEFT - 40.0) * (value - x0) / (x1 - x0);
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = open(WIDTH, bottom + 22.0, title);
    for &tick in &ticks {
        let at = x(tick);
        let label = number(tick, ticks[1] - ticks[0]);
        let _ = write!(
            svg,
            "<line class=\"grid-line\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"soft\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 16.0
        );
    }
    for (place, (name, colour, [low, middle, high], count)) in rows.iter().enumerate() {
        let y = TOP + ROW * (place as f64 + 0.5);
        let _ = write!(
            svg,
            "<g><title>{}: median {middle:.2}, 80% between {low:.2} and {high:.2}, n = {count}</title>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"3\" opacity=\".45\" stroke-linecap=\"round\"/>\
             <circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"{colour}\"/>\
             <text class=\"soft\" x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\" font-size=\"11\">{count}</text></g>",
            Text(name),
            LEFT - 12.0,
            y + 4.0,
            Text(name),
            x(*low),
            x(*high),
            x(*middle),
            y + 4.0
        );
    }
    svg.push_str("</svg>\n");
    format!("<div class=\"card\"><h3>{}</h3>\n{svg}</div>\n", Text(title))
}

/// A small histogram: one bar a bucket, heights as shares of all steps.
pub fn histogram(title: &str, labels: &[String], shares: &[f64]) -> String {
    histogram_of("steps", title, labels, shares)
}

/// A small histogram: one bar a bucket, heights as shares of all `things`.
pub fn histogram_of(things: &str, title: &str, labels: &[String], shares: &[f64]) -> String {
    const WIDTH: f64 = 300.0;
    const TOP: f64 = 18.0;
    const PLOT: f64 = 84.0;
    let bar = WIDTH / shares.len().max(1) as f64;
    let most = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = open(WIDTH, TOP + PLOT + 18.0, title);
    for (i, (label, share)) in labels.iter().zip(shares).enumerate() {
        let height = PLOT * share / most;
        let (x, y) = (bar * i as f64, TOP + PLOT - height);
        let _ = write!(
            svg,
            "<g><title>{}: {:.1}% of {things}</title><rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"1.5\" fill=\"var(--s0)\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"10.5\">{}</text>\
             <text class=\"soft\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" font-size=\"10.5\">{}</text></g>",
            Text(label),
            100.0 * share,
            x + 1.5,
            bar - 3.0,
            x + bar / 2.0,
            y - 4.0,
            if *share >= 0.0005 { super::page::percent(*share) } else { String::new() },
            x + bar / 2.0,
            TOP + PLOT + 14.0,
            Text(label)
        );
    }
    svg.push_str("</svg>\n");
    format!("<div class=\"card\"><h3>{}</h3>\n{svg}</div>\n", Text(title))
}

fn open(width: f64, height: f64, title: &str) -> String {
    format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", Text(title))
}

/// Four to seven round values that cover `low..high`.
pub(crate) fn nice_ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let raw = span / 4.0;
    let power = 10f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= raw).unwrap_or(raw);
    let first = (low / step).floor() as i64;
    let last = ((high / step).ceil() as i64).max(first + 1);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick's label with as many decimals as its step needs.
pub(crate) fn number(value: f64, step: f64) -> String {
    let decimals = (0..6)
        .find(|&d| {
            let scaled = step * 10f64.powi(d);
            (scaled - scaled.round()).abs() < 1e-6
        })
        .unwrap_or(6);
    format!("{value:.*}", decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover() {
        assert_eq!(nice_ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(nice_ticks(0.3, 7.9), [0.0, 2.0, 4.0, 6.0, 8.0]);
        let flat = nice_ticks(3.0, 3.0);
        assert!(flat.len() >= 2 && flat[0] <= 3.0 && flat[flat.len() - 1] >= 3.0, "{flat:?}");
        assert_eq!(number(0.25, 0.25), "0.25");
        assert_eq!(number(-2.0, 2.0), "-2");
    }

    #[test]
    fn curves_skip_what_is_not_finite() {
        let series =
            |points: Vec<(f64, f64)>| [Series { name: "loss".into(), points, stroke: Stroke::Plain, colour: None }];
        assert_eq!(curves("Loss", "step", Range::Free, &series(vec![(1.0, f64::NAN)])), "");
        let svg = curves("Loss", "step", Range::Free, &series(vec![(1.0, 2.0), (2.0, f64::INFINITY), (3.0, 1.0)]));
        assert!(svg.contains("<path") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn smoothing_keeps_a_constant_and_thins() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), 2.0)).collect();
        let smoothed = smooth(&points);
        assert!(smoothed.len() <= 400 && smoothed.iter().all(|point| (point.1 - 2.0).abs() < 1e-12));
    }
}
