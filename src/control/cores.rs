//! The cores that control threads may use.

use rustix::thread::{CpuSet, sched_getaffinity};

/// The cores that the calling thread may run on; none if the kernel does not say.
pub(super) fn own() -> Vec<usize> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::thread::sched_setaffinity;

    use super::*;

    #[test]
    fn a_thread_knows_the_core_it_was_put_on() {
        let allowed = own();
        let core = *allowed.last().unwrap();
        let seen = std::thread::spawn(move || {
            let mut set = CpuSet::new();
            set.set(core);
            sched_setaffinity(None, &set).unwrap();
            own()
        });
        assert_eq!(seen.join().unwrap(), [core]);
        assert_eq!(own(), allowed);
    }
}
