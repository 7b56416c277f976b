//! What this machine does in the same run: one integer step, one fetch of a random line.

use std::hint::black_box;

use portcullis::io::clock::boot_nanos;

/// Nanoseconds of one of `count`.
#[expect(clippy::cast_precision_loss, reason = "counts and times of a block stay below 2^52")]
pub(crate) fn each(nanos: u64, count: u64) -> f64 {
    nanos as f64 / count.max(1) as f64
}

/// One dependent multiply and add, in nanoseconds.
pub(crate) fn integer_step() -> f64 {
    let (steps, nanos) = integer_steps();
    each(nanos, steps)
}

/// So many of them, and their nanoseconds.
pub(crate) fn integer_steps() -> (u64, u64) {
    const STEPS: u64 = 4_000_000;
    let start = boot_nanos();
    let mut x = black_box(1_u64);
    for _ in 0..STEPS {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    }
    black_box(x);
    (STEPS, boot_nanos() - start)
}

/// Memory far larger than any cache.
pub(crate) struct Lines {
    lines: Vec<[u64; 8]>,
    // xorshift64 (Marsaglia 2003); no fetch decides a later one's place.
    state: u64,
}

impl Lines {
    /// So many bytes, in whole lines.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        let lines = (0..bytes / 64).map(|i| [u64::try_from(i).unwrap_or(0); 8]).collect();
        Self { lines, state: 88_172_645_463_325_252 }
    }

    /// One fetch of a line at a random place that no earlier fetch decides, in nanoseconds.
    pub(crate) fn fetch(&mut self) -> f64 {
        let (fetches, nanos) = self.fetches();
        each(nanos, fetches)
    }

    /// So many of them, and their nanoseconds.
    pub(crate) fn fetches(&mut self) -> (u64, u64) {
        const FETCHES: u64 = 262_144;
        let count = u64::try_from(self.lines.len()).unwrap_or(0);
        let start = boot_nanos();
        let (mut x, mut sum) = (black_box(self.state), 0_u64);
        for _ in 0..FETCHES {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // The high half of a product: even over any number of lines, and cheaper than a remainder.
            let place = (u128::from(x) * u128::from(count)) >> 64;
            let line = usize::try_from(place).ok().and_then(|place| self.lines.get(place));
            sum = sum.wrapping_add(line.map_or(0, |line| line[0]));
        }
        black_box(sum);
        self.state = x;
        (FETCHES, boot_nanos() - start)
    }
}
