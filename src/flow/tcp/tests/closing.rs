//! FIN, RST, tombstones, and the SYN that comes late.

use super::*;

#[test]
fn both_fins_acknowledged_close() {
    let mut line = Line::established();
    line.says(A, segment(FIN | ACK, 101, 501, 9), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x34, Phase::HalfClosed));
    assert_eq!(line.track.window.end, [111, 501]);
    // Half closed: b goes on, a acknowledges; nothing follows a's FIN, and no other FIN is it.
    line.says(B, segment(ACK, 501, 111, 300), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x35, Phase::HalfClosed));
    line.says(A, segment(ACK, 111, 801, 0), Step::Pass);
    line.says_in_vain(A, segment(ACK, 111, 801, 1), WINDOW);
    line.says_in_vain(A, segment(FIN | ACK, 111, 801, 0), WINDOW);
    line.says_in_vain(A, segment(FIN | ACK, 101, 801, 8), WINDOW);
    line.says_in_vain(A, segment(FIN | ACK, 101, 801, 9), Step::Pass);
    // b closes; a's ACK ends it.
    line.says(B, segment(FIN | ACK, 801, 111, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x45, Phase::Closing));
    line.says_in_vain(B, segment(FIN | ACK, 801, 111, 0), Step::Pass);
    line.says(A, segment(ACK, 111, 802, 0), Step::PassAndClose);
    assert_eq!((line.track.states, line.track.phase()), (0x55, Phase::Closed));
    assert_eq!(line.track.window, Window { end: [111, 802], acked: [802, 111], win: [1000, 1000] });
}

#[test]
fn both_may_close_at_once_and_in_one_segment() {
    let mut line = Line::established();
    line.says(A, segment(FIN | ACK, 101, 501, 0), Step::Pass);
    line.says(B, segment(FIN | ACK, 501, 101, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x44, Phase::Closing));
    line.says(A, segment(ACK, 102, 502, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (0x54, Phase::Closing));
    line.says(B, segment(ACK, 502, 102, 0), Step::PassAndClose);
    assert_eq!((line.track.states, line.track.phase()), (0x55, Phase::Closed));
}

#[test]
fn a_fin_overtakes_the_data_before_it() {
    let mut line = Line::established();
    line.says(A, segment(FIN | ACK, 301, 501, 100), Step::Pass);
    line.says_in_vain(A, segment(ACK, 101, 501, 200), Step::Pass);
    line.says(B, segment(ACK, 501, 301, 0), Step::Pass);
    assert_eq!(line.track.states, 0x34, "the FIN is not acknowledged yet");
    line.says(B, segment(ACK, 501, 402, 0), Step::Pass);
    assert_eq!(line.track.states, 0x35);
}

#[test]
fn a_fin_before_what_was_sent_is_refused() {
    let mut line = Line::established();
    line.says(A, segment(ACK, 101, 501, 200), Step::Pass);
    line.says_in_vain(A, segment(FIN | ACK, 101, 501, 100), WINDOW);
    line.says(A, segment(FIN | ACK, 101, 501, 200), Step::Pass);
}

#[test]
fn a_tombstone_lets_the_exact_repeat_of_a_fin_pass_and_its_ack_for_a_second() {
    let mut line = Line::closed();
    line.says_in_vain(A, segment(ACK, 102, 502, 0), Step::Over);
    line.says_in_vain(B, segment(ACK, 502, 102, 0), Step::Over);
    line.wait(3000);
    for (seq, ack, payload) in [(500, 102, 0), (502, 102, 0), (501, 101, 0), (501, 103, 0), (501, 102, 1)] {
        line.says_in_vain(B, segment(FIN | ACK, seq, ack, payload), Step::Over);
    }
    line.says(B, segment(FIN | ACK, 501, 102, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase(), line.seen), (0xd5, Phase::Closed, 4000));
    for tcp in [
        segment(ACK, 101, 502, 0),
        segment(ACK, 103, 502, 0),
        segment(ACK, 102, 501, 0),
        segment(ACK, 102, 503, 0),
        segment(ACK, 101, 502, 1),
        segment(ACK | RST, 102, 502, 0),
        segment(RST, 102, 0, 0),
        segment(SYN | ACK, 101, 502, 0),
        segment(PSH, 102, 502, 0),
    ] {
        line.says_in_vain(A, tcp, Step::Over);
    }
    line.says_in_vain(B, segment(ACK, 502, 102, 0), Step::Over);
    line.wait(58);
    line.says_in_vain(A, segment(ACK, 102, 502, 0), Step::PassAside);
    assert_eq!(line.seen, 4000);
    line.wait(1);
    line.says_in_vain(A, segment(ACK, 102, 502, 0), Step::Over);
    // The other end's is as good.
    line.says(A, segment(FIN | ACK, 101, 502, 0), Step::Pass);
    line.says_in_vain(B, segment(ACK, 502, 102, 0), Step::PassAside);
}

#[test]
fn a_newer_syn_on_a_tombstone_begins_anew() {
    let mut line = Line::closed();
    for (from_a, seq, step) in [
        (A, 102, Step::Over),
        (A, 103, Step::Anew),
        (A, 101, Step::Over),
        (A, 102 + 0x7fff_ffff, Step::Anew),
        (A, 102 + 0x8000_0001, Step::Over),
        (B, 502, Step::Over),
        (B, 503, Step::Anew),
    ] {
        line.says_in_vain(from_a, segment(SYN, seq, 0, 0), step);
    }
}

#[test]
fn a_reset_at_exactly_what_its_receiver_acknowledged_ends_the_connection() {
    let mut line = Line::established();
    line.says(A, segment(ACK, 101, 501, 400), Step::Pass);
    line.says(B, segment(ACK, 501, 301, 0), Step::Pass);
    assert_eq!(line.asks(A, segment(RST, 301, 0, 0)), Step::PassAndClose);
    assert_eq!(line.asks(A, segment(RST | ACK, 301, 501, 0)), Step::PassAndClose);
    assert_eq!(line.asks(B, segment(RST, 501, 0, 0)), Step::PassAndClose);
    let window = line.track.window;
    line.says(A, segment(RST, 301, 0, 0), Step::PassAndClose);
    assert_eq!((line.track.states, line.track.phase(), line.track.window), (0x36, Phase::Closed, window));
    // Of that nothing is repeated: all meets the rules.
    for flags in [ACK, RST, FIN | ACK, SYN | ACK] {
        line.says_in_vain(A, segment(flags, 301, 501, 0), Step::Over);
        line.says_in_vain(B, segment(flags, 501, 301, 0), Step::Over);
    }
    line.says_in_vain(A, segment(SYN, 502, 0, 0), Step::Anew);
}

#[test]
fn another_reset_in_the_window_leaves_ten_seconds_unless_its_receiver_speaks() {
    let mut line = Line::established();
    line.says_in_vain(A, segment(RST, 100, 0, 0), WINDOW);
    line.says_in_vain(A, segment(RST, 1102, 0, 0), WINDOW);
    line.wait(500);
    line.says(A, segment(RST, 1101, 0, 0), Step::PassShortened);
    let doubted = line.track;
    assert_eq!(
        (doubted, doubted.phase()),
        (Track { states: 0xb3, ..Line::established().track }, Phase::Doubted)
    );
    assert_eq!(line.seen, 1500, "the ten seconds begin now");
    line.says_in_vain(A, segment(RST, 102, 0, 0), Step::PassShortened);
    // Its sender's own segments say nothing of the receiver, nor does what is refused.
    line.says(A, segment(ACK, 101, 501, 5), Step::Pass);
    assert_eq!(line.track.phase(), Phase::Doubted);
    line.says_in_vain(B, segment(ACK, 9999, 101, 0), WINDOW);
    line.says(B, segment(ACK, 501, 101, 0), Step::Pass);
    assert_eq!((line.track.states, line.track.phase()), (ESTABLISHED, Phase::Established));
}

#[test]
fn a_doubted_connection_still_closes() {
    let mut line = Line::established();
    line.says(A, segment(RST, 102, 0, 0), Step::PassShortened);
    line.says(B, segment(RST, 502, 0, 0), Step::PassShortened);
    assert_eq!(line.track.states, 0xbb);
    line.says(A, segment(RST, 101, 0, 0), Step::PassAndClose);
    assert_eq!((line.track.states, line.track.phase()), (0x36, Phase::Closed));
}

#[test]
fn a_reset_that_answers_a_syn_must_acknowledge_it() {
    let mut line = Line::begin(segment(SYN, 100, 0, 20));
    line.says_in_vain(B, segment(RST, 0, 0, 0), STATE);
    line.says_in_vain(B, segment(RST, 101, 101, 0), STATE);
    for ack in [100, 102, 120, 122, 0] {
        line.says_in_vain(B, segment(RST | ACK, 0, ack, 0), WINDOW);
    }
    assert_eq!(line.asks(B, segment(RST | ACK, 0, 101, 0)), Step::PassAndClose);
    line.says(B, segment(RST | ACK, 0, 121, 0), Step::PassAndClose);
    assert_eq!((line.track.states, line.track.phase()), (0xe1, Phase::Closed));
    line.says_in_vain(B, segment(SYN, 0, 0, 0), Step::Anew);
    line.says_in_vain(A, segment(SYN, 100, 0, 20), Step::Over);
    line.says_in_vain(A, segment(SYN, 122, 0, 20), Step::Anew);
    line.says_in_vain(B, segment(SYN | ACK, 500, 121, 0), Step::Over);
}

#[test]
fn a_handshake_is_reset_from_both_sides() {
    let mut taken_back = Line::begin(segment(SYN, 100, 0, 0));
    taken_back.says_in_vain(A, segment(RST, 100, 0, 0), WINDOW);
    taken_back.says_in_vain(A, segment(RST, 102, 0, 0), WINDOW);
    taken_back.says(A, segment(RST, 101, 0, 0), Step::PassAndClose);
    taken_back.says_in_vain(B, segment(SYN, 9, 0, 0), Step::Anew);

    let mut line = Line::begin(segment(SYN, 100, 0, 0));
    line.says(B, segment(SYN | ACK, 500, 101, 0), Step::Pass);
    // a never sent that SYN.
    assert_eq!(line.asks(A, segment(RST, 101, 0, 0)), Step::PassAndClose);
    assert_eq!(line.asks(A, segment(RST, 102, 0, 0)), Step::PassShortened);
    // b gives up, or is asked again and knows of nothing.
    assert_eq!(line.asks(B, segment(RST, 501, 0, 0)), Step::PassAndClose);
    assert_eq!(line.asks(B, segment(RST | ACK, 0, 101, 0)), Step::PassAndClose);
    assert_eq!(line.asks(B, segment(RST, 0, 101, 0)), WINDOW);
    assert_eq!(line.asks(B, segment(RST | ACK, 0, 102, 0)), WINDOW);
}

#[test]
fn a_syn_on_a_live_connection_passes_once_a_second_and_changes_nothing() {
    let mut line = Line::established();
    let before = line.track;
    line.wait(3);
    for seq in [7777, 100] {
        assert_eq!(line.asks(A, segment(SYN, seq, 0, 0)), Step::PassAside);
        assert_eq!(line.asks(B, segment(SYN, seq, 0, 0)), Step::PassAside);
    }
    line.says(A, segment(SYN, 7777, 0, 0), Step::PassAside);
    assert_eq!((line.track, line.seen), (Track { challenge: 1003, ..before }, 1000));
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), STATE);
    line.says_in_vain(B, segment(SYN, 7777, 0, 0), STATE);
    line.wait(60);
    line.says_in_vain(B, segment(SYN, 7777, 0, 0), STATE);
    line.says_in_vain(A, segment(ACK, 101, 501, 0), Step::Pass);
    line.wait(1);
    line.says(B, segment(SYN, 7777, 0, 0), Step::PassAside);
    assert_eq!(line.track, Track { challenge: 1064, ..before });
    // a has forgotten the connection: what b answers draws a RST at exactly what b acknowledged.
    line.says_in_vain(B, segment(ACK, 501, 101, 0), Step::Pass);
    line.says(A, segment(RST, 101, 0, 0), Step::PassAndClose);
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), Step::Anew);
}

#[test]
fn the_tick_of_a_late_syn_wraps_around() {
    let mut line = Line::established();
    line.now = 0x0002_0000;
    line.says(A, segment(SYN, 7777, 0, 0), Step::PassAside);
    assert_eq!(line.track.challenge, 1, "0 says that none has passed");
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), STATE);
    line.now = 0x0002_fff0;
    line.says(A, segment(SYN, 7777, 0, 0), Step::PassAside);
    line.wait(60);
    line.says_in_vain(A, segment(SYN, 7777, 0, 0), STATE);
    line.wait(1);
    line.says(A, segment(SYN, 7777, 0, 0), Step::PassAside);
    assert_eq!(line.track.challenge, 0x2d);
}
