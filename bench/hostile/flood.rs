//! The flood's two ends: the program that makes it, and the one that sorts what of it arrives.
//!
//! What it is not: it judges nothing. What was made of each kind is counted where it is made, in the kernel;
//! what arrived of each is counted at the entry of the receiver's stack, ends there, and everything else goes
//! on to the host. Cost: the flood holds one core.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::tc::TcAttachType;
use aya::programs::{SchedClassifier, Xdp};
use aya::{Ebpf, TestRun, TestRunAttrs, TestRunOptions};

use super::kinds::{From, KINDS, Kind, LONGEST, schedule};
use crate::traffic::{BATCH, Namespace, RigError, calls, monotonic, program};

/// Fields of a kind at most.
const FIELDS: usize = 8;
/// A kind as `rig.bpf.c` has it: four numbers, then the fields, then the template.
const RAW: usize = 8 + FIELDS * 8 + LONGEST;
pub(crate) type Raw = [u8; RAW];
/// What a system call may take of the flood's time: a stop is heard after it at the latest.
const SLICE: Duration = Duration::from_secs(1);

/// Makes the frames of a flood and redirects them into a veth end.
pub(crate) struct Flood {
    namespace: Namespace,
    index: u32,
    core: usize,
    kinds: usize,
    object: Ebpf,
}

impl Flood {
    /// Loads the kernel half for a veth end of a namespace, with all kinds. It will run on `core`.
    ///
    /// # Errors
    /// The object, the namespace or the interface cannot be used.
    pub(crate) fn open(
        object: &Path,
        (namespace, interface): (&str, &str),
        kinds: &[Kind],
        core: usize,
    ) -> Result<Self, RigError> {
        let namespace = Namespace::open(namespace)?;
        let index = namespace.index(interface)?;
        let mut object = Ebpf::load_file(object)?;
        program(&mut object, "flood")?.load()?;
        let mut map: Array<_, Raw> =
            Array::try_from(object.map_mut("KIND").ok_or(RigError::Missing("KIND"))?)?;
        for (place, kind) in (0..).zip(kinds) {
            map.set(place, raw(kind), 0)?;
        }
        Ok(Self { namespace, index, core, kinds: kinds.len(), object })
    }

    /// Makes frames of these kinds in turn, so many a second, for a time or until it is told to stop.
    /// Answers the nanoseconds it took.
    ///
    /// # Errors
    /// The kernel refuses a call.
    pub(crate) fn run(
        &mut self,
        order: &[usize],
        rate: u64,
        time: Duration,
        stop: &AtomicBool,
    ) -> Result<u64, RigError> {
        let mut places: Array<_, u32> =
            Array::try_from(self.object.map_mut("SCHEDULE").ok_or(RigError::Missing("SCHEDULE"))?)?;
        for (place, kind) in (0..).zip(order) {
            places.set(place, u32::try_from(*kind).unwrap_or(0), 0)?;
        }
        let turn = u64::try_from(order.len()).unwrap_or(1);
        let start = monotonic();
        let until = start.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let gap = 1_024_000_000_000 / rate.max(1);
        let mut plans: Array<_, [u64; 7]> =
            Array::try_from(self.object.map_mut("PLAN").ok_or(RigError::Missing("PLAN"))?)?;
        plans.set(0, [u64::from(self.index), turn, gap, u64::MAX, until, 0, 0], 0)?;
        let mut progress: Array<_, [u64; 4]> =
            Array::try_from(self.object.map_mut("PROGRESS").ok_or(RigError::Missing("PROGRESS"))?)?;
        progress.set(0, [0; 4], 0)?;
        let xdp: &Xdp = match self.object.program("flood") {
            Some(p) => p.try_into()?,
            None => return Err(RigError::Missing("flood")),
        };
        let core = self.core;
        self.namespace.inside(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
            loop {
                let now = monotonic();
                if now >= until || stop.load(Ordering::Relaxed) {
                    return Ok(now - start);
                }
                let slice = (until - now).min(u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX));
                xdp.test_run(TestRunOptions {
                    data_in: Some(&[0; LONGEST]),
                    repeat: calls(Some(rate), u64::MAX - 1, slice),
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                })?;
            }
        })
    }

    /// Frames made so far, by kind.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn made(&self) -> Result<Vec<u64>, RigError> {
        let map: Array<&MapData, u64> =
            Array::try_from(self.object.map("MADE").ok_or(RigError::Missing("MADE"))?)?;
        (0..).take(self.kinds).map(|kind| map.get(&kind, 0).map_err(RigError::from)).collect()
    }
}

/// A kind as the kernel half reads it.
pub(crate) fn raw(kind: &Kind) -> Raw {
    let number = |n: usize| u16::try_from(n).unwrap_or(0).to_ne_bytes();
    let mut fields = [[0; 8]; FIELDS];
    for (place, field) in fields.iter_mut().zip(&kind.fields) {
        let from_count = u16::from(field.from == From::Count);
        let how = from_count | u16::from(field.in_ip) << 1 | u16::from(field.in_upper) << 2;
        // The mask is on the wire as written, the rest is the kernel half's own.
        let words = [number(field.at), field.mask.to_be_bytes(), how.to_ne_bytes(), [0; 2]];
        *place = words.concat().try_into().unwrap_or_default();
    }
    let head = [kind.frame.len(), kind.ip_check, kind.upper_check, kind.fields.len()].map(number);
    let mut bytes = [head.as_flattened(), fields.as_flattened(), &kind.frame].concat();
    bytes.resize(RAW, 0);
    bytes.try_into().unwrap_or([0; RAW])
}

/// All kinds, each as often as its weight says.
pub(crate) fn mixed(kinds: &[Kind]) -> Vec<usize> {
    schedule(kinds)
}

/// What a sorter counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// By kind.
    pub(crate) kinds: Vec<u64>,
    /// Passed on to the host.
    pub(crate) guests: u64,
    /// Neither: no frame of this rig.
    pub(crate) strange: u64,
}

impl Arrived {
    /// All of them.
    pub(crate) fn all(&self) -> u64 {
        self.kinds.iter().sum::<u64>() + self.guests + self.strange
    }
}

/// Sorts what arrives at a veth end; it leaves with the value.
pub(crate) struct Sorter {
    object: Ebpf,
    kinds: usize,
}

impl Sorter {
    /// Loads the kernel half and attaches it.
    ///
    /// # Errors
    /// The object, the namespace or the interface cannot be used.
    pub(crate) fn open(
        object: &Path,
        namespace: &Namespace,
        interface: &str,
        kinds: usize,
    ) -> Result<Self, RigError> {
        let mut object = Ebpf::load_file(object)?;
        namespace.inside(|| {
            let packet: &mut SchedClassifier = match object.program_mut("sort_packet") {
                Some(p) => p.try_into()?,
                None => return Err(RigError::Missing("sort_packet")),
            };
            packet.load()?;
            packet.attach(interface, TcAttachType::Ingress)?;
            Ok(())
        })?;
        Ok(Self { object, kinds })
    }

    /// What arrived so far, over all CPUs.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn arrived(&self) -> Result<Arrived, RigError> {
        let map: PerCpuArray<&MapData, u64> =
            PerCpuArray::try_from(self.object.map("SORTED").ok_or(RigError::Missing("SORTED"))?)?;
        let sum = |i: u32| -> Result<u64, RigError> { Ok(map.get(&i, 0)?.iter().sum()) };
        let behind = u32::try_from(KINDS).unwrap_or(0);
        let kinds = (0..).take(self.kinds).map(sum).collect::<Result<_, _>>()?;
        Ok(Arrived { kinds, guests: sum(behind)?, strange: sum(behind + 1)? })
    }
}
