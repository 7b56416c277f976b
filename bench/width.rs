//! What a core gets done when nothing waits: the one sign of a stranger on its other hyperthread.

use std::hint::black_box;

use portcullis::io::clock::boot_nanos;

use crate::traffic::per_second;

const NANOS: u64 = 50_000_000;

/// Steps of eight independent chains that a core gets done in a microsecond, over a twentieth of a second. One
/// chain waits for itself and is as fast beside a stranger on the core's other hyperthread as alone; eight are
/// not, and what the hypervisor gives such a stranger is no steal and stands in no count.
pub(crate) fn width(core: usize) -> f64 {
    const STEPS: u64 = 65_536;
    let measured = std::thread::spawn(move || {
        core_affinity::set_for_current(core_affinity::CoreId { id: core });
        let end = boot_nanos() + NANOS;
        let start = boot_nanos();
        let mut chains = black_box([1_u64, 2, 3, 4, 5, 6, 7, 8]);
        let mut steps = 0;
        while boot_nanos() < end {
            for step in 0..STEPS {
                for chain in &mut chains {
                    *chain = (*chain ^ step).wrapping_add(0x9E37_79B9);
                }
            }
            chains = black_box(chains);
            steps += STEPS;
        }
        (steps, boot_nanos() - start)
    });
    measured.join().map_or(0.0, |(steps, nanos)| per_second(steps, nanos) / 1e6)
}
