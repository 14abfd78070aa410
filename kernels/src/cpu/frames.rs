//! Frames of the codec `fast`, by their plain oracle: for comparing devices. On a processor frames are unpacked before they come
//! here, by SIMD where they are read (`schemas/src/fast_frame.rs`), and `Capacity` says so.

use super::{Cpu, check_bytes};
use crate::{Bytes, reference};

pub fn decode(cpu: &mut Cpu, packed: Bytes, pixels: Bytes, n: usize, size: usize) {
    check_bytes("frames_decode", "pixels", pixels, n * size * size * 3);
    let unpacked = reference::frames::decode(cpu.memory.bytes(packed), n, size);
    cpu.memory.bytes(pixels).copy_from_slice(&unpacked);
}
