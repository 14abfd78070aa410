//! Handles: what callers hold instead of memory.

use std::ops::Range;

/// What a tensor is for. A backend may choose the storage type by it: the CPU keeps everything in f32, a GPU may keep
/// activations in bf16. Transfers (`upload`, `download`) are f32 for every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Values that flow forwards, and their gradients.
    Activation,
    /// Master weights.
    Weight,
    /// Parameter gradients (accumulated).
    Gradient,
    /// AdamW moments.
    Moment,
    /// Per-token losses, statistics, masks, scores: small and exact.
    Scratch,
}

/// A range of a backend's f32 memory: `Copy`, no borrow, no destructor. It means something only to the backend that
/// handed it out. The shape is not in the handle: each operator takes its dimensions as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) kind: Kind,
}

impl Tensor {
    /// Number of elements.
    #[expect(clippy::len_without_is_empty, reason = "a handle is never asked whether it is empty")]
    pub fn len(self) -> usize {
        self.len
    }

    /// What the tensor is for.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// The elements `start .. start + len` of this tensor, as a handle.
    ///
    /// # Panics
    /// If they do not all lie inside the tensor (programmer error).
    pub fn slice(self, start: usize, len: usize) -> Tensor {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "slice {start}..{start}+{len} of a tensor of {} elements",
            self.len
        );
        Tensor { start: self.start + start, len, kind: self.kind }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

/// A range of a backend's byte memory (pixels, actions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl Bytes {
    /// Number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "as for `Tensor`")]
    pub fn len(self) -> usize {
        self.len
    }

    /// The bytes `start .. start + len`, as a handle.
    ///
    /// # Panics
    /// If they do not all lie inside the range (programmer error).
    pub fn slice(self, start: usize, len: usize) -> Bytes {
        assert!(
            start.checked_add(len).is_some_and(|end| end <= self.len),
            "slice {start}..{start}+{len} of {} bytes",
            self.len
        );
        Bytes { start: self.start + start, len }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.start + self.len
    }
}
