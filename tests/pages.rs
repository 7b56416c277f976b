//! docs/OPERATING.md: every command runs as printed, in the order it stands. Needs root.
#![cfg(feature = "xdp")]

use std::path::Path;
use std::process::{Command, Stdio};

/// The page's shell blocks, the one that builds left out: this binary is the one that was built.
fn script(page: &str) -> String {
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    assert!(blocks.len() > 2 && blocks.iter().all(|block| block.starts_with("sh\n")), "shell blocks only");
    blocks.iter().filter(|block| !block.contains("cargo build")).map(|block| &block[3..]).collect()
}

#[test]
fn every_command_of_the_operating_page_runs_as_printed() {
    if std::env::var_os("PORTCULLIS_NO_ROOT_TESTS").is_some_and(|value| value == "1") {
        eprintln!("left out: PORTCULLIS_NO_ROOT_TESTS=1");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = script(&std::fs::read_to_string(root.join("docs/OPERATING.md")).expect("the page"));
    assert!(script.lines().count() > 12, "{script}");
    let binaries = Path::new(env!("CARGO_BIN_EXE_portcullis")).parent().expect("a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
    let done = Command::new("timeout")
        .args(["120", "bash", "-euxo", "pipefail", "-c", &script])
        .current_dir(root)
        .env("PATH", &path)
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    if !done.status.success() {
        // Whatever stood when it stopped.
        let _ = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["lab", "down"]).output();
    }
    assert!(done.status.success(), "{}\n{out}\n{err}", done.status);
    assert!(out.contains("1 received") && out.contains("no answer, as promised"), "{out}");
    assert!(out.contains("no rule"), "events name what was denied: {out}");
    assert!(out.contains("icmp/echo-request id "), "flows list what was allowed: {out}");
    assert!(out.contains("\ngeneration 2 ended 0 flows · "), "and nothing was cut: {out}");
}
