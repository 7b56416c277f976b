//! What the memory promises, one name each, and a plain model of all of it.

mod model;
mod named;

use std::net::IpAddr;

use super::{Answer, DatagramKey, FragmentLimits, FragmentMemory, Piece, Ports, Position, Release};
use crate::wire::{Fragment, Ip, L4, Side, Vlans};

const LIMITS: FragmentLimits =
    FragmentLimits { datagrams: 6, datagrams_a_source: 4, held: 5, held_a_source: 3, timeout: 100 };

fn memory() -> FragmentMemory<u32> {
    FragmentMemory::new(LIMITS, (3, 5))
}

/// A UDP packet of a source to one destination.
fn packet(src: &str, sport: u16) -> Ip {
    let src: IpAddr = src.parse().unwrap();
    let dst = if src.is_ipv6() { "2001:db8:ff::1" } else { "10.9.9.9" };
    Ip {
        src,
        dst: dst.parse().unwrap(),
        protocol: 17,
        hop_limit: 64,
        fragment: Fragment::Whole,
        l4: L4::Udp { sport, dport: 53, dhcp: false },
    }
}

fn ports(sport: u16) -> Ports {
    Ports::of(&packet("10.0.0.1", sport))
}

fn key(src: &str, id: u32) -> DatagramKey {
    DatagramKey::new(&packet(src, 0), id, Vlans::UNTAGGED, Side::Outside)
}

/// The first `length` bytes of a datagram.
fn first_of(datagram: DatagramKey, length: u16, sport: u16) -> Piece {
    Piece { datagram, length, position: Position::First(ports(sport)) }
}

fn later_of(datagram: DatagramKey, offset: u16, length: u16, more: bool) -> Piece {
    Piece { datagram, length, position: Position::Later { offset, more } }
}

const HOST: &str = "10.0.0.1";

fn first(id: u32, length: u16) -> Piece {
    first_of(key(HOST, id), length, 1000)
}

fn later(id: u32, offset: u16, length: u16, more: bool) -> Piece {
    later_of(key(HOST, id), offset, length, more)
}

/// Everything whose waiting has ended.
fn drain(memory: &mut FragmentMemory<u32>) -> Vec<(u32, Release)> {
    std::iter::from_fn(|| memory.next_released()).collect()
}

fn known(token: u32) -> Answer<u32> {
    Answer::Known(token, ports(1000))
}
