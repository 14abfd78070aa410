//! The static memory of the CPU backend: one region of f32, one of bytes, and disjoint views of them.
//!
//! This file holds the argument for every aliasing question of the backend: an operator asks for its inputs and
//! outputs at once, and gets plain slices only if no output overlaps any other of them.

use crate::{Bytes, Kind, Tensor};

/// A cache line, so that tensors start where SIMD loads do not straddle two lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zero-filled f32 values that start on a cache line.
#[derive(Default)]
pub struct Aligned(Vec<Line>);

impl Aligned {
    /// Grows to at least `len` values; old ones stay, new ones are zero.
    pub fn grow(&mut self, len: usize) {
        let lines = len.div_ceil(16);
        if lines > self.0.len() {
            if self.0.is_empty() {
                // One zeroed allocation: untouched pages cost nothing.
                self.0 = vec![Line([0.0; 16]); lines];
            } else {
                self.0.reserve_exact(lines - self.0.len());
                self.0.resize(lines, Line([0.0; 16]));
            }
        }
    }

    /// The values.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `Line` is sixteen f32 without padding (repr(C), 64 bytes).
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}

/// The two regions. Planned first, committed at the first access, fixed from the first operator on.
#[derive(Default)]
pub struct Memory {
    floats: Aligned,
    planned: usize,
    bytes: Vec<u8>,
    planned_bytes: usize,
    running: bool,
}

impl Memory {
    fn plan(&self, len: usize) {
        assert!(!self.running, "alloc of {len} after the first operator: plan all memory before the first step");
    }

    /// Plans `len` zeroed values.
    pub fn alloc(&mut self, len: usize, kind: Kind) -> Tensor {
        self.plan(len);
        let tensor = Tensor { start: self.planned, len, kind };
        self.planned += len.next_multiple_of(16);
        tensor
    }

    /// Plans `len` zeroed bytes.
    pub fn alloc_bytes(&mut self, len: usize) -> Bytes {
        self.plan(len);
        let bytes = Bytes { start: self.planned_bytes, len };
        self.planned_bytes += len.next_multiple_of(64);
        bytes
    }

    /// One tensor, for transfers.
    pub fn floats(&mut self, x: Tensor) -> &mut [f32] {
        self.floats.grow(self.planned);
        &mut self.floats.as_mut_slice()[x.range()]
    }

    /// One byte tensor, for transfers.
    pub fn bytes(&mut self, x: Bytes) -> &mut [u8] {
        self.bytes.resize(self.planned_bytes, 0);
        &mut self.bytes[x.range()]
    }

    /// The slices of an operator's inputs and outputs, plus its byte input.
    ///
    /// # Panics
    /// If an output overlaps an input or another output (inputs may overlap each other).
    pub fn views<const R: usize, const W: usize>(
        &mut self,
        operator: &str,
        bytes: Bytes,
        reads: [Tensor; R],
        writes: [Tensor; W],
    ) -> (&[u8], [&[f32]; R], [&mut [f32]; W]) {
        self.running = true;
        self.floats.grow(self.planned);
        self.bytes.resize(self.planned_bytes, 0);
        let total = self.floats.as_mut_slice().len();
        for (i, w) in writes.iter().enumerate() {
            for other in reads.iter().chain(&writes[i + 1..]) {
                let apart = w.start + w.len <= other.start || other.start + other.len <= w.start;
                assert!(
                    apart || w.len == 0 || other.len == 0,
                    "{operator}: output {i} (elements {:?}) overlaps another argument (elements {:?})",
                    w.range(),
                    other.range()
                );
            }
        }
        for t in reads.iter().chain(&writes) {
            assert!(t.start + t.len <= total, "{operator}: a tensor of another backend (elements {:?})", t.range());
        }
        let base = self.floats.as_mut_slice().as_mut_ptr();
        // SAFETY: all ranges lie inside the region (checked above), which `&mut self` borrows for as long as the
        // slices live. A range that is written overlaps no other range (checked above), so each exclusive slice is
        // the only one over its elements; ranges that are only read may overlap as shared slices do.
        let views = unsafe {
            (
                reads.map(|r| std::slice::from_raw_parts(base.add(r.start).cast_const(), r.len)),
                writes.map(|w| std::slice::from_raw_parts_mut(base.add(w.start), w.len)),
            )
        };
        (&self.bytes[bytes.range()], views.0, views.1)
    }
}

/// A tensor of no elements, for an argument that is absent.
pub const NONE: Tensor = Tensor { start: 0, len: 0, kind: Kind::Scratch };

/// No bytes.
pub const NO_BYTES: Bytes = Bytes { start: 0, len: 0 };
