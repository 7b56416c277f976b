//! What the running kernel and this process may do.
//!
//! Read once at open, and by `doctor`.

use std::path::Path;

use rustix::thread::CapabilitySet;

use super::AfXdpError;

/// How far a kernel can be trusted with a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Nothing known against it.
    Good,
    /// It works but is known to fail; the reason says how and which kernel to take.
    Avoid(&'static str),
    /// It lacks what the port needs.
    TooOld(&'static str),
}

/// `uname -r` of the running kernel.
#[must_use]
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Judges a `uname -r`.
///
/// 5.11 is where BPF memory is no longer charged to `RLIMIT_MEMLOCK`; links for XDP came with 5.9, one
/// UMEM over two interfaces with 5.10. A release that cannot be read is taken as good: the system calls
/// will say.
#[must_use]
pub fn judge(release: &str) -> Support {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        return Support::Good;
    };
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    match (major, minor, patch) {
        (..=4, ..) | (5, ..=10, _) => {
            Support::TooOld("too old for AF_XDP over two ports and pinned XDP links; run 5.11 or later")
        }
        (6, 16, 12) => {
            Support::Avoid("copy-mode AF_XDP transmission was seen to panic this kernel; run another one")
        }
        (6, 16, _) => Support::Avoid(
            "transmission through veth was seen to stall on 6.16; run another kernel if it does",
        ),
        _ => Support::Good,
    }
}

/// Capabilities the port needs and this thread lacks, by name.
#[must_use]
pub fn missing_capabilities() -> Vec<&'static str> {
    let Ok(sets) = rustix::thread::capabilities(None) else {
        return vec!["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"];
    };
    let has = |set: CapabilitySet| sets.effective.contains(set);
    let mut missing = Vec::new();
    if !has(CapabilitySet::NET_ADMIN) {
        missing.push("CAP_NET_ADMIN");
    }
    if !has(CapabilitySet::NET_RAW) {
        missing.push("CAP_NET_RAW");
    }
    if !has(CapabilitySet::BPF) && !has(CapabilitySet::SYS_ADMIN) {
        missing.push("CAP_BPF");
    }
    missing
}

/// Whether a path, or its nearest ancestor that exists, lies on a BPF file system.
#[must_use]
pub fn on_bpffs(path: &Path) -> bool {
    // linux/magic.h
    const BPF_FS_MAGIC: i128 = 0xcafe_4a11;
    path.ancestors()
        .find_map(|ancestor| rustix::fs::statfs(ancestor).ok())
        .is_some_and(|found| i128::from(found.f_type) & 0xffff_ffff == BPF_FS_MAGIC)
}

/// The checks that come before anything is touched.
pub(super) fn check(pins: &Path) -> Result<Option<String>, AfXdpError> {
    let missing = missing_capabilities();
    if !missing.is_empty() {
        return Err(AfXdpError::NotPermitted { missing: missing.join(", ") });
    }
    let release = release();
    let warning = match judge(&release) {
        Support::Good => None,
        Support::Avoid(reason) => Some(format!("kernel {release}: {reason}")),
        Support::TooOld(reason) => return Err(AfXdpError::Kernel { release, reason }),
    };
    if on_bpffs(pins) { Ok(warning) } else { Err(AfXdpError::NoBpffs { path: pins.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_number() {
        for old in ["4.19.0-26-amd64", "5.10.0-33-amd64", "5.4.1"] {
            assert!(matches!(judge(old), Support::TooOld(_)), "{old}");
        }
        for avoid in ["6.16.12", "6.16.0-rc3", "6.16.12+deb13-amd64"] {
            assert!(matches!(judge(avoid), Support::Avoid(_)), "{avoid}");
        }
        for good in ["5.11.0", "6.1.0-28-amd64", "6.18.44-fc", "7.3.4", "10.0", "what", ""] {
            assert_eq!(judge(good), Support::Good, "{good}");
        }
    }

    #[test]
    fn the_root_directory_is_no_bpffs() {
        assert!(!on_bpffs(Path::new("/")));
        assert!(!on_bpffs(Path::new("/no/such/place")));
    }
}
