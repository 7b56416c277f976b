//! `portcullis flows`: the connections that a running gate remembers, and those that its policy ended.

use std::fmt::Write;
use std::time::Duration;

use clap::Args;

use super::events;
use super::fault::Fault;
use super::page::{columns, count, duration, number};
use super::screen::Screen;
use super::status::to_the_second;
use super::{Done, Format, FormatArg, SocketArg};
use crate::control::answers::{CutLine, Cuts, FlowEnd, FlowLine, Flows, RuleLine};
use crate::control::client;

/// What `--state` takes: how connections stand, and what stands beside that.
const STATES: [&str; 8] =
    ["opening", "established", "half_closed", "closing", "doubted", "closed", "unseen", "would_drop"];
/// Flows that one request brings at most.
const PAGE: usize = 4_096;

/// The connections that a running gate remembers; with --cut, those that a new policy ended.
#[derive(Debug, Args)]
pub(crate) struct FlowsArgs {
    #[command(flatten)]
    socket: SocketArg,
    #[command(flatten)]
    format: FormatArg,
    /// Only flows with this workload, or this address, at either end.
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    /// Only flows with an end in this zone.
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// Only flows that were opened for this service: a name, or tcp/443.
    #[arg(long)]
    service: Option<String>,
    /// Only flows in this state, or whose first packet was not seen, or that enforcement would drop.
    #[arg(long, value_parser = STATES)]
    state: Option<String>,
    /// Only how many there are, by state and zone.
    #[arg(long)]
    count: bool,
    /// At most so many; of cuts the latest.
    #[arg(long, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Read again and again.
    #[arg(long)]
    watch: bool,
    /// Seconds between two readings.
    #[arg(long, default_value_t = 1, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// The flows that a new policy ended, by which rule, whose it is, and whether these are all.
    #[arg(long, conflicts_with_all = ["workload", "zone", "service", "state", "count"])]
    cut: bool,
}

/// Runs the verb.
///
/// # Errors
/// No gate answers, or it does not know a name that was asked for.
pub(crate) fn run(args: &FlowsArgs, screen: &mut Screen) -> Result<Done, Fault> {
    loop {
        let text = match (args.cut, args.format.format) {
            (true, format) => {
                let cuts = client::cuts(&args.socket.socket, wanted(args).min(PAGE))?;
                match format {
                    Format::Json => serde_json::to_string(&cuts)? + "\n",
                    Format::Table => cut_page(&cuts),
                }
            }
            (false, Format::Json) => serde_json::to_string(&gather(args)?)? + "\n",
            (false, Format::Table) if args.count => count_page(&gather(args)?),
            (false, Format::Table) => page(&gather(args)?),
        };
        match args.format.format {
            Format::Json => screen.show(&text)?,
            Format::Table => screen.replace(&text)?,
        }
        if !args.watch || screen.is_gone() {
            return Ok(Done::Well);
        }
        std::thread::sleep(Duration::from_secs(args.interval));
    }
}

fn wanted(args: &FlowsArgs) -> usize {
    usize::try_from(args.limit).unwrap_or(usize::MAX)
}

/// Page after page, until there are no more or enough.
fn gather(args: &FlowsArgs) -> Result<Flows, Fault> {
    let filters = [
        ("workload", &args.workload),
        ("zone", &args.zone),
        ("service", &args.service),
        ("state", &args.state),
    ];
    let mut all = Flows::default();
    loop {
        let left = wanted(args).saturating_sub(all.flows.len()).min(PAGE).to_string();
        let after = all.next.take();
        let given = filters.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let kind = if args.count { ("count", "true") } else { ("limit", left.as_str()) };
        let page = after.as_deref().map(|after| ("after", after));
        let answer = client::flows(&args.socket.socket, given.chain([kind]).chain(page))?;
        all.add(answer);
        if all.next.is_none() || (!args.count && all.flows.len() >= wanted(args)) {
            return Ok(all);
        }
    }
}

/// Three lines a flow, and a sum.
pub(crate) fn page(flows: &Flows) -> String {
    let mut page: String = flows.flows.iter().map(entry).collect();
    let shown = count(flows.flows.len(), "flow");
    let more = if flows.next.is_some() { ", and more may match: raise --limit" } else { "" };
    let _ = writeln!(
        page,
        "{shown}{more} · {} live · policy generation {}",
        number(flows.live),
        flows.generation
    );
    page
}

/// How many there are.
pub(crate) fn count_page(flows: &Flows) -> String {
    let counts = &flows.counts;
    let rows = |counts: &std::collections::BTreeMap<String, u64>| -> Vec<Vec<String>> {
        counts.iter().map(|(name, n)| vec![name.replace('_', " "), number(*n)]).collect()
    };
    let mut page = columns(&["state", "flows"], &[1], rows(&counts.states));
    let mut zones = rows(&counts.zones);
    zones.push(vec!["no zone".into(), number(counts.unzoned)]);
    let _ = write!(page, "\n{}", columns(&["with an end in zone", "flows"], &[1], zones));
    let _ = writeln!(
        page,
        "\n{} of {} live · {} with the first packet unseen, {} that enforcement would drop · policy generation {}",
        count(usize::try_from(counts.flows).unwrap_or(usize::MAX), "flow"),
        number(flows.live),
        number(counts.unseen),
        number(counts.would_drop),
        flows.generation
    );
    page
}

fn entry(flow: &FlowLine) -> String {
    let mut text = format!("{} → {}  {}", end(&flow.from), end(&flow.to), flow.service);
    if let Some(echo) = flow.echo {
        let _ = write!(text, " id {echo}");
    }
    let _ = write!(text, "  {}", flow.state.replace('_', " "));
    if flow.unseen {
        text.push_str(", first packet unseen");
    }
    let why = match &flow.reason {
        Some(reason) => format!("would drop ({reason})"),
        None => "allowed".into(),
    };
    let zones = match flow.zones.as_slice() {
        [] => "no zone".into(),
        [one] => format!("zone {one}"),
        [..] => format!("zones {}", flow.zones.join(" ")),
    };
    let _ = writeln!(text, "\n    {why}{} · {}, {zones}", by(flow.rule.as_ref()), flow.mode);
    let _ = writeln!(
        text,
        "    {} there, {} back · {} old, idle {} · {}, {} · generation {}",
        sent(&flow.from),
        sent(&flow.to),
        duration(flow.age_seconds),
        duration(flow.idle_seconds),
        flow.side,
        flow.vlans,
        flow.generation
    );
    text
}

/// The cuts, and whether they are all.
pub(crate) fn cut_page(cuts: &Cuts) -> String {
    let mut page: String = cuts.cuts.iter().map(cut_entry).collect();
    let earlier = cuts.kept.saturating_sub(u64::try_from(cuts.cuts.len()).unwrap_or(u64::MAX));
    if earlier > 0 {
        let _ = writeln!(page, "{} earlier ones are kept and not shown: raise --limit", number(earlier));
    }
    let ended = count(usize::try_from(cuts.ended).unwrap_or(usize::MAX), "flow");
    let sum = match (cuts.complete, cuts.swept, cuts.waiting) {
        (true, ..) => "complete: every flow has been judged by it",
        (false, true, 0) => "every flow has been judged by it, and the list is not complete:",
        (false, true, _) => "not complete yet: flows wait to be judged by it",
        (false, false, _) => "not complete yet: flows are still being judged by it",
    };
    let _ = writeln!(page, "generation {} ended {ended} · {sum}", cuts.generation);
    if cuts.swept && cuts.waiting > 0 {
        let waiting = count(usize::try_from(cuts.waiting).unwrap_or(usize::MAX), "flow");
        let _ = writeln!(
            page,
            "  {waiting} not judged: the next frame of its opener shows the MAC that is asked for"
        );
    }
    for (n, of_all, what) in [
        (cuts.forgotten, cuts.forgotten_in_all, "forgotten, for the list is full"),
        (cuts.lost, cuts.lost_in_all, "never listed, for the worker's ring was full"),
    ] {
        if of_all > 0 {
            let _ = writeln!(page, "  {} of it, {} since the start: {what}", number(n), number(of_all));
        }
    }
    page
}

fn cut_entry(cut: &CutLine) -> String {
    let echo = cut.echo.map(|echo| format!(" id {echo}")).unwrap_or_default();
    format!(
        "{}  {} → {}  {}{echo}\n    {} ({}){}\n    judged before{}\n    generation {} → {}, {} · {} there, {} back · {}, \
         {}\n",
        to_the_second(&cut.at),
        end(&cut.from),
        end(&cut.to),
        cut.service,
        cut.words,
        cut.reason,
        by(cut.rule.as_ref()),
        if cut.was.is_some() { by(cut.was.as_ref()) } else { " by no rule".to_owned() },
        cut.was_generation,
        cut.generation,
        if cut.by == "packet" { "at its next packet" } else { "by the hand" },
        sent(&cut.from),
        sent(&cut.to),
        cut.side,
        cut.vlans
    )
}

/// ` by allow.x rules.toml:7, owner security`.
fn by(rule: Option<&RuleLine>) -> String {
    let Some(rule) = rule else { return String::new() };
    let mut text = format!(" by {}", rule.id);
    if let Some(place) = &rule.place {
        let _ = write!(text, " {place}");
    }
    match (&rule.owner, &rule.place) {
        (Some(owner), _) => {
            let _ = write!(text, ", owner {owner}");
        }
        (None, Some(_)) => text.push_str(", no owner"),
        // Nobody knows any more.
        (None, None) => {}
    }
    text
}

fn end(end: &FlowEnd) -> String {
    events::end(end.name.as_deref(), end.address, end.port)
}

/// `3 packets 300 B`.
fn sent(end: &FlowEnd) -> String {
    let packets = usize::try_from(end.packets).unwrap_or(usize::MAX);
    format!("{} {} B", count(packets, "packet"), number(end.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::{cuts, flows};

    #[test]
    fn flows_say_who_speaks_to_whom_and_why_they_may() {
        insta::assert_snapshot!(page(&flows()));
    }

    #[test]
    fn every_state_may_be_asked_for() {
        use crate::flow::Phase;
        assert_eq!(STATES[..6], Phase::ALL.map(Phase::name));
        assert_eq!(STATES[6..], ["unseen", "would_drop"]);
    }

    #[test]
    fn flows_are_counted_by_state_and_zone() {
        insta::assert_snapshot!(count_page(&flows()));
    }

    #[test]
    fn a_list_that_a_limit_cut_says_so() {
        let cut = Flows { next: Some("0.9".into()), live: 23_000, ..flows() };
        let said = "\n3 flows, and more may match: raise --limit · 23 000 live · policy generation 1\n";
        assert!(page(&cut).ends_with(said), "{}", page(&cut));
        assert!(!page(&flows()).contains("--limit"));
    }

    #[test]
    fn cuts_name_both_rules_with_their_owners_and_say_whether_they_are_all() {
        insta::assert_snapshot!(cut_page(&cuts()));
    }

    #[test]
    fn a_list_of_cuts_says_which_flows_wait() {
        let waits = Cuts { cuts: vec![], kept: 0, ended: 3, complete: false, waiting: 2, ..cuts() };
        assert_eq!(
            cut_page(&waits),
            "generation 2 ended 3 flows · not complete yet: flows wait to be judged by it\n  2 flows not judged: the \
             next frame of its opener shows the MAC that is asked for\n"
        );
        let still = Cuts { swept: false, ..waits };
        assert_eq!(
            cut_page(&still),
            "generation 2 ended 3 flows · not complete yet: flows are still being judged by it\n"
        );
    }

    #[test]
    fn a_list_of_cuts_that_is_not_complete_says_why() {
        let none = Cuts { cuts: vec![], kept: 0, ended: 0, swept: false, complete: false, ..cuts() };
        assert_eq!(
            cut_page(&none),
            "generation 2 ended 0 flows · not complete yet: flows are still being judged by it\n"
        );
        let full = Cuts {
            ended: 20_000,
            kept: 16_384,
            complete: false,
            forgotten: 3_000,
            forgotten_in_all: 4_000,
            lost_in_all: 5,
            ..cuts()
        };
        let text = cut_page(&full);
        let said = "16 382 earlier ones are kept and not shown: raise --limit\n\
                    generation 2 ended 20 000 flows · every flow has been judged by it, and the list is not \
                    complete:\n  3 000 of it, 4 000 since the start: forgotten, for the list is full\n  0 of it, \
                    5 since the start: never listed, for the worker's ring was full\n";
        assert!(text.ends_with(said), "{text}");
    }
}
