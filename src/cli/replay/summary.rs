//! What became of all packets of a replay.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::row::{CUT_SHORT, DROPPED, FORWARDED, REJECTED, Row, TOO_LONG};
use crate::cli::page::{columns, count, duration, number};
use crate::control::instant;
use crate::pipeline::Reason;
use crate::policy::Moment;
use crate::worker::{End, Replayed};

/// Counts of packets. Every packet is in one outcome, one verdict and one flow standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// Digest of the policy.
    pub(super) table: String,
    pub(super) packets: u64,
    pub(super) files: Vec<FileCount>,
    /// Time of the earliest and the latest packet.
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    pub(super) verdicts: BTreeMap<&'static str, u64>,
    pub(super) flows: BTreeMap<&'static str, u64>,
    /// By reason: dropped, and forwarded though enforcement would drop.
    pub(super) reasons: BTreeMap<&'static str, Ends>,
    /// By the rule that decided; the empty name is no rule.
    pub(super) rules: BTreeMap<String, Ends>,
    /// Packets that the capture kept only the beginning of, and were judged by their headers all the same.
    pub(super) judged_by_headers: u64,
    /// Packets stamped earlier than one before them, judged at the time of that one.
    pub(super) late: u64,
    #[serde(skip)]
    span: Option<(u64, u64)>,
}

/// Packets of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct FileCount {
    pub(super) file: String,
    pub(super) packets: u64,
}

/// Packets by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Ends {
    pub(super) forwarded: u64,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
    /// Of the forwarded: enforcement would drop them.
    pub(super) would_drop: u64,
}

impl Summary {
    pub(super) fn new<'a>(files: impl Iterator<Item = &'a str>, table: String) -> Self {
        let zero = |names: &[&'static str]| names.iter().map(|name| (*name, 0)).collect();
        Self {
            table,
            packets: 0,
            files: files.map(|file| FileCount { file: file.to_owned(), packets: 0 }).collect(),
            first: None,
            last: None,
            outcomes: zero(&[FORWARDED, DROPPED, REJECTED]),
            verdicts: zero(&["allow", "deny", "none"]),
            flows: zero(&["new", "established", "related", "unseen", "none"]),
            reasons: BTreeMap::new(),
            rules: BTreeMap::new(),
            judged_by_headers: 0,
            late: 0,
            span: None,
        }
    }

    /// The name of a file.
    pub(super) fn name(&self, file: usize) -> String {
        self.files.get(file).map_or_else(String::new, |file| file.file.clone())
    }

    /// The names of all files.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.file.as_str()).collect();
        names.join(", ")
    }

    /// Counts a packet.
    pub(super) fn add(&mut self, row: &Row<'_>, done: &Replayed) {
        self.packets += 1;
        if let Some(file) = self.files.get_mut(done.file) {
            file.packets += 1;
        }
        let nanos = done.packet.nanos;
        let (first, last) = self.span.map_or((nanos, nanos), |(a, b)| (a.min(nanos), b.max(nanos)));
        self.span = Some((first, last));
        (self.first, self.last) = (Some(instant(Moment(first))), Some(instant(Moment(last))));
        *self.outcomes.entry(row.outcome).or_default() += 1;
        *self.verdicts.entry(row.verdict).or_default() += 1;
        *self.flows.entry(row.flow).or_default() += 1;
        if let Some(reason) = row.reason {
            self.reasons.entry(reason).or_default().add(row);
        }
        self.rules.entry(row.rule.unwrap_or_default().to_owned()).or_default().add(row);
        self.judged_by_headers += u64::from(done.packet.is_cut() && matches!(done.end, End::Judged(_)));
        self.late += u64::from(done.late);
    }

    /// For people.
    pub(super) fn page(&self) -> String {
        let span = self.span.map_or(0, |(first, last)| (last - first) / 1_000_000_000);
        let packets = usize::try_from(self.packets).unwrap_or(usize::MAX);
        let mut page = format!(
            "{} of {} over {}, policy table {}\n\n",
            count(packets, "packet"),
            self.names(),
            duration(span),
            self.table
        );
        let outcomes = [FORWARDED, DROPPED, REJECTED]
            .map(|name| vec![name.to_owned(), number(self.outcomes.get(name).copied().unwrap_or(0))]);
        page += &columns(&["outcome", "packets"], &[1], outcomes.into());
        if !self.reasons.is_empty() {
            let rows = self.reasons.iter().map(|(reason, ends)| {
                let counts = [ends.dropped, ends.rejected, ends.would_drop].map(number);
                [vec![(*reason).to_owned()], counts.into(), vec![words(reason).to_owned()]].concat()
            });
            page.push('\n');
            page +=
                &columns(&["reason", "dropped", "rejected", "would drop", ""], &[1, 2, 3], rows.collect());
        }
        let rows = self.rules.iter().map(|(rule, ends)| {
            let rule = if rule.is_empty() { "no rule" } else { rule.as_str() };
            let counts = [ends.forwarded, ends.dropped, ends.rejected, ends.would_drop].map(number);
            [vec![rule.to_owned()], counts.into()].concat()
        });
        page.push('\n');
        page += &columns(
            &["rule", "forwarded", "dropped", "rejected", "would drop"],
            &[1, 2, 3, 4],
            rows.collect(),
        );
        let unseen = self.flows.get("unseen").copied().unwrap_or(0);
        for (many, what) in [
            (unseen, "of flows whose first packet was not seen"),
            (self.judged_by_headers, "that the capture cut, judged by their headers"),
            (self.late, "stamped earlier than one before them, judged at the time of that one"),
        ] {
            if many > 0 {
                let packets = count(usize::try_from(many).unwrap_or(usize::MAX), "packet");
                let _ = writeln!(page, "\n{packets} {what}");
            }
        }
        page
    }
}

impl Ends {
    fn add(&mut self, row: &Row<'_>) {
        match row.outcome {
            FORWARDED => self.forwarded += 1,
            REJECTED => self.rejected += 1,
            _ => self.dropped += 1,
        }
        let would = matches!(row.would, Some(DROPPED | REJECTED));
        self.would_drop += u64::from(would && row.outcome == FORWARDED);
    }
}

/// What a reason means.
fn words(reason: &str) -> &'static str {
    match reason {
        CUT_SHORT => "the capture holds too little of it to judge; capture with `tcpdump -s 0`",
        TOO_LONG => "longer than a frame of the gate; capture where offloads do not join segments",
        _ => Reason::ALL.iter().find(|known| known.name() == reason).map_or("", |known| known.words()),
    }
}
