//! Any text as a policy: it loads or is refused with a place for every finding, and never panics. A line
//! `=== NAME` begins another file; `parts` finds it by that name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::policy::{Exceptions, compile, proof, read::read_text};

fuzz_target!(|text: &str| {
    let mut files = vec![("policy.toml".to_owned(), String::new())];
    for line in text.split_inclusive('\n') {
        match line.strip_prefix("=== ") {
            Some(name) => files.push((name.trim().to_owned(), String::new())),
            None => {
                if let Some((_, body)) = files.last_mut() {
                    body.push_str(line);
                }
            }
        }
    }
    match read_text(files) {
        Ok(loaded) => drop(proof::proofs(&loaded.model, &compile(&loaded.model, &Exceptions::NONE))),
        Err(rejected) => assert!(!rejected.diagnostics.is_empty(), "refused without a reason"),
    }
});
