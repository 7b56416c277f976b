//! A far end of the wire: frames are sent there byte by byte, and whatever arrives is kept whole.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::{Xdp, XdpMode};
use pnet_datalink::{Channel, Config, DataLinkSender};

use crate::rig::traffic::monotonic;
use crate::rig::{Rig, compile};

/// One end: a packet socket that sends, an XDP program that receives.
pub(crate) struct Tap {
    sender: Box<dyn DataLinkSender>,
    arrivals: RingBuf<MapData>,
    missed: Array<MapData, u64>,
    arrived: VecDeque<Vec<u8>>,
    /// The program leaves with it.
    _program: Ebpf,
}

/// Compiles the receiving half once for both ends.
pub(crate) fn object(rig: &Rig) -> std::path::PathBuf {
    let object = rig.folder().join("tap.bpf.o");
    compile("tests/conformance/tap.bpf.c", &object);
    object
}

/// What sends at the link `wire` of a host.
pub(crate) fn sender(rig: &Rig, host: &str) -> Box<dyn DataLinkSender> {
    rig.at(host, || {
        let wire = pnet_datalink::interfaces().into_iter().find(|link| link.name == "wire").unwrap();
        let config = Config { write_timeout: Some(Duration::from_secs(10)), ..Config::default() };
        match pnet_datalink::channel(&wire, config).unwrap() {
            Channel::Ethernet(sender, _) => sender,
            _ => panic!("not an Ethernet channel"),
        }
    })
}

impl Tap {
    /// At the link `wire` of a host.
    pub(crate) fn at(rig: &Rig, host: &str, object: &Path) -> Self {
        let index = rig.link(host, "wire")["ifindex"].as_u64().unwrap();
        let sender = sender(rig, host);
        let mut program = rig.at(host, || {
            let mut program = Ebpf::load_file(object).unwrap();
            let tap: &mut Xdp = program.program_mut("tap").unwrap().try_into().unwrap();
            tap.load().unwrap();
            tap.attach_to_if_index(u32::try_from(index).unwrap(), XdpMode::Driver).unwrap();
            program
        });
        let arrivals = RingBuf::try_from(program.take_map("ARRIVALS").unwrap()).unwrap();
        let missed = Array::try_from(program.take_map("MISSED").unwrap()).unwrap();
        Self { sender, arrivals, missed, arrived: VecDeque::new(), _program: program }
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.sender.send_to(frame, None).unwrap().unwrap();
    }

    /// What arrived up to this frame, which is left out; `None`: it did not come within 20 s.
    pub(crate) fn until(&mut self, last: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut before = Vec::new();
        let end = monotonic() + 20_000_000_000;
        while monotonic() < end {
            self.look();
            while let Some(frame) = self.arrived.pop_front() {
                if frame == last {
                    return Some(before);
                }
                before.push(frame);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// What arrived since the last look.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        self.look();
        self.arrived.drain(..).collect()
    }

    fn look(&mut self) {
        while let Some(arrival) = self.arrivals.next() {
            let (length, bytes) = arrival.split_first_chunk::<8>().unwrap();
            let length = usize::try_from(u64::from_ne_bytes(*length)).unwrap();
            self.arrived.push_back(bytes[..length].to_vec());
        }
        assert_eq!(self.missed.get(&0, 0).unwrap(), 0, "the tap had no room for a frame");
    }
}
