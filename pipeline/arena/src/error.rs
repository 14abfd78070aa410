//! What can be asked for wrongly.

use thiserror::Error;

/// A start, a persona or a buffer that the arena does not know. All variants are the caller's to fix.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No map has this name.
    #[error("unknown map `{name}`; known maps: {known}")]
    UnknownMap {
        /// The name as given.
        name: String,
        /// Every known name, separated by commas.
        known: String,
    },
    /// No scripted player has this name.
    #[error("unknown persona `{name}`; known personas: {known}")]
    UnknownPersona {
        /// The name as given.
        name: String,
        /// Every known name, separated by commas.
        known: String,
    },
    /// The map has fewer spawns than the index asked for.
    #[error("map `{map}` has no spawn {index}; its spawns are 0 to {last}")]
    UnknownSpawn {
        /// The map.
        map: String,
        /// The index as given.
        index: usize,
        /// The highest index that exists.
        last: usize,
    },
    /// A heading that is not a finite number.
    #[error("heading {heading} is not a finite angle in radians")]
    BadHeading {
        /// The heading, printed.
        heading: String,
    },
}
