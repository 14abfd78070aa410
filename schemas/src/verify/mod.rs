//! Checking a dataset: is what is on disk what a writer would have left there?
//!
//! A finding has a stable code (`PH001`, ...), the file, and a message that names the row and the fix. Only what no
//! reader can see is ever removed: temporary files and orphans. Damaged data is named and left for a person to decide.

mod part_check;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::parquet_file::ParquetFile;
use crate::part::{self, Folder};
use crate::spec::DatasetSpec;
use crate::storage;
use crate::table::Table;

/// What kind of fault a [`Problem`] is. The numbers are stable: scripts may rely on them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// PH001: a temporary file, left by a crash or belonging to a writer at work. Removed by repair.
    Temporary,
    /// PH002: steps or frames of a part that was never committed, or frames of one without. Removed by repair.
    Orphan,
    /// PH003: a truncated or damaged file.
    Damaged,
    /// PH004: Parquet that this format did not write, or with other columns.
    Foreign,
    /// PH005: a file of another format version.
    Version,
    /// PH006: a file whose action space or frame spec differs from the dataset's.
    Spec,
    /// PH007: the steps or frames of a committed part are not there.
    MissingFile,
    /// PH008: an episode id that occurs twice.
    DuplicateEpisode,
    /// PH009: an episode's steps are not exactly t = 0, 1, .. num_steps - 1.
    Steps,
    /// PH010: an episode's frames are not exactly t = 0, 1, .. num_steps - 1.
    Frames,
    /// PH011: steps or frames of an episode that the part does not hold.
    UnknownEpisode,
    /// PH012: a bucket that its component does not have.
    Bucket,
    /// PH013: an image that cannot be decoded, or has another size.
    Image,
    /// PH014: a number that is not finite or cannot be (a rate of 0), or an end flag before an episode's last step.
    Value,
    /// PH015: actions that do not have the hash that was computed when they were written.
    ActionHash,
    /// PH016: a value of the column `buttons` that is not what the buttons' own columns say.
    Buttons,
}

impl Code {
    /// `PH001` and so on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temporary => "PH001",
            Self::Orphan => "PH002",
            Self::Damaged => "PH003",
            Self::Foreign => "PH004",
            Self::Version => "PH005",
            Self::Spec => "PH006",
            Self::MissingFile => "PH007",
            Self::DuplicateEpisode => "PH008",
            Self::Steps => "PH009",
            Self::Frames => "PH010",
            Self::UnknownEpisode => "PH011",
            Self::Bucket => "PH012",
            Self::Image => "PH013",
            Self::Value => "PH014",
            Self::ActionHash => "PH015",
            Self::Buttons => "PH016",
        }
    }

    /// True for what repair removes.
    pub fn repairable(self) -> bool {
        matches!(self, Self::Temporary | Self::Orphan)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The kind of fault.
    pub code: Code,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, at which row, and what to do.
    pub message: String,
    /// True once the file has been removed.
    pub repaired: bool,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Parts committed.
    pub parts: u64,
    /// Episodes that could be read.
    pub episodes: u64,
    /// Rows of `steps` that could be read.
    pub steps: u64,
    /// Rows of `frames` that could be read.
    pub frames: u64,
    /// Findings, by file.
    pub problems: Vec<Problem>,
}

impl VerifyReport {
    /// True when nothing is wrong, or all that was wrong has been repaired.
    pub fn is_sound(&self) -> bool {
        self.problems.iter().all(|p| p.repaired)
    }

    fn add(&mut self, code: Code, path: &Path, message: impl Into<String>) {
        self.problems.push(Problem { code, path: path.to_owned(), message: message.into(), repaired: false });
    }

    /// Turns an error about a file into a finding; other errors (the disk fails) are passed on.
    fn add_error(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corrupt { path, reason } => self.add(Code::Damaged, &path, reason),
            Error::Foreign { path, reason } => self.add(Code::Foreign, &path, reason),
            Error::Version { path, found, supported } => {
                let message = format!(
                    "format version {found}, this build reads version {supported}; record or import it again, or use the \
                     release that wrote it"
                );
                self.add(Code::Version, &path, message);
            }
            other => return Err(other),
        }
        Ok(())
    }
}

/// What [`verify_with`] does beyond looking at footers, steps and the order of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Remove temporary files and orphans. Not while a writer is at work: its files look the same.
    pub repair: bool,
    /// Decode every image. Without it no image is read.
    pub deep: bool,
}

/// Checks a dataset without decoding images.
///
/// # Errors
/// [`Error::NoDataset`] when there is no folder `episodes`, [`Error::Io`] and [`Error::Store`] when disk or server fail. What is wrong with the data
/// is no error but a finding.
pub fn verify(root: &Path, repair: bool) -> Result<VerifyReport> {
    verify_with(root, VerifyOptions { repair, deep: false })
}

/// Checks a dataset.
///
/// # Errors
/// Those of [`verify`].
pub fn verify_with(root: &Path, options: VerifyOptions) -> Result<VerifyReport> {
    // Without the folder everything would look orphaned. It is more likely that the folder was lost or moved, so nothing
    // is reported as removable.
    let Some(index) = part::list(root, Table::Episodes)? else {
        return Err(Error::NoDataset { root: root.to_owned() });
    };
    let mut report = VerifyReport::default();
    let steps = part::list(root, Table::Steps)?.unwrap_or_default();
    let frames = part::list(root, Table::Frames)?.unwrap_or_default();
    for (table, folder) in [(Table::Episodes, &index), (Table::Steps, &steps), (Table::Frames, &frames)] {
        leftovers(root, table, folder, &index, &mut report);
    }
    let mut checker = Checker { root, deep: options.deep, spec: None, seen: HashMap::new(), report };
    for name in &index.parts {
        checker.part(name)?;
    }
    let mut report = checker.report;
    if options.repair {
        repair(root, &mut report)?;
    }
    report.problems.sort_by(|a, b| (&a.path, a.code).cmp(&(&b.path, b.code)));
    Ok(report)
}

fn leftovers(root: &Path, table: Table, folder: &Folder, index: &Folder, report: &mut VerifyReport) {
    for path in &folder.temps {
        report.add(Code::Temporary, path, "left by an interrupted run, or of a writer at work; repair removes it");
    }
    for name in folder.parts.iter().filter(|name| index.parts.binary_search(name).is_err()) {
        let message = format!(
            "episodes/{name}.parquet does not exist, so this part was never committed, or that file was lost (bring it back, if you \
                     can); repair removes what is left"
        );
        report.add(Code::Orphan, &part::file(root, table, name), message);
    }
}

fn repair(root: &Path, report: &mut VerifyReport) -> Result<()> {
    for problem in report.problems.iter_mut().filter(|p| p.code.repairable()) {
        // A writer may have committed the part since it was listed.
        if problem.code == Code::Orphan && is_read(root, &problem.path)? {
            continue;
        }
        storage::remove(&problem.path)?;
        problem.repaired = true;
    }
    Ok(())
}

/// Whether readers look at a file of `steps` or `frames`: its part is committed, and has such a table. In doubt they do.
fn is_read(root: &Path, path: &Path) -> Result<bool> {
    let index = root.join(Table::Episodes.name()).join(path.file_name().unwrap_or_default());
    let in_frames = path.parent().is_some_and(|folder| folder.ends_with(Table::Frames.name()));
    let frameless = || ParquetFile::open(&index, Table::Episodes).is_ok_and(|file| file.spec.frames.is_none());
    Ok(storage::exists(&index)? && !(in_frames && frameless()))
}

/// The state of a check under way.
struct Checker<'a> {
    root: &'a Path,
    deep: bool,
    /// The first readable file's spec.
    spec: Option<DatasetSpec>,
    /// Episode ids so far, and their part.
    seen: HashMap<i64, String>,
    report: VerifyReport,
}

impl Checker<'_> {
    /// Reports a file whose spec differs from the first one's.
    fn check_spec(&mut self, path: &Path, spec: &DatasetSpec) {
        let first = self.spec.get_or_insert_with(|| spec.clone());
        if let Some(difference) = first.difference(spec) {
            let message = format!("the dataset's first file and this one differ in {difference}; keep them apart");
            self.report.add(Code::Spec, path, message);
        }
    }
}
