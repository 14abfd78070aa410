//! What every scalar function here shares: fixed argument types, arrays in, an array out, a manual.

use std::hash::{Hash, Hasher};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// A pure function of fixed argument types. Arguments arrive as arrays of one length, cast to `arguments`.
#[derive(Debug)]
pub(super) struct Scalar {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    body: fn(&[ArrayRef]) -> Result<ArrayRef>,
    documentation: Documentation,
}

/// The parts of a [`Scalar`] that differ.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) arguments: Vec<DataType>,
    pub(super) returns: DataType,
    pub(super) syntax: &'static str,
    pub(super) description: &'static str,
    pub(super) example: &'static str,
    pub(super) body: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

impl Spec {
    pub(super) fn build(self) -> ScalarUDF {
        let section = DocSection { include: true, label: "Playhouse", description: None };
        let documentation =
            Documentation::builder(section, self.description, self.syntax).with_sql_example(self.example).build();
        ScalarUDF::new_from_impl(Scalar {
            name: self.name,
            signature: Signature::exact(self.arguments, Volatility::Immutable),
            returns: self.returns,
            body: self.body,
            documentation,
        })
    }
}

// Names are unique (a test says so), so a name is an identity.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let result = (self.body)(&ColumnarValue::values_to_arrays(&args.args)?)?;
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
