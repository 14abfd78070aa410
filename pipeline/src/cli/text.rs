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
    fn numbers_read_well() {
        let all: Vec<_> = [3.0, 0.12345, 1234.5, 0.5, -2.25, 0.000012, f64::NAN].into_iter().map(number).collect();
        assert_eq!(all, ["3", "0.1235", "1234", "0.5", "-2.25", "1.20e-5", "NaN"]);
    }
}
