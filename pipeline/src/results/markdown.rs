//! The page: what is claimed, what came out, and the figures behind it.

use std::fmt::{self, Write};

use super::aggregate::{Cell, share};
use super::{Figure, Finding, Request, Unit};

/// Columns of a table beyond which it is turned round.
const WIDEST: usize = 6;

/// Text inside a table of Markdown: no bar ends a cell, no line break a row, no bracket becomes a tag.
struct Inline<'a>(&'a str);

impl fmt::Display for Inline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '|' => f.write_str("\\|")?,
                '\n' | '\r' => f.write_char(' ')?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The whole page. `maps` are policies and their pictures below `figures/`.
pub fn page(request: &Request, findings: &[Finding], maps: &[(String, String)]) -> String {
    let mut out = format!("# {}\n\n", Inline(request.title));
    if !request.introduction.trim().is_empty() {
        let _ = writeln!(out, "{}\n", request.introduction.trim());
    }
    out.push_str("| | claim | |\n| --- | --- | --- |\n");
    for (place, finding) in findings.iter().enumerate() {
        let (title, paper) = (Inline(&finding.claim.title), Inline(&finding.claim.paper));
        let _ = writeln!(out, "| {} | **{title}**: {paper} | {} |", place + 1, verdict(finding));
    }
    for (place, finding) in findings.iter().enumerate() {
        section(&mut out, place + 1, finding);
    }
    if !maps.is_empty() {
        out.push_str("\n## Where they go\n\nEvery step of every rollout of all runs, seen from above (north is up); the brightness is the \
                      logarithm of the visits, rings are spawns.\n\n");
        for (policy, file) in maps {
            let _ = writeln!(out, "![Paths of {0}](figures/{file} \"{0}\")", Inline(policy));
        }
    }
    let runs: Vec<&str> = runs(findings);
    out.push_str("\n## How to read the intervals\n\n");
    let _ = writeln!(
        out,
        "Runs: {}. A figure is the interquartile mean over the runs that have it, with the 95% percentile interval of 2,000 bootstrap \
         resamples: runs are drawn again with replacement and, where a figure is a share of rollouts or pairs, so is every run's count. \
         Intervals of single runs are Wilson's, at 95%. `points.parquet` and `summary.parquet` beside this page hold every number.",
        match runs.as_slice() {
            [] | [""] => "one".to_owned(),
            runs => runs.join(", "),
        }
    );
    out
}

/// The runs' names, in the order in which they first come.
fn runs<'a>(findings: &'a [Finding]) -> Vec<&'a str> {
    let mut runs = Vec::new();
    for point in findings.iter().flat_map(|finding| finding.cells.iter().flat_map(|cell| &cell.points)) {
        if !runs.contains(&point.run.as_str()) {
            runs.push(point.run.as_str());
        }
    }
    runs
}

fn verdict(finding: &Finding) -> &'static str {
    match (finding.holds, &finding.claim.holds) {
        (Some(true), _) => "reproduced",
        (Some(false), _) => "**not reproduced**",
        (None, Some(_)) => "undecided",
        (None, None) => "shown",
    }
}

fn section(out: &mut String, number: usize, finding: &Finding) {
    let claim = finding.claim;
    let _ = writeln!(out, "\n## {number}. {}\n\n*Claim.* {}", Inline(&claim.title), claim.paper.trim());
    if !claim.measures.trim().is_empty() {
        let _ = writeln!(out, "\n*Measured.* {}", claim.measures.trim());
    }
    if finding.cells.is_empty() {
        out.push_str("\nNo run has any value for this.\n");
        return;
    }
    if claim.figure != Figure::None {
        let _ = writeln!(out, "\n![{}](figures/{}.svg)", Inline(&claim.title), claim.table);
    }
    out.push('\n');
    pivot(out, finding);
    by_run(out, finding);
    if let Some(sql) = &claim.holds {
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(out, "\nVerdict: {}, by\n\n```sql\n{sql}\n```", verdict(finding));
    }
}

/// Series against x, whichever way is narrower than the page.
fn pivot(out: &mut String, finding: &Finding) {
    let distinct = |get: fn(&Cell) -> &str| {
        let mut names: Vec<&str> = Vec::new();
        for name in finding.cells.iter().map(get) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    };
    let (series, xs) = (distinct(|cell| &cell.series), distinct(|cell| &cell.x));
    let find = |s: &str, x: &str| finding.cells.iter().find(|cell| cell.series == s && cell.x == x);
    let cell = |s: &str, x: &str| find(s, x).map_or("-".to_owned(), |cell| middle(cell, finding.claim.unit));
    let turned = xs.len() > WIDEST;
    let (rows, columns) = if turned { (&xs, &series) } else { (&series, &xs) };
    let corner = if turned { finding.claim.x.as_str() } else { "" };
    let head: Vec<String> = columns.iter().map(|name| Inline(name).to_string()).collect();
    let _ = writeln!(out, "| {} | {} |\n| --- |{}", Inline(corner), head.join(" | "), " --- |".repeat(columns.len()));
    for row in rows {
        let cells: Vec<String> =
            columns.iter().map(|column| if turned { cell(column, row) } else { cell(row, column) }).collect();
        let _ = writeln!(out, "| {} | {} |", Inline(row), cells.join(" | "));
    }
}

fn by_run(out: &mut String, finding: &Finding) {
    out.push_str("\n<details><summary>Run by run</summary>\n\n| | | runs |\n| --- | --- | --- |\n");
    for cell in &finding.cells {
        let points: Vec<String> = cell
            .points
            .iter()
            .map(|point| match share(point) {
                Some(s) => format!(
                    "{} of {}: {}",
                    s.count,
                    s.of,
                    with_interval(s.share, Some((s.low, s.high)), finding.claim.unit)
                ),
                None => value(point.value, finding.claim.unit),
            })
            .collect();
        let _ = writeln!(out, "| {} | {} | {} |", Inline(&cell.series), Inline(&cell.x), points.join("; "));
    }
    out.push_str("\n</details>\n");
}

fn middle(cell: &Cell, unit: Unit) -> String {
    with_interval(cell.iqm, cell.interval, unit)
}

fn with_interval(middle: f64, interval: Option<(f64, f64)>, unit: Unit) -> String {
    match (interval, unit) {
        (Some((low, high)), Unit::Share) => {
            format!("{} [{:.1}, {:.1}]", value(middle, unit), 100.0 * low, 100.0 * high)
        }
        (Some((low, high)), Unit::Number) => {
            format!("{} [{}, {}]", value(middle, unit), value(low, unit), value(high, unit))
        }
        (None, _) => value(middle, unit),
    }
}

/// A value for people: shares in per cent, numbers with three digits that count.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{:.1}%", 100.0 * value),
        Unit::Number => {
            let digits = if value == 0.0 { 2.0 } else { (2.0 - value.abs().log10().floor()).clamp(0.0, 6.0) };
            format!("{value:.*}", digits as usize)
        }
    }
}
