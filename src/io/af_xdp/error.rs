//! Why a wire could not be opened or released, and what to do about it.

use std::io;
use std::path::PathBuf;

/// A wire that did not open, or a release that did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AfXdpError {
    /// Capabilities are missing.
    #[error(
        "opening a wire needs {missing}: run as root, or grant them with `setcap \
         cap_net_admin,cap_net_raw,cap_bpf+ep` on the binary"
    )]
    NotPermitted {
        /// Their names, comma between.
        missing: String,
    },
    /// The kernel lacks what the port is built on.
    #[error("kernel {release}: {reason}")]
    Kernel {
        /// `uname -r`.
        release: String,
        /// What is wrong with it and which to take.
        reason: &'static str,
    },
    /// The pins would not be on a bpffs.
    #[error(
        "{} is not on a BPF file system: mount it with `mount -t bpf bpf /sys/fs/bpf` and keep the pins below it",
        path.display()
    )]
    NoBpffs {
        /// Where the pins were to go.
        path: PathBuf,
    },
    /// No such interface in this network namespace.
    #[error("no interface `{interface}` in this network namespace; `ip link` lists what is there")]
    NoInterface {
        /// Its name.
        interface: String,
    },
    /// Both ports name one interface.
    #[error("`{interface}` is named as both ports; a wire needs two interfaces")]
    SameInterface {
        /// Its name.
        interface: String,
    },
    /// A frame of this interface does not fit.
    #[error(
        "`{interface}` has an MTU of {mtu}, a frame holds {most}: lower it with `ip link set {interface} mtu {most}`"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// What it is set to.
        mtu: u32,
        /// The most that fits.
        most: u32,
    },
    /// Frames on the queues without a worker would be lost.
    #[error(
        "`{interface}` has {has} receive queue(s) and this gate serves {wanted}; each queue needs its worker: \
         `ethtool -L {interface} combined {wanted}`, or `rx {wanted}` where `ethtool -l` shows no combined ones"
    )]
    Queues {
        /// The interface.
        interface: String,
        /// Active receive queues.
        has: u32,
        /// Asked for.
        wanted: u32,
    },
    /// A port that can't have so many queues.
    #[error(
        "`{interface}` can have {most} queue(s) at most and this gate would serve {wanted} on each port: lower `[gate] \
         queues`, or take a port with more (a veth has as many as it was made with: `ip link add NAME numrxqueues \
         {wanted} numtxqueues {wanted} type veth …`)"
    )]
    FewQueues {
        /// The interface.
        interface: String,
        /// What it can have.
        most: u32,
        /// Asked for, or what the other port has.
        wanted: u32,
    },
    /// Tags would not be seen.
    #[error(
        "`{interface}` takes the VLAN tags off its frames ({offload} is on) and does not let that be switched off: a \
         tagged frame would be judged as an untagged one; take a port that leaves tags where they are"
    )]
    TagsStripped {
        /// The interface.
        interface: String,
        /// What does it, as `ethtool -k` names it.
        offload: &'static str,
    },
    /// Ring depth outside the range.
    #[error("rings = {rings}: it must be a power of two between {least} and {most}")]
    Rings {
        /// Asked for.
        rings: u32,
        /// Smallest.
        least: u32,
        /// Largest.
        most: u32,
    },
    /// Queue count outside the range.
    #[error("queues = {queues}: it must be between 1 and {most}")]
    QueueCount {
        /// Asked for.
        queues: u32,
        /// Largest.
        most: u32,
    },
    /// Somebody else's XDP program is on the port.
    #[error(
        "`{interface}` already runs the XDP program `{name}` (id {id}): stop its owner. \
         What a stopped gate left, `portcullis release WIRE` takes off; a program that `ip` attached goes with \
         `ip link set dev {interface} xdp off` (`bpftool net` and `bpftool link` show who holds it)"
    )]
    Foreign {
        /// The interface.
        interface: String,
        /// Program id.
        id: u32,
        /// Its name, as the kernel has it.
        name: String,
    },
    /// Another socket is bound to the queue and did not go away.
    #[error(
        "queue {queue} of `{interface}` stayed busy for {waited_ms} ms: another AF_XDP socket is bound to it; \
         is another gateway running on this port?"
    )]
    Busy {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// How long it was waited for.
        waited_ms: u32,
    },
    /// A socket could not be opened in copy mode either.
    #[error("cannot open an AF_XDP socket on queue {queue} of `{interface}`: {source}")]
    Socket {
        /// The interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The UMEM could not be registered.
    #[error("cannot register {kib} KiB of frame memory: {source}; lower `rings` or free memory")]
    Umem {
        /// Its size.
        kib: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// Neither mode worked.
    #[error("cannot attach to `{interface}`: native XDP: {native}; generic XDP: {generic}")]
    Attach {
        /// The interface.
        interface: String,
        /// Why not in the driver.
        native: String,
        /// Why not in the stack.
        generic: String,
    },
    /// The object did not load.
    #[error("the kernel refused the port program: {0}")]
    Load(String),
    /// Pins of a version with other maps.
    #[error(
        "{} was pinned by another version of the gateway: run `portcullis release`, then start again \
         (the ports are open to the host's own stack in between)",
        path.display()
    )]
    Layout {
        /// The map's pin.
        path: PathBuf,
    },
    /// A map operation failed.
    #[error("map `{map}`: {reason}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// A pin could not be made, opened or removed.
    #[error("{}: {source}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An interface setting could not be read or written.
    #[error("cannot {doing} `{interface}`: {source}")]
    Setting {
        /// What was tried.
        doing: &'static str,
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The saved settings are not what was written.
    #[error("{}: not the saved port settings ({reason}); set the ports by hand and remove the file", path.display())]
    Saved {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
