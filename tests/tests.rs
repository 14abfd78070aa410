//! What crosses a crate border, in one test binary because linking is the cost.
//!
//! - `cli`: the built program as a user runs it: exit status, what it says, what it leaves on disk.
//! - `s3_server`: a server for tests of datasets in buckets.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(missing_docs, reason = "tests are named after what they show")]

mod cli;
mod s3_server;
