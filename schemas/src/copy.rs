//! Copying a dataset, between folders and buckets.
//!
//! Part after part in the order of a commit: frames, steps, then episodes. So at any instant the copy is a dataset with the first
//! parts of the other, and a copy that was stopped or killed goes on where it was.

use std::io::Write;
use std::path::{Path, PathBuf};

use parquet::file::reader::Length;

use crate::dataset::Dataset;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::part;
use crate::storage::{self, Source, describe, read_each};
use crate::table::Table;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Parts copied.
    pub parts: u64,
    /// Parts that were there already.
    pub skipped: u64,
    /// Bytes copied.
    pub bytes: u64,
}

/// A file and its size.
struct Sized {
    path: PathBuf,
    bytes: u64,
}

/// Copies the dataset at `from` to `to`: a folder or a bucket's prefix that is empty, or holds the first parts of the same
/// dataset. Sidecars come along, before the parts. `go_on` is told bytes done and bytes in all, now and then; false ends the copy.
///
/// # Errors
/// Those of [`Dataset::open`] for `from`; [`Error::Conflict`] when `to` holds other gameplay; [`Error::Stopped`]; and what disks and
/// servers may fail with. Parts copied before an error stay.
pub fn copy(from: &Path, to: &Path, go_on: &dyn Fn(u64, u64) -> bool) -> Result<Copied> {
    let source = Dataset::open(from)?;
    let target = Dataset::create(to, source.spec())?;
    let disk = target.disk()?;
    let parts = parts(&source)?;
    let sidecars = sidecars(from)?;
    let total = parts.iter().flat_map(|(_, files)| files).chain(&sidecars).map(|file| file.bytes).sum();
    let mut copy = Copy { to, disk: disk.as_ref(), go_on, done: 0, total, copied: Copied::default() };
    for file in &sidecars {
        copy.sidecar(file)?;
    }
    for (name, files) in &parts {
        copy.part(name, files)?;
    }
    Ok(copy.copied)
}

/// The files of each part, in the order in which they are committed.
fn parts(dataset: &Dataset) -> Result<Vec<(String, Vec<Sized>)>> {
    let mut tables = dataset.files()?;
    tables.sort_by_key(|(table, _)| Table::COMMIT_ORDER.iter().position(|other| other == table));
    let mut parts: Vec<(String, Vec<Sized>)> = Vec::new();
    for (_, files) in &tables {
        for (number, file) in sized(files)?.into_iter().enumerate() {
            if parts.len() <= number {
                let name = file.path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
                parts.push((name.to_owned(), Vec::new()));
            }
            parts[number].1.push(file);
        }
    }
    Ok(parts)
}

/// The Parquet files of every other folder.
fn sidecars(root: &Path) -> Result<Vec<Sized>> {
    let mut found = Vec::new();
    for folder in storage::folders(root)? {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !name.starts_with('.') && !Table::COMMIT_ORDER.iter().any(|table| table.name() == name) {
            found.extend(sized(&storage::parquet_files(&folder)?)?);
        }
    }
    Ok(found)
}

fn sized(files: &[PathBuf]) -> Result<Vec<Sized>> {
    let sizes = describe(files)?;
    Ok(files.iter().zip(sizes).map(|(path, found)| Sized { path: path.clone(), bytes: found.size }).collect())
}

/// Whether two files hold the same bytes.
fn same(one: &Path, other: &Path) -> Result<bool> {
    let (a, b) = (Source::at(one)?, Source::at(other)?);
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.pieces().zip(b.pieces()) {
        if a.map_err(|e| Error::io(one, "read", e))? != b.map_err(|e| Error::io(other, "read", e))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A copy under way.
struct Copy<'a> {
    to: &'a Path,
    disk: &'a dyn Disk,
    go_on: &'a dyn Fn(u64, u64) -> bool,
    done: u64,
    total: u64,
    copied: Copied,
}

impl Copy<'_> {
    fn part(&mut self, name: &str, files: &[Sized]) -> Result<()> {
        let index = part::file(self.to, Table::Episodes, name);
        let Some(episodes) = files.last() else { return Ok(()) };
        if self.is_there(episodes, &index)? {
            self.copied.skipped += 1;
            return self.tell(files.iter().map(|file| file.bytes).sum());
        }
        let temp = part::temp_name(name);
        let result = self.fetch(files, &temp).and_then(|()| self.publish(files, &temp, &index));
        if result.is_err() {
            for file in files {
                // Gone where it was published; else the error is what is told.
                let _ = self.disk.remove(&self.place(file, &temp));
            }
        }
        self.copied.parts += u64::from(result.is_ok());
        result
    }

    /// Whether the part is there; one of the same name with other episodes is in the way.
    fn is_there(&self, episodes: &Sized, index: &Path) -> Result<bool> {
        if !storage::exists(index)? {
            return Ok(false);
        }
        let mut both = read_each(&[episodes.path.clone(), index.to_owned()]);
        if both.next().transpose()? == both.next().transpose()? {
            return Ok(true);
        }
        Err(Error::conflict(index, "it holds other episodes than the part to be copied; copy to another place"))
    }

    /// A file's place under `name` in the copy.
    fn place(&self, file: &Sized, name: &str) -> PathBuf {
        let folder = file.path.parent().and_then(Path::file_name).unwrap_or_default();
        self.to.join(folder).join(name)
    }

    fn fetch(&mut self, files: &[Sized], temp: &str) -> Result<()> {
        files.iter().try_for_each(|file| self.fetch_to(file, &self.place(file, temp)))
    }

    fn fetch_to(&mut self, file: &Sized, place: &Path) -> Result<()> {
        let mut writer = self.disk.create(place).map_err(|e| Error::io(place, "create", e))?;
        for piece in Source::at(&file.path)?.pieces() {
            let piece = piece.map_err(|e| Error::io(&file.path, "read", e))?;
            writer.write_all(&piece).map_err(|e| Error::io(place, "write", e))?;
            self.copied.bytes += piece.len() as u64;
            self.tell(piece.len() as u64)?;
        }
        writer.sync().map_err(|e| Error::io(place, "flush", e))
    }

    fn publish(&self, files: &[Sized], temp: &str, index: &Path) -> Result<()> {
        let content = match files.last().map(|file| read_each(std::slice::from_ref(&file.path)).next()) {
            Some(Some(bytes)) => blake3::hash(&bytes?).to_string(),
            _ => String::new(),
        };
        let _lock = self.disk.lock(index, &content).map_err(|e| Error::io(index, "lock", e))?;
        if self.disk.exists(index).map_err(|e| Error::io(index, "look for it", e))? {
            return Err(Error::conflict(index, "another writer committed this part meanwhile; run again"));
        }
        for file in files {
            let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let (from, target) = (self.place(file, temp), self.place(file, name));
            let renamed =
                if target == index { self.disk.rename_new(&from, &target) } else { self.disk.rename(&from, &target) };
            renamed.map_err(|e| Error::io(&target, "rename into place", e))?;
            let folder = target.parent().unwrap_or(self.to);
            self.disk.sync_folder(folder).map_err(|e| Error::io(folder, "flush", e))?;
        }
        Ok(())
    }

    /// Copies a file that is no part, unless it is there: sidecars are written again, and the new one may be of the same size.
    fn sidecar(&mut self, file: &Sized) -> Result<()> {
        let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let target = self.place(file, name);
        if storage::exists(&target)? && same(&file.path, &target)? {
            return self.tell(file.bytes);
        }
        let folder = target.parent().unwrap_or(self.to);
        if storage::is_local(folder) {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        }
        let temp = self.place(file, &part::temp_name(name));
        let publish = || self.disk.rename(&temp, &target).and_then(|()| self.disk.sync_folder(folder));
        let fetched = self.fetch_to(file, &temp);
        let result = fetched.and_then(|()| publish().map_err(|e| Error::io(&target, "rename into place", e)));
        if result.is_err() {
            // Gone where it was published; else the error is what is told.
            let _ = self.disk.remove(&temp);
        }
        result
    }

    fn tell(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if (self.go_on)(self.done, self.total) { Ok(()) } else { Err(Error::Stopped) }
    }
}
