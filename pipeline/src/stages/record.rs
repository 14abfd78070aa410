//! `record`: scripted players play the arena into a dataset.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use playhouse_arena::{FRAME_BYTES, HZ, Player};
use playhouse_schemas::{ActionSource, ActionSpace, Codec, Dataset, DatasetSpec, Episode, EpisodeRow, FrameSpec};
use serde::Deserialize;

use super::{Outcome, Stage, StageContext, parse};
use crate::env::{Recorder, derive_seed, purpose_seed, start};
use crate::ordered::in_order;
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
    /// Lossless, larger, and decoded several times as fast as JPEG: for training sets.
    Fast,
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
            Frames::Fast => Codec::Fast,
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
    #[serde(default)]
    episodes: Option<u64>,
    /// Hours of play to record: episodes until there are as many.
    #[serde(default)]
    hours: Option<f64>,
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

/// A century: nobody means more.
const MOST_HOURS: f64 = 1e6;

impl Stage for Record {
    const VERSION: u32 = 4;

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
        match (record.episodes, record.hours) {
            (Some(0), None) => bail!("stage `{stage}`: episodes is 0; record at least one"),
            (None, Some(hours)) if !(hours > 0.0 && hours <= MOST_HOURS) => {
                bail!("stage `{stage}`: hours is {hours}; record more than 0 and at most {MOST_HOURS}")
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => bail!("stage `{stage}`: give `episodes` or `hours`, one of the two"),
        }
        ensure!(record.first_id >= 0, "stage `{stage}`: first_id is {}; ids start at 0", record.first_id);
        Ok(record)
    }

    fn inputs(&self) -> Vec<String> {
        Vec::new()
    }

    fn run(self, ctx: &StageContext) -> Result<Outcome> {
        self.record(&ctx.dir.join("data"), purpose_seed(ctx.seed, ctx.name), ctx.compute.threads, ctx.progress)
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
        let wanted = self.wanted();
        let mut done = self.kept(&dataset, seed)?;
        let mut writer = dataset.writer()?;
        let play = |index: u64| {
            let episode = self.play(index, derive_seed(seed, index), spec.frames.as_ref())?;
            Ok((index, dataset.prepare(episode)?))
        };
        let (first, end) =
            if wanted.reached(&done) { (0, 0) } else { (done.episodes, self.episodes.unwrap_or(u64::MAX)) };
        wanted.show(&done, progress);
        in_order(threads, (first..end).map(Ok), play, |(index, episode)| {
            ensure!(!progress.stop(), "stopped on request; run again to continue");
            done.add(episode.row());
            writer.push_prepared(episode)?;
            if spec.frames.is_some() && (index + 1).is_multiple_of(COMMIT_EVERY) {
                writer.flush()?;
            }
            wanted.show(&done, progress);
            Ok(if wanted.reached(&done) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        writer.finish()?;
        super::dataset_outcome(&dataset)
    }

    /// What there is to be in the end.
    fn wanted(&self) -> Wanted {
        match self.hours {
            Some(hours) => Wanted::Steps((hours * 3600.0 * f64::from(HZ)).ceil() as u64),
            None => Wanted::Episodes(self.episodes.unwrap_or(0)),
        }
    }

    /// How much is there already. Parts are committed in the order of ids, so what is missing is the tail.
    fn kept(&self, dataset: &Dataset, seed: u64) -> Result<Done> {
        let ids = self.first_id..self.episodes.map_or(i64::MAX, |count| self.first_id.saturating_add_unsigned(count));
        let mut rows = Vec::new();
        dataset.visit_episodes(|row| {
            if ids.contains(&row.episode_id) {
                self.check_kept(&row, seed).with_context(|| dataset.root().display().to_string())?;
                rows.push((row.episode_id, row.num_steps));
            }
            anyhow::Ok(())
        })?;
        rows.sort_unstable();
        let mut done = Done::default();
        for (id, steps) in rows {
            if id != self.first_id + done.episodes as i64 {
                break;
            }
            done.episodes += 1;
            done.steps += u64::from(steps);
        }
        Ok(done)
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

/// Episodes and steps so far.
#[derive(Default)]
struct Done {
    episodes: u64,
    steps: u64,
}

impl Done {
    fn add(&mut self, row: &EpisodeRow) {
        self.episodes += 1;
        self.steps += u64::from(row.num_steps);
    }
}

/// When a recording is long enough.
enum Wanted {
    Episodes(u64),
    Steps(u64),
}

impl Wanted {
    fn reached(&self, done: &Done) -> bool {
        match self {
            Wanted::Episodes(episodes) => done.episodes >= *episodes,
            Wanted::Steps(steps) => done.steps >= *steps,
        }
    }

    fn show(&self, done: &Done, progress: &dyn Progress) {
        match self {
            Wanted::Episodes(episodes) => progress.update(done.episodes, *episodes, "episodes"),
            Wanted::Steps(steps) => progress.update(done.steps.min(*steps), *steps, "steps"),
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
            .filter_map(|table| std::fs::read_dir(root.join(table)).ok())
            .flatten()
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
    fn hours_are_filled_with_the_same_episodes_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let settings = |hours: f64| format!("map = 'skygarden'\nhours = {hours}\nframes = 'none'").parse().unwrap();
        let outcome = record_into(&at("one"), &settings(0.1), 3, 1, &Silent).unwrap();
        record_into(&at("many"), &settings(0.1), 3, 5, &Silent).unwrap();
        assert!(files(&at("one")) == files(&at("many")));
        // 0.1 hours are 3,600 steps: without the last episode they would not be there.
        let rows = Dataset::open(&at("one")).unwrap().episodes().unwrap();
        let steps: u64 = rows.iter().map(|row| u64::from(row.num_steps)).sum();
        assert_eq!((outcome.rows["steps"], outcome.rows["episodes"]), (steps, rows.len() as u64));
        assert!(steps >= 3600 && steps - u64::from(rows.last().unwrap().num_steps) < 3600, "{steps}");
        // Longer: what is there is kept, and the rest comes behind it. Shorter: nothing to do.
        let longer = record_into(&at("one"), &settings(0.2), 3, 2, &Silent).unwrap();
        assert!(longer.rows["steps"] >= 7200);
        assert_eq!(Dataset::open(&at("one")).unwrap().episodes().unwrap()[..rows.len()], rows);
        let same = record_into(&at("one"), &settings(0.1), 3, 2, &Silent).unwrap();
        assert_eq!(same.rows, longer.rows);
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
        assert!(check("map = 'canyon'\nhours = 0").contains("hours is 0"));
        assert!(check("map = 'canyon'\nhours = nan").contains("hours is NaN"));
        assert!(check("map = 'canyon'\nhours = 1\nepisodes = 1").contains("`episodes` or `hours`, one of the two"));
        assert!(check("map = 'canyon'").contains("`episodes` or `hours`, one of the two"));
        assert!(check("map = 'canyon'\nepisodes = 1\npersona = 'nobody'").contains("persona"));
    }
}
