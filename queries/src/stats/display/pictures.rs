//! Stick maps and coverage as shaded blocks.

use std::fmt::{self, Formatter};

use super::super::{Coverage, DatasetStats, Stick};
use super::draw::{COLUMNS, cut, grouped, percent, shade, tone};

/// Columns of a cell of a stick map: characters are twice as high as wide.
const CELL: usize = 2;
/// Columns and lines of a coverage map at most.
const MAP: (usize, usize) = (72, 30);
/// Maps drawn; the rest is told in a line each.
const MAPS: usize = 4;

impl DatasetStats {
    /// Two sticks beside each other.
    pub(super) fn write_sticks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for pair in self.sticks.chunks(2) {
            let pictures: Vec<Vec<String>> = pair.iter().map(stick).collect();
            writeln!(f)?;
            for line in 0..pictures.iter().map(Vec::len).max().unwrap_or(0) {
                let mut text = String::new();
                for picture in &pictures {
                    let part = picture.get(line).map_or("", String::as_str);
                    let width = 2 + picture.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 4;
                    text += &format!("  {part:<0$}", width - 2);
                }
                writeln!(f, "{}", text.trim_end())?;
            }
        }
        Ok(())
    }

    pub(super) fn write_coverage(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, coverage) in self.coverage.iter().enumerate() {
            let name = cut(coverage.map.as_deref().unwrap_or("(no map)"), 24);
            let (steps, cell) = (grouped(coverage.steps), coverage.cell);
            writeln!(f, "\ncoverage of {name}: {steps} steps, cells of {cell} x {cell}")?;
            let (visited, concentration) = (percent(coverage.visited), percent(coverage.concentration));
            writeln!(f, "  {visited} of its cells visited; the most visited tenth has {concentration} of the steps")?;
            if place < MAPS {
                map(coverage).iter().try_for_each(|line| writeln!(f, "  {}", line.trim_end()))?;
            }
        }
        Ok(())
    }
}

/// A stick's map with a frame: full forward is at the top, full left at the left.
fn stick(stick: &Stick) -> Vec<String> {
    let most = stick.counts.iter().flatten().copied().max().unwrap_or(0);
    let width = stick.counts.first().map_or(0, Vec::len) * CELL;
    let mut lines = vec![cut(&format!("{} stick", stick.name), COLUMNS / 2 - 4), format!("┌{}┐", "─".repeat(width))];
    for row in stick.counts.iter().rev() {
        let cells: String = row.iter().flat_map(|count| [shade(*count, most); CELL]).collect();
        lines.push(format!("│{cells}│"));
    }
    lines.push(format!("└{}┘", "─".repeat(width)));
    lines
}

/// A map with north at the top, its cells joined until it fits.
fn map(coverage: &Coverage) -> Vec<String> {
    let (rows, columns) = (coverage.counts.len(), coverage.counts.first().map_or(0, Vec::len));
    // A character is as wide as `across` cells, and as high as twice as many.
    let across = columns.div_ceil(MAP.0).max(rows.div_ceil(2 * MAP.1)).max(1);
    let (wide, high) = (columns.div_ceil(across), rows.div_ceil(2 * across));
    let mut cells = vec![vec![0u64; wide]; high];
    for (row, counts) in coverage.counts.iter().enumerate() {
        for (column, count) in counts.iter().enumerate() {
            cells[row / (2 * across)][column / across] += count;
        }
    }
    let mut counts: Vec<u64> = cells.iter().flatten().copied().filter(|count| *count > 0).collect();
    counts.sort_unstable();
    // A spot where everybody waits must not leave the rest of the map pale.
    let most = counts.get(counts.len() * 49 / 50).copied().unwrap_or(0);
    cells.iter().rev().map(|row| row.iter().map(|count| tone(*count, most)).collect()).collect()
}
