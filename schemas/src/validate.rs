//! What an episode must satisfy before a byte of it is stored.

use crate::episode::Episode;
use crate::error::{Error, Result};
use crate::spec::DatasetSpec;

/// The largest number of steps of one episode: 27 hours at 10 Hz, and one row group of `steps`.
const MAX_STEPS: usize = 1_000_000;

/// Checks an episode, whose actions are `components` as `[C, T]`, against the dataset's spec and returns its number of
/// steps.
///
/// # Errors
/// [`Error::Invalid`] naming the episode, the step and the column.
pub(crate) fn episode(episode: &Episode, components: &[u8], spec: &DatasetSpec) -> Result<usize> {
    let id = episode.episode_id;
    let fault = |reason: String| Err(Error::invalid(format!("episode {id}"), reason));
    let at = |t: usize| format!("episode {id}, step {t}");
    if id < 0 {
        return fault("an episode_id is 0 or more".into());
    }
    let count = spec.actions.len();
    if !episode.actions.len().is_multiple_of(count) {
        let bytes = episode.actions.len();
        return fault(format!("{bytes} action values are no multiple of the {count} components"));
    }
    let steps = episode.num_steps(&spec.actions);
    if steps == 0 || steps > MAX_STEPS {
        return fault(format!("{steps} steps; an episode has 1 to {MAX_STEPS}"));
    }
    let mut columns = spec.actions.components.iter().zip(components.chunks_exact(steps));
    if columns.any(|(component, column)| column.iter().fold(0, |most, &b| most.max(b)) >= component.cardinality) {
        for (t, action) in episode.actions.chunks_exact(count).enumerate() {
            spec.actions.validate(action).map_err(|e| Error::invalid(at(t), e.to_string()))?;
        }
    }
    for (name, length) in [("poses", episode.poses.len()), ("rewards", episode.rewards.len())] {
        if length != 0 && length != steps {
            return fault(format!("{length} {name} for {steps} steps; give one a step, or none at all"));
        }
    }
    for (t, pose) in episode.poses.iter().enumerate() {
        let values = [pose.x, pose.y, pose.z, pose.yaw, pose.pitch];
        if let Some(value) = values.into_iter().find(|v| !v.is_finite()) {
            return Err(Error::invalid(at(t), format!("a pose holds {value}; telemetry must be finite")));
        }
    }
    if let Some(t) = episode.rewards.iter().position(|r| !r.is_finite()) {
        return Err(Error::invalid(at(t), format!("reward {}; rewards must be finite", episode.rewards[t])));
    }
    if !(episode.hz.is_finite() && episode.hz > 0.0) {
        return fault(format!("hz {} must be a number above 0", episode.hz));
    }
    if episode.episode_return.is_some_and(|r| !r.is_finite()) {
        return fault("the return must be finite".into());
    }
    frames(episode, spec, steps)?;
    Ok(steps)
}

fn frames(episode: &Episode, spec: &DatasetSpec, steps: usize) -> Result<()> {
    let id = episode.episode_id;
    let Some(frame_spec) = &spec.frames else {
        return if episode.frames.is_empty() {
            Ok(())
        } else {
            let reason = "it has frames, but the dataset was made without; drop them or give it a frame spec";
            Err(Error::invalid(format!("episode {id}"), reason))
        };
    };
    if episode.frames.len() != steps {
        let reason =
            format!("{} frames for {steps} steps; frame t is what was seen before action t", episode.frames.len());
        return Err(Error::invalid(format!("episode {id}"), reason));
    }
    for (t, bytes) in episode.frames.iter().enumerate() {
        frame_spec.check(bytes).map_err(|e| Error::invalid(format!("episode {id}, frame {t}"), e.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::by_component;
    use crate::testing::{bare_spec, framed, raw_spec};

    type Spoil = fn(&mut Episode);

    fn check(checked: &Episode, spec: &DatasetSpec) -> Result<usize> {
        episode(checked, &by_component(&checked.actions, spec.actions.len()), spec)
    }

    #[test]
    fn each_rule_names_its_place() {
        let cases: [(Spoil, &str); 12] = [
            (|e| e.episode_id = -1, "episode -1: "),
            (|e| e.actions.truncate(17), "no multiple of the 16 components"),
            (|e| e.actions.clear(), "0 steps"),
            (|e| e.actions[16 + 12] = 11, "episode 4, step 1: component left_x: bucket 11"),
            (|e| e.actions[0] = 2, "step 0: component a: bucket 2"),
            (|e| e.poses.truncate(1), "1 poses for 3 steps"),
            (|e| e.poses[2].yaw = f32::NAN, "step 2: a pose holds NaN"),
            (|e| e.rewards = vec![0.0, f32::INFINITY, 0.0], "step 1: reward inf"),
            (|e| e.hz = 0.0, "hz 0"),
            (|e| e.episode_return = Some(f32::NAN), "return must be finite"),
            (|e| e.frames.truncate(2), "2 frames for 3 steps"),
            (|e| e.frames[1].truncate(5), "episode 4, frame 1: raw image: 5 bytes"),
        ];
        for (spoil, expected) in cases {
            let mut bad = framed(4, 3);
            assert_eq!(check(&bad, &raw_spec()).unwrap(), 3);
            spoil(&mut bad);
            let message = check(&bad, &raw_spec()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} should contain {expected}");
        }
        let message = check(&framed(4, 3), &bare_spec()).unwrap_err().to_string();
        assert!(message.contains("made without"), "{message}");
    }
}
