//! Offloads of an interface that touch VLAN tags, by the names that `ethtool -k` shows.
//!
//! A driver that strips a tag keeps it beside the frame, where XDP does not look: the frame would be judged
//! as untagged. What it is not: no offload of another kind is read or changed here. The names are the
//! kernel's, looked up in its own list, because the bits behind them move from release to release. Cost:
//! three system calls a question; asked at start, at release and by `doctor`.
#![allow(unsafe_code, reason = "promises on the structures of four ethtool commands")]

use std::io;

use super::ethtool::{Answer, ask};

// linux/ethtool.h
const GET_STRINGS: u32 = 0x0000_001b;
const GET_STRING_COUNTS: u32 = 0x0000_0037;
const GET_FEATURES: u32 = 0x0000_003a;
const SET_FEATURES: u32 = 0x0000_003b;
const FEATURES: u32 = 4;
const NAME_BYTES: usize = 32;

/// Words of 32 features each that there is room for here; Linux 6.18 has two of them.
const WORDS: usize = 4;
/// Features that there is room for.
const MOST: usize = 32 * WORDS;

/// What strips tags on reception, outermost kind last.
const STRIP: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];
/// What leaves tags beside the frame on transmission.
const INSERT: [&str; 2] = ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"];

/// What a port does to VLAN tags before a program sees the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stripping {
    /// Nothing.
    Off,
    /// This offload takes them off; it can be switched off.
    On(&'static str),
    /// This offload takes them off, and cannot be switched off.
    Fixed(&'static str),
}

/// `struct ethtool_sset_info` for one set.
#[repr(C)]
#[derive(Clone, Copy)]
struct Counts {
    command: u32,
    reserved: u32,
    sets: u64,
    found: [u32; 2],
}

/// `struct ethtool_gstrings`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Strings {
    command: u32,
    set: u32,
    length: u32,
    names: [[u8; NAME_BYTES]; MOST],
}

/// `struct ethtool_gfeatures`, each word `available, requested, active, never_changed`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Features {
    command: u32,
    size: u32,
    words: [[u32; 4]; WORDS],
}

/// `struct ethtool_sfeatures`, each word `valid, requested`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Wish {
    command: u32,
    size: u32,
    words: [[u32; 2]; WORDS],
}

// SAFETY: the layout of ethtool_sset_info with room for two counts, integers only; one bit of `sets` is
// asked for, so one count is written.
unsafe impl Answer for Counts {}
// SAFETY: the layout of ethtool_gstrings, integers only. The kernel writes as many names as its set has,
// which `known` has compared with `MOST` before it asks.
unsafe impl Answer for Strings {}
// SAFETY: the layout of ethtool_gfeatures, integers only; the kernel writes `size` words at most.
unsafe impl Answer for Features {}
// SAFETY: the layout of ethtool_sfeatures, integers only; the kernel only reads it.
unsafe impl Answer for Wish {}

/// One offload of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Offload {
    /// In effect.
    on: bool,
    /// Asked for by an operator or the driver, and in effect as soon as the driver can.
    wanted: bool,
    /// It can be changed.
    changeable: bool,
}

/// How many features this kernel has.
fn known(interface: &str) -> io::Result<usize> {
    let blank = Counts { command: GET_STRING_COUNTS, reserved: 0, sets: 1 << FEATURES, found: [0; 2] };
    let [count, _] = ask(interface, blank)?.found;
    let count = usize::try_from(count).map_err(io::Error::other)?;
    if count <= MOST { Ok(count) } else { Err(io::Error::other("a kernel with more offloads than known")) }
}

/// Number of a feature, or `None` if this kernel has none of that name; and the words it takes to name all.
fn number(interface: &str, name: &str) -> io::Result<(Option<usize>, usize)> {
    let count = known(interface)?;
    let blank = Strings { command: GET_STRINGS, set: FEATURES, length: 0, names: [[0; NAME_BYTES]; MOST] };
    let names = ask(interface, blank)?.names;
    let is = |found: &[u8; NAME_BYTES]| found.split(|byte| *byte == 0).next() == Some(name.as_bytes());
    Ok((names.iter().take(count).position(is), count.div_ceil(32)))
}

fn look(interface: &str, name: &str) -> io::Result<Offload> {
    let (Some(number), words) = number(interface, name)? else { return Ok(Offload::default()) };
    let size = u32::try_from(words).map_err(io::Error::other)?;
    let answer = ask(interface, Features { command: GET_FEATURES, size, words: [[0; 4]; WORDS] })?;
    Ok(answer.words.get(number / 32).map_or_else(Offload::default, |word| offload(*word, number % 32)))
}

fn offload([available, requested, active, never_changed]: [u32; 4], bit: usize) -> Offload {
    let has = |word: u32| (word >> bit) & 1 == 1;
    let changeable = has(available) && !has(never_changed);
    Offload { on: has(active), wanted: changeable && has(requested), changeable }
}

/// What an interface does to the tags of what it receives.
pub(super) fn stripping(interface: &str) -> io::Result<Stripping> {
    let mut found = Vec::new();
    for name in STRIP {
        found.push((name, look(interface, name)?));
    }
    Ok(judge(&found))
}

fn judge(offloads: &[(&'static str, Offload)]) -> Stripping {
    let on = |changeable| {
        let mut on = offloads.iter().filter(|(_, one)| one.on && one.changeable == changeable);
        on.next().map(|(name, _)| *name)
    };
    match (on(false), on(true)) {
        (Some(name), _) => Stripping::Fixed(name),
        (None, Some(name)) => Stripping::On(name),
        (None, None) => Stripping::Off,
    }
}

/// The offloads that strip tags, or would as soon as the driver can, and can be switched off.
pub(super) fn strip(interface: &str) -> io::Result<Vec<&'static str>> {
    let mut on = Vec::new();
    for name in STRIP {
        let found = look(interface, name)?;
        if found.changeable && (found.on || found.wanted) {
            on.push(name);
        }
    }
    Ok(on)
}

/// The offload by which an interface leaves the tags of what it transmits beside the frame, if one is on.
pub(super) fn inserting(interface: &str) -> io::Result<Option<&'static str>> {
    for name in INSERT {
        if look(interface, name)?.on {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Switches an offload. Whether the driver did it is for the caller to look at.
pub(super) fn set(interface: &str, name: &str, on: bool) -> io::Result<()> {
    let (Some(number), words) = number(interface, name)? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let size = u32::try_from(words).map_err(io::Error::other)?;
    let mut wish = Wish { command: SET_FEATURES, size, words: [[0; 2]; WORDS] };
    let bit = 1 << (number % 32);
    if let Some(word) = wish.words.get_mut(number / 32) {
        *word = [bit, if on { bit } else { 0 }];
    }
    ask(interface, wish).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Counts>(), 24);
        assert_eq!(size_of::<Strings>(), 12 + 32 * MOST);
        assert_eq!(size_of::<Features>(), 8 + 16 * WORDS);
        assert_eq!(size_of::<Wish>(), 8 + 8 * WORDS);
    }

    #[test]
    fn a_word_tells_what_is_on_and_what_can_be_changed() {
        let bit = 1 << 5;
        let read = |words| offload(words, 5);
        assert_eq!(read([bit, bit, bit, 0]), Offload { on: true, wanted: true, changeable: true });
        assert_eq!(read([bit, bit, 0, 0]), Offload { on: false, wanted: true, changeable: true });
        assert_eq!(read([bit, 0, 0, 0]), Offload { on: false, wanted: false, changeable: true });
        assert_eq!(read([0, 0, bit, 0]), Offload { on: true, wanted: false, changeable: false });
        assert_eq!(read([bit, bit, bit, bit]), Offload { on: true, wanted: false, changeable: false });
        assert_eq!(read([!bit, !bit, !bit, !bit]), Offload::default());
    }

    #[test]
    fn one_that_cannot_be_switched_off_decides() {
        let one = |on, changeable| Offload { on, wanted: false, changeable };
        let judge = |first, second| judge(&[("first", first), ("second", second)]);
        assert_eq!(judge(one(false, true), one(false, false)), Stripping::Off);
        assert_eq!(judge(one(false, true), one(true, true)), Stripping::On("second"));
        assert_eq!(judge(one(true, true), one(true, true)), Stripping::On("first"));
        assert_eq!(judge(one(true, true), one(true, false)), Stripping::Fixed("second"));
        assert_eq!(judge(one(false, true), one(true, false)), Stripping::Fixed("second"));
    }

    #[test]
    fn every_name_is_one_of_this_kernel() {
        for name in STRIP.iter().chain(&INSERT) {
            // The loopback is there in every namespace.
            assert!(number("lo", name).unwrap().0.is_some(), "{name}");
        }
        assert_eq!(number("lo", "no-such-offload").unwrap().0, None);
        assert_eq!(set("lo", "no-such-offload", true).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(stripping("lo").unwrap(), Stripping::Off);
    }
}
