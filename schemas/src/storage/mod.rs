//! Where files are: on this machine, or in a bucket of an S3 server. Everything above reads and lists through here and does
//! not know which.
//!
//! ```text
//!   a path            play/steps/part-000000000000.parquet     s3://bucket/play/steps/part-000000000000.parquet
//!   Location          Local                                    S3 { bucket, key }
//!   Source            pread of a file                          Object: ranged GETs
//!     .expecting()    nothing to do                            Ahead: what will be read, in few large GETs, before it is asked for
//! ```
//!
//! A file of a dataset is named by a [`Path`], which for an object is its URL: joining, file names and errors are the same
//! for both. Requests run on threads of their own, so that a caller may block in any thread, an async runtime's too.

mod ahead;
mod bucket_disk;
mod fault;
mod location;
mod object;
mod source;
mod stores;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::file::reader::Length;

pub(crate) use bucket_disk::BucketDisk;
pub use fault::{explain, fault_in};
pub use location::Location;
pub use source::Source;
pub(crate) use source::{Counters, Handles, open_each};
pub(crate) use stores::wait;
pub use stores::{Bucket, bucket_of, use_store};

use crate::error::{Error, Result};

/// The names of what lies in a folder, sorted; none if there is no such folder, or no object under such a prefix. Folders
/// within it are listed on this machine, and not in a bucket.
pub(crate) fn names(folder: &Path) -> Result<Option<Vec<String>>> {
    let mut names = match Location::of(folder)? {
        Location::Local(path) => match local_names(&path)? {
            Some(names) => names,
            None => return Ok(None),
        },
        Location::S3 { .. } => {
            let objects = objects(folder)?;
            if objects.is_empty() {
                return Ok(None);
            }
            objects.iter().filter_map(|object| object.location.filename().map(str::to_owned)).collect()
        }
    };
    names.sort();
    Ok(Some(names))
}

fn local_names(folder: &Path) -> Result<Option<Vec<String>>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(folder, "read", e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io(folder, "read", e))?;
        // No file of ours has a name that is not Unicode.
        names.extend(entry.file_name().to_str().map(str::to_owned));
    }
    Ok(Some(names))
}

/// The objects right under a prefix, by one request a thousand.
fn objects(folder: &Path) -> Result<Vec<ObjectMeta>> {
    let (bucket, key) = stores::resolve(folder)?;
    let listed = wait(async move { bucket.list_with_delimiter(Some(&key)).await })?;
    Ok(listed.map_err(|e| fault::error(folder, "list", &e))?.objects)
}

/// The folders right in a folder, sorted; none where there is no such folder.
///
/// # Errors
/// [`Error::Io`] and [`Error::Store`] when it cannot be listed.
pub fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = match Location::of(root)? {
        Location::Local(local) => {
            let names = local_names(&local)?.unwrap_or_default();
            names.iter().map(|name| root.join(name)).filter(|path| path.is_dir()).collect()
        }
        Location::S3 { .. } => {
            let (bucket, key) = stores::resolve(root)?;
            let listed = wait(async move { bucket.list_with_delimiter(Some(&key)).await })?;
            let listed = listed.map_err(|e| fault::error(root, "list", &e))?;
            listed.common_prefixes.iter().filter_map(|prefix| Some(root.join(prefix.filename()?))).collect()
        }
    };
    found.sort();
    Ok(found)
}

/// The Parquet files of a folder, sorted, those being written left out; none where there is no such folder.
///
/// # Errors
/// [`Error::Io`] and [`Error::Store`] when it cannot be listed.
pub fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let names = names(folder)?.unwrap_or_default();
    let files = names.iter().filter(|name| name.ends_with(".parquet") && !name.starts_with('.'));
    let files = files.map(|name| folder.join(name));
    Ok(match is_local(folder) {
        true => files.filter(|path| path.is_file()).collect(),
        false => files.collect(),
    })
}

/// Size and age of each of some files of one folder, in their order, as object stores tell them: the location is the
/// absolute path, or the object's key.
///
/// # Errors
/// A file that is not there, [`Error::Io`] and [`Error::Store`].
pub fn describe(files: &[PathBuf]) -> Result<Vec<ObjectMeta>> {
    let Some(folder) = files.first().and_then(|file| file.parent()) else { return Ok(Vec::new()) };
    let found: HashMap<String, ObjectMeta> = match is_local(folder) {
        true => HashMap::new(),
        false => {
            let named = |object: ObjectMeta| Some((object.location.filename()?.to_owned(), object));
            objects(folder)?.into_iter().filter_map(named).collect()
        }
    };
    let describe = |file: &PathBuf| match is_local(file) {
        true => local_meta(file),
        false => {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let missing = || Error::io(file, "open", io::Error::new(io::ErrorKind::NotFound, "no such object"));
            found.get(name).cloned().ok_or_else(missing)
        }
    };
    files.iter().map(describe).collect()
}

fn local_meta(path: &Path) -> Result<ObjectMeta> {
    let absolute = match Location::of(path)? {
        Location::Local(local) => absolute(&local).map_err(|e| Error::io(path, "open", e))?,
        Location::S3 { .. } => return Err(Error::Internal(format!("{} is no file", path.display()))),
    };
    let file = fs::metadata(&absolute).map_err(|e| Error::io(path, "open", e))?;
    let modified = file.modified().map_err(|e| Error::io(path, "read", e))?;
    let location = object_store::path::Path::from_absolute_path(&absolute)
        .map_err(|e| Error::invalid(path.display().to_string(), format!("{e}; rename it")))?;
    Ok(ObjectMeta { location, last_modified: modified.into(), size: file.len(), e_tag: None, version: None })
}

/// The same file or folder by an absolute path without `..`, which object stores refuse in a name.
///
/// Only the file system knows where `..` behind a symbolic link leads, so the folders before the last name are resolved then.
/// Without `..` links stay what they are: another machine of a cluster may have them lead elsewhere.
///
/// # Errors
/// The working folder is gone, or there is no such folder.
pub fn absolute(path: &Path) -> io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    if !whole.components().any(|component| component == Component::ParentDir) {
        return Ok(whole);
    }
    match (whole.parent(), whole.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.canonicalize()?.join(name)),
        _ => whole.canonicalize(),
    }
}

/// The contents of some files, one after the other.
pub fn read_each(files: &[PathBuf]) -> impl Iterator<Item = Result<Bytes>> + use<> {
    open_each(files.to_vec()).map(|(path, source)| {
        let source = source?;
        source.read(0, source.len() as usize, 1).map_err(|e| Error::io(&path, "read", e))
    })
}

/// The first of some files of one folder that is not there.
pub(crate) fn first_missing<'a>(folder: &Path, files: &'a [PathBuf]) -> Result<Option<(usize, &'a Path)>> {
    let there = match is_local(folder) {
        true => None,
        false => Some(names(folder)?.unwrap_or_default()),
    };
    let is_there = |file: &Path| match &there {
        None => file.is_file(),
        Some(names) => {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            names.binary_search_by(|other| other.as_str().cmp(name)).is_ok()
        }
    };
    Ok(files.iter().map(PathBuf::as_path).enumerate().find(|(_, file)| !is_there(file)))
}

/// Whether there is such a file.
pub(crate) fn exists(path: &Path) -> Result<bool> {
    if is_local(path) {
        return Ok(path.exists());
    }
    let (bucket, key) = stores::resolve(path)?;
    match wait(async move { bucket.head(&key).await })? {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(fault::error(path, "look for it", &e)),
    }
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> Result<()> {
    if is_local(path) {
        return fs::remove_file(path).map_err(|e| Error::io(path, "remove", e));
    }
    let (bucket, key) = stores::resolve(path)?;
    wait(async move { bucket.delete(&key).await })?.map_err(|e| fault::error(path, "remove", &e))
}

/// Whether a path names something on this machine.
pub fn is_local(path: &Path) -> bool {
    !location::has_scheme(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_as_the_file_system_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("far/away")).unwrap();
        fs::create_dir(root.join("near")).unwrap();
        for file in ["far/x", "near/x"] {
            fs::write(root.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink(root.join("far/away"), root.join("near/link")).unwrap();
        std::os::unix::fs::symlink(root.join("far/x"), root.join("near/y")).unwrap();
        for (path, whole) in [
            ("near/x", "near/x"),
            ("far/../near/x", "near/x"),
            ("near/link/../x", "far/x"),
            ("far/away/..", "far"),
            // The names of files tell their parts: links of files stay, and those of folders where they can.
            ("far/../near/y", "near/y"),
            ("near/link/x", "near/link/x"),
        ] {
            assert_eq!(absolute(&root.join(path)).unwrap(), root.join(whole), "{path}");
        }
        let meta = local_meta(&root.join("near/link/../x")).unwrap();
        assert_eq!(format!("/{}", meta.location), root.join("far/x").display().to_string());
        assert!(absolute(&root.join("none/../near/x")).is_err());
    }
}
