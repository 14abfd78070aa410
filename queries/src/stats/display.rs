//! Statistics for a terminal.

use std::fmt::{self, Display, Formatter};

use super::{DatasetStats, Histogram, Outcome};

/// Heights of a one-line histogram.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Width of the longest horizontal bar.
const WIDTH: usize = 40;
/// Lines of a column's values before the rest is summed up.
const VALUES: usize = 8;

impl Display for DatasetStats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let hz: Vec<String> = self.hz.iter().map(|hz| format!("{hz} Hz")).collect();
        writeln!(f, "{}", self.root.display())?;
        writeln!(
            f,
            "  {} episodes, {} steps, {:.2} hours at {}; frames: {}",
            grouped(self.episodes),
            grouped(self.steps),
            self.hours,
            hz.join(", "),
            self.frames.as_deref().unwrap_or("none stored"),
        )?;
        for table in &self.tables {
            writeln!(f, "  {:<12} {:>4} files {:>10}", table.name, table.files, bytes(table.bytes))?;
        }
        self.write_groups(f)?;
        write_histogram(f, "session length", &self.lengths)?;
        write_outcomes(f, "outcomes by map", &self.outcomes)?;
        write_outcomes(f, "outcomes by player", &self.outcomes_by_player)?;
        write_histogram(f, "idle share of an episode", &self.idle)?;
        write_histogram(f, "longest unchanged action, share of an episode", &self.repeat)?;
        self.write_components(f)?;
        self.write_oddities(f)
    }
}

impl DatasetStats {
    fn write_groups(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut columns: Vec<&str> = self.groups.iter().map(|g| g.column).collect();
        columns.dedup();
        for column in columns {
            writeln!(f, "\n{column}")?;
            let groups: Vec<_> = self.groups.iter().filter(|g| g.column == column).collect();
            for group in groups.iter().take(VALUES) {
                let value = group.value.as_deref().unwrap_or("(none)");
                writeln!(f, "  {value:<24} {:>9} episodes {:>10.2} hours", grouped(group.episodes), group.hours)?;
            }
            if let Some(rest) = groups.get(VALUES..).filter(|rest| !rest.is_empty()) {
                let episodes = rest.iter().map(|g| g.episodes).sum();
                writeln!(f, "  {:<24} {:>9} episodes", format!("({} more)", rest.len()), grouped(episodes))?;
            }
        }
        Ok(())
    }

    fn write_components(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.components.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nactions: share of steps away from rest, and the values chosen")?;
        for component in &self.components {
            let share = format!("{:.2}%", component.active * 100.0);
            match component.counts.len() {
                0..=2 => {
                    let bar = "█".repeat((component.active * WIDTH as f64).round() as usize);
                    writeln!(f, "  {:<12} {share:>8}  {bar}", component.name)?;
                }
                _ => writeln!(f, "  {:<12} {share:>8}  [{}]", component.name, spark(&component.counts))?,
            }
        }
        Ok(())
    }

    fn write_oddities(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.oddities.is_empty() {
            return writeln!(f, "\nnothing odd");
        }
        writeln!(f, "\nto look at")?;
        for oddity in &self.oddities {
            write!(f, "  {:<20} ", oddity.code)?;
            if oddity.episodes > 0 {
                write!(f, "{} episodes: ", grouped(oddity.episodes))?;
            }
            write!(f, "{}", oddity.message)?;
            if !oddity.episode_ids.is_empty() {
                let ids: Vec<String> = oddity.episode_ids.iter().map(i64::to_string).collect();
                let more = if oddity.episodes as usize > ids.len() { ", ..." } else { "" };
                write!(f, " (episode {}{more})", ids.join(", "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write_histogram(f: &mut Formatter<'_>, title: &str, histogram: &Histogram) -> fmt::Result {
    let most = histogram.counts.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return Ok(());
    }
    let unit = histogram.unit;
    let [min, q1, median, q3, p99, max] = histogram.quantiles;
    writeln!(f, "\n{title}")?;
    writeln!(
        f,
        "  min {min:.2}{unit}  25% {q1:.2}{unit}  median {median:.2}{unit}  mean {:.2}{unit}  75% {q3:.2}{unit}  99% {p99:.2}{unit}  max {max:.2}{unit}",
        histogram.mean
    )?;
    let width = (histogram.to - histogram.from) / histogram.counts.len() as f64;
    for (bin, &count) in histogram.counts.iter().enumerate() {
        let from = histogram.from + width * bin as f64;
        let bar = "█".repeat((count as f64 / most as f64 * WIDTH as f64).ceil() as usize);
        writeln!(f, "  {from:>8.2}{unit} {:>9} {bar}", grouped(count))?;
    }
    Ok(())
}

fn write_outcomes(f: &mut Formatter<'_>, title: &str, outcomes: &[Outcome]) -> fmt::Result {
    if outcomes.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title} (95% intervals)")?;
    let mut last = None;
    for row in outcomes {
        let of = if last == Some(&row.of) { "" } else { row.of.as_deref().unwrap_or("(none)") };
        last = Some(&row.of);
        let bar = "█".repeat((row.share * WIDTH as f64).round() as usize);
        writeln!(
            f,
            "  {of:<16} {:<8} {:>7} {:>5.1}% [{:>4.1}, {:>5.1}] {bar}",
            row.outcome.as_deref().unwrap_or("(none)"),
            grouped(row.episodes),
            row.share * 100.0,
            row.interval.0 * 100.0,
            row.interval.1 * 100.0,
        )?;
    }
    Ok(())
}

/// One character a count, the highest at the top; what occurs at all shows.
fn spark(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    counts.iter().map(|&count| BARS[(count as f64 / most as f64 * 8.0).ceil() as usize]).collect()
}

/// Digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(123), "123");
        assert_eq!(grouped(355_079_752), "355,079,752");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(4_290_000_000), "4.3 GB");
        assert_eq!(spark(&[0, 1, 100]), " ▁█");
    }
}
