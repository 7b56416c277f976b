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

/// What is asked of the flood's program, so that what is wanted comes of it.
///
/// Whoever else runs on its core takes its turns, and the program does not catch up what a turn cost it
/// (`CATCH_UP` in `rig.bpf.c`: no blow of frames in one go). So it is asked for as much more as it fell short of.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Frames a second; 0: not yet known.
    asked: u64,
}

impl Pace {
    /// More than this many times what is wanted is not asked for: the core has no more to give.
    const MOST: u64 = 2;

    /// What to ask for, frames a second.
    fn ask(&mut self, wanted: u64) -> u64 {
        self.asked = self.asked.clamp(wanted, wanted.saturating_mul(Self::MOST));
        self.asked
    }

    /// So many frames came in so many nanoseconds. Half of the way is gone at once, for a turn may be an odd one.
    fn learn(&mut self, wanted: u64, frames: u64, nanos: u64) {
        let fair = u128::from(self.asked) * u128::from(wanted) * u128::from(nanos)
            / (u128::from(frames.max(1)) * 1_000_000_000);
        self.asked = u64::try_from(u128::midpoint(fair, u128::from(self.asked))).unwrap_or(u64::MAX);
    }
}

/// Makes the frames of a flood and redirects them into a veth end.
pub(crate) struct Flood {
    namespace: Namespace,
    core: usize,
    kinds: usize,
    kernel: KernelHalf,
}

/// Its kernel half, the veth end that it redirects into, and what is asked of it.
struct KernelHalf {
    index: u32,
    object: Ebpf,
    pace: Pace,
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
        let kernel = KernelHalf { index, object, pace: Pace::default() };
        Ok(Self { namespace, core, kinds: kinds.len(), kernel })
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
        let Self { namespace, core, kernel, .. } = self;
        kernel.begin(order)?;
        let start = monotonic();
        let until = start.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        namespace.inside(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: *core });
            loop {
                let now = monotonic();
                if now >= until || stop.load(Ordering::Relaxed) {
                    return Ok(now - start);
                }
                kernel.slice(order.len(), rate, (now, until))?;
            }
        })
    }

    /// Frames made so far, by kind.
    ///
    /// # Errors
    /// The map cannot be read.
    pub(crate) fn made(&self) -> Result<Vec<u64>, RigError> {
        let map: Array<&MapData, u64> =
            Array::try_from(self.kernel.object.map("MADE").ok_or(RigError::Missing("MADE"))?)?;
        (0..).take(self.kinds).map(|kind| map.get(&kind, 0).map_err(RigError::from)).collect()
    }
}

impl KernelHalf {
    fn begin(&mut self, order: &[usize]) -> Result<(), RigError> {
        let mut places: Array<_, u32> =
            Array::try_from(self.object.map_mut("SCHEDULE").ok_or(RigError::Missing("SCHEDULE"))?)?;
        for (place, kind) in (0..).zip(order) {
            places.set(place, u32::try_from(*kind).unwrap_or(0), 0)?;
        }
        Ok(self.progress()?.set(0, [0; 4], 0)?)
    }

    /// One system call's worth of a run that ends then.
    fn slice(&mut self, turn: usize, rate: u64, (now, until): (u64, u64)) -> Result<(), RigError> {
        let asked = self.pace.ask(rate);
        let gap = 1_024_000_000_000 / asked.max(1);
        let mut plans: Array<_, [u64; 7]> =
            Array::try_from(self.object.map_mut("PLAN").ok_or(RigError::Missing("PLAN"))?)?;
        let turn = u64::try_from(turn).unwrap_or(1);
        plans.set(0, [u64::from(self.index), turn, gap, u64::MAX, until, 0, 0], 0)?;
        let [before, ..] = self.progress()?.get(&0, 0)?;
        let xdp: &Xdp = match self.object.program("flood") {
            Some(p) => p.try_into()?,
            None => return Err(RigError::Missing("flood")),
        };
        let slice = (until - now).min(u64::try_from(SLICE.as_nanos()).unwrap_or(u64::MAX));
        xdp.test_run(TestRunOptions {
            data_in: Some(&[0; LONGEST]),
            repeat: calls(Some(asked), u64::MAX - 1, slice),
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        })?;
        let [after, ..] = self.progress()?.get(&0, 0)?;
        self.pace.learn(rate, after - before, monotonic() - now);
        Ok(())
    }

    fn progress(&mut self) -> Result<Array<&mut MapData, [u64; 4]>, RigError> {
        Ok(Array::try_from(self.object.map_mut("PROGRESS").ok_or(RigError::Missing("PROGRESS"))?)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what is asked for, a core that others use makes this part.
    fn made_in_a_second(asked: u64, percent: u64) -> u64 {
        asked * percent / 100
    }

    #[test]
    fn what_falls_short_is_asked_for_on_top() {
        let mut pace = Pace::default();
        let mut made = 0;
        for _ in 0..16 {
            made = made_in_a_second(pace.ask(300_000), 75);
            pace.learn(300_000, made, 1_000_000_000);
        }
        assert!((299_000..=301_000).contains(&made), "{made}");
        // Nobody is in the way any more.
        for _ in 0..16 {
            made = made_in_a_second(pace.ask(300_000), 100);
            pace.learn(300_000, made, 1_000_000_000);
        }
        assert!((299_000..=301_000).contains(&made), "{made}");
    }

    #[test]
    fn a_core_that_has_no_more_is_not_asked_for_ever_more() {
        let mut pace = Pace::default();
        for _ in 0..64 {
            pace.ask(300_000);
            pace.learn(300_000, 0, 1_000_000_000);
        }
        assert_eq!(pace.ask(300_000), 600_000);
    }
}
