//! What every aggregate function here shares: a name, what it takes and gives, a manual, and how it accumulates.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, not_impl_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, GroupsAccumulator, Signature,
    TypeSignature, Volatility,
};

/// Makes what accumulates many groups at once.
pub(super) type Grouped = fn() -> Box<dyn Accumulate + Sync>;

/// Which rows are of which group. Ours are told of runs of rows where those are known, since finding them again in a list of
/// every row's group costs more than most of our functions do.
#[derive(Clone, Copy)]
pub(crate) enum Groups<'a> {
    /// Each row's group.
    OfRows(&'a [usize]),
    /// The rows one after the other, in runs of one group.
    Runs(&'a [Run]),
}

/// Rows of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) group: usize,
    pub(crate) rows: Range<usize>,
}

impl Groups<'_> {
    /// Calls `each` with every run of rows of one group: the group, the first row, the row after the last.
    pub(crate) fn for_each_run(self, mut each: impl FnMut(usize, usize, usize)) {
        match self {
            Groups::Runs(runs) => runs.iter().for_each(|run| each(run.group, run.rows.start, run.rows.end)),
            Groups::OfRows(groups) => {
                let mut from = 0;
                while let Some(group) = groups.get(from) {
                    let to = from + run_length(&groups[from..], *group);
                    each(*group, from, to);
                    from = to;
                }
            }
        }
    }

    /// Rows of all groups.
    pub(super) fn rows(self) -> usize {
        match self {
            Groups::Runs(runs) => runs.last().map_or(0, |run| run.rows.end),
            Groups::OfRows(groups) => groups.len(),
        }
    }
}

/// Rows of `group` that the list begins with.
fn run_length(groups: &[usize], group: usize) -> usize {
    // Sixteen without a branch between them, which the compiler makes a few instructions.
    let (sixteens, _) = groups.as_chunks::<16>();
    let other = |sixteen: &[usize; 16]| sixteen.iter().fold(0, |bits, one| bits | (one ^ group)) != 0;
    let known = 16 * sixteens.iter().position(other).unwrap_or(sixteens.len());
    known + groups[known..].iter().position(|one| *one != group).unwrap_or(groups.len() - known)
}

/// An accumulator that takes runs of rows.
pub(crate) trait Accumulate: GroupsAccumulator {
    /// As [`GroupsAccumulator::update_batch`].
    fn update(
        &mut self,
        values: &[ArrayRef],
        groups: Groups,
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()>;
}

/// An aggregate over the rows of a group.
pub(super) struct Aggregate {
    name: &'static str,
    signature: Signature,
    returns: fn(&[DataType]) -> Result<DataType>,
    state: fn(&str) -> Vec<FieldRef>,
    grouped: Grouped,
    documentation: Documentation,
}

/// What accumulates the groups of an aggregate of ours; none for another.
pub(crate) fn accumulator_of(function: &AggregateUDF) -> Option<Box<dyn Accumulate + Sync>> {
    let ours = (function.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Aggregate>()?;
    Some((ours.grouped)())
}

/// The parts of an [`Aggregate`] that differ.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) arguments: TypeSignature,
    /// The type of the result, from those of the arguments.
    pub(super) returns: fn(&[DataType]) -> Result<DataType>,
    pub(super) syntax: &'static str,
    pub(super) description: &'static str,
    pub(super) example: &'static str,
    /// The fields of a partial result, from the column's name.
    pub(super) state: fn(&str) -> Vec<FieldRef>,
    pub(super) grouped: Grouped,
}

impl Spec {
    pub(super) fn build(self) -> AggregateUDF {
        let section = DocSection { include: true, label: "Playhouse", description: None };
        let documentation =
            Documentation::builder(section, self.description, self.syntax).with_sql_example(self.example).build();
        AggregateUDF::new_from_impl(Aggregate {
            name: self.name,
            signature: Signature::new(self.arguments, Volatility::Immutable),
            returns: self.returns,
            state: self.state,
            grouped: self.grouped,
            documentation,
        })
    }
}

// Names are unique (a test says so), so a name is an identity.
impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Aggregate {
    /// Steps that repeat are what is counted here.
    fn refuse_distinct(&self, args: &AccumulatorArgs) -> Result<()> {
        if args.is_distinct {
            return not_impl_err!("{} counts every row: take DISTINCT away", self.name);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aggregate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        (self.returns)(arguments)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.refuse_distinct(&args)?;
        Ok(Box::new(single::Single::new(self.grouped)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok((self.state)(args.name))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.refuse_distinct(&args)?;
        Ok((self.grouped)())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The rows that count: of these values, those that are not null and that the filter lets through.
pub(super) fn counted(values: &dyn Array, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let passes = filter.map(|filter| match filter.nulls() {
        Some(nulls) => filter.values() & nulls.inner(),
        None => filter.values().clone(),
    });
    match (values.logical_nulls(), passes) {
        (Some(nulls), Some(passes)) => Some(nulls.inner() & &passes),
        (Some(nulls), None) => Some(nulls.into_inner()),
        (None, passes) => passes,
    }
}

/// An aggregate without groups, as one with a single group.
mod single {
    use super::*;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::EmitTo;

    pub(super) struct Single {
        make: Grouped,
        grouped: Box<dyn Accumulate + Sync>,
    }

    impl Single {
        pub(super) fn new(make: Grouped) -> Self {
            Self { make, grouped: make() }
        }
    }

    impl std::fmt::Debug for Single {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Single").finish_non_exhaustive()
        }
    }

    impl Accumulator for Single {
        fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
            let rows = values.first().map_or(0, |values| values.len());
            let all = Run { group: 0, rows: 0..rows };
            self.grouped.update(values, Groups::Runs(&[all]), None, 1)
        }

        fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
            let rows = states.first().map_or(0, |values| values.len());
            self.grouped.merge_batch(states, &vec![0; rows], 1)
        }

        fn state(&mut self) -> Result<Vec<ScalarValue>> {
            // A partition without rows has a state too: that of no rows.
            self.merge_batch(&[])?;
            let states = self.grouped.state(EmitTo::All)?;
            states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
        }

        fn evaluate(&mut self) -> Result<ScalarValue> {
            self.merge_batch(&[])?;
            // A window asks again after more rows, and emitting a group forgets it.
            let states = self.grouped.state(EmitTo::All)?;
            self.merge_batch(&states)?;
            let mut copy = (self.make)();
            copy.merge_batch(&states, &[0], 1)?;
            ScalarValue::try_from_array(&copy.evaluate(EmitTo::All)?, 0)
        }

        fn size(&self) -> usize {
            size_of_val(self) + self.grouped.size()
        }
    }
}
