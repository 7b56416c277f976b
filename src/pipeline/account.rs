//! What the stages decided of one packet, for those who ask packet by packet.
//!
//! What it is: the answer of [`Pipeline::judge_one`]: verdict, what spoke against the packet, the rule, the
//! mode, and how it stands to the flows known. What it is not: no stage reads it. Cost: the live path of a
//! known flow writes none of it; every other packet writes a few fixed-size fields.

use super::{Outcome, Pipeline, Reason, Released, Scene};
use crate::flow::{FlowId, Slot};
use crate::policy::{Denial, Mode, RuleNumber, Verdict};
use crate::wire::{Facts, L4, Net, Reply, Side, parse};

/// What the policy says of the packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It may cross.
    Allow,
    /// It may not; the mode decides what that does.
    Deny,
}

impl From<Option<Denial>> for Answer {
    fn from(denial: Option<Denial>) -> Self {
        if denial.is_some() { Self::Deny } else { Self::Allow }
    }
}

/// How a packet stands to the flows known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It belongs to none, and began none.
    None,
    /// It began one.
    New,
    /// It belongs to one.
    Established,
    /// An ICMP error about one.
    Related,
    /// It began, or belongs to, one whose first packet was not seen.
    Unseen,
}

/// What was decided of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// How it ended.
    pub outcome: Outcome,
    /// What the policy says; `None` where it was not asked, or its answer did not count.
    pub answer: Option<Answer>,
    /// What spoke against it, whatever became of it.
    pub reason: Option<Reason>,
    /// The mode that governed it; `None` where no mode has a say.
    pub mode: Option<Mode>,
    /// The rule that decided.
    pub rule: RuleNumber,
    /// What that rule wants to go back, where such a packet may be answered, whatever became of it.
    pub reply: Option<Reply>,
    /// How it stands to the flows known.
    pub standing: Standing,
    /// The flow it belongs to.
    flow: Option<FlowId>,
}

impl Account {
    /// Nothing decided yet.
    pub(super) const BLANK: Self = Self {
        outcome: Outcome::Forward,
        answer: None,
        reason: None,
        mode: None,
        rule: RuleNumber::NONE,
        reply: None,
        standing: Standing::None,
        flow: None,
    };

    /// A packet that takes the short way writes nothing: it belongs to a known flow.
    const SHORT: Self = Self { standing: Standing::Established, ..Self::BLANK };

    /// The policy was asked about the connection that this packet opens.
    pub(super) fn judged(&mut self, verdict: &Verdict) {
        self.answer = Some(verdict.denial.into());
        self.mode = Some(verdict.mode);
        self.rule = verdict.rule;
    }

    /// The packet belongs to a flow.
    pub(super) fn belongs_to(&mut self, flow: FlowId) {
        self.standing = Standing::Established;
        self.flow = Some(flow);
    }

    /// Something speaks against the packet; `mode` decides what that does, if any may.
    pub(super) fn against(&mut self, reason: Reason, mode: Option<Mode>, rule: RuleNumber) {
        if reason.is_denial() {
            self.answer = Some(Answer::Deny);
        }
        self.reason = Some(reason);
        self.mode = mode;
        self.rule = rule;
    }

    /// What was judged of the flow that the packet belongs to, where nothing else spoke against it.
    fn as_flow(&mut self, slot: &Slot) {
        let denial = slot.denial();
        // What ended the flow has spoken already.
        self.answer = self.answer.or(Some(denial.into()));
        if self.reason.is_none() {
            self.reason = denial.map(Reason::from);
            self.mode = Some(slot.mode());
            self.rule = slot.rule();
        }
        if self.standing == Standing::Established && slot.is_unseen() {
            self.standing = Standing::Unseen;
        }
    }
}

impl Pipeline {
    /// A burst of one packet, with an account of it: the same stages as in [`Pipeline::burst`]. `ended` is
    /// room for its outcome.
    pub fn judge_one(
        &mut self,
        scene: &Scene<'_>,
        frame: &[u8],
        room: usize,
        ended: &mut Vec<Outcome>,
    ) -> Account {
        self.account = Account::SHORT;
        ended.clear();
        self.burst(scene, &[frame], room, ended);
        let outcome = ended.first().copied().unwrap_or(Outcome::Forward);
        self.told(scene, Some(frame), outcome)
    }

    /// [`Pipeline::next_released`] with an account: for callers whose frames always have a way out.
    pub fn release_one<'a>(
        &mut self,
        scene: impl Fn(Side) -> Scene<'a> + Copy,
    ) -> Option<(Released, Account)> {
        self.account = Account::BLANK;
        let released = self.next_released(scene, |_| 1)?;
        Some((released, self.told(&scene(released.side), None, released.outcome)))
    }

    /// The account of the latest packet; the frame is asked about where the short way wrote nothing.
    fn told(&mut self, scene: &Scene<'_>, frame: Option<&[u8]>, outcome: Outcome) -> Account {
        let mut account = Account { outcome, ..self.account };
        match account.standing {
            Standing::Established | Standing::Related => {
                let slot = if let Some(flow) = account.flow {
                    self.flows.entry(flow)
                } else {
                    let facts = frame.and_then(|frame| parse(frame).ok());
                    facts.and_then(|facts| self.flow_of(scene, &facts))
                };
                if let Some(slot) = slot {
                    account.as_flow(slot);
                }
            }
            Standing::None | Standing::New | Standing::Unseen => {}
        }
        account
    }

    /// The flow of a packet, or the one that an ICMP error quotes.
    fn flow_of(&mut self, scene: &Scene<'_>, facts: &Facts) -> Option<&Slot> {
        let quote = match &facts.net {
            Net::Ip(ip) => match ip.l4 {
                L4::Icmp(icmp) => icmp.quote,
                L4::Tcp(_)
                | L4::Udp { .. }
                | L4::Sctp { .. }
                | L4::Other
                | L4::Absent
                | L4::Remembered { .. } => None,
            },
            Net::Arp(_) | Net::Bpdu | Net::Other => None,
        };
        let (key, _) = match quote {
            Some(quote) => quote.key(facts.vlans),
            None => facts.key()?,
        };
        let id = self.flows.find(&key, scene.tick)?;
        self.flows.entry(id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossbeam::queue::ArrayQueue;
    use proptest::prelude::*;

    use super::*;
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, FlowTable, Owner, tick};
    use crate::pipeline::twin::{POLICY, frames};
    use crate::pipeline::{Counters, Snapshot};
    use crate::policy::{Exceptions, Moment, compile, read};

    /// Counters that one packet moved, each once: drops, would-drops, starts of unseen flows.
    fn moved(before: &Snapshot, after: &Snapshot, side: Side) -> (Vec<Reason>, Vec<Reason>, u64) {
        let (before, after) = (&before.sides[side.index()], &after.sides[side.index()]);
        let grown = |before: &[u64], after: &[u64]| {
            let all = Reason::ALL.iter().zip(before).zip(after);
            all.flat_map(|((reason, b), a)| (*b..*a).map(|_| *reason)).collect()
        };
        (
            grown(&before.dropped, &after.dropped),
            grown(&before.would_drop, &after.would_drop),
            after.loose - before.loose,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whatever comes, the account names exactly the counter that moved.
        #[test]
        fn an_account_tells_what_the_counters_tell(
            flows in prop::sample::select(vec![256, 2]),
            packets in prop::collection::vec(
                (any::<bool>(), any::<prop::sample::Index>(), 0..3_usize, 0..20_u64, 0..20_u8),
                1..120,
            ),
        ) {
            let all = frames();
            let compiled = |text: String| {
                compile(&read::read_text(vec![("p.toml".to_owned(), text)]).unwrap().model, &Exceptions::NONE)
            };
            let strict = compiled(POLICY.to_owned());
            let relaxed = compiled(POLICY.replace("mode = \"enforce\"", "mode = \"observe\""));
            let (counters, events) = (Arc::new(Counters::default()), Arc::new(ArrayQueue::new(1)));
            let half_open = Arc::new(HalfOpen::new(64, (3, 4)));
            let (table, owner) = (FlowTable::new(Bounds::of(flows), half_open), Owner::new(1, (1, 2)));
            let mut pipeline = Pipeline::new(table, owner, 0, Arc::clone(&counters), events);
            let (mut now, mut generation) = (1_800_000_000_000_000_000_u64, 1);
            let mut ended = Vec::new();
            for (inside, pick, room, seconds, publish) in packets {
                now += seconds * 1_000_000_000;
                generation += u32::from(publish == 0);
                let side = if inside { Side::Inside } else { Side::Outside };
                let scene = Scene {
                    table: if generation % 2 == 0 { &relaxed } else { &strict },
                    generation,
                    now: Moment(now),
                    asked: Moment(now),
                    tick: tick(now),
                    side,
                };
                pipeline.let_reply(room);
                let before = counters.snapshot();
                let account = pipeline.judge_one(&scene, pick.get::<Vec<u8>>(&all), room, &mut ended);
                let (dropped, would, loose) = moved(&before, &counters.snapshot(), side);
                match account.outcome {
                    Outcome::Drop(reason) => {
                        prop_assert_eq!((&dropped, account.reason), (&vec![reason], Some(reason)));
                        prop_assert_eq!((would, loose), (vec![], 0));
                    }
                    // Who sends the reply counts it.
                    Outcome::Reject(reason, reply) => {
                        prop_assert_eq!((dropped, would, loose), (vec![], vec![], 0));
                        prop_assert_eq!((account.reason, account.reply), (Some(reason), Some(reply)));
                        prop_assert_eq!(account.mode, Some(Mode::Enforce));
                    }
                    Outcome::Forward => {
                        prop_assert_eq!(dropped, vec![]);
                        prop_assert_eq!(would, Vec::from_iter(account.reason));
                        prop_assert!(account.reason.is_none() || account.mode < Some(Mode::Enforce));
                        prop_assert!(loose == 0 || account.standing == Standing::Unseen);
                    }
                    Outcome::Hold(_) => prop_assert_eq!((dropped, would, loose), (vec![], vec![], 0)),
                    Outcome::HandOver(_) => prop_assert!(false, "one worker owns every flow"),
                }
                if let Some(reason) = account.reason.filter(|reason| reason.is_denial()) {
                    prop_assert_eq!(account.answer, Some(Answer::Deny), "{:?}", reason);
                }
            }
        }
    }
}
