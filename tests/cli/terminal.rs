//! The program on a pseudo-terminal, with somebody who types and reads.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::house::House;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running program and what it has drawn. The terminal is made by `script` of util-linux.
pub struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    drawn: Receiver<Vec<u8>>,
    /// What was drawn and not waited for yet.
    unread: String,
    /// Everything that was drawn.
    all: String,
}

impl Terminal {
    /// Starts `playhouse` with these arguments and variables on a terminal of 40 rows and 100 columns.
    pub fn start(house: &House, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let quoted: Vec<String> = arguments.iter().map(|a| format!("'{}'", a.replace('\'', "'\\''"))).collect();
        Self::start_line(house, &quoted.join(" "), variables)
    }

    /// The same, with the arguments as a shell reads them.
    pub fn start_line(house: &House, arguments: &str, variables: &[(&str, &str)]) -> Self {
        let program = env!("CARGO_BIN_EXE_playhouse");
        let line = format!("stty rows 40 cols 100; echo process $$.; exec '{program}' {arguments}");
        let mut command = std::process::Command::new("script");
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).current_dir(house.path(""));
        command.env("SHELL", "/bin/sh").env("TERM", "xterm").env("PAGER", "").envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("`script` of util-linux, which makes the terminal, runs");
        let mut out = child.stdout.take().unwrap();
        let (sender, drawn) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { keys: child.stdin.take(), child, drawn, unread: String::new(), all: String::new() }
    }

    /// The program's process id, which is the first thing to be read.
    pub fn process(&mut self) -> String {
        self.wait_for("process ");
        self.wait_for(".").trim_end_matches('.').to_owned()
    }

    pub fn press(&mut self, keys: &str) {
        let stdin = self.keys.as_mut().unwrap();
        stdin.write_all(keys.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads on until `text` has been drawn, and returns what was drawn before it.
    pub fn wait_for(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.unread.find(text) {
                let rest = self.unread.split_off(at + text.len());
                return std::mem::replace(&mut self.unread, rest);
            }
            match self.drawn.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(bytes) => {
                    let bytes = String::from_utf8_lossy(&bytes);
                    self.unread.push_str(&bytes);
                    self.all.push_str(&bytes);
                }
                Err(RecvTimeoutError::Timeout) => panic!("{text:?} was not drawn in time:\n{}", self.all),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended before it drew {text:?}:\n{}", self.all),
            }
        }
    }

    /// Waits for the prompt, which is drawn with the marks around pasted text switched on.
    pub fn prompt(&mut self) -> String {
        let before = self.wait_for("\u{1b}[?2004h");
        self.wait_for("playhouse> ");
        before
    }

    /// Types a line at the prompt and returns what is drawn up to the next one.
    pub fn line(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        self.prompt()
    }

    /// Waits for the program to end: its status and everything it drew.
    pub fn end(mut self) -> (i32, String) {
        while let Ok(bytes) = self.drawn.recv_timeout(PATIENCE) {
            self.all.push_str(&String::from_utf8_lossy(&bytes));
        }
        drop(self.keys.take());
        let status = self.child.wait().unwrap().code().unwrap_or(-1);
        assert!(!self.all.contains("panicked"), "{}", self.all);
        (status, std::mem::take(&mut self.all))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
