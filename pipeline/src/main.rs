//! The `playhouse` binary. Everything is in the library, where it can be tested.

fn main() -> std::process::ExitCode {
    playhouse_pipeline::cli::main()
}
