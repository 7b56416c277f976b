//! Checks of the machine and of this process.

use std::fmt::Write;

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::Check;
use crate::control::instant;
use crate::io::region::Offer;
use crate::io::{clock, region};
use crate::policy::Moment;

/// 2026-11-01: a clock before the day this version was made can't be right.
const MADE: u64 = 1_793_491_200_000_000_000;

/// All of them.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = kernel();
    checks.push(capability());
    checks.push(memory_lock());
    checks.push(huge_pages(&region::offer()));
    checks.push(wall_clock(clock::wall_nanos()));
    checks.push(boot_clock(clock::boot_nanos()));
    checks
}

#[cfg(feature = "xdp")]
fn kernel() -> Vec<Check> {
    use std::path::Path;

    use crate::io::af_xdp::{kernel, survey};

    let release = kernel::release();
    let bpffs = Path::new("/sys/fs/bpf");
    vec![
        judged(&release, kernel::judge(&release)),
        if kernel::on_bpffs(bpffs) {
            Check::pass("bpffs", "mounted at /sys/fs/bpf")
        } else {
            Check::fail("bpffs", "not mounted at /sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf")
        },
        match survey::socket() {
            Ok(()) => Check::pass("AF_XDP", "a socket can be opened"),
            Err(error) => Check::fail(
                "AF_XDP",
                format!("no socket: {error}"),
                "run as root (CAP_NET_RAW), on a kernel with CONFIG_XDP_SOCKETS",
            ),
        },
    ]
}

#[cfg(feature = "xdp")]
fn judged(release: &str, support: crate::io::af_xdp::kernel::Support) -> Check {
    use crate::io::af_xdp::kernel::Support;
    match support {
        Support::Good => Check::pass("kernel", release),
        Support::Avoid(reason) => Check::unknown("kernel", release, reason),
        Support::TooOld(reason) => Check::fail("kernel", release, reason),
    }
}

#[cfg(not(feature = "xdp"))]
fn kernel() -> Vec<Check> {
    vec![Check::fail(
        "xdp",
        "this portcullis was built without the feature `xdp`",
        "build it with default features: it cannot open interfaces",
    )]
}

/// What a gate needs, with what each is for.
const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::NET_RAW, "CAP_NET_RAW"),
    (CapabilitySet::BPF, "CAP_BPF"),
];

fn capability() -> Check {
    match capabilities(None) {
        Ok(sets) => capability_of(sets.effective),
        Err(error) => Check::unknown("capabilities", error.to_string(), "run as root"),
    }
}

fn capability_of(effective: CapabilitySet) -> Check {
    // CAP_SYS_ADMIN stood for CAP_BPF before there was one.
    let has = |needed| {
        effective.contains(needed)
            || (needed == CapabilitySet::BPF && effective.contains(CapabilitySet::SYS_ADMIN))
    };
    let missing = NEEDED.iter().filter(|(needed, _)| !has(*needed));
    let missing = missing.fold(String::new(), |mut words, (_, name)| {
        let _ = write!(words, " {name}");
        words
    });
    if missing.is_empty() {
        Check::pass("capabilities", "CAP_NET_ADMIN CAP_NET_RAW CAP_BPF")
    } else {
        Check::fail(
            "capabilities",
            format!("missing:{missing}"),
            "run as root, or setcap cap_net_admin,cap_net_raw,cap_bpf+ep on the binary",
        )
    }
}

/// Frame memory is not charged to the limit on kernels that a gate runs on; BPF maps neither.
fn memory_lock() -> Check {
    let limit = getrlimit(Resource::Memlock).current;
    let words = limit.map_or_else(|| "unlimited".into(), |bytes| format!("{} KiB", bytes / 1024));
    Check::pass("locked memory", format!("{words}; not charged for BPF since Linux 5.11"))
}

/// A flow table asks for them; without, a packet of one flow among a million costs about 1.4 times as much.
fn huge_pages(offer: &Offer) -> Check {
    let remedy =
        "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled; the flow table is slower without";
    match offer {
        Offer::Given => Check::pass("huge pages", "given to those who ask"),
        Offer::Refused => Check::unknown("huge pages", "the kernel gives none", remedy),
        Offer::Unknown(found) => Check::unknown("huge pages", found, remedy),
    }
}

fn wall_clock(wall: u64) -> Check {
    let found = instant(Moment(wall));
    if wall < MADE {
        Check::fail(
            "wall clock",
            format!("{found}, before this version was made"),
            "set it: what has a time in a policy cannot be judged",
        )
    } else {
        Check::pass("wall clock", found)
    }
}

fn boot_clock(boot: u64) -> Check {
    if boot == 0 {
        Check::fail("boot clock", "does not run", "use a kernel with CLOCK_BOOTTIME")
    } else {
        Check::pass("boot clock", format!("up {}", crate::cli::page::duration(boot / 1_000_000_000)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Finding;
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(capability_of(CapabilitySet::all()).finding, Finding::Pass);
        let some = CapabilitySet::NET_ADMIN | CapabilitySet::SYS_ADMIN;
        let check = capability_of(some);
        assert_eq!((check.finding, check.found.as_str()), (Finding::Fail, "missing: CAP_NET_RAW"));
        let none = capability_of(CapabilitySet::empty());
        assert_eq!(none.found, "missing: CAP_NET_ADMIN CAP_NET_RAW CAP_BPF");
    }

    #[test]
    fn a_kernel_that_gives_no_huge_pages_is_no_failure() {
        assert_eq!(huge_pages(&Offer::Given).finding, Finding::Pass);
        let refused = huge_pages(&Offer::Refused);
        assert_eq!((refused.finding, refused.found.as_str()), (Finding::Unknown, "the kernel gives none"));
        assert_eq!(huge_pages(&Offer::Unknown("soon".into())).found, "soon");
    }

    #[test]
    fn a_clock_before_the_version_is_wrong() {
        assert_eq!(wall_clock(MADE - 1).finding, Finding::Fail);
        assert_eq!(wall_clock(MADE).found, "2026-11-01T00:00:00.000000000Z");
        assert_eq!(boot_clock(0).finding, Finding::Fail);
        assert_eq!(boot_clock(61_000_000_000).found, "up 1 min 1 s");
    }

    #[cfg(feature = "xdp")]
    #[test]
    fn a_kernel_to_avoid_is_not_a_failure_and_one_too_old_is() {
        use crate::io::af_xdp::kernel::judge;
        let finding = |release: &str| judged(release, judge(release)).finding;
        assert_eq!(finding("6.18.2"), Finding::Pass);
        assert_eq!(finding("6.16.12"), Finding::Unknown);
        assert_eq!(finding("5.10.0-33-amd64"), Finding::Fail);
    }
}
