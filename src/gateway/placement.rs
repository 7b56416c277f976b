//! Which processor is whose: workers near their cards, one a core where there are enough, and everything else
//! away from them.
//!
//! What it is: a choice among the processors that this process may use, and the reason for it in a sentence.
//! What it is not: it reads no machine and pins nothing. Invariants: two workers have one processor only if none is
//! free; while one is free, control has its own.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::io::topology::Processor;

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// By worker; `None`: wherever the kernel likes.
    pub(super) workers: Vec<Option<usize>>,
    /// Everything else.
    pub(super) control: Option<usize>,
    /// What was chosen and why.
    pub(super) why: String,
}

/// Workers that each have a processor and leave one for everything else; at least one.
#[must_use]
pub(super) fn room(processors: &[Processor], node: Option<usize>) -> usize {
    let near = processors.iter().filter(|one| node.is_none_or(|node| one.node == node));
    let cores: BTreeSet<usize> = near.map(|one| one.core).collect();
    let all: BTreeSet<usize> = processors.iter().map(|one| one.core).collect();
    // Control can live on the other node.
    let spare = usize::from(all.len() == cores.len());
    cores.len().saturating_sub(spare).max(1)
}

/// Places so many workers, if there is one near that node of memory.
///
/// Preferred for a worker, in this order: near the cards, a core that no worker has. The last numbers first:
/// interrupts and whatever else starts on a machine begin at the lowest.
#[must_use]
pub(super) fn place(processors: &[Processor], workers: usize, node: Option<usize>) -> Placement {
    let mut free: Vec<Processor> = processors.to_vec();
    let mut taken: Vec<Processor> = Vec::new();
    for _ in 0..workers {
        let best = free.iter().enumerate().max_by_key(|(_, one)| {
            let near = node.is_none_or(|node| one.node == node);
            let own = !taken.iter().any(|other| other.core == one.core);
            // Of a core's threads the first: the others are left to whoever shares the core.
            (near, own, one.number == one.core, one.number)
        });
        let Some(best) = best.map(|(place, _)| place) else { break };
        taken.push(free.swap_remove(best));
    }
    taken.sort_unstable_by_key(|one| one.number);
    let shared = |one: &Processor| taken.iter().any(|other| other.core == one.core);
    let control = free.iter().min_by_key(|one| (shared(one), one.number)).map(|one| one.number);
    let why = why(&taken, workers, node, control);
    let mut places: Vec<Option<usize>> = taken.iter().map(|one| Some(one.number)).collect();
    places.resize(workers, None);
    Placement { workers: places, control, why }
}

fn why(taken: &[Processor], workers: usize, node: Option<usize>, control: Option<usize>) -> String {
    let cores: BTreeSet<usize> = taken.iter().map(|one| one.core).collect();
    let mut why = if taken.len() < workers {
        format!("{} of {workers} workers have a processor of their own, there are no more", taken.len())
    } else if cores.len() < taken.len() {
        format!("{} workers on {} cores: there are no more cores near", taken.len(), cores.len())
    } else if workers == 1 {
        "a core of its own".to_owned()
    } else {
        "a core each".to_owned()
    };
    if let Some(node) = node {
        let near = taken.iter().filter(|one| one.node == node).count();
        let _ = match near {
            all if all == taken.len() => write!(why, ", on node {node} as the ports"),
            some => write!(why, ", {some} of them on node {node} as the ports"),
        };
    }
    match control {
        Some(number) => {
            let _ = write!(why, "; control on {number}");
        }
        None => why.push_str("; every processor has a worker: control shares the last one"),
    }
    why
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `nodes` × `cores` × `threads`, numbered as Linux does: first threads of all cores, then the second ones.
    fn machine(nodes: usize, cores: usize, threads: usize) -> Vec<Processor> {
        let all = nodes * cores;
        (0..all * threads)
            .map(|number| Processor { number, core: number % all, node: number % all / cores })
            .collect()
    }

    fn placed(
        machine: &[Processor],
        workers: usize,
        node: Option<usize>,
    ) -> (Vec<usize>, Option<usize>, String) {
        let placement = place(machine, workers, node);
        (placement.workers.into_iter().flatten().collect(), placement.control, placement.why)
    }

    #[test]
    fn workers_have_a_core_each_near_their_cards_and_control_another() {
        let machine = machine(2, 4, 2);
        let (workers, control, why) = placed(&machine, 3, Some(1));
        assert_eq!((workers, control), (vec![5, 6, 7], Some(0)));
        assert_eq!(why, "a core each, on node 1 as the ports; control on 0");
        let (workers, control, why) = placed(&machine, 3, Some(0));
        assert_eq!((workers, control), (vec![1, 2, 3], Some(0)));
        assert_eq!(why, "a core each, on node 0 as the ports; control on 0");
        let (workers, _, why) = placed(&machine, 2, None);
        assert_eq!((workers, why.as_str()), (vec![6, 7], "a core each; control on 0"));
    }

    #[test]
    fn beyond_the_cores_near_they_share_them_before_they_go_far() {
        let machine = machine(2, 2, 2);
        let (workers, control, why) = placed(&machine, 3, Some(1));
        assert_eq!((workers, control), (vec![2, 3, 7], Some(0)));
        assert_eq!(
            why,
            "3 workers on 2 cores: there are no more cores near, on node 1 as the ports; control on 0"
        );
        let (workers, _, why) = placed(&machine, 5, Some(1));
        assert_eq!(workers, [1, 2, 3, 6, 7]);
        assert!(why.contains("4 of them on node 1"), "{why}");
    }

    #[test]
    fn a_cpuset_is_all_there_is() {
        let machine = machine(2, 4, 2);
        // One thread of one core, and both of another, far from the ports.
        let allowed: Vec<Processor> =
            machine.into_iter().filter(|one| [1, 2, 10].contains(&one.number)).collect();
        let (workers, control, why) = placed(&allowed, 2, Some(1));
        assert_eq!((workers, control), (vec![1, 2], Some(10)));
        assert_eq!(why, "a core each, 0 of them on node 1 as the ports; control on 10");
        let placement = place(&allowed, 4, None);
        assert_eq!(placement.workers, [Some(1), Some(2), Some(10), None]);
        assert_eq!(placement.control, None);
        assert!(placement.why.starts_with("3 of 4 workers have a processor of their own"), "{placement:?}");
        assert!(placement.why.ends_with("every processor has a worker: control shares the last one"));
    }

    #[test]
    fn one_worker_of_a_small_machine_has_its_last_core() {
        let (workers, control, why) = placed(&machine(1, 2, 1), 1, None);
        assert_eq!((workers, control, why.as_str()), (vec![1], Some(0), "a core of its own; control on 0"));
        let (workers, control, _) = placed(&machine(1, 1, 1), 1, None);
        assert_eq!((workers, control), (vec![0], None));
    }

    #[test]
    fn there_is_room_for_a_worker_a_core_but_one() {
        assert_eq!(room(&machine(1, 8, 2), None), 7);
        assert_eq!(room(&machine(2, 4, 2), Some(1)), 4, "control lives on the other node");
        assert_eq!(room(&machine(1, 1, 2), None), 1);
        assert_eq!(room(&[], None), 1);
    }

    proptest! {
        #[test]
        fn nobody_shares_while_something_is_free(
            (nodes, cores, threads) in (1..3_usize, 1..5_usize, 1..3_usize),
            workers in 1..20_usize,
            node in proptest::option::of(0..3_usize),
        ) {
            let machine = machine(nodes, cores, threads);
            let placement = place(&machine, workers, node);
            prop_assert_eq!(placement.workers.len(), workers);
            let mut own: Vec<usize> = placement.workers.iter().flatten().copied().collect();
            own.extend(placement.control);
            let count = own.len();
            prop_assert_eq!(count, machine.len().min(workers + 1));
            own.sort_unstable();
            own.dedup();
            prop_assert_eq!(own.len(), count, "nobody twice");
        }
    }
}
