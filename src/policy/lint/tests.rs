//! What lint says, and that a rule without effect has none.

use proptest::prelude::*;

use super::{Level, exists, findings, level};
use crate::policy::code::Code;
use crate::policy::diagnostic::{Diagnostic, Severity};
use crate::policy::oracle::{models, probes};
use crate::policy::read::Loaded;
use crate::policy::sample::{self, BIG};
use crate::policy::source::Sources;
use crate::policy::{Exceptions, Model, Moment, compile};

fn found(more: &str) -> Vec<(&'static str, String)> {
    let loaded = sample::load(&format!("{BIG}{more}"));
    let all = findings(&loaded, &compile(&loaded.model, &Exceptions::NONE), Moment(0));
    all.into_iter().map(|found| (found.code.number(), found.message)).collect()
}

#[test]
fn a_rule_that_another_one_covers_or_overrules_says_which() {
    let before = found("");
    let rule = |tier: &str, keys: &str| {
        format!(
            "[{tier}.new]\nfrom = {{ app = \"payments\", env = \"prod\" }}\nto = {{ app = \"tokenization\", role = \"vault\", env = \"prod\" }}\nservices = [\"https\"]\n{keys}"
        )
    };
    let new = |more: String| -> Vec<(&'static str, String)> {
        found(&more).into_iter().filter(|found| !before.contains(found)).collect()
    };
    assert_eq!(
        new(rule("allow", "")),
        [("P0117", "allow.payments-to-vault has no effect: covered".to_owned())]
    );
    assert_eq!(
        new(rule("allow", "log = true\n")),
        [("P0117", "allow.payments-to-vault has no effect: covered".to_owned())]
    );
    // Of two that say the same the later one is told, and of three the later two.
    let same = |id: &str| {
        format!(
            "[allow.{id}]\nfrom = {{ app = \"payments\", env = \"prod\" }}\nto = {{ app = \"cards\" }}\nservices = [\"tcp/9\"]\n"
        )
    };
    let told = |ids: &[&str]| -> Vec<String> {
        let rules: String = ids.iter().map(|id| same(id)).collect();
        new(rules).into_iter().filter(|(code, _)| *code == "P0117").map(|(_, message)| message).collect()
    };
    let covered = |id: &str| format!("allow.{id} has no effect: covered");
    assert_eq!(told(&["a"]), [] as [String; 0]);
    assert_eq!(told(&["a", "b"]), [covered("b")]);
    assert_eq!(told(&["b", "a"]), [covered("a")]);
    assert_eq!(told(&["b", "c", "a"]), [covered("c"), covered("a")]);
    let overruled = ["allow.payments-to-vault has no effect: overruled".to_owned()];
    let told: Vec<String> = new(rule("deny", "")).into_iter().map(|(_, message)| message).collect();
    assert_eq!(told, overruled);
}

#[test]
fn only_warnings_take_another_level() {
    let some = |code| Diagnostic::new(code, None, "x");
    let mut all =
        vec![some(Code::Overlap), some(Code::NoOwner), some(Code::Insecure), some(Code::TestFails)];
    level(
        &mut all,
        &[
            (Code::Overlap, Level::Error),
            (Code::Overlap, Level::Off),
            (Code::Insecure, Level::Error),
            (Code::TestFails, Level::Off),
            (Code::NoOwner, Level::Warning),
        ],
    );
    let left: Vec<(Code, Severity)> = all.into_iter().map(|found| (found.code, found.severity)).collect();
    let expected = [
        (Code::NoOwner, Severity::Warning),
        (Code::Insecure, Severity::Error),
        (Code::TestFails, Severity::Error),
    ];
    assert_eq!(left, expected);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// POLICY.md §5: without the rules that have no effect every connection gets the same verdict.
    #[test]
    fn a_rule_without_effect_may_go(model in models(), probes in probes()) {
        let table = compile(&model, &Exceptions::NONE);
        let loaded = Loaded { model, sources: Sources::default(), warnings: Vec::new() };
        let found = findings(&loaded, &table, Moment(0));
        let told: Vec<String> = found
            .iter()
            .filter(|found| found.code == Code::NoEffect)
            .map(|found| found.message.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        // Each by itself, and all together.
        let alone = told.iter().map(|id| vec![id.clone()]);
        for ids in alone.chain((told.len() > 1).then(|| told.clone())) {
            let stays = |rule: &&crate::policy::model::Rule| !ids.contains(&rule.full_id());
            let rules = loaded.model.rules.iter().filter(stays).cloned().collect();
            let without = compile(&Model { rules, ..loaded.model.clone() }, &Exceptions::NONE);
            // No connection is of two families, or of the other family's ICMP, and a policy that the reader takes
            // has a network for every address (P0208).
            let lies = |address| table.is_group(address) || table.network_side(address).is_some();
            let connections = probes.iter().filter(|(src, dst, service, ..)| {
                let v4 = src.address.is_ipv4();
                v4 == dst.is_ipv4() && exists(service.protocol, v4) && lies(src.address) && lies(*dst)
            });
            for (src, dst, service, side, _) in connections.copied() {
                // Later fragments are no ports: a rule may still cover more of a protocol than its coverer.
                let service = crate::wire::Service { readable: true, ..service };
                let [one, two] = [&table, &without].map(|t| t.judge(src, dst, service, side, Moment(0)));
                prop_assert_eq!(one.denial.is_none(), two.denial.is_none(), "{:?} {:?} {} {:?}", ids, src, dst, service);
                prop_assert_eq!(one.mode, two.mode);
            }
        }
    }
}
