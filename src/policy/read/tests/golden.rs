//! A picture of every finding. The name of a picture begins with the code it is of.

mod cases;
mod warnings;

use std::collections::BTreeSet;

use super::super::super::code::Code;
use super::super::super::diagnostic::{Diagnostic, Severity, render};
use super::super::super::verdict::Moment;
use super::super::super::{Exceptions, compile, lint};
use super::super::{Loaded, Rejected, read, read_text};
use cases::Case::{self, Line, More, Parts, Text};
use cases::ERRORS;
use warnings::WARNINGS;

const BASE: &str = include_str!("base.toml");
/// 2026-11-24T00:00:00Z, when yesterday has just ended.
pub(super) const NOW: Moment = Moment(1_795_478_400_000_000_000);

fn run(case: &Case) -> Result<Loaded, Rejected> {
    let mut files = vec![("gate.toml".to_owned(), BASE.to_owned())];
    match case {
        Line(old, new) => {
            assert!(BASE.contains(old), "the base has no line {old}");
            files[0].1 = BASE.replacen(old, new, 1);
        }
        More(text) => files[0].1 = format!("{BASE}\n{text}"),
        Text(text) => files[0].1 = (*text).to_owned(),
        Parts(line, parts) => {
            files[0].1 = format!("{line}\n{BASE}");
            files.extend(parts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        }
    }
    read_text(files)
}

fn outcome(result: Result<Loaded, Rejected>) -> (String, Vec<Diagnostic>) {
    let (sources, found) = match result {
        Ok(mut loaded) => {
            loaded.warnings = lint::check(&loaded, &compile(&loaded.model, &Exceptions::NONE), NOW);
            (loaded.sources, loaded.warnings)
        }
        Err(rejected) => (rejected.sources, rejected.diagnostics),
    };
    (render(&sources, &found, false), found)
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path(concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/read/tests/snapshots"));
    settings
}

#[test]
fn no_word_of_selectors_can_be_a_label() {
    for word in [
        "name",
        "zone",
        "group",
        "network",
        "service_account",
        "unknown",
        "any",
        "not",
        "except",
        "same",
        "differs",
    ] {
        let (_, found) = outcome(read_text(vec![(
            "gate.toml".into(),
            BASE.replacen("app  = {}", &format!("app  = {{}}\n{word} = {{}}"), 1),
        )]));
        let [only] = found.as_slice() else { panic!("{word}: {found:?}") };
        assert_eq!(only.code, Code::ReservedLabel, "{word}");
        let list = crate::policy::inventory::import(
            &format!("name,addresses,{word}x,{word}\na,10.0.0.1,1,2\n"),
            "x",
        );
        if word != "name" && word != "service_account" {
            assert_eq!(list.unwrap().renamed, [(word.to_owned(), format!("{word}_label"))]);
        }
    }
}

#[test]
fn the_base_has_no_finding() {
    assert_eq!(outcome(run(&More(""))).0, "0 errors, 0 warnings\n");
}

#[test]
fn every_finding_looks_as_drawn() {
    settings().bind(|| {
        for (which, code, case) in ERRORS.iter().chain(WARNINGS) {
            let name = format!("{code} {which}").trim_end().replace(' ', "-");
            let result = run(case);
            let loads = result.is_ok();
            let (picture, found) = outcome(result);
            // A test that fails is in a policy that holds together.
            let wrong =
                |found: &Diagnostic| found.severity == Severity::Error && found.code != Code::TestFails;
            let errors = found.iter().any(wrong);
            assert_eq!(loads, !errors, "{name}");
            assert!(found.iter().any(|found| found.code == *code), "{name}:\n{picture}");
            for found in found.iter().filter(|found| found.severity == Severity::Error) {
                let meant = found.label.as_ref().is_some_and(|label| label.starts_with("did you mean"));
                assert!(found.help.is_some() || meant, "{name}: {} says no remedy", found.message);
            }
            // The one thing that is wrong, and what follows from it by itself.
            let others: BTreeSet<Code> = found.iter().map(|found| found.code).collect();
            let follows = |other: &Code| {
                *other == *code || *code == Code::Syntax || other.severity() == Severity::Warning
            };
            assert!(others.iter().all(follows), "{name} brings {others:?}:\n{picture}");
            insta::assert_snapshot!(name, picture);
        }
    });
}

#[test]
fn every_code_is_drawn() {
    let drawn: BTreeSet<Code> = ERRORS.iter().chain(WARNINGS).map(|(_, code, _)| *code).collect();
    // Those of files on a disk are tested in `files`.
    // And what a policy compiles to, where that is said.
    let on_disk = [Code::FileUnreadable, Code::NotAFile, Code::NotText, Code::TooLarge, Code::TableLarge];
    let missing: Vec<_> =
        Code::ALL.iter().filter(|code| !drawn.contains(code) && !on_disk.contains(code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

mod files {
    //! What a disk can do to a policy.

    use std::path::Path;

    use super::{BASE, outcome, read};

    fn picture(folder: &Path, first: &str) -> String {
        let (picture, _) = outcome(read(&folder.join(first)));
        picture.replace(&folder.display().to_string(), "FOLDER")
    }

    fn drawn(name: &str, folder: &Path, first: &str) {
        let picture = picture(folder, first);
        super::settings().bind(|| insta::assert_snapshot!(name, picture));
    }

    fn folder(parts: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("gate.toml"), format!("{parts}\n{BASE}")).expect("written");
        folder
    }

    #[test]
    fn the_first_file_is_missing_a_folder_or_garbage() {
        let place = folder("");
        drawn("P0001", place.path(), "none.toml");
        drawn("P0003-first-file", place.path(), ".");
        let pipe = place.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        drawn("P0003-pipe", place.path(), "pipe");
        std::fs::write(place.path().join("big.toml"), vec![b'='; 10_000_000]).expect("written");
        drawn("P0007", place.path(), "big.toml");
        std::fs::write(place.path().join("bytes.toml"), b"# \xff\xfe").expect("written");
        drawn("P0006-first-file", place.path(), "bytes.toml");
    }

    #[test]
    fn a_part_is_a_folder_a_device_too_large_or_not_text() {
        let place = folder(
            "parts = [\"rules\", \"../../../../../../../../dev/zero\", \"big.toml\", \"bytes.toml\"]",
        );
        std::fs::create_dir(place.path().join("rules")).expect("a folder");
        std::fs::write(place.path().join("big.toml"), vec![b'#'; (4 << 20) + 1]).expect("written");
        std::fs::write(place.path().join("bytes.toml"), b"a = 1\n\n\xc3").expect("written");
        drawn("P0003", place.path(), "gate.toml");
    }

    #[test]
    fn what_fits_a_file_but_is_no_policy_is_told_at_once() {
        let place = folder("");
        std::fs::write(place.path().join("garbage.toml"), "=\n".repeat(2_000_000)).expect("written");
        drawn("P0008-garbage", place.path(), "garbage.toml");
    }

    #[test]
    fn parts_have_a_limit() {
        let names: Vec<String> = (0..257).map(|number| format!("\"{number}.toml\"")).collect();
        let place = folder(&format!("parts = [\n{}\n]", names.join(",\n")));
        drawn("P0007-parts", place.path(), "gate.toml");
    }
}
