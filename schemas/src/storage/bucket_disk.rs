//! A commit to a bucket.
//!
//! ```text
//!   create, write     a file of the machine's temporary folder
//!   lock              PUT episodes/.tmp-<part> if there is none: the claim, which says what is to be committed
//!   rename            PUT frames/<part>, PUT steps/<part>; large files in pieces of 8 MiB, a few at a time
//!   rename_new        PUT episodes/<part> if there is none      <- from here on the part exists
//!   unlock            DELETE the claim
//! ```
//!
//! A bucket has neither locks nor renames. Without the claim, of two writers with the same ids the slower could replace the
//! frames of a part that the quicker has committed. A killed writer's claim stays, and lets nobody commit other episodes under
//! that name until [`verify`](crate::verify()) has removed it; who commits the same episodes goes on, since every object will be the
//! same whoever writes it. For the same reason nothing that was published is ever taken back.
//!
//! The pieces of an upload that failed are dropped; those of a killed writer the server keeps, where no listing of objects shows
//! them, until the bucket's own rule for unfinished uploads ends them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{exists, fault, remove, stores, wait};
use crate::disk::{Disk, DiskFile, Lock};
use crate::error::{Error, Result};
use crate::part::TEMP_PREFIX;

/// Bytes of a piece of an upload; servers take no smaller ones than 5 MiB.
const PIECE: usize = 8 << 20;
/// Pieces on their way at a time.
const PIECES: usize = 3;

/// A bucket that is written to.
pub(crate) struct BucketDisk {
    /// Where files are until they are published.
    staging: PathBuf,
}

impl BucketDisk {
    pub(crate) fn new() -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let staging = std::env::temp_dir().join(format!("playhouse-upload-{}-{count}", std::process::id()));
        fs::create_dir_all(&staging).map_err(|e| Error::io(&staging, "create", e))?;
        Ok(Self { staging })
    }

    fn staged(&self, path: &Path) -> PathBuf {
        let name = |path: Option<&Path>| path.and_then(Path::file_name).unwrap_or_default().to_owned();
        let mut staged = name(path.parent());
        staged.push("-");
        staged.push(name(Some(path)));
        self.staging.join(staged)
    }

    fn publish(&self, from: &Path, to: &Path, mode: PutMode) -> io::Result<()> {
        let staged = self.staged(from);
        match upload(&staged, to, mode) {
            Ok(true) => fs::remove_file(staged),
            Ok(false) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) => Err(io::Error::other(e)),
        }
    }
}

impl Drop for BucketDisk {
    fn drop(&mut self) {
        // What cannot be removed from a temporary folder stays there.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

impl Disk for BucketDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(self.staged(path))?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.publish(from, to, PutMode::Overwrite)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.publish(from, to, PutMode::Create)
    }

    fn lock(&self, index: &Path, content: &str) -> io::Result<Lock> {
        claim(index, content).map(|claim| Box::new(claim) as Lock).map_err(io::Error::other)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        exists(path).map_err(io::Error::other)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Removes what was not published.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.staged(path))
    }
}

/// The right to commit one part, until it is dropped.
struct Claim(PathBuf);

impl Drop for Claim {
    fn drop(&mut self) {
        // `verify` names a claim that stays.
        let _ = remove(&self.0);
    }
}

fn claim(index: &Path, content: &str) -> Result<Claim> {
    let name = index.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let path = index.with_file_name(format!("{TEMP_PREFIX}{name}"));
    if put(&path, Bytes::from(content.to_owned()), PutMode::Create)? {
        return Ok(Claim(path));
    }
    let (store, key) = stores::resolve(&path)?;
    let found = wait(async move { store.get(&key).await?.bytes().await })?;
    match found {
        Ok(found) if found == content.as_bytes() => Ok(Claim(path)),
        Err(e) if !matches!(e, object_store::Error::NotFound { .. }) => Err(fault::error(&path, "read", &e)),
        _ => {
            let reason = "another writer is committing other episodes under this name, or was killed at it; if none is at \
                          work, remove its leftovers with `playhouse verify --repair` and run again";
            Err(Error::conflict(index, reason))
        }
    }
}

/// Puts a small object; false if there is one that must not be replaced.
fn put(path: &Path, bytes: Bytes, mode: PutMode) -> Result<bool> {
    let (store, key) = stores::resolve(path)?;
    let options = PutOptions { mode, ..PutOptions::default() };
    match wait(async move { store.put_opts(&key, bytes.into(), options).await })? {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(false),
        Err(e) => Err(fault::error(path, "write", &e)),
    }
}

/// Puts a file; false if there is an object that must not be replaced.
fn upload(from: &Path, to: &Path, mode: PutMode) -> Result<bool> {
    let fault = |e| Error::io(from, "read", e);
    let mut file = File::open(from).map_err(fault)?;
    let length = file.metadata().map_err(fault)?.len();
    // Only a whole object can be put on condition that there is none.
    if length <= PIECE as u64 || mode == PutMode::Create {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fault)?;
        return put(to, bytes.into(), mode);
    }
    let (store, key) = stores::resolve(to)?;
    let begun = wait(async move { store.put_multipart(&key).await })?;
    let mut upload = begun.map_err(|e| fault::error(to, "write", &e))?;
    let sent = pieces(&mut file, from, to, upload.as_mut());
    let target = to.to_owned();
    wait(async move {
        let whole = match sent {
            Ok(()) => upload.complete().await.map(drop).map_err(|e| fault::error(&target, "write", &e)),
            Err(e) => Err(e),
        };
        if whole.is_err() {
            // The server drops the pieces; where it does not, its own rules for unfinished uploads do.
            let _ = upload.abort().await;
        }
        whole.map(|()| true)
    })?
}

fn pieces(file: &mut File, from: &Path, to: &Path, upload: &mut dyn MultipartUpload) -> Result<()> {
    let mut coming = VecDeque::new();
    let finish = |piece: mpsc::Receiver<object_store::Result<()>>| {
        stores::receive(&piece)?.map_err(|e| fault::error(to, "write", &e))
    };
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        file.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(|e| Error::io(from, "read", e))?;
        if piece.is_empty() {
            return coming.into_iter().try_for_each(finish);
        }
        coming.push_back(stores::start(upload.put_part(piece.into()))?);
        if coming.len() == PIECES {
            coming.pop_front().map_or(Ok(()), finish)?;
        }
    }
}
