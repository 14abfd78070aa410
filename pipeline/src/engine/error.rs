//! What can go wrong before and around a stage, and whose fault it is.

use std::path::PathBuf;

use super::store::FORMAT;

/// An error of the engine itself. What a stage does wrong arrives as the stage's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The definition file says something that cannot be run.
    #[error("{file}{}: {message}", line.map(|l| format!(":{l}")).unwrap_or_default())]
    Definition {
        /// The file, or `built-in <name>`.
        file: String,
        /// 1-based line, where it is known.
        line: Option<usize>,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// What was typed cannot be meant: an unknown pipeline, parameter or stage.
    #[error("{0}")]
    Usage(String),
    /// Another process works in the same home.
    #[error("another playhouse is at work in {}: {holder}; wait for it, or give this one its own --home", home.display())]
    Locked {
        /// The home folder.
        home: PathBuf,
        /// The other process, as it described itself.
        holder: String,
    },
    /// An output in the home is of a layout that this version does not know.
    #[error("{} was made by a newer playhouse (its format is {format}, this one knows {known}); use that one, or give this one its own --home", path.display(), known = FORMAT)]
    Newer {
        /// The output's folder.
        path: PathBuf,
        /// The format its marker says.
        format: u32,
    },
    /// The home folder, or something in it, cannot be read or written.
    #[error("cannot {action} {}: {reason}; {help}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
        /// What the user can do.
        help: &'static str,
    },
    /// The user asked to stop. Everything finished stays, the rest resumes.
    #[error("interrupted: what is finished stays, and the same command goes on from the last checkpoint")]
    Interrupted,
}

/// The result of the engine's own steps.
pub type Result<T> = std::result::Result<T, Error>;

/// An error with its causes on one line. A cause that the message before it already quotes is not said again.
pub fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_says_everything_once() {
        let inner = std::io::Error::other("disk full");
        let outer = anyhow::Error::from(inner).context("cannot write x: disk full").context("stage `a`");
        assert_eq!(chain(&outer), "stage `a`: cannot write x: disk full");
    }
}
