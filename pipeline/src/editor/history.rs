//! What was typed before, in this session and earlier ones.
//!
//! A text a line in a file that only its owner reads; line breaks and backslashes are escaped. Texts are appended as
//! they are typed, so that sessions side by side keep each other's, and one that is killed loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Texts that are kept.
const KEPT: usize = 5_000;

/// Texts, oldest first.
#[derive(Debug, Default)]
pub struct History {
    entries: Vec<String>,
    /// Where they are kept; nowhere if that did not work.
    file: Option<PathBuf>,
}

impl History {
    /// Reads the file at `path`, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be read, or not be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = append(path)?;
        let mut entries = Vec::new();
        // Another program's bytes are no reason to go without.
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            entries.push(unescape(&String::from_utf8_lossy(&line?)));
        }
        drop(file);
        if entries.len() > 2 * KEPT {
            entries.drain(..entries.len() - KEPT);
            let folder = path.parent().unwrap_or(Path::new("."));
            // Made for its owner alone, as the file it becomes.
            let mut shorter = tempfile::NamedTempFile::new_in(folder)?;
            for entry in &entries {
                writeln!(shorter, "{}", escape(entry))?;
            }
            shorter.persist(path)?;
        }
        Ok(Self { entries, file: Some(path.to_owned()) })
    }

    /// From now on texts are kept for this session alone.
    pub fn forget_file(&mut self) {
        self.file = None;
    }

    /// Oldest first.
    pub fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Adds a text, unless it is blank or the one before. It is there for this session even if it cannot be written.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, text: &str) -> io::Result<()> {
        let text = text.trim();
        if text.is_empty() || self.entries.last().is_some_and(|last| last == text) {
            return Ok(());
        }
        self.entries.push(text.to_owned());
        match &self.file {
            // One write of one line: sessions side by side do not tear each other's apart.
            Some(path) => append(path)?.write_all(format!("{}\n", escape(text)).as_bytes()),
            None => Ok(()),
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescape(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => text.push('\n'),
                Some(other) => text.push(other),
                None => text.push('\\'),
            },
            (c, false) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn texts_outlive_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/playhouse/history");
        let mut history = History::open(&path).unwrap();
        for text in ["select 1;", "select 1;", "select '\\n',\n  2;", "  ", "\\d steps"] {
            history.push(text).unwrap();
        }
        let again = History::open(&path).unwrap();
        assert_eq!(again.entries(), ["select 1;", "select '\\n',\n  2;", "\\d steps"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_long_history_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        fs::write(&path, (0..=2 * KEPT).map(|i| format!("select {i};\n")).collect::<String>()).unwrap();
        assert_eq!(History::open(&path).unwrap().entries().len(), KEPT);
        let again = History::open(&path).unwrap();
        assert_eq!((again.entries().len(), again.entries()[KEPT - 1].as_str()), (KEPT, "select 10000;"));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("taken"), "").unwrap();
        assert!(History::open(&folder.path().join("taken/history")).is_err());
    }
}
