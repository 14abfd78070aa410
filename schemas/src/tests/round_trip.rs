use proptest::prelude::*;

use super::{SMALL, write};
use crate::testing::{bare_spec, episode, framed, noise, raw_spec};
use crate::{
    Codec, Dataset, DatasetSpec, Episode, EpisodeStats, Error, FrameSpec, PartLimits, Summary, Table, Window, verify,
};

/// Episodes whose optional parts come and go with the bits of `seed`.
fn varied(count: usize, seed: u64) -> Vec<Episode> {
    let mut draw = noise(seed);
    (0..count as i64)
        .map(|i| {
            let steps = 1 + draw(90) as usize;
            let mut e = framed(i * 3 + draw(3) as i64, steps);
            let mut maybe = |value: &mut Option<String>| {
                if draw(2) == 0 {
                    *value = None;
                }
            };
            [&mut e.map, &mut e.player, &mut e.spawn, &mut e.outcome].into_iter().for_each(&mut maybe);
            if draw(2) == 0 {
                e.poses.clear();
            }
            if draw(2) == 0 {
                e.rewards = (0..steps).map(|t| t as f32 * 0.5 - 3.0).collect();
                e.episode_return = Some(7.25);
            }
            if draw(2) == 0 {
                (e.seed, e.started_at, e.split) = (None, None, Some("held_out".into()));
            }
            (e.terminated, e.truncated) = (draw(2) == 0, draw(2) == 0);
            e
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn episodes_and_windows_come_back(count in 1usize..12, seed in any::<u64>(), steps in 1u64..200, frame_bytes in 1u64..4000) {
        let folder = tempfile::tempdir().unwrap();
        let episodes = varied(count, seed);
        let limits = PartLimits { steps, frame_bytes };
        let dataset = write(folder.path(), &raw_spec(), limits, &episodes).unwrap();
        let space = &dataset.spec().actions;

        let rows = Dataset::open(folder.path()).unwrap().episodes().unwrap();
        prop_assert_eq!(rows.len(), count);
        let reader = dataset.reader().unwrap();
        let (mut actions, mut rgb) = (Vec::new(), Vec::new());
        let mut draw = noise(seed ^ 5);
        for (e, row) in episodes.iter().zip(&rows) {
            prop_assert_eq!(&row.stats, &EpisodeStats::compute(e, space));
            prop_assert_eq!(row.num_steps as usize, e.num_steps(space));
            prop_assert_eq!(&dataset.read_episode(e.episode_id).unwrap(), e);
            prop_assert_eq!(&dataset.read_actions(e.episode_id).unwrap(), &e.actions);
            for _ in 0..3 {
                let t_start = draw(u64::from(row.num_steps)) as u32;
                let length = 1 + draw(u64::from(row.num_steps - t_start)) as u32;
                reader.read(&Window { episode_id: e.episode_id, t_start, length, weight: 1.0 }, &mut actions, &mut rgb).unwrap();
                let (from, to) = (t_start as usize, (t_start + length) as usize);
                prop_assert_eq!(&actions, &e.actions[from * 16..to * 16]);
                prop_assert_eq!(&rgb, &e.frames[from..to].concat());
            }
        }
        let report = verify(folder.path(), false).unwrap();
        prop_assert_eq!(&report.problems, &vec![]);
        prop_assert_eq!(report.episodes as usize, count);
        prop_assert_eq!(report.steps, report.frames);
    }
}

#[test]
fn jpeg_windows_equal_the_decoded_frames() {
    let spec = FrameSpec { width: 32, height: 16, codec: Codec::Jpeg { quality: 90 }, resize: None };
    let dataset_spec = DatasetSpec { frames: Some(spec.clone()), ..bare_spec() };
    let mut e = episode(5, 50);
    let picture = |t: usize| (0..spec.bytes()).map(|i| ((i + t * 7) % 251) as u8).collect::<Vec<u8>>();
    e.frames = (0..50).map(|t| spec.encode(&picture(t)).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &dataset_spec, PartLimits::default(), &[e.clone()]).unwrap();
    let (mut actions, mut rgb) = (Vec::new(), vec![1; 3]);
    let window = Window { episode_id: 5, t_start: 10, length: 32, weight: 1.0 };
    dataset.reader().unwrap().read(&window, &mut actions, &mut rgb).unwrap();
    let mut expected = vec![0; spec.bytes()];
    for t in 0..32 {
        spec.decode_into(&e.frames[10 + t], &mut expected).unwrap();
        assert_eq!(rgb[t * spec.bytes()..(t + 1) * spec.bytes()], expected, "frame {t}");
    }
}

#[test]
fn the_same_episodes_give_the_same_bytes() {
    let episodes: Vec<Episode> = (0..6).map(|i| framed(i, 40)).collect();
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&a, &b] {
        write(folder.path(), &raw_spec(), SMALL, &episodes).unwrap();
    }
    let dataset = Dataset::open(a.path()).unwrap();
    let tables = dataset.files().unwrap();
    assert_eq!(tables.len(), Table::COMMIT_ORDER.len());
    for (_, files) in tables {
        assert_eq!(files.len(), 6);
        for file in files {
            let twin = b.path().join(file.strip_prefix(a.path()).unwrap());
            assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&twin).unwrap(), "{}", file.display());
        }
    }
}

#[test]
fn ids_ascend_and_occur_once() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &bare_spec(), SMALL, &[episode(3, 4), episode(5, 4)]).unwrap();
    let mut writer = dataset.writer().unwrap();
    assert!(matches!(writer.push(episode(5, 4)), Err(Error::Conflict { .. })));
    writer.push(episode(8, 4)).unwrap();
    assert!(matches!(writer.push(episode(8, 4)), Err(Error::Conflict { .. })));
    assert!(matches!(writer.push(episode(7, 4)), Err(Error::Invalid { .. })));
    // A refused episode does not spoil the writer.
    writer.push(episode(9, 4)).unwrap();
    assert_eq!(writer.finish().unwrap(), Summary { episodes: 2, steps: 8, parts: 1 });
    let ids: Vec<i64> = dataset.episodes().unwrap().iter().map(|row| row.episode_id).collect();
    assert_eq!(ids, [3, 5, 8, 9]);
}

#[test]
fn flush_makes_episodes_visible_and_drop_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &raw_spec()).unwrap();
    let mut writer = dataset.writer().unwrap();
    writer.push(framed(0, 40)).unwrap();
    assert!(dataset.episodes().unwrap().is_empty());
    writer.flush().unwrap();
    assert_eq!(dataset.episodes().unwrap().len(), 1);
    let before = dataset.reader().unwrap();
    writer.push(framed(1, 40)).unwrap();
    drop(writer);
    assert_eq!(verify(folder.path(), false).unwrap().problems, []);
    write(folder.path(), &raw_spec(), SMALL, &[framed(2, 3)]).unwrap();
    // An open reader keeps its snapshot; the dataset finds what is new.
    assert!(matches!(before.read_actions(2), Err(Error::NoSuchEpisode { episode_id: 2, .. })));
    assert_eq!(dataset.read_actions(0).unwrap().len(), 640);
    assert_eq!(dataset.read_actions(2).unwrap().len(), 48);
}

#[test]
fn an_empty_dataset_is_no_dataset_yet() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = Dataset::create(folder.path(), &bare_spec()).unwrap();
    assert_eq!(dataset.writer().unwrap().finish().unwrap(), Summary::default());
    assert!(dataset.episodes().unwrap().is_empty());
    assert!(matches!(Dataset::open(folder.path()), Err(Error::NoDataset { .. })));
    assert!(matches!(Dataset::open(&folder.path().join("nowhere")), Err(Error::NoDataset { .. })));
}

#[test]
fn another_spec_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &bare_spec(), SMALL, &[episode(0, 4)]).unwrap();
    Dataset::create(folder.path(), &bare_spec()).unwrap();
    let message = Dataset::create(folder.path(), &raw_spec()).err().unwrap().to_string();
    assert!(message.contains("whether there are frames: false and true"), "{message}");
    assert!(!folder.path().join("frames").exists(), "what is refused is left as it was");
    let mut other = bare_spec();
    other.actions.components[12].edges[1] = -0.9;
    let error = Dataset::create(folder.path(), &other).err().unwrap();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(error.to_string().contains("component `left_x`, edges: [-1.05, -0.95, "), "{error}");
}

#[test]
fn a_window_past_the_end_names_the_episode() {
    let folder = tempfile::tempdir().unwrap();
    let dataset = write(folder.path(), &bare_spec(), SMALL, &[episode(7, 20)]).unwrap();
    let (mut actions, mut rgb) = (Vec::new(), Vec::new());
    let read = |t_start, length, actions: &mut Vec<u8>, rgb: &mut Vec<u8>| {
        dataset.reader().unwrap().read(&Window { episode_id: 7, t_start, length, weight: 1.0 }, actions, rgb)
    };
    read(10, 10, &mut actions, &mut rgb).unwrap();
    assert_eq!((actions.len(), rgb.len()), (160, 0));
    for (t_start, length) in [(10, 11), (20, 1), (0, 0), (u32::MAX, u32::MAX)] {
        let message = read(t_start, length, &mut actions, &mut rgb).unwrap_err().to_string();
        assert!(message.contains("episode 7") && message.contains("20 steps"), "{message}");
    }
}
