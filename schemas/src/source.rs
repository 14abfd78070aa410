//! Open files, shared between threads, that count what is read from them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};

/// Files kept open at most: well below the usual limit of 1,024 a process.
const MAX_OPEN: usize = 256;

/// What has been read.
#[derive(Default)]
pub(crate) struct Counters {
    /// Data and dictionary pages.
    pub(crate) pages: AtomicU64,
    /// Bytes of pages.
    pub(crate) bytes: AtomicU64,
}

/// A file to read Parquet from. Reads name their offset, so threads can share it without a lock.
#[derive(Clone)]
pub(crate) struct Source {
    file: Arc<File>,
    length: u64,
    counters: Arc<Counters>,
}

impl Source {
    pub(crate) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let length = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
        Ok(Self { file: Arc::new(file), length, counters })
    }

    /// The same file, its reads not counted: for footers, which are read once.
    pub(crate) fn uncounted(&self) -> Self {
        self.counted_by(Arc::default())
    }

    /// The same file, its reads counted elsewhere.
    pub(crate) fn counted_by(&self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self.clone() }
    }

    /// Reads `length` bytes at `start`, which hold `pages` pages.
    pub(crate) fn read(&self, start: u64, length: usize, pages: u64) -> io::Result<Bytes> {
        // A damaged footer may ask for any number of bytes: never allocate more than the file has.
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        self.counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
        self.counters.pages.fetch_add(pages, Ordering::Relaxed);
        Ok(buffer.into())
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Source {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Cursor { source: self.clone(), at: start }))
    }

    /// With an offset index, the parquet crate fetches a page a call.
    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.read(start, length, 1).map_err(ParquetError::from)
    }
}

/// A position in a [`Source`].
pub(crate) struct Cursor {
    source: Source,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        self.source.counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A reader's open files: a dataset of 10,000 hours has thousands, more than a process may hold.
#[derive(Default)]
pub(crate) struct Handles {
    pub(crate) counters: Arc<Counters>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    /// By path: the file, and when it was last asked for.
    files: HashMap<PathBuf, (Source, u64)>,
    clock: u64,
}

impl Handles {
    /// The file at `path`, opened if it is not, in place of the one that was used least recently.
    pub(crate) fn get(&self, path: &Path) -> Result<Source> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        if let Some((source, used)) = open.files.get_mut(path) {
            *used = now;
            return Ok(source.clone());
        }
        if open.files.len() >= MAX_OPEN {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            oldest.and_then(|path| open.files.remove(&path));
        }
        let source = Source::open(path, self.counters.clone())?;
        open.files.insert(path.to_owned(), (source.clone(), now));
        Ok(source)
    }
}
