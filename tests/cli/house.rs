//! A folder to run the program in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A scratch folder and the program in it.
pub struct House {
    folder: TempDir,
}

/// What a run of the program left.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl House {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_playhouse"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        // What the machine's owner has set is not the test's.
        for name in
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ALLOW_HTTP", "AWS_ENDPOINT_URL"]
                .into_iter()
                .chain(["RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
        {
            command.env_remove(name);
        }
        command
    }

    /// Runs to the end. Whatever happens, the program must not panic.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs, and must succeed.
    pub fn ok(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        ran
    }

    /// Runs, and must end with this status and say all of this on stderr.
    pub fn fails(&self, status: i32, arguments: &[&str], says: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.status, status, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        for words in says {
            assert!(ran.err.contains(words), "{arguments:?} should say {words:?}:\n{}", ran.err);
        }
        ran
    }

    /// Starts in the background.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The rows of a query as JSON.
    pub fn rows(&self, sql: &str) -> Vec<serde_json::Value> {
        let ran = self.ok(&["sql", sql, "--format", "json"]);
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The folders of a stage's outputs.
    pub fn outputs(&self, pipeline: &str, stage: &str) -> Vec<PathBuf> {
        let folder = self.path(".playhouse").join(pipeline).join(stage);
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(folder).map(|entries| entries.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
        found.sort();
        found
    }

    /// Every file of a stage's only output by its path, but for its record.
    pub fn files(&self, pipeline: &str, stage: &str) -> BTreeMap<String, Vec<u8>> {
        let outputs = self.outputs(pipeline, stage);
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        let (mut found, mut folders) = (BTreeMap::new(), outputs.clone());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.file_name().is_none_or(|name| name != "stage.json") {
                    let name = path.strip_prefix(&outputs[0]).unwrap().display().to_string();
                    found.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        found
    }

    /// A part of a finished stage's record, in its only output.
    pub fn record(&self, pipeline: &str, stage: &str) -> serde_json::Value {
        let outputs = self.outputs(pipeline, stage);
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        read_json(&outputs[0].join("stage.json"))
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let ran = Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }
}

pub fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
