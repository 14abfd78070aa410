//! Writes what players see, and every map from above, as PNG files: `pictures FOLDER [PERSONA]`.

use std::fs::File;
use std::path::Path;

use playhouse_arena::{Arena, FRAME_BYTES, Player, Start, maps, spawns, top_down};

/// Enlargement of the frames.
const ZOOM: usize = 3;
/// Frames in a row of the contact sheet.
const COLUMNS: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: pictures FOLDER")?;
    let folder = Path::new(&folder);
    let persona = std::env::args().nth(2).unwrap_or_else(|| "expert".into());
    std::fs::create_dir_all(folder)?;
    for map in maps() {
        let above = top_down(map, 768)?;
        write(&folder.join(format!("{map}-above.png")), 768, 768, &above.rgb)?;
        let mut frames = Vec::new();
        for seed in 0..spawns(map)? as u64 {
            let start = Start { map: (*map).into(), seed, spawn: Some(seed as usize), heading: None };
            let mut arena = Arena::new(&start)?;
            let mut player = Player::new(&persona, seed)?;
            let mut frame = vec![0; FRAME_BYTES];
            while arena.outcome().is_none() {
                if arena.t() % 29 == 7 {
                    arena.render(&mut frame);
                    frames.push(frame.clone());
                }
                let action = player.act(&arena);
                arena.step(&action);
            }
        }
        frames.truncate(COLUMNS * 6);
        let (width, height, sheet) = contact_sheet(&frames);
        write(&folder.join(format!("{map}-frames.png")), width, height, &sheet)?;
    }
    Ok(())
}

/// Frames side by side, enlarged.
fn contact_sheet(frames: &[Vec<u8>]) -> (usize, usize, Vec<u8>) {
    let cell = 128 * ZOOM + 4;
    let (width, height) = (COLUMNS * cell, frames.len().div_ceil(COLUMNS) * cell);
    let mut sheet = vec![0; width * height * 3];
    for (i, frame) in frames.iter().enumerate() {
        let (x0, y0) = (i % COLUMNS * cell, i / COLUMNS * cell);
        for y in 0..128 * ZOOM {
            for x in 0..128 * ZOOM {
                let from = (y / ZOOM * 128 + x / ZOOM) * 3;
                let to = ((y0 + y) * width + x0 + x) * 3;
                sheet[to..to + 3].copy_from_slice(&frame[from..from + 3]);
            }
        }
    }
    (width, height, sheet)
}

fn write(path: &Path, width: usize, height: usize, rgb: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
    let mut encoder = png::Encoder::new(File::create(path)?, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(rgb)?;
    Ok(())
}
