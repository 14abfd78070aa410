//! The page of one dataset: what `playhouse stats` tells, with pictures.

use std::fmt::Write;

use anyhow::Result;
use playhouse_queries::stats::{Component, DatasetStats, Drift, Histogram, Outcome, Share, Stick};
use playhouse_schemas::Kind;

use super::page::{self, Text, data_uri, percent, section, table};
use super::{chart, heatmap};

/// Players and outliers shown; the JSON has more.
const ROWS: usize = 24;
/// Side of a cell of a stick map, in units of the drawing.
const CELL: f64 = 20.0;

/// The statistics of a dataset, and in what it differs from another, as HTML.
///
/// # Errors
/// A picture cannot be encoded.
pub fn dataset(stats: &DatasetStats, drift: Option<&Drift>) -> Result<String> {
    let name = stats.root.file_name().map_or_else(|| stats.root.display().to_string(), |n| n.to_string_lossy().into());
    let mut body = format!(
        "<header>\n<p class=\"kicker\">Playhouse dataset</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}</header>\n",
        Text(&name),
        Text(&capital(&stats.basis_text())),
        tiles(stats)
    );
    body += &findings(stats);
    if let Some(drift) = drift {
        body += &differences(drift);
    }
    body += &episodes(stats);
    body += &outcomes("How episodes end, by map", &stats.outcomes);
    body += &actions(stats);
    body += &coverage(stats)?;
    body += &outliers(stats);
    body += &outcomes("How episodes end, by player", &stats.outcomes_by_player);
    body += "<footer>Made by Playhouse. Intervals are at 95%: Wilson\u{2019}s for shares of episodes, over whole episodes for \
             shares of steps. This file needs no network.</footer>\n";
    Ok(page::page(&name, &body))
}

fn tiles(stats: &DatasetStats) -> String {
    let errors = stats.findings.iter().filter(|f| f.code.as_str().starts_with("PH1")).count();
    let warnings = stats.findings.len() - errors;
    let mut tiles = vec![
        (number(stats.hours), "hours of play".to_owned()),
        (grouped(stats.episodes), "episodes".to_owned()),
        (grouped(stats.steps), format!("steps; frames: {}", stats.frames.as_deref().unwrap_or("none stored"))),
        (percent(stats.rates.idle), "of the steps without input".to_owned()),
        (errors.to_string(), format!("kinds of error, {warnings} of warning")),
    ];
    if let Some(repeated) = &stats.rates.repeated {
        tiles.insert(4, (percent(repeated.share), "of the steps repeat the action before".to_owned()));
    }
    let tile = |(figure, text): (String, String)| {
        format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", Text(&figure), Text(&text))
    };
    format!("<div class=\"tiles\">\n{}</div>\n", tiles.into_iter().map(tile).collect::<String>())
}

fn findings(stats: &DatasetStats) -> String {
    if stats.findings.is_empty() {
        return section("Findings", "None: nothing contradicts itself, and nothing stands out.", "");
    }
    let row = |finding: &playhouse_queries::stats::Finding| {
        let ids: Vec<String> = finding.episode_ids.iter().map(i64::to_string).collect();
        vec![
            format!("<b>{}</b> {}<br/><small>{}</small>", finding.code, Text(finding.name), finding.severity),
            format!("{} of {}", finding.episodes, finding.checked),
            wrapped(&finding.message),
            ids.join(" "),
            wrapped(finding.fix),
        ]
    };
    let rows: Vec<Vec<String>> = stats.findings.iter().map(row).collect();
    let lead = "PH1xx: the data contradicts itself. PH2xx: look at it before training on it.";
    section("Findings", lead, &table(&["code", "episodes", "what", "episode_id", "what to do"], &rows))
}

fn episodes(stats: &DatasetStats) -> String {
    let mut charts = chart_of("Session length", "episodes", &stats.lengths);
    charts += &chart_of("Idle share of an episode", "episodes", &stats.idle);
    charts += &chart_of("Longest unchanged action, share of an episode", "episodes", &stats.repeat);
    let row = |(name, histogram): (&str, &Histogram)| {
        let mut cells = vec![name.to_owned()];
        cells.extend(
            histogram.quantiles.iter().chain([&histogram.mean]).map(|value| format!("{value:.2}{}", histogram.unit)),
        );
        cells
    };
    let rows =
        [("session length", &stats.lengths), ("idle share", &stats.idle), ("longest unchanged action", &stats.repeat)];
    let rows: Vec<Vec<String>> = rows.into_iter().map(row).collect();
    let head = ["", "min", "5%", "25%", "median", "75%", "95%", "max", "mean"];
    section("Episodes", "", &(format!("<div class=\"grid three\">\n{charts}</div>\n") + &table(&head, &rows)))
}

fn chart_of(title: &str, things: &str, histogram: &Histogram) -> String {
    let all: u64 = histogram.counts.iter().sum::<u64>() + histogram.beyond;
    // Every second edge: more would not fit under the bars.
    let label = |bin: usize| match bin % 2 {
        0 => number(histogram.edge(bin)),
        _ => String::new(),
    };
    let labels: Vec<String> = (0..histogram.counts.len()).map(label).collect();
    let shares: Vec<f64> = histogram.counts.iter().map(|count| *count as f64 / all.max(1) as f64).collect();
    let beyond = match histogram.beyond {
        0 => String::new(),
        n => format!(" ({n} above {}{})", number(histogram.to), histogram.unit),
    };
    chart::histogram_of(things, &format!("{title}{beyond}"), &labels, &shares)
}

fn outcomes(title: &str, outcomes: &[Outcome]) -> String {
    let row = |row: &Outcome| {
        let none = || "(none)".to_owned();
        vec![
            Text(row.of.as_ref().unwrap_or(&none())).to_string(),
            Text(row.outcome.as_ref().unwrap_or(&none())).to_string(),
            row.episodes.to_string(),
            percent(row.share),
            format!("{} to {}", percent(row.interval.0), percent(row.interval.1)),
        ]
    };
    let rows: Vec<Vec<String>> = outcomes.iter().take(2 * ROWS).map(row).collect();
    match rows.is_empty() {
        true => String::new(),
        false => section(title, "", &table(&["", "outcome", "episodes", "share", "95% interval"], &rows)),
    }
}

fn actions(stats: &DatasetStats) -> String {
    if stats.components.is_empty() {
        return String::new();
    }
    let of = |kind: Kind| stats.components.iter().filter(move |component| component.kind == kind);
    let row = |component: &Component| {
        vec![
            Text(&component.name).to_string(),
            share(&component.active),
            component.presses_per_minute.map(|n| format!("{n:.2}")).unwrap_or_default(),
            component.mean_hold.map(|seconds| format!("{seconds:.2} s")).unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = of(Kind::Button).map(row).collect();
    let mut content = match rows.is_empty() {
        true => String::new(),
        false => table(&["button", "down", "presses a minute", "mean hold"], &rows),
    };
    let mut charts = String::new();
    for component in of(Kind::Axis) {
        let labels: Vec<String> = (0..component.shares.len()).map(|bucket| bucket.to_string()).collect();
        let shares: Vec<f64> = component.shares.iter().map(|share| share.share).collect();
        charts += &chart::histogram(&component.name, &labels, &shares);
    }
    content +=
        &format!("<div class=\"grid two\">\n{charts}{}</div>\n", stats.sticks.iter().map(stick).collect::<String>());
    section(
        "What players press",
        "Shares of steps. The stick maps are on a logarithmic scale, full forward at the top.",
        &content,
    )
}

/// Both axes of a stick: the darker, the more steps, on a logarithmic scale.
fn stick(stick: &Stick) -> String {
    let all: u64 = stick.counts.iter().flatten().sum();
    let most = stick.counts.iter().flatten().copied().max().unwrap_or(0);
    let (columns, rows) = (stick.counts.first().map_or(0, Vec::len), stick.counts.len());
    let (width, height) = (columns as f64 * CELL, rows as f64 * CELL);
    let title = format!("{} stick", stick.name);
    let mut svg = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">", Text(&title));
    for (y, row) in stick.counts.iter().rev().enumerate() {
        for (x, &count) in row.iter().enumerate() {
            let strength = if count > 0 { (1.0 + count as f64).ln() / (1.0 + most as f64).ln() } else { 0.0 };
            let tip = format!("x {x}, y {}: {:.2}% of steps", rows - 1 - y, 100.0 * count as f64 / all.max(1) as f64);
            let _ = write!(
                svg,
                "<g><title>{tip}</title><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"var(--grid)\"/>\
                 <rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill=\"var(--s0)\" opacity=\"{strength:.3}\"/></g>",
                x as f64 * CELL + 1.0,
                y as f64 * CELL + 1.0,
                CELL - 2.0,
                CELL - 2.0,
                x as f64 * CELL + 1.0,
                y as f64 * CELL + 1.0,
                CELL - 2.0,
                CELL - 2.0,
            );
        }
    }
    format!("<div class=\"card\"><h3>{}</h3>\n{svg}</svg>\n</div>\n", Text(&title))
}

fn coverage(stats: &DatasetStats) -> Result<String> {
    let mut figures = String::new();
    for coverage in &stats.coverage {
        let map = heatmap::coverage(coverage)?;
        let name = coverage.map.as_deref().unwrap_or("(no map)");
        let _ = writeln!(
            figures,
            "<figure class=\"card\"><img class=\"map\" alt=\"{0} from above\" src=\"{1}\"><figcaption><b>{0}</b> &middot; {2} \
             steps &middot; {3} of its cells visited &middot; the most visited tenth has {4} of the steps</figcaption></figure>",
            Text(name),
            data_uri("image/png", &map.png),
            grouped(coverage.steps),
            percent(coverage.visited),
            percent(coverage.concentration)
        );
    }
    Ok(match figures.is_empty() {
        true => String::new(),
        false => section(
            "Where players were",
            "Seen from above, north at the top; brighter is more steps, on a logarithmic scale.",
            &format!("<div class=\"grid two\">\n{figures}</div>\n"),
        ),
    })
}

fn outliers(stats: &DatasetStats) -> String {
    if stats.outliers.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = stats
        .outliers
        .iter()
        .take(ROWS)
        .map(|outlier| {
            let reasons: Vec<String> = outlier.reasons.iter().map(|reason| Text(&reason.text).to_string()).collect();
            let map = outlier.map.as_deref().unwrap_or("(none)");
            vec![
                outlier.episode_id.to_string(),
                Text(map).to_string(),
                format!("{:.1}", outlier.distance),
                reasons.join("<br/>"),
            ]
        })
        .collect();
    let lead = format!(
        "{} episodes lie more than three interquartile ranges outside the middle half of their map\u{2019}s episodes.",
        stats.outliers_total
    );
    section("Episodes to look at", &lead, &table(&["episode_id", "map", "ranges outside", "in what"], &rows))
}

fn differences(drift: &Drift) -> String {
    let row = |row: &playhouse_queries::stats::Difference| {
        let value = |value: f64| if row.kind == "measure" { format!("{value:.2}") } else { percent(value) };
        let shown = |p: f64| if p < 0.0001 { "&lt;0.0001".to_owned() } else { format!("{p:.4}") };
        let name = Text(&row.name).to_string();
        vec![
            if row.significant { format!("<b>{name}</b>") } else { name },
            format!("{:.3}", row.distance),
            row.by_chance.map(|chance| format!("{chance:.3}")).unwrap_or_default(),
            row.psi.map(|psi| format!("{psi:.3}")).unwrap_or_default(),
            row.p_adjusted.map(shown).unwrap_or_default(),
            format!("{}: {} &rarr; {}", Text(&row.most.value), value(row.most.b), value(row.most.a)),
        ]
    };
    let rows: Vec<Vec<String>> = drift.differences.iter().map(row).collect();
    let lead = format!(
        "Against {}. Bold: p below 0.01 after Holm\u{2019}s correction. Episodes, not steps, are taken as independent.",
        Text(&drift.b.root.display().to_string())
    );
    section("Differences", &lead, &table(&["", "distance", "by chance", "PSI", "p", "most"], &rows))
}

fn share(share: &Share) -> String {
    match share.margin {
        Some(margin) if margin > 0.0 => format!("{} <small>\u{b1}{}</small>", percent(share.share), percent(margin)),
        _ => percent(share.share),
    }
}

/// A sentence in a table's cell.
fn wrapped(text: &str) -> String {
    format!("<span class=\"wrap\">{}</span>", Text(text))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let lead = digits.len() % 3;
    let threes = digits.as_bytes()[lead..].chunks(3).map(|three| String::from_utf8_lossy(three).into_owned());
    let lead = (lead > 0).then(|| digits[..lead].to_owned());
    lead.into_iter().chain(threes).collect::<Vec<_>>().join(",")
}

/// A number with few digits.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == v.trunc() => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
