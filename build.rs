//! Compiles the BPF program when the `xdp` feature is on.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "src/io/af_xdp/portcullis.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    if env::var_os("CARGO_FEATURE_XDP").is_some()
        && let Err(reason) = compile()
    {
        println!("cargo::error={reason}");
    }
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
