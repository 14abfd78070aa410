//! What a window costs, in pages and bytes; and that the files are laid out so that it can be cheap.

use std::fs;

use parquet::basic::Encoding;

use super::write;
use crate::action_blocks::BLOCK_ROWS;
use crate::parquet_file::ParquetFile;
use crate::storage::{Counters, Handles};
use crate::table::{FRAME_PAGE_ROWS, STEP_PAGE_ROWS};
use crate::testing::{bare_spec, episode};
use crate::{Codec, Dataset, DatasetSpec, Episode, FrameSpec, PartLimits, Table, Window, WindowReader};

/// Bytes of a frame of `big`.
const FRAME: usize = 16 * 16 * 3;

/// 20 episodes of 150 raw frames: 3,000 frames of 768 bytes.
fn big(root: &std::path::Path) -> WindowReader {
    let frames = FrameSpec { width: 16, height: 16, codec: Codec::Raw, resize: None };
    let spec = DatasetSpec { frames: Some(frames), ..bare_spec() };
    let frame = |i: i64, t: usize| vec![(i * 7 + t as i64) as u8; FRAME];
    let episodes: Vec<Episode> =
        (0..20).map(|i| Episode { frames: (0..150).map(|t| frame(i, t)).collect(), ..episode(i, 150) }).collect();
    write(root, &spec, PartLimits::default(), &episodes).unwrap().reader().unwrap()
}

#[test]
fn a_window_costs_two_pages_of_images_once_its_actions_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let reader = big(folder.path());
    let (mut actions, mut rgb) = (Vec::new(), Vec::new());
    let mut read = |episode_id, t_start| {
        let before = (reader.pages_read(), reader.bytes_read());
        reader.read(&Window { episode_id, t_start, length: 32, weight: 1.0 }, &mut actions, &mut rgb).unwrap();
        assert_eq!(rgb[0], (episode_id * 7 + i64::from(t_start)) as u8);
        (reader.pages_read() - before.0, reader.bytes_read() - before.1)
    };
    let (pages, bytes) = read(9, 40);
    // 4 sticks and `buttons` with their dictionaries, and the images.
    assert!(pages <= 2 * 5 + 2, "{pages} pages");
    assert!(bytes < 90_000, "{bytes} bytes");
    for (episode_id, t_start) in [(0, 0), (9, 100), (13, 118), (19, 118)] {
        let (pages, bytes) = read(episode_id, t_start);
        assert!((1..=2).contains(&pages), "{pages} pages");
        let most = pages * (FRAME_PAGE_ROWS * (FRAME + 4) + 100) as u64;
        assert!(bytes <= most, "{bytes} bytes in {pages} pages");
    }
    let size = fs::metadata(folder.path().join("frames/part-000000000000.parquet")).unwrap().len();
    assert!(size > 40 * FRAME_PAGE_ROWS as u64 * FRAME as u64, "the windows above were small beside {size}");
}

#[test]
fn actions_of_a_window_cost_one_block_and_only_once() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &bare_spec(), PartLimits::default(), &[episode(0, 5 * BLOCK_ROWS)]).unwrap();
    let reader = dataset.reader().unwrap();
    let (mut actions, mut rgb) = (Vec::new(), Vec::new());
    let mut read = |t_start: usize| {
        let before = reader.pages_read();
        let window = Window { episode_id: 0, t_start: t_start as u32, length: 32, weight: 1.0 };
        reader.read(&window, &mut actions, &mut rgb).unwrap();
        assert_eq!(actions, episode(0, t_start + 32).actions[t_start * 16..]);
        reader.pages_read() - before
    };
    assert_eq!(read(2 * BLOCK_ROWS + 5), 2 * 5);
    assert_eq!(read(2 * BLOCK_ROWS + 900), 0);
    // A window over a block's border reads the next one.
    assert_eq!(read(3 * BLOCK_ROWS - 16), 2 * 5);
    assert_eq!(read(3 * BLOCK_ROWS), 0);
}

#[test]
fn threads_share_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let reader = big(folder.path());
    std::thread::scope(|scope| {
        for worker in 0..4i64 {
            let reader = &reader;
            scope.spawn(move || {
                let (mut actions, mut rgb) = (Vec::new(), Vec::new());
                for i in 0..60 {
                    let (episode_id, t_start) = ((worker * 5 + i) % 20, (i * 37 % 118) as u32);
                    reader
                        .read(&Window { episode_id, t_start, length: 32, weight: 1.0 }, &mut actions, &mut rgb)
                        .unwrap();
                    assert_eq!(rgb[31 * FRAME], (episode_id * 7 + i64::from(t_start) + 31) as u8);
                    let expected = &episode(episode_id, 150).actions[t_start as usize * 16..][..32 * 16];
                    assert_eq!(actions, expected);
                }
            });
        }
    });
}

#[test]
fn files_are_laid_out_as_the_format_says() {
    let folder = tempfile::tempdir().unwrap();
    big(folder.path());
    for table in Table::COMMIT_ORDER {
        let path = folder.path().join(table.name()).join("part-000000000000.parquet");
        let file = ParquetFile::open(&path, table).unwrap();
        let group = file.metadata().row_group(0);
        assert_eq!(file.metadata().num_row_groups(), 1, "{table:?}");
        let sorted: Vec<i32> = group.sorting_columns().unwrap().iter().map(|c| c.column_idx).collect();
        assert_eq!(sorted, if table == Table::Episodes { vec![0] } else { vec![0, 1] });
        assert!(group.column(0).statistics().is_some() && group.column(0).column_index_offset().is_some());
        let pages = &file.metadata().offset_index().unwrap()[0];
        let rows: Vec<i64> = pages[pages.len() - 1].page_locations().iter().map(|p| p.first_row_index).collect();
        if table == Table::Frames {
            let bytes = group.column(2);
            assert_eq!(bytes.column_path().string(), "image.bytes");
            assert_eq!(bytes.compression(), parquet::basic::Compression::UNCOMPRESSED);
            assert!(bytes.dictionary_page_offset().is_none() && bytes.statistics().is_none());
            let starts: Vec<i64> = pages[2].page_locations().iter().map(|p| p.first_row_index).collect();
            assert_eq!(starts, (0..3000).step_by(FRAME_PAGE_ROWS).collect::<Vec<i64>>());
        } else {
            assert_eq!(rows, [0], "{table:?} is small enough for one page a column");
        }
    }
}

#[test]
fn open_files_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let handles = Handles::default();
    let open_now = || fs::read_dir("/proc/self/fd").map(|entries| entries.count()).unwrap_or(0);
    let before = open_now();
    for i in 0..600 {
        let path = folder.path().join(i.to_string());
        fs::write(&path, [i as u8]).unwrap();
        assert_eq!(handles.get(&path).unwrap().read(0, 1, 1).unwrap()[0], i as u8);
        // The one in constant use stays open, whatever comes and goes.
        handles.get(&folder.path().join("0")).unwrap();
    }
    assert!(open_now() < before + 400, "{} files open", open_now());
    let Counters { pages, bytes } = &*handles.counters;
    assert_eq!(
        (pages.load(std::sync::atomic::Ordering::Relaxed), bytes.load(std::sync::atomic::Ordering::Relaxed)),
        (600, 600)
    );
}

#[test]
fn pages_of_steps_begin_at_the_same_rows_and_hold_whole_blocks() {
    assert_eq!(STEP_PAGE_ROWS % BLOCK_ROWS, 0);
    let folder = tempfile::tempdir().unwrap();
    let lengths = [STEP_PAGE_ROWS - 5, 7, 2 * STEP_PAGE_ROWS, 100];
    let episodes: Vec<Episode> = (0..).zip(lengths).map(|(i, steps)| episode(i, steps)).collect();
    write(folder.path(), &bare_spec(), PartLimits::default(), &episodes).unwrap();
    let path = folder.path().join("steps/part-000000000000.parquet");
    let file = ParquetFile::open(&path, Table::Steps).unwrap();
    let expected: Vec<i64> = (0..4).map(|page| page * STEP_PAGE_ROWS as i64).collect();
    for column in &file.metadata().offset_index().unwrap()[0] {
        let starts: Vec<i64> = column.page_locations().iter().map(|p| p.first_row_index).collect();
        assert_eq!(starts, expected);
    }
    // Positions of this episode grow without end, its heights are all alike.
    let encodings = |name: &str| {
        let group = file.metadata().row_group(0);
        let column = group.columns().iter().find(|c| c.column_path().string() == name).unwrap();
        (column.dictionary_page_offset().is_some(), column.encodings().collect::<Vec<_>>())
    };
    let (dictionary, names) = encodings("pos_x");
    assert!(!dictionary && names.contains(&Encoding::BYTE_STREAM_SPLIT), "{names:?}");
    assert!(encodings("pos_z").0 && encodings("buttons").0 && !encodings("a").0);
    let dataset = Dataset::open(folder.path()).unwrap();
    assert!(episodes.iter().all(|e| dataset.read_episode(e.episode_id).unwrap() == *e));
}
