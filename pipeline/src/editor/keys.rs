//! From a terminal's bytes to keys.
//!
//! Terminals send a key beyond the alphabet as an escape sequence: `ESC [ A` is Up, `ESC [ 1 ; 5 C` Ctrl-Right. The
//! escape key alone sends the same first byte; it is kept as a prefix, as in other line editors (Escape, then b: Alt-B).

use std::collections::VecDeque;

/// A key, or a text that was pasted as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Ctrl(char),
    Alt(char),
    Enter,
    AltEnter,
    Tab,
    Backspace,
    AltBackspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    Home,
    End,
    WordLeft,
    WordRight,
    Paste(String),
    /// A key without a meaning here.
    Other,
}

const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";

/// Bytes that are not yet keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    bytes: VecDeque<u8>,
}

impl Keys {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// True if there are bytes left: the next key, or a part of it.
    pub(super) fn pending(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes the next key off the front; none while its bytes are incomplete.
    pub(super) fn next(&mut self) -> Option<Key> {
        let (key, length) = parse(self.bytes.make_contiguous())?;
        self.bytes.drain(..length);
        Some(key)
    }
}

/// The first key of `bytes` and how many bytes it takes.
fn parse(bytes: &[u8]) -> Option<(Key, usize)> {
    match *bytes.first()? {
        0x1b => escape(bytes),
        b'\r' | b'\n' => Some((Key::Enter, 1)),
        b'\t' => Some((Key::Tab, 1)),
        0x7f | 0x08 => Some((Key::Backspace, 1)),
        0 => Some((Key::Other, 1)),
        control @ 0x01..=0x1a => Some((Key::Ctrl(char::from(control + b'a' - 1)), 1)),
        0x1f => Some((Key::Ctrl('_'), 1)),
        0x1c..=0x1e => Some((Key::Other, 1)),
        first => {
            let length = match first {
                0xc0..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf7 => 4,
                _ => 1,
            };
            let text = bytes.get(..length)?;
            // Bytes that are no character are dropped one by one.
            let char = std::str::from_utf8(text).ok().and_then(|text| text.chars().next());
            Some(char.map_or((Key::Other, 1), |char| (Key::Char(char), length)))
        }
    }
}

fn escape(bytes: &[u8]) -> Option<(Key, usize)> {
    match *bytes.get(1)? {
        b'[' | b'O' => sequence(bytes),
        b'\r' | b'\n' => Some((Key::AltEnter, 2)),
        0x7f | 0x08 => Some((Key::AltBackspace, 2)),
        0x1b => Some((Key::Other, 1)),
        letter if letter.is_ascii_graphic() => Some((Key::Alt(char::from(letter).to_ascii_lowercase()), 2)),
        _ => Some((Key::Other, 2)),
    }
}

/// `ESC [`, numbers with semicolons, a letter or `~`; or `ESC O` and a letter.
fn sequence(bytes: &[u8]) -> Option<(Key, usize)> {
    if bytes.starts_with(PASTE_BEGIN) {
        let text = &bytes[PASTE_BEGIN.len()..];
        let end = text.windows(PASTE_END.len()).position(|window| window == PASTE_END)?;
        let pasted = String::from_utf8_lossy(&text[..end]).replace("\r\n", "\n").replace('\r', "\n");
        return Some((Key::Paste(pasted), PASTE_BEGIN.len() + end + PASTE_END.len()));
    }
    let end = 2 + bytes[2..].iter().position(|byte| matches!(byte, b'@'..=b'~'))?;
    let parameters = std::str::from_utf8(&bytes[2..end]).unwrap_or_default();
    // The second number is a bit mask of modifiers plus one: 4 is Ctrl, 2 is Alt.
    let modified = parameters.split(';').nth(1).and_then(|n| n.parse::<u8>().ok()).is_some_and(|n| n >= 3);
    let key = match (bytes[end], parameters.split(';').next().unwrap_or_default()) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) if modified => Key::WordRight,
        (b'C', _) => Key::Right,
        (b'D', _) if modified => Key::WordLeft,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', "1" | "7") => Key::Home,
        (b'F', _) | (b'~', "4" | "8") => Key::End,
        (b'~', "3") => Key::Delete,
        _ => Key::Other,
    };
    Some((key, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        keys.feed(bytes);
        std::iter::from_fn(|| keys.next()).collect()
    }

    #[test]
    fn letters_controls_and_arrows() {
        let all = keys(b"a\xc3\xa9\x03\x04\r\t\x7f\x1b[A\x1b[1;5C\x1bOD\x1b[3~\x1bb\x1b[15~");
        let expected = [
            Key::Char('a'),
            Key::Char('é'),
            Key::Ctrl('c'),
            Key::Ctrl('d'),
            Key::Enter,
            Key::Tab,
            Key::Backspace,
            Key::Up,
            Key::WordRight,
            Key::Left,
            Key::Delete,
            Key::Alt('b'),
            Key::Other,
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_pasted_comes_as_a_whole() {
        assert_eq!(
            keys(b"\x1b[200~select\t1;\r\nselect 2;\x1b[201~\r"),
            [Key::Paste("select\t1;\nselect 2;".into()), Key::Enter]
        );
    }

    #[test]
    fn a_cut_sequence_waits_for_its_rest() {
        for whole in [&b"\x1b[1;5C"[..], "é".as_bytes(), b"\x1b[200~x\x1b[201~"] {
            for cut in 1..whole.len() {
                let mut keys = Keys::default();
                keys.feed(&whole[..cut]);
                assert_eq!(keys.next(), None, "{whole:?} cut at {cut}");
                keys.feed(&whole[cut..]);
                assert!(keys.next().is_some() && !keys.pending());
            }
        }
    }

    #[test]
    fn junk_is_passed_over() {
        assert_eq!(keys(b"\xff\xfea").last(), Some(&Key::Char('a')));
        assert_eq!(keys(b"\x1b[999999;99;9zb").last(), Some(&Key::Char('b')));
    }
}
