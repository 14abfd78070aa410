//! Bars, shades and numbers of a terminal.

/// Columns of a terminal that everything fits in.
pub(super) const COLUMNS: usize = 80;
/// Heights of a one-line histogram.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// From nothing to most.
const SHADES: [char; 6] = [' ', '·', '░', '▒', '▓', '█'];
/// Eighths of a cell, for the end of a bar.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar of `share` of `width` cells, to an eighth of a cell; what is not nothing shows.
pub(super) fn bar(share: f64, width: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).ceil() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

/// One character a count, the highest at the top; what occurs at all shows.
pub(super) fn spark(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    counts.iter().map(|&count| HEIGHTS[(count as f64 / most as f64 * 8.0).ceil() as usize]).collect()
}

/// A shade on a logarithmic scale up to `most`: the eye would see nothing but the centre of a stick otherwise.
pub(super) fn shade(count: u64, most: u64) -> char {
    if count == 0 {
        return SHADES[0];
    }
    ink((1.0 + count as f64).ln() / (1.0 + most.max(1) as f64).ln())
}

/// A shade by the root of the count, `most` and more being full: what is visited twice as often looks so.
pub(super) fn tone(count: u64, most: u64) -> char {
    if count == 0 { SHADES[0] } else { ink((count as f64 / most.max(1) as f64).sqrt()) }
}

fn ink(strength: f64) -> char {
    let steps = (SHADES.len() - 1) as f64;
    SHADES[(strength * steps).ceil().clamp(1.0, steps) as usize]
}

/// Digits in threes.
pub(super) fn grouped(number: u64) -> String {
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

pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

/// A share in percent with as many decimals as it takes.
pub(super) fn percent(share: f64) -> String {
    match 100.0 * share {
        p if p == 0.0 || p >= 10.0 => format!("{p:.1}%"),
        p if p >= 0.1 => format!("{p:.2}%"),
        p => format!("{p:.3}%"),
    }
}

/// Text from data, cut to `width` characters.
pub(super) fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// Lines of words of at most [`COLUMNS`] characters, each after `indent` spaces. Long words stay whole.
pub(super) fn wrap(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut length = COLUMNS;
    for word in text.split(' ') {
        let letters = word.chars().count();
        if length + 1 + letters > COLUMNS {
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.extend(std::iter::repeat_n(' ', indent));
            length = indent + letters;
        } else {
            lines.push(' ');
            length += 1 + letters;
        }
        lines.push_str(word);
    }
    lines
}

/// The value below which a tick of a histogram is told: as many decimals as its steps need.
pub(super) fn tick(value: f64, step: f64) -> String {
    let decimals = (0..4).find(|&d| {
        let scaled = step * 10f64.powi(d);
        (scaled - scaled.round()).abs() < 1e-6
    });
    format!("{value:.*}", decimals.unwrap_or(4) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([grouped(0), grouped(123), grouped(355_079_752)], ["0", "123", "355,079,752"]);
        assert_eq!([bytes(999), bytes(4_290_000_000)], ["999 B", "4.3 GB"]);
        assert_eq!([percent(0.0), percent(0.5), percent(0.05), percent(0.0001)], ["0.0%", "50.0%", "5.00%", "0.010%"]);
        assert_eq!([tick(2.5, 2.5), tick(10.0, 5.0), tick(0.0625, 0.0625)], ["2.5", "10", "0.0625"]);
    }

    #[test]
    fn what_occurs_shows() {
        assert_eq!(spark(&[0, 1, 100]), " ▁█");
        assert_eq!(bar(0.5, 4), "██");
        assert_eq!(bar(1e-9, 4), "▏");
        assert_eq!((shade(0, 9), shade(1, 1_000_000), shade(1_000_000, 1_000_000)), (' ', '·', '█'));
    }

    #[test]
    fn lines_break_at_words() {
        let text = wrap(&"word ".repeat(30), 4);
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with("    word") && line.len() <= 80));
        assert_eq!(cut("abcdef", 4), "abc…");
    }
}
