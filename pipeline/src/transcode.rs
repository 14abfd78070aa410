//! A dataset's frames in another codec: the same episodes and steps, to the row.
//!
//! ```text
//!   source --read_episode--> decode, encode, check --prepare--> writer      an episode at a time, on every core, in order
//! ```
//!
//! What is committed is a prefix of the source's episodes, so a transcoding that was stopped or killed goes on behind it, and
//! ends in the same files as one that was not.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail, ensure};
use playhouse_schemas::{Codec, Dataset, DatasetSpec, Episode, EpisodeRow, FrameSpec};

use crate::ordered::in_order;
use crate::progress::Progress;

/// What a transcoding did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transcoded {
    /// Episodes written.
    pub episodes: u64,
    /// Their frames.
    pub frames: u64,
    /// Bytes of these frames in the source.
    pub bytes_before: u64,
    /// Bytes of these frames now.
    pub bytes_after: u64,
    /// Episodes that were there already.
    pub skipped: u64,
}

/// Writes the episodes of `source` to `target` with their frames in `codec`; those that are there already are skipped. A codec
/// without loss keeps the source's pixels as they are decoded, which is checked for each frame.
///
/// # Errors
/// The source stores no frames or has them in this codec already, the target lies in the source or holds other episodes or another
/// codec, a frame is damaged, the disk fails, or the user asked to stop.
pub fn transcode(
    source: &Path,
    target: &Path,
    codec: Codec,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Transcoded> {
    let source = Dataset::open(source)?;
    let place = source.root().display();
    let Some(from) = source.spec().frames.clone() else {
        bail!("{place} stores no frames; record or import it with frames");
    };
    ensure!(from.codec != codec, "{place} has its frames in this codec already");
    let (inner, outer) = (resolved(target), resolved(source.root()));
    ensure!(
        inner == outer || !inner.starts_with(&outer),
        "{} lies in {place}, whose sidecar it would become: transcode into a folder outside of it",
        target.display()
    );
    let to = FrameSpec { codec, ..from.clone() };
    let spec = DatasetSpec { actions: source.spec().actions.clone(), frames: Some(to.clone()) };
    let target = Dataset::create(target, &spec)?;
    let rows = source.episodes()?;
    let there = already_there(&target, &rows)?;
    let mut done = Transcoded { skipped: there.len() as u64, ..Transcoded::default() };
    let total: u64 = rows.iter().map(|row| u64::from(row.num_steps)).sum();
    let mut passed: u64 = there.values().map(|steps| u64::from(*steps)).sum();
    let mut writer = target.writer()?;
    let work = |row: &EpisodeRow| {
        let id = row.episode_id;
        let mut episode = source.read_episode(id)?;
        let before = size(&episode);
        convert(&mut episode, &from, &to, progress).with_context(|| format!("{place}: episode {id}"))?;
        let after = size(&episode);
        let frames = episode.frames.len() as u64;
        let prepared = target.prepare(episode)?;
        // Statistics are computed again: if they are others, so are the actions or the version that wrote them.
        ensure!(
            prepared.row() == row,
            "{place}: the row of episode {id} is not what its steps say; see `playhouse verify`"
        );
        Ok((prepared, frames, before, after))
    };
    progress.update(passed, total, "frames");
    let wanted = rows.iter().filter(|row| !there.contains_key(&row.episode_id)).map(Ok);
    in_order(threads, wanted, work, |(episode, frames, before, after)| {
        ensure!(!progress.stop(), STOPPED);
        writer.push_prepared(episode)?;
        done.episodes += 1;
        done.frames += frames;
        done.bytes_before += before;
        done.bytes_after += after;
        passed += frames;
        progress.update(passed, total, "frames");
        Ok(ControlFlow::Continue(()))
    })?;
    writer.finish()?;
    Ok(done)
}

const STOPPED: &str = "stopped on request; run again to continue";

/// Where a path leads, symbolic links resolved as far as it is there already.
fn resolved(path: &Path) -> PathBuf {
    let whole = absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = whole.ancestors().find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    match there.and_then(|(folder, real)| Some(real.join(whole.strip_prefix(folder).ok()?))) {
        Some(path) => path,
        None => whole,
    }
}

fn size(episode: &Episode) -> u64 {
    episode.frames.iter().map(|frame| frame.len() as u64).sum()
}

fn convert(episode: &mut Episode, from: &FrameSpec, to: &FrameSpec, progress: &dyn Progress) -> Result<()> {
    let mut rgb = vec![0; from.bytes()];
    let mut again = vec![0; from.bytes()];
    for (t, frame) in episode.frames.iter_mut().enumerate() {
        ensure!(!progress.stop(), STOPPED);
        from.decode_into(frame, &mut rgb).with_context(|| format!("frame {t}"))?;
        *frame = to.encode(&rgb)?;
        if !matches!(to.codec, Codec::Jpeg { .. }) {
            to.decode_into(frame, &mut again).with_context(|| format!("frame {t}, encoded"))?;
            ensure!(rgb == again, "frame {t} does not come back from the codec as it was; please report this");
        }
    }
    Ok(())
}

/// The steps of each of the source's episodes that the target has.
fn already_there(target: &Dataset, rows: &[EpisodeRow]) -> Result<BTreeMap<i64, u32>> {
    let mut there = BTreeMap::new();
    target.visit_episodes(|row| {
        let found = rows.binary_search_by_key(&row.episode_id, |row| row.episode_id);
        ensure!(
            found.is_ok_and(|index| rows[index] == row),
            "{}: episode {} is not one of the source: transcode into another folder",
            target.root().display(),
            row.episode_id
        );
        there.insert(row.episode_id, row.num_steps);
        Ok(())
    })?;
    Ok(there)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::progress::Silent;
    use crate::stages::record_into;

    fn recorded(root: &Path, frames: &str) -> std::path::PathBuf {
        let path = root.join(frames);
        let settings = format!("map = 'skygarden'\nepisodes = 4\nframes = '{frames}'").parse().unwrap();
        record_into(&path, &settings, 5, 2, &Silent).unwrap();
        path
    }

    fn episodes(root: &Path) -> Vec<Episode> {
        let dataset = Dataset::open(root).unwrap();
        let rows = dataset.episodes().unwrap();
        rows.iter().map(|row| dataset.read_episode(row.episode_id).unwrap()).collect()
    }

    fn bare(episode: &Episode) -> Episode {
        Episode { frames: Vec::new(), ..episode.clone() }
    }

    #[test]
    fn pixels_steps_and_rows_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let jpeg = recorded(dir.path(), "jpeg");
        let before = FrameSpec::default();
        for (name, codec) in [("fast", Codec::Fast), ("png", Codec::Png), ("raw", Codec::Raw)] {
            let to = dir.path().join(format!("to-{name}"));
            let done = transcode(&jpeg, &to, codec, 2, &Silent).unwrap();
            assert_eq!((done.episodes, done.skipped), (4, 0));
            let after = FrameSpec { codec, ..before.clone() };
            let (old, new) = (episodes(&jpeg), episodes(&to));
            assert_eq!(
                Dataset::open(&jpeg).unwrap().episodes().unwrap(),
                Dataset::open(&to).unwrap().episodes().unwrap()
            );
            for (old, new) in old.iter().zip(&new) {
                assert!(bare(old) == bare(new));
                for (old, new) in old.frames.iter().zip(&new.frames).step_by(7) {
                    let (mut a, mut b) = (vec![0; before.bytes()], vec![1; before.bytes()]);
                    before.decode_into(old, &mut a).unwrap();
                    after.decode_into(new, &mut b).unwrap();
                    assert!(a == b, "{name}");
                }
            }
            assert_eq!(done.frames, new.iter().map(|episode| episode.frames.len() as u64).sum::<u64>());
            assert_eq!(transcode(&jpeg, &to, codec, 1, &Silent).unwrap().skipped, 4);
        }
        let lossy = dir.path().join("to-jpeg");
        transcode(&dir.path().join("to-png"), &lossy, Codec::Jpeg { quality: 50 }, 2, &Silent).unwrap();
        assert!(size(&episodes(&lossy)[0]) < size(&episodes(&jpeg)[0]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let [none, jpeg] = ["none", "jpeg"].map(|frames| recorded(dir.path(), frames));
        let refused = |source: &Path, target: &Path, codec| {
            format!("{:#}", transcode(source, target, codec, 1, &Silent).unwrap_err())
        };
        let fresh = dir.path().join("fresh");
        assert!(refused(&none, &fresh, Codec::Fast).contains("stores no frames"));
        assert!(refused(&jpeg, &fresh, FrameSpec::default().codec).contains("in this codec already"));
        assert!(!fresh.exists());
        std::os::unix::fs::symlink(&jpeg, dir.path().join("link")).unwrap();
        for inside in
            [jpeg.join("sub"), jpeg.join("deep/er"), dir.path().join("none/../jpeg/sub"), dir.path().join("link/sub")]
        {
            assert!(refused(&jpeg, &inside, Codec::Fast).contains("transcode into a folder outside of it"));
            assert!(!inside.exists());
        }
        assert!(refused(&jpeg, &jpeg, Codec::Fast).contains("the frames' codec"));
        // Other episodes under the same ids.
        let other = dir.path().join("other");
        let settings = "map = 'canyon'\nepisodes = 2\nframes = 'fast'".parse().unwrap();
        record_into(&other, &settings, 6, 1, &Silent).unwrap();
        assert!(refused(&jpeg, &other, Codec::Fast).contains("episode 0 is not one of the source"));
    }

    /// Stops after so many questions whether to.
    struct StopAfter(AtomicU64);

    impl Progress for StopAfter {
        fn stop(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[test]
    fn a_stopped_one_leaves_nothing_broken_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let jpeg = recorded(dir.path(), "jpeg");
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        transcode(&jpeg, &whole, Codec::Fast, 2, &Silent).unwrap();
        let stopped = transcode(&jpeg, &parts, Codec::Fast, 2, &StopAfter(AtomicU64::new(40))).unwrap_err();
        assert!(format!("{stopped:#}").contains("run again to continue"), "{stopped:#}");
        assert_eq!(playhouse_schemas::verify(&parts, false).unwrap().problems.len(), 0);
        transcode(&jpeg, &parts, Codec::Fast, 1, &Silent).unwrap();
        assert!(episodes(&whole) == episodes(&parts));
        let file = |root: &Path| std::fs::read(root.join("frames/part-000000000000.parquet")).unwrap();
        assert!(file(&whole) == file(&parts));
    }
}
