//! From handles to addresses.
//!
//! Memory is planned by `alloc` and taken from the driver at the first transfer or operator after it, all that is pending in one call.

use super::{Driver, Pointer, Store};
use crate::{Bytes, Kind, Tensor};

/// How tensors of a kind are stored.
pub fn store(kind: Kind) -> Store {
    match kind {
        Kind::Activation => Store::Bf16,
        Kind::Weight | Kind::Gradient | Kind::Moment | Kind::Scratch => Store::F32,
    }
}

/// One planned tensor. Zero addresses until it is taken.
struct Region {
    start: usize,
    len: usize,
    kind: Kind,
    at: Pointer,
    /// The bf16 copy of weights.
    half: Pointer,
}

/// One planned range of bytes.
struct Area {
    start: usize,
    len: usize,
    at: Pointer,
}

/// All planned tensors, by their starts, and scratch memory.
#[derive(Default)]
pub struct Memory {
    regions: Vec<Region>,
    areas: Vec<Area>,
    /// Regions and areas that have addresses.
    taken: (usize, usize),
    planned: usize,
    planned_bytes: usize,
    running: bool,
    scratch: Pointer,
    scratch_bytes: usize,
}

impl Memory {
    fn plan(&self, len: usize) {
        assert!(!self.running, "alloc of {len} after the first operator: plan all memory before the first step");
    }

    /// Plans `len` zeroed elements.
    pub fn alloc(&mut self, len: usize, kind: Kind) -> Tensor {
        self.plan(len);
        let start = self.planned;
        self.planned += len.max(1);
        self.regions.push(Region { start, len, kind, at: 0, half: 0 });
        Tensor { start, len, kind }
    }

    /// Plans `len` zeroed bytes.
    pub fn alloc_bytes(&mut self, len: usize) -> Bytes {
        self.plan(len);
        let start = self.planned_bytes;
        self.planned_bytes += len.max(1);
        self.areas.push(Area { start, len, at: 0 });
        Bytes { start, len }
    }

    /// Takes what was planned since the last call.
    pub fn take(&mut self, driver: &mut impl Driver) {
        let (regions, areas) = (&mut self.regions[self.taken.0..], &mut self.areas[self.taken.1..]);
        if regions.is_empty() && areas.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        for region in &*regions {
            bytes.push(region.len * store(region.kind).size());
            if region.kind == Kind::Weight {
                bytes.push(region.len * Store::Bf16.size());
            }
        }
        bytes.extend(areas.iter().map(|area| area.len));
        let mut addresses = driver.allocate(&bytes).into_iter();
        let mut next = || addresses.next().unwrap_or_else(|| unreachable!("the driver gives an address for each size"));
        for region in regions {
            region.at = next();
            if region.kind == Kind::Weight {
                region.half = next();
            }
        }
        for area in areas {
            area.at = next();
        }
        self.taken = (self.regions.len(), self.areas.len());
    }

    /// From here on nothing is planned any more.
    pub fn run(&mut self, driver: &mut impl Driver) {
        self.take(driver);
        self.running = true;
    }

    fn region(&self, tensor: Tensor) -> &Region {
        let after = self.regions.partition_point(|r| r.start <= tensor.start);
        let region = after.checked_sub(1).map(|i| &self.regions[i]);
        let inside = |r: &&Region| tensor.start + tensor.len <= r.start + r.len.max(1) && r.kind == tensor.kind;
        region.filter(inside).unwrap_or_else(|| panic!("a tensor of another backend (elements {:?})", tensor.range()))
    }

    /// The tensor's first element.
    pub fn at(&self, tensor: Tensor) -> Pointer {
        let region = self.region(tensor);
        region.at + ((tensor.start - region.start) * store(tensor.kind).size()) as u64
    }

    /// The first element of the bf16 copy of a weight.
    ///
    /// # Panics
    /// If it is not a weight (programmer error).
    pub fn half(&self, weight: Tensor) -> Pointer {
        let region = self.region(weight);
        assert!(region.kind == Kind::Weight, "a {:?} where a weight is needed", region.kind);
        region.half + ((weight.start - region.start) * Store::Bf16.size()) as u64
    }

    /// The first byte.
    pub fn bytes(&self, bytes: Bytes) -> Pointer {
        let after = self.areas.partition_point(|a| a.start <= bytes.start);
        let area = after.checked_sub(1).map(|i| &self.areas[i]);
        let inside = |a: &&Area| bytes.start + bytes.len <= a.start + a.len.max(1);
        let area = area.filter(inside).unwrap_or_else(|| panic!("bytes of another backend ({:?})", bytes.range()));
        area.at + (bytes.start - area.start) as u64
    }

    /// Scratch memory for the operator that is being queued, content undefined: the stream runs operators one after another. It grows to
    /// its largest use in the first step; what it grew out of stays, for queued operators may still use it.
    pub fn scratch(&mut self, driver: &mut impl Driver, bytes: usize) -> Pointer {
        if bytes > self.scratch_bytes {
            self.scratch_bytes = bytes.next_power_of_two();
            self.scratch = driver.allocate(&[self.scratch_bytes])[0];
        }
        self.scratch
    }
}
