//! The fuzzers begin with one frame of every kind: `fuzz/seeds/parse` holds exactly those, and
//! `fuzz/seeds/burst` all of them as one conversation, there and back.
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

/// A step of the target `burst`: the frame behind its head.
fn step(head: u8, frame: &[u8]) -> Vec<u8> {
    let length = u16::try_from(frame.len()).expect("a sample is short").to_be_bytes();
    [&[head], &length[..], frame].concat()
}

#[test]
fn the_burst_seed_is_a_conversation() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/burst");
    let frames = every_kind();
    let mut seed = Vec::new();
    for (i, (_, frame)) in frames.iter().enumerate() {
        seed.extend(step(u8::from(i % 3 == 0) << 1, frame));
        seed.extend(step(1 | u8::from(i % 5 == 0) << 1 | 4, frame));
    }
    // What is left over behind the last step says how many workers there are.
    for (name, left_over) in [("conversation", 0), ("conversation-of-two", 1), ("conversation-of-four", 2)]
    {
        let seed = [&seed[..], &vec![0; left_over]].concat();
        let file = folder.join(name);
        if std::env::var_os("BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &seed).unwrap();
        }
        assert_eq!(fs::read(&file).unwrap(), seed, "run `BLESS=1 cargo test --test fuzz_seeds`");
    }
}
