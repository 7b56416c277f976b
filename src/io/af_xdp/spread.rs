//! How many queues a wire has, and what of it is changed on a port: queue count, hash key, hashed fields.
//!
//! What it is: the number that both ports come to, and a note of what a port had before, to be given back. What
//! it is not: no choice about hashing (`steering`). Invariant: no port receives on a queue that has no worker.

use std::io;

use serde::{Deserialize, Serialize};

use super::ethtool::{self, Queues};
use super::rss::{self, FUNCTION_STAYS, Kind};
use super::{AfXdpError, CLOSED_PAUSE, CLOSED_TRIES, QUEUES_MOST, QueueCount};

/// A port's own queues and hashing, before we came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spread {
    receive: u32,
    transmit: u32,
    /// Empty where the card has none or does not show it.
    key: Vec<u8>,
    function: u8,
    transform: u8,
    /// By [`Kind::ALL`].
    fields: [Option<u64>; 4],
}

impl Spread {
    /// What a port has now.
    pub(super) fn of(interface: &str) -> io::Result<Self> {
        let Queues { receive, transmit, .. } = ethtool::queues(interface)?;
        let card = rss::read(interface).unwrap_or_default();
        let fields = if card.table.is_empty() { [None; 4] } else { rss::fields(interface) };
        let (key, function, transform) = (card.key, card.function, card.transform);
        Ok(Self { receive, transmit, key, function, transform, fields })
    }

    /// Gives back what is otherwise now.
    pub(super) fn give_back(&self, interface: &str) -> io::Result<()> {
        let now = Self::of(interface)?;
        if (now.receive, now.transmit) != (self.receive, self.transmit) {
            set_when_left(interface, self.receive, self.transmit)?;
        }
        if !self.key.is_empty() && !now.has_hash_of(self) {
            let function = if now.function == self.function { FUNCTION_STAYS } else { self.function };
            rss::set(interface, function, self.transform, &self.key)?;
        }
        for ((kind, before), now) in Kind::ALL.into_iter().zip(self.fields).zip(now.fields) {
            if let Some(before) = before
                && now != Some(before)
            {
                rss::set_fields(interface, kind, before)?;
            }
        }
        Ok(())
    }

    fn has_hash_of(&self, other: &Self) -> bool {
        (&self.key, self.function, self.transform) == (&other.key, other.function, other.transform)
    }
}

/// A port's queues, and whether its card spreads what it receives over any number of them by itself.
type Port = (Queues, bool);

/// The queues of a wire over these ports, by what is asked for.
pub(super) fn count(interfaces: [&str; 2], wanted: QueueCount) -> Result<u32, AfXdpError> {
    let port = |interface: &str| -> Result<Port, AfXdpError> {
        let fail = |source| AfXdpError::Setting {
            doing: "count the queues of",
            interface: interface.to_owned(),
            source,
        };
        Ok((ethtool::queues(interface).map_err(fail)?, rss::read(interface).is_some()))
    };
    let [outside, inside] = interfaces;
    let ports = [port(outside)?, port(inside)?];
    let queues = match wanted {
        QueueCount::Exactly(queues) => queues,
        QueueCount::Auto { workers } => agree(ports, workers),
    };
    if queues == 0 || queues > QUEUES_MOST {
        return Err(AfXdpError::QueueCount { queues, most: QUEUES_MOST });
    }
    for (interface, (port, _)) in interfaces.into_iter().zip(ports) {
        if port.most < queues {
            let (interface, most) = (interface.to_owned(), port.most);
            return Err(AfXdpError::FewQueues { interface, most, wanted: queues });
        }
    }
    Ok(queues)
}

/// As many as both cards can spread over, at most one a core that is left for a worker. A port that spreads
/// nothing by itself keeps what it has: what arrives on which of its queues is the sender's choice.
fn agree(ports: [Port; 2], workers: u32) -> u32 {
    let least = ports.iter().filter(|(_, scales)| !scales).map(|(port, _)| port.receive).max();
    let most = ports.iter().filter(|(_, scales)| *scales).map(|(port, _)| port.most).min();
    match (least, most) {
        (Some(least), None) => least,
        (None, Some(most)) => most.min(workers).clamp(1, QUEUES_MOST),
        (Some(least), Some(most)) => most.min(workers).max(least),
        (None, None) => 1,
    }
}

/// Sets a port's queue count where it is another.
pub(super) fn set(interface: &str, queues: u32) -> Result<(), AfXdpError> {
    let fail = |doing| {
        let interface = interface.to_owned();
        move |source| AfXdpError::Setting { doing, interface, source }
    };
    let found = ethtool::queues(interface).map_err(fail("count the queues of"))?;
    if found.receive == queues && found.transmit >= queues {
        return Ok(());
    }
    set_when_left(interface, queues, found.transmit.max(queues)).map_err(fail("set the queue count of"))?;
    // A driver takes a wish and may not grant it.
    let has = ethtool::queues(interface).map_err(fail("count the queues of"))?.receive;
    if has == queues {
        Ok(())
    } else {
        Err(AfXdpError::Queues { interface: interface.to_owned(), has, wanted: queues })
    }
}

/// The kernel takes no queue away from a socket, and lets go of one a moment after it was closed.
fn set_when_left(interface: &str, receive: u32, transmit: u32) -> io::Result<()> {
    let mut tries = CLOSED_TRIES;
    loop {
        match ethtool::set_queues(interface, receive, transmit) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && tries > 0 => tries -= 1,
            done => return done,
        }
        std::thread::sleep(CLOSED_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_has_as_many_queues_as_both_ports_spread_over_and_cores_are_left() {
        let card = |most| (Queues { receive: 1, transmit: 1, most }, true);
        let plain = |receive| (Queues { receive, transmit: 1, most: 8 }, false);
        for (outside, inside, workers, queues) in [
            (card(8), card(4), 6, 4),
            (card(8), card(8), 3, 3),
            (card(8), card(8), 0, 1),
            (card(128), card(128), 100, 64),
            (plain(1), plain(1), 3, 1),
            (plain(4), plain(1), 1, 4),
            (plain(2), card(8), 3, 3),
            (plain(4), card(8), 3, 4),
        ] {
            assert_eq!(agree([outside, inside], workers), queues, "{outside:?} {inside:?} {workers}");
        }
    }

    #[test]
    fn what_a_port_cannot_have_is_refused_with_its_most() {
        // The loopback is there in every namespace; it has one queue and spreads nothing.
        assert_eq!(count(["lo", "lo"], QueueCount::Auto { workers: 3 }).unwrap(), 1);
        assert!(matches!(
            count(["lo", "lo"], QueueCount::Exactly(2)),
            Err(AfXdpError::FewQueues { most: 1, wanted: 2, .. })
        ));
        assert!(matches!(
            count(["lo", "lo"], QueueCount::Exactly(65)),
            Err(AfXdpError::QueueCount { queues: 65, most: 64 })
        ));
        let had = Spread::of("lo").unwrap();
        assert_eq!(had, Spread { receive: 1, transmit: 1, ..Spread::default() });
        had.give_back("lo").unwrap();
    }
}
