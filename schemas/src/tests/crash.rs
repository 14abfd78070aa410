//! The process dies, or the disk fails, after each single file operation.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{SMALL, write};
use crate::disk::{Disk, DiskFile, LocalDisk, Lock};
use crate::testing::{framed, raw_spec};
use crate::{Code, Dataset, Episode, Error, Result, Table, verify};

/// How a [`FaultyDisk`] ends.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Nothing works any more, as after `kill -9`.
    Crash,
    /// Creating and writing fail; removing and renaming still work.
    Full,
    /// Every change is refused.
    ReadOnly,
}

/// What was done to a file or folder, in order.
#[derive(Clone, Debug, PartialEq)]
enum Done {
    Written(PathBuf),
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    FolderSynced(PathBuf),
}

/// A disk that works for a number of operations, then fails for good.
#[derive(Clone)]
struct FaultyDisk {
    left: Arc<Mutex<usize>>,
    fault: Fault,
    log: Arc<Mutex<Vec<Done>>>,
}

impl FaultyDisk {
    fn new(operations: usize, fault: Fault) -> Self {
        Self { left: Arc::new(Mutex::new(operations)), fault, log: Arc::default() }
    }

    fn note(&self, done: Done) {
        self.log.lock().unwrap().push(done);
    }

    fn used(&self, of: usize) -> usize {
        of - *self.left.lock().unwrap()
    }

    fn operation(&self, writes: bool) -> io::Result<()> {
        let mut left = self.left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        match self.fault {
            Fault::Full if !writes => Ok(()),
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
            Fault::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Crash => Err(io::Error::other("crashed")),
        }
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(e) = self.disk.operation(true) {
            // Half of the bytes may arrive.
            self.file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(e);
        }
        self.file.write_all(bytes)?;
        self.disk.note(Done::Written(self.path.clone()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.operation(true)?;
        self.disk.note(Done::Synced(self.path.clone()));
        Ok(())
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.operation(true)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), path: path.to_owned(), file: LocalDisk.create(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(false)?;
        self.note(Done::Renamed(from.to_owned(), to.to_owned()));
        LocalDisk.rename(from, to)
    }

    /// Two operations: a crash may come between the new name and the end of the old one.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation(false)?;
        fs::hard_link(from, to)?;
        self.note(Done::Renamed(from.to_owned(), to.to_owned()));
        if self.operation(false).is_ok() { fs::remove_file(from) } else { Ok(()) }
    }

    fn lock(&self, index: &Path, content: &str) -> io::Result<Lock> {
        LocalDisk.lock(index, content)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        LocalDisk.exists(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.operation(false)?;
        self.note(Done::FolderSynced(path.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation(false)?;
        LocalDisk.remove(path)
    }
}

/// Three parts: two, one and two episodes.
fn episodes() -> Vec<Episode> {
    [(0, 4), (1, 5), (2, 12), (3, 5), (4, 5)].map(|(id, steps)| framed(id, steps)).to_vec()
}

fn run(root: &Path, disk: FaultyDisk) -> Result<()> {
    let dataset = Dataset::create(root, &raw_spec())?;
    let stored: Vec<i64> = dataset.episodes()?.iter().map(|row| row.episode_id).collect();
    let mut writer = dataset.writer_on(SMALL, Box::new(disk))?;
    for episode in episodes().into_iter().filter(|e| !stored.contains(&e.episode_id)) {
        writer.push(episode)?;
    }
    writer.finish().map(|_| ())
}

/// The ids that a reader sees; each episode is compared with what was written.
fn visible(root: &Path) -> Vec<i64> {
    let dataset = match Dataset::open(root) {
        Err(Error::NoDataset { .. }) => return Vec::new(),
        dataset => dataset.unwrap(),
    };
    let ids: Vec<i64> = dataset.episodes().unwrap().iter().map(|row| row.episode_id).collect();
    for &id in &ids {
        assert_eq!(dataset.read_episode(id).unwrap(), episodes()[id as usize]);
    }
    ids
}

fn files(root: &Path) -> usize {
    Table::COMMIT_ORDER.iter().map(|t| fs::read_dir(root.join(t.name())).unwrap().count()).sum()
}

fn operations() -> usize {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(10_000, Fault::Crash);
    run(folder.path(), disk.clone()).unwrap();
    assert_eq!(visible(folder.path()), [0, 1, 2, 3, 4]);
    assert_eq!(files(folder.path()), 9);
    disk.used(10_000)
}

#[test]
fn a_crash_after_any_operation_shows_whole_parts_only() {
    let operations = operations();
    assert!(operations > 45, "{operations} operations");
    for k in 0..operations {
        let folder = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new(k, Fault::Crash);
        // The crash may hit the last flush of a folder, when all is visible; it is an error all the same.
        run(folder.path(), disk).unwrap_err();
        let ids = visible(folder.path());
        assert!([0, 2, 3, 5].contains(&ids.len()), "after {k} operations: {ids:?}");
        assert!(ids.iter().enumerate().all(|(i, &id)| id == i as i64));

        let report = verify(folder.path(), false).unwrap();
        assert!(report.problems.iter().all(|p| p.code.repairable()), "after {k}: {:?}", report.problems);
        if k % 2 == 0 {
            assert!(verify(folder.path(), true).unwrap().is_sound());
            assert_eq!(verify(folder.path(), false).unwrap().problems, []);
            assert_eq!(visible(folder.path()), ids);
        }
        // The same run again completes the dataset and replaces the orphans that the crash left.
        run(folder.path(), FaultyDisk::new(10_000, Fault::Crash)).unwrap();
        assert_eq!(visible(folder.path()), [0, 1, 2, 3, 4]);
        let problems = verify(folder.path(), true).unwrap().problems;
        assert!(problems.iter().all(|p| p.code == Code::Temporary && p.repaired), "after {k}: {problems:?}");
        assert_eq!(verify(folder.path(), false).unwrap().problems, [], "after {k} operations");
        assert_eq!(files(folder.path()), 9, "after {k} operations");
    }
}

#[test]
fn a_full_or_read_only_disk_is_named_and_leaves_whole_parts_only() {
    let operations = operations();
    for k in 0..operations {
        let folder = tempfile::tempdir().unwrap();
        match run(folder.path(), FaultyDisk::new(k, Fault::Full)) {
            Err(Error::DiskFull { .. }) => {}
            // Only renaming and folder flushes were left to do.
            Ok(()) => assert!(k + 3 >= operations, "after {k}"),
            Err(e) => panic!("after {k}: {e}"),
        }
        let ids = visible(folder.path());
        assert!([0, 2, 3, 5].contains(&ids.len()), "after {k}: {ids:?}");
        assert_eq!(verify(folder.path(), false).unwrap().problems, [], "after {k}");
        assert_eq!(files(folder.path()) % 3, 0, "after {k}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = run(folder.path(), FaultyDisk::new(0, Fault::ReadOnly)).unwrap_err();
    assert!(matches!(&error, Error::ReadOnly { .. }) && error.to_string().contains("frames"), "{error}");
}

#[test]
fn a_failed_writer_takes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &raw_spec()).unwrap();
    let mut writer = dataset.writer_on(SMALL, Box::new(FaultyDisk::new(1, Fault::Full))).unwrap();
    assert!(matches!(writer.push(framed(0, 40)), Err(Error::DiskFull { .. })));
    assert!(matches!(writer.push(framed(1, 4)), Err(Error::Conflict { .. })));
    assert!(writer.finish().is_err());
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn a_part_committed_meanwhile_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &raw_spec()).unwrap();
    let mut late = dataset.writer().unwrap();
    late.push(framed(0, 3)).unwrap();
    write(folder.path(), &raw_spec(), SMALL, &[framed(0, 4)]).unwrap();
    assert!(matches!(late.finish(), Err(Error::Conflict { .. })));
    assert_eq!(dataset.read_episode(0).unwrap(), framed(0, 4));
}

#[test]
fn of_two_writers_with_the_same_ids_the_first_wins_whole() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &raw_spec()).unwrap();
    let (mut a, mut b) = (dataset.writer().unwrap(), dataset.writer().unwrap());
    let other = Episode { player: Some("the second".into()), frames: vec![vec![77; 48]; 3], ..framed(0, 3) };
    a.push(framed(0, 3)).unwrap();
    b.push(other).unwrap();
    a.finish().unwrap();
    assert!(matches!(b.finish(), Err(Error::Conflict { .. })));
    assert_eq!(dataset.read_episode(0).unwrap(), framed(0, 3));
    assert_eq!(verify(folder.path(), false).unwrap().problems, []);
    assert_eq!(files(folder.path()), 3);
}

#[test]
fn writers_that_race_with_the_same_ids_leave_one_whole_part() {
    for round in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset::create(folder.path(), &raw_spec()).unwrap();
        let write = |byte: u8| {
            let mut writer = dataset.writer().unwrap();
            writer.push(Episode { frames: vec![vec![byte; 48]; 3], ..framed(0, 3) })?;
            writer.finish().map(|_| byte)
        };
        let results: Vec<Result<u8>> = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..=3).map(|byte| scope.spawn(move || write(byte))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let winners: Vec<u8> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let conflicts = results.iter().filter(|result| matches!(result, Err(Error::Conflict { .. }))).count();
        assert_eq!(conflicts, 2, "round {round}: {results:?}");
        assert_eq!(dataset.read_episode(0).unwrap().frames, vec![vec![winners[0]; 48]; 3], "round {round}");
        assert_eq!(files(folder.path()), 3, "round {round}");
    }
}

/// What a crash test cannot see: a file system may keep a rename and lose the bytes, unless they were flushed before.
#[test]
fn everything_is_flushed_before_what_makes_it_visible() {
    let folder = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(10_000, Fault::Crash);
    run(folder.path(), disk.clone()).unwrap();
    let log = disk.log.lock().unwrap().clone();
    let renames: Vec<usize> = (0..log.len()).filter(|&i| matches!(log[i], Done::Renamed(..))).collect();
    assert_eq!(renames.len(), 9);
    for (i, &at) in renames.iter().enumerate() {
        let Done::Renamed(from, to) = &log[at] else { unreachable!() };
        assert!(to.parent().unwrap().ends_with(Table::COMMIT_ORDER[i % 3].name()), "{to:?} is rename {i}");
        let last_change = log[..at].iter().rposition(|done| *done == Done::Written(from.clone())).unwrap();
        let synced = log[..at].iter().rposition(|done| *done == Done::Synced(from.clone()));
        assert!(synced.is_some_and(|synced| synced > last_change), "{from:?} was renamed before it was flushed");
        let next = renames.get(i + 1).copied().unwrap_or(log.len());
        let folder_synced = Done::FolderSynced(to.parent().unwrap().to_owned());
        assert!(log[at..next].contains(&folder_synced), "{to:?} was not made durable before the next rename");
    }
}

#[test]
fn repair_spares_everything_when_the_index_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), FaultyDisk::new(10_000, Fault::Crash)).unwrap();
    fs::remove_dir_all(folder.path().join("episodes")).unwrap();
    assert!(matches!(verify(folder.path(), true), Err(Error::NoDataset { .. })));
    assert_eq!(fs::read_dir(folder.path().join("steps")).unwrap().count(), 3);
    fs::create_dir(folder.path().join("episodes")).unwrap();
    let report = verify(folder.path(), true).unwrap();
    assert_eq!(report.problems.iter().filter(|p| p.code == Code::Orphan && p.repaired).count(), 6);
}
