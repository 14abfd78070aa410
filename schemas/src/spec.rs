//! What every file of a dataset has in common.

use serde::{Deserialize, Serialize};

use crate::action::ActionSpace;
use crate::error::Result;
use crate::frame::FrameSpec;

/// The action space and the frames of a dataset. Both stand in every file's footer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetSpec {
    /// What an action is.
    pub actions: ActionSpace,
    /// What a frame is; none for a dataset without frames.
    pub frames: Option<FrameSpec>,
}

impl DatasetSpec {
    /// Checks both halves.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) naming the component or the number at fault.
    pub fn check(&self) -> Result<()> {
        self.actions.check()?;
        self.frames.as_ref().map_or(Ok(()), FrameSpec::check_spec)
    }
}
