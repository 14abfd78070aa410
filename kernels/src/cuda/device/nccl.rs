//! Sums over the GPUs of all ranks, by NCCL, on a stream of their own.
//!
//! ```text
//!   compute stream   backward of the trunk | backward of the encoder ............. | AdamW
//!                                   begun \                              ended /
//!   sums                                   all-reduce of the trunk's gradients
//! ```
//!
//! Both events are part of a captured graph like any other work, so a replayed step forks and joins in the same places.

use super::{Pointer, must};
use crate::device::{Library, probe_nccl};
use crate::{Ranks, RanksError};
use cudarc::driver::{result, sys};
use cudarc::nccl;

/// Where a rank's GPU meets the others.
pub struct Communicator {
    all: nccl::sys::ncclComm_t,
    stream: sys::CUstream,
    begun: sys::CUevent,
    ended: sys::CUevent,
}

fn refused(what: &str, error: &nccl::result::NcclError) -> RanksError {
    RanksError::Nccl(format!("NCCL: {what}: {:?}; NCCL_DEBUG=INFO makes it say more", error.0))
}

impl Communicator {
    /// Connects the GPU of the current context with those of all ranks.
    pub fn join(ranks: &Ranks) -> Result<Self, RanksError> {
        if let Library::Missing { why } = probe_nccl() {
            return Err(RanksError::Nccl(why));
        }
        let mut name = nccl::sys::ncclUniqueId { internal: [0; 128] };
        if ranks.leads() {
            name = nccl::result::get_uniqueid().map_err(|e| refused("naming the communicator", &e))?;
        }
        let mut bytes = name.internal.map(|c| c.to_ne_bytes()[0]);
        ranks.spread(&mut bytes)?;
        name.internal = bytes.map(|byte| std::ffi::c_char::from_ne_bytes([byte]));
        let (size, rank) = (ranks.size() as i32, ranks.rank() as i32);
        let mut all = std::ptr::null_mut();
        // SAFETY: `all` is a place for the answer; every rank calls this with the same name and a rank of its own.
        unsafe { nccl::result::comm_init_rank(&raw mut all, size, name, rank) }
            .map_err(|e| refused("connecting the GPUs", &e))?;
        let untimed = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let stream = must("a stream", result::stream::create(result::stream::StreamKind::NonBlocking));
        let event = || must("an event", result::event::create(untimed));
        Ok(Self { all, stream, begun: event(), ended: event() })
    }

    /// Queues the sum over all ranks of so many f32, in place, behind what `compute` has.
    ///
    /// # Safety
    /// `at` is of at least so many f32, which nobody touches until [`Communicator::wait`]; the stream is of this context.
    pub unsafe fn sum(&self, at: Pointer, len: usize, compute: sys::CUstream) {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        let (kind, sum) = (nccl::sys::ncclDataType_t::ncclFloat32, nccl::sys::ncclRedOp_t::ncclSum);
        // SAFETY: events and streams live as long as `self`; the memory is the caller's promise.
        let queued = unsafe {
            must("recording gradients", result::event::record(self.begun, compute));
            must("waiting for gradients", result::stream::wait_event(self.stream, self.begun, flags));
            nccl::result::all_reduce(at as *const _, at as *mut _, len, kind, sum, self.all, self.stream.cast())
        };
        queued.unwrap_or_else(|error| panic!("{}", refused("a sum of gradients", &error)));
    }

    /// What `compute` gets after this waits for all sums.
    ///
    /// # Safety
    /// The stream is of this context.
    pub unsafe fn wait(&self, compute: sys::CUstream) {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: events and streams live as long as `self`.
        unsafe {
            must("recording sums", result::event::record(self.ended, self.stream));
            must("waiting for sums", result::stream::wait_event(compute, self.ended, flags));
        }
    }
}

/// Every rank drops its own after the same work, so that none waits for another that is gone.
impl Drop for Communicator {
    fn drop(&mut self) {
        // SAFETY: made in `join`, used no more. What fails here nobody needs.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            let _ = nccl::result::comm_destroy(self.all);
            let _ = result::event::destroy(self.begun);
            let _ = result::event::destroy(self.ended);
            let _ = result::stream::destroy(self.stream);
        }
    }
}
