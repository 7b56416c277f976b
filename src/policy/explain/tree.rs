//! An explanation as a tree: what comes of the packet at the root, what led to it below, tier by tier.

use super::{Account, End, Explanation, Lease, RuleRef};
use crate::policy::words::wrap;

/// A line of the tree, and those below it.
struct Node {
    text: String,
    below: Vec<Node>,
}

impl Node {
    fn leaf(text: impl Into<String>) -> Self {
        Self { text: text.into(), below: Vec::new() }
    }

    /// Draws what is below, each line behind the branches of those above it.
    fn draw(&self, out: &mut String, branches: &str, width: usize) {
        let last = self.below.len().saturating_sub(1);
        for (place, node) in self.below.iter().enumerate() {
            let (mark, rail) = if place == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let behind = format!("{branches}{rail}");
            // A line that wraps keeps the rails of what follows it.
            let hanging = if node.below.is_empty() { "  " } else { "│ " };
            let room = width.saturating_sub(behind.chars().count() + 2).max(20);
            let mut block = String::new();
            wrap(&mut block, &node.text, 0, room);
            for (number, line) in block.lines().enumerate() {
                if number == 0 {
                    out.push_str(branches);
                    out.push_str(mark);
                } else {
                    out.push_str(&behind);
                    out.push_str(hanging);
                }
                out.push_str(line);
                out.push('\n');
            }
            node.draw(out, &behind, width);
        }
    }
}

impl Explanation {
    /// The explanation as a tree, in lines of at most `width` columns where words allow it.
    #[must_use]
    pub fn tree(&self, width: usize) -> String {
        let root = format!(
            "{}, {}   {} → {}  {}",
            self.verdict.to_uppercase(),
            self.outcome_words(),
            self.from.name,
            self.to.name,
            self.service
        );
        let mut below = vec![end("from", &self.from), end("to", &self.to), self.decided(), self.governed()];
        below.extend(self.missed());
        below.extend(self.notes.iter().map(|note| Node::leaf(format!("note  {note}"))));
        below.push(Node::leaf(format!("assumes  {}", self.assumes)));
        below.push(Node::leaf(self.table()));
        let mut out = String::new();
        wrap(&mut out, &root, 0, width);
        out.push('\n');
        Node { text: root, below }.draw(&mut out, "", width);
        out
    }

    /// What decides, and what each tier says, the strongest first.
    fn decided(&self) -> Node {
        let place = self.rule.as_ref().map_or_else(String::new, |rule| format!("   {}", rule.place));
        let text = format!("{}  {}{place}", self.verdict, self.why());
        let mut below = Vec::new();
        match self.guardrails_matching.as_slice() {
            [] if self.stage == "profile" => {}
            [] => {
                below.push(Node::leaf(format!("guardrail  {} considered, none matches", self.guardrails)));
            }
            matching => below.extend(
                matching
                    .iter()
                    .map(|(rule, mode)| Node::leaf(format!("guardrail  {}, {mode}", placed(rule)))),
            ),
        }
        match self.not_asked() {
            Some(words) => below.push(Node::leaf(format!("rules  {words}"))),
            None if self.exceptions.is_empty() => below.push(Node::leaf("exception  none")),
            None => below.extend(
                self.exceptions.iter().map(|one| Node::leaf(format!("exception  {}", one.words()))),
            ),
        }
        below.extend(self.also.iter().map(|rule| Node::leaf(format!("also  {}", placed(rule)))));
        if let Some(reply) = self.reply {
            let when = if self.outcome == "forwarded" { ", once its mode drops" } else { "" };
            below.push(Node::leaf(format!("reply  {reply}{when}")));
        }
        if let Some(moment) = &self.judge_at {
            below.push(Node::leaf(format!("until  {moment}, then judged again")));
        }
        Node { text, below }
    }

    /// The mode, and whose it is.
    fn governed(&self) -> Node {
        let zones = self.zones.iter().map(|zone| {
            let by = match zone.by {
                "source" => "the sender's",
                "mac" => "the MAC is not written: every zone inside counts",
                _ => "the destination's",
            };
            Node::leaf(format!("zone {}: {}  ({by})", zone.name, zone.modes))
        });
        let why =
            if self.zones.is_empty() { "" } else { "  (the MAC is not written: some inside are in none)" };
        let unzoned = self.unzoned.map(|mode| Node::leaf(format!("no zone: unzoned {mode}{why}")));
        let strictest = (self.stage == "profile").then(|| Node::leaf("the strictest on the wire"));
        let below = zones.chain(unzoned).chain(strictest).collect();
        Node { text: format!("mode  {}", self.mode), below }
    }

    /// The allow that came nearest, and what is missing.
    fn missed(&self) -> Option<Node> {
        let nearest = self.nearest.as_ref()?;
        let text = nearest.rule.as_ref().map_or_else(|| "none is near".to_owned(), placed);
        let misses = nearest.misses.iter().map(|miss| format!("wants {}; {}", miss.wants, miss.has));
        let need = format!("would need  {}", nearest.would_need);
        let below = misses.chain([need]).map(Node::leaf).collect();
        Some(Node { text: format!("nearest  {text}"), below })
    }
}

/// `allow.payments-to-vault   rules/payments.toml:1`
fn placed(rule: &RuleRef) -> String {
    format!("{}   {}", rule.id, rule.place)
}

fn end(word: &str, end: &End) -> Node {
    let address = end.address.to_string();
    let text =
        if end.known { format!("{word}  {}  {address}", end.name) } else { format!("{word}  {address}") };
    let mut below = Vec::new();
    match (&end.side, &end.network) {
        (Some(side), Some(network)) => below.push(Node::leaf(format!("side  {side}, network {network}"))),
        (Some(side), None) => below.push(Node::leaf(format!("side  {side}"))),
        (None, _) => below.push(Node::leaf("no side: a group")),
    }
    if !end.known {
        let why = if end.side.is_some() { "no workload claims it" } else { "no [group] lists it" };
        below.push(Node::leaf(format!("unknown: {why}")));
    }
    if !end.labels.is_empty() {
        let labels: Vec<String> = end.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        below.push(Node::leaf(format!("labels  {}", labels.join(" "))));
    }
    if let Some(Account { name, held, why }) = &end.account {
        let held = if *held { "held" } else { "not held" };
        below.push(Node::leaf(format!("account  {name}, {held}: {why}")));
    }
    match &end.binding {
        Some(Lease { valid_until, lapsed: true }) => {
            below.push(Node::leaf(format!("LAPSED at {valid_until}: no allow counts for it")));
        }
        Some(Lease { valid_until, lapsed: false }) => {
            below.push(Node::leaf(format!("valid until {valid_until}")));
        }
        None => {}
    }
    if !end.zones.is_empty() {
        below.push(Node::leaf(format!("in  {}", end.zones.join(", "))));
    }
    Node { text, below }
}
