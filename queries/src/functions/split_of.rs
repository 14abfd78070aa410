//! `split_of(id, seed, train_fraction)`: which side of a split an episode is on.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::ScalarUDF;

use super::scalar::Spec;
use super::shuffle_key::mix;

/// See [`mix`]: another domain than the shuffle's.
const SPLIT: u64 = 0x73_70_6c_69_74_00_00_00;

pub(super) fn function() -> ScalarUDF {
    Spec {
        name: "split_of",
        arguments: vec![DataType::Int64, DataType::Int64, DataType::Float64],
        returns: DataType::Utf8,
        syntax: "split_of(id, seed, train_fraction)",
        description: "'train' or 'held_out', by a hash of the id under the seed. An id never changes sides when others \
            come or go, and raising the fraction only moves ids from held_out to train.",
        example: "select episode_id, split_of(episode_id, 1, 0.9) as split from episodes",
        body,
    }
    .build()
}

fn body(args: &[ArrayRef]) -> Result<ArrayRef> {
    let ids = args[0].as_primitive::<Int64Type>();
    let seeds = args[1].as_primitive::<Int64Type>();
    let fractions = args[2].as_primitive::<Float64Type>();
    let mut splits = StringBuilder::with_capacity(ids.len(), ids.len() * 6);
    for ((id, seed), fraction) in ids.iter().zip(seeds).zip(fractions) {
        match (id, seed, fraction) {
            (Some(_), Some(_), Some(fraction)) if !(0.0..=1.0).contains(&fraction) => {
                return exec_err!("split_of: train_fraction is {fraction}, and must be between 0 and 1");
            }
            (Some(id), Some(seed), Some(fraction)) => splits.append_value(side(id, seed, fraction)),
            _ => splits.append_null(),
        }
    }
    Ok(Arc::new(splits.finish()))
}

fn side(id: i64, seed: i64, train_fraction: f64) -> &'static str {
    // 53 bits are exact in a double: the same comparison everywhere.
    let uniform = (mix(id, seed, SPLIT) >> 11) as f64 / (1u64 << 53) as f64;
    if uniform < train_fraction { "train" } else { "held_out" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_the_fraction_and_grows_monotonically() {
        let train = |fraction: f64| (0..10_000).filter(|&id| side(id, 7, fraction) == "train").collect::<Vec<i64>>();
        let (half, most) = (train(0.5), train(0.9));
        // Standard deviations 50 and 30.
        assert!((4750..5250).contains(&half.len()), "{}", half.len());
        assert!((8850..9150).contains(&most.len()), "{}", most.len());
        assert!(half.iter().all(|id| most.binary_search(id).is_ok()));
        assert_eq!((train(0.0).len(), train(1.0).len()), (0, 10_000));
    }
}
