//! Captures made byte by byte, as the formats' documents say (draft-ietf-opsawg-pcap, -pcapng).

use std::io::Cursor;

use super::*;
use crate::wire::Side;

type Bytes = Cursor<Vec<u8>>;

/// Time, bytes on the wire, bytes captured.
type Sample = (u64, u32, &'static [u8]);

const SAMPLES: [Sample; 3] = [
    (1_795_521_600_123_456_000, 14, b"first packet.."),
    (1_795_521_600_123_457_000, 1_500, b"cut"),
    (1_795_521_599_000_000_000, 5, b"early"),
];

fn word(big: bool, value: u32) -> [u8; 4] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn half(big: bool, value: u16) -> [u8; 2] {
    if big { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap()
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

fn pcap(big: bool, nanos: bool, link: u32, samples: &[Sample]) -> Vec<u8> {
    let magic = word(big, if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
    let mut file =
        [&magic[..], &half(big, 2), &half(big, 4), &[0; 8], &word(big, 65_535), &word(big, link)].concat();
    for (time, on_wire, bytes) in samples {
        let fraction = time % 1_000_000_000 / if nanos { 1 } else { 1_000 };
        for value in [low(time / 1_000_000_000), low(fraction), length(bytes), *on_wire] {
            file.extend(word(big, value));
        }
        file.extend(*bytes);
    }
    file
}

fn block(big: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let total = word(big, length(&body) + 12);
    [&word(big, kind)[..], &total, &body, &total].concat()
}

fn section(big: bool) -> Vec<u8> {
    let body = [&word(big, 0x1a2b_3c4d)[..], &half(big, 1), &half(big, 0), &[0xff; 8]].concat();
    block(big, 0x0a0d_0d0a, &body)
}

/// An interface whose option 9 (`if_tsresol`) is this, if any.
fn interface(big: bool, link: u16, resolution: Option<u8>) -> Vec<u8> {
    let mut body = [&half(big, link)[..], &[0; 2], &word(big, 0)].concat();
    if let Some(resolution) = resolution {
        body.extend([&half(big, 9)[..], &half(big, 1), &[resolution, 0, 0, 0], &[0; 4]].concat());
    }
    block(big, 1, &body)
}

fn enhanced(big: bool, interface: u32, ticks: u64, on_wire: u32, bytes: &[u8]) -> Vec<u8> {
    let words = [interface, low(ticks >> 32), low(ticks), length(bytes), on_wire];
    let head: Vec<u8> = words.into_iter().flat_map(|value| word(big, value)).collect();
    block(big, 6, &[&head, bytes].concat())
}

fn pcapng(big: bool, nanos: bool, link: u16, samples: &[Sample]) -> Vec<u8> {
    let mut file = section(big);
    // What is no packet is passed over: a block of a kind that nobody knows.
    file.extend(block(big, 0x0bad_cafe, b"anything"));
    file.extend(interface(big, link, nanos.then_some(9)));
    for (time, on_wire, bytes) in samples {
        file.extend(enhanced(big, 0, time / if nanos { 1 } else { 1_000 }, *on_wire, bytes));
    }
    file
}

fn open(bytes: &[u8]) -> Result<Capture<Bytes>, CaptureError> {
    Capture::new("f".into(), Cursor::new(bytes.to_vec()))
}

/// Everything up to where it breaks off, and how it does.
fn read(bytes: &[u8]) -> (Vec<Packet>, Option<CaptureError>) {
    let mut capture = match open(bytes) {
        Ok(capture) => capture,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut packets = Vec::new();
    while let Some(next) = capture.next_packet() {
        match next {
            Ok(packet) => packets.push(packet),
            Err(error) => {
                assert!(capture.next_packet().is_none(), "nothing comes after an error");
                return (packets, Some(error));
            }
        }
    }
    (packets, None)
}

fn packets(samples: &[Sample]) -> Vec<Packet> {
    let packet = |(number, (nanos, length, bytes)): (u64, &Sample)| Packet {
        number,
        nanos: *nanos,
        length: *length,
        bytes: bytes.to_vec(),
    };
    (1..).zip(samples).map(packet).collect()
}

fn all_formats() -> Vec<(&'static str, Vec<u8>)> {
    let mut files = Vec::new();
    for (big, nanos) in [(false, false), (false, true), (true, false), (true, true)] {
        files.push(("pcap", pcap(big, nanos, 1, &SAMPLES)));
        files.push(("pcapng", pcapng(big, nanos, 1, &SAMPLES)));
    }
    files
}

#[test]
fn every_format_and_byte_order_is_read_alike() {
    for (name, file) in all_formats() {
        let (found, error) = read(&file);
        assert_eq!((name, found), (name, packets(&SAMPLES)));
        assert!(error.is_none(), "{name}: {error:?}");
    }
    assert!(packets(&SAMPLES)[1].is_cut() && !packets(&SAMPLES)[0].is_cut());
}

#[test]
fn a_file_cut_off_anywhere_gives_what_was_whole() {
    for (name, file) in all_formats() {
        for end in 0..file.len() {
            let (found, error) = read(&file[..end]);
            assert_eq!(found, packets(&SAMPLES)[..found.len()], "{name} {end}");
            let next = u64::try_from(found.len()).unwrap() + 1;
            match error {
                Some(CaptureError::Empty { .. }) => assert_eq!(end, 0),
                Some(CaptureError::Foreign { .. }) => assert!((1..4).contains(&end)),
                Some(CaptureError::Truncated { number, .. }) => assert_eq!(number, next, "{name} {end}"),
                None => {
                    // Only between two packets, or in front of the first.
                    let shorter = read(&file[..end - 1]);
                    assert!(shorter.1.is_some(), "{name} {end}");
                }
                Some(other) => panic!("{name} {end}: {other}"),
            }
        }
    }
}

#[test]
fn times_follow_the_interface_they_were_taken_on() {
    let second = 1_795_521_600_000_000_000_u64;
    let mut file = section(false);
    // Milliseconds; units of 2^-10 s; an offset of 1 000 s.
    file.extend(interface(false, 1, Some(3)));
    file.extend(interface(false, 1, Some(0x8a)));
    let offset = [&half(false, 14)[..], &half(false, 8), &1_000_i64.to_le_bytes(), &[0; 4]].concat();
    let body = [&half(false, 1)[..], &[0; 2], &word(false, 0), &offset].concat();
    file.extend(block(false, 1, &body));
    file.extend(enhanced(false, 0, second / 1_000_000 + 7, 1, b"m"));
    file.extend(enhanced(false, 1, (second / 1_000_000_000) << 10 | 512, 1, b"b"));
    file.extend(enhanced(false, 2, (second / 1_000) - 1_000_000_000 + 9, 1, b"o"));
    // A simple packet has no time; the obsolete packet block has.
    file.extend(block(false, 3, &[&word(false, 1)[..], b"s"].concat()));
    let high_low =
        [word(false, low((second / 1_000_000) >> 32)), word(false, low(second / 1_000_000))].concat();
    let old =
        [&half(false, 0)[..], &half(false, 0), &high_low, &word(false, 1), &word(false, 1), b"p"].concat();
    file.extend(block(false, 2, &old));
    let (found, error) = read(&file);
    assert!(error.is_none(), "{error:?}");
    let times: Vec<(u64, &[u8])> = found.iter().map(|p| (p.nanos - second, p.bytes.as_slice())).collect();
    let expected: [(u64, &[u8]); 5] =
        [(7_000_000, b"m"), (500_000_000, b"b"), (9_000, b"o"), (9_000, b"s"), (0, b"p")];
    assert_eq!(times, expected);
}

#[test]
fn what_cannot_be_replayed_is_refused_with_its_place() {
    let message = |bytes: &[u8]| read(bytes).1.unwrap().to_string();
    assert_eq!(message(b""), "f is empty: a capture begins with a header");
    assert!(message(b"#!/bin/sh\necho foreign\n").starts_with("f is no capture: "));
    assert!(message(&[0x1f, 0x8b, 8, 0]).starts_with("f is no capture: "));
    for file in [pcap(false, true, 113, &SAMPLES), pcapng(true, false, 113, &SAMPLES)] {
        assert!(
            message(&file).starts_with("f: packet 1 is of link type LINUX_SLL (113); "),
            "{}",
            message(&file)
        );
    }
    // A later interface of another kind: what came before is read.
    let mut file = pcapng(false, true, 1, &SAMPLES[..1]);
    file.extend(interface(false, 276, None));
    file.extend(enhanced(false, 1, 0, 1, b"x"));
    let (found, error) = read(&file);
    assert_eq!(found, packets(&SAMPLES[..1]));
    assert!(matches!(error, Some(CaptureError::Link { number: 2, .. })), "{error:?}");
    // A packet of an interface that nobody described.
    let mut file = pcapng(false, true, 1, &SAMPLES[..1]);
    file.extend(enhanced(false, 7, 0, 1, b"x"));
    assert!(message(&file).starts_with("f: packet 2 cannot be read: "), "{}", message(&file));
    // Two lengths of a block that disagree.
    let mut file = pcapng(false, true, 1, &SAMPLES[..1]);
    let end = file.len() - 4;
    file[end] ^= 4;
    assert!(message(&file).starts_with("f: packet 1 cannot be read: "), "{}", message(&file));
}

#[test]
fn a_checksum_length_above_the_link_type_is_no_other_link_type() {
    let (found, error) = read(&pcap(false, false, 0x5400_0001, &SAMPLES));
    assert_eq!(found, packets(&SAMPLES));
    assert!(error.is_none());
}

fn merged(files: &[Vec<u8>]) -> (Vec<(usize, u64)>, Option<CaptureError>) {
    let mut merge = Merge::new(files.iter().map(|file| open(file).unwrap()).collect());
    let mut order = Vec::new();
    while let Some(next) = merge.next_packet() {
        match next {
            Ok((file, packet)) => order.push((file, packet.number)),
            Err(error) => {
                assert!(merge.next_packet().is_none());
                return (order, Some(error));
            }
        }
    }
    (order, None)
}

fn at(times: &[u64]) -> Vec<u8> {
    let samples: Vec<Sample> = times.iter().map(|time| (*time, 1, &b"x"[..])).collect();
    pcap(false, true, 1, &samples)
}

#[test]
fn captures_merge_by_time_and_ties_by_the_order_of_the_files() {
    let (order, error) = merged(&[at(&[10, 30, 30, 50]), at(&[10, 20, 30, 60])]);
    let expected = [(0, 1), (1, 1), (1, 2), (0, 2), (0, 3), (1, 3), (0, 4), (1, 4)];
    assert_eq!((order, error.is_none()), (expected.to_vec(), true));
    // A file whose times go back keeps its own order.
    let (order, _) = merged(&[at(&[10, 50, 20]), at(&[15, 60])]);
    assert_eq!(order, [(0, 1), (1, 1), (0, 2), (0, 3), (1, 2)]);
}

#[test]
fn a_merge_ends_where_one_of_its_captures_breaks_off() {
    let whole = at(&[10, 20, 30]);
    let (order, error) = merged(&[whole[..whole.len() - 1].to_vec(), at(&[10, 20, 25])]);
    assert_eq!(order, [(0, 1), (1, 1), (0, 2)]);
    assert!(matches!(error, Some(CaptureError::Truncated { number: 3, .. })), "{error:?}");
}

#[test]
fn what_is_written_is_read_again_to_the_nanosecond() {
    let mut forwarded = Forwarded::new(Vec::new()).unwrap();
    let written = packets(&[(1_795_521_600_123_456_789, 900, b"odd length"), SAMPLES[0], SAMPLES[2]]);
    for (packet, by) in written.iter().zip([Side::Inside, Side::Outside, Side::Inside]) {
        forwarded.write(packet, by).unwrap();
    }
    let (found, error) = read(&forwarded.into_inner());
    assert_eq!(found, written);
    assert!(error.is_none());
}
