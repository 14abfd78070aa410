//! bf16 in host memory: transfers are f32 for every kind of tensor.

/// The nearest bf16, ties to even; NaN stays NaN.
fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff } else { ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16 }
}

/// The bytes of `values` as bf16, little-endian.
pub fn encode(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| round(*x).to_le_bytes()).collect()
}

/// The values of bf16 bytes.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_and_back() {
        let there_and_back = |x: f32| decode(&encode(&[x])).next().unwrap();
        for exact in [0.0, -0.0, 1.0, -2.5, f32::INFINITY, 1.0 + 1.0 / 128.0] {
            assert_eq!(there_and_back(exact).to_bits(), exact.to_bits());
        }
        // Half-way between two: the even one.
        assert_eq!(there_and_back(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(there_and_back(1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
        assert_eq!(there_and_back(f32::MAX), f32::INFINITY);
        assert!(there_and_back(f32::NAN).is_nan());
    }
}
