//! One flow in 128 bytes: the layout of FLOWS.md §1, asserted.
//!
//! What it is: fields and their bytes; a hit of IPv4 touches the first cache line only, of IPv6 both. What
//! it is not: it judges nothing and knows no time but the ticks it is given. Integers in host order,
//! addresses and ports as on the wire. docs/ARCHITECTURE.md draws the layout.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, transmute_mut, transmute_ref};

use super::Flags;
use super::tcp::Window;
use crate::policy::{Denial, Mode, RuleNumber};
use crate::wire::Key;

/// What both families have in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Head {
    pub(super) generation: u32,
    pub(super) judge_at: u32,
    pub(super) seen: u32,
    pub(super) flags: u16,
    /// TCP's, of both ends; of an ICMP question with its answers, whether its opener sent an answer.
    pub(super) states: u8,
    pub(super) scales: u8,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct V4 {
    ends: u64,
    tail: u64,
    window: Window,
    recent_packets: [u16; 2],
    recent_bytes: [u32; 2],
    packets: [u64; 2],
    bytes: [u64; 2],
    started: u32,
    rule: u32,
    from: u32,
    to: u32,
    cache: u32,
    half_open: u16,
    spare: u16,
    spare_too: u32,
    check: u32,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct V6 {
    ends: [u64; 4],
    tail: u64,
    bytes: [u64; 2],
    packets_low: [u32; 2],
    window: Window,
    rule: u32,
    started: u32,
    packets_high: [u16; 2],
    from: [u8; 3],
    to: [u8; 3],
    half_open: u16,
    cache: u32,
    check: u32,
}

/// The entry of a flow.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Slot {
    pub(super) head: Head,
    body: [u64; 14],
}

const _: () = {
    use std::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Slot>() == 128 && align_of::<Slot>() == 64);
    assert!(size_of::<Head>() == 16 && size_of::<Window>() == 20);
    assert!(size_of::<V4>() == 112 && size_of::<V6>() == 112);
    assert!(offset_of!(Slot, body) == 16);
    // As FLOWS.md §1 counts, from the start of the slot.
    assert!(16 + offset_of!(V4, tail) == 24 && 16 + offset_of!(V4, window) == 32);
    assert!(16 + offset_of!(V4, recent_packets) == 52 && 16 + offset_of!(V4, recent_bytes) == 56);
    assert!(16 + offset_of!(V4, packets) == 64 && 16 + offset_of!(V4, bytes) == 80);
    assert!(16 + offset_of!(V4, started) == 96 && 16 + offset_of!(V4, rule) == 100);
    assert!(16 + offset_of!(V4, from) == 104 && 16 + offset_of!(V4, to) == 108);
    assert!(16 + offset_of!(V4, cache) == 112 && 16 + offset_of!(V4, half_open) == 116);
    assert!(16 + offset_of!(V4, check) == 124);
    assert!(16 + offset_of!(V6, tail) == 48 && 16 + offset_of!(V6, bytes) == 56);
    assert!(16 + offset_of!(V6, packets_low) == 72 && 16 + offset_of!(V6, window) == 80);
    assert!(16 + offset_of!(V6, rule) == 100 && 16 + offset_of!(V6, started) == 104);
    assert!(16 + offset_of!(V6, packets_high) == 108 && 16 + offset_of!(V6, from) == 112);
    assert!(16 + offset_of!(V6, to) == 115 && 16 + offset_of!(V6, half_open) == 118);
    assert!(16 + offset_of!(V6, cache) == 120 && 16 + offset_of!(V6, check) == 124);
};

/// The rule's word: the denial + 1 in the top three bits, the rule's number below.
const RULE_BITS: u32 = 28;
const NO_RULE: u32 = (1 << RULE_BITS) - 1;

/// Rules a table may number: what a flow can remember.
pub const MOST_RULES: u32 = NO_RULE;

impl Slot {
    /// No flow.
    pub const EMPTY: Self = Self {
        head: Head { generation: 0, judge_at: 0, seen: 0, flags: 0, states: 0, scales: 0 },
        body: [0; 14],
    };

    fn v4(&self) -> &V4 {
        transmute_ref!(&self.body)
    }

    fn v4_mut(&mut self) -> &mut V4 {
        transmute_mut!(&mut self.body)
    }

    fn v6(&self) -> &V6 {
        transmute_ref!(&self.body)
    }

    fn v6_mut(&mut self) -> &mut V6 {
        transmute_mut!(&mut self.body)
    }

    #[inline]
    pub(super) const fn has(&self, flags: Flags) -> bool {
        self.head.flags & flags.0 == flags.0
    }

    pub(super) const fn set(&mut self, flags: Flags, on: bool) {
        if on {
            self.head.flags |= flags.0;
        } else {
            self.head.flags &= !flags.0;
        }
    }

    /// Whether it holds the flow with this key.
    #[inline]
    pub(super) fn is(&self, key: &Key) -> bool {
        let ([w0, w1, w2, w3], tail) = key.words();
        let [b0, b1, b2, b3, b4, ..] = self.body;
        let family = self.head.flags & (Flags::LIVE.0 | Flags::V6.0);
        if key.is_v6() {
            family == Flags::LIVE.0 | Flags::V6.0
                && (b4 ^ tail) | (b0 ^ w0) | (b1 ^ w1) | (b2 ^ w2) | (b3 ^ w3) == 0
        } else {
            family == Flags::LIVE.0 && (b0 ^ w0) | (b1 ^ tail) == 0
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Key {
        let [b0, b1, b2, b3, b4, ..] = self.body;
        if self.has(Flags::V6) {
            Key::from_words([b0, b1, b2, b3], b4, true)
        } else {
            Key::from_words([b0, 0, 0, 0], b1, false)
        }
    }

    /// Writes what a new flow begins with over everything else. Not yet live.
    pub(super) fn begin(&mut self, key: &Key, head: Head, rule_word: u32, started: u32) {
        *self = Self::EMPTY;
        let (ends, tail) = key.words();
        self.head = Head { flags: head.flags | Flags::V6.when(key.is_v6()), ..head };
        if key.is_v6() {
            let body = self.v6_mut();
            (body.ends, body.tail) = (ends, tail);
            (body.rule, body.started) = (rule_word, started);
        } else {
            let [first, ..] = ends;
            let body = self.v4_mut();
            (body.ends, body.tail) = (first, tail);
            (body.rule, body.started) = (rule_word, started);
        }
    }

    /// Something in its second line.
    #[inline]
    pub(super) const fn second_line(&self) -> &u64 {
        let [_, _, _, _, _, _, second, ..] = &self.body;
        second
    }

    /// Its windows.
    #[inline]
    pub(super) fn window(&self) -> &Window {
        if self.has(Flags::V6) { &self.v6().window } else { &self.v4().window }
    }

    /// Its windows, to change them.
    #[inline]
    pub(super) fn window_mut(&mut self) -> &mut Window {
        if self.has(Flags::V6) { &mut self.v6_mut().window } else { &mut self.v4_mut().window }
    }

    /// The number of its place among the half-open, while it is one of them; later the time of the latest
    /// SYN that passed on the live connection.
    pub(super) fn half_open(&self) -> u16 {
        if self.has(Flags::V6) { self.v6().half_open } else { self.v4().half_open }
    }

    pub(super) fn set_half_open(&mut self, word: u16) {
        if self.has(Flags::V6) {
            self.v6_mut().half_open = word;
        } else {
            self.v4_mut().half_open = word;
        }
    }

    /// Counts a packet of the end `a` or the other.
    #[inline]
    pub(super) fn count(&mut self, from_a: bool, length: u32) {
        if self.has(Flags::V6) { self.count_v6(from_a, length) } else { self.count_v4(from_a, length) }
    }

    #[inline]
    fn count_v4(&mut self, from_a: bool, length: u32) {
        let body = self.v4_mut();
        let ([packets, other_packets], [bytes, other_bytes]) =
            (&mut body.recent_packets, &mut body.recent_bytes);
        let (packets, bytes) = if from_a { (packets, bytes) } else { (other_packets, other_bytes) };
        *packets += 1;
        *bytes = bytes.wrapping_add(length);
        // A frame is shorter than 2^16: 2^15 of them fit 2^31 bytes.
        if *packets >= 1 << 15 {
            self.fold();
        }
    }

    #[inline]
    fn count_v6(&mut self, from_a: bool, length: u32) {
        let body = self.v6_mut();
        let ([low, other_low], [high, other_high]) = (&mut body.packets_low, &mut body.packets_high);
        let (low, high) = if from_a { (low, high) } else { (other_low, other_high) };
        let (sum, carry) = low.overflowing_add(1);
        *low = sum;
        *high = high.wrapping_add(u16::from(carry));
        let [bytes, other_bytes] = &mut body.bytes;
        let bytes = if from_a { bytes } else { other_bytes };
        *bytes = bytes.wrapping_add(u64::from(length));
    }

    #[cold]
    fn fold(&mut self) {
        let body = self.v4_mut();
        for (sum, recent) in body.packets.iter_mut().zip(&mut body.recent_packets) {
            *sum = sum.wrapping_add(u64::from(std::mem::take(recent)));
        }
        for (sum, recent) in body.bytes.iter_mut().zip(&mut body.recent_bytes) {
            *sum = sum.wrapping_add(u64::from(std::mem::take(recent)));
        }
    }

    /// Packets and bytes that `a` sent, and that `b` sent.
    #[must_use]
    pub fn counts(&self) -> [(u64, u64); 2] {
        if self.has(Flags::V6) {
            let body = self.v6();
            let ([la, lb], [ha, hb], [a, b]) = (body.packets_low, body.packets_high, body.bytes);
            let packets = |high: u16, low: u32| u64::from(high) << 32 | u64::from(low);
            [(packets(ha, la), a), (packets(hb, lb), b)]
        } else {
            let body = self.v4();
            let ([pa, pb], [ra, rb]) = (body.packets, body.recent_packets);
            let ([ba, bb], [sa, sb]) = (body.bytes, body.recent_bytes);
            [(pa + u64::from(ra), ba + u64::from(sa)), (pb + u64::from(rb), bb + u64::from(sb))]
        }
    }

    pub(super) fn rule_word(&self) -> u32 {
        if self.has(Flags::V6) { self.v6().rule } else { self.v4().rule }
    }

    pub(super) fn set_rule_word(&mut self, word: u32) {
        if self.has(Flags::V6) {
            self.v6_mut().rule = word;
        } else {
            self.v4_mut().rule = word;
        }
    }

    /// The tick it was opened at.
    #[must_use]
    pub fn started(&self) -> u32 {
        if self.has(Flags::V6) { self.v6().started } else { self.v4().started }
    }
}

/// Denial and rule as one word.
pub(super) const fn rule_word(denial: Option<Denial>, rule: RuleNumber) -> u32 {
    let code = match denial {
        None => 0,
        Some(Denial::Spoofed) => 1,
        Some(Denial::WrongVlan) => 2,
        Some(Denial::SameSide) => 3,
        Some(Denial::Guardrail) => 4,
        Some(Denial::Rule) => 5,
        Some(Denial::AccountNotHeld) => 6,
        Some(Denial::NoRule) => 7,
        Some(Denial::GateAddress) => 8,
        Some(Denial::LinkLocal) => 9,
        Some(Denial::UniqueLocal) => 10,
    };
    let number = if rule.0 < NO_RULE { rule.0 } else { NO_RULE };
    code << RULE_BITS | number
}

/// The other way.
pub(super) const fn read_rule_word(word: u32) -> (Option<Denial>, RuleNumber) {
    let denial = match word >> RULE_BITS {
        0 => None,
        1 => Some(Denial::Spoofed),
        2 => Some(Denial::WrongVlan),
        3 => Some(Denial::SameSide),
        4 => Some(Denial::Guardrail),
        5 => Some(Denial::Rule),
        6 => Some(Denial::AccountNotHeld),
        8 => Some(Denial::GateAddress),
        9 => Some(Denial::LinkLocal),
        10 => Some(Denial::UniqueLocal),
        _ => Some(Denial::NoRule),
    };
    let number = word & NO_RULE;
    (denial, if number == NO_RULE { RuleNumber::NONE } else { RuleNumber(number) })
}

/// A mode as two bits of the flags, and back.
pub(super) const fn mode_bits(mode: Mode) -> u16 {
    match mode {
        Mode::Observe => 0,
        Mode::Simulate => Flags::SIMULATE.0,
        Mode::Enforce => Flags::ENFORCE.0,
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (denial, rule) = read_rule_word(self.rule_word());
        f.debug_struct("Slot")
            .field("key", &self.key())
            .field("head", &self.head)
            .field("denial", &denial)
            .field("rule", &rule)
            .field("started", &self.started())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
