//! Differences for a terminal.

use std::fmt::{self, Display, Formatter};

use super::super::{Compared, Difference, Drift};
use super::draw::{cut, grouped, percent, wrap};

impl Display for Drift {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} against {}", self.a.root.display(), self.b.root.display())?;
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            writeln!(f, "{}", wrap(&format!("{name}: {}", read(side)), 2))?;
        }
        let [name, distance, chance, p, most] = ["difference", "distance", "chance", "p", "most in"];
        writeln!(f, "\n  {name:<20} {distance:>8} {chance:>6} {p:>7}   {most:<13} {:>7} -> A", "B")?;
        self.differences.iter().try_for_each(|row| write_row(f, row))?;
        if !self.incomparable.is_empty() {
            writeln!(f, "\n  not compared")?;
            self.incomparable.iter().try_for_each(|text| writeln!(f, "{}", wrap(text, 4)))?;
        }
        let found = self.differences.iter().filter(|row| row.significant).count();
        let note = format!(
            "{found} of {} differ by more than chance (* p below 0.01 after Holm's correction). Distance: total variation; \
             Kolmogorov-Smirnov for values of episodes. Episodes are what is independent, not steps: p comes from how \
             shares vary from episode to episode. Where few players made most episodes, it is too small.",
            self.differences.len()
        );
        write!(f, "\n{}", wrap(&note, 2))
    }
}

fn read(side: &Compared) -> String {
    let basis = &side.basis;
    let all = format!("{} episodes, {} steps", grouped(side.episodes), grouped(side.steps));
    match basis.seed {
        None => format!("{all}, every step read"),
        Some(seed) => format!("{all}; actions from {} episodes, seed {seed}", grouped(basis.episodes)),
    }
}

fn write_row(f: &mut Formatter<'_>, row: &Difference) -> fmt::Result {
    let mark = if row.significant { '*' } else { ' ' };
    let chance = row.by_chance.map(|by_chance| format!("{by_chance:.3}")).unwrap_or_default();
    let p = row.p_adjusted.map(probability).unwrap_or_default();
    let value = |value: f64| match row.kind {
        "measure" if value.abs() >= 100.0 => format!("{value:.0}"),
        "measure" => format!("{value:.2}"),
        _ => percent(value),
    };
    let most = format!("{:<13} {:>7} -> {}", cut(&row.most.value, 13), value(row.most.b), value(row.most.a));
    writeln!(f, "  {:<20} {:>8.3} {chance:>6} {p:>7} {mark} {most}", cut(&row.name, 20), row.distance)
}

fn probability(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}
