//! What went wrong with an object store, and what to do about it.

use std::error::Error as _;
use std::io;
use std::path::Path;

use object_store::client::{HttpError, HttpErrorKind};
use parquet::errors::ParquetError;

use crate::error::Error;

/// The error of a request for `path`.
pub(super) fn error(path: &Path, action: &'static str, error: &object_store::Error) -> Error {
    // An object that is not there is what a file that is not there is.
    if matches!(error, object_store::Error::NotFound { .. }) && code(&error.to_string()) != Some("NoSuchBucket") {
        return Error::io(path, action, io::Error::new(io::ErrorKind::NotFound, "no such object"));
    }
    Error::Store { path: path.to_owned(), action, reason: explain(error) }
}

/// Says in a line why a request failed and how to mend it.
pub fn explain(error: &object_store::Error) -> String {
    let text = error.to_string();
    let code = code(&text);
    let named = code.map(|code| format!(" ({code})")).unwrap_or_default();
    if code == Some("NoSuchBucket") {
        return "there is no such bucket; create it, or correct the URL or AWS_ENDPOINT_URL".to_owned();
    }
    if text.contains("169.254.169.254") || text.contains("169.254.170.2") {
        return "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a \
                public bucket"
            .to_owned();
    }
    let refused =
        matches!(error, object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. });
    if refused || text.contains("403 Forbidden") || text.contains("401 Unauthorized") {
        return format!(
            "the server refuses the credentials{named}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
             AWS_SESSION_TOKEN, and that they may use this bucket"
        );
    }
    if text.contains("URL scheme is not allowed") {
        return "AWS_ENDPOINT_URL is plain http; set AWS_ALLOW_HTTP=true if that is meant".to_owned();
    }
    if text.contains("Received redirect") {
        return "the bucket is in another region; set AWS_REGION to it".to_owned();
    }
    match http_kind(error) {
        Some(HttpErrorKind::Connect) => {
            "the server cannot be reached; check that it runs, AWS_ENDPOINT_URL and the network".to_owned()
        }
        Some(HttpErrorKind::Timeout) => "the server does not answer in time; try again".to_owned(),
        _ => {
            let first = text.lines().next().unwrap_or_default();
            // The body of an answer is XML on one line.
            let first = first.split("<?xml").next().unwrap_or(first).trim_end_matches([':', ' ']);
            format!("{first}{named}")
        }
    }
}

/// The error of this crate that a [`Source`](super::Source) failed with, below an error of the parquet crate.
///
/// # Errors
/// The same error, if it has another cause.
pub fn fault_in(error: ParquetError) -> std::result::Result<Error, ParquetError> {
    let ParquetError::External(cause) = error else { return Err(error) };
    match cause.downcast::<io::Error>() {
        Ok(cause) => cause.downcast::<Error>().map_err(|cause| ParquetError::External(Box::new(cause))),
        Err(cause) => Err(ParquetError::External(cause)),
    }
}

/// The code in the body of a server's answer.
fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0)
}

fn http_kind(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        cause = error.source();
    }
    None
}
