//! Columns of text, aligned.

/// Lines of cells as one text: every column as wide as its widest cell, the last one as it is.
pub(super) fn columns(rows: &[Vec<String>], indent: &str) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            line.push_str(cell);
            if i + 1 < row.len() {
                line.extend(std::iter::repeat_n(' ', widths[i] - cell.chars().count() + 2));
            }
        }
        out.push_str(indent);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// As [`columns`], with the words of the last column on as many lines as it takes to stay within `width`.
pub(super) fn wrapped(rows: &[Vec<String>], width: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest =
        |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let before: usize = (0..count.saturating_sub(1)).map(|i| widest(i) + 2).sum();
    // A column of single words helps nobody.
    let Some(room) = width.and_then(|width| width.checked_sub(before)).filter(|&room| room >= 20) else {
        return columns(rows, "");
    };
    let mut lines = Vec::new();
    for row in rows {
        let (first, last) = match row.split_last() {
            Some((last, first)) if row.len() == count => (first.to_vec(), last.as_str()),
            _ => (row.clone(), ""),
        };
        let mut line = first;
        let mut text = String::new();
        for word in last.split_whitespace() {
            if !text.is_empty() && text.chars().count() + 1 + word.chars().count() > room {
                line.push(std::mem::take(&mut text));
                lines.push(std::mem::replace(&mut line, vec![String::new(); count - 1]));
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        line.push(text);
        lines.push(line);
    }
    columns(&lines, "")
}

/// Text from data with its control characters made visible: a terminal would obey them.
pub(super) fn visible(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// A figure as people read it: whole numbers whole, others with four digits that matter.
pub(super) fn number(value: f64) -> String {
    match value {
        v if !v.is_finite() => v.to_string(),
        v if v == v.trunc() && v.abs() < 1e15 => format!("{v:.0}"),
        v if v.abs() >= 1000.0 => format!("{v:.0}"),
        v if v.abs() >= 0.001 => {
            let text = format!("{v:.4}");
            text.trim_end_matches('0').to_owned()
        }
        v => format!("{v:.2e}"),
    }
}

/// `812 B`, `5.6 kB`, `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    scaled(count, &[" B", " kB", " MB", " GB", " TB"])
}

/// `812`, `5.6 k`, `355.0 M`: counts too large to be read digit by digit.
pub(super) fn count(count: u64) -> String {
    scaled(count, &["", " k", " M", " G", " T"])
}

/// Whole below a thousand, with one decimal above.
fn scaled(count: u64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    // 999,950 reads as 1.0 M, not as 1000.0 k.
    while value >= if unit == 0 { 1000.0 } else { 999.95 } && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count}{}", units[0]) } else { format!("{value:.1}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_data_says_to_a_terminal_is_shown_and_not_obeyed() {
        assert_eq!(visible("a\n\u{1b}[31mred\u{7}é"), "a\n\\u{1b}[31mred\\u{7}é");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = columns(&[row(["a", "bb", "c"]), row(["aaa", "", "ü"])], " ");
        assert_eq!(text, " a    bb  c\n aaa      ü\n");
    }

    #[test]
    fn the_last_column_wraps() {
        let rows =
            [vec!["ab".to_owned(), "one two three four five six".to_owned()], vec!["c".to_owned(), "d".to_owned()]];
        assert_eq!(wrapped(&rows, Some(24)), "ab  one two three four\n    five six\nc   d\n");
        assert_eq!(wrapped(&rows, Some(10)), columns(&rows, ""));
        assert_eq!(wrapped(&rows, None), columns(&rows, ""));
    }

    #[test]
    fn large_counts_have_a_unit() {
        let all = [0, 999, 1000, 5_620, 999_949, 999_950, 355_000_000].map(count);
        assert_eq!(all, ["0", "999", "1.0 k", "5.6 k", "999.9 k", "1.0 M", "355.0 M"]);
        assert_eq!(bytes(812), "812 B");
        assert_eq!(bytes(1_234_567_890), "1.2 GB");
    }

    #[test]
    fn numbers_read_well() {
        let all: Vec<_> = [3.0, 0.12345, 1234.5, 0.5, -2.25, 0.000012, f64::NAN].into_iter().map(number).collect();
        assert_eq!(all, ["3", "0.1235", "1234", "0.5", "-2.25", "1.20e-5", "NaN"]);
    }
}
