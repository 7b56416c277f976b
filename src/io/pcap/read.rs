//! One capture, packet by packet, whatever its format.

use std::fs::File;
use std::io::{Chain, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapReader, PcapTsResolution};
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgState};

use super::{CaptureError, Cause, Packet};

/// First bytes of a pcap: microseconds, nanoseconds, each in both byte orders.
const PCAP: [[u8; 4]; 4] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
];
/// All pcaps since 1998 are of version 2.4; older ones of 2 stand the same.
const PCAP_MAJOR: u16 = 2;
/// First bytes of a pcapng, a palindrome on purpose.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// What was read to recognise the format, then the rest.
type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

/// A capture being read.
pub struct Capture<R: Read = File> {
    file: String,
    format: Format<Whole<R>>,
    /// Packets read.
    number: u64,
    /// The time of the latest, for packets that have none.
    latest: u64,
    ended: bool,
}

enum Format<R: Read> {
    Pcap(PcapReader<R>),
    PcapNg(PcapNgReader<R>),
}

/// A packet as its format gives it.
struct Found {
    nanos: Option<u64>,
    length: u32,
    bytes: Vec<u8>,
    link: DataLink,
}

/// Why there is none.
enum Lost {
    Link(DataLink),
    Cause(Cause),
}

impl Capture {
    /// Opens a file.
    ///
    /// # Errors
    /// There is no such file, or what it begins with is no capture of Ethernet frames.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = path.display().to_string();
        match File::open(path) {
            Ok(reader) => Self::new(file, reader),
            Err(source) => Err(CaptureError::Open { file, source }),
        }
    }
}

impl<R: Read> Capture<R> {
    /// Begins to read what is called `file` in messages.
    ///
    /// # Errors
    /// What it begins with is no capture of Ethernet frames.
    pub fn new(file: String, mut reader: R) -> Result<Self, CaptureError> {
        let mut magic = Vec::new();
        if let Err(source) = reader.by_ref().take(4).read_to_end(&mut magic) {
            return Err(CaptureError::Open { file, source });
        }
        if magic.is_empty() {
            return Err(CaptureError::Empty { file });
        }
        let magic_bytes: Option<[u8; 4]> = magic.first_chunk().copied();
        let whole = Cursor::new(magic).chain(reader);
        let opened = match magic_bytes {
            Some(PCAPNG) => PcapNgReader::new(whole).map(Format::PcapNg).map_err(Cause::PcapNg),
            Some(magic) if PCAP.contains(&magic) => {
                PcapReader::new(whole).map(Format::Pcap).map_err(Cause::Pcap)
            }
            Some(_) | None => return Err(CaptureError::Foreign { file }),
        };
        if let Ok(Format::Pcap(reader)) = &opened {
            let PcapHeader { version_major: major, version_minor: minor, .. } = reader.header();
            if major != PCAP_MAJOR {
                return Err(CaptureError::Version { file, major, minor });
            }
        }
        match opened {
            Ok(format) => Ok(Self { file, format, number: 0, latest: 0, ended: false }),
            Err(cause) if cause.is_end_of_file() => Err(CaptureError::Truncated { file, number: 1 }),
            Err(cause) => Err(CaptureError::Broken { file, number: 1, cause }),
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The next packet. A pcapng's simple packets have no time: they take that of the packet before.
    ///
    /// # Errors
    /// The capture breaks off here; nothing comes after.
    pub fn next_packet(&mut self) -> Option<Result<Packet, CaptureError>> {
        if self.ended {
            return None;
        }
        let found = match &mut self.format {
            Format::Pcap(reader) => next_of_pcap(reader),
            Format::PcapNg(reader) => next_of_pcapng(reader),
        };
        let Some(found) = found else {
            self.ended = true;
            return None;
        };
        self.number += 1;
        let number = self.number;
        let lost = match found {
            Ok(found) if is_ethernet(found.link) => {
                let nanos = found.nanos.unwrap_or(self.latest);
                self.latest = nanos;
                let captured = u32::try_from(found.bytes.len()).unwrap_or(u32::MAX);
                // Some writers leave the length on the wire 0.
                let length = found.length.max(captured);
                return Some(Ok(Packet { number, nanos, length, bytes: found.bytes }));
            }
            Ok(found) => Lost::Link(found.link),
            Err(cause) => Lost::Cause(cause),
        };
        self.ended = true;
        let file = self.file.clone();
        Some(Err(match lost {
            Lost::Link(link) => CaptureError::Link { file, number, link },
            Lost::Cause(cause) if cause.is_end_of_file() => CaptureError::Truncated { file, number },
            Lost::Cause(cause) => CaptureError::Broken { file, number, cause },
        }))
    }
}

/// The lower sixteen bits are the type; above them a file may say how long its frame checksums are.
fn is_ethernet(link: DataLink) -> bool {
    u32::from(link) & 0xffff == u32::from(DataLink::ETHERNET)
}

fn next_of_pcap<R: Read>(reader: &mut PcapReader<R>) -> Option<Result<Found, Cause>> {
    let header = reader.header();
    let raw = match reader.next_raw_packet()? {
        Ok(raw) => raw,
        Err(error) => return Some(Err(Cause::Pcap(error))),
    };
    // At most 2^32 seconds and 2^32 microseconds: no overflow, also where a writer counts beyond a second.
    let fraction = u64::from(raw.ts_frac)
        * match header.ts_resolution {
            PcapTsResolution::MicroSecond => 1_000,
            PcapTsResolution::NanoSecond => 1,
        };
    Some(Ok(Found {
        nanos: Some(u64::from(raw.ts_sec) * 1_000_000_000 + fraction),
        length: raw.orig_len,
        bytes: raw.data.into_owned(),
        link: header.datalink,
    }))
}

fn next_of_pcapng<R: Read>(reader: &mut PcapNgReader<R>) -> Option<Result<Found, Cause>> {
    loop {
        let (block, state) = match reader.next_block()? {
            Ok(next) => next,
            Err(error) => return Some(Err(Cause::PcapNg(error))),
        };
        let (interface, time, length, bytes) = match block {
            Block::EnhancedPacket(packet) => {
                (packet.interface_id, Some(packet.timestamp), packet.original_len, packet.data)
            }
            Block::Packet(packet) => {
                (packet.interface_id.into(), Some(packet.timestamp), packet.original_len, packet.data)
            }
            Block::SimplePacket(packet) => (0, None, packet.original_len, packet.data),
            Block::SectionHeader(_)
            | Block::InterfaceDescription(_)
            | Block::NameResolution(_)
            | Block::InterfaceStatistics(_)
            | Block::SystemdJournalExport(_)
            | Block::CustomCopiable(_)
            | Block::CustomNonCopiable(_)
            | Block::Unknown(_) => continue,
        };
        return Some(match time.map(nanos).transpose() {
            Ok(nanos) => {
                Ok(Found { nanos, length, bytes: bytes.into_owned(), link: link(state, interface) })
            }
            Err(cause) => Err(cause),
        });
    }
}

fn nanos(time: Duration) -> Result<u64, Cause> {
    u64::try_from(time.as_nanos()).map_err(|_| Cause::Time)
}

/// The link type of an interface. The reader has refused packets of one that was not described.
fn link(state: &PcapNgState, interface: u32) -> DataLink {
    let interface = usize::try_from(interface).ok().and_then(|i| state.interfaces().get(i));
    interface.map_or(DataLink::NULL, |interface| interface.linktype)
}
