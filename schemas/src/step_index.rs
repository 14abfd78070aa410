//! Which rows of which part are whose steps.
//!
//! `episodes` lists an episode's number of steps in the order in which the parts store them, so an episode's rows follow
//! from a running sum: no step is read to find a step. The keys `episode_id` and `t` need not be read at all.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::parquet_file::ParquetFile;
use crate::part;
use crate::row::Columns;
use crate::spec::DatasetSpec;
use crate::storage::{Handles, Source, is_local, open_each};
use crate::table::Table;

/// Where the steps of one episode lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpisodeSteps {
    /// The episode.
    pub episode_id: i64,
    /// The part: an index into the dataset's files of `steps`, in the order of their names.
    pub part: u32,
    /// The row of its step 0 in that file.
    pub first_row: u64,
    /// Number of its steps, at least 1.
    pub steps: u32,
}

/// The steps of every episode that was committed when it was made, and the parts that hold them.
pub struct StepIndex {
    spec: DatasetSpec,
    schema: SchemaRef,
    parts: Vec<StepPart>,
    episodes: Vec<EpisodeSteps>,
    handles: Handles,
}

struct StepPart {
    path: PathBuf,
    rows: u64,
    /// Episodes `range` of the index lie in this part.
    episodes: Range<usize>,
    /// Its footer, read when first needed.
    file: Mutex<Option<Arc<ParquetFile>>>,
}

impl StepIndex {
    /// Reads two columns of `episodes`. `None` where parts overlap in their ids, as after two writers at once: then the
    /// files one after the other are not in the order of the episodes.
    pub(crate) fn open(root: &Path, spec: &DatasetSpec) -> Result<Option<Self>> {
        let schema = Table::Episodes.schema(&spec.actions);
        let column = |name| schema.index_of(name).map_err(|e| Error::Internal(format!("episodes table: {e}")));
        let (ids, lengths) = (column("episode_id")?, column("num_steps")?);
        let (mut parts, mut episodes) = (Vec::new(), Vec::<EpisodeSteps>::new());
        let names = part::list(root, Table::Episodes)?.unwrap_or_default().parts;
        let files = names.iter().map(|name| part::file(root, Table::Episodes, name)).collect();
        for (number, (name, (path, source))) in names.iter().zip(open_each(files)).enumerate() {
            let source = source?;
            let file = ParquetFile::load(&source, &path, Table::Episodes)?;
            let (first, mut rows) = (episodes.len(), 0);
            let all = 0..file.rows();
            for batch in file.select(source, &[all], Some(&[ids, lengths]), 1 << 16)? {
                let batch = batch?;
                let columns = Columns { path: &path, batch: &batch };
                for (id, steps) in columns.longs("episode_id")?.values().iter().zip(columns.ints("num_steps")?.values())
                {
                    let steps = u32::try_from(*steps).ok().filter(|steps| *steps > 0);
                    let steps = steps.ok_or_else(|| {
                        Error::corrupt(&path, format!("episode {id}: column `num_steps` is not above 0"))
                    })?;
                    if episodes.last().is_some_and(|last| last.episode_id >= *id) {
                        return Ok(None);
                    }
                    episodes.push(EpisodeSteps { episode_id: *id, part: number as u32, first_row: rows, steps });
                    rows += u64::from(steps);
                }
            }
            let path = part::file(root, Table::Steps, name);
            parts.push(StepPart { path, rows, episodes: first..episodes.len(), file: Mutex::default() });
        }
        let schema = Table::Steps.schema(&spec.actions);
        Ok(Some(Self { spec: spec.clone(), schema, parts, episodes, handles: Handles::default() }))
    }

    /// What the actions are.
    pub fn spec(&self) -> &DatasetSpec {
        &self.spec
    }

    /// The columns of `steps`.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Every episode, by ascending id, and so also by ascending part and row.
    pub fn episodes(&self) -> &[EpisodeSteps] {
        &self.episodes
    }

    /// The files of the parts, in order.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// Whether the parts lie in a bucket, where every request takes a while.
    pub fn is_remote(&self) -> bool {
        self.parts.first().is_some_and(|part| !is_local(&part.path))
    }

    /// The episodes of a part.
    pub(crate) fn part_episodes(&self, part: u32) -> &[EpisodeSteps] {
        self.parts.get(part as usize).and_then(|part| self.episodes.get(part.episodes.clone())).unwrap_or_default()
    }

    /// A part's file and footer.
    pub(crate) fn part(&self, part: u32) -> Result<(Source, Arc<ParquetFile>)> {
        let part = self
            .parts
            .get(part as usize)
            .ok_or_else(|| Error::Internal(format!("part {part} of {} is asked for", self.parts.len())))?;
        let source = self.handles.get(&part.path)?;
        let mut kept = part.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*kept {
            return Ok((source, file.clone()));
        }
        let file = ParquetFile::load(&source, &part.path, Table::Steps)?;
        if let Some(difference) = self.spec.difference(&file.spec) {
            let reason = format!("the dataset's first file and this one differ in {difference}; keep datasets apart");
            return Err(Error::conflict(&part.path, reason));
        }
        if file.rows() != part.rows {
            let reason = format!("it has {} rows, its episodes have {} steps", file.rows(), part.rows);
            return Err(Error::corrupt(&part.path, reason));
        }
        let file = Arc::new(file);
        *kept = Some(file.clone());
        Ok((source, file))
    }
}

impl std::fmt::Debug for StepIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepIndex").field("parts", &self.parts.len()).field("episodes", &self.episodes.len()).finish()
    }
}
