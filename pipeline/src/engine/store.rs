//! The home folder: where outputs lie, how a finished one is known, and who may write.
//!
//! ```text
//! .playhouse/
//!   lock                                     held while a run writes; the system releases it when a process dies
//!   .tmp-removed-*                           outputs on their way out; the next holder of the lock finishes it
//!   runs/<time>-<pid>/{runs,run_stages}.parquet
//!   <pipeline>/<stage>/<fingerprint>/        one output; immutable once stage.json is there
//!     data/ table.parquet *.parquet model.safetensors report.html ...
//!     stage.json                             written last, atomically: without it, the output is unfinished
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::clock;
use super::error::{Error, Result};

/// The finished marker of an output, and all that is known about how it came to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Layout of this file.
    pub format: u32,
    /// Pipeline.
    pub pipeline: String,
    /// Stage.
    pub stage: String,
    /// Kind of the stage.
    pub kind: String,
    /// Version of the kind's implementation.
    pub kind_version: u32,
    /// 16 hexadecimal digits, also the folder's name.
    pub fingerprint: String,
    /// Seed the stage ran with.
    pub seed: u64,
    /// Settings, parameters substituted.
    pub settings: toml::Table,
    /// SQL text of a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Values bound in the SQL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bound: BTreeMap<String, String>,
    /// Inputs: stage to fingerprint.
    pub inputs: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// RFC 3339, UTC.
    pub finished_at: String,
    /// Wall time of the attempt that finished.
    pub seconds: f64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Main figures.
    pub figures: BTreeMap<String, f64>,
    /// Every file of the output, relative, with its size.
    pub files: BTreeMap<String, u64>,
    /// BLAKE3 of each of them, in hex.
    pub hashes: BTreeMap<String, String>,
    /// Hash of the expectations that were looked at last.
    pub expectations: String,
    /// The expectations that did not hold, with the rows they returned.
    pub violations: Vec<String>,
    /// Product version.
    pub version: String,
}

/// The layout this version writes.
pub const FORMAT: u32 = 2;
const MARKER: &str = "stage.json";
const TEMPORARY: &str = ".tmp-";
const REMOVED: &str = ".tmp-removed-";

/// What a stage's folder holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing: it never began.
    Nothing,
    /// Work that was cut off.
    Unfinished,
    /// A marker that does not describe what lies beside it, and why.
    Damaged(String),
    /// A whole output.
    Finished(Box<StageRecord>),
}

/// The folder under which everything that runs write lies.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// A home that may not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a stage's output lies, or would.
    pub fn stage_dir(&self, pipeline: &str, stage: &str, fingerprint: &str) -> PathBuf {
        self.root.join(pipeline).join(stage).join(fingerprint)
    }

    /// What lies in a stage's folder. A marker that cannot be read, or is of an older layout or another fingerprint, is
    /// damage: the stage runs again in its place.
    ///
    /// # Errors
    /// [`Error::Newer`] for a marker of a newer layout. Its output may be whole, so it is not ours to replace.
    pub fn content(&self, dir: &Path) -> Result<Content> {
        /// The one part of a record that no layout moves.
        #[derive(Deserialize)]
        struct Layout {
            format: u32,
        }
        let Ok(text) = std::fs::read(dir.join(MARKER)) else {
            let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
            return Ok(if empty { Content::Nothing } else { Content::Unfinished });
        };
        if let Some(format) = serde_json::from_slice(&text).ok().map(|Layout { format }| format).filter(|f| *f > FORMAT)
        {
            return Err(Error::Newer { path: dir.to_owned(), format });
        }
        let record: StageRecord = match serde_json::from_slice(&text) {
            Ok(record) => record,
            Err(e) => return Ok(Content::Damaged(format!("{MARKER} cannot be read: {e}"))),
        };
        if record.format != FORMAT || dir.file_name().is_none_or(|name| name != record.fingerprint.as_str()) {
            return Ok(Content::Damaged(format!("{MARKER} belongs to another output or version")));
        }
        let written = |path: &Path| std::fs::metadata(path).and_then(|about| Ok((about.len(), about.modified()?)));
        let marked = written(&dir.join(MARKER)).map(|(_, time)| time);
        for (file, bytes) in &record.files {
            let path = dir.join(file);
            match (written(&path), &marked) {
                (Err(e), _) => return Ok(Content::Damaged(format!("{file}: {e}"))),
                (Ok((found, _)), _) if found != *bytes => {
                    return Ok(Content::Damaged(format!("{file} has {found} bytes instead of {bytes}")));
                }
                // What is older than the marker is what the marker describes; only what is not is read. Times are coarse:
                // a file of the marker's own instant may have come after it.
                (Ok((_, time)), Ok(marked)) if time < *marked => {}
                _ if hash(&path).ok().as_ref() == record.hashes.get(file) => {}
                _ => return Ok(Content::Damaged(format!("{file} was changed since it was made"))),
            }
        }
        Ok(Content::Finished(Box::new(record)))
    }

    /// Writes the finished marker: complete, or not at all.
    pub fn finish(&self, dir: &Path, record: &StageRecord) -> Result<()> {
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        write_atomically(&dir.join(MARKER), &text)
    }

    /// Every finished output of every pipeline that this version can read, newest last.
    pub fn outputs(&self) -> Vec<(PathBuf, StageRecord)> {
        let mut found = Vec::new();
        for pipeline in folders(&self.root) {
            for stage in folders(&pipeline) {
                found.extend(self.outputs_in(&stage));
            }
        }
        found.sort_by(|a, b| a.1.finished_at.cmp(&b.1.finished_at));
        found
    }

    /// The finished outputs of one stage of one pipeline, newest last.
    pub fn outputs_of(&self, pipeline: &str, stage: &str) -> Vec<(PathBuf, StageRecord)> {
        let mut found = self.outputs_in(&self.root.join(pipeline).join(stage));
        found.sort_by(|a, b| a.1.finished_at.cmp(&b.1.finished_at));
        found
    }

    fn outputs_in(&self, stage: &Path) -> Vec<(PathBuf, StageRecord)> {
        let finished = |dir: PathBuf| match self.content(&dir) {
            Ok(Content::Finished(record)) => Some((dir, *record)),
            _ => None,
        };
        folders(stage).into_iter().filter_map(finished).collect()
    }

    /// Takes the home for this process, or says who has it. `what` describes this process to the others. What a killed
    /// holder was about to remove is removed.
    pub fn lock(&self, what: &str) -> Result<Lock> {
        let path = self.root.join("lock");
        let io = |action, help| {
            let path = path.clone();
            move |reason| Error::Io { action, path, reason, help }
        };
        std::fs::create_dir_all(&self.root).map_err(|reason| Error::Io {
            action: "create the home folder",
            path: self.root.clone(),
            reason,
            help: "run in a folder you may write to, or name one with --home",
        })?;
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io("open the lock", "run in a folder you may write to, or name one with --home"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // A holder that is just writing its line leaves an empty one; that it holds the lock is what counts.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "unnamed".to_owned() } else { holder.trim().to_owned() };
                return Err(Error::Locked { home: self.root.clone(), holder });
            }
            Err(TryLockError::Error(e)) => {
                return Err(io("lock", "this file system has no locks: name a home on a local disk with --home")(e));
            }
        }
        let line = format!("process {}, `{what}`, since {}\n", std::process::id(), clock::rfc3339(clock::now_us()));
        let help = "make room on the disk, or name another home with --home";
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(line.as_bytes()))
            .map_err(io("write the lock", help))?;
        for left in entries(&self.root).filter(|path| name_of(path).starts_with(REMOVED)) {
            delete(&left)?;
        }
        Ok(Lock { home: self.clone(), _file: file })
    }
}

/// Holds a home until dropped. The system lets go of a dead process's lock by itself.
#[derive(Debug)]
pub struct Lock {
    home: Home,
    _file: File,
}

impl Lock {
    /// The home that is held.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Removes an output. It leaves its place whole: a removal that is killed half-way must not look like work to resume.
    pub fn remove(&self, dir: &Path) -> Result<()> {
        delete(&self.set_aside(dir)?)
    }

    /// Removes what a killed process left half written below an output's folder, under temporary names.
    pub fn sweep(&self, dir: &Path) -> Result<()> {
        for entry in std::fs::read_dir(dir).map_err(removing(dir))? {
            let entry = entry.map_err(removing(dir))?;
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.sweep(&path)?;
            } else if name_of(&path).starts_with(TEMPORARY) {
                std::fs::remove_file(&path).map_err(removing(&path))?;
            }
        }
        Ok(())
    }

    fn set_aside(&self, dir: &Path) -> Result<PathBuf> {
        let aside = self.home.root.join(format!("{REMOVED}{}-{}", std::process::id(), clock::now_us()));
        std::fs::rename(dir, &aside).map_err(removing(dir))?;
        Ok(aside)
    }
}

fn delete(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir).map_err(removing(dir))
}

fn removing(dir: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = dir.to_owned();
    let help = "check who may write there";
    move |reason| Error::Io { action: "remove", path, reason, help }
}

/// The hash of each of a folder's files.
pub fn hashes(dir: &Path, files: &BTreeMap<String, u64>) -> std::io::Result<BTreeMap<String, String>> {
    files.keys().map(|file| Ok((file.clone(), hash(&dir.join(file))?))).collect()
}

/// BLAKE3 of a file's content, in hex.
pub fn hash(path: &Path) -> std::io::Result<String> {
    Ok(blake3::Hasher::new().update_reader(File::open(path)?)?.finalize().to_hex().to_string())
}

/// Every file below a folder with its size, but the marker and temporary ones.
pub fn files(dir: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    fn walk(dir: &Path, prefix: &str, out: &mut BTreeMap<String, u64>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(TEMPORARY) || (prefix.is_empty() && name == MARKER) {
                continue;
            }
            let about = entry.metadata()?;
            let path = format!("{prefix}{name}");
            match about.is_dir() {
                true => walk(&entry.path(), &format!("{path}/"), out)?,
                false => {
                    out.insert(path, about.len());
                }
            }
        }
        Ok(())
    }
    let mut out = BTreeMap::new();
    walk(dir, "", &mut out)?;
    Ok(out)
}

/// Writes a file by a temporary name, so that it is seen whole or not at all, even after a power cut.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = name_of(path);
    let temporary = path.with_file_name(format!("{TEMPORARY}{name}"));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // A bare file name has the empty path for a parent.
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|reason| {
        // Best effort: half a file would keep room that is missing.
        let _ = std::fs::remove_file(&temporary);
        Error::Io {
            action: "write",
            path: path.to_owned(),
            reason,
            help: "make room on the disk, or check who may write there",
        }
    })
}

/// The folders in a folder, sorted, but temporary ones; none if it cannot be read.
pub fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = entries(dir).filter(|path| !name_of(path).starts_with(TEMPORARY)).collect();
    found.sort();
    found
}

/// The folders in a folder, not through links.
fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok());
    entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).map(|entry| entry.path())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(fingerprint: &str) -> StageRecord {
        StageRecord {
            format: FORMAT,
            pipeline: "p".into(),
            stage: "s".into(),
            kind: "record".into(),
            kind_version: 1,
            fingerprint: fingerprint.into(),
            seed: 1,
            settings: toml::Table::new(),
            sql: None,
            bound: BTreeMap::new(),
            inputs: BTreeMap::new(),
            started_at: clock::rfc3339(0),
            finished_at: clock::rfc3339(1),
            seconds: 0.5,
            rows: BTreeMap::new(),
            figures: BTreeMap::from([("loss".into(), 1.25)]),
            files: BTreeMap::new(),
            hashes: BTreeMap::new(),
            expectations: String::new(),
            violations: vec![],
            version: "0".into(),
        }
    }

    #[test]
    fn an_output_is_finished_only_with_a_marker_and_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let dir = home.stage_dir("p", "s", "0123");
        let content = || home.content(&dir).unwrap();
        assert_eq!(content(), Content::Nothing);
        std::fs::create_dir_all(dir.join("data")).unwrap();
        std::fs::write(dir.join("data/a.parquet"), b"12345").unwrap();
        assert_eq!(content(), Content::Unfinished);
        let mut done = record("0123");
        done.files = files(&dir).unwrap();
        done.hashes = hashes(&dir, &done.files).unwrap();
        home.finish(&dir, &done).unwrap();
        assert_eq!(content(), Content::Finished(Box::new(done.clone())));
        assert_eq!(home.outputs(), [(dir.clone(), done)]);
        // As many bytes, but others; and the same ones again, written later.
        std::fs::write(dir.join("data/a.parquet"), b"12354").unwrap();
        assert_eq!(
            home.content(&dir).unwrap(),
            Content::Damaged("data/a.parquet was changed since it was made".into())
        );
        std::fs::write(dir.join("data/a.parquet"), b"12345").unwrap();
        assert!(matches!(home.content(&dir).unwrap(), Content::Finished(_)));
        std::fs::write(dir.join("data/a.parquet"), b"123").unwrap();
        assert_eq!(content(), Content::Damaged("data/a.parquet has 3 bytes instead of 5".into()));
        std::fs::write(dir.join(MARKER), b"{\"format\"").unwrap();
        assert!(matches!(content(), Content::Damaged(_)));
        std::fs::write(dir.join(MARKER), b"{\"format\": 0}").unwrap();
        assert!(matches!(content(), Content::Damaged(_)));
    }

    #[test]
    fn what_a_newer_version_made_is_neither_used_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let dir = home.stage_dir("p", "s", "0123");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(MARKER), format!("{{\"format\": {}, \"shape\": \"unheard of\"}}", FORMAT + 1)).unwrap();
        let message = home.content(&dir).unwrap_err().to_string();
        assert!(message.contains("made by a newer playhouse") && message.contains("0123"), "{message}");
        assert_eq!(home.outputs(), []);
    }

    #[test]
    fn a_removal_that_was_killed_leaves_nothing_to_resume() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let dir = home.stage_dir("p", "s", "0123");
        std::fs::create_dir_all(dir.join("data")).unwrap();
        std::fs::write(dir.join("checkpoint"), b"half").unwrap();
        home.finish(&dir, &record("0123")).unwrap();
        let lock = home.lock("run").unwrap();
        let aside = lock.set_aside(&dir).unwrap();
        // Here the process is killed, with some of the files gone.
        std::fs::remove_file(aside.join(MARKER)).unwrap();
        drop(lock);
        assert_eq!(home.content(&dir).unwrap(), Content::Nothing);
        assert!(aside.starts_with(home.root()) && aside.join("checkpoint").exists());
        assert_eq!(folders(home.root()), [folder.path().join("p")]);
        let lock = home.lock("run").unwrap();
        assert!(!aside.exists());
        std::fs::create_dir_all(&dir).unwrap();
        lock.remove(&dir).unwrap();
        assert!(!dir.exists() && lock.remove(&dir).unwrap_err().to_string().contains("cannot remove"));
        assert_eq!(entries(home.root()).count(), 1);
    }

    #[test]
    fn what_was_half_written_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let dir = home.stage_dir("p", "s", "0123");
        std::fs::create_dir_all(dir.join("data/frames")).unwrap();
        for file in ["checkpoint", ".tmp-checkpoint", "data/frames/part-0.parquet", "data/frames/.tmp-part-1-4711-0"] {
            std::fs::write(dir.join(file), b"half").unwrap();
        }
        home.lock("run").unwrap().sweep(&dir).unwrap();
        assert!(dir.join("checkpoint").exists() && dir.join("data/frames/part-0.parquet").exists());
        assert!(!dir.join(".tmp-checkpoint").exists() && !dir.join("data/frames/.tmp-part-1-4711-0").exists());
    }

    #[test]
    fn one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("h"));
        let lock = home.lock("run a").unwrap();
        let message = home.lock("run b").unwrap_err().to_string();
        assert!(message.contains(&format!("process {}, `run a`", std::process::id())), "{message}");
        drop(lock);
        home.lock("run b").unwrap();
    }
}
