//! Frames before any rule: unreadable, odd, housekeeping.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;

use crate::memory::{POLICY, Rig};
use crate::says::{FIN, SYN, relaxed, to_jump, to_vault};

#[test]
fn housekeeping_goes_by_the_profile() {
    let mut rig = Rig::under(POLICY);
    rig.forwarded(Side::Outside, &to_vault(0).arp(1));
    rig.forwarded(Side::Outside, &to_vault(1).ndp_solicit());
    rig.forwarded(Side::Inside, &to_vault(1).reply().ndp_advertise());
    rig.dropped(Side::Outside, &to_vault(0).lldp(), Reason::Profile);
    rig.dropped(Side::Outside, &to_vault(0).stp(), Reason::Profile);
    rig.dropped(Side::Outside, &to_vault(0).ethernet(0x88b5, &[0; 46]), Reason::Profile);
}

#[test]
fn what_cannot_be_read_is_dropped_in_every_mode() {
    for policy in [POLICY, &relaxed()] {
        let mut rig = Rig::under(policy);
        let mut frame = to_vault(0).tcp(1, 443, SYN, 1, 0, &[]);
        frame[24] ^= 0xff;
        rig.dropped(Side::Outside, &frame, Reason::IpHeaderChecksum);
        rig.dropped(Side::Outside, &[0; 13], Reason::Truncated);
    }
}

#[test]
fn what_makes_no_sense_obeys_the_mode() {
    let mut rig = Rig::under(POLICY);
    let both = SYN | FIN;
    rig.dropped(Side::Outside, &to_vault(0).tcp(1, 443, both, 1, 0, &[]), Reason::TcpFlags);
    let relaxed = to_jump(0);
    rig.would(Side::Outside, &relaxed.tcp(1, 443, both, 1, 0, &[]), Reason::TcpFlags);
}
