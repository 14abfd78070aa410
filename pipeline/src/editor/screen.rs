//! Drawing a text of several lines, and drawing it again after each key.
//!
//! Long lines are wrapped here and not by the terminal: terminals disagree about a line that ends at the last column.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Words that are listed at most.
const LISTED: usize = 200;

/// What is on the screen below the place where the prompt began.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The row of the cursor, from the prompt's first.
    row: usize,
    /// Rows in all.
    rows: usize,
}

/// A text in rows of a width.
struct Layout {
    rows: Vec<String>,
    /// Row and column of the cursor.
    cursor: (usize, usize),
}

impl Layout {
    fn of(prompt: &str, more: &str, text: &str, cursor: usize, columns: usize) -> Self {
        let mut layout = Self { rows: vec![prompt.to_owned()], cursor: (0, 0) };
        let mut column = prompt.width();
        for (at, grapheme) in text.grapheme_indices(true) {
            if at == cursor {
                layout.cursor = (layout.rows.len() - 1, column);
            }
            if grapheme == "\n" {
                layout.rows.push(more.to_owned());
                column = more.width();
                continue;
            }
            let shown = shown(grapheme);
            let width = shown.width();
            if column + width > columns {
                layout.rows.push(String::new());
                column = 0;
                if at == cursor {
                    layout.cursor = (layout.rows.len() - 1, 0);
                }
            }
            if let Some(row) = layout.rows.last_mut() {
                row.push_str(&shown);
            }
            column += width;
        }
        if cursor >= text.len() {
            if column >= columns {
                layout.rows.push(String::new());
                column = 0;
            }
            layout.cursor = (layout.rows.len() - 1, column);
        }
        layout
    }
}

/// A terminal obeys control characters; a tab has no width of its own.
fn shown(grapheme: &str) -> String {
    match grapheme {
        "\t" => "    ".to_owned(),
        _ if grapheme.chars().any(char::is_control) => "\u{fffd}".to_owned(),
        _ => grapheme.to_owned(),
    }
}

impl Screen {
    /// What to write so that the text stands on the screen in place of what was drawn before. `size` is rows and
    /// columns. Of a text with more rows than the screen, those around the cursor are drawn.
    pub(super) fn draw(&mut self, prompt: &str, more: &str, text: &str, cursor: usize, size: (usize, usize)) -> String {
        let (height, columns) = size;
        let layout = Layout::of(prompt, more, text, cursor, columns);
        let (row, column) = layout.cursor;
        let first = row.saturating_sub(height.saturating_sub(1)).min(layout.rows.len().saturating_sub(1));
        let rows = &layout.rows[first..layout.rows.len().min(first + height)];
        let mut out = self.to_start();
        out.push_str("\x1b[J");
        out.push_str(&rows.join("\r\n"));
        (self.row, self.rows) = (row - first, rows.len());
        let up = rows.len() - 1 - self.row;
        if up > 0 {
            out.push_str(&format!("\x1b[{up}A"));
        }
        out.push('\r');
        if column > 0 {
            out.push_str(&format!("\x1b[{column}C"));
        }
        out
    }

    /// To the first column of the prompt's first row.
    fn to_start(&self) -> String {
        if self.row > 0 { format!("\r\x1b[{}A", self.row) } else { "\r".to_owned() }
    }

    /// To the row below the text, which stays. `cleared`: and says that it was given up.
    pub(super) fn leave(&mut self, cleared: bool) -> String {
        let down = self.rows.saturating_sub(self.row + 1);
        let mut out = if down > 0 { format!("\x1b[{down}B") } else { String::new() };
        out.push_str(if cleared { "^C\r\n" } else { "\r\n" });
        *self = Self::default();
        out
    }

    /// Empties the screen.
    pub(super) fn wipe(&mut self) -> String {
        *self = Self::default();
        "\x1b[H\x1b[2J".to_owned()
    }

    /// Words in columns below the text; the text is then drawn again below them.
    pub(super) fn list(&mut self, words: &[String], size: (usize, usize)) -> String {
        let mut out = self.leave(false);
        let listed = &words[..words.len().min(LISTED)];
        let width = listed.iter().map(|word| word.width()).max().unwrap_or(0) + 2;
        let across = (size.1 / width).max(1);
        let down = listed.len().div_ceil(across);
        for row in 0..down {
            let cells = listed.iter().skip(row).step_by(down);
            let line: String = cells.map(|word| format!("{word}{}", " ".repeat(width - word.width()))).collect();
            out.push_str(line.trim_end());
            out.push_str("\r\n");
        }
        if words.len() > LISTED {
            out.push_str(&format!("... and {} more\r\n", words.len() - LISTED));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, cursor: usize, columns: usize) -> (Vec<String>, (usize, usize)) {
        let layout = Layout::of("> ", ". ", text, cursor, columns);
        (layout.rows, layout.cursor)
    }

    #[test]
    fn lines_wrap_at_the_width() {
        assert_eq!(rows("abc", 3, 80), (vec!["> abc".into()], (0, 5)));
        assert_eq!(rows("a\nbc", 2, 80), (vec!["> a".into(), ". bc".into()], (1, 2)));
        assert_eq!(rows("abcdef", 6, 5), (vec!["> abc".into(), "def".into()], (1, 3)));
        // A full line leaves room for the cursor on the next.
        assert_eq!(rows("abc", 3, 5), (vec!["> abc".into(), String::new()], (1, 0)));
        assert_eq!(rows("abcd", 3, 5), (vec!["> abc".into(), "d".into()], (1, 0)));
        // Wide characters do not fit half.
        assert_eq!(rows("ab日", 2, 5), (vec!["> ab".into(), "日".into()], (1, 0)));
    }

    #[test]
    fn what_was_drawn_is_replaced() {
        let mut screen = Screen::default();
        assert_eq!(screen.draw("> ", ". ", "a\nb", 3, (24, 80)), "\r\x1b[J> a\r\n. b\r\x1b[3C");
        assert_eq!(screen.draw("> ", ". ", "a\nb", 0, (24, 80)), "\r\x1b[1A\x1b[J> a\r\n. b\x1b[1A\r\x1b[2C");
        assert_eq!(screen.leave(false), "\x1b[1B\r\n");
    }

    #[test]
    fn a_text_taller_than_the_screen_shows_where_the_cursor_is() {
        let text = "1\n2\n3\n4\n5";
        let mut screen = Screen::default();
        assert_eq!(screen.draw("> ", ". ", text, text.len(), (3, 80)), "\r\x1b[J. 3\r\n. 4\r\n. 5\r\x1b[3C");
        assert!(screen.draw("> ", ". ", text, 0, (3, 80)).contains("> 1\r\n. 2\r\n. 3"));
    }

    #[test]
    fn words_stand_in_columns() {
        let words = ["a", "bb", "c"].map(str::to_owned);
        assert_eq!(Screen::default().list(&words, (24, 9)), "\r\na   c\r\nbb\r\n");
    }
}
