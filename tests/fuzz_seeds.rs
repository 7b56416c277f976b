//! The frame fuzzer begins with one frame of every kind: `fuzz/seeds/parse` holds exactly those.
//!
//! After a change of the samples: `BLESS=1 cargo test --test fuzz_seeds`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use portcullis::wire::samples::every_kind;

#[test]
fn seeds_are_the_samples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/parse");
    let samples: BTreeMap<String, Vec<u8>> =
        every_kind().into_iter().map(|(name, frame)| (name.to_owned(), frame)).collect();
    if std::env::var_os("BLESS").is_some() {
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
        for (name, frame) in &samples {
            fs::write(folder.join(name), frame).unwrap();
        }
    }
    let seeds: BTreeMap<String, Vec<u8>> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    assert_eq!(seeds, samples, "run `BLESS=1 cargo test --test fuzz_seeds`");
}
