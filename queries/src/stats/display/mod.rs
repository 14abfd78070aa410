//! Statistics for a terminal of 80 columns.

mod draw;
mod drift;
mod pictures;

use std::fmt::{self, Display, Formatter};

use playhouse_schemas::Kind;

use super::{Component, DatasetStats, Finding, Group, Histogram, Outcome, Severity, Share};
use draw::{bar, bytes, cut, grouped, percent, spark, tick, wrap};

/// Lines of a column's values, of players and of outliers before the rest is summed up.
const LINES: usize = 8;

impl Display for DatasetStats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hz: Vec<String> = self.hz.iter().map(|hz| format!("{hz} Hz")).collect();
        writeln!(f, "{}", self.root.display())?;
        let (episodes, steps) = (grouped(self.episodes), grouped(self.steps));
        writeln!(f, "  {episodes} episodes, {steps} steps, {:.2} hours at {}", self.hours, hz.join(", "))?;
        writeln!(f, "  frames: {}", self.frames.as_deref().unwrap_or("none stored"))?;
        writeln!(f, "{}", wrap(&self.basis_text(), 2))?;
        for table in &self.tables {
            writeln!(f, "  {:<12} {:>5} files {:>10}", table.name, table.files, bytes(table.bytes))?;
        }
        self.write_groups(f)?;
        write_histogram(f, "session length", &self.lengths)?;
        write_outcomes(f, "outcomes by map", &self.outcomes)?;
        write_outcomes(f, "outcomes by player", &self.outcomes_by_player)?;
        self.write_rates(f)?;
        self.write_components(f)?;
        self.write_sticks(f)?;
        self.write_coverage(f)?;
        self.write_outliers(f)?;
        self.write_findings(f)
    }
}

impl DatasetStats {
    /// What the distributions of actions and positions rest on, in a sentence.
    pub fn basis_text(&self) -> String {
        let basis = &self.basis;
        let read = match basis.seed {
            None => "every step was read".to_owned(),
            Some(seed) => format!(
                "actions and positions: a sample of {} of {} episodes ({} steps), seed {seed}; ± is half a 95% interval \
                 over episodes; --full reads every step",
                grouped(basis.episodes),
                grouped(self.episodes),
                grouped(basis.steps)
            ),
        };
        match basis.suspect_parts {
            0 => read,
            1 => format!("{read}; the footers of 1 part contradict the index"),
            n => format!("{read}; the footers of {n} parts contradict the index"),
        }
    }

    fn write_groups(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut columns: Vec<&str> = self.groups.iter().map(|g| g.column).collect();
        columns.dedup();
        for column in columns {
            let groups: Vec<&Group> = self.groups.iter().filter(|g| g.column == column).collect();
            writeln!(f, "\n{column}")?;
            let most = groups.iter().map(|g| g.episodes).max().unwrap_or(1) as f64;
            for group in groups.iter().take(LINES) {
                let value = cut(group.value.as_deref().unwrap_or("(none)"), 22);
                let bar = bar(group.episodes as f64 / most, 18);
                let episodes = grouped(group.episodes);
                writeln!(f, "  {value:<22} {episodes:>9} episodes {:>9.2} hours  {bar}", group.hours)?;
            }
            if let Some(rest) = groups.get(LINES..).filter(|rest| !rest.is_empty()) {
                let episodes = rest.iter().map(|g| g.episodes).sum();
                writeln!(f, "  {:<22} {:>9} episodes", format!("({} more)", rest.len()), grouped(episodes))?;
            }
        }
        Ok(())
    }

    fn write_rates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nidle and repeated steps")?;
        writeln!(f, "  no input              {:>7}", percent(self.rates.idle))?;
        if let Some(repeated) = &self.rates.repeated {
            writeln!(f, "  same as step before   {:>7}{}", percent(repeated.share), margin(repeated))?;
        }
        let spans = [("idle share of an episode", &self.idle), ("longest unchanged action", &self.repeat)];
        for (title, histogram) in spans {
            let [_, _, low, median, high, _, most] = histogram.quantiles.map(percent);
            writeln!(f, "  {title}   0% [{}] 100%", spark(&histogram.counts))?;
            writeln!(f, "    25% {low}  median {median}  75% {high}  max {most}")?;
        }
        Ok(())
    }

    fn write_components(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = |kind: Kind| self.components.iter().filter(move |component| component.kind == kind);
        if of(Kind::Button).next().is_some() {
            writeln!(f, "\nbuttons        down              presses/min  mean hold")?;
        }
        let most = of(Kind::Button).map(|c| c.active.share).fold(f64::MIN_POSITIVE, f64::max);
        for Component { name, active, presses_per_minute, mean_hold, .. } in of(Kind::Button) {
            let presses = presses_per_minute.map(|n| format!("{n:.2}")).unwrap_or_default();
            let hold = mean_hold.map(|seconds| format!("{seconds:.2} s")).unwrap_or_default();
            let share = format!("{:>7}{}", percent(active.share), margin(active));
            let bar = bar(active.share / most, 24);
            writeln!(f, "  {:<11} {share:<18} {presses:>9}  {hold:>9}  {bar}", cut(name, 11))?;
        }
        if of(Kind::Axis).next().is_some() {
            writeln!(f, "\naxes           away from rest    values, lowest to highest")?;
        }
        for Component { name, active, counts, .. } in of(Kind::Axis) {
            let share = format!("{:>7}{}", percent(active.share), margin(active));
            writeln!(f, "  {:<11} {share:<18} [{}]", cut(name, 11), cut(&spark(counts), 42))?;
        }
        Ok(())
    }

    fn write_outliers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.outliers.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nepisodes unlike the others of their map: {}", grouped(self.outliers_total))?;
        for outlier in self.outliers.iter().take(LINES) {
            let reasons: Vec<&str> = outlier.reasons.iter().map(|reason| reason.text.as_str()).collect();
            let text = wrap(&reasons.join("; "), 16);
            writeln!(f, "  {:<13} {}", outlier.episode_id, text.trim_start())?;
        }
        if self.outliers_total as usize > LINES {
            writeln!(f, "  ... {} more", grouped(self.outliers_total - LINES as u64))?;
        }
        Ok(())
    }

    fn write_findings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return writeln!(f, "\nno findings");
        }
        writeln!(f, "\nfindings")?;
        self.findings.iter().try_for_each(|finding| write_finding(f, finding, self.basis.all))
    }
}

fn write_finding(f: &mut Formatter<'_>, finding: &Finding, all: bool) -> fmt::Result {
    let mark = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let count = match finding.episodes {
        0 => String::new(),
        1 => "1 episode".to_owned(),
        n => format!("{} episodes", grouped(n)),
    };
    let of = match finding.episodes > 0 && !all {
        true => format!(" of {} looked at", grouped(finding.checked)),
        false => String::new(),
    };
    let head = format!("  {} {mark:<7} {:<22} {count}{of}", finding.code, finding.name);
    writeln!(f, "{}", head.trim_end())?;
    writeln!(f, "{}", wrap(&finding.message, 6))?;
    if !finding.episode_ids.is_empty() {
        let ids: Vec<String> = finding.episode_ids.iter().map(i64::to_string).collect();
        let more = if finding.episodes as usize > ids.len() { ", ..." } else { "" };
        writeln!(f, "{}", wrap(&format!("episode_id {}{more}", ids.join(", ")), 6))?;
    }
    writeln!(f, "{}", wrap(&format!("-> {}", finding.fix), 6))
}

/// ` ±0.12%`, or nothing where every step was read.
fn margin(share: &Share) -> String {
    match share.margin {
        Some(margin) if margin > 0.0 => format!(" ±{}", percent(margin)),
        _ => String::new(),
    }
}

fn write_histogram(f: &mut Formatter<'_>, title: &str, histogram: &Histogram) -> fmt::Result {
    let most = histogram.counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    let unit = histogram.unit;
    let [min, p5, q1, median, q3, p95, max] = histogram.quantiles.map(|value| format!("{value:.1}{unit}"));
    writeln!(f, "\n{title}")?;
    writeln!(f, "  min {min}  5% {p5}  25% {q1}  median {median}")?;
    writeln!(f, "  75% {q3}  95% {p95}  max {max}  mean {:.1}{unit}", histogram.mean)?;
    let step = histogram.edge(1) - histogram.edge(0);
    for (bin, &count) in histogram.counts.iter().enumerate() {
        let bar = bar(count as f64 / most as f64, 48);
        writeln!(f, "  {:>10}{unit} {:>11} {bar}", tick(histogram.edge(bin), step), grouped(count))?;
    }
    if histogram.beyond > 0 {
        let from = format!("> {}", tick(histogram.to, step));
        writeln!(
            f,
            "  {from:>10}{unit} {:>11} {}",
            grouped(histogram.beyond),
            bar(histogram.beyond as f64 / most as f64, 48)
        )?;
    }
    Ok(())
}

fn write_outcomes(f: &mut Formatter<'_>, title: &str, outcomes: &[Outcome]) -> fmt::Result {
    if outcomes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title} (95% intervals)")?;
    let mut names: Vec<&Option<String>> = outcomes.iter().map(|row| &row.of).collect();
    names.dedup();
    for name in names.iter().take(LINES) {
        for (i, row) in outcomes.iter().filter(|row| row.of == **name).enumerate() {
            let of = if i == 0 { cut(name.as_deref().unwrap_or("(none)"), 14) } else { String::new() };
            let outcome = cut(row.outcome.as_deref().unwrap_or("(none)"), 10);
            let (share, low, high) = (row.share * 100.0, row.interval.0 * 100.0, row.interval.1 * 100.0);
            let (episodes, bar) = (grouped(row.episodes), bar(row.share, 18));
            writeln!(f, "  {of:<14} {outcome:<10} {episodes:>8} {share:>5.1}% [{low:>4.1}, {high:>5.1}] {bar}")?;
        }
    }
    if names.len() > LINES {
        writeln!(f, "  ({} more)", grouped((names.len() - LINES) as u64))?;
    }
    Ok(())
}

/// A table of what every code means.
pub fn codes() -> String {
    let mut text = String::from("PH001 to PH015 are of `playhouse verify`: faults of the files themselves.\n");
    for code in super::Code::all() {
        text += &format!("\n{code} {:<8} {}\n", code.severity().to_string(), code.name());
        text += &format!("{}\n{}\n", wrap(code.meaning(), 6), wrap(&format!("-> {}", code.fix()), 6));
    }
    text
}

/// A table of what every key of the JSON means.
pub fn keys() -> String {
    let line = |(key, meaning): &(&str, &str)| match key.len() < 34 {
        true => format!("{key:<34}{}\n", wrap(meaning, 34).trim_start()),
        false => format!("{key}\n{}\n", wrap(meaning, 34)),
    };
    super::KEYS.iter().map(line).collect()
}
