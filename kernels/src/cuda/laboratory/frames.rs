use super::{Case, case};
use crate::cuda::frames;
use crate::reference::frames as oracle;
use rand::{RngExt, distr::uniform::SampleRange};
use rand_pcg::Pcg64;

/// Images of side `size` of the codec `fast`, `n` of them behind their table, with codes drawn by `code` and any bytes for the
/// differences: every choice of codes is an image.
pub(super) fn packed(rng: &mut Pcg64, n: usize, size: usize, code: impl Fn(&mut Pcg64) -> usize) -> Vec<u8> {
    let mut all = vec![0; n * 4];
    for image in 0..n {
        all.resize(all.len().next_multiple_of(16), 0);
        let at = (all.len() / 16) as u32;
        all[image * 4..][..4].copy_from_slice(&at.to_le_bytes());
        // The header says nothing that a device looks at.
        all.extend([0xff; 16]);
        let codes = all.len();
        let groups = size.div_ceil(16) * size * 6;
        all.resize(codes + (groups * 3).div_ceil(8), 0);
        for group in 0..groups {
            let code = code(rng);
            for bit in (0..3).filter(|bit| code >> bit & 1 == 1) {
                let at = group * 3 + bit;
                all[codes + at / 8] |= 1 << (at % 8);
            }
            let bytes = if code == 0 { 0 } else { code + 1 };
            all.extend((0..bytes).map(|_| rng.random::<u8>()));
        }
        all.extend([0; 56]);
    }
    all.resize(all.len().next_multiple_of(16), 0);
    all
}

fn of(codes: impl SampleRange<usize> + Clone) -> impl Fn(&mut Pcg64) -> usize {
    move |rng| rng.random_range(codes.clone())
}

pub(super) fn cases() -> Vec<Case> {
    let one = |(n, size, codes): (usize, usize, std::ops::RangeInclusive<usize>)| {
        case(format!("frames {n}x{size}x{size}, codes {codes:?}"), move |lab| {
            let mut bytes = packed(&mut lab.rng, n, size, of(codes.clone()));
            // The second of them is black.
            bytes.iter_mut().skip(4).take(if n > 1 { 4 } else { 0 }).for_each(|byte| *byte = 0);
            let from = lab.bytes("packed", &bytes);
            let to = lab.bytes("pixels", &vec![0xaa; n * size * size * 3]);
            lab.run(&frames::decode(from, to, n, size, bytes.len()));
            lab.expect_bytes("pixels", to, &oracle::decode(&bytes, n, size));
        })
    };
    let sizes = [(1, 4, 0..=7), (5, 12, 0..=7), (2, 20, 0..=7), (3, 32, 0..=2), (2, 64, 6..=7), (6, 128, 0..=4)];
    let wide = [(1, 128, 7..=7), (2, 132, 0..=7), (1, 260, 0..=3), (2, 16, 0..=0)];
    sizes.into_iter().chain(wide).map(one).chain([junk()]).collect()
}

/// Images that are none, one of them far beyond the end, beside a good one, which comes out as if it were alone.
fn junk() -> Case {
    case("frames beside junk".to_owned(), |lab| {
        let (n, size) = (6, 36);
        let mut bytes = packed(&mut lab.rng, 1, size, of(0..=7));
        let want = oracle::decode(&bytes, 1, size);
        // Room for a longer table; what follows it moves, and begins two units later than it did.
        let good = 3u32;
        bytes.splice(..16, [0; 48]);
        let units = (bytes.len() / 16) as u32;
        bytes.extend((0..400).map(|_| lab.rng.random::<u8>()));
        let table = [units + 2, u32::MAX, units + 24, good, units * 100, 1];
        table.iter().enumerate().for_each(|(i, at)| bytes[4 * i..][..4].copy_from_slice(&at.to_le_bytes()));
        let from = lab.bytes("packed", &bytes);
        let to = lab.bytes("pixels", &vec![0xaa; n * size * size * 3]);
        lab.run(&frames::decode(from, to, n, size, bytes.len()));
        lab.expect_bytes("pixels of the good one", to + (3 * want.len()) as u64, &want);
    })
}
