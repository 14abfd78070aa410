//! A text of several lines with a cursor in it.

use unicode_segmentation::UnicodeSegmentation;

/// What is being typed. The cursor stands between characters as people count them (grapheme clusters).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Buffer {
    text: String,
    /// In bytes.
    cursor: usize,
    /// What was cut last, for Ctrl-Y.
    cut: String,
    /// Texts and cursors before each edit.
    past: Vec<(String, usize)>,
}

impl Buffer {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Another text, with the cursor at its end.
    pub(super) fn set(&mut self, text: &str) {
        self.remember();
        text.clone_into(&mut self.text);
        self.cursor = self.text.len();
    }

    pub(super) fn move_to(&mut self, cursor: usize) {
        self.cursor = cursor.min(self.text.len());
    }

    pub(super) fn insert(&mut self, text: &str) {
        self.replace(self.cursor, self.cursor, text);
    }

    /// Puts `text` in the place of the bytes from `start` to `end`, and the cursor behind it.
    pub(super) fn replace(&mut self, start: usize, end: usize, text: &str) {
        self.remember();
        self.text.replace_range(start..end, text);
        self.cursor = start + text.len();
    }

    pub(super) fn undo(&mut self) {
        if let Some((text, cursor)) = self.past.pop() {
            (self.text, self.cursor) = (text, cursor);
        }
    }

    fn remember(&mut self) {
        self.past.push((self.text.clone(), self.cursor));
    }

    /// Cuts from `start` to `end`, which Ctrl-Y brings back.
    fn cut(&mut self, start: usize, end: usize) {
        if start < end {
            self.text[start..end].clone_into(&mut self.cut);
            self.replace(start, end, "");
        }
    }

    pub(super) fn paste_cut(&mut self) {
        let cut = self.cut.clone();
        self.insert(&cut);
    }

    pub(super) fn left(&self) -> usize {
        self.text[..self.cursor].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    pub(super) fn right(&self) -> usize {
        self.text[self.cursor..].graphemes(true).next().map_or(self.cursor, |g| self.cursor + g.len())
    }

    pub(super) fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end_matches(|c| !is_word(c));
        before.trim_end_matches(is_word).len()
    }

    pub(super) fn word_right(&self) -> usize {
        let after = self.text[self.cursor..].trim_start_matches(|c| !is_word(c));
        self.text.len() - after.trim_start_matches(is_word).len()
    }

    pub(super) fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    pub(super) fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    /// The same column of the line above; none on the first line.
    pub(super) fn up(&self) -> Option<usize> {
        let start = self.line_start();
        let above = start.checked_sub(1)?;
        let above = self.text[..above].rfind('\n').map_or(0, |at| at + 1)..above;
        Some(self.column(above, start))
    }

    /// The same column of the line below; none on the last line.
    pub(super) fn down(&self) -> Option<usize> {
        let below = self.line_end() + 1;
        if below > self.text.len() {
            return None;
        }
        let end = self.text[below..].find('\n').map_or(self.text.len(), |at| below + at);
        Some(self.column(below..end, self.line_start()))
    }

    /// The place in `line` that is as many characters from its start as the cursor is from `start`.
    fn column(&self, line: std::ops::Range<usize>, start: usize) -> usize {
        let column = self.text[start..self.cursor].graphemes(true).count();
        let first = line.start;
        first + self.text[line].graphemes(true).take(column).map(str::len).sum::<usize>()
    }

    pub(super) fn backspace(&mut self) {
        if self.cursor > 0 {
            self.replace(self.left(), self.cursor, "");
        }
    }

    pub(super) fn delete(&mut self) {
        let (cursor, end) = (self.cursor, self.right());
        if end > cursor {
            self.replace(cursor, end, "");
        }
    }

    pub(super) fn cut_to_line_start(&mut self) {
        self.cut(self.line_start(), self.cursor);
    }

    /// To the end of the line, or the line break if nothing is before it.
    pub(super) fn cut_to_line_end(&mut self) {
        let end = self.line_end();
        let end = if end == self.cursor { self.right() } else { end };
        self.cut(self.cursor, end);
    }

    /// Back to the last blank, as shells do: a whole `schema.table`.
    pub(super) fn cut_blank_left(&mut self) {
        let before = self.text[..self.cursor].trim_end();
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        self.cut(start, self.cursor);
    }

    pub(super) fn cut_word_left(&mut self) {
        self.cut(self.word_left(), self.cursor);
    }

    pub(super) fn cut_word_right(&mut self) {
        self.cut(self.cursor, self.word_right());
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with `|` where the cursor is.
    fn shown(buffer: &Buffer) -> String {
        format!("{}|{}", &buffer.text()[..buffer.cursor()], &buffer.text()[buffer.cursor()..])
    }

    fn buffer(shown: &str) -> Buffer {
        let (before, after) = shown.split_once('|').unwrap();
        Buffer { text: format!("{before}{after}"), cursor: before.len(), ..Buffer::default() }
    }

    fn after(shown_before: &str, edit: impl Fn(&mut Buffer)) -> String {
        let mut buffer = buffer(shown_before);
        edit(&mut buffer);
        shown(&buffer)
    }

    #[test]
    fn characters_are_what_people_count() {
        // e with an accent of its own, and a flag of two code points.
        assert_eq!(after("ae\u{301}|b", Buffer::backspace), "a|b");
        assert_eq!(after("a|🇩🇪b", Buffer::delete), "a|b");
        assert_eq!(after("|", Buffer::backspace), "|");
        assert_eq!(after("a|", Buffer::delete), "a|");
    }

    #[test]
    fn words_and_lines() {
        assert_eq!(buffer("select play.ste|ps").word_left(), 12);
        assert_eq!(buffer("select| play.steps").word_right(), 11);
        assert_eq!(after("select play.ste|ps", Buffer::cut_word_left), "select play.|ps");
        assert_eq!(after("select play.steps  |", Buffer::cut_blank_left), "select |");
        assert_eq!(after("one\ntwo t|wo\nthree", Buffer::cut_to_line_start), "one\n|wo\nthree");
        assert_eq!(after("one\ntwo t|wo\nthree", Buffer::cut_to_line_end), "one\ntwo t|\nthree");
        assert_eq!(after("one|\ntwo", Buffer::cut_to_line_end), "one|two");
    }

    #[test]
    fn up_and_down_keep_the_column() {
        let text = buffer("select é,\n  b\nfrom t|");
        assert_eq!(text.down(), None);
        let mut above = text.clone();
        above.move_to(text.up().unwrap());
        assert_eq!(shown(&above), "select é,\n  b|\nfrom t");
        above.move_to(above.up().unwrap());
        assert_eq!(shown(&above), "sel|ect é,\n  b\nfrom t");
        assert_eq!(above.up(), None);
        above.move_to(above.down().unwrap());
        assert_eq!(shown(&above), "select é,\n  b|\nfrom t");
    }

    #[test]
    fn what_is_cut_comes_back_and_edits_are_undone() {
        let mut text = buffer("select a|");
        text.cut_word_left();
        text.insert("b, ");
        text.paste_cut();
        assert_eq!(shown(&text), "select b, a|");
        text.undo();
        text.undo();
        text.undo();
        assert_eq!(shown(&text), "select a|");
        text.undo();
        assert_eq!(shown(&text), "select a|");
    }
}
