//! Reads random windows of frames, one thread: our side of `tests/bench/loader.py`, which makes the input and runs the others.
//!
//! ```text
//! windows prepare WORK           datasets `jpeg` and `fast` of the frames in WORK, and `fast-of-jpeg` of their JPEGs' pixels
//! windows read WORK WHAT         reads every window once untimed and once timed; prints a line of JSON
//!         WHAT: jpeg | fast | fast-of-jpeg    a window a call, with its actions, out of the dataset
//!               bare-jpeg | bare-fast         the same images out of memory
//!
//! WORK/episodes.txt  frames of each episode, a line each        WORK/frames.rgb   their pixels, [frames, 128, 128, 3]
//! WORK/windows.txt   `EPISODE T`, a line each, 32 frames        WORK/jpegs.txt    bytes of each JPEG     WORK/jpegs.bin
//! ```

use std::fs;
use std::path::Path;
use std::time::Instant;

use playhouse_schemas::{
    ActionSource, ActionSpace, Codec, Dataset, DatasetSpec, Episode, FrameSpec, Window, WindowReader, gamepad,
};

type Failure = Box<dyn std::error::Error>;

/// Frames of a window.
const LENGTH: usize = 32;
/// Bytes of a frame's pixels.
const FRAME: usize = 128 * 128 * 3;

fn main() -> Result<(), Failure> {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["prepare", work] => prepare(work.as_ref()),
        ["read", work, what] => read(work.as_ref(), what),
        _ => {
            println!("usage: windows prepare WORK | windows read WORK jpeg|fast|fast-of-jpeg|bare-jpeg|bare-fast");
            println!("tests/bench/loader.py makes WORK and compares");
            Ok(())
        }
    }
}

/// What `loader.py` made.
struct Input {
    /// The first frame of each episode, and the end.
    starts: Vec<usize>,
    windows: Vec<Window>,
    jpegs: Vec<Vec<u8>>,
}

impl Input {
    fn of(work: &Path) -> Result<Self, Failure> {
        let numbers = |name: &str| -> Result<Vec<usize>, Failure> {
            let text = fs::read_to_string(work.join(name))?;
            Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
        };
        let mut starts = vec![0];
        for length in numbers("episodes.txt")? {
            starts.push(starts[starts.len() - 1] + length);
        }
        let window = |pair: &[usize]| Window {
            episode_id: pair[0] as i64,
            t_start: pair[1] as u32,
            length: LENGTH as u32,
            weight: 1.0,
        };
        let windows = numbers("windows.txt")?.chunks_exact(2).map(window).collect();
        let all = fs::read(work.join("jpegs.bin"))?;
        let mut rest = all.as_slice();
        let mut jpegs = Vec::new();
        for size in numbers("jpegs.txt")? {
            let (jpeg, after) = rest.split_at_checked(size).ok_or("jpegs.bin is shorter than jpegs.txt says")?;
            jpegs.push(jpeg.to_vec());
            rest = after;
        }
        Ok(Self { starts, windows, jpegs })
    }

    /// Where a window's frames are among all.
    fn rows(&self, window: &Window) -> std::ops::Range<usize> {
        let first = self.starts[window.episode_id as usize] + window.t_start as usize;
        first..first + LENGTH
    }
}

fn spec(codec: Codec) -> FrameSpec {
    FrameSpec { codec, ..FrameSpec::default() }
}

fn prepare(work: &Path) -> Result<(), Failure> {
    let input = Input::of(work)?;
    let pixels = fs::read(work.join("frames.rgb"))?;
    let (jpeg, fast) = (FrameSpec::default(), spec(Codec::Fast));
    store(work, "jpeg", &jpeg, &input, |row| Ok(input.jpegs[row].clone()))?;
    store(work, "fast", &fast, &input, |row| Ok(fast.encode(&pixels[row * FRAME..(row + 1) * FRAME])?))?;
    let mut rgb = vec![0; FRAME];
    store(work, "fast-of-jpeg", &fast, &input, |row| {
        jpeg.decode_into(&input.jpegs[row], &mut rgb)?;
        Ok(fast.encode(&rgb)?)
    })
}

fn store(
    work: &Path,
    name: &str,
    frames: &FrameSpec,
    input: &Input,
    mut frame: impl FnMut(usize) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let spec = DatasetSpec { actions: ActionSpace::gamepad(), frames: Some(frames.clone()) };
    let mut writer = Dataset::create(&work.join(name), &spec)?.writer()?;
    for (id, ends) in input.starts.windows(2).enumerate() {
        writer.push(Episode {
            episode_id: id as i64,
            source: "bench".into(),
            map: None,
            player: None,
            policy: None,
            spawn: None,
            outcome: None,
            split: None,
            action_source: ActionSource::Human,
            seed: None,
            hz: 10.0,
            episode_return: None,
            started_at: None,
            actions: gamepad::neutral().repeat(ends[1] - ends[0]),
            poses: Vec::new(),
            rewards: Vec::new(),
            terminated: false,
            truncated: true,
            frames: (ends[0]..ends[1]).map(&mut frame).collect::<Result<_, _>>()?,
        })?;
    }
    writer.finish()?;
    Ok(())
}

/// Where windows come from.
enum Source {
    Stored(Box<WindowReader>),
    Memory(FrameSpec, Vec<Vec<u8>>),
}

fn read(work: &Path, what: &str) -> Result<(), Failure> {
    let mut input = Input::of(work)?;
    let source = match what {
        "bare-jpeg" => Source::Memory(FrameSpec::default(), std::mem::take(&mut input.jpegs)),
        "bare-fast" => {
            let (fast, pixels) = (spec(Codec::Fast), fs::read(work.join("frames.rgb"))?);
            let images = pixels.chunks_exact(FRAME).map(|rgb| fast.encode(rgb)).collect::<Result<_, _>>()?;
            Source::Memory(fast, images)
        }
        dataset => Source::Stored(Box::new(Dataset::open(&work.join(dataset))?.reader()?)),
    };
    let (mut actions, mut frames) = (Vec::new(), vec![0; LENGTH * FRAME]);
    let mut window = |window: &Window| -> Result<u8, Failure> {
        match &source {
            Source::Stored(reader) => reader.read_into(window, &mut actions, &mut frames)?,
            Source::Memory(spec, images) => {
                for (row, slot) in input.rows(window).zip(frames.chunks_exact_mut(FRAME)) {
                    spec.decode_into(&images[row], slot)?;
                }
            }
        }
        Ok(frames[frames.len() / 2])
    };
    let mut seen = 0u64;
    for each in &input.windows {
        seen += u64::from(window(each)?);
    }
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    for each in &input.windows {
        seen = seen.wrapping_sub(u64::from(window(each)?));
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    if seen != 0 {
        return Err("two readings of the same windows differ".into());
    }
    let peak = peak_bytes()?;
    println!("{{\"wall\": {wall}, \"cpu\": {cpu}, \"peak\": {peak}}}");
    Ok(())
}

/// Seconds that this thread, the only one, has run.
fn cpu_seconds() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?;
    Ok(nanoseconds / 1e9)
}

/// The most memory that this process has held.
fn peak_bytes() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
