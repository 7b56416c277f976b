//! docs/OPERATING.md and docs/TUTORIAL.md: every command runs as printed, in the order it stands, and what is
//! printed of the tutorial's answers is what they say. Needs root.
#![cfg(feature = "xdp")]
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Both pages raise the lab of the same name, and a gate on the same socket.
static LAB: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    LAB.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The blocks of a page, each with its language.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let blocks = page.split("```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').expect("a language")).collect()
}

/// The page's shell blocks, the one that builds left out: this binary is the one that was built.
fn script(page: &str) -> String {
    let blocks = blocks(page);
    assert!(blocks.len() > 2 && blocks.iter().all(|(language, _)| *language == "sh"), "shell blocks only");
    blocks.iter().map(|(_, block)| *block).filter(|block| !block.contains("cargo build")).collect()
}

fn left_out() -> bool {
    let asked = std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1");
    if asked {
        eprintln!("left out: PORTCULLIS_NO_ROOT_TESTS=1");
    }
    asked
}

/// Runs commands in a folder, with this binary first in the path.
fn bash(flags: &str, script: &str, folder: &Path) -> Output {
    let binaries = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("timeout")
        .args(["120", "bash", flags, "pipefail", "-c", script])
        .current_dir(folder)
        .env("PATH", &path)
        .stdin(Stdio::null())
        .output()
        .expect("bash")
}

/// Takes away whatever stood when a page stopped.
fn clean() {
    let _ = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["lab", "down"]).output();
}

#[test]
fn every_command_of_the_operating_page_runs_as_printed() {
    if left_out() {
        return;
    }
    let _lab = alone();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = script(&std::fs::read_to_string(root.join("docs/OPERATING.md")).expect("the page"));
    assert!(script.lines().count() > 12, "{script}");
    let done = bash("-euxo", &script, root);
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if !done.status.success() {
        clean();
    }
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    assert!(out.contains("1 received") && out.contains("no answer, as promised"), "{out}");
    assert!(out.contains("no rule"), "events name what was denied: {out}");
    assert!(out.contains("icmp/echo-request id "), "flows list what was allowed: {out}");
    assert!(out.contains("\ngeneration 2 ended 0 flows · "), "and nothing was cut: {out}");
}

/// What a reader types at a time, and what the page shows of the answer.
fn steps(page: &str) -> Vec<(String, Option<&str>)> {
    let mut steps: Vec<(String, Option<&str>)> = Vec::new();
    for (language, block) in blocks(page) {
        match language {
            "sh" => steps.push((block.to_owned(), None)),
            "text" => {
                let last = steps.last_mut().expect("an answer follows commands");
                assert!(last.1.replace(block).is_none(), "one answer for a block of commands: {block}");
            }
            other => panic!("neither commands nor answers: {other}"),
        }
    }
    steps
}

/// Whether an answer is as shown. `…` stands for anything: in a line, or as a line for any number of them.
fn is_as_shown(shown: &[&str], answer: &[&str]) -> bool {
    match (shown, answer) {
        ([], answer) => answer.is_empty(),
        (["…", shown @ ..], answer) => {
            (0..=answer.len()).any(|skipped| is_as_shown(shown, &answer[skipped..]))
        }
        ([line, shown @ ..], [said, answer @ ..]) => {
            is_line_as_shown(line, said) && is_as_shown(shown, answer)
        }
        ([_, ..], []) => false,
    }
}

fn is_line_as_shown(shown: &str, said: &str) -> bool {
    let Some((before, after)) = shown.split_once('…') else { return shown.trim_end() == said.trim_end() };
    let Some(rest) = said.strip_prefix(before) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| is_line_as_shown(after, &rest[at..]))
}

#[test]
fn an_answer_is_compared_line_by_line() {
    let compare = |shown: &str, answer: &str| {
        let [shown, answer] = [shown, answer].map(|text| text.lines().collect::<Vec<_>>());
        is_as_shown(&shown, &answer)
    };
    for (shown, answer) in [
        ("a\nb", "a\nb\n"),
        ("a\n…\nd", "a\nb\nc\nd"),
        ("a\n…\nb", "a\nb"),
        ("took … ms, … s", "took 3 ms, 4 s"),
        ("…", ""),
        ("a …", "a "),
    ] {
        assert!(compare(shown, answer), "{shown} / {answer}");
    }
    for (shown, answer) in
        [("a", "a\nb"), ("a\nb", "a"), ("…\nb", "a"), ("took … ms", "took 3 s"), ("a…", "b"), ("", "a")]
    {
        assert!(!compare(shown, answer), "{shown} / {answer}");
    }
}

#[test]
fn every_command_of_the_tutorial_runs_and_answers_as_printed() {
    if left_out() {
        return;
    }
    let _lab = alone();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/TUTORIAL.md")).expect("the page");
    let steps = steps(&page);
    assert!(steps.iter().filter(|(_, shown)| shown.is_some()).count() > 8, "answers are shown");
    // The page writes beside what it copies.
    let folder = tempfile::tempdir().expect("a folder");
    let configs = root.join("configs");
    let copied = Command::new("cp").arg("-r").args([&configs, folder.path()]).status().expect("cp");
    assert!(copied.success());
    let mut failed = None;
    for (commands, shown) in steps.iter().filter(|(commands, _)| !commands.contains("cargo build")) {
        let done = bash("-euo", &format!("exec 2>&1\n{commands}"), folder.path());
        let answer = String::from_utf8_lossy(&done.stdout).into_owned();
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let as_shown = shown.is_none_or(|shown| {
            let [shown, answer] = [shown, &answer].map(lines);
            let [shown, answer] =
                [&shown, &answer].map(|text| text.iter().map(String::as_str).collect::<Vec<_>>());
            is_as_shown(&shown, &answer)
        });
        if !done.status.success() || !as_shown {
            failed = Some(format!("{}\n{commands}\nsays:\n{answer}\nthe page:\n{shown:?}", done.status));
            break;
        }
    }
    if failed.is_some() {
        clean();
    }
    assert_eq!(failed.as_deref().unwrap_or_default(), "");
}
