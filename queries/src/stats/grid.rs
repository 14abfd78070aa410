//! Where on a map players were: counts in square cells, kept in bounded memory whatever the units and the size of the map.

use std::collections::HashMap;

/// Cells of a map at most. A grid with more doubles its cells' side until it has fewer.
const MOST_CELLS: usize = 1 << 15;

/// Visits by cell. The result does not depend on the order of the visits.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    /// Side of a cell, in the positions' unit.
    pub(super) cell: f64,
    /// Steps by cell: column east, row north.
    pub(super) visits: HashMap<(i32, i32), u64>,
    /// The cell of the steps last added, and how many they are: players move slower than a cell a step.
    current: Option<((i32, i32), u64)>,
}

impl Grid {
    /// Side of a cell at first: half a metre.
    const CELL: f64 = 0.5;

    pub(super) fn new() -> Self {
        Self { cell: Self::CELL, visits: HashMap::new(), current: None }
    }

    /// One step at a position. What is not finite is nowhere.
    pub(super) fn visit(&mut self, x: f32, y: f32) {
        let (x, y) = (f64::from(x), f64::from(y));
        if !(x.is_finite() && y.is_finite()) {
            return;
        }
        let cell = self.cell_of(x, y);
        match &mut self.current {
            Some((current, steps)) if *current == cell => *steps += 1,
            _ => {
                self.flush();
                // Which may have doubled the cells' side.
                self.current = Some((self.cell_of(x, y), 1));
            }
        }
    }

    fn cell_of(&self, x: f64, y: f64) -> (i32, i32) {
        // A cast saturates: what lies out of all bounds is counted at the border.
        ((x / self.cell).floor() as i32, (y / self.cell).floor() as i32)
    }

    /// Adds what another grid counted.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        while self.cell < other.cell {
            self.coarsen();
        }
        while other.cell < self.cell {
            other.coarsen();
        }
        for (cell, steps) in other.visits {
            *self.visits.entry(cell).or_default() += steps;
        }
        self.bound();
    }

    /// Puts the steps that are held back where they belong; call before reading `visits`.
    pub(super) fn flush(&mut self) {
        if let Some((cell, steps)) = self.current.take() {
            *self.visits.entry(cell).or_default() += steps;
            self.bound();
        }
    }

    fn bound(&mut self) {
        while self.visits.len() > MOST_CELLS {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        let mut visits: HashMap<(i32, i32), u64> = HashMap::new();
        for ((column, row), steps) in self.visits.drain() {
            // An arithmetic shift rounds down, as `floor` does.
            *visits.entry((column >> 1, row >> 1)).or_default() += steps;
        }
        self.visits = visits;
        self.cell *= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_half_a_metre() {
        let mut grid = Grid::new();
        for (x, y) in [(0.1, 0.1), (0.4, 0.2), (-0.1, 0.1), (0.1, 0.1), (f32::NAN, 0.0)] {
            grid.visit(x, y);
        }
        grid.flush();
        assert_eq!(grid.visits, HashMap::from([((0, 0), 3), ((-1, 0), 1)]));
    }

    #[test]
    fn memory_is_bounded_and_the_order_does_not_matter() {
        let position = |i: i32| ((i % 700 - 350) as f32, (i / 700 - 350) as f32 * 1.5);
        let (mut all, mut first, mut second) = (Grid::new(), Grid::new(), Grid::new());
        for i in 0..490_000 {
            let (x, y) = position(i);
            all.visit(x, y);
            if i % 3 == 0 { first.visit(x, y) } else { second.visit(x, y) }
        }
        all.flush();
        second.merge(first);
        assert_eq!(all.cell, second.cell);
        assert!(all.visits == second.visits);
        assert!(all.visits.len() <= MOST_CELLS && all.cell > 1.0, "{} cells of {}", all.visits.len(), all.cell);
        assert_eq!(all.visits.values().sum::<u64>(), 490_000);
    }
}
