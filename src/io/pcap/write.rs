//! What crossed, as a pcapng: bytes unchanged, the time each was captured at.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use pcap_file::DataLink;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriteError, PcapNgWriter};

use super::Packet;
use crate::wire::Side;

/// A capture of what crossed. Its interfaces are the ports that frames left by: 0 outside, 1 inside.
pub struct Forwarded<W: Write>(PcapNgWriter<W>);

/// What crossed can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the forwarded packets: {0}")]
pub struct ForwardedError(#[from] PcapNgWriteError);

impl<W: Write> Forwarded<W> {
    /// Begins a capture.
    ///
    /// # Errors
    /// It can't be written.
    pub fn new(writer: W) -> Result<Self, ForwardedError> {
        let mut writer = PcapNgWriter::new(writer)?;
        for side in Side::BOTH {
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(side.name())),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            let port = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: 0, options };
            writer.write_block(&port.into_block())?;
        }
        Ok(Self(writer))
    }

    /// Writes a packet that left by this side.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&mut self, packet: &Packet, by: Side) -> Result<(), ForwardedError> {
        let block = EnhancedPacketBlock {
            interface_id: match by {
                Side::Outside => 0,
                Side::Inside => 1,
            },
            timestamp: Duration::from_nanos(packet.nanos),
            original_len: packet.length,
            data: Cow::Borrowed(&packet.bytes),
            options: Vec::new(),
        };
        self.0.write_block(&block.into_block())?;
        Ok(())
    }

    /// The writer, with everything written to it.
    #[must_use]
    pub fn into_inner(self) -> W {
        self.0.into_inner()
    }
}
