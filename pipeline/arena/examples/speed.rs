//! Frames a second on one core: physics alone, and with the picture: `speed [MAP]`.
//!
//! Where the kernel tells (Linux), the time is that of this thread on the processor, so that other work on the machine
//! does not count as ours.

use std::time::{Duration, Instant};

use playhouse_arena::{Arena, FRAME_BYTES, Player, Start, maps};

/// Steps timed on each map.
const STEPS: u32 = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only = std::env::args().nth(1);
    for map in maps().iter().filter(|m| only.as_ref().is_none_or(|o| o == *m)) {
        let steps_only = run(map, false)?;
        let with_frames = run(map, true)?;
        println!(
            "{map:12} {:8.2} us/step without picture   {:8.1} us/frame with picture   {:8.0} frames/s",
            1e6 / steps_only,
            1e6 / with_frames,
            with_frames
        );
    }
    Ok(())
}

/// Steps a second of scripted players on a map.
fn run(map: &str, picture: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let mut frame = vec![0; FRAME_BYTES];
    let (mut seed, mut done) = (0, 0);
    let mut seconds = 0.0;
    while done < STEPS {
        let start = Start { map: map.into(), seed, spawn: None, heading: None };
        let mut arena = Arena::new(&start)?;
        let mut player = Player::new("mixed", seed)?;
        seed += 1;
        let mut actions = Vec::new();
        while arena.outcome().is_none() {
            let action = player.act(&arena);
            actions.push(action);
            arena.step(&action);
        }
        arena = Arena::new(&start)?;
        let clock = Clock::start();
        for action in &actions {
            if picture {
                arena.render(&mut frame);
            }
            arena.step(action);
        }
        seconds += clock.elapsed().as_secs_f64();
        done += actions.len() as u32;
    }
    Ok(f64::from(done) / seconds)
}

/// Time of this thread on the processor, or, where that is not known, on the wall.
struct Clock {
    wall: Instant,
    processor: Option<Duration>,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), processor: processor_time() }
    }

    fn elapsed(&self) -> Duration {
        match (self.processor, processor_time()) {
            (Some(from), Some(to)) => to - from,
            _ => self.wall.elapsed(),
        }
    }
}

fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
