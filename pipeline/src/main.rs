//! The `playhouse` binary: a thin match around [`playhouse_pipeline`].
fn main() {}
