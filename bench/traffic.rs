//! The rig's traffic: namespaces entered, a generator and a sink on veth ends, counts of both.
//!
//! What it is not: a judge. It counts exactly (what was handed to the veth, what the veth refused, what
//! arrived) and times one way; ratios are `statistics.rs`'s. Cost: the generator holds one core, the
//! sink runs in the softirq of whoever transmits into its veth.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramError, SchedClassifier, Xdp, xdp::XdpMode};
use aya::{Ebpf, EbpfError, TestRun, TestRunAttrs, TestRunOptions};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustix::time::{ClockId, clock_gettime};

/// Why the rig could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RigError {
    /// A namespace cannot be entered.
    #[error("cannot enter namespace {name}: {source} (scripts/bench makes it and must run as root)")]
    Enter {
        /// Which.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface is not there.
    #[error("no interface {name} in its namespace: {source}")]
    Interface {
        /// Which.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The object was not compiled from `rig.bpf.c`, or the kernel refused it.
    #[error("rig.bpf.o: {0}")]
    Object(#[from] EbpfError),
    /// A program of the object was refused.
    #[error("rig.bpf.o: {0} (live frames need Linux 5.18 or newer)")]
    Program(#[from] ProgramError),
    /// A map of the object was refused.
    #[error("rig.bpf.o: {0}")]
    Map(#[from] aya::maps::MapError),
    /// The object lacks a part.
    #[error("rig.bpf.o has no {0}: compile it from this tree's bench/rig.bpf.c")]
    Missing(&'static str),
    /// The counters of an interface cannot be read.
    #[error("/proc/thread-self/net/dev: {0}")]
    Counters(String),
    /// A thread of the rig ended early.
    #[error("a thread of the rig panicked")]
    Thread,
}

/// `CLOCK_MONOTONIC`, which the kernel half reads too, in nanoseconds.
#[must_use]
pub(crate) fn monotonic() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

/// A network namespace, entered by `setns` alone.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Opens one that `ip netns add` made.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn open(name: &str) -> Result<Self, RigError> {
        File::open(Path::new("/run/netns").join(name))
            .map(|file| Self { name: name.to_owned(), file })
            .map_err(|source| RigError::Enter { name: name.to_owned(), source })
    }

    /// Runs `work` on a thread of its own inside the namespace.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` fails.
    pub(crate) fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, RigError> + Send,
    ) -> Result<T, RigError> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                        .map_err(|e| RigError::Enter { name: self.name.clone(), source: e.into() })?;
                    work()
                })
                .join()
                .unwrap_or(Err(RigError::Thread))
        })
    }

    /// The kernel's counters of an interface in it.
    ///
    /// # Errors
    /// The interface is not there.
    pub(crate) fn counters(&self, interface: &str) -> Result<LinkCounters, RigError> {
        self.inside(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/dev")
                .map_err(|e| RigError::Counters(e.to_string()))?;
            LinkCounters::parse(&text, interface)
                .ok_or_else(|| RigError::Counters(format!("no line for {interface}")))
        })
    }

    /// The number of an interface in it.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn index(&self, interface: &str) -> Result<u32, RigError> {
        self.inside(|| {
            let missing =
                |e: rustix::io::Errno| RigError::Interface { name: interface.to_owned(), source: e.into() };
            let socket =
                rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
                    .map_err(missing)?;
            rustix::net::netdevice::name_to_index(socket, interface).map_err(missing)
        })
    }
}

/// What `/proc/net/dev` says of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkCounters {
    /// Frames received.
    pub(crate) rx_packets: u64,
    /// Frames dropped at reception.
    pub(crate) rx_dropped: u64,
    /// Frames sent.
    pub(crate) tx_packets: u64,
    /// Frames the device refused to send.
    pub(crate) tx_dropped: u64,
}

impl LinkCounters {
    fn parse(text: &str, interface: &str) -> Option<Self> {
        let line = text.lines().find_map(|l| l.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
        let n: Vec<u64> = line.split_whitespace().map_while(|w| w.parse().ok()).collect();
        Some(Self {
            rx_packets: *n.get(1)?,
            rx_dropped: *n.get(3)?,
            tx_packets: *n.get(9)?,
            tx_dropped: *n.get(11)?,
        })
    }
}

/// Addresses of the frames the generator makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    /// Source MAC.
    pub(crate) source_mac: [u8; 6],
    /// Destination MAC.
    pub(crate) destination_mac: [u8; 6],
    /// Source of flow 0; each 32 768 flows take the next address.
    pub(crate) source: [u8; 4],
    /// Destination.
    pub(crate) destination: [u8; 4],
    /// Destination UDP port.
    pub(crate) port: u16,
}

/// The rig's ends; `bench/policy/` allows this traffic.
pub(crate) const ENDS: Ends = Ends {
    source_mac: [0x02, 0, 0, 0x77, 0, 0x01],
    destination_mac: [0x02, 0, 0, 0x78, 0, 0x01],
    source: [10, 77, 0, 1],
    destination: [10, 78, 0, 1],
    port: 4739,
};

/// Shortest frame on a wire, its check sequence included, as line rates are quoted.
pub(crate) const SHORTEST: usize = 64;

const STAMP_AT: usize = 42;
const CHECK_SEQUENCE: usize = 4;

impl Ends {
    /// The template frame of a length on the wire, and the one's-complement sum of its IPv4 header without
    /// checksum and low half of the source, which the kernel half completes for each flow.
    #[must_use]
    pub(crate) fn template(&self, on_wire: usize) -> (Vec<u8>, u16) {
        let length = on_wire.max(SHORTEST) - CHECK_SEQUENCE;
        let ip_length = u16::try_from(length - 14).unwrap_or(u16::MAX);
        let mut frame = Vec::with_capacity(length);
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(ip_length.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        frame.extend(self.source);
        frame.extend(self.destination);
        let ip = frame.get(14..34).unwrap_or(&[]);
        let low = u32::from(u16::from_be_bytes([self.source[2], self.source[3]]));
        let mut sum: u32 =
            ip.chunks_exact(2).map(|w| w.iter().fold(0, |sum, b| sum << 8 | u32::from(*b))).sum::<u32>()
                - low;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        frame.extend([0x04, 0x00]);
        frame.extend(self.port.to_be_bytes());
        frame.extend((ip_length - 20).to_be_bytes());
        // UDP over IPv4 may go without checksum (RFC 768); the stamp changes with every frame.
        frame.extend([0, 0]);
        debug_assert_eq!(frame.len(), STAMP_AT);
        frame.resize(length, 0);
        (frame, u16::try_from(sum).unwrap_or(u16::MAX))
    }

    fn low(&self) -> u16 {
        u16::from_be_bytes([self.source[2], self.source[3]])
    }
}

/// What the generator shall offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Frames a second; `None`: as many as it can.
    pub(crate) rate: Option<u64>,
    /// Different 5-tuples, taken in turn.
    pub(crate) flows: u64,
    /// Length on the wire.
    pub(crate) frame: usize,
    /// Frames at most.
    pub(crate) frames: u64,
    /// Time at most.
    pub(crate) time: Duration,
}

/// What the generator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Frames handed to the veth.
    pub(crate) frames: u64,
    /// Of those, refused by it: its peer's ring was full.
    pub(crate) refused: u64,
    /// From the first call to the last frame.
    pub(crate) nanos: u64,
}

impl Sent {
    /// Frames a second that entered the wire.
    #[must_use]
    pub(crate) fn rate(&self) -> f64 {
        per_second(self.frames.saturating_sub(self.refused), self.nanos)
    }

    /// Frames a second that were offered to it.
    #[must_use]
    pub(crate) fn made(&self) -> f64 {
        per_second(self.frames, self.nanos)
    }
}

/// A count over a time in nanoseconds, each second.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts and times of a benchmark stay below 2^52")]
pub(crate) fn per_second(count: u64, nanos: u64) -> f64 {
    if nanos == 0 { 0.0 } else { count as f64 * 1e9 / nanos as f64 }
}

/// Cost of a call of the kernel half, at least, in nanoseconds: at full speed, and when most frames are
/// not due. One system call must span a whole run, because its end waits for the kernel (20 ms, in which
/// nothing is offered); so it is given as many calls as the time can hold, and those that are left when
/// the time is over drop their frame at once.
const COST_FULL: u128 = 200;
const COST_PACED: u128 = 50;

/// Frames the kernel makes at a time: a NAPI budget.
pub(crate) const BATCH: u32 = 64;

/// Makes frames and redirects them into a veth end.
pub(crate) struct Generator {
    namespace: Namespace,
    interface: String,
    index: u32,
    ends: Ends,
    core: usize,
    object: Ebpf,
}

impl Generator {
    /// Loads the kernel half for a veth end of a namespace. It will run on `core`.
    ///
    /// # Errors
    /// The object, the namespace or the interface cannot be used.
    pub(crate) fn open(
        object: &Path,
        namespace: &str,
        interface: &str,
        ends: Ends,
        core: usize,
    ) -> Result<Self, RigError> {
        let namespace = Namespace::open(namespace)?;
        let index = namespace.index(interface)?;
        let mut object = Ebpf::load_file(object)?;
        program(&mut object, "generate")?.load()?;
        Ok(Self { namespace, interface: interface.to_owned(), index, ends, core, object })
    }

    /// Offers a load; returns when it is over.
    ///
    /// # Errors
    /// The kernel refuses a call.
    pub(crate) fn run(&mut self, load: &Load) -> Result<Sent, RigError> {
        let (frame, sum) = self.ends.template(load.frame);
        let gap = load.rate.map_or(0, |r| 1_024_000_000_000 / r.max(1));
        let mut progress: Array<_, [u64; 4]> =
            Array::try_from(self.object.map_mut("PROGRESS").ok_or(RigError::Missing("PROGRESS"))?)?;
        // The sequence goes on from run to run: an earlier frame can always be told from a later one.
        let [before, ..] = progress.get(&0, 0)?;
        progress.set(0, [before, 0, 0, 0], 0)?;
        let refused = self.namespace.counters(&self.interface)?.tx_dropped;
        let start = monotonic();
        let until = start.saturating_add(u64::try_from(load.time.as_nanos()).unwrap_or(u64::MAX));
        let last = before.saturating_add(load.frames);
        let plan = [
            u64::from(self.index),
            load.flows.max(1),
            gap,
            last,
            until,
            u64::from(sum),
            u64::from(self.ends.low()),
        ];
        let mut plans: Array<_, [u64; 7]> =
            Array::try_from(self.object.map_mut("PLAN").ok_or(RigError::Missing("PLAN"))?)?;
        plans.set(0, plan, 0)?;
        let progress: Array<&MapData, [u64; 4]> =
            Array::try_from(self.object.map("PROGRESS").ok_or(RigError::Missing("PROGRESS"))?)?;
        let xdp: &Xdp = match self.object.program("generate") {
            Some(p) => p.try_into()?,
            None => return Err(RigError::Missing("generate")),
        };
        let core = self.core;
        let (sent, end) = self.namespace.inside(|| {
            core_affinity::set_for_current(core_affinity::CoreId { id: core });
            loop {
                let [sent, _, sent_at, _] = progress.get(&0, 0)?;
                let now = monotonic();
                if sent >= last || now >= until {
                    return Ok((sent, sent_at.max(start)));
                }
                xdp.test_run(TestRunOptions {
                    data_in: Some(&frame),
                    repeat: calls(load.rate, last - sent, until - now),
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                })?;
            }
        })?;
        let refused = self.namespace.counters(&self.interface)?.tx_dropped - refused;
        Ok(Sent { frames: sent - before, refused, nanos: end - start })
    }
}

/// How many calls a run of so many frames and nanoseconds needs at most.
pub(crate) fn calls(rate: Option<u64>, frames: u64, nanos: u64) -> u32 {
    let (frames, nanos) = (u128::from(frames), u128::from(nanos));
    let calls = match rate {
        None => (nanos / COST_FULL).min(frames),
        // One frame more than are wanted, so that the last is not late by a rounding.
        Some(rate) => nanos.min((frames + 1) * 1_000_000_000 / u128::from(rate.max(1))) / COST_PACED,
    };
    u32::try_from(calls.max(1)).unwrap_or(u32::MAX)
}

/// An XDP program of an object.
///
/// # Errors
/// There is none of that name.
pub(crate) fn program<'a>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, RigError> {
    match object.program_mut(name) {
        Some(p) => Ok(p.try_into()?),
        None => Err(RigError::Missing(name)),
    }
}

/// Where the sink stands. XDP on veth copies each packet first, on the core that transmits: through the
/// plain forwarder 0.66 Mpps arrive then, and 0.86 with TCX; through the bridge 0.585 and 0.56.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Before the kernel makes a packet of a frame.
    Xdp,
    /// At the entry of the stack.
    Tcx,
}

/// Counts and times what arrives at a veth end.
pub(crate) struct Sink {
    object: Ebpf,
}

impl Sink {
    /// Loads the kernel half and attaches it; it leaves with the value.
    ///
    /// # Errors
    /// The object, the namespace or the interface cannot be used.
    pub(crate) fn open(
        object: &Path,
        namespace: &str,
        interface: &str,
        hook: Hook,
    ) -> Result<Self, RigError> {
        let namespace = Namespace::open(namespace)?;
        let index = namespace.index(interface)?;
        let mut object = Ebpf::load_file(object)?;
        namespace.inside(|| match hook {
            Hook::Xdp => {
                let xdp = program(&mut object, "sink_frame")?;
                xdp.load()?;
                xdp.attach_to_if_index(index, XdpMode::Driver)?;
                Ok(())
            }
            Hook::Tcx => {
                let packet: &mut SchedClassifier = match object.program_mut("sink_packet") {
                    Some(p) => p.try_into()?,
                    None => return Err(RigError::Missing("sink_packet")),
                };
                packet.load()?;
                packet.attach(interface, TcAttachType::Ingress)?;
                Ok(())
            }
        })?;
        Ok(Self { object })
    }

    /// What arrived so far, over all CPUs.
    ///
    /// # Errors
    /// A map cannot be read.
    pub(crate) fn arrived(&self) -> Result<Arrived, RigError> {
        let map: PerCpuArray<&MapData, u64> =
            PerCpuArray::try_from(self.object.map("SINK").ok_or(RigError::Missing("SINK"))?)?;
        let sum = |i: u32| -> Result<u64, RigError> { Ok(map.get(&i, 0)?.iter().sum()) };
        Ok(Arrived {
            at: monotonic(),
            frames: sum(0)?,
            bytes: sum(1)?,
            strangers: sum(2)?,
            reordered: sum(3)?,
        })
    }

    /// The distribution of one-way times so far.
    ///
    /// # Errors
    /// A map cannot be read.
    pub(crate) fn delays(&self) -> Result<Delays, RigError> {
        let map: PerCpuArray<&MapData, u64> =
            PerCpuArray::try_from(self.object.map("DELAY").ok_or(RigError::Missing("DELAY"))?)?;
        (0..map.len()).map(|i| Ok(map.get(&i, 0)?.iter().sum())).collect::<Result<_, _>>().map(Delays)
    }
}

/// What a sink counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// When it was read.
    pub(crate) at: u64,
    /// The generator's frames.
    pub(crate) frames: u64,
    /// Their bytes, without check sequence.
    pub(crate) bytes: u64,
    /// Frames that are not the generator's.
    pub(crate) strangers: u64,
    /// Frames that came after one that was made later, on one CPU.
    pub(crate) reordered: u64,
}

/// One-way times, log-linear: 128 steps to the octave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delays(Vec<u64>);

impl Delays {
    /// What came between an earlier reading and this one.
    #[must_use]
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, then)| now - then).collect())
    }

    /// How many were timed.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that a share of the frames did not exceed, in nanoseconds, to 0.8 %; `None` without frames.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay below 2^52")]
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = self.count() as f64 * share;
        let mut below = 0.0;
        for (i, &n) in self.0.iter().enumerate() {
            let n = n as f64;
            if n > 0.0 && below + n >= rank {
                let (low, width) = bucket(i);
                return Some(low + width * ((rank - below) / n).clamp(0.0, 1.0));
            }
            below += n;
        }
        None
    }
}

/// Lower bound and width of a bucket of the kernel half.
#[expect(clippy::cast_precision_loss, reason = "a bucket's number is small")]
fn bucket(i: usize) -> (f64, f64) {
    let (octave, step) = (i / 128, i % 128);
    if octave == 0 {
        (step as f64, 1.0)
    } else {
        let width = 2f64.powi(i32::try_from(octave).unwrap_or(0) - 1);
        ((128 + step) as f64 * width, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_valid_frame_of_its_length() {
        let (frame, _) = ENDS.template(64);
        assert_eq!(frame.len(), 60);
        let (frame, _) = ENDS.template(1518);
        assert_eq!(frame.len(), 1514);
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).expect("parses");
        assert!(sliced.transport.is_some());
    }

    #[test]
    fn buckets_touch_and_never_overlap() {
        for i in 0..128 * 29 {
            let (low, width) = bucket(i);
            assert!((low + width - bucket(i + 1).0).abs() < f64::EPSILON, "bucket {i}");
        }
    }

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut buckets = vec![0; 128 * 30];
        buckets[100] = 99;
        buckets[128 + 1] = 1;
        let delays = Delays(buckets);
        assert_eq!(delays.count(), 100);
        assert_eq!(delays.quantile(0.5), Some(100.0 + 50.0 / 99.0));
        assert_eq!(delays.quantile(0.99), Some(101.0));
        assert_eq!(delays.quantile(1.0), Some(130.0));
        assert_eq!(Delays::default().quantile(0.5), None);
    }

    #[test]
    fn reads_the_counters_of_one_interface() {
        let text = "Inter-| Receive\n face |bytes\n  a0: 10 1 0 2 0 0 0 0 20 3 0 4 0 0 0 0\n a: 1 5 0 6 0 0 0 0 2 7 0 8 0 0 0 0\n";
        assert_eq!(
            LinkCounters::parse(text, "a"),
            Some(LinkCounters { rx_packets: 5, rx_dropped: 6, tx_packets: 7, tx_dropped: 8 })
        );
        assert_eq!(LinkCounters::parse(text, "b"), None);
    }
}
