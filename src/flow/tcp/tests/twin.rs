//! The slow twin: the same connection in a sequence space that never wraps, nothing packed, every fact in a
//! field of its own. Random streams, half of them near a bound, must go the same way with both.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

/// What one end has done, as far as it was seen.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the packed state is what it must not share")]
struct Person {
    spoken: bool,
    syn: Option<u64>,
    /// Past its half of the handshake, and: some segment of it was checked.
    talks: bool,
    checked: bool,
    next: u64,
    acked: Option<u64>,
    /// Largest window header, scaled after the handshake.
    window: u64,
    offered: Option<u8>,
    scale: Option<u32>,
    fin: Option<u64>,
    fin_acked: bool,
    reset: bool,
    doubted: bool,
    repeated: bool,
    stale: bool,
}

impl Person {
    fn only_syn(&self) -> bool {
        self.spoken && !self.talks
    }
    fn bytes(&self) -> u64 {
        self.window << self.scale.unwrap_or(0)
    }
    fn unknown(&self) -> bool {
        self.stale || !self.spoken
    }
    /// What it has acknowledged, or must first, or, while the peer is silent, where it began itself.
    fn edge(&self, peer: &Self) -> u64 {
        self.acked.or(peer.syn.map(|syn| syn + 1)).or(self.syn).unwrap_or(0)
    }
}

/// A segment in the space that never wraps.
#[derive(Clone, Copy, Debug)]
struct Segment {
    flags: u8,
    seq: u64,
    ack: u64,
    payload: u16,
    window: u16,
    scale: Option<u8>,
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap()
}

impl Segment {
    fn tcp(&self) -> Tcp {
        let Self { flags, seq, ack, payload, window, scale } = *self;
        Tcp {
            sport: 1,
            dport: 2,
            seq: low(seq),
            ack: low(ack),
            flags: TcpFlags(flags),
            window,
            payload,
            scale,
        }
    }
    fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
    fn end(&self) -> u64 {
        self.seq + u64::from(self.payload) + u64::from(self.is(SYN)) + u64::from(self.is(FIN))
    }
}

#[derive(Clone, Debug)]
struct Twin {
    people: [Person; 2],
    challenge: Option<u32>,
    unseen: bool,
    confirmed: bool,
    seen: u32,
}

impl Twin {
    fn of(people: [Person; 2], now: u32) -> Self {
        Self { people, challenge: None, unseen: false, confirmed: false, seen: now }
    }

    fn first(&mut self, s: &Segment, from_a: bool) -> bool {
        if s.flags & (SYN | ACK | RST | FIN) == SYN {
            let own = &mut self.people[usize::from(!from_a)];
            own.spoken = true;
            own.syn = Some(s.seq);
            own.next = s.end();
            own.window = u64::from(s.window.max(1));
            own.offered = s.scale;
            return true;
        }
        if s.is(RST) || !s.is(ACK) {
            return false;
        }
        self.unseen = true;
        self.unchecked(s, usize::from(!from_a));
        true
    }

    fn step(&mut self, s: &Segment, from_a: bool, now: u32) -> Step {
        let before = self.clone();
        let step = self.judge(s, usize::from(!from_a), now);
        match step {
            Step::Pass | Step::PassAndClose | Step::PassShortened => self.seen = now,
            Step::PassAside => {}
            Step::Refused(_) | Step::Over | Step::Anew => *self = before,
        }
        step
    }

    fn judge(&mut self, s: &Segment, o: usize, now: u32) -> Step {
        let (own, peer) = (self.people[o].clone(), self.people[1 - o].clone());
        let fins = own.fin_acked && peer.fin_acked;
        if own.reset || peer.reset || fins {
            if s.flags & (SYN | ACK | RST | FIN) == SYN {
                return if !own.spoken || s.seq > own.next { Step::Anew } else { Step::Over };
            }
            let exact = fins && s.end() == own.next && Some(s.ack) == own.acked;
            if exact && s.flags & (SYN | ACK | RST | FIN) == FIN | ACK {
                self.people[o].repeated = true;
                return Step::Pass;
            }
            let bare = s.flags & (SYN | ACK | RST | FIN) == ACK && s.payload == 0;
            let lately = now - self.seen < 59;
            return if exact && bare && peer.repeated && lately { Step::PassAside } else { Step::Over };
        }
        if s.is(SYN) && (s.is(RST) || s.is(FIN)) {
            return STATE;
        }
        if s.is(RST) {
            return self.reset(s, o);
        }
        let opening = own.only_syn() || peer.only_syn();
        if s.is(SYN) {
            return if opening { self.syn(s, o, now) } else { self.late_syn(s, o, now) };
        }
        if !s.is(ACK) {
            return STATE;
        }
        if own.stale || peer.stale || own.talks && !peer.spoken || peer.talks && !own.spoken {
            return self.unchecked(s, o);
        }
        if opening {
            if !own.spoken || !peer.spoken || !own.talks && !peer.talks {
                return STATE;
            }
            if s.seq < peer.edge(&own) || s.ack < own.edge(&peer) {
                return WINDOW;
            }
        }
        let data_end = s.seq + u64::from(s.payload);
        let right = peer.edge(&own) + peer.bytes();
        let oldest_ack = peer.next.saturating_sub(own.bytes().max(66_000));
        let in_window = data_end <= right
            && s.seq + peer.bytes() >= own.next
            && s.ack <= peer.next
            && s.ack >= oldest_ack;
        let after_fin = own.fin.is_some_and(|fin| s.end() > fin || s.is(FIN) && s.end() != fin);
        let early_fin = s.is(FIN) && s.end() < own.next;
        if !in_window || after_fin || early_fin {
            return WINDOW;
        }
        let me = &mut self.people[o];
        me.next = me.next.max(s.end());
        me.acked = Some(own.edge(&peer).max(s.ack));
        me.window = me.window.max(u64::from(s.window));
        (me.talks, me.checked) = (true, true);
        self.confirmed |= peer.checked;
        self.after(s, o)
    }

    /// A segment has passed: its FIN, the one it acknowledges, the doubt it ends.
    fn after(&mut self, s: &Segment, o: usize) -> Step {
        let acked = self.people[o].acked;
        let me = &mut self.people[o];
        me.doubted = false;
        if s.is(FIN) {
            me.fin = Some(s.end());
            me.checked = true;
        }
        let peer = &mut self.people[1 - o];
        peer.fin_acked |= peer.fin.is_some() && peer.fin == acked;
        if self.people.iter().all(|person| person.fin_acked) {
            self.people.iter_mut().for_each(|person| person.doubted = false);
            return Step::PassAndClose;
        }
        Step::Pass
    }

    fn unchecked(&mut self, s: &Segment, o: usize) -> Step {
        let (own, peer) = (self.people[o].clone(), self.people[1 - o].clone());
        let own_known = own.talks && !own.stale;
        let peer_known = peer.talks && !peer.stale;
        let beyond = own.fin.is_some_and(|fin| s.end() > fin || s.is(FIN) && s.end() != fin);
        let before =
            s.is(FIN) && (own_known && s.end() < own.next || peer_known && s.end() < peer.edge(&own));
        if beyond || before || peer.fin.is_some_and(|fin| s.ack > fin) {
            return WINDOW;
        }
        if !own.spoken || !peer.spoken {
            self.people.iter_mut().for_each(|person| person.scale = Some(14));
        }
        self.people[1 - o].stale |= peer.only_syn();
        let me = &mut self.people[o];
        if own.fin.is_none() {
            let known = if own_known {
                own.next
            } else if peer_known {
                peer.edge(&own)
            } else {
                0
            };
            me.next = known.max(s.end());
        }
        me.acked = Some(if own_known { own.edge(&peer).max(s.ack) } else { s.ack });
        me.window = me.window.max(u64::from(s.window)).max(1);
        (me.spoken, me.talks, me.stale) = (true, true, false);
        if !own_known && peer_known && peer.fin.is_none() {
            self.people[1 - o].next = peer.next.max(s.ack);
        }
        self.after(s, o)
    }

    fn reset(&mut self, s: &Segment, o: usize) -> Step {
        let (own, peer) = (&self.people[o], &self.people[1 - o]);
        let exact = if !own.spoken && peer.only_syn() {
            if !s.is(ACK) {
                return STATE;
            }
            if s.ack != peer.syn.unwrap() + 1 && s.ack != peer.next {
                return WINDOW;
            }
            true
        } else if own.only_syn() && !peer.spoken {
            if s.seq != own.syn.unwrap() + 1 && s.seq != own.next {
                return WINDOW;
            }
            true
        } else if peer.unknown() {
            false
        } else if peer.only_syn() && s.is(ACK) && (s.ack == own.edge(peer) || s.ack == peer.next) {
            true
        } else {
            let edge = peer.edge(own);
            if s.seq < edge || s.seq > edge + peer.bytes() {
                return WINDOW;
            }
            s.seq == edge
        };
        if exact {
            self.people.iter_mut().for_each(|person| person.doubted = false);
            self.people[o].reset = true;
            return Step::PassAndClose;
        }
        self.people[1 - o].doubted = true;
        Step::PassShortened
    }

    fn is_own_syn(own: &Person, peer: &Person, s: &Segment) -> bool {
        !peer.unknown() && s.seq + 1 == peer.edge(own) || s.end() == own.next
    }

    fn syn(&mut self, s: &Segment, o: usize, now: u32) -> Step {
        let (own, peer) = (self.people[o].clone(), self.people[1 - o].clone());
        if s.is(ACK) {
            if !peer.spoken || own.only_syn() && own.stale {
                return STATE;
            }
            let lowest = if own.spoken { own.edge(&peer) } else { peer.syn.unwrap() + 1 };
            let repeat = own.spoken && !Self::is_own_syn(&own, &peer, s);
            if s.ack < lowest || s.ack > peer.next || repeat {
                return WINDOW;
            }
            if !own.spoken {
                self.both_syns(s, o);
            }
            let me = &mut self.people[o];
            me.acked = Some(s.ack);
            me.checked |= !me.talks;
            me.talks = true;
            self.confirmed |= me.checked && peer.checked;
        } else if !own.spoken {
            self.both_syns(s, o);
        } else if !peer.spoken {
            if Some(s.seq) != own.syn {
                return Step::Anew;
            }
            let me = &mut self.people[o];
            me.next = me.next.max(s.end());
            me.window = me.window.max(u64::from(s.window));
            me.offered = s.scale.or(me.offered);
        } else if !Self::is_own_syn(&own, &peer, s) && now - self.seen <= 60 {
            return STATE;
        }
        self.people[o].doubted = false;
        Step::Pass
    }

    fn both_syns(&mut self, s: &Segment, o: usize) {
        let me = &mut self.people[o];
        me.spoken = true;
        me.stale = false;
        me.syn = Some(s.seq);
        me.next = s.end();
        me.window = u64::from(s.window.max(1));
        me.offered = s.scale;
        let both = self.people.iter().all(|person| person.offered.is_some());
        for person in &mut self.people {
            let scale = if both { u32::from(person.offered.unwrap()) } else { 0 };
            person.scale = Some(scale);
            person.window = (person.window + (1 << scale) - 1) >> scale;
        }
    }

    fn late_syn(&mut self, s: &Segment, o: usize, now: u32) -> Step {
        let (own, peer) = (self.people[o].clone(), self.people[1 - o].clone());
        if s.is(ACK) {
            if !own.spoken || !Self::is_own_syn(&own, &peer, s) || s.ack != own.edge(&peer) {
                return WINDOW;
            }
            self.people[o].doubted = false;
            return Step::Pass;
        }
        if self.challenge.is_some_and(|tick| now - tick <= 60) {
            return STATE;
        }
        self.challenge = Some(now);
        Step::PassAside
    }

    /// The same, packed.
    fn track(&self) -> Track {
        let [a, b] = &self.people;
        let state = |p: &Person| {
            let state = match p {
                Person { reset: true, .. } => 6,
                Person { fin_acked: true, .. } => 5,
                Person { fin: Some(_), .. } => 4,
                Person { spoken: false, .. } => 0,
                Person { talks: false, .. } => 1,
                Person { checked: false, .. } => 2,
                Person { .. } => 3,
            };
            state + if p.doubted || p.repeated || p.reset && !p.spoken { 8 } else { 0 }
        };
        let scale = |p: &Person| p.scale.map_or(p.offered.unwrap_or(15), |s| u8::try_from(s).unwrap());
        let end = |p: &Person| if p.spoken { low(p.next) } else { 0 };
        let acked = |p: &Person, q: &Person| if p.spoken { low(p.edge(q)) } else { 0 };
        let win = |p: &Person| u16::try_from(p.window).unwrap();
        Track {
            states: state(a) | state(b) << 4,
            scales: scale(a) | scale(b) << 4,
            window: Window {
                end: [end(a), end(b)],
                acked: [acked(a, b), acked(b, a)],
                win: [win(a), win(b)],
            },
            challenge: self.challenge.map_or(0, |tick| u16::try_from(tick & 0xffff).unwrap()),
            unseen: self.unseen,
            resync: [a.stale, b.stale],
            confirmed: self.confirmed,
        }
    }
}

/// A number that a segment's is near to.
#[derive(Clone, Copy, Debug)]
enum Near {
    Next,
    Begin,
    Left,
    Right,
    Edge,
}

#[derive(Clone, Debug)]
enum Op {
    Say { from_a: bool, flags: u8, seq: (Near, i64), ack: (Near, i64), rest: (u16, u16, Option<u8>) },
    Wait(u32),
    Resync(bool, bool),
}

fn near() -> impl Strategy<Value = Near> {
    prop_oneof![
        12 => Just(Near::Next),
        2 => Just(Near::Begin),
        2 => Just(Near::Left),
        2 => Just(Near::Right),
        3 => Just(Near::Edge),
    ]
}

fn offset() -> impl Strategy<Value = i64> {
    prop_oneof![10 => Just(0i64), 4 => -2..=2i64, 2 => -3000..3000i64, 1 => -(1i64 << 24)..1 << 24]
}

fn flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        16 => Just(ACK),
        5 => Just(ACK | PSH),
        3 => Just(SYN),
        4 => Just(SYN | ACK),
        3 => Just(FIN | ACK),
        1 => Just(RST),
        1 => Just(RST | ACK),
        1 => any::<u8>(),
    ]
}

fn scale() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![4 => (0..=14u8).prop_map(Some), 1 => Just(None)]
}

fn say() -> impl Strategy<Value = Op> {
    let payload = prop_oneof![3 => Just(0u16), 2 => 0..3u16, 3 => 0..1461u16, 1 => any::<u16>()];
    let window = prop_oneof![1 => Just(0u16), 3 => any::<u16>()];
    let rest = (payload, window, scale());
    (any::<bool>(), flags(), (near(), offset()), (near(), offset()), rest)
        .prop_map(|(from_a, flags, seq, ack, rest)| Op::Say { from_a, flags, seq, ack, rest })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        30 => say(),
        3 => prop_oneof![56..64u32, 0..200u32].prop_map(Op::Wait),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(a, b)| Op::Resync(a, b)),
    ]
}

/// How it begins: in full, up to some segment, or in the middle.
fn beginning() -> impl Strategy<Value = Vec<Op>> {
    let say = |from_a, flags, seq, scale, window| Op::Say {
        from_a,
        flags,
        seq: (seq, 0),
        ack: (Near::Next, 0),
        rest: (0, window, scale),
    };
    (scale(), scale(), any::<[u16; 3]>(), 0..6usize).prop_map(move |(a, b, [w1, w2, w3], kept)| {
        let mut ops = vec![
            say(A, SYN, Near::Next, a, w1),
            say(B, SYN | ACK, Near::Next, b, w2),
            say(A, ACK, Near::Next, None, w3),
        ];
        ops.truncate(kept);
        ops
    })
}

/// The segment that an operation means as things stand.
fn resolve(twin: &Twin, op: &Op) -> Option<(bool, Segment)> {
    let Op::Say { from_a, flags, seq, ack, rest: (payload, window, scale) } = *op else { return None };
    let [a, b] = &twin.people;
    let (own, peer) = if from_a { (a, b) } else { (b, a) };
    // Where one window is unknown, jumps stay small enough for 32 bits to tell before from after.
    let adrift = own.unknown() || peer.unknown();
    let number = |p: &Person, q: &Person, near| match near {
        Near::Begin => p.syn.unwrap_or(p.next),
        Near::Left if !adrift => p.next - q.bytes(),
        Near::Right if !adrift => q.edge(p) + q.bytes(),
        Near::Edge if !adrift => q.edge(p),
        Near::Next | Near::Left | Near::Right | Near::Edge => p.next,
    };
    let oldest = peer.next - own.bytes().max(66_000);
    let at = |number: u64, offset: i64| number.checked_add_signed(offset).unwrap();
    let seq = at(number(own, peer, seq.0), seq.1);
    let ack = match ack {
        (Near::Left, offset) if !adrift => at(oldest, offset),
        (near, offset) => at(number(peer, own, near), offset),
    };
    Some((from_a, Segment { flags, seq, ack, payload, window, scale }))
}

#[derive(Clone, Debug)]
struct Stream {
    base: [u32; 2],
    ops: Vec<Op>,
}

fn stream() -> impl Strategy<Value = Stream> {
    let near_wrap = any::<[u16; 2]>().prop_map(|low| low.map(|low| u32::MAX - u32::from(low)));
    let base = prop_oneof![any::<[u32; 2]>(), near_wrap];
    let begin = prop_oneof![4 => beginning(), 1 => Just(Vec::new())];
    (base, begin, proptest::collection::vec(op(), 1..60)).prop_map(|(base, mut ops, more)| {
        ops.extend(more);
        Stream { base, ops }
    })
}

/// Runs a stream through both. The steps that came, and the states they left.
fn follow(stream: &Stream) -> Result<Vec<(Step, u8)>, TestCaseError> {
    let person = |base: u32| Person { next: (1 << 40) + u64::from(base), ..Person::default() };
    let mut twin = Twin::of(stream.base.map(person), 0x0001_0001);
    let (mut now, mut track, mut came) = (twin.seen, None, Vec::new());
    for op in &stream.ops {
        match (op, &mut track) {
            (Op::Wait(ticks), _) => now += ticks,
            (Op::Resync(..), None) => {}
            (Op::Resync(a, b), Some(Track { resync, .. })) => {
                for (n, stale) in [*a, *b].into_iter().enumerate() {
                    resync[n] |= stale;
                    twin.people[n].stale |= stale;
                }
            }
            (Op::Say { .. }, None) => {
                let (from_a, segment) = resolve(&twin, op).unwrap();
                track = Track::first(&segment.tcp(), from_a);
                prop_assert_eq!(track.is_some(), twin.first(&segment, from_a));
                prop_assert_eq!(track.unwrap_or(twin.track()), twin.track());
            }
            (Op::Say { .. }, Some(track)) => {
                let (from_a, segment) = resolve(&twin, op).unwrap();
                let (before, seen, tcp) = (twin.clone(), twin.seen, segment.tcp());
                let step = twin.step(&segment, from_a, now);
                let answer = track.step(&tcp, from_a, seen, now);
                prop_assert_eq!(answer, (step, twin.track()), "{:?} {:?} on {:?}", from_a, segment, before);
                prop_assert_eq!(track.step_aside(&tcp, from_a, seen, now), answer);
                *track = answer.1;
                came.push((step, track.states));
            }
        }
    }
    Ok(came)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// After any stream the two agree on every step and on all that is remembered, wherever the numbers
    /// begin; and the inline check says nothing but what the whole function says.
    #[test]
    fn agrees_with_a_space_that_never_wraps(stream in stream()) {
        follow(&stream)?;
    }
}

#[test]
fn the_streams_come_to_every_step_and_state() {
    let mut runner = TestRunner::deterministic();
    let (mut steps, mut states) = (HashMap::new(), HashMap::new());
    for _ in 0..3000 {
        let stream = stream().new_tree(&mut runner).unwrap().current();
        for (step, state) in follow(&stream).unwrap() {
            *steps.entry(step).or_insert(0u32) += 1;
            *states.entry(state & 15).or_insert(0u32) += 1;
            *states.entry(state >> 4).or_insert(0u32) += 1;
        }
    }
    // Seven states, and but for the tombstone of a RST each with and without its mark.
    assert_eq!((steps.len(), states.len()), (8, 14), "{steps:?} {states:?}");
    let rare = steps.values().chain(states.values()).min();
    assert!(rare > Some(&20), "{steps:?} {states:?}");
}
