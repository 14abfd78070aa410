//! Why a task failed, told to whoever asked the query.
//!
//! Ballista makes a text for its log of a task's error, and of a job's error one of that. What the user is to read travels inside
//! it, in a form that no quoting changes: `[playhouse:memory:6f7574206f66..]`.

use arrow::error::ArrowError;
use ballista_core::error::BallistaError;
use datafusion::common::DataFusionError;
use playhouse_queries::remote::ClusterFailure;

const OPEN: &str = "[playhouse:";
const MEMORY: &str = "memory";
const OTHER: &str = "query";

/// An error of a task for the way. What has the task or the job run again stays as it is: rows that could not be fetched, files
/// that could not be read.
pub(crate) fn sent(error: DataFusionError) -> DataFusionError {
    let root = error.find_root();
    let arrow = arrow_error(root);
    let (kind, message) = match root {
        _ if arrow.is_some() => (OTHER, arrow.map(ToString::to_string).unwrap_or_default()),
        DataFusionError::ResourcesExhausted(message) => (MEMORY, message.clone()),
        DataFusionError::External(inner) if inner.is::<playhouse_schemas::Error>() => (OTHER, inner.to_string()),
        DataFusionError::External(_) | DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => return error,
        DataFusionError::Execution(message) | DataFusionError::Plan(message) => (OTHER, message.clone()),
        other => (OTHER, other.strip_backtrace()),
    };
    let hex: String = message.bytes().map(|byte| format!("{byte:02x}")).collect();
    DataFusionError::Execution(format!("{message} {OPEN}{kind}:{hex}]"))
}

/// An error of a computation, which Ballista's writer of shuffled rows has put into errors of its own.
fn arrow_error(error: &DataFusionError) -> Option<&ArrowError> {
    match error {
        DataFusionError::ArrowError(inner, _) => Some(inner),
        DataFusionError::Shared(shared) => arrow_error(shared.find_root()),
        DataFusionError::External(inner) => match inner.downcast_ref() {
            Some(BallistaError::ArrowError(inner)) => Some(inner.as_ref()),
            _ => inner.downcast_ref(),
        },
        _ => None,
    }
}

/// What a failed job says.
pub(crate) fn received(text: &str) -> DataFusionError {
    let told =
        text.split_once(OPEN).and_then(|(_, rest)| rest.split_once(']')).and_then(|(told, _)| told.split_once(':'));
    match told.and_then(|(kind, hex)| Some((kind, unhex(hex)?))) {
        Some((MEMORY, message)) => DataFusionError::ResourcesExhausted(message),
        Some((_, message)) => DataFusionError::Execution(message),
        None => ClusterFailure(format!("the cluster could not run the query: {}", text.trim())).into(),
    }
}

fn unhex(text: &str) -> Option<String> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    String::from_utf8((0..text.len()).step_by(2).map(byte).collect::<Option<_>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_what_is_made_of_them() {
        for message in ["plain", "with \"quotes\",\nlines] and [brackets", "größer", ""] {
            for error in [
                DataFusionError::Execution(message.to_owned()),
                DataFusionError::ResourcesExhausted(message.to_owned()).context("of a sort"),
            ] {
                let kind = std::mem::discriminant(error.find_root());
                let text = format!("Job failed: {:?}", format!("{:?}", sent(error)));
                let found = received(&text);
                assert_eq!(std::mem::discriminant(&found), kind, "{text}");
                assert!(found.strip_backtrace().ends_with(message), "{found}");
            }
        }
        let other = received("Job failed due to stage 1").to_string();
        assert!(other.contains("the cluster could not run the query: Job failed due to stage 1"), "{other}");
    }
}
