//! One episode: a map, a body, an end.

use playhouse_schemas::Pose;

use crate::error::Error;
use crate::math::{Dice, wrap};
use crate::physics::{Body, LOST};
use crate::render::Renderer;
use crate::world::{World, world};

/// Bytes of a frame: 128 x 128 x 3.
pub const FRAME_BYTES: usize = 49_152;
/// Decisions a second.
pub const HZ: f32 = 10.0;

/// How far a drawn heading may be from the spawn's own, radians.
const FREE_HEADING: f32 = 1.9;

/// Where and how an episode begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Name of the map, one of [`crate::maps`].
    pub map: String,
    /// Draws whatever is left open below.
    pub seed: u64,
    /// Index of the spawn; drawn from the seed if `None`.
    pub spawn: Option<usize>,
    /// Heading in radians, 0 east, counter-clockwise; drawn from the seed if `None`.
    pub heading: Option<f32>,
}

/// What a step did to the episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// The player reached a pad or fell.
    pub terminated: bool,
    /// The time was up.
    pub truncated: bool,
}

/// How an episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// On the left pad.
    Left,
    /// On the middle pad.
    Middle,
    /// On the right pad.
    Right,
    /// Over an edge.
    Fall,
    /// Nowhere, in time.
    Timeout,
}

impl Outcome {
    /// The name that datasets use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Middle => "middle",
            Self::Right => "right",
            Self::Fall => "fall",
            Self::Timeout => "timeout",
        }
    }

    /// Whether the player reached a pad.
    pub fn is_pad(self) -> bool {
        matches!(self, Self::Left | Self::Middle | Self::Right)
    }
}

/// A running episode.
///
/// The frame that [`Arena::render`] draws depends on the start and on the actions so far, and on nothing else: not on
/// earlier frames, the machine or the clock.
pub struct Arena {
    world: &'static World,
    body: Body,
    spawn: usize,
    t: u32,
    outcome: Option<Outcome>,
    renderer: Option<Box<Renderer>>,
}

impl Arena {
    /// Begins an episode.
    ///
    /// # Errors
    /// An unknown map or spawn, or a heading that is not finite.
    pub fn new(start: &Start) -> Result<Self, Error> {
        let world = world(&start.map)?;
        let mut dice = Dice::new(start.seed, 1);
        // Both are always drawn, so that fixing one does not change the other.
        let drawn = dice.below(world.spawns.len());
        let turn = dice.range(-FREE_HEADING, FREE_HEADING);
        let index = start.spawn.unwrap_or(drawn);
        let Some(spawn) = world.spawns.get(index) else {
            return Err(Error::UnknownSpawn { map: start.map.clone(), index, last: world.spawns.len() - 1 });
        };
        let heading = start.heading.unwrap_or(spawn.heading + turn);
        if !heading.is_finite() || heading.abs() > 1e4 {
            return Err(Error::BadHeading { heading: heading.to_string() });
        }
        Ok(Self { world, body: Body::new(spawn.at, wrap(heading)), spawn: index, t: 0, outcome: None, renderer: None })
    }

    /// Plays one decision of 0.1 s. `action` has 16 buckets, in the order of the `gamepad` action space; missing
    /// components count as untouched and buckets out of range as the nearest one. After the end nothing moves.
    pub fn step(&mut self, action: &[u8]) -> StepResult {
        if self.outcome.is_none() {
            let world = self.world;
            let mut outcome = None;
            self.body.decide(world, action, |body| {
                outcome = ended(world, body);
                outcome.is_some()
            });
            self.t += 1;
            self.outcome = outcome.or((self.t >= world.limit).then_some(Outcome::Timeout));
        }
        StepResult {
            terminated: self.outcome.is_some_and(|o| o != Outcome::Timeout),
            truncated: self.outcome == Some(Outcome::Timeout),
        }
    }

    /// Draws what the player sees now: 128 x 128 RGB, rows from the top. Draws nothing if `out` is shorter than
    /// [`FRAME_BYTES`].
    pub fn render(&mut self, out: &mut [u8]) {
        let renderer = self.renderer.get_or_insert_with(Renderer::boxed);
        renderer.render(self.world, &self.body, self.t, out);
    }

    /// Where the player stands: the feet, the camera's yaw and pitch.
    pub fn pose(&self) -> Pose {
        let [x, y, z] = self.body.at;
        Pose { x, y, z, yaw: self.body.yaw, pitch: self.body.pitch }
    }

    /// Steps played.
    pub fn t(&self) -> u32 {
        self.t
    }

    /// How the episode ended, once it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Name of the spawn.
    pub fn spawn_name(&self) -> &str {
        self.world.spawns[self.spawn].name
    }

    /// Name of the map.
    pub fn map(&self) -> &str {
        self.world.name
    }

    /// Steps after which an episode on this map is cut.
    pub fn time_limit(&self) -> u32 {
        self.world.limit
    }

    /// Whether something solid stopped the player in the last step.
    pub fn touching_wall(&self) -> bool {
        self.body.blocked
    }

    pub(crate) fn world(&self) -> &'static World {
        self.world
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }
}

/// The end that a body has come to, if any.
fn ended(world: &World, body: &Body) -> Option<Outcome> {
    if body.at[2] < LOST {
        return Some(Outcome::Fall);
    }
    world.pads.iter().position(|pad| pad.holds(body.at)).map(|i| [Outcome::Left, Outcome::Middle, Outcome::Right][i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use playhouse_schemas::gamepad;

    fn start(map: &str) -> Start {
        Start { map: map.into(), seed: 5, spawn: None, heading: None }
    }

    #[test]
    fn wrong_starts_name_what_exists() {
        let message = |s: &Start| Arena::new(s).err().map(|e| e.to_string()).unwrap();
        assert!(message(&start("skygardn")).contains("skygarden, courtyard, canyon"));
        let far = Start { spawn: Some(99), ..start("canyon") };
        assert_eq!(message(&far), "map `canyon` has no spawn 99; its spawns are 0 to 7");
        let nan = Start { heading: Some(f32::NAN), ..start("canyon") };
        assert!(message(&nan).contains("NaN"));
    }

    #[test]
    fn idling_times_out_and_then_nothing_moves() {
        let mut arena = Arena::new(&start("skygarden")).unwrap();
        for t in 1..=200 {
            let result = arena.step(&gamepad::neutral());
            assert_eq!(result.truncated, t == 200);
            assert!(!result.terminated);
        }
        assert_eq!(arena.outcome(), Some(Outcome::Timeout));
        let mut run = gamepad::neutral();
        run[gamepad::LEFT_Y] = 10;
        let before = arena.pose();
        assert!(arena.step(&run).truncated);
        assert_eq!(arena.pose(), before);
        assert_eq!(arena.t(), 200);
    }

    #[test]
    fn spawn_and_heading_are_drawn_apart() {
        let drawn = Arena::new(&start("skygarden")).unwrap();
        let fixed = Arena::new(&Start { spawn: Some(0), ..start("skygarden") }).unwrap();
        assert_eq!(drawn.pose().yaw, fixed.pose().yaw);
        assert_eq!(fixed.spawn_name(), "south");
    }
}
