//! Any frames in any order, from both sides, at any pace, through the whole worker over memory ports:
//! every frame ends once, no frame is lost to its pool, and the counters add up.
//!
//! Input: steps of one head byte (bit 0: side, bit 1: end the burst here, bits 2–7: seconds that pass) and
//! a frame behind its length in two bytes.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use libfuzzer_sys::fuzz_target;
use portcullis::flow::Owner;
use portcullis::io::clock::{Clock, Reading};
use portcullis::io::memory::{Drain, FRAME_SIZE, MemoryQueuePair};
use portcullis::io::{Heartbeat, QueuePair};
use portcullis::pipeline::Snapshot;
use portcullis::policy::{Moment, compile, read::read_text};
use portcullis::wire::Side;
use portcullis::worker::{Orders, Policy, Worker, WorkerFace};

const POOL: u32 = 16;
const FLOWS: u32 = 8;

struct Silent;
impl Heartbeat for Silent {
    fn beat(&self, _boot_nanos: u64) {}
}

struct Rig {
    worker: Worker<MemoryQueuePair, Silent>,
    face: Arc<WorkerFace>,
    now: u64,
}

impl Rig {
    fn new() -> Self {
        let text = include_str!("burst.toml").to_owned();
        let loaded = read_text(vec![("burst.toml".to_owned(), text)]).expect("the policy of this target");
        let table = compile(&loaded.model);
        let face = Arc::new(WorkerFace::new(0, None));
        let orders = Orders {
            policy: Arc::new(ArcSwap::from_pointee(Policy { generation: 1, loaded, table })),
            stop: Arc::new(AtomicBool::new(false)),
            heartbeat: 500_000_000,
        };
        // A TX ring below the pool: the way out is full now and then.
        let pair = MemoryQueuePair::new(POOL, 12, Drain::Keep);
        let own = (Owner::new(1, (1, 2)), 0, FLOWS);
        let worker = Worker::new(pair, Silent, Clock::start(), own, Arc::clone(&face), orders)
            .expect("the histogram's bounds are constants");
        Self { worker, face, now: 1_800_000_000_000_000_000 }
    }

    fn total(&self) -> [u64; 4] {
        let Snapshot { sides, .. } = self.face.counters.snapshot();
        let mut sum = [0; 4];
        for side in &sides {
            assert!(side.balances(), "{side:?}");
            sum[0] += side.rx_packets;
            sum[1] += side.forwarded_packets;
            sum[2] += side.dropped.iter().sum::<u64>();
            sum[3] += side.rx_bytes;
        }
        sum
    }

    fn turn(&mut self, offered: &mut u64, octets: &mut u64) {
        let before = self.total();
        self.worker.turn(&Reading { boot: self.now, now: Moment(self.now) });
        let after = self.total();
        assert_eq!(after[0] - before[0], *offered, "every frame is taken once");
        assert_eq!(after[3] - before[3], *octets);
        let mut out = 0;
        for side in Side::BOTH {
            while let Some(frame) = self.worker.queues().take_sent(side) {
                assert!(frame.len() <= FRAME_SIZE);
                out += 1;
            }
        }
        assert_eq!(after[1] - before[1], out, "what counts as forwarded left");
        let census = self.worker.queues().census();
        assert_eq!((census.held, census.sending, census.total()), (0, 0, 2 * POOL));
        while self.face.events.pop().is_some() {}
        (*offered, *octets) = (0, 0);
    }
}

thread_local!(static RIG: RefCell<Rig> = RefCell::new(Rig::new()));

fuzz_target!(|input: &[u8]| {
    RIG.with_borrow_mut(|rig| {
        // What the input before left behind has ended by then: each input starts on an empty table.
        rig.now += 100_000 * 1_000_000_000;
        let (mut offered, mut octets) = (0, 0);
        let mut rest = input;
        while let Some(([head, long, short], tail)) = rest.split_first_chunk::<3>() {
            let length = usize::from(u16::from_be_bytes([*long, *short])).min(tail.len()).min(FRAME_SIZE);
            let (frame, tail) = tail.split_at(length);
            rest = tail;
            let side = if head & 1 == 0 { Side::Outside } else { Side::Inside };
            if rig.worker.queues().inject(side, frame) {
                offered += 1;
                octets += length as u64;
            }
            if head & 2 != 0 || offered == u64::from(POOL) {
                rig.now += u64::from(head >> 2) * 1_000_000_000;
                rig.turn(&mut offered, &mut octets);
            }
        }
        rig.turn(&mut offered, &mut octets);
    });
});
