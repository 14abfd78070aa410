//! The values of a plain table's columns, as actions, telemetry, rewards and end flags.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, UInt8Type};

use super::files::PlainTable;
use super::steps::{Piece, Play};
use crate::action::{ActionSpace, Component, Kind};
use crate::episode::Pose;
use crate::error::{Error, Result};
use crate::table::TELEMETRY;

/// Which column of a plain table of steps is what.
#[derive(Clone, Debug)]
pub struct StepColumns {
    /// What an action is.
    pub actions: ActionSpace,
    /// The episode that a row belongs to: integers from 0.
    pub episode: String,
    /// The step's number within its episode: 0, 1, 2 ..
    pub t: String,
    /// The column of each component of `actions`.
    pub components: Vec<String>,
    /// Axes hold deflections, which are put into the component's buckets; otherwise they hold bucket numbers.
    pub continuous: bool,
    /// The columns of `pos_x`, `pos_y`, `pos_z`, `yaw` and `pitch`, where there are such.
    pub telemetry: [Option<String>; 5],
    /// The column of rewards.
    pub reward: Option<String>,
    /// The column that says that the environment ended the episode with this step.
    pub terminated: Option<String>,
    /// The column that says that the episode was cut off after this step.
    pub truncated: Option<String>,
}

/// The steps of one episode, T of them.
#[derive(Debug, Default, PartialEq)]
pub struct Played {
    /// `[T, C]`
    pub actions: Vec<u8>,
    /// `[T]`, or empty. What [`Self::unknown`] names is 0.
    pub poses: Vec<Pose>,
    /// Telemetry columns without a value in this episode, where it has poses.
    pub unknown: Vec<&'static str>,
    /// `[T]`, or empty.
    pub rewards: Vec<f32>,
    /// The value at the last step; none without such a column.
    pub terminated: Option<bool>,
    /// The value at the last step; none without such a column.
    pub truncated: Option<bool>,
}

impl StepColumns {
    /// The names of all columns that are read.
    pub(super) fn names(&self) -> Vec<&str> {
        let rest = self.telemetry.iter().chain([&self.reward, &self.terminated, &self.truncated]);
        let all = [&self.episode, &self.t].into_iter().chain(&self.components).chain(rest.flatten());
        let mut names: Vec<&str> = Vec::new();
        all.for_each(|name| {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        });
        names
    }

    /// Checks that every file of `table` has these columns, in types that can be converted.
    ///
    /// # Errors
    /// The first file and column that has not; a telemetry column without positions.
    pub fn check(&self, table: &PlainTable) -> Result<()> {
        self.actions.check()?;
        let [x, y, rest @ ..] = &self.telemetry;
        if x.is_some() != y.is_some() || (x.is_none() && rest.iter().any(Option::is_some)) {
            let reason = "pos_x and pos_y come together, and pos_z, yaw and pitch only with them; map both or none";
            return Err(Error::invalid("telemetry", reason));
        }
        let whole = |ty: &DataType| ty.is_integer();
        let number = |ty: &DataType| whole(ty) || matches!(ty, DataType::Float32 | DataType::Float64);
        let flag = |ty: &DataType| number(ty) || *ty == DataType::Boolean;
        table.require([self.episode.as_str(), self.t.as_str()], |_, ty| {
            whole(ty).then_some(()).ok_or_else(|| "whole numbers; number them with dense_rank() or row_number()".into())
        })?;
        for (component, column) in self.actions.components.iter().zip(&self.components) {
            table.require([column.as_str()], |_, ty| match component.kind {
                Kind::Button if flag(ty) => Ok(()),
                Kind::Button => Err("Boolean, or numbers 0 and 1".into()),
                Kind::Axis if self.continuous && number(ty) && !whole(ty) => Ok(()),
                Kind::Axis if self.continuous => {
                    Err("Float32 or Float64 deflections; if these are bucket numbers, set sticks = \"buckets\"".into())
                }
                Kind::Axis if number(ty) => Ok(()),
                Kind::Axis => Err("bucket numbers".into()),
            })?;
        }
        let numbers = self.telemetry.iter().chain([&self.reward]).flatten().map(String::as_str);
        table.require(numbers, |_, ty| number(ty).then_some(()).ok_or_else(|| "numbers".into()))?;
        let ends = [&self.terminated, &self.truncated].into_iter().flatten().map(String::as_str);
        table.require(ends, |_, ty| flag(ty).then_some(()).ok_or_else(|| "Boolean, or numbers 0 and 1".into()))
    }

    /// Converts an episode.
    ///
    /// # Errors
    /// The first value that cannot be meant: file, row, column and value.
    pub fn played(&self, play: &Play) -> Result<Played> {
        let (steps, width) = (play.steps as usize, self.actions.len());
        let mut actions = vec![0; steps * width];
        let mut done = 0;
        for piece in &play.pieces {
            let rows = piece.batch.num_rows();
            let out = &mut actions[done * width..(done + rows) * width];
            for (c, (component, name)) in self.actions.components.iter().zip(&self.components).enumerate() {
                self.component(&Column::new(piece, name)?, component, out.iter_mut().skip(c).step_by(width))?;
            }
            done += rows;
        }
        let mut telemetry = Vec::with_capacity(TELEMETRY.len());
        for name in &self.telemetry {
            telemetry.push(known(play, name.as_deref())?);
        }
        let mut played = Played {
            actions,
            rewards: known(play, self.reward.as_deref())?.unwrap_or_default(),
            terminated: end(play, self.terminated.as_deref())?,
            truncated: end(play, self.truncated.as_deref())?,
            ..Played::default()
        };
        let at = |column: usize, t: usize| telemetry[column].as_ref().map_or(0.0, |values| values[t]);
        if telemetry[0].is_some() != telemetry[1].is_some()
            || (telemetry[0].is_none() && telemetry.iter().any(Option::is_some))
        {
            let reason = "a position is null throughout while other telemetry is not; give both coordinates or nothing";
            return Err(Error::invalid(format!("{}, episode {}", play.place(), play.key), reason));
        }
        if telemetry[0].is_some() {
            played.poses = (0..steps)
                .map(|t| Pose { x: at(0, t), y: at(1, t), z: at(2, t), yaw: at(3, t), pitch: at(4, t) })
                .collect();
            let columns = TELEMETRY.into_iter().zip(&telemetry);
            played.unknown = columns.filter(|(_, values)| values.is_none()).map(|(name, _)| name).collect();
        }
        Ok(played)
    }

    /// Converts the values of a component.
    fn component<'o>(
        &self,
        column: &Column,
        component: &Component,
        out: impl Iterator<Item = &'o mut u8>,
    ) -> Result<()> {
        column.no_nulls("every step needs an action")?;
        let last = component.cardinality - 1;
        let wrong = |row: usize, value: &dyn std::fmt::Display| match component.kind {
            Kind::Button => column.fault(row, format!("{value} is not a button state: expected 0 or 1")),
            Kind::Axis => column.fault(
                row,
                format!("{value} is not a bucket 0..{last}; if these are deflections, set sticks = \"continuous\""),
            ),
        };
        if let Some(down) = column.array.as_boolean_opt() {
            out.zip(down.values()).for_each(|(slot, down)| *slot = u8::from(down));
            return Ok(());
        }
        if let Some(buckets) = column.array.as_primitive_opt::<UInt8Type>() {
            out.zip(buckets.values()).for_each(|(slot, bucket)| *slot = *bucket);
            return match buckets.values().iter().position(|b| *b > last) {
                Some(row) => Err(wrong(row, &buckets.value(row))),
                None => Ok(()),
            };
        }
        if column.array.data_type().is_integer() {
            let values = Int64Array::from(column.cast(&DataType::Int64)?.to_data());
            for (row, (slot, value)) in out.zip(values.values()).enumerate() {
                let bucket = u8::try_from(*value).ok().filter(|b| *b <= last);
                *slot = bucket.ok_or_else(|| wrong(row, value))?;
            }
            return Ok(());
        }
        let values = Float64Array::from(column.cast(&DataType::Float64)?.to_data());
        for (row, (slot, value)) in out.zip(values.values()).enumerate() {
            *slot = if self.continuous && component.kind == Kind::Axis {
                let reason = |_| column.fault(row, format!("{value} is not a deflection between -1 and 1; rescale it"));
                component.bucket(*value as f32).map_err(reason)?
            } else if value.fract() == 0.0 && (0.0..=f64::from(last)).contains(value) {
                *value as u8
            } else {
                return Err(wrong(row, value));
            };
        }
        Ok(())
    }
}

/// A column of a piece, with the words for its faults.
struct Column<'a> {
    piece: &'a Piece,
    name: &'a str,
    array: &'a ArrayRef,
}

impl<'a> Column<'a> {
    fn new(piece: &'a Piece, name: &'a str) -> Result<Self> {
        let array = piece.batch.column_by_name(name);
        let array = array.ok_or_else(|| Error::Internal(format!("column `{name}` was not read")))?;
        Ok(Self { piece, name, array })
    }

    fn fault(&self, row: usize, reason: impl Into<String>) -> Error {
        let row = self.piece.row + row as u64;
        Error::invalid(format!("{}, row {row}, column `{}`", self.piece.file.display(), self.name), reason)
    }

    fn no_nulls(&self, why: &str) -> Result<()> {
        match (self.array.null_count() > 0).then(|| (0..self.array.len()).find(|&i| self.array.is_null(i))).flatten() {
            Some(row) => Err(self.fault(row, format!("null; {why}"))),
            None => Ok(()),
        }
    }

    fn cast(&self, to: &DataType) -> Result<ArrayRef> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(self.array, to, &options).map_err(|e| self.fault(0, format!("here or in a later row: {e}")))
    }
}

/// The numbers of a column that an episode has or has not: none for a column that is not mapped or null throughout.
fn known(play: &Play, name: Option<&str>) -> Result<Option<Vec<f32>>> {
    let Some(name) = name else { return Ok(None) };
    let mut values = Vec::with_capacity(play.steps as usize);
    let columns = play.pieces.iter().map(|piece| Column::new(piece, name)).collect::<Result<Vec<_>>>()?;
    if columns.iter().all(|column| column.array.null_count() == column.array.len()) {
        return Ok(None);
    }
    for column in columns {
        column.no_nulls("give every step of the episode a number, or none of them")?;
        let numbers = Float32Array::from(column.cast(&DataType::Float32)?.to_data());
        if let Some(row) = numbers.values().iter().position(|v| !v.is_finite()) {
            let reason = format!("{} is not a finite number; repair it, or leave the episode out", numbers.value(row));
            return Err(column.fault(row, reason));
        }
        values.extend_from_slice(numbers.values());
    }
    Ok(Some(values))
}

/// The last value of an end flag; it may not be set before.
fn end(play: &Play, name: Option<&str>) -> Result<Option<bool>> {
    let Some(name) = name else { return Ok(None) };
    let (mut done, mut last) = (0, false);
    for piece in &play.pieces {
        let column = Column::new(piece, name)?;
        column.no_nulls("every step needs a value")?;
        let flags = column.cast(&DataType::Boolean)?;
        for (row, flag) in flags.as_boolean().values().iter().enumerate() {
            done += 1;
            if flag && done < play.steps {
                let reason = format!("set at step {} of {}; an episode ends with its last step", done - 1, play.steps);
                return Err(column.fault(row, reason));
            }
            last = flag;
        }
    }
    Ok(Some(last))
}
