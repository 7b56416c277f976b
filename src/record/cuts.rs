//! The latest flows that a new policy ended, with the names they had then.
//!
//! Invariants: at most `capacity` cuts are kept, the oldest go first and are counted; so are those that found
//! their worker's ring full. A cut keeps its names, for those of its generation are forgotten two publishes
//! later. Cost: one lock a batch written and one a list read, off the packet path; about 5 MiB when full.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Generation, Names};
use crate::pipeline::Cut;
use crate::policy::RuleNumber;

/// A rule as it was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName {
    /// `allow.payments-to-vault`; where nobody knows any more, its number.
    pub id: String,
    /// `rules/payments.toml:1`.
    pub place: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
}

impl RuleName {
    /// The name of a rule that judged under a generation; `None`: no rule did.
    #[must_use]
    pub fn of(number: RuleNumber, generation: u32, known: Option<&Generation>) -> Option<Self> {
        if number == RuleNumber::NONE {
            return None;
        }
        let face = known.and_then(|known| Some((known, known.rule(number)?)));
        Some(match face {
            Some((known, rule)) => {
                Self { id: rule.id.clone(), place: Some(known.place(rule)), owner: rule.owner.clone() }
            }
            None => Self {
                id: format!("rule {} of generation {generation}", number.0),
                place: None,
                owner: None,
            },
        })
    }
}

/// A cut with its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCut {
    /// The cut.
    pub cut: Cut,
    /// Workloads of its ends, by the policy that ended it, else by the one before.
    pub workloads: [Option<String>; 2],
    /// The rule that ended it.
    pub rule: Option<Arc<RuleName>>,
    /// The rule it had lived by.
    pub was: Option<Arc<RuleName>>,
}

/// A rule's number with its generation, and its name.
type Asked = ((RuleNumber, u32), Option<Arc<RuleName>>);

/// Names cuts as they come.
pub(super) struct Naming<'n> {
    names: &'n Names,
    /// The latest names asked for: most cuts of a publish share both rules.
    latest: [Option<Asked>; 2],
}

impl<'n> Naming<'n> {
    pub(super) const fn new(names: &'n Names) -> Self {
        Self { names, latest: [None, None] }
    }

    pub(super) fn name(&mut self, cut: Cut) -> NamedCut {
        let [now, before] = [cut.generation, cut.was_generation].map(|number| self.names.of(number));
        let called = |end: usize| {
            let (address, _) = cut.ends.get(end)?;
            let name = |known: &Option<Generation>| known.as_ref()?.workload(*address).map(str::to_owned);
            name(&now).or_else(|| name(&before))
        };
        let workloads = [called(0), called(1)];
        let [by, was] = &mut self.latest;
        NamedCut {
            cut,
            workloads,
            rule: rule(by, (cut.rule, cut.generation), now.as_ref()),
            was: rule(was, (cut.was, cut.was_generation), before.as_ref()),
        }
    }
}

fn rule(
    latest: &mut Option<Asked>,
    asked: (RuleNumber, u32),
    known: Option<&Generation>,
) -> Option<Arc<RuleName>> {
    match latest {
        Some((of, name)) if *of == asked => name.clone(),
        Some(_) | None => {
            let name = RuleName::of(asked.0, asked.1, known).map(Arc::new);
            *latest = Some((asked, name.clone()));
            name
        }
    }
}

/// How things stood when a batch was taken from the workers' rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Generation in force.
    pub generation: u32,
    /// Every flow had been judged by it before the batch was taken, and the batch emptied the rings.
    pub complete: bool,
    /// Cuts that found their ring full, since the gate came up.
    pub lost: u64,
    /// Flows that wait for their opener's next frame.
    pub waiting: u64,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutPage {
    /// The latest, the oldest of them first.
    pub cuts: Vec<NamedCut>,
    /// How many are kept.
    pub kept: usize,
    /// Those of the generation in force.
    pub latest: CutTally,
    /// Of all generations since the gate came up: no longer kept, and lost.
    pub gone: (u64, u64),
}

/// The cuts of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutTally {
    /// The generation.
    pub generation: u32,
    /// Flows it ended, listed or not.
    pub ended: u64,
    /// No longer kept.
    pub forgotten: u64,
    /// Found their ring full.
    pub lost: u64,
    /// Every flow has been judged by it, and what that ended is counted here.
    pub swept: bool,
    /// But so many, which wait for their opener's next frame.
    pub waiting: u64,
}

/// A bounded list of cuts.
#[derive(Debug)]
pub struct CutList {
    kept: Mutex<Kept>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Kept {
    cuts: VecDeque<NamedCut>,
    latest: CutTally,
    forgotten: u64,
    lost: u64,
}

impl Default for CutList {
    fn default() -> Self {
        Self::new(Self::CAPACITY)
    }
}

impl CutList {
    /// Cuts a list keeps.
    pub const CAPACITY: usize = 16_384;

    /// A list of the latest `capacity` cuts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { kept: Mutex::default(), capacity }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch in the order it was made.
    pub fn append(&self, batch: Vec<NamedCut>, taken: Taken) {
        let mut kept = self.kept();
        if taken.generation != kept.latest.generation {
            kept.latest = CutTally { generation: taken.generation, ..CutTally::default() };
        }
        // What was lost since the last batch may be the one before's: better counted once too often for the
        // one in force than a list called complete that is not.
        let lost = taken.lost.saturating_sub(kept.lost);
        kept.lost = taken.lost;
        kept.latest.lost += lost;
        kept.latest.ended += lost;
        kept.latest.swept |= taken.complete;
        kept.latest.waiting = taken.waiting;
        for cut in batch {
            if kept.cuts.len() >= self.capacity
                && let Some(oldest) = kept.cuts.pop_front()
            {
                kept.forgotten += 1;
                kept.latest.forgotten += u64::from(oldest.cut.generation == taken.generation);
            }
            kept.latest.ended += u64::from(cut.cut.generation == taken.generation);
            kept.cuts.push_back(cut);
        }
    }

    /// The latest `limit` cuts.
    #[must_use]
    pub fn last(&self, limit: usize) -> CutPage {
        let kept = self.kept();
        let skip = kept.cuts.len().saturating_sub(limit);
        CutPage {
            cuts: kept.cuts.iter().skip(skip).cloned().collect(),
            kept: kept.cuts.len(),
            latest: kept.latest,
            gone: (kept.forgotten, kept.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    fn batch(generation: u32, ports: std::ops::Range<u16>) -> Vec<NamedCut> {
        let cuts = ports.map(|port| Cut { generation, ..fixture::cut(port) });
        fixture::named(&Names::default(), cuts)
    }

    fn ports(page: &CutPage) -> Vec<u16> {
        page.cuts.iter().map(|named| named.cut.ends[0].1).collect()
    }

    #[test]
    fn the_latest_cuts_are_kept_and_the_forgotten_and_lost_counted() {
        let list = CutList::new(4);
        list.append(batch(2, 0..3), Taken { generation: 2, complete: true, lost: 0, waiting: 0 });
        let page = list.last(2);
        assert_eq!((ports(&page), page.kept, page.gone), (vec![1, 2], 3, (0, 0)));
        let two = CutTally { generation: 2, ended: 3, forgotten: 0, lost: 0, swept: true, waiting: 0 };
        assert_eq!(page.latest, two);
        // A cut of generation 2 that comes late is kept and not counted for generation 3.
        let mut late = batch(2, 3..4);
        late.extend(batch(3, 4..9));
        list.append(late, Taken { generation: 3, complete: false, lost: 7, waiting: 2 });
        let page = list.last(100);
        assert_eq!((ports(&page), page.kept, page.gone), (vec![5, 6, 7, 8], 4, (5, 7)));
        let three = CutTally { generation: 3, ended: 12, forgotten: 1, lost: 7, swept: false, waiting: 2 };
        assert_eq!(page.latest, three);
        list.append(Vec::new(), Taken { generation: 3, complete: true, lost: 7, waiting: 2 });
        list.append(Vec::new(), Taken { generation: 3, complete: false, lost: 7, waiting: 2 });
        assert_eq!(list.last(0).latest, CutTally { swept: true, ..three }, "what is swept stays swept");
        list.append(Vec::new(), Taken { generation: 4, complete: false, lost: 8, waiting: 0 });
        let four = CutTally { generation: 4, ended: 1, lost: 1, ..CutTally::default() };
        assert_eq!((list.last(0).latest, ports(&list.last(1))), (four, vec![8]));
    }

    #[test]
    fn a_cut_keeps_the_names_of_both_its_generations() {
        let names = Names::default();
        names.learn(&Arc::new(fixture::policy(1)));
        names.learn(&Arc::new(fixture::policy(2)));
        let cut = Cut { rule: RuleNumber(0), ..fixture::cut(40_000) };
        let named = fixture::named(&names, [cut]).remove(0);
        let name = |id: &str, place: &str| {
            Some(Arc::new(RuleName {
                id: id.into(),
                place: Some(place.into()),
                owner: Some("security".into()),
            }))
        };
        assert_eq!(
            named,
            NamedCut {
                cut,
                workloads: [Some("acquirer".into()), Some("vault-1".into())],
                rule: name("guardrail.only-prod-reaches-cards", "rules.toml:1"),
                was: name("allow.payments-to-vault", "rules.toml:7"),
            }
        );
        // Of a generation that nobody knows any more, numbers are left; no rule is none.
        let old = Cut { was_generation: 9, rule: RuleNumber::NONE, ..cut };
        let named = fixture::named(&names, [old]).remove(0);
        assert_eq!(named.was.unwrap().id, "rule 1 of generation 9");
        assert_eq!(named.rule, None);
    }

    #[test]
    fn rules_of_many_cuts_are_named_once_each_time_they_change() {
        let names = Names::default();
        names.learn(&Arc::new(fixture::policy(2)));
        let cuts = [0, 0, 1].map(|rule| Cut { rule: RuleNumber(rule), ..fixture::cut(1) });
        let by: Vec<_> =
            fixture::named(&names, cuts).into_iter().map(|named| named.rule.unwrap()).collect();
        assert!(Arc::ptr_eq(&by[0], &by[1]));
        assert_eq!(
            [&by[0].id, &by[2].id],
            ["guardrail.only-prod-reaches-cards", "allow.payments-to-vault"]
        );
    }
}
