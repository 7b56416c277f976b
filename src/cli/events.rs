//! `portcullis events`: the latest packets that did not cross, or would not have.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;

use super::fault::{Fault, tell};
use super::page::number;
use super::screen::Screen;
use super::{Done, Format, FormatArg, SocketArg};
use crate::control::answers::{EventLine, Events};
use crate::control::client;

/// Seconds a watcher lets the gate wait for the next event.
const WAIT: Duration = Duration::from_secs(20);
/// Events asked for at a time.
const PAGE: usize = 1_000;

/// The latest packets that did not cross, or would not have: drops, would-drops, logged allows.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    socket: SocketArg,
    /// How to print them; `json` is one object a line.
    #[command(flatten)]
    format: FormatArg,
    /// Go on with what comes.
    #[arg(long)]
    watch: bool,
    /// Begin with the latest so many.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=4096))]
    last: u16,
}

/// Runs the verb.
///
/// # Errors
/// No gate answers.
pub(crate) fn run(args: &EventsArgs, screen: &mut Screen) -> Result<Done, Fault> {
    let socket = &args.socket.socket;
    let mut page = client::latest_events(socket, args.last.into())?;
    let mut lost = page.lost;
    show(&page, args.format.format, screen)?;
    if page.lost > 0 {
        tell(&format!("{} events were lost since the gate came up: workers' rings were full\n", page.lost));
    }
    while args.watch && !screen.is_gone() {
        page = client::await_events(socket, page.next, PAGE, WAIT)?;
        gaps(&page, lost);
        lost = page.lost;
        show(&page, args.format.format, screen)?;
    }
    Ok(Done::Well)
}

/// What is not shown is said, on standard error: the lines stay one event each.
fn gaps(page: &Events, lost: u64) {
    if page.missed > 0 {
        tell(&format!("{} events were overwritten before they were read\n", page.missed));
    }
    if page.lost > lost {
        tell(&format!("{} more events were lost: workers' rings were full\n", page.lost - lost));
    }
}

fn show(page: &Events, format: Format, screen: &mut Screen) -> Result<(), Fault> {
    let mut text = String::new();
    for event in &page.events {
        match format {
            Format::Json => {
                text.push_str(&serde_json::to_string(event)?);
                text.push('\n');
            }
            Format::Table => text.push_str(&entry(event)),
        }
    }
    screen.show(&text)?;
    Ok(())
}

/// An event in three lines: what it was, why, and the frame.
pub(crate) fn entry(event: &EventLine) -> String {
    let kind = event.kind.replace('_', " ");
    let mut text = format!("{}  {kind:<10}  {:<7}  ", time(&event.at), event.side);
    if let (Some(src), Some(dst)) = (event.src, event.dst) {
        let _ = write!(
            text,
            "{} → {}  ",
            end(event.src_name.as_deref(), src, event.sport),
            end(event.dst_name.as_deref(), dst, event.dport)
        );
    }
    let _ = writeln!(text, "{}", event.service);
    let why = event.words.as_deref().unwrap_or("allowed");
    let _ = write!(text, "              {why}");
    if let Some(reason) = &event.reason {
        let _ = write!(text, " ({reason})");
    }
    if let Some(rule) = &event.rule {
        let _ = write!(text, " by {rule}");
    }
    if let Some(place) = &event.rule_place {
        let _ = write!(text, " {place}");
    }
    let _ = writeln!(text, " · {}", event.mode);
    let frame = match (&event.src_mac, &event.dst_mac) {
        (Some(src), Some(dst)) => {
            format!("{src} → {dst} · {} · {} B", event.vlans, number(event.length.into()))
        }
        (None, _) | (_, None) if event.length > 0 => {
            format!("cut short · {} B", number(event.length.into()))
        }
        (None, _) | (_, None) => format!("{} · no packet", event.vlans),
    };
    let _ = writeln!(text, "              {frame}");
    text
}

/// `vault-1 10.20.0.10:443`.
pub(super) fn end(name: Option<&str>, address: IpAddr, port: Option<u16>) -> String {
    let address = match (address, port) {
        (IpAddr::V6(v6), Some(port)) => format!("[{v6}]:{port}"),
        (IpAddr::V4(v4), Some(port)) => format!("{v4}:{port}"),
        (other, None) => other.to_string(),
    };
    match name {
        Some(name) => format!("{name} {address}"),
        None => address,
    }
}

/// The time of day to the millisecond: `12:00:00.123`.
fn time(at: &str) -> String {
    let time = at.split_once('T').map_or(at, |(_, time)| time).trim_end_matches('Z');
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    format!("{seconds}.{millis}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::lines;

    #[test]
    fn an_event_says_what_it_was_and_why() {
        let text: String = lines().iter().map(entry).collect();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_has_no_frame_shows_none() {
        let whole = lines().remove(0);
        let last = |src_mac: Option<&str>, dst_mac: Option<&str>, length| {
            let macs = [src_mac, dst_mac].map(|mac| mac.map(str::to_owned));
            let [src_mac, dst_mac] = macs;
            let text = entry(&EventLine { src_mac, dst_mac, length, ..whole.clone() });
            text.lines().last().unwrap().trim().to_owned()
        };
        let mac = Some("02:00:00:00:00:fe");
        assert_eq!(last(mac, mac, 60), "02:00:00:00:00:fe → 02:00:00:00:00:fe · untagged · 60 B");
        assert_eq!(last(None, None, 0), "untagged · no packet");
        assert_eq!(last(None, mac, 7), "cut short · 7 B");
    }

    #[test]
    fn a_time_has_three_places() {
        assert_eq!(time("2026-11-24T12:00:00.123456789Z"), "12:00:00.123");
        assert_eq!(time("2026-11-24T12:00:00.5Z"), "12:00:00.500");
        assert_eq!(time("2026-11-24T12:00:00Z"), "12:00:00.000");
    }
}
