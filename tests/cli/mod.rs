//! End to end through the binary. Each test has a folder of its own and reads like a shell session.
//!
//! - `commands`: every command on good input.
//! - `engine`: caching, resuming, selecting, failing branches, expectations, the matrix, kills.
//! - `matrix`: which run of a matrix a question is about, and what failed in which.
//! - `results`: the table of a paper's claims over the runs of a matrix.
//! - `tables`: plain tables of other tools, imported, queried, refused and resumed.
//! - `stats`: what a dataset holds, what is wrong with it, in what two differ.
//! - `ranks`: one run by several processes.
//! - `shell`: scripts, pictures, and the prompt on a real pseudo-terminal.
//! - `memory`: what queries take, small limits, hostile questions.
//! - `buckets`: datasets in a bucket of an S3 server.
//! - `transcode`: datasets with their frames in another codec, and runs that were killed.
//! - `cluster`: a scheduler and executors, asked, killed and interrupted.
//! - `bad_input`: every kind of bad input gives one clear message, the right status and no panic.

mod bad_input;
mod buckets;
mod clips;
mod cluster;
mod commands;
mod engine;
mod house;
mod matrix;
mod memory;
mod ranks;
mod results;
mod shell;
mod stats;
mod tables;
mod terminal;
mod transcode;
