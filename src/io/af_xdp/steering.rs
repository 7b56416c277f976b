//! By what rule flows come to workers: as the cards spread them, or by a secret hash and hand-over.
//!
//! What it is: both ports are asked for a symmetric key and the ports of TCP and UDP, read back, and believed
//! only as far as both say the same. What it is not: it changes no queue count, and gives nothing back
//! (`spread` keeps what was there). Invariant: whatever a card refuses or does not say, the gate starts, and
//! every flow has one owner; only more packets are handed over.

use super::rss::{self, ADDRESSES, Card, FUNCTION_STAYS, Kind, TOEPLITZ, WITH_PORTS};
use crate::flow::rss::{Hashed, Rss, symmetric_key};

/// How flows come to workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steering {
    /// One queue: everything is its worker's.
    OneQueue,
    /// Both cards spread both directions of a flow alike; read back from both.
    Symmetric(Rss),
    /// They do not, or do not say. A secret hash decides, and packets are handed over.
    HandOver {
        /// The port and what is missing there, or that nobody asked.
        why: String,
    },
}

/// What a port's card does, as far as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reading {
    card: Card,
    /// By [`Kind::ALL`].
    fields: [Option<u64>; 4],
}

fn read(interface: &str) -> Option<Reading> {
    Some(Reading { card: rss::read(interface)?, fields: rss::fields(interface) })
}

/// Asks both ports to spread flows alike, by side, and believes what they say then. Unless it is wished for, no
/// port is asked and none is believed.
pub(super) fn set(interfaces: [&str; 2], queues: u32, symmetric: bool) -> Steering {
    if queues == 1 {
        return Steering::OneQueue;
    }
    if !symmetric {
        return Steering::HandOver { why: "`[gate] symmetric_rss` is false".to_owned() };
    }
    let mut refused = [None, None];
    for (interface, refusal) in interfaces.into_iter().zip(&mut refused) {
        let Some(found) = read(interface) else { continue };
        let key = symmetric_key(found.card.key.len());
        let card = &found.card;
        let is_set = card.key == key && card.function == TOEPLITZ && card.transform == 0;
        if !is_set && !key.is_empty() {
            let function = if card.function == TOEPLITZ { FUNCTION_STAYS } else { TOEPLITZ };
            *refusal = rss::set(interface, function, 0, &key).err();
        }
        for (kind, now) in Kind::ALL.into_iter().zip(found.fields) {
            if now.is_some_and(|now| now != WITH_PORTS) {
                // What it did is read back.
                let _ = rss::set_fields(interface, kind, WITH_PORTS);
            }
        }
    }
    let [outside, inside] = interfaces;
    let mut readings = [read(outside), read(inside)];
    if let [Some(one), Some(other)] = &readings
        && one.fields != other.fields
    {
        // A card that can't hash the ports of UDP, say: neither does.
        for (kind, (one, other)) in Kind::ALL.into_iter().zip(one.fields.into_iter().zip(other.fields)) {
            for interface in interfaces {
                if one != other {
                    let _ = rss::set_fields(interface, kind, ADDRESSES);
                }
            }
        }
        readings = [read(outside), read(inside)];
    }
    let [outside, inside] = refused;
    let refused = [outside, inside].map(|refusal| refusal.map(|error| error.to_string()));
    choose(interfaces, readings, refused, queues)
}

/// What both ports together come to.
fn choose(
    interfaces: [&str; 2],
    readings: [Option<Reading>; 2],
    refused: [Option<String>; 2],
    queues: u32,
) -> Steering {
    let mut both = Vec::new();
    for ((interface, reading), refusal) in interfaces.into_iter().zip(readings).zip(refused) {
        match judge(reading, refusal, queues) {
            Ok(rss) => both.push(rss),
            Err(what) => return Steering::HandOver { why: format!("{interface} {what}") },
        }
    }
    match <[Rss; 2]>::try_from(both) {
        Ok([outside, inside]) if outside == inside => Steering::Symmetric(outside),
        Ok(_) | Err(_) => {
            let [outside, inside] = interfaces;
            Steering::HandOver { why: format!("{outside} and {inside} spread flows in different ways") }
        }
    }
}

/// A card that spreads both directions of a flow alike, or what it lacks.
fn judge(reading: Option<Reading>, refusal: Option<String>, queues: u32) -> Result<Rss, String> {
    let Some(Reading { card, fields }) = reading else {
        return Err("has no receive-side scaling".to_owned());
    };
    if card.key.is_empty() {
        return Err("does not let its hash key be set".to_owned());
    }
    if card.key != symmetric_key(card.key.len()) {
        return Err(match refusal {
            Some(refusal) => format!("refuses a symmetric hash key: {refusal}"),
            None => "took a symmetric hash key and does not have it".to_owned(),
        });
    }
    if card.function != TOEPLITZ {
        return Err("does not hash by Toeplitz's function".to_owned());
    }
    if card.transform != 0 {
        return Err("changes what it hashes beforehand".to_owned());
    }
    let mut ports = [false; 4];
    for ((has, kind), fields) in ports.iter_mut().zip(Kind::ALL).zip(fields) {
        *has = match fields {
            Some(WITH_PORTS) => true,
            Some(ADDRESSES) => false,
            Some(other) => return Err(format!("hashes fields {other:#x} of {}", kind.name())),
            None => return Err(format!("does not say what it hashes of {}", kind.name())),
        };
    }
    let [tcp4, tcp6, udp4, udp6] = ports;
    Rss::new(&card.key, &card.table, Hashed { tcp4, tcp6, udp4, udp6 }, queues)
        .map_err(|error| format!("has {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let table = (0..128).map(|place| place % 2).collect();
        let card = Card { function: TOEPLITZ, transform: 0, key: symmetric_key(40), table };
        Reading { card, fields: [Some(WITH_PORTS); 4] }
    }

    fn card(change: impl FnOnce(&mut Card)) -> Reading {
        let mut reading = reading();
        change(&mut reading.card);
        reading
    }

    fn fields(change: impl FnOnce(&mut [Option<u64>; 4])) -> Reading {
        let mut reading = reading();
        change(&mut reading.fields);
        reading
    }

    fn chosen(outside: Option<Reading>, inside: Option<Reading>) -> Steering {
        choose(["o", "i"], [outside, inside], [None, Some("Operation not supported".into())], 2)
    }

    #[test]
    fn cards_that_say_the_same_decide() {
        let Steering::Symmetric(rss) = chosen(Some(reading()), Some(reading())) else { panic!() };
        let table: Vec<u32> = (0..128).map(|place| place % 2).collect();
        assert_eq!(rss, Rss::new(&symmetric_key(40), &table, Hashed::ALL, 2).unwrap());
        let neither = || Some(fields(|fields| fields[3] = Some(ADDRESSES)));
        let Steering::Symmetric(rss) = chosen(neither(), neither()) else { panic!() };
        let hashed = Hashed { udp6: false, ..Hashed::ALL };
        assert_eq!(rss, Rss::new(&symmetric_key(40), &table, hashed, 2).unwrap());
    }

    #[test]
    fn whatever_one_card_lacks_is_named_and_flows_are_handed_over() {
        for (lacking, words) in [
            (None, "i has no receive-side scaling"),
            (Some(card(|card| card.key.clear())), "i does not let its hash key be set"),
            (
                Some(card(|card| card.key[39] = 1)),
                "i refuses a symmetric hash key: Operation not supported",
            ),
            (Some(card(|card| card.function = 2)), "i does not hash by Toeplitz's function"),
            (Some(card(|card| card.transform = 1)), "i changes what it hashes beforehand"),
            (Some(card(|card| card.table[7] = 2)), "i has an indirection table that leads to queue 2"),
            (Some(card(|card| card.key.truncate(20))), "i has a key of 20 bytes, 40 are needed"),
            (Some(fields(|fields| fields[1] = None)), "i does not say what it hashes of tcp6"),
            (Some(fields(|fields| fields[2] = Some(0x50))), "i hashes fields 0x50 of udp4"),
            (Some(fields(|fields| fields[2] = Some(ADDRESSES))), "o and i spread flows in different ways"),
            (Some(card(|card| card.table.swap(0, 1))), "o and i spread flows in different ways"),
        ] {
            let why = words.to_owned();
            assert_eq!(chosen(Some(reading()), lacking), Steering::HandOver { why });
        }
        let Steering::HandOver { why } = chosen(Some(card(|card| card.key[0] = 0)), Some(reading())) else {
            panic!()
        };
        assert_eq!(why, "o took a symmetric hash key and does not have it");
    }

    #[test]
    fn ports_without_scaling_hand_over_and_one_queue_needs_nothing() {
        let why = "lo has no receive-side scaling".to_owned();
        assert_eq!(set(["lo", "lo"], 2, true), Steering::HandOver { why });
        assert_eq!(set(["no-such-port", "lo"], 1, true), Steering::OneQueue);
        let why = "`[gate] symmetric_rss` is false".to_owned();
        assert_eq!(set(["lo", "lo"], 2, false), Steering::HandOver { why });
    }
}
