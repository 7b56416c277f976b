//! What the rules say of packets that have no flow, found for several at once.
//!
//! What it is: the judgements of the plain packets of a step whose flow is not where it would be, in steps that
//! wait for the table's memory together ([`Table::meet_all`](crate::policy::Table::meet_all)). What it is not: a
//! decision; when a packet's turn comes and it has no flow indeed, what was found is put together as if it had been
//! judged then. Invariant: a judgement depends on the packet and the scene alone, so that it may come early. Cost:
//! none for a step without such a packet.

use super::{BURST, Scene};
use crate::policy::{Connection, Met, Sender, SenderMac};
use crate::wire::{Mac, Plain, Service};

/// What was found of some packets of a step.
#[derive(Debug)]
pub(super) struct Openers {
    /// A bit for each packet that was sought, the first one's lowest; none before any was.
    sought: Option<u64>,
    asked: [Connection; BURST],
    /// In the order of those that were sought.
    met: [Met; BURST],
}

impl Default for Openers {
    fn default() -> Self {
        Self { sought: None, asked: [Connection::BLANK; BURST], met: [Met::BLANK; BURST] }
    }
}

impl Openers {
    /// What follows is another step.
    pub(super) const fn forget(&mut self) {
        self.sought = None;
    }

    /// What was found of a packet of this step, by its place; all of the step are sought before the first is found.
    /// `packets` are those of the step that are sought, with their places.
    pub(super) fn find<'f>(
        &mut self,
        scene: &Scene<'_>,
        place: u32,
        packets: impl Iterator<Item = (u32, &'f Plain, &'f [u8])>,
    ) -> Option<&Met> {
        let sought = match self.sought {
            Some(sought) => sought,
            None => self.seek(scene, packets),
        };
        let bit = 1_u64.checked_shl(place)?;
        if sought & bit == 0 {
            return None;
        }
        self.met.get(usize::try_from((sought & (bit - 1)).count_ones()).ok()?)
    }

    #[inline(never)]
    fn seek<'f>(
        &mut self,
        scene: &Scene<'_>,
        packets: impl Iterator<Item = (u32, &'f Plain, &'f [u8])>,
    ) -> u64 {
        let (mut sought, mut count) = (0, 0);
        for ((place, found, frame), asked) in packets.zip(&mut self.asked) {
            *asked = connection(found, frame);
            sought |= 1_u64.checked_shl(place).unwrap_or(0);
            count += 1;
        }
        let asked = self.asked.get(..count).unwrap_or_default();
        scene.table.meet_all(asked, scene.side, scene.asked, &mut self.met);
        self.sought = Some(sought);
        sought
    }
}

/// The connection that a plain packet would open.
fn connection(found: &Plain, frame: &[u8]) -> Connection {
    let ((src, sport), (dst, dport)) = found.key.sender_first(found.from_a);
    // It was read: so much is there.
    let mac = frame.get(6..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    let from = Sender { address: src, mac: SenderMac::Seen(Mac(mac)), vlans: found.key.vlans() };
    let service = Service { protocol: found.key.protocol(), sport, dport, readable: true };
    Connection { from, to: dst, service }
}
