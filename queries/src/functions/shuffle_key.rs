//! `shuffle_key(id, seed)`: an order that looks random and never changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::kernels::arity::binary;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::Spec;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "shuffle_key",
        arguments: vec![DataType::Int64, DataType::Int64],
        returns: DataType::Int64,
        syntax: "shuffle_key(id, seed)",
        description: "A 64-bit hash of an id under a seed. Sort by it to shuffle rows reproducibly: the order depends \
            on the ids and the seed alone, on every machine and in every version.",
        example: "select episode_id from episodes order by shuffle_key(episode_id, 1), episode_id limit 100",
        body,
    }
    .build()
}

fn body(args: &[ArrayRef]) -> Result<ArrayRef> {
    let (ids, seeds) = (args[0].as_primitive::<Int64Type>(), args[1].as_primitive::<Int64Type>());
    let keys: Int64Array = binary(ids, seeds, |id, seed| mix(id, seed, SHUFFLE).cast_signed())?;
    Ok(Arc::new(keys))
}

/// Keeps the keys of shuffles apart from those of splits, so that a shuffle inside one split is not sorted by it.
const SHUFFLE: u64 = 0x73_68_75_66_66_6c_65_00;

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over seed, then id. Changing it changes every split and
/// every shuffle of every dataset: the values below are pinned by a test.
pub(super) fn mix(id: i64, seed: i64, domain: u64) -> u64 {
    finalise(finalise(seed.cast_unsigned() ^ domain).wrapping_add(id.cast_unsigned()))
}

fn finalise(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finaliser_is_splitmix64() {
        // The first outputs of SplitMix64 seeded with 0, from the reference implementation.
        assert_eq!(finalise(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(finalise(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn neighbouring_ids_and_seeds_are_unrelated() {
        let low_bits = |seed: i64| (0..4096).filter(|&id| mix(id, seed, SHUFFLE) & 1 == 1).count();
        for seed in 0..8 {
            // 4096 fair coins: standard deviation 32.
            assert!((1888..2208).contains(&low_bits(seed)), "seed {seed}: {}", low_bits(seed));
        }
        let same = (0..4096).filter(|&id| mix(id, 1, SHUFFLE) & 1 == mix(id, 2, SHUFFLE) & 1).count();
        assert!((1888..2208).contains(&same), "{same}");
    }
}
