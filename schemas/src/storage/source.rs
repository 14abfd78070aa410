//! Open files, shared between threads, that count what is read from them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::ahead::{Ahead, expected};
use super::is_local;
use super::object::{Object, Opening};
use crate::error::{Error, Result};

/// Files kept open at most: well below the usual limit of 1,024 a process.
const MAX_OPEN: usize = 256;

/// Objects on their way, where many are opened one after the other.
const OPENING: usize = 16;

/// Bytes that are fetched where somebody reads on without saying how far.
const READ_ON: usize = 64 << 10;

/// Bytes of a piece where a file is read whole.
const PIECE: u64 = 4 << 20;

/// What has been read.
#[derive(Default)]
pub(crate) struct Counters {
    /// Data and dictionary pages.
    pub(crate) pages: AtomicU64,
    /// Bytes of pages.
    pub(crate) bytes: AtomicU64,
}

/// A file to read Parquet from, on this machine or in a bucket. Reads name their offset, so threads can share it without a
/// lock.
#[derive(Clone)]
pub struct Source {
    place: Place,
    length: u64,
    counters: Arc<Counters>,
}

#[derive(Clone)]
enum Place {
    File(Arc<File>),
    Object(Arc<Object>),
    /// An object of which it is known what will be read.
    Ahead(Arc<Ahead>),
}

impl Source {
    /// Opens a file or an object.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened, [`Error::Store`] if its bucket cannot be asked.
    pub fn at(path: &Path) -> Result<Self> {
        Self::open(path, Arc::default())
    }

    pub(crate) fn open(path: &Path, counters: Arc<Counters>) -> Result<Self> {
        if !is_local(path) {
            return Ok(Self::object(Object::open(path)?, counters));
        }
        let file = File::open(path).map_err(|e| Error::io(path, "open", e))?;
        let length = file.metadata().map_err(|e| Error::io(path, "read", e))?.len();
        Ok(Self { place: Place::File(Arc::new(file)), length, counters })
    }

    fn object(object: Object, counters: Arc<Counters>) -> Self {
        Self { length: object.size, place: Place::Object(Arc::new(object)), counters }
    }

    /// The same file, its reads not counted: for footers, which are read once. The end of an object is at hand.
    ///
    /// # Errors
    /// An object that cannot be read.
    pub fn for_footer(&self) -> Result<Self> {
        match &self.place {
            Place::File(_) => Ok(self.counted_by(Arc::default())),
            Place::Object(object) => Ok(Self::object(object.with_tail()?, Arc::default())),
            Place::Ahead(ahead) => Ok(Self::object(ahead.object.with_tail()?, Arc::default())),
        }
    }

    /// The same file, its reads counted elsewhere.
    pub(crate) fn counted_by(&self, counters: Arc<Counters>) -> Self {
        Self { counters, ..self.clone() }
    }

    /// The same file for a reader of some rows (all, when none are given; else ascending and apart) of some leaf columns
    /// (all, when none are given). An object is fetched ahead, many pages a request; a file of this machine need not be.
    #[must_use]
    pub fn expecting(&self, metadata: &ParquetMetaData, leaves: Option<&[usize]>, rows: Option<&[Range<u64>]>) -> Self {
        let Place::Object(object) = &self.place else { return self.clone() };
        let ahead = Ahead::new(object.as_ref().clone(), expected(metadata, leaves, rows));
        Self { place: Place::Ahead(Arc::new(ahead)), ..self.clone() }
    }

    /// The whole file, in order, in pieces; of an object, some are on their way meanwhile.
    pub(crate) fn pieces(self) -> impl Iterator<Item = io::Result<Bytes>> {
        let pieces = (0..self.length).step_by(PIECE as usize);
        let pieces: Vec<Range<u64>> = pieces.map(|start| start..(start + PIECE).min(self.length)).collect();
        let source = match &self.place {
            Place::Object(object) => {
                let ahead = Ahead::new(object.as_ref().clone(), pieces.clone());
                Self { place: Place::Ahead(Arc::new(ahead)), ..self }
            }
            _ => self,
        };
        pieces.into_iter().map(move |piece| source.read(piece.start, (piece.end - piece.start) as usize, 0))
    }

    /// Reads `length` bytes at `start`, which hold `pages` pages.
    pub(crate) fn read(&self, start: u64, length: usize, pages: u64) -> io::Result<Bytes> {
        // A damaged footer may ask for any number of bytes: never allocate more than the file has.
        let Some(end) = start.checked_add(length as u64).filter(|end| *end <= self.length) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let bytes = match &self.place {
            Place::File(file) => {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, start)?;
                buffer.into()
            }
            Place::Object(object) => object.read(start..end)?,
            Place::Ahead(ahead) => ahead.read(start..end, false)?,
        };
        self.counters.bytes.fetch_add(length as u64, Ordering::Relaxed);
        self.counters.pages.fetch_add(pages, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Reads on at `start`: as much as there is, and fits.
    fn read_on(&self, start: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = start.saturating_add(buffer.len() as u64);
        let bytes = match &self.place {
            Place::File(file) => return file.read_at(buffer, start),
            Place::Object(object) => object.read(start..wanted.min(self.length).max(start))?,
            // Page headers are looked at so; what follows is then read.
            Place::Ahead(ahead) => {
                let end = ahead.chunk_end(start).unwrap_or(self.length);
                ahead.read(start..wanted.min(end).max(start), true)?
            }
        };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
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
        let cursor = Cursor { source: self.clone(), at: start };
        Ok(match &self.place {
            Place::File(_) => BufReader::new(cursor),
            Place::Object(_) | Place::Ahead(_) => BufReader::with_capacity(READ_ON, cursor),
        })
    }

    /// With an offset index, the parquet crate fetches a page a call.
    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.read(start, length, 1).map_err(ParquetError::from)
    }
}

/// A position in a [`Source`].
pub struct Cursor {
    source: Source,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_on(self.at, buffer)?;
        self.at += read as u64;
        self.source.counters.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Opens files one after the other; of objects, some are on their way meanwhile.
pub(crate) fn open_each(paths: Vec<PathBuf>) -> impl Iterator<Item = (PathBuf, Result<Source>)> {
    let mut paths = paths.into_iter();
    let mut opening = VecDeque::new();
    std::iter::from_fn(move || {
        while opening.len() < OPENING {
            let Some(path) = paths.next() else { break };
            if is_local(&path) {
                // Files are opened when it is their turn, so that few are open at a time.
                opening.push_back((path, None));
                break;
            }
            let started = Opening::whole(&path);
            opening.push_back((path, Some(started)));
        }
        let (path, started) = opening.pop_front()?;
        let source = match started {
            None => Source::at(&path),
            Some(started) => started.and_then(Opening::finish).map(|object| Source::object(object, Arc::default())),
        };
        Some((path, source))
    })
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
        let now = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.clock += 1;
            let now = open.clock;
            if let Some((source, used)) = open.files.get_mut(path) {
                *used = now;
                return Ok(source.clone());
            }
            now
        };
        // Others need not wait for a server's answer; of two that open the same file, both have it.
        let source = Source::open(path, self.counters.clone())?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.files.len() >= MAX_OPEN {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            oldest.and_then(|path| open.files.remove(&path));
        }
        open.files.insert(path.to_owned(), (source.clone(), now));
        Ok(source)
    }
}
