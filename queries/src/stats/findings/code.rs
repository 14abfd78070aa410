//! The faults of content that are looked for. Numbers and names are stable: scripts may rely on them.
//!
//! `playhouse verify` has PH001 to PH015 for what is wrong with the files. PH1xx are faults of what is in them; PH2xx is
//! what a person should look at before training on it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The data contradicts itself: `--check` fails.
    Error,
    /// Possible, but seldom meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// What kind of fault a [`Finding`](super::Finding) is.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// PH101
    StepCount,
    /// PH102
    DuplicateSteps,
    /// PH103
    GapInT,
    /// PH104
    StepsOutOfOrder,
    /// PH105
    UnknownEpisode,
    /// PH106
    DuplicateEpisodeId,
    /// PH107
    BucketOutOfRange,
    /// PH108
    NotFinite,
    /// PH109
    StepsWithoutFrames,
    /// PH110
    FramesWithoutSteps,
    /// PH111
    ImpossibleIndex,
    /// PH201
    ConstantComponent,
    /// PH202
    StuckComponent,
    /// PH203
    FrozenPictures,
    /// PH204
    ShortEpisode,
    /// PH205
    LengthOutlier,
    /// PH206
    Teleport,
    /// PH207
    IdleEpisode,
    /// PH208
    RepeatedAction,
    /// PH209
    DuplicateEpisode,
}

/// A code's name, what it means, and what to do.
struct Entry {
    code: Code,
    id: &'static str,
    name: &'static str,
    meaning: &'static str,
    fix: &'static str,
}

const ENTRIES: [Entry; 20] = [
    Entry {
        code: Code::StepCount,
        id: "PH101",
        name: "step-count",
        meaning: "an episode has fewer or more steps than its num_steps says",
        fix: "import or record it again; until then leave it out: where episode_id not in (...)",
    },
    Entry {
        code: Code::DuplicateSteps,
        id: "PH102",
        name: "duplicate-steps",
        meaning: "a t occurs twice in an episode",
        fix: "write the part again without the second rows",
    },
    Entry {
        code: Code::GapInT,
        id: "PH103",
        name: "gap-in-t",
        meaning: "t jumps over values within an episode, so a window would join what was apart",
        fix: "split the episode at the gap, or import it again",
    },
    Entry {
        code: Code::StepsOutOfOrder,
        id: "PH104",
        name: "steps-out-of-order",
        meaning: "t goes backward within an episode",
        fix: "sort the part by episode_id, t and write it again",
    },
    Entry {
        code: Code::UnknownEpisode,
        id: "PH105",
        name: "unknown-episode",
        meaning: "steps or frames of an episode that their part of the table `episodes` does not list",
        fix: "write the part again without these rows, or with a row in `episodes`",
    },
    Entry {
        code: Code::DuplicateEpisodeId,
        id: "PH106",
        name: "duplicate-episode-id",
        meaning: "an episode_id occurs twice in the table `episodes`",
        fix: "number one of the sources differently: import --option first_id=N",
    },
    Entry {
        code: Code::BucketOutOfRange,
        id: "PH107",
        name: "bucket-out-of-range",
        meaning: "an axis holds a bucket that it does not have",
        fix: "check the importer's edges (sticks=buckets|continuous) and import again",
    },
    Entry {
        code: Code::NotFinite,
        id: "PH108",
        name: "not-finite",
        meaning: "telemetry or a reward is infinite or not a number",
        fix: "store null where a source has no value",
    },
    Entry {
        code: Code::StepsWithoutFrames,
        id: "PH109",
        name: "steps-without-frames",
        meaning: "the dataset stores frames, and some steps of an episode have none",
        fix: "import the episode again, or leave it out of what trains on pixels",
    },
    Entry {
        code: Code::FramesWithoutSteps,
        id: "PH110",
        name: "frames-without-steps",
        meaning: "frames at a t that their episode does not have; often a source that stores T+1 observations",
        fix: "drop the last observation on import: frame t is what was seen before action t",
    },
    Entry {
        code: Code::ImpossibleIndex,
        id: "PH111",
        name: "impossible-index",
        meaning: "a row of `episodes` that cannot be: no steps, a rate not above 0, a fraction outside 0 to 1",
        fix: "write the table `episodes` again from the steps",
    },
    Entry {
        code: Code::ConstantComponent,
        id: "PH201",
        name: "constant-component",
        meaning: "a button or axis that never changes in the whole dataset",
        fix: "expected if the game does not use it; else check the mapping of the importer",
    },
    Entry {
        code: Code::StuckComponent,
        id: "PH202",
        name: "stuck-component",
        meaning: "a button held down, or an axis away from rest in one bucket, during a whole episode",
        fix: "look at the episode: a stuck key, or an axis with an offset",
    },
    Entry {
        code: Code::FrozenPictures,
        id: "PH203",
        name: "frozen-pictures",
        meaning: "identical images for 5 seconds or more while the player acts",
        fix: "look at the episode (playhouse play); mask or drop the stretch",
    },
    Entry {
        code: Code::ShortEpisode,
        id: "PH204",
        name: "short-episode",
        meaning: "shorter than a training window of 32 steps: no window fits in it",
        fix: "nothing, if that is meant: window queries leave it out",
    },
    Entry {
        code: Code::LengthOutlier,
        id: "PH205",
        name: "length-outlier",
        meaning: "a length far from that of the other episodes of its map",
        fix: "look at it: a recorder left running, or cut off",
    },
    Entry {
        code: Code::Teleport,
        id: "PH206",
        name: "teleport",
        meaning: "one step leads ten times as far as 99% of all steps do at most",
        fix: "split the episode there if the player was moved (a respawn, a cut)",
    },
    Entry {
        code: Code::IdleEpisode,
        id: "PH207",
        name: "idle-episode",
        meaning: "no input during more than 90% of an episode",
        fix: "leave it out: where idle_fraction <= 0.9",
    },
    Entry {
        code: Code::RepeatedAction,
        id: "PH208",
        name: "repeated-action",
        meaning: "one unchanged action fills more than 90% of an episode",
        fix: "leave it out: where longest_repeat <= 0.9 * num_steps",
    },
    Entry {
        code: Code::DuplicateEpisode,
        id: "PH209",
        name: "duplicate-episode",
        meaning: "exactly the actions of an episode with a lower id",
        fix: "keep one: qualify by action_hash, or import the source once",
    },
];

impl Code {
    /// Every code, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        ENTRIES.iter().map(|entry| entry.code)
    }

    fn entry(self) -> &'static Entry {
        // The entries stand in the order of the variants; a test holds them to it.
        &ENTRIES[self as usize]
    }

    /// `PH101` and so on.
    pub fn as_str(self) -> &'static str {
        self.entry().id
    }

    /// `step-count` and so on.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// What is wrong, in a sentence.
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// What to do about it.
    pub fn fix(self) -> &'static str {
        self.entry().fix
    }

    /// How bad it is: PH1xx are errors, PH2xx warnings.
    pub fn severity(self) -> Severity {
        if self < Self::ConstantComponent { Severity::Error } else { Severity::Warning }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = String;

    /// Takes `PH206` and `teleport`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is = |entry: &&Entry| entry.id.eq_ignore_ascii_case(text) || entry.name == text;
        ENTRIES.iter().find(is).map(|entry| entry.code).ok_or_else(|| {
            let near = crate::error::nearest(text, ENTRIES.iter().flat_map(|entry| [entry.id, entry.name]));
            let hint = near.first().map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            format!("no such code{hint} (`playhouse stats --codes` lists them)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_stand_at_their_place() {
        for (i, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.code as usize, i, "{}", entry.id);
            assert_eq!(entry.code.as_str().parse(), Ok(entry.code));
            assert_eq!(entry.name.parse(), Ok(entry.code));
            let severity = if entry.id.starts_with("PH1") { Severity::Error } else { Severity::Warning };
            assert_eq!(entry.code.severity(), severity, "{}", entry.id);
        }
        assert_eq!((Code::StepCount.as_str(), Code::ImpossibleIndex.as_str()), ("PH101", "PH111"));
        assert_eq!((Code::ConstantComponent.as_str(), Code::DuplicateEpisode.as_str()), ("PH201", "PH209"));
        let message = "teleprot".parse::<Code>().unwrap_err();
        assert!(message.contains("did you mean teleport?"), "{message}");
    }
}
