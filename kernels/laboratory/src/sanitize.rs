//! `laboratory sanitize`: the check under compute-sanitizer, which sees what a result does not show.

use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context, Result, bail};

const SANITIZER: &str = "compute-sanitizer";
const TOOLS: [&str; 4] = ["memcheck", "racecheck", "initcheck", "synccheck"];

/// False if a tool has found something.
pub fn run() -> Result<bool> {
    let itself = std::env::current_exe().context("the path of this program")?;
    let mut clean = true;
    for tool in TOOLS {
        println!("== {tool}");
        let mut command = Command::new(SANITIZER);
        command.args(["--tool", tool, "--error-exitcode", "1"]).arg(&itself).arg("check");
        match command.status() {
            Ok(status) => clean &= status.success(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("{SANITIZER} is not on PATH; it is in the CUDA toolkit (compute-sanitizer/)")
            }
            Err(error) => return Err(error).context(SANITIZER),
        }
    }
    Ok(clean)
}
