//! Filling pinned memory: in pieces, by several threads, so that a piece is on its way to the device while others are still copied.
//!
//! One thread copies about 10 GB/s; a batch of the paper's agent is 403 MB, and would take longer than its step.

use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::thread;

/// Bytes of a piece: a transfer's start is little beside it, and a batch has many.
const PIECE: usize = 4 << 20;

/// Threads at most: with so many the memory of one socket is the limit, and the rest of the machine decodes the next batch.
const THREADS: usize = 8;

/// to = from. `copied` gets each piece and where it begins when it is there, in this thread and in any order.
pub fn fill<'a>(to: &'a mut [MaybeUninit<u8>], from: &[u8], mut copied: impl FnMut(usize, &'a [u8])) {
    let pieces: Vec<_> = to.chunks_mut(PIECE).zip(from.chunks(PIECE)).enumerate().collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(pieces.len());
    if threads <= 1 {
        pieces.into_iter().for_each(|(i, (to, from))| copied(i * PIECE, to.write_copy_of_slice(from)));
        return;
    }
    let mut shares: Vec<Vec<_>> = (0..threads).map(|_| Vec::new()).collect();
    for (i, piece) in pieces {
        shares[i % threads].push((i * PIECE, piece));
    }
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for share in shares {
            let sender = sender.clone();
            scope.spawn(move || {
                for (start, (to, from)) in share {
                    // Nobody listens any more where `copied` has panicked.
                    let _ = sender.send((start, &*to.write_copy_of_slice(from)));
                }
            });
        }
        drop(sender);
        receiver.into_iter().for_each(|(start, piece)| copied(start, piece));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_handed_on_once_and_after_it_was_copied() {
        for len in [0, 1, PIECE, 5 * PIECE + 77] {
            let from: Vec<u8> = (0..len).map(|i| (i / 1000 + i * 7) as u8).collect();
            let mut to = vec![MaybeUninit::new(0); len];
            let mut arrived = vec![0; len];
            let mut pieces = 0;
            fill(&mut to, &from, |start, piece| {
                assert!(arrived[start..start + piece.len()].iter().all(|x| *x == 0), "{start} of {len} comes twice");
                // Never 0, so that what has not come is seen.
                arrived[start..start + piece.len()].iter_mut().zip(piece).for_each(|(a, x)| *a = u16::from(*x) + 1);
                pieces += 1;
            });
            assert!(arrived.iter().zip(&from).all(|(a, x)| *a == u16::from(*x) + 1), "{len} bytes");
            assert_eq!(pieces, len.div_ceil(PIECE));
        }
    }
}
