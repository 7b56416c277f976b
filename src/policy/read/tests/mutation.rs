//! Whatever happens to the bytes of a policy, it loads or says what is wrong and where.

use proptest::prelude::*;

use super::super::super::diagnostic::{Diagnostic, Severity, render, rows};
use super::super::super::source::Sources;
use super::super::read_text;

const FILES: [(&str, &str); 12] = [
    ("gate.toml", include_str!("../../../../configs/cde/gate.toml")),
    ("zones.toml", include_str!("../../../../configs/cde/zones.toml")),
    ("inventory.toml", include_str!("../../../../configs/cde/inventory.toml")),
    ("corporate.toml", include_str!("../../../../configs/cde/corporate.toml")),
    ("services.toml", include_str!("../../../../configs/cde/services.toml")),
    ("rules/guardrails.toml", include_str!("../../../../configs/cde/rules/guardrails.toml")),
    ("rules/payments.toml", include_str!("../../../../configs/cde/rules/payments.toml")),
    ("rules/settlement.toml", include_str!("../../../../configs/cde/rules/settlement.toml")),
    ("rules/operations.toml", include_str!("../../../../configs/cde/rules/operations.toml")),
    ("rules/platform.toml", include_str!("../../../../configs/cde/rules/platform.toml")),
    ("rules/staging.toml", include_str!("../../../../configs/cde/rules/staging.toml")),
    ("tests.toml", include_str!("../../../../configs/cde/tests.toml")),
];

/// Words of the language, put together without sense.
const WORDS: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\"",
    "'",
    "\n",
    "\n",
    " ",
    "#",
    "[[",
    "\"\"\"",
    "wire",
    "wire.cde",
    "zone.x",
    "workload.a",
    "network.n",
    "service",
    "allow.a",
    "deny.b",
    "guardrail.c",
    "gate",
    "profile",
    "label",
    "owner.o",
    "parts",
    "from",
    "to",
    "services",
    "members",
    "except",
    "any",
    "unknown",
    "not",
    "addresses",
    "prefixes",
    "at",
    "labels",
    "true",
    "10",
    "2027-05-31",
    "1e9",
    "0x1f",
    "\"10.0.0.1\"",
    "\"::/0\"",
    "\"tcp/1-2\"",
    "[service]\n",
    "[allow.a]\n",
    "[wire.w]\n",
    "a = ",
    "b = [",
    "= {",
    "\"x\"",
    "\u{feff}",
    "\r\n",
    "\u{1b}[31m",
];

/// One thing that happens to a file.
#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(u8),
    Delete,
    Cut,
    DropLine,
    RepeatLine,
    SwapWords(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    // Bytes of the grammar more often than others.
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"\n[]{}=\"'.,#\\ \t\r-0aA".as_slice())];
    prop_oneof![
        byte().prop_map(Change::Set),
        byte().prop_map(Change::Insert),
        Just(Change::Delete),
        Just(Change::Cut),
        Just(Change::DropLine),
        Just(Change::RepeatLine),
        any::<prop::sample::Index>().prop_map(Change::SwapWords),
    ]
}

fn apply(bytes: &mut Vec<u8>, at: prop::sample::Index, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let place = at.index(bytes.len());
    let start = bytes[..place].iter().rposition(|b| *b == b'\n').map_or(0, |found| found + 1);
    let end =
        bytes[place..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |found| place + found + 1);
    match change {
        Change::Set(byte) => bytes[place] = *byte,
        Change::Insert(byte) => bytes.insert(place, *byte),
        Change::Delete => drop(bytes.remove(place)),
        Change::Cut => bytes.truncate(place),
        Change::DropLine => drop(bytes.drain(start..end)),
        Change::RepeatLine => {
            let line = bytes[start..end].to_vec();
            bytes.splice(end..end, line);
        }
        Change::SwapWords(other) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let words: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
            if let (Some(one), Some(two)) =
                (words.get(at.index(words.len().max(1))), words.get(other.index(words.len().max(1))))
            {
                *bytes = text.replacen(&format!("\"{one}\""), &format!("\"{two}\""), 1).into_bytes();
            }
        }
    }
}

/// Every place lies in its file, and can be drawn.
fn hold(sources: &Sources, found: &[Diagnostic]) {
    for place in found.iter().flat_map(|f| f.origin.into_iter().chain(f.related.iter().map(|(o, _)| *o))) {
        let text = &sources.files[usize::from(place.file)].text;
        let (start, end) = (place.start as usize, place.end as usize);
        assert!(start <= end && end <= text.len(), "{place:?}");
        let line = text.as_bytes()[..start].split(|byte| *byte == b'\n').count();
        assert_eq!(usize::try_from(place.line), Ok(line), "{place:?}");
    }
    assert!(render(sources, found, true).contains("error"));
    assert_eq!(rows(sources, found).len(), found.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_load_or_are_reported(
        changes in prop::collection::vec((0..FILES.len(), any::<prop::sample::Index>(), change()), 1..8)
    ) {
        let mut bytes = FILES.map(|(_, text)| text.as_bytes().to_vec());
        for (file, at, change) in &changes {
            apply(&mut bytes[*file], *at, change);
        }
        let names = FILES.iter().map(|(name, _)| (*name).to_owned());
        let texts = bytes.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        match read_text(names.zip(texts).collect()) {
            Ok(loaded) => {
                prop_assert!(loaded.warnings.iter().all(|f| f.severity == Severity::Warning));
                hold(&loaded.sources, &loaded.warnings);
            }
            Err(rejected) => {
                let errors = rejected.diagnostics.iter().filter(|f| f.severity == Severity::Error);
                prop_assert!(errors.clone().count() >= 1);
                prop_assert!(errors.clone().all(|found| found.origin.is_some()));
                hold(&rejected.sources, &rejected.diagnostics);
            }
        }
    }

    #[test]
    fn any_text_loads_or_is_reported(
        words in prop::collection::vec(prop::sample::select(WORDS), 0..40),
        noise in any::<prop::sample::Index>(),
        byte in any::<char>(),
    ) {
        let mut text: String = words.concat();
        let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if !places.is_empty() {
            text.insert(*noise.get(&places), byte);
        }
        let rejected = read_text(vec![("gate.toml".to_owned(), text)]).expect_err("it is no policy");
        prop_assert!(rejected.diagnostics.iter().any(|found| found.severity == Severity::Error));
        hold(&rejected.sources, &rejected.diagnostics);
    }
}
