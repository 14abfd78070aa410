//! `record`: scripted players play the arena into a dataset.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use playhouse_arena::{FRAME_BYTES, Player};
use playhouse_schemas::{ActionSource, ActionSpace, Codec, Dataset, DatasetSpec, Episode, EpisodeRow, FrameSpec};
use rayon::prelude::*;
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse};
use crate::env::{Recorder, derive_seed, purpose_seed, start};
use crate::progress::Progress;

/// How an arena dataset keeps its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frames {
    /// JPEG of quality 90: about 7 KB a frame of the arena.
    #[default]
    Jpeg,
    /// Lossless.
    Png,
    /// 49,152 bytes a frame.
    Raw,
    /// Not at all: rendered again from seed and actions when read.
    None,
}

impl Frames {
    /// The frame spec of a dataset that keeps its frames so.
    pub fn spec(self) -> Option<FrameSpec> {
        let codec = match self {
            Frames::Jpeg => return Some(FrameSpec::default()),
            Frames::Png => Codec::Png,
            Frames::Raw => Codec::Raw,
            Frames::None => return None,
        };
        Some(FrameSpec { codec, ..FrameSpec::default() })
    }
}

/// Settings of `record`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The map to play on.
    #[serde(default)]
    map: Option<String>,
    /// Several maps, taken in turn.
    #[serde(default)]
    maps: Vec<String>,
    /// Who plays: a persona, or `mixed`.
    #[serde(default = "mixed")]
    persona: String,
    /// Episodes to record.
    episodes: u64,
    /// How frames are kept.
    #[serde(default)]
    frames: Frames,
    /// Id of the first episode.
    #[serde(default)]
    first_id: i64,
}

fn mixed() -> String {
    "mixed".into()
}

/// Episodes with frames are committed this often by their place, so that a kill loses seconds of work, and a recording that was
/// killed ends in the same files as one that was not. Without frames a part holds as much as it can: playing again costs nothing.
const COMMIT_EVERY: u64 = 32;

impl Stage for Record {
    const VERSION: u32 = 3;

    fn parse(stage: &str, table: &toml::Table) -> Result<Self> {
        let mut record: Record = parse(stage, table)?;
        match record.map.take() {
            Some(map) if record.maps.is_empty() => record.maps.push(map),
            None if !record.maps.is_empty() => {}
            _ => bail!("stage `{stage}`: give `map` or `maps`, one of the two"),
        }
        for map in &record.maps {
            check_map(stage, map)?;
        }
        Player::new(&record.persona, 0).map_err(|error| anyhow::anyhow!("stage `{stage}`: persona: {error}"))?;
        ensure!(record.episodes > 0, "stage `{stage}`: episodes is 0; record at least one");
        ensure!(record.first_id >= 0, "stage `{stage}`: first_id is {}; ids start at 0", record.first_id);
        Ok(record)
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        self.record(&ctx.dir.join("data"), purpose_seed(ctx.seed, ctx.name), ctx.threads, ctx.progress)
    }
}

/// Refuses a map that the arena does not have.
pub fn check_map(stage: &str, map: &str) -> Result<()> {
    let maps = playhouse_arena::maps();
    ensure!(maps.contains(&map), "stage `{stage}`: map `{map}` is not known; choose from {}", maps.join(", "));
    Ok(())
}

/// Records into any dataset, with the settings of kind `record`.
///
/// # Errors
/// The settings are wrong, the dataset was made with another frame spec, or it cannot be written.
pub fn record_into(
    dataset: &Path,
    settings: &toml::Table,
    seed: u64,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Outcome> {
    Record::parse("record", settings)?.record(dataset, seed, threads, progress)
}

impl Record {
    fn record(&self, root: &Path, seed: u64, threads: usize, progress: &dyn Progress) -> Result<Outcome> {
        let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: self.frames.spec() };
        let dataset = Dataset::create(root, &spec)?;
        let ids = self.first_id..self.first_id + self.episodes as i64;
        // Parts are committed in the order of ids, so what is missing is the tail.
        let rows = dataset.episodes()?;
        let kept: Vec<&EpisodeRow> = rows.iter().filter(|row| ids.contains(&row.episode_id)).collect();
        for row in &kept {
            self.check_kept(row, seed).with_context(|| root.display().to_string())?;
        }
        let kept = kept.len() as u64;
        let mut writer = dataset.writer()?;
        // A few episodes a thread keep all of them busy to the end of a batch, and bound the memory.
        let batch = 4 * threads.max(1) as u64;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let mut next = kept;
        while next < self.episodes {
            ensure!(!progress.stop(), "stopped on request; run again to continue");
            progress.update(next, self.episodes, "episodes");
            let until = (next + batch).min(self.episodes);
            let play = |index| self.play(index, derive_seed(seed, index), spec.frames.as_ref());
            let episodes: Vec<Episode> =
                pool.install(|| (next..until).into_par_iter().map(play).collect::<Result<_>>())?;
            for (index, episode) in (next..until).zip(episodes) {
                writer.push(episode)?;
                if spec.frames.is_some() && (index + 1).is_multiple_of(COMMIT_EVERY) {
                    writer.flush()?;
                }
            }
            next = until;
        }
        writer.finish()?;
        progress.update(self.episodes, self.episodes, "episodes");
        super::dataset_outcome(&dataset)
    }

    /// Refuses to go on with a dataset that holds other episodes than these settings make.
    fn check_kept(&self, row: &EpisodeRow, seed: u64) -> Result<()> {
        let index = (row.episode_id - self.first_id) as u64;
        let (map, seed) = (self.map(index), derive_seed(seed, index));
        let same_player = self.persona == "mixed" || row.player.as_deref() == Some(&self.persona);
        ensure!(
            row.map.as_deref() == Some(map) && row.seed == Some(seed as i64) && same_player,
            "episode {} is there already and is another one: map {}, player {}, seed {}; these settings give map {map}, \
             persona {}, seed {}: record into another folder",
            row.episode_id,
            row.map.as_deref().unwrap_or("unknown"),
            row.player.as_deref().unwrap_or("unknown"),
            row.seed.map_or_else(|| "unknown".to_owned(), |seed| seed.to_string()),
            self.persona,
            seed as i64
        );
        Ok(())
    }

    fn map(&self, index: u64) -> &str {
        &self.maps[(index % self.maps.len() as u64) as usize]
    }

    /// Plays episode `index` to its end. Frames are rendered only to be kept: scripted players see the world directly.
    fn play(&self, index: u64, seed: u64, frames: Option<&FrameSpec>) -> Result<Episode> {
        let map = self.map(index);
        let mut arena = start(map, seed)?;
        let mut player = Player::new(&self.persona, seed)?;
        let mut recorder = Recorder::default();
        let mut rgb = vec![0u8; FRAME_BYTES];
        loop {
            if let Some(spec) = frames {
                arena.render(&mut rgb);
                recorder.frame(spec, &rgb)?;
            }
            let action = player.act(&arena);
            recorder.action(arena.pose(), &action);
            let result = arena.step(&action);
            if result.terminated || result.truncated {
                let episode = recorder.finish(&arena, map, seed, result);
                return Ok(Episode {
                    episode_id: self.first_id + index as i64,
                    player: Some(player.name().to_owned()),
                    action_source: ActionSource::Scripted,
                    ..episode
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    fn episodes(root: &Path) -> Vec<Episode> {
        let dataset = Dataset::open(root).unwrap();
        let ids: Vec<i64> = dataset.episodes().unwrap().iter().map(|row| row.episode_id).collect();
        ids.into_iter().map(|id| dataset.read_episode(id).unwrap()).collect()
    }

    #[test]
    fn a_resumed_recording_equals_an_uninterrupted_one() {
        let dir = tempfile::tempdir().unwrap();
        let settings =
            |episodes: u32| format!("map = 'skygarden'\nepisodes = {episodes}\nfirst_id = 5").parse().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        record_into(&whole, &settings(5), 3, 2, &Silent).unwrap();
        record_into(&parts, &settings(2), 3, 1, &Silent).unwrap();
        let outcome = record_into(&parts, &settings(5), 3, 2, &Silent).unwrap();
        assert_eq!(outcome.rows["episodes"], 5);
        let all = episodes(&whole);
        assert!(all == episodes(&parts));
        assert_eq!(all.iter().map(|episode| episode.episode_id).collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        assert!(all.iter().all(|episode| episode.outcome.is_some() && episode.frames.len() == episode.poses.len()));
        let shares: f64 = outcome.figures.values().sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }

    /// Stops a recording once more than `COMMIT_EVERY` episodes are played.
    #[derive(Default)]
    struct StopLate(std::sync::atomic::AtomicU64);

    impl Progress for StopLate {
        fn update(&self, done: u64, _: u64, _: &str) {
            self.0.store(done, std::sync::atomic::Ordering::Relaxed);
        }

        fn stop(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed) >= COMMIT_EVERY
        }
    }

    /// Names and bytes of all files of a dataset.
    fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<(String, Vec<u8>)> = ["episodes", "steps", "frames"]
            .iter()
            .flat_map(|table| std::fs::read_dir(root.join(table)).unwrap())
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.display().to_string().replace(&root.display().to_string(), ""), std::fs::read(path).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_stopped_recording_keeps_what_it_committed_and_ends_in_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        let settings = "map = 'skygarden'\nepisodes = 42\nframes = 'png'".parse().unwrap();
        let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
        record_into(&whole, &settings, 3, 2, &Silent).unwrap();
        record_into(&parts, &settings, 3, 2, &StopLate::default()).unwrap_err();
        assert_eq!(Dataset::open(&parts).unwrap().episodes().unwrap().len() as u64, COMMIT_EVERY);
        record_into(&parts, &settings, 3, 1, &Silent).unwrap();
        assert!(files(&whole) == files(&parts));
    }

    #[test]
    fn another_recording_is_not_taken_for_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let record = |settings: &str, seed| record_into(dir.path(), &settings.parse().unwrap(), seed, 1, &Silent);
        record("map = 'skygarden'\nepisodes = 2\nframes = 'none'", 1).unwrap();
        for (settings, seed) in [
            ("map = 'skygarden'\nepisodes = 2\nframes = 'none'", 2),
            ("map = 'canyon'\nepisodes = 3\nframes = 'none'", 1),
            ("map = 'skygarden'\nepisodes = 2\nframes = 'none'\npersona = 'daydreamer'", 1),
        ] {
            let error = format!("{:#}", record(settings, seed).unwrap_err());
            assert!(error.contains("episode 0 is there already and is another one: map skygarden"), "{error}");
        }
        assert_eq!(episodes(dir.path()).len(), 2);
    }

    #[test]
    fn settings_are_checked_by_name() {
        let check = |text: &str| Record::parse("play", &text.parse().unwrap()).unwrap_err().to_string();
        let error = check("map = 'skygardn'\nepisodes = 1");
        assert!(error.contains("map `skygardn` is not known") && error.contains("skygarden"), "{error}");
        assert!(check("episodes = 1").contains("give `map` or `maps`"));
        assert!(check("map = 'canyon'\nepisodes = 0").contains("episodes is 0"));
        assert!(check("map = 'canyon'\nepisodes = 1\npersona = 'nobody'").contains("persona"));
    }
}
