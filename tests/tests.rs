//! What crosses a crate border, in one test binary because linking is the cost.
//!
//! - `cli`: the built program as a user runs it: exit status, what it says, what it leaves on disk.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(missing_docs, reason = "tests are named after what they show")]

mod cli;
