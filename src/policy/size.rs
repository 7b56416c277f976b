//! What a compiled table comes to.
//!
//! What it is: counts and bytes of what a judgement may touch, for `check`, and what to say where that is
//! more than a processor keeps near. What it is not: everything in memory; names and places for reports are
//! not counted.

use std::ops::Range;

use super::code::Code;
use super::diagnostic::Diagnostic;
use super::table::{Column, Lease, Row, Spot, Table};

/// A level 2 cache: what one core keeps to itself.
const NEAR: usize = 1 << 20;
/// Beyond so much the steps of a burst cost less than what they wait for: from 2 MiB on, measured
/// (docs/BENCHMARKS.md). Between this and a core's own cache a shared one answers soon enough.
const FAR: usize = 2 << 20;
/// A level 3 cache: what a socket's cores share. Beyond it a judgement waits for memory.
const SHARED: usize = 32 << 20;

/// Counts and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Classes of addresses that rules tell apart as senders.
    pub senders: usize,
    /// And as destinations, zones included.
    pub destinations: usize,
    /// Pairs of them that are written down.
    pub cells: usize,
    /// Distinct programs over services in all cells.
    pub programs: usize,
    /// Distinct answers of all programs.
    pub answers: usize,
    /// Bytes that a judgement may touch.
    pub bytes: usize,
}

impl Size {
    /// What is worth a word about it.
    #[must_use]
    pub fn warning(&self) -> Option<Diagnostic> {
        (self.bytes > SHARED).then(|| {
            let message = format!(
                "the compiled policy takes {} MiB, and a processor's caches keep about {}: new flows wait for memory",
                self.bytes >> 20,
                SHARED >> 20
            );
            Diagnostic::new(Code::TableLarge, None, message).help(Code::TableLarge.remedy())
        })
    }

    /// Where a processor can keep it, in words.
    #[must_use]
    pub const fn fits(&self) -> &'static str {
        if self.bytes <= NEAR {
            "fits a core's own cache"
        } else if self.bytes <= SHARED {
            "fits a shared cache"
        } else {
            "beyond caches"
        }
    }
}

impl Table {
    /// Knows by its size how it is asked.
    pub(super) fn sized(self) -> Self {
        let in_steps = self.size().bytes > FAR;
        Self { in_steps, ..self }
    }

    /// Whether the packets of a burst are judged in steps that wait for memory together
    /// ([`Self::meet_all`]): it is more than twice what a core keeps to itself. Of a smaller one little is
    /// waited for, and one after the other costs less (docs/BENCHMARKS.md).
    #[must_use]
    pub const fn asks_in_steps(&self) -> bool {
        self.in_steps
    }

    /// The same, asked one way or the other whatever its size, for tests: both give the same.
    #[doc(hidden)]
    #[must_use]
    pub fn asked_in_steps(self, in_steps: bool) -> Self {
        Self { in_steps, ..self }
    }

    /// The addresses of what a judgement reads at random, for whoever chooses the pages that they stand in; the table's
    /// as long as it lives.
    #[must_use]
    pub fn memory(&self) -> [Range<usize>; 5] {
        fn of<T>(all: &[T]) -> Range<usize> {
            let Range { start, end } = all.as_ptr_range();
            start.addr()..end.addr()
        }
        let [columns, programs] = self.overlay.memory();
        [columns, programs, self.briefs.memory(), of(&self.plain), of(&self.spots)]
    }

    /// What it comes to.
    #[must_use]
    pub fn size(&self) -> Size {
        let of = |count: usize, each: usize| count.saturating_mul(each);
        let bytes = [
            self.space.bytes(),
            of(self.spots.len(), size_of::<Spot>()),
            of(self.leases.len(), size_of::<Lease>()),
            of(self.rows.len(), size_of::<Row>()),
            of(self.columns.len(), size_of::<Column>()),
            of(self.plain.len(), size_of::<u32>()),
            self.overlay.bytes(),
            self.briefs.bytes(),
            self.exempt.as_ref().map_or(0, |exempt| exempt.bytes()),
        ];
        Size {
            senders: self.rows.len(),
            destinations: self.columns.len(),
            cells: self.plain.len().saturating_add(self.overlay.cells()),
            programs: self.programs.count(),
            answers: self.answers.len(),
            bytes: bytes.into_iter().fold(0, usize::saturating_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::policy::sample::load;
    use crate::policy::{Exceptions, compile};

    /// Two applications a rule, one inside and one outside, each with `hosts` hosts that have a label of their
    /// own; and everybody may ask the time servers.
    fn policy(rules: u32, hosts: u32) -> String {
        let mut text = String::from(
            "[wire.w]\noutside = \"a\"\ninside = \"b\"\nfail = \"closed\"\nunzoned = \"enforce\"\n[profile]\n\
             arp = \"drop\"\nndp = \"drop\"\nlldp = \"drop\"\nstp = \"drop\"\nlacp = \"drop\"\ndhcp = \"drop\"\n\
             other = \"drop\"\n[label]\napp = {}\nrack = {}\n[network.in]\nat = \"w.inside\"\n\
             prefixes = [\"10.0.0.0/9\"]\n[network.out]\nat = \"w.outside\"\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n\
             [workload.time]\naddresses = [\"10.127.0.1\"]\nlabels = { app = \"time\" }\n\
             [allow.time]\nfrom = { any = true }\nto = { app = \"time\" }\nservices = [\"udp/123\"]\n",
        );
        for rule in 0..rules {
            for host in 0..hosts {
                for (side, net) in [("in", 0), ("out", 128)] {
                    let _ = writeln!(
                        text,
                        "[workload.{side}{rule}-{host}]\naddresses = [\"10.{}.{}.{host}\"]\n\
                         labels = {{ app = \"{side}{rule}\", rack = \"r{rule}-{host}\" }}",
                        net + rule / 256,
                        rule % 256
                    );
                }
            }
            let _ = writeln!(
                text,
                "[allow.r{rule}]\nfrom = {{ app = \"out{rule}\" }}\nto = {{ app = \"in{rule}\" }}\nservices = [\"tcp/443\"]"
            );
        }
        text
    }

    fn size(rules: u32, hosts: u32) -> Size {
        compile(&load(&policy(rules, hosts)).model, &Exceptions::NONE).size()
    }

    #[test]
    fn what_no_selector_names_makes_no_class() {
        let (one, many) = (size(8, 1), size(8, 20));
        let classes =
            |size: Size| [size.senders, size.destinations, size.cells, size.programs, size.answers];
        assert_eq!(classes(one), classes(many), "twenty hosts in racks of their own are one class");
        // Senders: unclaimed, in no rule but the time's, and each rule's. Destinations: unclaimed, claimed, the
        // time server, and each rule's.
        assert_eq!((one.senders, one.destinations), (10, 11));
        // Nothing, the time, each rule.
        assert_eq!((one.programs, one.answers), (1 + 1 + 8, 1 + 1 + 8));
    }

    #[test]
    fn a_table_grows_as_its_rules_do_and_not_as_their_square() {
        let (one, four) = (size(100, 1), size(400, 1));
        assert!(four.cells <= 5 * one.cells, "{} and {}", one.cells, four.cells);
        assert!(four.bytes <= 5 * one.bytes, "{} and {}", one.bytes, four.bytes);
    }

    #[test]
    fn a_table_beyond_caches_is_said() {
        let small = size(2, 1);
        assert_eq!((small.fits(), small.warning()), ("fits a core's own cache", None));
        let shared = Size { bytes: SHARED, ..small };
        assert_eq!((shared.fits(), shared.warning()), ("fits a shared cache", None));
        let large = Size { bytes: SHARED + 1, ..small };
        assert_eq!(large.fits(), "beyond caches");
        let warning = large.warning().expect("a word");
        assert_eq!(warning.code, Code::TableLarge);
        assert!(warning.message.starts_with("the compiled policy takes 32 MiB"), "{}", warning.message);
    }
}
