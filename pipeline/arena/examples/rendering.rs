//! Frames a second on one core: physics alone, and with the picture: `rendering [MAP]`.
//!
//! Where the kernel tells (Linux), the time is that of this thread on the processor, so that other work on the machine
//! does not count as ours.

use std::time::{Duration, Instant};

use playhouse_arena::{Arena, FRAME_BYTES, Player, Start, maps};

/// Steps in one timing.
const STEPS: u32 = 2_000;
/// Timings of each case; the median and the fastest are printed.
const TIMINGS: u64 = 11;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let only = std::env::args().nth(1);
    for map in maps().iter().filter(|m| only.as_ref().is_none_or(|o| o == *m)) {
        let [bare, _] = median_and_best(map, false)?;
        let [median, best] = median_and_best(map, true)?;
        println!(
            "{map:10} step {bare:5.2} us   step and picture {median:6.1} us = {:6.0} frames/s   fastest {best:6.1} us = {:6.0} frames/s",
            1e6 / median,
            1e6 / best,
        );
    }
    Ok(())
}

/// Microseconds a step.
fn median_and_best(map: &str, picture: bool) -> Result<[f64; 2], Box<dyn std::error::Error>> {
    let mut times = (0..TIMINGS).map(|i| time(map, i * 1000, picture)).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    Ok([times[times.len() / 2], times[0]])
}

/// Microseconds a step of scripted players on a map, their thinking not counted.
fn time(map: &str, mut seed: u64, picture: bool) -> Result<f64, Box<dyn std::error::Error>> {
    let mut frame = vec![0; FRAME_BYTES];
    let (mut seconds, mut done) = (0.0, 0);
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
    Ok(1e6 * seconds / f64::from(done))
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
