//! A text of statements and commands, in the order they are run.
//!
//! ```text
//!   -- A statement ends with `;`, the last one also with the text. A command ends with its line.
//!   \set n 3
//!   select * from episodes
//!   where num_steps > $n;
//!   \d steps
//! ```

use std::ops::Range;

use playhouse_queries::statement_end;

/// What is run as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// SQL, by its place in the text.
    Statement(Range<usize>),
    /// A command, without its backslash.
    Command(String),
}

/// A text and what stands in it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    /// What is run, and the line it begins on, from 1.
    items: Vec<(usize, Item)>,
    /// The last statement has no `;`.
    open: bool,
}

impl Script {
    pub(super) fn parse(text: &str) -> Self {
        // Some editors put a byte order mark in front of a file.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let mut items = Vec::new();
        let (mut at, mut line, mut counted, mut open) = (0, 1, 0, false);
        loop {
            let start = at + blank(&text[at..]);
            line += text[counted..start].matches('\n').count();
            counted = start;
            let rest = &text[start..];
            if rest.is_empty() {
                break;
            } else if let Some(command) = rest.strip_prefix('\\') {
                let command = command.lines().next().unwrap_or_default();
                at = start + 1 + command.len();
                items.push((line, Item::Command(command.trim().trim_end_matches(';').trim_end().to_owned())));
            } else if let Some(length) = statement_end(rest) {
                // A `;` alone is nothing. What is before the first statement may be its header: it is part of it.
                if length > 1 {
                    items.push((line, Item::Statement(at..start + length)));
                }
                at = start + length;
            } else {
                items.push((line, Item::Statement(at..text.len())));
                open = true;
                break;
            }
        }
        Self { text, items, open }
    }

    /// True if nothing is missing at the end: at a prompt, Enter runs it.
    pub(super) fn is_whole(&self) -> bool {
        !self.open
    }

    /// What is run, and the line it begins on.
    pub(super) fn items(&self) -> &[(usize, Item)] {
        &self.items
    }

    /// The number of statements.
    pub(super) fn statements(&self) -> usize {
        self.items.iter().filter(|(_, item)| matches!(item, Item::Statement(_))).count()
    }

    /// The text of a statement, with blanks for what is before it: an error's line and column are those of the whole
    /// text. The text's header stays, for it says which values the parameters may have.
    pub(super) fn statement(&self, range: &Range<usize>) -> String {
        let before = &self.text[..range.start];
        let header: usize = before.split_inclusive('\n').take_while(|line| line.starts_with("--")).map(str::len).sum();
        let blanks = before[header..].chars().map(|c| if matches!(c, '\n' | '\t') { c } else { ' ' });
        before[..header].chars().chain(blanks).chain(self.text[range.clone()].chars()).collect()
    }

    /// The whole text, for a complaint that there is nothing in it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// How many bytes of white space and comments `text` begins with. An open comment goes on to the end, and is no
/// statement.
fn blank(text: &str) -> usize {
    let mut rest = text.trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if rest.starts_with("/*") {
            match comment_end(rest) {
                Some(end) => rest = &rest[end..],
                // The parser says what is wrong with it.
                None => return text.len() - rest.len(),
            }
        } else {
            return text.len() - rest.len();
        }
        rest = rest.trim_start();
    }
}

/// Where the comment that `text` begins with ends; comments nest.
fn comment_end(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text.as_bytes()[at..];
        match rest {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return Some(at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [_, ..] => at += 1,
            [] => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line and text of each item.
    fn items(text: &str) -> Vec<(usize, String)> {
        let script = Script::parse(text);
        let show = |(line, item): &(usize, Item)| match item {
            Item::Statement(range) => (*line, script.text[range.clone()].trim().to_owned()),
            Item::Command(command) => (*line, format!("\\{command}")),
        };
        script.items.iter().map(show).collect()
    }

    #[test]
    fn statements_and_commands_come_apart() {
        let text = "\\set n it's 3\nselect ';',\n 1; select 2;;\n\n\\d steps;\n select 3";
        let expected =
            [(1, "\\set n it's 3"), (2, "select ';',\n 1;"), (3, "select 2;"), (5, "\\d steps"), (6, "select 3")];
        assert_eq!(items(text), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    fn comments_are_part_of_the_statement_they_stand_before() {
        let text = "-- What it is for.\nselect 1;\n/* a /* nested */ one; */ \\d\n-- the end;\n";
        assert_eq!(items(text), [(2, "-- What it is for.\nselect 1;".to_owned()), (3, "\\d".to_owned())]);
        assert_eq!(items("-- nothing"), []);
        assert_eq!(items(" \n "), []);
    }

    #[test]
    fn a_prompt_waits_for_what_is_missing() {
        for whole in ["", "select 1;", "\\d", "select 1; -- done", "select 1;\n\\d", ";"] {
            assert!(Script::parse(whole).is_whole(), "{whole}");
        }
        for open in ["select 1", "select ';", "select 1; select", "/* what", "select \"a;\n"] {
            assert!(!Script::parse(open).is_whole(), "{open}");
        }
    }

    #[test]
    fn a_statement_keeps_its_place_and_the_header() {
        let script = Script::parse("-- Header.\n-- $n = 1\nselect é;\tselect\n2;");
        let Item::Statement(range) = &script.items()[1].1 else { panic!("not a statement") };
        assert_eq!(script.statement(range), "-- Header.\n-- $n = 1\n         \tselect\n2;");
    }
}
