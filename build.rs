//! Compiles the BPF program when the `xdp` feature is on, and says when this was built.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const SOURCE: &str = "src/io/af_xdp/portcullis.bpf.c";
/// See reproducible-builds.org/specs/source-date-epoch.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-env-changed={EPOCH}");
    println!("cargo::rustc-env=PORTCULLIS_BUILT={}", built());
    if env::var_os("CARGO_FEATURE_XDP").is_some()
        && let Err(reason) = compile()
    {
        println!("cargo::error={reason}");
    }
}

/// Seconds since 1970; of a build that is to be reproducible, those that it is given.
#[expect(clippy::disallowed_methods, reason = "a build has no clock handed to it")]
fn built() -> u64 {
    let given = env::var(EPOCH).ok().and_then(|seconds| seconds.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn compile() -> Result<(), String> {
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let out = env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?;
    let object = PathBuf::from(out).join("portcullis.bpf.o");
    let status = Command::new(&clang)
        .args([
            "-O2",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-std=gnu11",
            "-target",
            "bpf",
            "-mcpu=v2",
            "-c",
            SOURCE,
            "-o",
        ])
        .arg(&object)
        .status()
        .map_err(|error| {
            format!(
                "feature `xdp` compiles a BPF program and could not run {}: {error}; install clang \
                 (scripts/setup does), name another one in CLANG, or build with --no-default-features",
                clang.display()
            )
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} could not compile {SOURCE}: {status}", clang.display()))
    }
}
