//! Clips made here, good and bad, and the figures of a person's real one.

use std::path::{Path, PathBuf};

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::write::FileOptions;
use playhouse_schemas::{Dataset, Window};

use super::*;
use crate::progress::Silent;

const IMAGE: usize = 3 * 180 * 300;

/// A clip to be spoilt.
struct Clip {
    images: (Vec<u64>, Vec<u8>),
    actions: (Vec<u64>, Vec<f32>),
    states: Option<(Vec<u64>, Vec<f32>)>,
}

/// Four steps: flat colours, a few inputs, known positions.
fn clip() -> Clip {
    let steps = 4u64;
    // Channel first: red 40 x t, green 100, blue 7.
    let colours = (0..4u8).flat_map(|t| [40 * t, 100, 7]);
    let images = colours.flat_map(|value| std::iter::repeat_n(value, 180 * 300)).collect();
    let mut actions = [[0f32; 16]; 4];
    for (t, action) in actions.iter_mut().enumerate() {
        action[12..].fill(5.0);
        action[7] = f32::from(u8::from(t > 1));
        action[13] = 10.0;
    }
    let mut states = [[-1f32; 56]; 4];
    for state in &mut states {
        state[1..6].copy_from_slice(&[0.5, -0.25, 0.0, 0.6, 0.8]);
    }
    Clip {
        images: (vec![steps, 3, 180, 300], images),
        actions: (vec![steps, 16], actions.concat()),
        states: Some((vec![steps, 56], states.concat())),
    }
}

impl Clip {
    fn write(&self, path: &Path) {
        let mut npz = NpzWriter::create(path).unwrap();
        let options = FileOptions::default();
        let mut images =
            npz.array("images", options).unwrap().default_dtype().shape(&self.images.0).begin_nd().unwrap();
        images.extend(self.images.1.iter().copied()).unwrap();
        images.finish().unwrap();
        for (name, table) in [("actions", Some(&self.actions)), ("states", self.states.as_ref())] {
            let Some((shape, values)) = table else { continue };
            let mut array = npz.array(name, options).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
            array.extend(values.iter().copied()).unwrap();
            array.finish().unwrap();
        }
    }
}

fn request(source: PathBuf, dataset: PathBuf, resume: bool) -> Request {
    let options = Options { frames: Some(Images::Raw), ..Options::default() };
    Request { format: "bleeding-edge".into(), source, dataset, options, resume, threads: 2 }
}

/// The message of an import that must fail.
fn refusal(spoil: impl FnOnce(&mut Clip)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.npz");
    let mut clip = clip();
    spoil(&mut clip);
    clip.write(&path);
    let error = run(&request(path, dir.path().join("data"), false), &Silent).unwrap_err().to_string();
    assert!(error.contains("clip.npz"), "{error}");
    error
}

#[test]
fn a_clip_becomes_an_episode() {
    let dir = tempfile::tempdir().unwrap();
    let (path, data) = (dir.path().join("clip.npz"), dir.path().join("data"));
    clip().write(&path);
    let imported = run(&request(path, data.clone(), false), &Silent).unwrap();
    assert_eq!(imported, Imported { episodes: 1, steps: 4, skipped: 0 });

    let dataset = Dataset::open(&data).unwrap();
    let spec = dataset.spec().frames.clone().unwrap();
    assert_eq!((spec.width, spec.resize.as_deref()), (128, Some(bleeding_edge::RESIZE)));
    let episode = dataset.read_episode(0).unwrap();
    assert_eq!(episode.actions[16 * 2..16 * 3], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 10, 5, 5]);
    assert_eq!((episode.poses[0].x, episode.poses[0].y, episode.poses[0].z), (16_384.0, -8_192.0, 0.0));
    assert!((episode.poses[0].yaw - 0.8f32.atan2(0.6)).abs() < 1e-6);
    let (mut actions, mut rgb) = (Vec::new(), Vec::new());
    let window = Window { episode_id: 0, t_start: 2, length: 1, weight: 1.0 };
    dataset.reader().unwrap().read(&window, &mut actions, &mut rgb).unwrap();
    assert!(rgb.chunks_exact(3).all(|pixel| pixel == [80, 100, 7]), "flat colours stay flat and keep their channels");
}

#[test]
fn both_image_layouts_give_the_same_frames() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = clip();
    for (i, byte) in first.images.1.iter_mut().enumerate() {
        *byte = (i * 31 % 251) as u8;
    }
    let mut last = clip();
    last.images.0 = vec![4, 180, 300, 3];
    let pixel = |i: usize| {
        let (image, inside) = (i / IMAGE, i % IMAGE);
        first.images.1[image * IMAGE + inside % 3 * (180 * 300) + inside / 3]
    };
    last.images.1 = (0..4 * IMAGE).map(pixel).collect();
    let frames = [("first", &first), ("last", &last)].map(|(name, clip)| {
        let path = dir.path().join(format!("{name}.npz"));
        clip.write(&path);
        run(&request(path, dir.path().join(name), false), &Silent).unwrap();
        Dataset::open(&dir.path().join(name)).unwrap().read_episode(0).unwrap().frames
    });
    assert!(frames[0] == frames[1]);
}

#[test]
fn folders_are_read_in_order_and_resume() {
    let dir = tempfile::tempdir().unwrap();
    let (clips, data) = (dir.path().join("clips"), dir.path().join("data"));
    std::fs::create_dir_all(clips.join("deeper")).unwrap();
    assert!(matches!(run(&request(clips.clone(), data.clone(), false), &Silent), Err(Error::Empty(_))));
    clip().write(&clips.join("b.npz"));
    clip().write(&clips.join("a.npz"));
    let first = run(&request(clips.clone(), data.clone(), true), &Silent).unwrap();
    assert_eq!((first.episodes, first.skipped), (2, 0));
    clip().write(&clips.join("deeper/c.npz"));
    let mut again = request(clips, data.clone(), true);
    again.options.first_id = Some(0);
    assert_eq!(run(&again, &Silent).unwrap(), Imported { episodes: 1, steps: 4, skipped: 2 });
    // Added to what is there, the same play is known by its actions; another play under a taken id is a conflict.
    again.resume = false;
    assert_eq!(run(&again, &Silent).unwrap(), Imported { episodes: 0, steps: 0, skipped: 3 });
    let mut other = clip();
    other.actions.1[12] = 6.0;
    other.write(&again.source.join("d.npz"));
    assert!(matches!(run(&again, &Silent), Err(Error::Dataset(_))), "an id twice is a conflict");
    again.options.first_id = None;
    assert_eq!(run(&again, &Silent).unwrap(), Imported { episodes: 1, steps: 4, skipped: 3 });
    let ids: Vec<i64> = Dataset::open(&data).unwrap().episodes().unwrap().iter().map(|row| row.episode_id).collect();
    assert_eq!(ids, [0, 1, 2, 3]);
}

#[test]
fn one_image_more_than_actions_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.npz");
    let mut longer = clip();
    longer.images.0[0] = 5;
    longer.images.1.extend(std::iter::repeat_n(9, IMAGE));
    longer.write(&path);
    assert_eq!(run(&request(path, dir.path().join("data"), false), &Silent).unwrap().steps, 4);
}

#[test]
fn wrong_shapes_and_types_are_described() {
    let error = refusal(|clip| clip.images.0 = vec![4, 3, 300, 180]);
    assert!(error.contains("`images` is |u1 [4, 3, 300, 180], expected uint8 [N, 3, 180, 300]"), "{error}");
    let error = refusal(|clip| {
        clip.images.0[0] = 2;
        clip.images.1.truncate(2 * IMAGE);
    });
    assert!(error.contains("one image for each of the 4 actions"), "{error}");
    let error = refusal(|clip| clip.actions.0 = vec![16, 4]);
    assert!(error.contains("`actions` is <f4 [16, 4], expected float32 [N, 16]"), "{error}");
    let error = refusal(|clip| {
        clip.states = Some((vec![4, 55], vec![0.0; 220]));
    });
    assert!(error.contains("`states`") && error.contains("float32 [4, 56]"), "{error}");
}

#[test]
fn bad_values_are_named_by_row_and_column() {
    let error = refusal(|clip| clip.actions.1[16 * 2 + 13] = f32::NAN);
    assert!(error.contains("row 2, column 13 (left_y): value NaN is not a number"), "{error}");
    let error = refusal(|clip| clip.actions.1[16 * 3 + 14] = 11.0);
    assert!(error.contains("row 3, column 14 (right_x): value 11 is not a bucket index 0..10"), "{error}");
    let error = refusal(|clip| clip.actions.1[16 + 12] = 0.35);
    assert!(error.contains("value 0.35") && error.contains("sticks = \"continuous\""), "{error}");
    let error = refusal(|clip| clip.actions.1[0] = 2.0);
    assert!(error.contains("row 0, column 0 (a): value 2 is not a button state"), "{error}");
}

#[test]
fn continuous_sticks_are_put_into_buckets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.npz");
    let mut floats = clip();
    floats.actions.1[12..16].copy_from_slice(&[-1.0, 1.0, 0.0, 0.3]);
    (1..4).for_each(|row| floats.actions.1[16 * row + 12..16 * row + 16].fill(0.0));
    floats.write(&path);
    let mut request = request(path, dir.path().join("data"), false);
    request.options.sticks = Some(Sticks::Continuous);
    run(&request, &Silent).unwrap();
    let episode = Dataset::open(&request.dataset).unwrap().read_episode(0).unwrap();
    assert_eq!(episode.actions[12..16], [0, 10, 5, 7]);
}

#[test]
fn damaged_archives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clip.npz");
    let import = || run(&request(path.clone(), dir.path().join("data"), false), &Silent).unwrap_err().to_string();
    clip().write(&path);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(import().contains("not a complete npz (zip) archive"));
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 4] ^= 0xff;
    std::fs::write(&path, flipped).unwrap();
    let error = import();
    assert!(error.contains("`images`"), "{error}");
    let mut npz = NpzWriter::create(&path).unwrap();
    let mut other =
        npz.array("frames", FileOptions::default()).unwrap().default_dtype().shape(&[1]).begin_nd().unwrap();
    other.push(&1u8).unwrap();
    other.finish().unwrap();
    drop(npz);
    let error = import();
    assert!(error.contains("no member `actions`; it has: frames"), "{error}");
    std::fs::remove_file(&path).unwrap();
    assert!(import().contains("cannot read"));
}

/// The figures that come with the recording of a person's play.
#[test]
#[ignore = "reads the clip named by PLAYHOUSE_HUMAN_SAMPLE, which is not part of the repository"]
fn the_human_sample_agrees_with_its_figures() {
    let sample = std::env::var("PLAYHOUSE_HUMAN_SAMPLE").expect("PLAYHOUSE_HUMAN_SAMPLE names map02.npz");
    let dir = tempfile::tempdir().unwrap();
    let request = request(sample.into(), dir.path().join("data"), false);
    assert_eq!(run(&request, &Silent).unwrap().steps, 600);
    let dataset = Dataset::open(&request.dataset).unwrap();
    let episode = dataset.read_episode(0).unwrap();
    let rows: Vec<&[u8]> = episode.actions.chunks_exact(16).collect();

    let histogram = |column: usize| {
        let mut counts = [0; 11];
        rows.iter().for_each(|row| counts[usize::from(row[column])] += 1);
        counts
    };
    assert_eq!(histogram(12), [14, 3, 6, 5, 5, 521, 6, 3, 14, 5, 18]);
    assert_eq!(histogram(13), [20, 3, 5, 3, 4, 434, 12, 9, 21, 11, 78]);
    assert_eq!(histogram(14), [12, 1, 7, 18, 52, 427, 44, 24, 5, 4, 6]);
    let share = |column: usize| rows.iter().filter(|row| row[column] == 1).count() as f64 / 6.0;
    assert_eq!([7, 0, 10, 2].map(|column| (share(column) * 10.0).round() / 10.0), [31.7, 0.5, 37.8, 0.0]);
    assert_eq!(rows.iter().collect::<std::collections::HashSet<_>>().len(), 94);
    let repeats = rows.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert_eq!((repeats as f64 / 599.0 * 1000.0).round(), 391.0);

    let bytes: Vec<u8> = episode.frames.concat();
    let mean = bytes.iter().map(|byte| f64::from(*byte)).sum::<f64>() / bytes.len() as f64;
    assert!((mean - 40.2).abs() < 0.5, "mean pixel {mean}: resizing hardly moves it");
    assert!(episode.poses.iter().all(|pose| pose.x.abs() < 32_768.0 && pose.yaw.abs() <= std::f32::consts::PI));
}
