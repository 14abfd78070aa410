//! Datasets in a bucket: the same answers as from a folder, in few requests.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};

use super::{SMALL, write};
use crate::storage::{use_store, wait};
use crate::table::STEP_PAGE_ROWS;
use crate::testing::{bare_spec, episode, framed, raw_spec};
use crate::{Code, Dataset, Episode, Error, PartLimits, StepScan, Table, VerifyOptions, Window, verify_with};

/// A bucket in memory that counts what it is asked.
#[derive(Debug, Default)]
struct Counting {
    objects: InMemory,
    gets: AtomicUsize,
    lists: AtomicUsize,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a counting bucket")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, at: &Key, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.objects.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(&self, at: &Key, o: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(at, o).await
    }

    async fn get_opts(&self, at: &Key, options: GetOptions) -> StoreResult<GetResult> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.objects.get_opts(at, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, StoreResult<Key>>) -> BoxStream<'static, StoreResult<Key>> {
        self.objects.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> StoreResult<ListResult> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> StoreResult<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

impl Counting {
    /// GETs and listings since the last call.
    fn requests(&self) -> (usize, usize) {
        (self.gets.swap(0, Ordering::Relaxed), self.lists.swap(0, Ordering::Relaxed))
    }

    fn put(self: &Arc<Self>, key: &str, bytes: Vec<u8>) {
        let (store, key) = (self.clone(), Key::from(key));
        wait(async move { store.objects.put(&key, bytes.into()).await }).unwrap().unwrap();
    }

    fn remove(self: &Arc<Self>, key: &str) {
        let (store, key) = (self.clone(), Key::from(key));
        wait(async move { store.objects.delete(&key).await }).unwrap().unwrap();
    }

    /// A bucket of this name with the files of a dataset under `play/`, and the dataset's URL.
    fn with(name: &str, root: &Path) -> (Arc<Self>, PathBuf) {
        let store = Arc::new(Self::default());
        for table in Table::COMMIT_ORDER {
            for entry in std::fs::read_dir(root.join(table.name())).into_iter().flatten() {
                let path = entry.unwrap().path();
                let file = path.file_name().unwrap().to_str().unwrap();
                store.put(&format!("play/{}/{file}", table.name()), std::fs::read(&path).unwrap());
            }
        }
        use_store(name, store.clone());
        (store, PathBuf::from(format!("s3://{name}/play")))
    }
}

/// The rows of some columns of every part, and the pages that it took.
fn scan(dataset: &Dataset, columns: &[&str], rows: Option<Range<u64>>) -> (Vec<RecordBatch>, u64) {
    let index = Arc::new(dataset.step_index().unwrap().unwrap());
    let columns: Vec<usize> = columns.iter().map(|name| index.schema().index_of(name).unwrap()).collect();
    let (mut batches, mut pages) = (Vec::new(), 0);
    for part in 0..index.files().len() as u32 {
        let all: u64 = index.episodes().iter().filter(|e| e.part == part).map(|e| u64::from(e.steps)).sum();
        let rows = vec![rows.clone().unwrap_or(0..all)];
        let mut scan = StepScan::open(&index, part, &columns, rows, 8192).unwrap();
        batches.extend(scan.by_ref().map(Result::unwrap));
        pages += scan.pages_read();
    }
    (batches, pages)
}

#[test]
fn a_dataset_in_a_bucket_reads_as_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let episodes: Vec<Episode> = (0..6).map(|id| framed(id, 7)).collect();
    let local = write(folder.path(), &raw_spec(), SMALL, &episodes).unwrap();
    let (_, root) = Counting::with("reads", folder.path());
    let remote = Dataset::open(&root).unwrap();
    assert_eq!(remote.spec(), local.spec());
    assert_eq!(remote.episodes().unwrap(), local.episodes().unwrap());
    for one in &episodes {
        assert_eq!(remote.read_episode(one.episode_id).unwrap(), *one);
    }
    let columns = ["episode_id", "t", "a", "left_x", "buttons", "pos_y", "terminated"];
    assert_eq!(scan(&remote, &columns, None), scan(&local, &columns, None));
    let names = |dataset: &Dataset| -> Vec<PathBuf> {
        let files = dataset.files().unwrap().into_iter().flat_map(|(_, files)| files);
        files.map(|file| file.strip_prefix(dataset.root()).unwrap().to_owned()).collect()
    };
    assert_eq!(names(&remote), names(&local));
    let deep = VerifyOptions { deep: true, repair: false };
    assert_eq!(verify_with(&root, deep).unwrap(), verify_with(folder.path(), deep).unwrap());
}

#[test]
fn a_scan_asks_once_for_neighbouring_pages() {
    let folder = tempfile::tempdir().unwrap();
    // Five pages of steps a column.
    let local = write(folder.path(), &bare_spec(), PartLimits::default(), &[episode(0, 5 * STEP_PAGE_ROWS)]).unwrap();
    let (store, root) = Counting::with("scans", folder.path());
    let remote = Dataset::open(&root).unwrap();
    store.requests();
    let columns = ["left_x", "left_y", "right_x", "right_y", "buttons", "pos_x", "reward"];
    let found = scan(&remote, &columns, None);
    let (gets, lists) = store.requests();
    assert_eq!(found, scan(&local, &columns, None));
    // The list of parts; one GET for the part's episodes, two for the footer of its steps, the rest are its pages.
    assert_eq!(lists, 1);
    assert!(found.1 >= 7 * 5, "{} pages are too few to tell", found.1);
    assert!((4..=8).contains(&gets), "{gets} requests");

    // Of one page in the middle of one column, nothing else is fetched: its dictionary and itself lie far apart, or do not.
    let rows = Some(2 * STEP_PAGE_ROWS as u64..2 * STEP_PAGE_ROWS as u64 + 10);
    let found = scan(&remote, &["left_x"], rows.clone());
    let (gets, _) = store.requests();
    assert_eq!(found, scan(&local, &["left_x"], rows));
    assert!(gets <= 5, "{gets} requests");
}

#[test]
fn a_window_costs_one_request_once_its_actions_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let frames = crate::FrameSpec { width: 32, height: 32, codec: crate::Codec::Raw, resize: None };
    let spec = crate::DatasetSpec { frames: Some(frames), ..bare_spec() };
    let pictured = |id: i64| Episode { frames: (0..400).map(|t| vec![t as u8; 3072]).collect(), ..episode(id, 400) };
    write(folder.path(), &spec, PartLimits::default(), &[pictured(0), pictured(1)]).unwrap();
    let (store, root) = Counting::with("windows", folder.path());
    let reader = Dataset::open(&root).unwrap().reader().unwrap();
    let (mut actions, mut rgb) = (Vec::new(), Vec::new());
    let mut read = |episode_id, t_start| {
        store.requests();
        reader.read(&Window { episode_id, t_start, length: 32, weight: 1.0 }, &mut actions, &mut rgb).unwrap();
        assert_eq!(rgb[0], t_start as u8);
        store.requests()
    };
    read(0, 0);
    assert_eq!(read(0, 137), (1, 0));
    assert_eq!(read(1, 368), (1, 0));
}

#[test]
fn what_is_wrong_in_a_bucket_is_named_by_its_url() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &raw_spec(), SMALL, &(0..4).map(|id| framed(id, 10)).collect::<Vec<_>>()).unwrap();
    let (store, root) = Counting::with("wrong", folder.path());
    let part = "play/steps/part-000000000001.parquet";
    let bytes = std::fs::read(folder.path().join("steps/part-000000000001.parquet")).unwrap();
    store.put(part, bytes[..bytes.len() / 2].to_vec());
    let dataset = Dataset::open(&root).unwrap();
    let says = |error: Error, words: &str| {
        let message = error.to_string();
        assert!(message.starts_with(&format!("s3://wrong/{part}: {words}")), "{message}");
    };
    says(dataset.read_episode(1).unwrap_err(), "damaged: ");
    store.put(part, Vec::new());
    says(dataset.reader().unwrap().read_episode(1).unwrap_err(), "damaged: ");
    store.remove(part);
    says(dataset.reader().unwrap().read_episode(1).unwrap_err(), "damaged: missing");
    says(dataset.files().unwrap_err(), "damaged: missing");
    assert_eq!(dataset.read_episode(2).unwrap(), framed(2, 10));

    // An orphan, and what a writer left: named, and removed on request.
    store.put("play/frames/part-000000000077.parquet", vec![1]);
    store.put("play/episodes/.tmp-part-000000000077", vec![1]);
    let codes = |repair| -> Vec<(Code, bool)> {
        let report = verify_with(&root, VerifyOptions { repair, deep: false }).unwrap();
        report.problems.iter().map(|problem| (problem.code, problem.repaired)).collect()
    };
    let kept = (Code::MissingFile, false);
    assert_eq!(codes(false), [(Code::Temporary, false), (Code::Orphan, false), kept]);
    assert_eq!(codes(true), [(Code::Temporary, true), (Code::Orphan, true), kept]);
    assert_eq!(codes(false), [kept]);

    let nowhere = Dataset::open(Path::new("s3://wrong/elsewhere")).err().unwrap();
    assert!(matches!(&nowhere, Error::NoDataset { .. }), "{nowhere}");
}

#[test]
fn a_bucket_is_read_from_inside_an_async_runtime() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &raw_spec(), SMALL, &[framed(0, 3)]).unwrap();
    let (_, root) = Counting::with("inside", folder.path());
    let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for runtime in [many, one] {
        let read = async { Dataset::open(&root).unwrap().read_episode(0).unwrap() };
        assert_eq!(runtime.block_on(read), framed(0, 3));
    }
}

#[test]
fn a_dataset_is_written_to_a_bucket_as_to_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Counting::default());
    use_store("written", store);
    let root = Path::new("s3://written/play");
    // More frames than one piece of an upload holds.
    let frames = crate::FrameSpec { width: 64, height: 64, codec: crate::Codec::Raw, resize: None };
    let spec = crate::DatasetSpec { frames: Some(frames), ..bare_spec() };
    let pictured = |id: i64| Episode { frames: (0..800).map(|t| vec![t as u8; 12288]).collect(), ..episode(id, 800) };
    let all = [pictured(0), pictured(1)];
    let limits = PartLimits { steps: 1000, frame_bytes: 1 << 30 };
    let local = write(folder.path(), &spec, limits, &all).unwrap();
    let remote = write(root, &spec, limits, &all).unwrap();
    let bytes = |dataset: &Dataset| -> Vec<bytes::Bytes> {
        let files = dataset.files().unwrap().into_iter().flat_map(|(_, files)| files).collect::<Vec<_>>();
        assert_eq!(files.len(), 6);
        crate::storage::read_each(&files).map(Result::unwrap).collect()
    };
    assert!(bytes(&remote) == bytes(&local));
    assert_eq!(crate::verify(root, false).unwrap(), crate::verify(folder.path(), false).unwrap());
}

#[test]
fn of_two_writers_of_a_bucket_the_first_wins_whole() {
    let store = Arc::new(Counting::default());
    use_store("contested", store.clone());
    let root = Path::new("s3://contested/play");
    let dataset = Dataset::create(root, &raw_spec()).unwrap();
    let (mut a, mut b) = (dataset.writer().unwrap(), dataset.writer().unwrap());
    let other = Episode { player: Some("the second".into()), frames: vec![vec![77; 48]; 3], ..framed(0, 3) };
    a.push(framed(0, 3)).unwrap();
    b.push(other.clone()).unwrap();
    a.finish().unwrap();
    assert!(matches!(b.finish(), Err(Error::Conflict { .. })));
    assert_eq!(dataset.read_episode(0).unwrap(), framed(0, 3));
    assert_eq!(crate::verify(root, false).unwrap().problems, []);

    // One was killed at it: others are kept away until it is known to be dead, the same may go on.
    let claim = "play/episodes/.tmp-part-000000000009";
    let nine = || Episode { episode_id: 9, ..framed(9, 3) };
    store.put(claim, b"something else".to_vec());
    let commit = || {
        let mut writer = dataset.writer().unwrap();
        writer.push(nine())?;
        writer.finish()
    };
    let message = commit().unwrap_err().to_string();
    assert!(message.contains("part-000000000009") && message.contains("--repair"), "{message}");
    assert!(crate::verify(root, true).unwrap().is_sound());
    commit().unwrap();
    assert_eq!(dataset.read_episode(9).unwrap(), nine());
    assert_eq!(crate::verify(root, false).unwrap().problems, []);
}

#[test]
fn writers_that_race_for_a_bucket_leave_one_whole_part() {
    for round in 0..20 {
        let name = format!("race{round}");
        use_store(&name, Arc::new(InMemory::new()));
        let root = PathBuf::from(format!("s3://{name}/play"));
        let dataset = Dataset::create(&root, &raw_spec()).unwrap();
        let write = |byte: u8| {
            let mut writer = dataset.writer().unwrap();
            writer.push(Episode { frames: vec![vec![byte; 48]; 3], player: Some(byte.to_string()), ..framed(0, 3) })?;
            writer.finish().map(|_| byte)
        };
        let results: Vec<crate::Result<u8>> = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..=3).map(|byte| scope.spawn(move || write(byte))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let winners: Vec<u8> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        assert_eq!(dataset.read_episode(0).unwrap().frames, vec![vec![winners[0]; 48]; 3], "round {round}");
        assert_eq!(crate::verify(&root, false).unwrap().problems, [], "round {round}");
    }
}

#[test]
fn a_copy_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<Episode> = (0..4).map(|id| framed(id, 10)).collect();
    write(folder.path(), &raw_spec(), SMALL, &all).unwrap();
    let sidecar = folder.path().join("scores");
    std::fs::create_dir(&sidecar).unwrap();
    std::fs::copy(folder.path().join("steps/part-000000000000.parquet"), sidecar.join("a.parquet")).unwrap();
    let store = Arc::new(Counting::default());
    use_store("copies", store.clone());
    let target = Path::new("s3://copies/play");
    let calls = AtomicUsize::new(0);
    let stopped = crate::copy(folder.path(), target, &|_, _| calls.fetch_add(1, Ordering::Relaxed) < 5);
    assert!(matches!(stopped, Err(Error::Stopped)));
    let there = Dataset::open(target).unwrap().episodes().unwrap().len();
    assert!((1..4).contains(&there), "{there} episodes");
    assert_eq!(crate::verify(target, false).unwrap().problems, []);

    let last = std::sync::Mutex::new((0, 0));
    let copied = crate::copy(folder.path(), target, &|done, total| {
        *last.lock().unwrap() = (done, total);
        true
    });
    let copied = copied.unwrap();
    assert_eq!((copied.skipped, copied.parts), (there as u64, 4 - there as u64));
    let (done, total) = *last.lock().unwrap();
    assert_eq!(done, total);
    let back = folder.path().join("back");
    crate::copy(target, &back, &|_, _| true).unwrap();
    let dataset = Dataset::open(&back).unwrap();
    assert!(all.iter().all(|one| dataset.read_episode(one.episode_id).unwrap() == *one));
    assert!(std::fs::read(back.join("scores/a.parquet")).unwrap() == std::fs::read(sidecar.join("a.parquet")).unwrap());
    // A sidecar that was written again, of the same size.
    let mut again = std::fs::read(sidecar.join("a.parquet")).unwrap();
    again.reverse();
    std::fs::write(sidecar.join("a.parquet"), &again).unwrap();
    // Stopped while it is on its way.
    let stopped = crate::copy(folder.path(), &back, &|_, _| false);
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(std::fs::read_dir(back.join("scores")).unwrap().count(), 1, "nothing but the old one");
    crate::copy(folder.path(), &back, &|_, _| true).unwrap();
    assert!(std::fs::read(back.join("scores/a.parquet")).unwrap() == again);
    let other = tempfile::tempdir().unwrap();
    write(other.path(), &raw_spec(), SMALL, &[framed(0, 9)]).unwrap();
    let message = crate::copy(other.path(), target, &|_, _| true).unwrap_err().to_string();
    assert!(message.contains("s3://copies/play/episodes/part-000000000000.parquet: it holds other"), "{message}");
}
