//! A comparison as people read it.

use std::fmt::Write as _;

use super::{Change, Comparison, Kind, Names, Outcome};
use crate::policy::words::wrap;

/// Differences of one kind that a page tells.
const TOLD: usize = 20;
/// Names that a line tells.
const LISTED: usize = 6;
/// Where the second line of an entry begins.
const INDENT: usize = 9;

impl Comparison {
    /// Everything, in lines of at most `width` columns where words allow it.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let mut page = Page { text: String::new(), width };
        for kind in [Kind::Opens, Kind::Closes, Kind::Changes] {
            self.kind(&mut page, kind);
        }
        self.written(&mut page);
        self.last(&mut page);
        page.text
    }

    /// Only what opens, and whether anything does.
    #[must_use]
    pub fn opening(&self, width: usize) -> String {
        let mut page = Page { text: String::new(), width };
        self.kind(&mut page, Kind::Opens);
        for setting in self.settings.iter().filter(|setting| setting.opens) {
            let Written { old, new } = Written::of(setting.old.as_deref(), setting.new.as_deref());
            page.line(2, &format!("{}: {old} → {new}", setting.key));
        }
        for binding in &self.inventory.lasts_longer {
            page.line(2, &lasts(binding));
        }
        let touched = |what: &str, names: &[String]| match names {
            [] => format!("no {what}"),
            names => format!("{what} {}", names.join(", ")),
        };
        if self.opens {
            let (zones, owners) = (touched("zone", &self.zones), touched("owner", &self.owners));
            page.line(0, &format!("an opening: touches {zones}; {owners}"));
        } else {
            let (closes, changes) = (self.count(Kind::Closes), self.count(Kind::Changes));
            page.line(0, &format!("no opening: {closes} that close, {changes} that only change"));
        }
        self.last(&mut page);
        page.text
    }

    fn count(&self, kind: Kind) -> u64 {
        let told = self.changes.iter().filter(|change| change.kind == kind).count();
        let more = self.left_out.get(&kind).copied().unwrap_or(0);
        u64::try_from(told).unwrap_or(u64::MAX).saturating_add(more)
    }

    fn kind(&self, page: &mut Page, kind: Kind) {
        let word = match kind {
            Kind::Opens => "OPENS",
            Kind::Closes => "closes",
            Kind::Changes => "changes",
        };
        let all = self.count(kind);
        page.line(0, &format!("{word:7}  {all}"));
        let of_kind = || self.changes.iter().filter(|change| change.kind == kind);
        for change in of_kind().take(TOLD) {
            change.tell(page);
        }
        let told = u64::try_from(of_kind().take(TOLD).count()).unwrap_or(u64::MAX);
        if all > told {
            let listed = u64::try_from(of_kind().count()).unwrap_or(u64::MAX);
            page.line(2, &format!("and {} more; --format json has {listed}", all - told));
        }
    }

    fn written(&self, page: &mut Page) {
        let Self { rules, settings, inventory, .. } = self;
        for rule in rules.iter().take(TOLD) {
            let places = Written::of(rule.old.as_deref(), rule.new.as_deref());
            page.line(0, &format!("rule     {} {}   {}", rule.id, rule.change, places.now_or_before()));
        }
        more(page, "rule", rules.len());
        for setting in settings.iter().take(TOLD) {
            let Written { old, new } = Written::of(setting.old.as_deref(), setting.new.as_deref());
            page.line(0, &format!("setting  {}: {old} → {new}", setting.key));
        }
        more(page, "setting", settings.len());
        for entry in inventory.entries.iter().take(TOLD) {
            let places = Written::of(entry.old.as_deref(), entry.new.as_deref());
            let fields = entry.fields.iter().map(|(key, old, new)| match (entry.change, old, new) {
                ("came", _, Some(one)) | ("went", Some(one), _) => format!("{key} {one}"),
                _ => {
                    let Written { old, new } = Written::of(old.as_deref(), new.as_deref());
                    format!("{key} {old} → {new}")
                }
            });
            let fields: Vec<String> = fields.collect();
            let place = places.now_or_before();
            page.line(
                0,
                &format!("host     {} {}: {}   {place}", entry.name, entry.change, fields.join(", ")),
            );
        }
        more(page, "host", inventory.entries.len() + inventory.entries_left_out);
        for moved in inventory.restrictions.iter().take(TOLD) {
            let end = moved.end.map_or_else(String::new, |end| format!(" ({end})"));
            let gone = match (&moved.old, &moved.new) {
                (Some(_), None) => ", which is gone",
                (None, Some(_)) => ", which is new",
                (Some(_) | None, Some(_) | None) => "",
            };
            for (word, names) in [("leaves", &moved.left), ("enters", &moved.entered)] {
                if names.count() > 0 {
                    page.line(0, &format!("{word}   {}{end}{gone}: {}", moved.what, list(names)));
                }
            }
        }
        more(page, "leaves", inventory.restrictions.len());
        for binding in &inventory.lasts_longer {
            page.line(0, &format!("OPENS    later: {}", lasts(binding)));
        }
    }

    fn last(&self, page: &mut Page) {
        page.line(
            0,
            &format!(
                "compared at {} for every pair, service, side, tag and MAC · table {} → {}",
                self.at, self.old, self.new
            ),
        );
    }
}

/// A page on its way.
struct Page {
    text: String,
    width: usize,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str) {
        self.text.extend(std::iter::repeat_n(' ', indent));
        let mut block = String::new();
        wrap(&mut block, text, indent.max(INDENT), self.width);
        for (number, line) in block.lines().enumerate() {
            if number > 0 {
                self.text.push('\n');
            }
            self.text.push_str(line.trim_end());
        }
        self.text.push('\n');
    }
}

/// Words for something that may not have been there.
struct Written<'a> {
    old: &'a str,
    new: &'a str,
}

impl<'a> Written<'a> {
    fn of(old: Option<&'a str>, new: Option<&'a str>) -> Self {
        Self { old: old.unwrap_or("none"), new: new.unwrap_or("none") }
    }

    fn now_or_before(&self) -> String {
        match (self.old, self.new) {
            (old, "none") => old.to_owned(),
            ("none", new) => new.to_owned(),
            (old, new) if old == new => new.to_owned(),
            (old, new) => format!("{old} → {new}"),
        }
    }
}

fn more(page: &mut Page, word: &str, all: usize) {
    if all > TOLD {
        page.line(0, &format!("{word:7}  and {} more", all - TOLD));
    }
}

fn list(names: &Names) -> String {
    let told: Vec<&str> = names.names.iter().take(LISTED).map(String::as_str).collect();
    let more = names.count() - told.len();
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    told.join(", ") + &rest
}

fn lasts(binding: &super::Binding) -> String {
    let new =
        binding.new.as_ref().map_or_else(|| "never lapses".to_owned(), |end| format!("lapses at {end}"));
    format!(
        "{} {new}, was {}: compare --at that moment to see what that opens",
        binding.workload, binding.old
    )
}

impl Change {
    fn tell(&self, page: &mut Page) {
        let Self { from, to, services, .. } = self;
        page.line(2, &format!("{} → {}   {}", from.text, to.text, list(services)));
        page.line(4, &format!("was  {}", self.old.words()));
        let mut notes = vec![format!("now  {}", self.new.words())];
        if self.into_enforced {
            notes.push("into an enforced zone".to_owned());
        }
        if self.out_of_enforce {
            notes.push("out of enforce".to_owned());
        }
        page.line(4, &notes.join(" · "));
        let mut notes = Vec::new();
        if !self.zones.is_empty() {
            notes.push(format!("zone {}", self.zones.join(", ")));
        }
        if !self.owners.is_empty() {
            notes.push(format!("owner {}", self.owners.join(", ")));
        }
        if self.macs != ["any"] {
            notes.push(format!("MAC {}", self.macs.join(" or ")));
        }
        if !notes.is_empty() {
            page.line(4, &notes.join(" · "));
        }
        if let Some(example) = &self.example {
            let mut text = String::new();
            let super::Example { src, dst, service, side, mac, vlan, fragment, .. } = example;
            let _ = write!(text, "such as {src} → {dst} {service} from {side}, MAC {mac}, {vlan}");
            if *fragment {
                text.push_str(", a later fragment");
            }
            page.line(4, &text);
        }
    }
}

impl Outcome {
    /// `dropped: no_rule (enforce)`, `forwarded by allow.x rules/x.toml:1`.
    fn words(&self) -> String {
        let mut words = self.outcome.to_owned();
        if let Some(reason) = self.reason {
            words = format!("{words}: {reason}");
        }
        words = format!("{words} ({})", self.mode);
        match &self.rule {
            Some(rule) => format!("{words} by {} {}", rule.id, rule.place),
            None => words,
        }
    }
}
