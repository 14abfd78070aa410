//! Where on each map players were.

use serde::Serialize;

use super::index::Index;
use super::tally::Tally;

/// Cells of a coverage picture on its longer side at most.
const CELLS: i32 = 120;

/// Visits of one map, seen from above.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Coverage {
    /// The map; none for episodes that do not say.
    pub map: Option<String>,
    /// Steps with a position.
    pub steps: u64,
    /// Side of a cell, in the positions' unit (metres in the arena).
    pub cell: f64,
    /// The west and south border of the first cell.
    pub origin: (f64, f64),
    /// Share of the cells within the visited rectangle that somebody stepped on.
    pub visited: f64,
    /// Share of the steps in the tenth of the visited cells that is visited most: 0.1 if all are visited alike.
    pub concentration: f64,
    /// Steps by row and column: `counts[row][column]`, row 0 is the southernmost.
    pub counts: Vec<Vec<u64>>,
}

/// The coverage of every map with positions, in the maps' order.
pub(super) fn coverage(index: &Index, tally: &Tally) -> Vec<Coverage> {
    let of_map = |(place, map): (usize, &Option<String>)| {
        let grid = tally.grids.get(&place)?;
        let bounds =
            |of: fn(&(i32, i32)) -> i32| Some((grid.visits.keys().map(of).min()?, grid.visits.keys().map(of).max()?));
        let ((west, east), (south, north)) = (bounds(|cell| cell.0)?, bounds(|cell| cell.1)?);
        // Halved until it fits a picture, on the same lines that the grid was cut on.
        let mut halvings = 0;
        while (i64::from(east) >> halvings) - (i64::from(west) >> halvings) >= i64::from(CELLS)
            || (i64::from(north) >> halvings) - (i64::from(south) >> halvings) >= i64::from(CELLS)
        {
            halvings += 1;
        }
        let (west, east, south, north) = (west >> halvings, east >> halvings, south >> halvings, north >> halvings);
        let cell = grid.cell * f64::from(1u32 << halvings);
        let mut counts = vec![vec![0u64; (east - west + 1) as usize]; (north - south + 1) as usize];
        for ((column, row), steps) in &grid.visits {
            counts[((row >> halvings) - south) as usize][((column >> halvings) - west) as usize] += steps;
        }
        let steps = grid.visits.values().sum::<u64>();
        let mut visited: Vec<u64> = counts.iter().flatten().copied().filter(|steps| *steps > 0).collect();
        visited.sort_unstable_by(|a, b| b.cmp(a));
        let most: u64 = visited.iter().take(visited.len().div_ceil(10)).sum();
        let cells = counts.len() * counts[0].len();
        Some(Coverage {
            map: map.clone(),
            steps,
            cell,
            origin: (f64::from(west) * cell, f64::from(south) * cell),
            visited: visited.len() as f64 / cells as f64,
            concentration: most as f64 / steps.max(1) as f64,
            counts,
        })
    };
    index.maps.iter().enumerate().filter_map(of_map).collect()
}
