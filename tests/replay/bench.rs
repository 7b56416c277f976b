//! Captures in a folder of their own, and the binary over them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOON: u64 = 1_795_521_600_000_000_000;
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A packet: when after noon, bytes on the wire beyond those captured, bytes captured.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) after: u64,
    pub(crate) left_out: usize,
    pub(crate) bytes: Vec<u8>,
}

/// A whole packet at a time after noon.
pub(crate) fn taken(after: u64, bytes: &[u8]) -> Taken {
    Taken { after, left_out: 0, bytes: bytes.to_vec() }
}

/// Its first bytes only.
pub(crate) fn snapped(after: u64, bytes: &[u8], keep: usize) -> Taken {
    Taken { after, left_out: bytes.len() - keep, bytes: bytes[..keep].to_vec() }
}

/// A pcap with nanoseconds, little-endian.
pub(crate) fn pcap(packets: &[Taken]) -> Vec<u8> {
    let word = |n: u64| u32::try_from(n).unwrap().to_le_bytes();
    let size = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut file = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    for Taken { after, left_out, bytes } in packets {
        let at = NOON + after;
        file.extend(
            [word(at / SECOND), word(at % SECOND), size(bytes.len()), size(bytes.len() + left_out)]
                .concat(),
        );
        file.extend(bytes);
    }
    file
}

/// A folder with a policy.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
}

/// What a replay said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) rows: Vec<Value>,
    pub(crate) summary: Value,
    pub(crate) err: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rig = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rig/memory.toml");
        std::fs::copy(rig, folder.path().join("gate.toml")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> &Self {
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .current_dir(self.folder.path())
            .args(["replay", "--policy", "gate.toml"])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Replays and reads rows and summary.
    pub(crate) fn replay(&self, arguments: &[&str]) -> Said {
        let rows = self.path("rows.jsonl");
        let output = self.call(&[arguments, &["--verdicts", "rows.jsonl", "--format", "json"]].concat());
        Said {
            code: output.status.code().unwrap(),
            rows: lines(&rows),
            summary: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A row in one line: `1 outside allow forwarded - - allow.web new`: number, side, verdict, outcome, reason,
/// would, rule, flow.
pub(crate) fn brief(row: &Value) -> String {
    let text = |key: &str| match &row[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    };
    ["n", "side", "verdict", "outcome", "reason", "would", "rule", "flow"].map(text).join(" ")
}

pub(crate) fn briefs(rows: &[Value]) -> Vec<String> {
    rows.iter().map(brief).collect()
}
