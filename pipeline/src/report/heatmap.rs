//! Where a policy's rollouts went: visits over the map seen from above, on a logarithmic scale.

use anyhow::Result;
use playhouse_arena::{TopDown, top_down};
use playhouse_queries::stats::Coverage;
use playhouse_schemas::{Codec, FrameSpec};

/// Pixels of a side, of the map and of the grid that visits are counted on.
const SIDE: usize = 360;
/// Steps between two positions are drawn as a line of points this far apart, in pixels.
const STRIDE: f32 = 0.5;

/// A map of visits, ready to embed.
pub struct Heatmap {
    /// The picture as a PNG file.
    pub png: Vec<u8>,
    /// Visits of the most visited pixel, after smoothing: the bright end of the scale.
    pub most: f32,
}

/// Draws `paths` (positions in metres) over `map`.
///
/// # Errors
/// The arena has no such map.
pub fn heatmap<'a>(map: &str, paths: impl Iterator<Item = &'a [[f32; 2]]>) -> Result<Heatmap> {
    let view = top_down(map, SIDE)?;
    let mut visits = vec![0f32; SIDE * SIDE];
    let mut starts = Vec::new();
    for path in paths {
        starts.extend(path.first().map(|start| pixel(&view, *start)));
        for step in path.windows(2) {
            trace(pixel(&view, step[0]), pixel(&view, step[1]), &mut visits);
        }
    }
    let mut rgb = view.rgb;
    let most = warm(&mut rgb, &blur(&visits));
    for start in starts {
        ring(&mut rgb, start);
    }
    Ok(Heatmap { png: png(&rgb)?, most })
}

/// Draws the visited cells of a map: over its picture where the arena has such a map, else on their own ground.
///
/// # Errors
/// The picture cannot be encoded.
pub fn coverage(coverage: &Coverage) -> Result<Heatmap> {
    let (rows, columns) = (coverage.counts.len(), coverage.counts.first().map_or(0, Vec::len));
    let (west, south) = (coverage.origin.0 as f32, coverage.origin.1 as f32);
    let cell = coverage.cell as f32;
    let (east, north) = (west + columns as f32 * cell, south + rows as f32 * cell);
    let arena = coverage.map.as_deref().and_then(|map| top_down(map, SIDE).ok());
    // A map of another game may have the same name.
    let fits = |v: &TopDown| {
        west >= v.min[0] - 5.0 && south >= v.min[1] - 5.0 && east <= v.max[0] + 5.0 && north <= v.max[1] + 5.0
    };
    let view = arena.filter(fits).unwrap_or_else(|| {
        let (middle, half) = ([(west + east) / 2.0, (south + north) / 2.0], (east - west).max(north - south) / 2.0);
        let (min, max) = (middle.map(|m| m - 1.05 * half), middle.map(|m| m + 1.05 * half));
        TopDown { rgb: vec![38; SIDE * SIDE * 3], min, max }
    });
    let mut visits = vec![0f32; SIDE * SIDE];
    for (row, counts) in coverage.counts.iter().enumerate() {
        for (column, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let corner = |right: usize, up: usize| {
                pixel(&view, [west + (column + right) as f32 * cell, south + (row + up) as f32 * cell])
            };
            fill(corner(0, 1), corner(1, 0), count as f32, &mut visits);
        }
    }
    let mut rgb = view.rgb;
    let most = warm(&mut rgb, &blur(&visits));
    Ok(Heatmap { png: png(&rgb)?, most })
}

/// Spreads `count` visits evenly over the pixels of a rectangle: one at least.
fn fill(from: [f32; 2], to: [f32; 2], count: f32, visits: &mut [f32]) {
    let span = |axis: usize| {
        let first = from[axis].round().clamp(0.0, (SIDE - 1) as f32) as usize;
        first..(to[axis].round().clamp(0.0, SIDE as f32) as usize).max(first + 1)
    };
    let each = count / (span(0).len() * span(1).len()) as f32;
    for row in span(1) {
        for column in span(0) {
            visits[row * SIDE + column] += each;
        }
    }
}

/// Colours a picture by visits; returns the most of a pixel.
fn warm(rgb: &mut [u8], visits: &[f32]) -> f32 {
    let most = visits.iter().copied().fold(0.0, f32::max);
    for (pixel, &count) in rgb.chunks_exact_mut(3).zip(visits) {
        let strength = if count > 0.0 { (1.0 + count).ln() / (1.0 + most).ln() } else { 0.0 };
        paint(pixel, strength);
    }
    most
}

fn png(rgb: &[u8]) -> Result<Vec<u8>> {
    let spec = FrameSpec { width: SIDE as u16, height: SIDE as u16, codec: Codec::Png, resize: None };
    Ok(spec.encode(rgb)?)
}

/// Column and row of a position; north is up.
fn pixel(view: &TopDown, [x, y]: [f32; 2]) -> [f32; 2] {
    let across = (x - view.min[0]) / (view.max[0] - view.min[0]);
    let down = (view.max[1] - y) / (view.max[1] - view.min[1]);
    [across * SIDE as f32, down * SIDE as f32]
}

/// Spreads one step evenly over the pixels between two positions, so that fast movement leaves no gaps.
fn trace(from: [f32; 2], to: [f32; 2], visits: &mut [f32]) {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let points = (dx.hypot(dy) / STRIDE).ceil().max(1.0);
    for i in 0..points as u32 {
        let share = i as f32 / points;
        let (column, row) = (from[0] + share * dx, from[1] + share * dy);
        let inside = |v: f32| v >= 0.0 && v < SIDE as f32;
        if inside(column) && inside(row) {
            visits[row as usize * SIDE + column as usize] += 1.0 / points;
        }
    }
}

/// Two passes of a 1-2-1 filter along each axis: a visit covers about the width of a player.
fn blur(visits: &[f32]) -> Vec<f32> {
    let mut values = visits.to_vec();
    for _ in 0..2 {
        for stride in [1, SIDE] {
            let source = values.clone();
            for i in stride..values.len() - stride {
                values[i] = 0.25 * source[i - stride] + 0.5 * source[i] + 0.25 * source[i + stride];
            }
        }
    }
    values
}

/// The map, greyed and darkened a little, under a colour from deep violet over orange to pale yellow.
fn paint(pixel: &mut [u8], strength: f32) {
    const RAMP: [[f32; 3]; 5] =
        [[66.0, 10.0, 104.0], [147.0, 38.0, 103.0], [221.0, 81.0, 58.0], [252.0, 165.0, 10.0], [252.0, 255.0, 164.0]];
    let grey = 0.3 * f32::from(pixel[0]) + 0.59 * f32::from(pixel[1]) + 0.11 * f32::from(pixel[2]);
    let place = strength * (RAMP.len() - 1) as f32;
    let below = (place as usize).min(RAMP.len() - 2);
    let share = place - below as f32;
    let cover = (strength * 4.0).min(1.0) * 0.9;
    for (channel, value) in pixel.iter_mut().enumerate() {
        let ground = 0.75 * (0.55 * f32::from(*value) + 0.45 * grey);
        let heat = RAMP[below][channel] * (1.0 - share) + RAMP[below + 1][channel] * share;
        *value = (ground * (1.0 - cover) + heat * cover).round() as u8;
    }
}

/// A small white ring: a spawn.
fn ring(rgb: &mut [u8], [column, row]: [f32; 2]) {
    for dy in -4i32..=4 {
        for dx in -4i32..=4 {
            let (x, y) = (column as i32 + dx, row as i32 + dy);
            let distance = ((dx * dx + dy * dy) as f32).sqrt();
            let inside = (0..SIDE as i32).contains(&x) && (0..SIDE as i32).contains(&y);
            if inside && (2.6..3.9).contains(&distance) {
                let at = (y as usize * SIDE + x as usize) * 3;
                rgb[at..at + 3].fill(240);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_once_however_long() {
        let mut visits = vec![0.0; SIDE * SIDE];
        trace([10.0, 10.0], [90.0, 40.0], &mut visits);
        trace([200.2, 200.2], [200.2, 200.2], &mut visits);
        assert!((visits.iter().sum::<f32>() - 2.0).abs() < 1e-3);
        assert_eq!(visits[200 * SIDE + 200], 1.0);
        let blurred = blur(&visits);
        assert!((blurred.iter().sum::<f32>() - 2.0).abs() < 1e-3);
    }

    #[test]
    fn visits_brighten_the_map() {
        let path: Vec<[f32; 2]> = (0..50).map(|i| [i as f32 * 0.2, 0.0]).collect();
        let map = heatmap("skygarden", [path.as_slice()].into_iter()).unwrap();
        assert!(map.png.starts_with(b"\x89PNG") && map.most > 0.0);
        assert!(heatmap("nowhere", std::iter::empty()).is_err());
    }
}
