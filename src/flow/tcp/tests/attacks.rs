//! Who cannot see a connection cannot harm it: none of these changes anything of it, and none that could
//! harm its ends arrives.

use super::*;

/// A transfer under way: a has 20 000 bytes in flight to b; windows 64 000, no scale.
fn transfer() -> Line {
    let mut line = Line::begin(with_window(64_000, segment(SYN, 1_000_000, 0, 0)));
    line.says(B, with_window(64_000, segment(SYN | ACK, 3_000_000_000, 1_000_001, 0)), Step::Pass);
    line.says(A, segment(ACK, 1_000_001, 3_000_000_001, 0), Step::Pass);
    line.says(A, segment(ACK, 1_000_001, 3_000_000_001, 20_000), Step::Pass);
    line
}

/// Numbers spread over the whole space, with a step that no window divides.
fn guesses() -> impl Iterator<Item = u32> {
    (0..20_000u32).map(|n| n.wrapping_mul(214_733).wrapping_add(77_777))
}

#[test]
fn blind_resets_do_not_end_it() {
    let mut line = transfer();
    let whole = line.track;
    let mut arrived = 0;
    for seq in guesses() {
        let in_window = seq.wrapping_sub(1_000_001) <= 64_000;
        line.says(A, segment(RST, seq, 0, 0), if in_window { Step::PassShortened } else { WINDOW });
        arrived += u32::from(in_window);
    }
    assert!(arrived <= 1, "one in 67 000 lies in window: {arrived}");
    // The transfer goes on: b's challenge ACK, or any ACK, and nothing is left of it.
    line.says(B, segment(ACK, 3_000_000_001, 1_000_001, 0), Step::Pass);
    assert_eq!(line.track, whole);
}

#[test]
fn blind_data_needs_both_numbers() {
    let mut line = transfer();
    for seq in guesses() {
        let guess = segment(ACK | PSH, seq, seq ^ 0x5555_5555, 100);
        line.says_in_vain(A, guess, WINDOW);
        line.says_in_vain(B, guess, WINDOW);
    }
    // The right sequence number alone is not enough: the acknowledgement must be recent.
    for ack in guesses().filter(|ack| 3_000_000_001u32.wrapping_sub(*ack) > 66_000) {
        line.says_in_vain(A, segment(ACK | PSH, 1_020_001, ack, 100), WINDOW);
        line.says_in_vain(A, segment(FIN | ACK, 1_020_001, ack, 0), WINDOW);
    }
}

#[test]
fn blind_syns_change_nothing_and_one_a_second_arrives() {
    let mut line = transfer();
    let whole = line.track;
    let mut arrived = 0;
    for seq in guesses() {
        // 20 000 of them in 20 000 ticks, 335 s.
        line.wait(1);
        let step = line.asks(A, segment(SYN, seq, 0, 0));
        assert!(matches!(step, Step::PassAside | STATE), "{step:?}");
        line.says(A, segment(SYN, seq, 0, 0), step);
        assert_eq!(Track { challenge: 0, ..line.track }, whole);
        arrived += u32::from(step == Step::PassAside);
    }
    assert_eq!((arrived, line.seen), (328, 1000));
    for seq in guesses() {
        line.says_in_vain(B, segment(SYN | ACK, seq, 1_000_001, 0), WINDOW);
    }
}

#[test]
fn a_blind_answer_to_a_syn_is_refused() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    for ack in guesses() {
        line.says_in_vain(B, segment(SYN | ACK, 1, ack, 0), WINDOW);
        line.says_in_vain(B, segment(RST | ACK, 1, ack, 0), WINDOW);
    }
}

#[test]
fn a_handshake_without_seeing_the_answer_is_not_completed() {
    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says(B, segment(SYN | ACK, 0x5eed_5eed, 101, 0), Step::Pass);
    for ack in guesses() {
        line.says_in_vain(A, segment(ACK, 101, ack, 0), WINDOW);
    }
    assert!(!line.track.confirmed);
}
