//! Why a capture can't be read on, and where.

use std::fmt;
use std::io;

use pcap_file::DataLink;
use pcap_file::pcap::PcapReadError;
use pcap_file::pcapng::PcapNgReadError;

/// A capture that does not open, or breaks off. Every message begins with the file.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file can't be had.
    #[error("{file}: {source}")]
    Open {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// Not a byte in it.
    #[error("{file} is empty: a capture begins with a header")]
    Empty {
        /// The file.
        file: String,
    },
    /// A header and nothing behind it.
    #[error("no packet in {files}: nothing was captured there")]
    Blank {
        /// All files.
        files: String,
    },
    /// Something else than a capture.
    #[error("{file} is no capture: pcap and pcapng begin otherwise; write one with `tcpdump -w FILE`")]
    Foreign {
        /// The file.
        file: String,
    },
    /// A pcap of a version that nobody writes.
    #[error(
        "{file} is a pcap of version {major}.{minor}: its packets could stand otherwise than in 2.4, which is the \
         one that is read; write it with `tcpdump -w FILE`"
    )]
    Version {
        /// The file.
        file: String,
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// Its frames are not Ethernet's.
    #[error(
        "{file}: packet {number} is of link type {link:?} ({}); only Ethernet (1) can cross a wire, so capture on \
         one of its ports, not on `any`",
        u32::from(*link)
    )]
    Link {
        /// The file.
        file: String,
        /// The packet.
        number: u64,
        /// Its link type.
        link: DataLink,
    },
    /// It ends where it should not.
    #[error(
        "{file} ends inside packet {number}: the file was cut off there, or the length it gives is wrong"
    )]
    Truncated {
        /// The file.
        file: String,
        /// The packet.
        number: u64,
    },
    /// What stands there is no packet.
    #[error("{file}: packet {number} cannot be read: {cause}")]
    Broken {
        /// The file.
        file: String,
        /// The packet.
        number: u64,
        /// What the format's reader says.
        cause: Cause,
    },
}

/// What the reader of a format found wrong.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// In a pcap.
    Pcap(#[source] PcapReadError),
    /// In a pcapng.
    PcapNg(#[source] PcapNgReadError),
    /// A time beyond the year 2554.
    Time,
}

impl Cause {
    /// Nothing wrong but that the file ends.
    pub(super) fn is_end_of_file(&self) -> bool {
        match self {
            Self::Pcap(PcapReadError::Io(error)) | Self::PcapNg(PcapNgReadError::Io(error)) => {
                error.kind() == io::ErrorKind::UnexpectedEof
            }
            Self::Pcap(PcapReadError::Validation(_))
            | Self::PcapNg(
                PcapNgReadError::InvalidFormat(_)
                | PcapNgReadError::BlockConversion(_)
                | PcapNgReadError::StateUpdate(_),
            )
            | Self::Time => false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each layer of the reader's error says a part of it.
        let mut layer: Option<&dyn std::error::Error> = match self {
            Self::Pcap(error) => Some(error),
            Self::PcapNg(error) => Some(error),
            Self::Time => return f.write_str("its time lies beyond the year 2554"),
        };
        let mut before = "";
        while let Some(error) = layer {
            write!(f, "{before}{error}")?;
            before = ": ";
            layer = error.source();
        }
        Ok(())
    }
}
