//! Parameters: `$name` in the SQL, a value beside it.
//!
//! A value is put into the syntax tree as a literal node, after parsing and before planning. It is never part of a SQL
//! text, so it cannot become SQL; and the planner knows its type from the start (a placeholder that is filled after
//! planning has no type inside a function call or an `unnest`).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value as Literal, VisitMut, visit_expressions_mut};

use crate::error::{Error, Result, nearest};

/// Values by parameter name, without the `$`.
pub type Params = BTreeMap<String, Value>;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL's null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A finite double.
    Float(f64),
    /// A string.
    Text(String),
}

impl Value {
    /// The literal of the syntax tree; negative numbers are a sign before a number, as the parser would have it.
    fn literal(&self, name: &str) -> Result<Expr> {
        let number = |text: String, negative: bool| {
            let number = Expr::Value(Literal::Number(text, false).into());
            if negative { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(number) } } else { number }
        };
        Ok(match self {
            Self::Null => Expr::Value(Literal::Null.into()),
            Self::Bool(b) => Expr::Value(Literal::Boolean(*b).into()),
            Self::Int(i) => number(i.unsigned_abs().to_string(), *i < 0),
            // `{:?}` keeps the point or the exponent, which makes it a double and not an integer.
            Self::Float(x) if x.is_finite() => number(format!("{:?}", x.abs()), x.is_sign_negative()),
            Self::Float(x) => {
                return Err(Error::Sql {
                    message: format!("parameter ${name} is {x}: a parameter must be a finite number"),
                    position: None,
                });
            }
            Self::Text(text) => Expr::Value(Literal::SingleQuotedString(text.clone()).into()),
        })
    }
}

/// As a literal of SQL, for messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) => write!(f, "{x:?}"),
            Self::Text(text) => write!(f, "'{text}'"),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// Replaces every `$name` of `tree`; a missing or an unused parameter is an error that names it.
pub(crate) fn bind<T: VisitMut>(tree: &mut T, params: &Params) -> Result<()> {
    let mut used: BTreeMap<&str, ()> = BTreeMap::new();
    let flow = visit_expressions_mut(tree, |expr| {
        let Some(name) = placeholder(expr) else { return ControlFlow::Continue(()) };
        let Some((key, value)) = params.get_key_value(name) else {
            let near = nearest(name, params.keys().map(String::as_str));
            return ControlFlow::Break(Error::MissingParameter { name: name.to_owned(), near });
        };
        match value.literal(key) {
            Ok(literal) => *expr = literal,
            Err(error) => return ControlFlow::Break(error),
        }
        used.insert(key, ());
        ControlFlow::Continue(())
    });
    if let ControlFlow::Break(error) = flow {
        return Err(error);
    }
    match params.keys().find(|name| !used.contains_key(name.as_str())) {
        Some(name) => Err(Error::UnusedParameter { name: name.clone(), near: nearest(name, used.keys().copied()) }),
        None => Ok(()),
    }
}

/// The name of a `$name` expression.
pub(crate) fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Literal::Placeholder(name) => Some(name.trim_start_matches('$')),
            _ => None,
        },
        _ => None,
    }
}
