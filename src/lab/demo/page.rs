//! The demo's page: one line an attempt, printed as it ends. Reads well at 100 columns; the sign in front
//! says the same as the words.

use std::io::{self, Write};

use super::attempts::{ATTEMPTS, Attempt};
use super::outcome::Row;
use super::voice::VoiceError;
use crate::control::answers::Status;
use crate::lab::topology;

/// What stands above the table.
pub(super) fn head(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    let modes: Vec<&str> = status.ports.iter().map(|port| port.xdp.as_str()).collect();
    let modes = match modes.as_slice() {
        [a, b] if a == b => format!("{a} XDP"),
        other => format!("{} XDP", other.join(" and ")),
    };
    let zero_copy = status.ports.iter().all(|port| port.zero_copy);
    let copy = if zero_copy { "zero-copy" } else { "copy mode" };
    let queues: Vec<String> = status
        .workers
        .iter()
        .map(|worker| match worker.core {
            Some(core) => format!("queue {} on core {core}", worker.queue),
            None => format!("queue {} on any core", worker.queue),
        })
        .collect();
    writeln!(out, "the lab: {}", topology::in_words())?;
    writeln!(out, "the gate: one wire, {modes}, {copy}, {}", queues.join(", "))?;
    for zone in &status.policy.zones {
        writeln!(out, "zone {}: {}", zone.name, zone.mode)?;
    }
    line(out, " ", ["attempt", "service", "", "promised", "happened", "why"])
}

/// One attempt.
pub(super) fn row(attempt: &Attempt, row: &Row, out: &mut dyn Write) -> io::Result<()> {
    let sign = if row.kept { "✔" } else { "✘" };
    let (words, service) = (attempt.words(), attempt.service_words());
    let family = if attempt.v6 { "v6" } else { "v4" };
    line(out, sign, [&words, &service, family, attempt.promise.word(), row.happened.word(), &row.why])
}

/// What stands below the table.
pub(super) fn foot(
    kept: usize,
    of: usize,
    status: Result<&Status, &VoiceError>,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{kept} of {of} as promised. ")?;
    match status {
        Err(why) => writeln!(out, "The gate does not tell its counts: {why}"),
        Ok(status) => {
            let sum = status.equation();
            let account = if sum.holds { "every one accounted for" } else { "which does not add up" };
            writeln!(
                out,
                "{} packets received = {} forwarded + {} dropped + {} rejected, {account}.",
                grouped(sum.rx),
                grouped(sum.forwarded),
                grouped(sum.dropped),
                grouped(sum.rejected)
            )
        }
    }
}

fn line(out: &mut dyn Write, sign: &str, cells: [&str; 6]) -> io::Result<()> {
    let [attempt, service, family, promised, happened, why] = cells;
    let width = ATTEMPTS.iter().map(|a| a.words().chars().count()).max().unwrap_or(0);
    let text = format!("{sign} {attempt:width$} {service:8} {family:2} {promised:8} {happened:8} {why}");
    writeln!(out, "{}", text.trim_end())?;
    out.flush()
}

/// `18 412`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::demo::Happened;

    #[test]
    fn numbers_are_grouped() {
        let all = [0, 12, 999, 1000, 18_412, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "12", "999", "1 000", "18 412", "1 234 567"]);
    }

    #[test]
    fn a_row_that_is_as_promised_fits_100_columns() {
        for attempt in &ATTEMPTS {
            let why = match attempt.promise {
                super::super::Promise::Allow(rule) => rule.to_owned(),
                super::super::Promise::Resolves => "02:00:00:20:00:10".to_owned(),
                super::super::Promise::Deny(denial) => denial.words.to_owned(),
                super::super::Promise::Simulate(denial) => format!("would drop: {}", denial.words),
            };
            let mut out = Vec::new();
            row(attempt, &Row { happened: Happened::Allow, why, kept: true }, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.chars().count() <= 100, "{text}");
        }
    }

    #[test]
    fn a_line_reads_like_this() {
        let mut out = Vec::new();
        let why = "allow.payments-to-vault".to_owned();
        row(&ATTEMPTS[4], &Row { happened: Happened::Allow, why, kept: true }, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "✔ payments → vault               tcp/443  v4 allow    allow    allow.payments-to-vault\n"
        );
    }
}
