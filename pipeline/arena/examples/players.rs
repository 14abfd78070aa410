//! How episodes of scripted players end: `players [EPISODES]`.

use std::collections::BTreeMap;

use playhouse_arena::{Arena, Player, Start, maps, personas};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let episodes: u64 = std::env::args().nth(1).map_or(Ok(400), |n| n.parse())?;
    for map in maps() {
        println!("{map}: share of episodes (mean steps)");
        for persona in personas() {
            let mut ends: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
            for seed in 0..episodes {
                let start = Start { map: (*map).into(), seed, spawn: None, heading: None };
                let mut arena = Arena::new(&start)?;
                let mut player = Player::new(persona, seed)?;
                let outcome = loop {
                    if let Some(outcome) = arena.outcome() {
                        break outcome;
                    }
                    let action = player.act(&arena);
                    arena.step(&action);
                };
                let end = ends.entry(outcome.as_str()).or_default();
                end.0 += 1;
                end.1 += arena.t();
            }
            let column = |name: &str| {
                let (n, steps) = ends.get(name).copied().unwrap_or_default();
                let share = 100.0 * f64::from(n) / episodes as f64;
                format!("{name} {share:5.1}% ({:3.0})", f64::from(steps) / f64::from(n.max(1)))
            };
            let columns = ["left", "middle", "right", "fall", "timeout"].map(column);
            println!("  {persona:11} {}", columns.join("   "));
        }
    }
    Ok(())
}
