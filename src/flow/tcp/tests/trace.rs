//! A transfer as it happens: two ends that send as TCP does, with losses before and behind the gate, reordering,
//! retransmissions, windows that shut, scale 14 and numbers that wrap. Nothing of it may be refused.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const MSS: u64 = 1460;

/// Numbers of one stream: its data is 0 to `total`, its FIN is `total`; both ends count from 0.
#[derive(Clone, Copy, Debug)]
struct Segment {
    seq: u64,
    length: u64,
    fin: bool,
    ack: u64,
    window: u16,
}

/// One end: it sends what its peer's window allows, repeats what is lost, and reads in bursts.
struct Host {
    total: u64,
    unacked: u64,
    next: u64,
    peer_edge: u64,
    expected: u64,
    early: BTreeMap<u64, u64>,
    peer_total: u64,
    unread: u64,
    buffer: u64,
}

impl Host {
    fn new(total: u64, peer_total: u64, buffer: u64) -> Self {
        let (unacked, next, expected, unread) = (0, 0, 0, 0);
        let early = BTreeMap::new();
        Self { total, unacked, next, peer_edge: buffer, expected, early, peer_total, unread, buffer }
    }

    fn segment(&self, seq: u64, length: u64) -> Segment {
        let data = length.min(self.total.saturating_sub(seq));
        let window = u16::try_from((self.buffer - self.unread) >> 14).unwrap();
        Segment { seq, length: data, fin: data < length, ack: self.expected, window }
    }

    /// New data, as far as the window goes.
    fn send(&mut self) -> Option<Segment> {
        let room = self.peer_edge.saturating_sub(self.next).min(MSS);
        let length = room.min(self.total + 1 - self.next.min(self.total + 1));
        if length == 0 {
            return None;
        }
        let segment = self.segment(self.next, length);
        self.next += length;
        Some(segment)
    }

    /// The timer: the oldest that is not acknowledged, or a byte into a window that is shut, or a keep-alive.
    fn repeat(&mut self) -> Segment {
        let length = (self.next - self.unacked).min(MSS);
        if length > 0 {
            return self.segment(self.unacked, length);
        }
        if self.next <= self.total {
            self.next += 1;
            return self.segment(self.unacked, 1);
        }
        self.segment(self.next - 1, 0)
    }

    /// Takes a segment, and answers what is not a bare ACK in order.
    fn hear(&mut self, s: Segment) -> Option<Segment> {
        self.unacked = self.unacked.max(s.ack);
        self.peer_edge = self.peer_edge.max(s.ack + (u64::from(s.window) << 14));
        let end = s.seq + s.length + u64::from(s.fin);
        let fits = end <= self.expected + self.buffer - self.unread + 1;
        if s.length + u64::from(s.fin) > 0 && fits {
            let known = self.early.entry(s.seq).or_insert(end);
            *known = (*known).max(end);
            while let Some((&seq, &end)) =
                self.early.first_key_value().filter(|(seq, _)| **seq <= self.expected)
            {
                self.unread += end.min(self.peer_total).saturating_sub(self.expected.min(self.peer_total));
                self.expected = self.expected.max(end);
                self.early.remove(&seq);
            }
            self.unread = self.unread.min(self.buffer);
        }
        let answers = s.length > 0 || s.fin || s.seq < self.expected;
        answers.then(|| self.segment(self.next, 0))
    }

    fn done(&self) -> bool {
        self.unacked == self.total + 1 && self.expected == self.peer_total + 1
    }
}

/// A fixed sequence of chances.
struct Chance(u64);

impl Chance {
    fn of(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[derive(Default, Debug)]
struct Tally {
    passed: u32,
    lost_before: u32,
    lost_behind: u32,
    overtaken: u32,
    repeated: u32,
    shut: u32,
    over: u32,
}

/// Runs a transfer between a and b until both have everything; `seed` decides what is lost and overtaken.
fn transfer(seed: u64, isn: [u32; 2], scale: u8, totals: [u64; 2]) -> (Line, Tally) {
    let begin = |isn| with_scale(scale, with_window(40, segment(SYN, isn, 0, 0)));
    let mut line = Line::begin(begin(isn[0]));
    line.says(
        B,
        Tcp { flags: TcpFlags(SYN | ACK), ack: isn[0].wrapping_add(1), ..begin(isn[1]) },
        Step::Pass,
    );
    let third = segment(ACK, isn[0].wrapping_add(1), isn[1].wrapping_add(1), 0);
    line.says(A, with_window(40, third), Step::Pass);
    let buffer = 40u64 << 14;
    let mut hosts = [Host::new(totals[0], totals[1], buffer), Host::new(totals[1], totals[0], buffer)];
    // The window of a SYN is not scaled.
    hosts[0].peer_edge = 40;
    let mut before = [VecDeque::new(), VecDeque::new()];
    let mut behind: [VecDeque<Segment>; 2] = [VecDeque::new(), VecDeque::new()];
    let (mut chance, mut tally) = (Chance(seed), Tally::default());
    let number = |isn: u32, at: u64| u32::try_from((u64::from(isn) + 1 + at) & 0xffff_ffff).unwrap();
    for turn in 0..400_000u32 {
        if hosts.iter().all(Host::done) {
            return (line, tally);
        }
        let from = chance.of(2);
        if before[from].len() < 60
            && let Some(segment) = hosts[from].send()
        {
            before[from].push_back(segment);
        }
        // The gate.
        for from in 0..2 {
            let place = chance.of(3);
            let Some(s) = before[from].remove(place).or_else(|| before[from].pop_front()) else { continue };
            tally.overtaken += u32::from(place > 0);
            if chance.of(25) == 0 {
                tally.lost_before += 1;
                continue;
            }
            let tcp = Tcp {
                sport: 1,
                dport: 2,
                seq: number(isn[from], s.seq),
                ack: number(isn[1 - from], s.ack),
                flags: TcpFlags(if s.fin { FIN | ACK } else { ACK }),
                window: s.window,
                payload: u16::try_from(s.length).unwrap(),
                scale: None,
            };
            let closed = line.track.phase() == Phase::Closed;
            let step = line.asks(from == 0, tcp);
            line.says(from == 0, tcp, step);
            let through = matches!(step, Step::Pass | Step::PassAndClose | Step::PassAside);
            assert!(
                through || closed && step == Step::Over,
                "turn {turn}: {step:?} {tcp:?} on {:?}",
                line.track
            );
            tally.over += u32::from(!through);
            tally.passed += u32::from(through);
            tally.shut += u32::from(s.window == 0);
            if through && chance.of(25) > 0 {
                behind[1 - from].push_back(s);
            } else {
                tally.lost_behind += 1;
            }
        }
        for to in 0..2 {
            let place = chance.of(3);
            let heard = behind[to].remove(place).or_else(|| behind[to].pop_front());
            if let Some(answer) = heard.and_then(|s| hosts[to].hear(s)) {
                before[to].push_back(answer);
            }
        }
        // Its application reads all, seldom.
        if chance.of(900) == 0 {
            for host in 0..2 {
                hosts[host].unread = 0;
                before[host].push_back(hosts[host].segment(hosts[host].next, 0));
            }
        }
        if before.iter().chain(&behind).all(VecDeque::is_empty) {
            tally.repeated += 2;
            for host in 0..2 {
                before[host].push_back(hosts[host].repeat());
            }
        }
    }
    panic!("the transfer did not end: {tally:?} {:?}", line.track);
}

#[test]
fn nothing_of_a_lossy_transfer_is_refused() {
    let mut sum = Tally::default();
    for seed in 0..6 {
        let isn = [u32::MAX - 300_000, u32::MAX - 5];
        let (line, tally) = transfer(seed, isn, 14, [2_000_000, 150_000]);
        assert_eq!((line.track.states & 0x77, line.track.phase()), (0x55, Phase::Closed));
        // 2 000 000 bytes, SYN and FIN later.
        let end = |isn: u32, total: u32| isn.wrapping_add(total + 2);
        assert_eq!(line.track.window.end, [end(isn[0], 2_000_000), end(isn[1], 150_000)]);
        assert!(
            line.track.window.end[0] < isn[0] && line.track.window.end[1] < isn[1],
            "both have wrapped"
        );
        sum.passed += tally.passed;
        sum.lost_before += tally.lost_before;
        sum.lost_behind += tally.lost_behind;
        sum.overtaken += tally.overtaken;
        sum.repeated += tally.repeated;
        sum.shut += tally.shut;
        sum.over += tally.over;
    }
    assert!(sum.passed > 10_000 && sum.over < 100, "{sum:?}");
    let rare = [sum.lost_before, sum.lost_behind, sum.overtaken, sum.repeated, sum.shut];
    assert!(rare.iter().all(|count| *count > 20), "it was not that kind of transfer: {sum:?}");
}
