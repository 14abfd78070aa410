//! Findings of a pass over steps and frames: they hold for the episodes that were read.

use playhouse_schemas::Kind;

use super::super::index::Index;
use super::super::layout::Layout;
use super::super::pass::Found;
use super::super::sequence::Sequence;
use super::super::tally::{EpisodeTally, length_quantile};
use super::{Cases, Code, Finding};

/// A step is a teleport when it leads this much further than the 99th percentile of all steps.
const TELEPORT: f32 = 10.0;
/// Steps from which on an unchanged component is worth a word.
const STUCK_STEPS: u64 = 32;

/// Everything that the rows show.
pub(in super::super) fn of_steps(index: &Index, layout: &Layout, found: &Found) -> Vec<Finding> {
    let episodes = &found.tally.episodes;
    let checked = episodes.len() as u64;
    let each = |code: Code, case: &dyn Fn(&EpisodeTally) -> Option<(f64, String)>| {
        let mut cases = Cases::new(index, checked);
        for episode in episodes {
            if let Some((badness, message)) = case(episode) {
                cases.push(episode.row, badness, |id| format!("episode {id}: {message}"));
            }
        }
        cases.finding(code)
    };
    let mut all = vec![
        each(Code::StepCount, &|episode| count(&episode.sequence, index.steps[episode.row])),
        each(Code::DuplicateSteps, &|episode| repeated(&episode.sequence)),
        each(Code::GapInT, &|episode| gap(&episode.sequence)),
        each(Code::StepsOutOfOrder, &|episode| disorder(&episode.sequence)),
        strangers(found, checked),
        each(Code::BucketOutOfRange, &|episode| bucket(episode, layout)),
        each(Code::NotFinite, &|episode| not_finite(episode)),
        without_frames(index, found),
        without_steps(index, found),
        each(Code::StuckComponent, &|episode| stuck(episode, layout)),
        frozen(index, found),
    ];
    // Of the steps that lead anywhere: a player who waits says nothing about how fast they run.
    let mut moving = found.tally.lengths.clone();
    moving[0] = 0;
    let typical = length_quantile(&moving, 0.99);
    all.push(each(Code::Teleport, &|episode| teleport(episode, typical)));
    all.into_iter().flatten().collect()
}

fn count(sequence: &Sequence, num_steps: u64) -> Option<(f64, String)> {
    let surplus = sequence.surplus(num_steps);
    let rows = sequence.rows;
    let message = match surplus {
        0 => return None,
        _ if rows == 0 => format!("it has no steps, and num_steps {num_steps}"),
        _ => format!("its steps end at t {}, and num_steps is {num_steps}", num_steps as i64 + surplus - 1),
    };
    Some((surplus.unsigned_abs() as f64, message))
}

fn repeated(sequence: &Sequence) -> Option<(f64, String)> {
    let (_, t) = sequence.first?;
    let times = sequence.repeated;
    (times > 0).then(|| (times as f64, format!("{times} steps twice, at t {t} first")))
}

fn gap(sequence: &Sequence) -> Option<(f64, String)> {
    let (expected, found) = sequence.first?;
    let missing = sequence.skipped;
    (missing > 0)
        .then(|| (missing as f64, format!("{missing} steps missing, where t {expected} is expected and {found} found")))
}

fn disorder(sequence: &Sequence) -> Option<(f64, String)> {
    let (expected, found) = sequence.first?;
    let times = sequence.backward;
    (times > 0).then(|| {
        (times as f64, format!("t goes backward {times} times, where {expected} is expected and {found} found"))
    })
}

fn bucket(episode: &EpisodeTally, layout: &Layout) -> Option<(f64, String)> {
    let (slot, value, t) = episode.bad_bucket?;
    let slot = &layout.slots[slot];
    let last = slot.values - 1;
    let times = episode.bad_buckets;
    Some((times as f64, format!("{times} values, `{}` is {value} at t {t}, the last bucket is {last}", slot.name)))
}

fn not_finite(episode: &EpisodeTally) -> Option<(f64, String)> {
    let t = episode.bad_value?;
    Some((episode.bad_values as f64, format!("{} steps, at t {t} first", episode.bad_values)))
}

/// A button down, or an axis in one bucket away from rest, at every step.
fn stuck(episode: &EpisodeTally, layout: &Layout) -> Option<(f64, String)> {
    let steps = episode.sequence.rows;
    if steps < STUCK_STEPS {
        return None;
    }
    let held = layout.slots.iter().filter_map(|slot| {
        let value = slot.of(&episode.counts).iter().position(|&count| u64::from(count) == steps)?;
        (value != usize::from(slot.rest)).then(|| match slot.kind {
            Kind::Button => format!("`{}` is down", slot.name),
            Kind::Axis => format!("`{}` is in bucket {value}", slot.name),
        })
    });
    let held: Vec<String> = held.collect();
    (!held.is_empty()).then(|| (steps as f64, format!("{} throughout its {steps} steps", held.join(", "))))
}

fn teleport(episode: &EpisodeTally, typical: Option<f32>) -> Option<(f64, String)> {
    let (way, t) = episode.jump?;
    let typical = typical?;
    (way > TELEPORT * typical).then(|| {
        (f64::from(way), format!("the step to t {t} leads {way:.1} far; 99% of steps lead at most {typical:.2}"))
    })
}

fn strangers(found: &Found, checked: u64) -> Option<Finding> {
    let (steps, frames) = (&found.tally.strangers, &found.frame_strangers);
    let mut ids: Vec<i64> = steps.keys().chain(frames.keys()).copied().collect();
    ids.sort_unstable();
    ids.dedup();
    let first = ids.first()?;
    let rows = |of: &std::collections::BTreeMap<i64, u64>| of.get(first).copied().unwrap_or(0);
    let message = format!(
        "episode {first}: {} steps and {} frames, but its part of `episodes` does not list it",
        rows(steps),
        rows(frames)
    );
    Some(Finding::new(Code::UnknownEpisode, message, ids.len() as u64, checked, ids))
}

fn without_frames(index: &Index, found: &Found) -> Option<Finding> {
    let mut cases = Cases::new(index, found.frames.len() as u64);
    for (&row, sequence) in &found.frames {
        let missing = sequence.missing(index.steps[row]);
        if missing > 0 {
            let at = match sequence.first {
                Some((expected, _)) => format!(", from t {expected} on"),
                None => String::new(),
            };
            let steps = index.steps[row];
            cases.push(row, missing as f64, |id| format!("episode {id}: {missing} of {steps} steps have no frame{at}"));
        }
    }
    cases.finding(Code::StepsWithoutFrames)
}

fn without_steps(index: &Index, found: &Found) -> Option<Finding> {
    let mut cases = Cases::new(index, found.frames.len() as u64);
    for (&row, sequence) in &found.frames {
        let extra = sequence.extra(index.steps[row]) + sequence.backward;
        if extra > 0 {
            let steps = index.steps[row];
            cases.push(row, extra as f64, |id| {
                format!("episode {id}: {extra} frames beside those of its {steps} steps")
            });
        }
    }
    cases.finding(Code::FramesWithoutSteps)
}

fn frozen(index: &Index, found: &Found) -> Option<Finding> {
    let mut cases = Cases::new(index, found.pictured);
    for (&row, still) in &found.frozen {
        let (from, to) = (still.t, still.t + still.steps - 1);
        cases.push(row, still.steps as f64, |id| {
            format!("episode {id}: the same image from t {from} to {to} ({} steps) while the player acts", still.steps)
        });
    }
    cases.finding(Code::FrozenPictures)
}
