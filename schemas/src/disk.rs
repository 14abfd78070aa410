//! The file operations of a commit, behind a trait so that tests can crash after each of them, and so that a bucket can be
//! written as a folder is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Keeps other writers waiting or away until it is dropped.
pub(crate) type Lock = Box<dyn Send>;

/// A file being written.
pub(crate) trait DiskFile: Write + Send {
    /// Waits until everything written is on the medium.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operations that a commit is made of.
pub(crate) trait Disk: Send {
    /// Makes an empty file, replacing one that is there. The old one is not emptied: a writer that still holds it open
    /// must not write into the new one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Moves a file within its folder, replacing one that is there, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The same for a name that is not taken: [`io::ErrorKind::AlreadyExists`] if it is. A crash may leave both names.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Waits until no other writer commits to the folder of `index`, a part's file of episodes, and keeps them waiting until
    /// the lock is dropped, by a crash too. Without an effect on file systems that have no locks. In a bucket nobody waits:
    /// the part is claimed for `content`, a text that is the same only for the same episodes.
    fn lock(&self, index: &Path, content: &str) -> io::Result<Lock>;
    /// Whether there is such a file.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Waits until a folder's entries are on the medium.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The machine's file system.
pub(crate) struct LocalDisk;

impl DiskFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(Box::new(File::create_new(path)?)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::hard_link(from, to) {
            Ok(()) => {
                // The file is in place; an old name that stays is invisible, and `verify` names it.
                let _ = fs::remove_file(from);
                Ok(())
            }
            // No hard links on this file system: the folder's lock alone keeps two writers apart.
            Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
                fs::rename(from, to)
            }
            Err(e) => Err(e),
        }
    }

    fn lock(&self, index: &Path, _: &str) -> io::Result<Lock> {
        let folder = File::open(index.parent().unwrap_or(index))?;
        // NFS refuses to lock a folder; `rename_new` is then what is left.
        let _ = folder.lock();
        Ok(Box::new(folder))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(path.exists())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
