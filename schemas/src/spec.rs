//! What every file of a dataset has in common.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::action::{ActionSpace, Component};
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

    /// The first thing in which `found` differs from this spec: what it is, with both values; none if they are equal.
    pub(crate) fn difference(&self, found: &Self) -> Option<String> {
        if self == found {
            return None;
        }
        let (ours, theirs) = (&self.actions, &found.actions);
        let names = differs("the action space", &ours.name, &theirs.name);
        let mut components = ours.components.iter().zip(&theirs.components).enumerate();
        let component = || components.find_map(|(i, (a, b))| component_difference(i, a, b));
        let count = || differs("the number of components", &ours.components.len(), &theirs.components.len());
        let frames = || match (&self.frames, &found.frames) {
            (Some(a), Some(b)) => differs("the frames' width", &a.width, &b.width)
                .or_else(|| differs("the frames' height", &a.height, &b.height))
                .or_else(|| differs("the frames' codec", &a.codec, &b.codec))
                .or_else(|| differs("the frames' resize", &a.resize, &b.resize)),
            (a, b) => differs("whether there are frames", &a.is_some(), &b.is_some()),
        };
        // Only what is not equal to itself is left: an edge that is NaN.
        let rest = || Some("an edge or centre is not a number".to_owned());
        names.or_else(component).or_else(count).or_else(frames).or_else(rest)
    }
}

fn component_difference(index: usize, ours: &Component, theirs: &Component) -> Option<String> {
    let of = |field: &str| format!("component `{}`, {field}", ours.name);
    differs(&format!("component {index}"), &ours.name, &theirs.name)
        .or_else(|| differs(&of("kind"), &ours.kind, &theirs.kind))
        .or_else(|| differs(&of("cardinality"), &ours.cardinality, &theirs.cardinality))
        .or_else(|| differs(&of("edges"), &ours.edges, &theirs.edges))
        .or_else(|| differs(&of("centres"), &ours.centres, &theirs.centres))
}

fn differs<T: PartialEq + Debug>(what: &str, ours: &T, theirs: &T) -> Option<String> {
    (ours != theirs).then(|| format!("{what}: {ours:?} and {theirs:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bare_spec, raw_spec};

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        type Change = fn(&mut DatasetSpec);
        let cases: [(Change, &str); 8] = [
            (|s| s.actions.name = "mouse".into(), "the action space: \"gamepad\" and \"mouse\""),
            (|s| s.actions.components[3].name = "z".into(), "component 3: \"y\" and \"z\""),
            (|s| s.actions.components[12].cardinality = 9, "component `left_x`, cardinality: 11 and 9"),
            (|s| s.actions.components[15].centres[0] = -0.5, "component `right_y`, centres: [-1.0, "),
            (|s| s.actions.components.truncate(15), "the number of components: 16 and 15"),
            (|s| s.frames = None, "whether there are frames: true and false"),
            (|s| s.frames.as_mut().unwrap().width = 8, "the frames' width: 4 and 8"),
            (
                |s| s.frames.as_mut().unwrap().resize = Some("area".into()),
                "the frames' resize: None and Some(\"area\")",
            ),
        ];
        for (change, message) in cases {
            let mut other = raw_spec();
            change(&mut other);
            let found = raw_spec().difference(&other).unwrap();
            assert!(found.starts_with(message), "{found}");
        }
        assert_eq!(bare_spec().difference(&bare_spec()), None);
    }
}
