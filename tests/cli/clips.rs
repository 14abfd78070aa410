//! Recorded clips for `import`, in the format of microsoft/bleeding-edge-gameplay-sample.

use std::path::Path;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::DateTime;
use npyz::zip::write::FileOptions;

/// Values of one image: channel, row, column.
const IMAGE: usize = 3 * 180 * 300;

/// Writes a clip of `steps` timesteps; another `seed` gives other pictures and inputs.
pub fn write_clip(path: &Path, seed: usize, steps: usize) {
    let mut clip = NpzWriter::create(path).unwrap();
    let shape = |rest: &[u64]| [&[steps as u64], rest].concat();

    // The same clip is the same bytes whenever it is written.
    let options = FileOptions::default().last_modified_time(DateTime::default());
    let pictures = shape(&[3, 180, 300]);
    let mut images = clip.array("images", options).unwrap().default_dtype().shape(&pictures).begin_nd().unwrap();
    images.extend((0..steps * IMAGE).map(|at| ((at / 97) + seed * 31) as u8)).unwrap();
    images.finish().unwrap();

    // Twelve buttons at rest but one, four stick axes at their middle but one.
    let actions = (0..steps).flat_map(|t| {
        let mut action = [0f32; 16];
        action[12..].fill(5.0);
        action[seed % 12] = (t % 3 / 2) as f32;
        action[12] = ((t + seed) % 11) as f32;
        action
    });
    let inputs = shape(&[16]);
    let mut array = clip.array("actions", options).unwrap().default_dtype().shape(&inputs).begin_nd().unwrap();
    array.extend(actions).unwrap();
    array.finish().unwrap();
}
