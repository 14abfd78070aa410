//! What a key does to what is being typed.

use super::buffer::Buffer;
use super::keys::Key;
use super::{Assistant, Line};

/// What the editor must do after a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Draw again.
    Edit,
    /// Show words under the text, then draw again.
    Words(Vec<String>),
    /// Wipe the screen, then draw again.
    Wipe,
    /// This prompt is over.
    Done(Line),
}

/// A prompt that somebody types at.
pub(super) struct Input<'a> {
    buffer: Buffer,
    /// Earlier texts, oldest first.
    entries: &'a [String],
    /// The entry that is shown; one past the last for a new text.
    entry: usize,
    /// The new text, while an entry is shown.
    draft: String,
    search: Option<Search>,
}

/// Ctrl-R: looking for an earlier text that holds some words.
struct Search {
    words: String,
    /// The entry found.
    found: Option<usize>,
}

impl<'a> Input<'a> {
    pub(super) fn new(entries: &'a [String]) -> Self {
        Self { buffer: Buffer::default(), entries, entry: entries.len(), draft: String::new(), search: None }
    }

    /// The text to show, the cursor in it, and the prompt of a search if there is one.
    pub(super) fn shown(&self) -> (&str, usize, Option<String>) {
        match &self.search {
            None => (self.buffer.text(), self.buffer.cursor(), None),
            Some(search) => {
                let text = search.found.map_or("", |entry| &self.entries[entry]);
                let at = text.find(&search.words).unwrap_or(0);
                let prompt = if search.found.is_some() { "search" } else { "search: nothing" };
                (text, at, Some(format!("({prompt} `{}`) ", search.words)))
            }
        }
    }

    pub(super) fn press(&mut self, key: Key, assistant: &dyn Assistant) -> Step {
        let key = match self.search.is_some() {
            true => match self.search_key(key) {
                Some(key) => key,
                None => return Step::Edit,
            },
            false => key,
        };
        let buffer = &mut self.buffer;
        match key {
            Key::Char(c) => buffer.insert(c.encode_utf8(&mut [0; 4])),
            Key::Paste(text) => buffer.insert(&text),
            Key::Enter if assistant.is_whole(buffer.text()) => {
                buffer.move_to(usize::MAX);
                return Step::Done(Line::Text(buffer.text().to_owned()));
            }
            Key::Enter | Key::AltEnter => buffer.insert("\n"),
            Key::Tab => return self.complete(assistant),
            Key::Backspace => buffer.backspace(),
            Key::Delete => buffer.delete(),
            Key::AltBackspace => buffer.cut_word_left(),
            Key::Left | Key::Ctrl('b') => buffer.move_to(buffer.left()),
            Key::Right | Key::Ctrl('f') => buffer.move_to(buffer.right()),
            Key::WordLeft | Key::Alt('b') => buffer.move_to(buffer.word_left()),
            Key::WordRight | Key::Alt('f') => buffer.move_to(buffer.word_right()),
            Key::Home | Key::Ctrl('a') => buffer.move_to(buffer.line_start()),
            Key::End | Key::Ctrl('e') => buffer.move_to(buffer.line_end()),
            Key::Alt('<') => buffer.move_to(0),
            Key::Alt('>') => buffer.move_to(usize::MAX),
            Key::Up => match buffer.up() {
                Some(above) => buffer.move_to(above),
                None => self.call_up(self.entry.checked_sub(1)),
            },
            Key::Down => match buffer.down() {
                Some(below) => buffer.move_to(below),
                None => self.call_up(Some(self.entry + 1)),
            },
            Key::Ctrl('p') => self.call_up(self.entry.checked_sub(1)),
            Key::Ctrl('n') => self.call_up(Some(self.entry + 1)),
            Key::Ctrl('r') => self.search = Some(Search { words: String::new(), found: None }),
            Key::Ctrl('c') => return Step::Done(Line::Cleared),
            Key::Ctrl('d') if buffer.text().is_empty() => return Step::Done(Line::End),
            Key::Ctrl('d') => buffer.delete(),
            Key::Ctrl('k') => buffer.cut_to_line_end(),
            Key::Ctrl('u') => buffer.cut_to_line_start(),
            Key::Ctrl('w') => buffer.cut_blank_left(),
            Key::Alt('d') => buffer.cut_word_right(),
            Key::Ctrl('y') => buffer.paste_cut(),
            Key::Ctrl('_') => buffer.undo(),
            Key::Ctrl('l') => return Step::Wipe,
            Key::Ctrl(_) | Key::Alt(_) | Key::Other => {}
        }
        Step::Edit
    }

    /// Shows another entry, or the new text again.
    fn call_up(&mut self, entry: Option<usize>) {
        let Some(entry) = entry.filter(|&entry| entry <= self.entries.len() && entry != self.entry) else { return };
        if self.entry == self.entries.len() {
            self.buffer.text().clone_into(&mut self.draft);
        }
        self.entry = entry;
        let text = self.entries.get(entry).unwrap_or(&self.draft);
        self.buffer.set(text);
    }

    /// A key while searching; back comes a key that ends the search and is then obeyed.
    fn search_key(&mut self, key: Key) -> Option<Key> {
        let search = self.search.as_mut()?;
        let before = match key {
            Key::Char(c) => {
                search.words.push(c);
                search.found.map_or(self.entries.len(), |entry| entry + 1)
            }
            Key::Backspace => {
                search.words.pop();
                self.entries.len()
            }
            Key::Ctrl('r') => search.found.unwrap_or(self.entries.len()),
            Key::Ctrl('c' | 'g') => {
                self.search = None;
                return None;
            }
            other => {
                let found = search.found;
                self.search = None;
                self.call_up(found);
                return Some(other);
            }
        };
        let found = self.entries[..before].iter().rposition(|entry| entry.contains(&search.words));
        // Older ones do not hold it: what was found stays, unless it no longer fits.
        let still = search.found.filter(|&entry| self.entries[entry].contains(&search.words));
        search.found = if search.words.is_empty() { None } else { found.or(still) };
        None
    }

    fn complete(&mut self, assistant: &dyn Assistant) -> Step {
        let completion = assistant.complete(self.buffer.text(), self.buffer.cursor());
        let typed = self.buffer.cursor() - completion.start;
        match completion.words.as_slice() {
            [] => Step::Edit,
            [word] => {
                self.buffer.replace(completion.start, self.buffer.cursor(), word);
                Step::Edit
            }
            words => match common_start(words) {
                start if start.len() > typed => {
                    self.buffer.replace(completion.start, self.buffer.cursor(), start);
                    Step::Edit
                }
                _ => Step::Words(completion.words),
            },
        }
    }
}

/// What all words begin with.
fn common_start(words: &[String]) -> &str {
    let Some((first, others)) = words.split_first() else { return "" };
    let common = |other: &String| {
        let same = first.char_indices().zip(other.chars()).take_while(|((_, a), b)| a == b);
        same.last().map_or(0, |((at, a), _)| at + a.len_utf8())
    };
    &first[..others.iter().map(common).min().unwrap_or(first.len())]
}

#[cfg(test)]
mod tests {
    use super::super::Completion;
    use super::super::keys::Keys;
    use super::*;

    struct Words;

    impl Assistant for Words {
        fn is_whole(&self, text: &str) -> bool {
            text.ends_with(';')
        }

        fn complete(&self, text: &str, cursor: usize) -> Completion {
            let start = text[..cursor].rfind(' ').map_or(0, |at| at + 1);
            let words = ["episodes", "steps", "steps_old"].map(str::to_owned);
            let words = words.into_iter().filter(|word| word.starts_with(&text[start..cursor])).collect();
            Completion { start, words }
        }
    }

    /// What the last key gives, and the text then.
    fn type_in(entries: &[&str], bytes: &str) -> (Step, String) {
        let entries: Vec<String> = entries.iter().map(|&entry| entry.to_owned()).collect();
        let mut input = Input::new(&entries);
        let mut keys = Keys::default();
        keys.feed(bytes.as_bytes());
        let mut step = Step::Edit;
        while let Some(key) = keys.next() {
            step = input.press(key, &Words);
        }
        let text = input.shown().0.to_owned();
        (step, text)
    }

    const UP: &str = "\x1b[A";
    const DOWN: &str = "\x1b[B";

    #[test]
    fn enter_ends_a_whole_text_and_continues_another() {
        let (step, _) = type_in(&[], "select 1\r, 2;\r");
        assert_eq!(step, Step::Done(Line::Text("select 1\n, 2;".into())));
        // In the middle of it, too.
        let (step, _) = type_in(&[], &format!("select 1\r, 2;{UP}\r"));
        assert_eq!(step, Step::Done(Line::Text("select 1\n, 2;".into())));
    }

    #[test]
    fn control_keys_clear_and_leave() {
        assert_eq!(type_in(&[], "select\x03").0, Step::Done(Line::Cleared));
        assert_eq!(type_in(&[], "\x04").0, Step::Done(Line::End));
        assert_eq!(type_in(&[], "ab\x01\x04"), (Step::Edit, "b".into()));
    }

    #[test]
    fn history_goes_up_and_comes_back_to_the_draft() {
        let entries = ["one;", "two\nlines;"];
        assert_eq!(type_in(&entries, &format!("draft{UP}")).1, "two\nlines;");
        assert_eq!(type_in(&entries, &format!("draft{UP}{UP}")).1, "two\nlines;", "up inside the text");
        assert_eq!(type_in(&entries, &format!("draft{UP}{UP}{UP}")).1, "one;");
        assert_eq!(type_in(&entries, &format!("draft{UP}{UP}{UP}{UP}")).1, "one;");
        assert_eq!(type_in(&entries, &format!("draft{UP}{DOWN}")).1, "draft");
        assert_eq!(type_in(&entries, &format!("draft{DOWN}")).1, "draft");
    }

    #[test]
    fn searching_finds_older_and_older_texts() {
        let entries = ["select a;", "select b;", "show tables;"];
        assert_eq!(type_in(&entries, "\x12sel").1, "select b;");
        assert_eq!(type_in(&entries, "\x12sel\x12").1, "select a;");
        assert_eq!(type_in(&entries, "\x12sel\x12\x12").1, "select a;");
        assert_eq!(type_in(&entries, "\x12sel\r").0, Step::Done(Line::Text("select b;".into())));
        assert_eq!(type_in(&entries, "draft\x12sel\x03").1, "draft");
        assert_eq!(type_in(&entries, "\x12zzz").1, "");
    }

    #[test]
    fn tab_completes_as_far_as_it_can() {
        assert_eq!(type_in(&[], "from ep\t").1, "from episodes");
        assert_eq!(type_in(&[], "from s\t").1, "from steps");
        let (step, text) = type_in(&[], "from s\t\t");
        assert_eq!((step, text.as_str()), (Step::Words(vec!["steps".into(), "steps_old".into()]), "from steps"));
        assert_eq!(type_in(&[], "from x\t").1, "from x");
    }
}
