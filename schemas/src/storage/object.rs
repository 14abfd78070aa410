//! An object of a bucket, read in ranges.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt};

use super::{fault, stores};
use crate::error::Result;

/// What is fetched with the size of an object: smaller ones are whole after one request.
const FIRST: u64 = 64 << 10;

/// Bytes at the end of a file that hold its footer and page index, all but the largest.
const TAIL: u64 = 512 << 10;

/// An object, its size known, and a piece of it.
#[derive(Clone)]
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    key: Key,
    path: Arc<Path>,
    pub(super) size: u64,
    /// Where the piece begins, and its bytes.
    held: Option<(u64, Bytes)>,
}

/// An object on its way.
pub(super) struct Opening {
    store: Arc<dyn ObjectStore>,
    key: Key,
    path: PathBuf,
    first: mpsc::Receiver<object_store::Result<(u64, Bytes)>>,
}

impl Opening {
    /// Asks for the first `first` bytes of an object, and so for its size.
    fn start(path: &Path, first: u64) -> Result<Self> {
        let (store, key) = stores::resolve(path)?;
        let (client, object) = (store.clone(), key.clone());
        let first = stores::start(async move {
            let range = GetOptions::new().with_range(Some(0..first));
            match client.get_opts(&object, range).await {
                Ok(found) => {
                    let size = found.meta.size;
                    Ok((size, found.bytes().await?))
                }
                Err(e @ object_store::Error::NotFound { .. }) => Err(e),
                // Of an empty object no range can be had. If something else is wrong this fails as well.
                Err(_) => Ok((client.head(&object).await?.size, Bytes::new())),
            }
        })?;
        Ok(Self { store, key, path: path.to_owned(), first })
    }

    /// The same for a file that is most often small enough to be fetched whole.
    pub(super) fn whole(path: &Path) -> Result<Self> {
        Self::start(path, 4 << 20)
    }

    /// Waits for it.
    pub(super) fn finish(self) -> Result<Object> {
        let Self { store, key, path, first } = self;
        let (size, bytes) = stores::receive(&first)?.map_err(|e| fault::error(&path, "open", &e))?;
        let held = (bytes.len() as u64 == size).then_some((0, bytes));
        Ok(Object { store, key, path: path.into(), size, held })
    }
}

impl Object {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Opening::start(path, FIRST)?.finish()
    }

    /// The same object with the end of it at hand.
    pub(super) fn with_tail(&self) -> Result<Self> {
        if self.held.is_some() {
            return Ok(self.clone());
        }
        let start = self.size.saturating_sub(TAIL);
        let tail = self.wait(&self.start(start..self.size)?)?;
        Ok(Self { held: Some((start, tail)), ..self.clone() })
    }

    /// Bytes that are at hand.
    pub(super) fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let (start, bytes) = self.held.as_ref()?;
        let (from, to) = (range.start.checked_sub(*start)?, range.end.checked_sub(*start)?);
        (to <= bytes.len() as u64).then(|| bytes.slice(from as usize..to as usize))
    }

    /// Bytes, from memory or by a request.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.held(&range) {
            return Ok(bytes);
        }
        self.start(range).and_then(|request| self.wait(&request)).map_err(io::Error::other)
    }

    /// Asks for a range.
    pub(super) fn start(&self, range: Range<u64>) -> Result<mpsc::Receiver<object_store::Result<Bytes>>> {
        let (store, key) = (self.store.clone(), self.key.clone());
        stores::start(async move { store.get_range(&key, range).await })
    }

    /// Waits for a range that was asked for.
    pub(super) fn wait(&self, request: &mpsc::Receiver<object_store::Result<Bytes>>) -> Result<Bytes> {
        stores::receive(request)?.map_err(|e| fault::error(&self.path, "read", &e))
    }
}
