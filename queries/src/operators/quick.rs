//! An expression of DataFusion's that is computed in a quicker way.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;

/// A way to compute some expressions.
pub(super) trait Way: fmt::Debug + Send + Sync + Sized + 'static {
    /// None for an expression that cannot be computed so.
    fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<Self>;

    /// The values for the rows of a batch; none if these are not of the kind, and DataFusion is to compute them.
    fn compute(&self, batch: &RecordBatch) -> Result<Option<ArrayRef>>;
}

/// The expression and the way. It shows itself, and is compared, as the expression.
#[derive(Debug)]
pub(super) struct Quick<W> {
    expr: Arc<dyn PhysicalExpr>,
    way: W,
}

/// The expression in its quicker form, if it has one.
pub(super) fn quick<W: Way>(expr: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    Some(Arc::new(Quick { way: W::of(expr)?, expr: Arc::clone(expr) }))
}

impl<W> PartialEq for Quick<W> {
    fn eq(&self, other: &Self) -> bool {
        self.expr.eq(&other.expr)
    }
}

impl<W> Eq for Quick<W> {}

impl<W> Hash for Quick<W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.expr.hash(state);
    }
}

impl<W> fmt::Display for Quick<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl<W: Way> PhysicalExpr for Quick<W> {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.expr.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.expr.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.expr.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.way.compute(batch)? {
            Some(values) => Ok(ColumnarValue::Array(values)),
            None => self.expr.evaluate(batch),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.expr]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let [expr] = children.as_slice() else { return internal_err!("a quicker form has one child") };
        Ok(quick::<W>(expr).unwrap_or_else(|| Arc::clone(expr)))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt_sql(f)
    }
}
