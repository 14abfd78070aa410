//! Clips in the layout of `microsoft/bleeding-edge-gameplay-sample`: about a minute of play an npz file.
//!
//! ```text
//!   member    shape                                   type
//!   images    [N, 3, 180, 300] or [N, 180, 300, 3]    uint8     RGB; squeezed to 128 x 128 (aspect not kept)
//!   actions   [N, 16]                                 float32   12 buttons (0 or 1), 4 sticks (bucket 0..10, 5 at rest)
//!   states    [N, 56] (optional)                      float32   -1 = not known; 1..3 position, 4 5 cos, sin of yaw
//! ```
//!
//! The source names neither buttons nor sticks: columns are taken in the order of the `gamepad` action space. Positions
//! are stored as fractions of 32,768 and become telemetry in the source's own units, if every row knows position and
//! heading. A clip with one more image than
//! actions holds the observation after the last action; that image is dropped, and a note says so.

use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use playhouse_schemas::{
    ActionSource, ActionSpace, Dataset, DatasetSpec, Episode, EpisodeRow, FrameSpec, Kind, Pose, action_hash,
};
use rayon::prelude::*;

use super::npz::{Archive, Member};
use super::{Error, Imported, Request, Sticks, clips, fitting};
use crate::progress::Progress;

const WIDTH: usize = 300;
const HEIGHT: usize = 180;
const SIDE: usize = 128;
const ACTIONS: usize = 16;
const STATES: usize = 56;
/// An episode is committed as a whole, so one of many hours is refused (100,000 steps = 2.8 hours).
const MAX_STEPS: usize = 100_000;
/// What imported episodes say of their origin.
const SOURCE: &str = "bleeding-edge";
/// Clips are committed this often, so that a stop or a kill loses little; a clip of a minute has about 5 MB of images.
const COMMIT_EVERY: u64 = 16;
/// Images read before they are resized and encoded on all cores: 10 MB.
const BATCH: usize = 64;
/// Positions are stored as a fraction of this.
const POSITION_SCALE: f32 = 32_768.0;
/// The filter, with the library whose arithmetic it is: training and inference must agree on both.
pub(super) const RESIZE: &str = "bilinear convolution, fast_image_resize 6.1.0";

/// Imports every clip of `request.source`.
///
/// # Errors
/// See [`Error`].
pub fn import(request: &Request, progress: &dyn Progress) -> Result<Imported, Error> {
    let clips = clips(&request.source)?;
    let actions = ActionSpace::gamepad();
    let frames = FrameSpec {
        width: SIDE as u16,
        height: SIDE as u16,
        codec: request.options.frames.unwrap_or_default().codec(),
        resize: Some(RESIZE.into()),
    };
    let dataset =
        Dataset::create(&request.dataset, &DatasetSpec { actions: actions.clone(), frames: Some(frames.clone()) })?;
    let present = dataset.episodes()?;
    let last = if request.resume { None } else { present.iter().map(|row| row.episode_id).max() };
    let first_id = request.options.first_id.unwrap_or_else(|| last.map_or(0, |last| last.saturating_add(1)));
    let first_id = fitting(first_id, clips.len() as i64 - 1)?;
    let there = |found: &dyn Fn(&&EpisodeRow) -> bool| present.iter().find(found).map(|row| row.episode_id);

    let mut writer = dataset.writer()?;
    let mut imported = Imported::default();
    for (index, path) in clips.iter().enumerate() {
        if progress.stop() {
            return Err(Error::Stopped);
        }
        progress.update(index as u64, clips.len() as u64, "clips");
        let place = if request.resume { index as u64 } else { imported.episodes };
        let episode_id = first_id + place as i64;
        if request.resume && there(&|row| row.episode_id == episode_id).is_some() {
            imported.skipped += 1;
            continue;
        }
        let mut archive = Archive::open(path)?;
        let played = read_actions(path, &mut archive, &actions, request.options.sticks.unwrap_or_default())?;
        let hash = action_hash(&played);
        let known = |row: &&EpisodeRow| row.source == SOURCE && row.stats.action_hash == hash;
        if let Some(known) = there(&known).filter(|_| !request.resume) {
            progress.note(&format!("{}: is episode {known} already", path.display()));
            imported.skipped += 1;
            continue;
        }
        let episode = read_clip(path, archive, episode_id, played, &frames, progress)?;
        imported.episodes += 1;
        imported.steps += episode.num_steps(&actions) as u64;
        writer.push(episode)?;
        if (place + 1).is_multiple_of(COMMIT_EVERY) {
            writer.flush()?;
        }
    }
    writer.finish()?;
    progress.update(clips.len() as u64, clips.len() as u64, "clips");
    Ok(imported)
}

fn read_clip(
    path: &Path,
    mut archive: Archive,
    episode_id: i64,
    actions: Vec<u8>,
    spec: &FrameSpec,
    progress: &dyn Progress,
) -> Result<Episode, Error> {
    let steps = actions.len() / ACTIONS;
    let poses = if archive.has("states") { read_poses(&mut archive, steps)? } else { Vec::new() };
    let images = archive.member("images")?;
    if images.shape()?.first() == Some(&(steps + 1)) {
        progress.note(&format!(
            "{}: {} images for {steps} actions: the last image is dropped",
            path.display(),
            steps + 1
        ));
    }
    let frames = read_images(images, steps, spec)?;
    Ok(Episode {
        episode_id,
        source: SOURCE.into(),
        map: None,
        player: None,
        policy: None,
        spawn: None,
        outcome: None,
        split: None,
        action_source: ActionSource::Human,
        seed: None,
        hz: 10.0,
        episode_return: None,
        started_at: None,
        actions,
        poses,
        rewards: Vec::new(),
        terminated: false,
        // The clip ends because the recording does, not because the game did.
        truncated: true,
        frames,
    })
}

fn read_actions(path: &Path, archive: &mut Archive, space: &ActionSpace, sticks: Sticks) -> Result<Vec<u8>, Error> {
    let member = archive.member("actions")?;
    let shape = member.shape()?;
    let [rows, ACTIONS] = shape[..] else { return Err(member.unexpected("float32 [N, 16]")) };
    if !member.is_f32() {
        return Err(member.unexpected("float32 [N, 16] (little-endian): convert with actions.astype('<f4')"));
    }
    if rows == 0 || rows > MAX_STEPS {
        return Err(member.unexpected(&format!("between 1 and {MAX_STEPS} rows: split longer recordings into clips")));
    }
    let values = member.table(rows, ACTIONS)?;
    let bucket = |(index, &value): (usize, &f32)| {
        let (row, column) = (index / ACTIONS, index % ACTIONS);
        let component = &space.components[column];
        let continuous = sticks == Sticks::Continuous && component.kind == Kind::Axis;
        let bucket = if continuous {
            component.bucket(value).map_err(|_| "is not a deflection between -1 and 1".to_owned())
        } else {
            index_of(value, component.cardinality, component.kind)
        };
        bucket.map_err(|problem| Error::Value {
            path: path.to_owned(),
            member: "actions".into(),
            row,
            column,
            name: component.name.clone(),
            value,
            problem,
        })
    };
    values.iter().enumerate().map(bucket).collect()
}

/// A float that must be a whole number below `cardinality`.
fn index_of(value: f32, cardinality: u8, kind: Kind) -> Result<u8, String> {
    let last = cardinality - 1;
    if value.is_nan() {
        return Err("is not a number; repair or leave out the clip".into());
    }
    if value.fract() == 0.0 && (0.0..=f32::from(last)).contains(&value) {
        return Ok(value as u8);
    }
    Err(match kind {
        Kind::Button => "is not a button state: expected 0 or 1".into(),
        Kind::Axis => format!(
            "is not a bucket index 0..{last}; if the sticks are deflections between -1 and 1, import with sticks = \"continuous\""
        ),
    })
}

/// Telemetry from the states whose meaning is known: all of a clip's poses, or none if one of them is not known.
fn read_poses(archive: &mut Archive, steps: usize) -> Result<Vec<Pose>, Error> {
    let member = archive.member("states")?;
    let shape = member.shape()?;
    let expected = format!("float32 [{steps}, 56], one row for each action");
    let [rows, STATES] = shape[..] else { return Err(member.unexpected(&expected)) };
    if !member.is_f32() || (rows != steps && rows != steps + 1) {
        return Err(member.unexpected(&expected));
    }
    let values = member.table(rows, STATES)?;
    Ok(values.chunks_exact(STATES).take(steps).map(pose).collect::<Option<Vec<Pose>>>().unwrap_or_default())
}

/// Position from columns 1..3, heading from cosine and sine in columns 4 and 5. The source has no pitch: level.
fn pose(row: &[f32]) -> Option<Pose> {
    let position = |column: usize| known(row[column]).map(|value| value * POSITION_SCALE);
    // -1 is both "not known" and a possible cosine; only a pair on the unit circle is a heading.
    let (cos, sin) = (row[4], row[5]);
    let heading = ((cos * cos + sin * sin) - 1.0).abs() < 0.01;
    let yaw = heading.then(|| sin.atan2(cos))?;
    Some(Pose { x: position(1)?, y: position(2)?, z: position(3)?, yaw, pitch: 0.0 })
}

fn known(value: f32) -> Option<f32> {
    (value.is_finite() && value != -1.0).then_some(value)
}

#[derive(Clone, Copy)]
enum Layout {
    ChannelFirst,
    ChannelLast,
}

fn read_images(mut member: Member, steps: usize, spec: &FrameSpec) -> Result<Vec<Vec<u8>>, Error> {
    const EXPECTED: &str = "uint8 [N, 3, 180, 300] or [N, 180, 300, 3]";
    let shape = member.shape()?;
    let (rows, layout) = match shape[..] {
        [rows, 3, HEIGHT, WIDTH] => (rows, Layout::ChannelFirst),
        [rows, HEIGHT, WIDTH, 3] => (rows, Layout::ChannelLast),
        _ => return Err(member.unexpected(EXPECTED)),
    };
    if !member.is_u8() {
        return Err(member.unexpected(&format!("{EXPECTED}: convert with images.astype('u1')")));
    }
    if rows != steps && rows != steps + 1 {
        return Err(member.unexpected(&format!("one image for each of the {steps} actions")));
    }

    const BYTES: usize = WIDTH * HEIGHT * 3;
    let mut encoded = Vec::with_capacity(steps);
    let mut pixels = vec![0u8; BATCH.min(rows) * BYTES];
    for start in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - start);
        for (offset, image) in pixels.chunks_exact_mut(BYTES).take(count).enumerate() {
            member.read(image, start + offset)?;
        }
        let images = pixels.par_chunks_exact(BYTES).take(count);
        let frames: Result<Vec<Vec<u8>>, Error> =
            images.map_init(Resizer::new, |resizer, image| Ok(spec.encode(&resize(resizer, image, layout))?)).collect();
        encoded.extend(frames?);
    }
    member.finish()?;
    encoded.truncate(steps);
    Ok(encoded)
}

/// 300 x 180 RGB in either layout to 128 x 128 x 3.
fn resize(resizer: &mut Resizer, image: &[u8], layout: Layout) -> Vec<u8> {
    match layout {
        Layout::ChannelLast => scale(resizer, image, PixelType::U8x3),
        Layout::ChannelFirst => {
            let planes: Vec<Vec<u8>> =
                image.chunks_exact(WIDTH * HEIGHT).map(|plane| scale(resizer, plane, PixelType::U8)).collect();
            (0..SIDE * SIDE).flat_map(|pixel| [planes[0][pixel], planes[1][pixel], planes[2][pixel]]).collect()
        }
    }
}

/// Scales one image whose buffer length the caller has fixed.
fn scale(resizer: &mut Resizer, pixels: &[u8], kind: PixelType) -> Vec<u8> {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let mut out = Image::new(SIDE as u32, SIDE as u32, kind);
    let source = ImageRef::new(WIDTH as u32, HEIGHT as u32, pixels, kind).expect("the buffer is one image long");
    resizer.resize(&source, &mut out, &options).expect("both images have the same pixel type");
    out.into_vec()
}
