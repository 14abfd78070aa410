//! What Tab offers: tables, the columns of the tables that a statement names, functions, SQL's words, commands.

use std::collections::{BTreeMap, BTreeSet};

use playhouse_queries::Session;

use super::command;

/// Words of SQL that are worth completing, or that are no table's alias.
const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "cross",
    "current",
    "date",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "explain",
    "extract",
    "false",
    "fetch",
    "filter",
    "first",
    "following",
    "from",
    "full",
    "group",
    "having",
    "ilike",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "last",
    "lateral",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "preceding",
    "qualify",
    "range",
    "recursive",
    "right",
    "row",
    "rows",
    "select",
    "show",
    "tables",
    "then",
    "timestamp",
    "true",
    "unbounded",
    "union",
    "unnest",
    "using",
    "values",
    "when",
    "where",
    "with",
    "within",
];

/// What may be completed: the names of one session.
#[derive(Default)]
pub(super) struct Words {
    /// Tables as they are written, each with its columns.
    tables: Vec<(String, Vec<String>)>,
    functions: BTreeSet<String>,
    /// How functions are called, by name.
    calls: BTreeMap<String, String>,
}

impl Words {
    pub(super) fn of(session: &Session) -> Self {
        let tables = session.tables().into_iter().map(|table| {
            let columns = table.schema.fields().iter().map(|field| quoted(field.name())).collect();
            let name: Vec<String> = table.name.split('.').map(quoted).collect();
            (name.join("."), columns)
        });
        let calls = session.manuals().into_iter().map(|manual| (manual.name, manual.syntax));
        Self { tables: tables.collect(), functions: session.function_names(), calls: calls.collect() }
    }

    /// Where the word at byte `cursor` begins, and the words that may stand in its place, sorted. They need not begin as
    /// what was typed does, but for its case.
    pub(super) fn complete(&self, text: &str, cursor: usize) -> (usize, Vec<String>) {
        let before = &text[..cursor];
        // Inside a text or a comment, words are anybody's.
        if !is_code(before) {
            return (cursor, Vec::new());
        }
        let mut start = before.trim_end_matches(is_part).len();
        if before[..start].trim_start() == "\\" {
            start -= 1;
        }
        let typed = &before[start..];
        let lower = typed.to_lowercase();
        // Who types large letters wants SQL's words in them.
        let large = typed.starts_with(|c: char| c.is_uppercase());
        let mut words = self.candidates(text, start, &lower);
        words.retain(|word| word.trim_start_matches('"').to_lowercase().starts_with(lower.trim_start_matches('"')));
        if large {
            for word in &mut words {
                if KEYWORDS.contains(&word.as_str()) {
                    *word = word.to_uppercase();
                }
            }
        }
        words.sort();
        words.dedup();
        (start, words)
    }

    /// The arguments that a call takes, and its bracket, if the text ends where they begin.
    pub(super) fn arguments(&self, text: &str) -> Option<&str> {
        let before = text.strip_suffix('(')?;
        let name = tokens(before).last().filter(|name| before.ends_with(name) && is_code(before))?;
        let call = self.calls.get(&name.to_lowercase())?.lines().next()?;
        Some(call.split_once('(')?.1)
    }

    fn candidates(&self, text: &str, start: usize, typed: &str) -> Vec<String> {
        let before = text[..start].trim_end();
        if let Some(line) = text.trim_start().strip_prefix('\\') {
            return self.argument(line, typed);
        }
        let previous = tokens(before).last().map_or(String::new(), |word| word.to_lowercase());
        let tables = || self.tables.iter().map(|(table, _)| table.clone());
        if let Some((parent, _)) = typed.rsplit_once('.') {
            // A table of a schema, or a column of a table or of its alias.
            let named = self.named(text);
            let columns = named.iter().filter(|(name, _)| name == parent).flat_map(|(_, columns)| columns.iter());
            return tables().chain(columns.map(|column| format!("{parent}.{column}"))).collect();
        }
        if ["from", "join", "describe"].contains(&previous.as_str()) || before.ends_with(',') && in_from(before) {
            return tables().collect();
        }
        let named = self.named(text);
        let mut words: Vec<String> = named.iter().flat_map(|(_, columns)| columns.iter().cloned()).collect();
        // Columns are often typed before their table.
        if named.is_empty() && !typed.is_empty() {
            words.extend(self.tables.iter().flat_map(|(_, columns)| columns.iter().cloned()));
        }
        // With nothing typed, some hundred functions and keywords would hide what is likely.
        if !typed.is_empty() {
            words.extend(tables());
            words.extend(self.functions.iter().map(|function| format!("{function}(")));
            words.extend(KEYWORDS.iter().map(|word| (*word).to_owned()));
        }
        words
    }

    /// What may follow a command.
    fn argument(&self, line: &str, typed: &str) -> Vec<String> {
        if typed.starts_with('\\') {
            return command::names().map(str::to_owned).collect();
        }
        match line.split(char::is_whitespace).next().unwrap_or_default() {
            "d" => self.tables.iter().map(|(table, _)| table.clone()).collect(),
            "df" => self.functions.iter().cloned().collect(),
            "format" => ["table", "json", "csv"].map(str::to_owned).to_vec(),
            "timing" => ["on", "off"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        }
    }

    /// The tables that a statement names, by name, by alias, and by the last part of their name.
    fn named(&self, text: &str) -> Vec<(String, &Vec<String>)> {
        let words: Vec<String> = tokens(text).map(str::to_lowercase).collect();
        let mut named = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let Some((table, columns)) = self.tables.iter().find(|(table, _)| table == word) else { continue };
            let after = words[at + 1..].iter().find(|word| *word != "as");
            let alias = after.filter(|word| !KEYWORDS.contains(&word.as_str()));
            let tail = table.rsplit('.').next().unwrap_or(table);
            for name in [table.as_str(), tail].into_iter().chain(alias.map(String::as_str)) {
                if !named.iter().any(|(known, _)| known == name) {
                    named.push((name.to_owned(), columns));
                }
            }
        }
        named
    }
}

/// A name as SQL wants it: in quotes, unless it is of small letters.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_plain = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '"')
}

/// The words of a text, with the points in them.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_part(c)).filter(|word| !word.is_empty())
}

/// True if the last clause of the text is `FROM`: a comma there separates tables.
fn in_from(text: &str) -> bool {
    let clause = |word: &str| ["select", "from", "where", "group", "order", "having", "on"].contains(&word);
    let words: Vec<String> = tokens(text).map(str::to_lowercase).collect();
    words.iter().rev().find(|word| clause(word)).is_some_and(|word| word == "from")
}

/// True if what comes after `text` is SQL, and not part of a quoted text or a comment.
fn is_code(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find(['\'', '-', '/']) {
        let found = &rest[at..];
        let (opening, closing) = match found.as_bytes() {
            [b'\'', ..] => (1, "'"),
            [b'-', b'-', ..] => (2, "\n"),
            [b'/', b'*', ..] => (2, "*/"),
            _ => {
                rest = &found[1..];
                continue;
            }
        };
        match found[opening..].find(closing) {
            Some(end) => rest = &found[opening + end + closing.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
impl Words {
    /// Functions by name and how they are called, and nothing else.
    pub(super) fn with_arguments(calls: &[(&str, &str)]) -> Self {
        let calls = calls.iter().map(|(name, call)| ((*name).to_owned(), (*call).to_owned()));
        Self { calls: calls.collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let columns = |names: &[&str]| names.iter().map(|name| quoted(name)).collect();
        Words {
            tables: vec![
                ("episodes".into(), columns(&["episode_id", "num_steps", "outcome"])),
                ("play.steps".into(), columns(&["episode_id", "left_x", "left_y", "Odd Name"])),
                ("play.frames".into(), columns(&["episode_id", "t", "image"])),
            ],
            functions: ["avg", "length", "stick"].map(str::to_owned).into(),
            calls: BTreeMap::new(),
        }
    }

    /// The words that Tab offers at `|`.
    fn offered(text: &str) -> Vec<String> {
        let cursor = text.find('|').unwrap();
        words().complete(&text.replace('|', ""), cursor).1
    }

    #[test]
    fn tables_come_after_from_and_join() {
        assert_eq!(offered("select * from |"), ["episodes", "play.frames", "play.steps"]);
        assert_eq!(offered("select * from ep|"), ["episodes"]);
        assert_eq!(offered("SELECT * FROM Play.s|"), ["play.steps"]);
        assert_eq!(offered("select * from episodes e join play.f|"), ["play.frames"]);
        assert_eq!(offered("select * from episodes, pl|"), ["play.frames", "play.steps"]);
    }

    #[test]
    fn columns_are_those_of_the_tables_named() {
        assert_eq!(offered("select outc| from episodes"), ["outcome"]);
        assert_eq!(offered("select outc|"), ["outcome"]);
        assert_eq!(offered("select out| from play.steps"), ["outer"]);
        assert_eq!(offered("select le| from play.steps"), ["left", "left_x", "left_y", "length("]);
        assert_eq!(offered("select | from episodes"), ["episode_id", "num_steps", "outcome"]);
        assert_eq!(offered("select e.num| from episodes as e"), ["e.num_steps"]);
        assert_eq!(offered("select steps.left| from play.steps"), ["steps.left_x", "steps.left_y"]);
        assert_eq!(offered("select odd| from play.steps"), ["\"Odd Name\""]);
        assert_eq!(offered("select |"), [] as [&str; 0]);
    }

    #[test]
    fn words_of_sql_keep_the_case_of_the_typist() {
        assert_eq!(offered("sel|"), ["select"]);
        assert_eq!(offered("SEL|"), ["SELECT"]);
        assert_eq!(offered("select st|"), ["stick("]);
        assert_eq!(offered("select 'it''s' as a, st|"), ["stick("]);
    }

    #[test]
    fn texts_and_comments_are_anybodys() {
        for open in ["where outcome = 'le|", "where outcome = 'it''s le|", "-- it's le|", "/* it's le|"] {
            assert_eq!(offered(&format!("select * from episodes {open}")), [] as [&str; 0], "{open}");
        }
        for closed in ["-- it's\nwhere num|", "/* it's */ where num|", "where 1 - num|", "where 1 / num|"] {
            assert_eq!(offered(&format!("select * from episodes {closed}")), ["num_steps"], "{closed}");
        }
    }

    #[test]
    fn a_call_shows_its_arguments() {
        let words = Words::with_arguments(&[("presses", "presses(button, t)"), ("avg", "avg(expression)")]);
        assert_eq!(words.arguments("select Presses("), Some("button, t)"));
        assert_eq!(words.arguments("select avg(presses("), Some("button, t)"));
        assert_eq!(words.arguments("select presses ("), None);
        assert_eq!(words.arguments("select unknown("), None);
        assert_eq!(words.arguments("select 'presses("), None);
        assert_eq!(words.arguments("select presses(a"), None);
    }

    #[test]
    fn commands_complete_like_words() {
        assert_eq!(offered("\\ti|"), ["\\timing"]);
        assert_eq!(offered("\\d|"), ["\\d", "\\df"]);
        assert_eq!(offered("\\d play.s|"), ["play.steps"]);
        assert_eq!(offered("\\df st|"), ["stick"]);
        assert_eq!(offered("\\format j|"), ["json"]);
    }
}
