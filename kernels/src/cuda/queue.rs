//! Work that is put off until something waits for it, so that the device need not be told the same step twice.
//!
//! ```text
//!   operators -> list of work -> flush:  seen before, captured    -> one launch of a graph
//!                                        seen before              -> captured as a graph, launched
//!                                        new, short, or too many  -> piece by piece
//! ```
//!
//! A list is known by everything in it: kernels, grids, addresses, sizes, scalars. So a graph is launched only where the same would have
//! been queued, and nobody has to promise that steps are alike. Numbers that change from step to step (learning rate, positions) are
//! not part of it: they lie in memory of their own, written before the list begins.

use std::collections::HashMap;

use super::{Driver, Fused, Launch, Pointer, Product};

/// Shorter lists are queued piece by piece: a graph would save nothing.
const SHORT: usize = 16;

/// Lists that are remembered. Training has a handful; rollouts have one for each number of episodes still playing.
const KNOWN: usize = 256;

/// Bytes of numbers of one list.
const NUMBERS: usize = 1 << 20;

/// Numbers begin at multiples of this.
const ALIGNMENT: usize = 16;

/// One piece of work on the compute stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A kernel.
    Launch(Launch),
    /// A matrix product, with what the device does of it in one go.
    Product(Product, Option<Fused>),
    /// Device to device.
    Copy {
        /// First byte to read.
        from: Pointer,
        /// First byte to write.
        to: Pointer,
        /// How many.
        bytes: usize,
    },
    /// Sum over ranks, in place, beside what is queued after it.
    Reduce {
        /// The first f32.
        at: Pointer,
        /// How many.
        len: usize,
    },
    /// What is queued after this begins when every [`Work::Reduce`] before it has ended.
    AwaitReduced,
}

/// What is put off, and the lists that were.
#[derive(Default)]
pub struct Queue {
    work: Vec<Work>,
    /// On the host, as they will lie at `at`.
    numbers: Vec<u8>,
    at: Option<Pointer>,
    /// Lists that were queued, and their graphs where they came again.
    known: HashMap<Vec<Work>, Seen>,
}

#[derive(Clone, Copy)]
enum Seen {
    Once,
    /// The device's number of the graph.
    Captured(usize),
    /// The device does not make a graph of it.
    Refused,
}

impl Queue {
    /// Puts off a piece of work.
    pub fn push(&mut self, work: Work) {
        self.work.push(work);
    }

    /// Where these bytes will lie when what is put off from here on runs.
    ///
    /// # Panics
    /// If they are more than a list has room for (programmer error).
    pub fn numbers(&mut self, driver: &mut impl Driver, bytes: &[u8]) -> Pointer {
        assert!(bytes.len() <= NUMBERS, "{} bytes of numbers, where {NUMBERS} fit", bytes.len());
        if self.numbers.len() + bytes.len() > NUMBERS {
            self.flush(driver);
        }
        let at = *self.at.get_or_insert_with(|| driver.allocate(&[NUMBERS])[0]);
        let start = self.numbers.len();
        self.numbers.extend(bytes);
        self.numbers.resize(self.numbers.len().next_multiple_of(ALIGNMENT), 0);
        at + start as u64
    }

    /// Queues everything on the device.
    pub fn flush(&mut self, driver: &mut impl Driver) {
        if let (Some(at), false) = (self.at, self.numbers.is_empty()) {
            driver.write(at, &self.numbers);
            self.numbers.clear();
        }
        let seen = self.known.get(&self.work).copied();
        match seen {
            Some(Seen::Captured(graph)) => driver.replay(graph),
            Some(Seen::Once) => {
                let captured = driver.capture(&self.work);
                match captured {
                    Some(graph) => driver.replay(graph),
                    None => self.work.iter().for_each(|work| driver.queue(work)),
                }
                self.known.insert(std::mem::take(&mut self.work), captured.map_or(Seen::Refused, Seen::Captured));
            }
            Some(Seen::Refused) => self.work.iter().for_each(|work| driver.queue(work)),
            None => {
                self.work.iter().for_each(|work| driver.queue(work));
                if self.work.len() >= SHORT && self.known.len() < KNOWN {
                    self.known.insert(std::mem::take(&mut self.work), Seen::Once);
                }
            }
        }
        self.work.clear();
    }
}
