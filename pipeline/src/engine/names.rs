//! Which output a stage's name means.
//!
//! ```text
//!   --pipeline       not given       p                p@seed=2
//!   evaluate         of the pipeline of p's last      of the run seed=2
//!                    that ran last   run
//!   of a matrix      its first run   its first run    that one, and what belongs to all
//! ```
//!
//! All names are of one run of a matrix, and a stage that this run has not finished has no name: its neighbours' numbers
//! must not stand in for it. `<pipeline>/latest.json` says what a pipeline's last run makes or finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::clock;
use super::error::Error;
use super::nearest::hint;
use super::plan::{OF_RUN, Plan};
use super::store::{Home, StageRecord, folders, write_atomically};

/// What the stage names of a pipeline mean since its last run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latest {
    /// When the pipeline last ran.
    pub run_at: String,
    /// The runs of its matrix in their order, as `seed=1`; empty without one.
    pub runs: Vec<String>,
    /// By stage.
    pub stages: BTreeMap<String, Vec<Named>>,
    /// Fingerprints that names meant before a run that did not select their stage: no name means them now, and nobody has replaced
    /// them.
    #[serde(default)]
    pub kept: BTreeMap<String, BTreeSet<String>>,
}

/// One output of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its fingerprint.
    pub fingerprint: String,
    /// The runs of the matrix that it belongs to; empty without one.
    pub runs: Vec<String>,
}

impl Latest {
    /// The output of this fingerprint, if a name means it.
    pub fn output(&self, stage: &str, fingerprint: &str) -> Option<&Named> {
        self.stages.get(stage)?.iter().find(|named| named.fingerprint == fingerprint)
    }

    /// True for outputs that `clean` leaves: those with a name, and those that no run has replaced.
    pub fn uses(&self, stage: &str, fingerprint: &str) -> bool {
        self.output(stage, fingerprint).is_some() || self.kept.get(stage).is_some_and(|kept| kept.contains(fingerprint))
    }
}

/// The outputs that the names mean, and what to tell about the choice.
#[derive(Debug, Default)]
pub struct Names {
    /// By stage.
    pub outputs: BTreeMap<String, (PathBuf, StageRecord)>,
    /// Stages that the last run has not finished.
    pub unfinished: BTreeSet<String>,
    /// A matrix of which nobody said which run: what was taken, and how to have another.
    pub note: Option<String>,
}

/// Moves a pipeline's names to the outputs that a run is about to make or find. It is done first, so that what a killed
/// run finished still has its names.
pub fn begin(home: &Home, plan: &Plan) -> Result<()> {
    let mut stages: BTreeMap<String, Vec<Named>> = BTreeMap::new();
    for item in plan.stages.iter().chain(&plan.unselected) {
        let named = Named { fingerprint: item.fingerprint.clone(), runs: item.runs.clone() };
        stages.entry(item.stage.clone()).or_default().push(named);
    }
    let before = latest(home, &plan.pipeline).unwrap_or_default();
    let mut kept = before.kept;
    for (stage, outputs) in before.stages {
        kept.entry(stage).or_default().extend(outputs.into_iter().map(|named| named.fingerprint));
    }
    kept.retain(|stage, _| !plan.stages.iter().any(|item| item.stage == *stage));
    let latest = Latest { run_at: clock::rfc3339(clock::now_us()), runs: plan.labels.clone(), stages, kept };
    let path = path(home, &plan.pipeline);
    let folder = home.root().join(&plan.pipeline);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(write_atomically(&path, &serde_json::to_vec_pretty(&latest)?)?)
}

/// What the names of a pipeline's stages mean, if it ever ran.
pub fn latest(home: &Home, pipeline: &str) -> Option<Latest> {
    serde_json::from_slice(&std::fs::read(path(home, pipeline)).ok()?).ok()
}

fn path(home: &Home, pipeline: &str) -> PathBuf {
    home.root().join(pipeline).join("latest.json")
}

/// The outputs that the names mean. `of` is a pipeline, or a run of its matrix as `p@seed=1`; none: all pipelines, and of a
/// name that several have, that of the one that ran last.
///
/// # Errors
/// The pipeline has no such run.
pub fn current(home: &Home, of: Option<&str>) -> super::Result<Names> {
    let (wanted, run) = match of.map(|of| of.split_once(OF_RUN).unwrap_or((of, ""))) {
        Some((pipeline, run)) => (Some(pipeline), Some(run).filter(|run| !run.is_empty())),
        None => (None, None),
    };
    let mut pipelines: Vec<(String, Latest)> = folders(home.root())
        .iter()
        .filter_map(|folder| folder.file_name()?.to_str())
        .filter(|name| wanted.is_none_or(|wanted| wanted == *name))
        .map(|name| (name.to_owned(), latest(home, name).unwrap_or_default()))
        .collect();
    pipelines.sort_by(|(_, a), (_, b)| a.run_at.cmp(&b.run_at));
    let mut finished: BTreeMap<String, Vec<(PathBuf, StageRecord)>> = BTreeMap::new();
    for (dir, record) in home.outputs() {
        finished.entry(record.pipeline.clone()).or_default().push((dir, record));
    }
    let mut names = Names::default();
    for (pipeline, latest) in pipelines {
        let chosen = match run {
            Some(run) if !latest.runs.iter().any(|known| known == run) => {
                let runs = hint(run, latest.runs.iter().map(String::as_str));
                return Err(Error::Usage(format!(
                    "`{pipeline}` has no run `{run}` in {}{runs}",
                    home.root().display()
                )));
            }
            Some(run) => Some(run),
            None => latest.runs.first().map(String::as_str),
        };
        let belongs =
            |named: &Named| named.runs.is_empty() || named.runs.iter().any(|run| Some(run.as_str()) == chosen);
        let mut own = BTreeMap::new();
        // Newest last, which counts where no run named any of them.
        for (dir, record) in finished.remove(&pipeline).unwrap_or_default() {
            let named = latest.output(&record.stage, &record.fingerprint);
            if named.map_or(!latest.stages.contains_key(&record.stage), belongs) {
                own.insert(record.stage.clone(), (dir, record));
            }
        }
        names.unfinished.extend(latest.stages.keys().filter(|stage| !own.contains_key(*stage)).cloned());
        if let (None, [first, second, ..]) = (run, &latest.runs[..])
            && !own.is_empty()
        {
            names.note = Some(format!(
                "`{pipeline}` has {} runs; its stages' names mean {first} (another: --pipeline '{pipeline}{OF_RUN}{second}')",
                latest.runs.len()
            ));
        }
        names.outputs.extend(own);
    }
    names.unfinished.retain(|stage| !names.outputs.contains_key(stage));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::store;

    /// Finishes an output of stage `s`.
    fn finish(home: &Home, pipeline: &str, fingerprint: &str, at: &str) {
        let dir = home.stage_dir(pipeline, "s", fingerprint);
        std::fs::create_dir_all(&dir).unwrap();
        let mut record = store::tests::record(fingerprint);
        record.pipeline = pipeline.into();
        record.finished_at = at.into();
        home.finish(&dir, &record).unwrap();
    }

    /// Says what `s` means: fingerprints and their runs.
    fn name(home: &Home, pipeline: &str, run_at: &str, runs: &[&str], named: &[(&str, &[&str])]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let all = named.iter().map(|(f, runs)| Named { fingerprint: (*f).to_owned(), runs: owned(runs) }).collect();
        let stages = BTreeMap::from([("s".into(), all)]);
        let latest = Latest { run_at: run_at.into(), runs: owned(runs), stages, ..Latest::default() };
        write_atomically(&path(home, pipeline), &serde_json::to_vec(&latest).unwrap()).unwrap();
    }

    fn means(home: &Home, of: Option<&str>) -> Option<String> {
        current(home, of).unwrap().outputs.get("s").map(|(_, record)| record.fingerprint.clone())
    }

    #[test]
    fn names_follow_the_last_run_and_the_pipeline_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        for (pipeline, fingerprint, at) in [("p", "aa", "1"), ("p", "bb", "2"), ("q", "cc", "3")] {
            finish(&home, pipeline, fingerprint, at);
        }
        let means = |of| means(&home, of);
        assert_eq!(means(Some("p")).as_deref(), Some("bb"));
        name(&home, "q", "2026-1", &[], &[("cc", &[])]);
        assert_eq!(means(None).as_deref(), Some("cc"));
        name(&home, "p", "2026-2", &[], &[("aa", &[])]);
        assert_eq!(means(None).as_deref(), Some("aa"));
        assert_eq!(means(Some("q")).as_deref(), Some("cc"));
        name(&home, "p", "2026-3", &[], &[("dd", &[])]);
        assert_eq!(means(Some("p")), None, "an earlier output does not stand in for one to come");
        assert!(current(&home, Some("p")).unwrap().unfinished.contains("s"));
        let all = current(&home, None).unwrap();
        assert_eq!((all.outputs["s"].1.fingerprint.as_str(), all.unfinished.len()), ("cc", 0));
    }

    #[test]
    fn of_a_matrix_all_names_are_of_one_run() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        finish(&home, "p", "two", "1");
        finish(&home, "p", "one", "2");
        name(&home, "p", "2026", &["seed=2", "seed=1"], &[("two", &["seed=2"]), ("one", &["seed=1"])]);
        assert_eq!(means(&home, None).as_deref(), Some("two"), "the first, whichever was finished last");
        assert_eq!(means(&home, Some("p@seed=1")).as_deref(), Some("one"));
        let note = current(&home, Some("p")).unwrap().note.unwrap();
        assert_eq!(note, "`p` has 2 runs; its stages' names mean seed=2 (another: --pipeline 'p@seed=1')");
        assert_eq!(current(&home, Some("p@seed=1")).unwrap().note, None);
        let error = current(&home, Some("p@seed=11")).unwrap_err().to_string();
        assert!(error.contains("`p` has no run `seed=11`") && error.contains("did you mean `seed=1`?"), "{error}");

        name(&home, "p", "2026", &["seed=3", "seed=1"], &[("three", &["seed=3"]), ("one", &["seed=1"])]);
        assert_eq!(means(&home, None), None, "another run's output does not stand in for this one's");
        name(&home, "p", "2026", &["seed=3", "seed=1"], &[("one", &["seed=1", "seed=3"])]);
        assert_eq!(means(&home, Some("p@seed=3")).as_deref(), Some("one"), "both share it");
    }
}
