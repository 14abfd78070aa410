//! `RESULTS.md`: what the paper says, what these runs say, and how to see the one from the other.

use std::fmt::Write;

use super::aggregate::{RESAMPLES, Row};
use super::heatmaps::Heatmaps;
use super::points::Point;
use super::{Answer, Claim, Request, distinct, figure};
use crate::engine::definition::BUILT_IN;

/// Up to so many values of `x` are columns; more are rows.
const COLUMNS: usize = 6;

/// The whole page.
pub(super) fn page(request: &Request, answers: &[Answer], heatmaps: Option<&Heatmaps>) -> String {
    let mut page = format!("# {}\n\n", line(request.title));
    if !request.introduction.trim().is_empty() {
        let _ = writeln!(page, "{}\n", request.introduction.trim());
    }
    let verdicts = answers.iter().map(|answer| {
        let Claim { title, table, .. } = answer.claim;
        vec![format!("[{}](#{table})", cell(title)), answer.said().to_owned()]
    });
    page += &table(&["claim".to_owned(), "verdict".to_owned()], verdicts);
    for answer in answers {
        page += &section(answer);
    }
    if let Some(heatmaps) = heatmaps {
        page += &maps(heatmaps);
    }
    page + &how(request, answers)
}

fn section(answer: &Answer) -> String {
    let Answer { claim, points, rows, .. } = answer;
    let mut text = format!("\n<a id=\"{}\"></a>\n\n## {}\n\n", claim.table, line(&claim.title));
    for (head, words) in [("The paper", &claim.paper), ("Measured", &claim.measures), ("Asked", &claim.asks)] {
        if !words.trim().is_empty() {
            let _ = writeln!(text, "{head}: {}\n", line(words));
        }
    }
    if rows.is_empty() {
        return text + "No run has a row of this: what it is about did not happen.\n";
    }
    if answer.has_figure() {
        let _ = writeln!(text, "![{}](figures/{}.svg)\n", cell(&figure::title(claim)), claim.table);
    }
    text += &pivot(claim, rows, distinct(points.iter().map(|point| &point.run)).len());
    text += &runs(claim, points);
    if let Some(sql) = &claim.holds {
        let said = answer.said();
        let _ = writeln!(
            text,
            "\n**Verdict: {said}.** Over the rows above, as the table `claim`:\n\n```sql\n{}\n```",
            sql.trim()
        );
    }
    text
}

/// Interquartile means with their intervals: series down and `x` across, or the other way round where `x` has many values.
fn pivot(claim: &Claim, rows: &[Row], runs: usize) -> String {
    let series = distinct(rows.iter().map(|row| row.series.as_str()));
    let xs = distinct(rows.iter().map(|row| row.x.as_str()));
    let value = |series: &str, x: &str| {
        let row = rows.iter().find(|row| row.series == series && row.x == x);
        row.map_or_else(String::new, |row| shown(claim, row, runs))
    };
    let across = xs.len() <= COLUMNS;
    let (down, columns) = if across { (&series, &xs) } else { (&xs, &series) };
    let corner = if across { "" } else { claim.x.as_str() };
    let head: Vec<String> = std::iter::once(corner).chain(columns.iter().copied()).map(cell).collect();
    let body = down.iter().map(|name| {
        let values = columns.iter().map(|other| if across { value(name, other) } else { value(other, name) });
        std::iter::once(cell(name)).chain(values).collect()
    });
    table(&head, body)
}

/// `69.7% [64.2, 74.6]`, and how many runs say so where not all do.
fn shown(claim: &Claim, row: &Row, runs: usize) -> String {
    let value = claim.unit.shown(row.iqm);
    let text = match row.has_interval() {
        true => format!("{value} [{}, {}]", claim.unit.bare(row.low), claim.unit.bare(row.high)),
        false => format!("{value} (one run)"),
    };
    if row.runs < runs && row.has_interval() { format!("{text} ({} of {runs} runs)", row.runs) } else { text }
}

/// A line for each run, out of the way of who only wants the result.
fn runs(claim: &Claim, points: &[Point]) -> String {
    let head = ["run", "series", if claim.x.is_empty() { "x" } else { &claim.x }, "value", "Wilson 95%", "count"];
    let body = points.iter().map(|point| {
        let share = point.share();
        let unit = claim.unit;
        vec![
            cell(if point.run.is_empty() { "the only one" } else { &point.run }),
            cell(&point.series),
            cell(&point.x),
            unit.shown(point.value),
            share.map_or_else(String::new, |s| format!("{} to {}", unit.shown(s.low), unit.shown(s.high))),
            share.map_or_else(String::new, |s| format!("{} of {}", s.count, s.of)),
        ]
    });
    let lines = table(&head.map(cell), body);
    format!("\n<details>\n<summary>Each run</summary>\n\n{lines}\n</details>\n")
}

fn maps(heatmaps: &Heatmaps) -> String {
    let lead = format!(
        "Every step of every rollout of all runs, over the map {} seen from above (north is up). Colour is the logarithm of \
         the visits; rings are spawns.",
        cell(&heatmaps.map)
    );
    let head: Vec<String> = heatmaps
        .policies
        .iter()
        .map(|(policy, _, rollouts)| format!("{}, {rollouts} rollouts", cell(policy)))
        .collect();
    let pictures = heatmaps
        .policies
        .iter()
        .map(|(policy, file, _)| format!("![Where the rollouts of {} went](figures/{file})", cell(policy)))
        .collect();
    format!("\n## Where they go\n\n{lead}\n\n{}", table(&head, std::iter::once(pictures)))
}

/// What one has to know to make the numbers again, or to doubt them.
fn how(request: &Request, answers: &[Answer]) -> String {
    let points = || answers.iter().flat_map(|answer| &answer.points);
    let runs: Vec<&str> = distinct(points().map(|point| point.run.as_str()));
    let mut text = "\n## How these numbers came about\n\n".to_owned();
    match runs[..] {
        [""] => {
            let _ = writeln!(text, "- One run, of the seed {}.", request.seed);
        }
        _ => {
            let _ = writeln!(text, "- {} runs: {}.", runs.len(), cell(&runs.join("; ")));
        }
    }
    let mut rollouts: Vec<u64> = points().filter_map(|point| point.counts.map(|(_, of)| of)).collect();
    rollouts.sort_unstable();
    if let (Some(least), Some(most)) = (rollouts.first(), rollouts.last()) {
        let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let _ = writeln!(text, "- Where a value is a share, a point of one run counts {range} cases.");
    }
    let command = match BUILT_IN.iter().any(|(name, _)| *name == request.pipeline) {
        true => format!("`playhouse run {}`", request.pipeline),
        false => format!("`playhouse run` with the path of the definition of `{}`", request.pipeline),
    };
    let _ = write!(
        text,
        "- A value is the interquartile mean over runs: the mean of the middle half, where a run on the edge of that half \
         counts in part.\n\
         - In brackets is its 95% percentile interval of {RESAMPLES} bootstrap resamples (fixed seed): runs are drawn with \
         replacement, and a drawn run's count is drawn again from the binomial distribution of its share (where all count or \
         none, of half a case less or more, since none of 300 is not never). A few runs say little of how much runs differ: \
         Wilson's intervals of each run, and the verdicts' `worst` and `worst_low`, are the careful figures.\n\
         - `summary.parquet` and `points.parquet` beside this file hold the numbers.\n\
         - The command: {command}, with the same `--set` if parameters were changed. The same seeds give the same bytes.\n"
    );
    text
}

/// A table; cells are markdown already.
fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let one = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: Vec<String> = head.iter().map(|_| "---".to_owned()).collect();
    one(head) + &one(&rule) + &rows.map(|row| one(&row)).collect::<String>()
}

/// A text as one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text from data as it is, inside a table: nothing in it is markup, a border of the table or the end of a line.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '*' | '_' | '`' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_cell_ends_it() {
        assert_eq!(cell("a|b\nc\\|d"), "a\\|b c\\\\\\|d");
        assert_eq!(cell("<b>x*y</b> & `z` [1] to_do"), "&lt;b>x\\*y&lt;/b> &amp; \\`z\\` \\[1\\] to\\_do");
        assert_eq!(table(&["a".into(), "b".into()], std::iter::empty()), "| a | b |\n| --- | --- |\n");
    }
}
