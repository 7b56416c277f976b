//! The heartbeats of a wire, in the memory that the port programs read.
#![allow(unsafe_code, reason = "a BPF array is mapped")]

use std::io;
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::MAX_QUEUES;
use crate::io::Heartbeat;

/// Bytes of the mapped array; the kernel rounds up to pages.
const BYTES: usize = MAX_QUEUES * size_of::<AtomicU64>();

/// The `heartbeat` array of one port, mapped.
pub(super) struct Mapped(NonNull<AtomicU64>);

// SAFETY: the mapping is shared memory that is only reached through atomics, and lives until the drop.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    pub(super) fn new(map: impl AsFd) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            mmap(ptr::null_mut(), BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0)
        }?;
        NonNull::new(start.cast()).map(Self).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn slot(&self, queue: usize) -> Option<&AtomicU64> {
        if queue >= MAX_QUEUES {
            return None;
        }
        // SAFETY: the mapping holds MAX_QUEUES of them, and `queue` is one of these.
        let slot = unsafe { self.0.add(queue) };
        // SAFETY: aligned (a page's start plus a multiple of 8), alive as long as `self`, and the kernel
        // reads it as one 64-bit word.
        Some(unsafe { slot.as_ref() })
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and no reference outlives `self`.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), BYTES) };
    }
}

/// Writes the heartbeat of one queue, at both ports.
pub struct QueueHeartbeat {
    pub(super) ports: [Arc<Mapped>; 2],
    pub(super) queue: usize,
}

impl Heartbeat for QueueHeartbeat {
    fn beat(&self, boot_nanos: u64) {
        for port in &self.ports {
            if let Some(slot) = port.slot(self.queue) {
                slot.store(boot_nanos, Ordering::Release);
            }
        }
    }
}
