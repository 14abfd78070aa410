//! What can go wrong with a cluster.

use std::net::SocketAddr;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a part of a cluster does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address that is none.
    #[error("{0:?} is no address of a scheduler: write HOST:PORT")]
    Address(String),
    /// Nobody answers.
    #[error("no scheduler answers at {address} ({reason}); `playhouse cluster scheduler` starts one")]
    Away {
        /// Where it should be.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// An address of this machine that cannot be had.
    #[error("cannot listen at {address}: {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: String,
    },
    /// Others cannot know how to reach a server that listens everywhere.
    #[error("--bind {0} is no address that others can connect to: name this machine with --advertise HOST")]
    Advertise(SocketAddr),
    /// A folder that cannot be made.
    #[error("{path}: {reason}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A fault of Ballista or of this crate.
    #[error("internal error in the cluster: {0}")]
    Internal(String),
}
