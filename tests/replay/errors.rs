//! What can't be read to its end: what was read comes out, then the error, and exit code 2.

use portcullis::wire::samples::Ends;

use crate::bench::{Bench, pcap, taken};

fn packets() -> Vec<u8> {
    let there = Ends::of("10.10.0.5", "10.20.0.9");
    pcap(&[taken(0, &there.udp(1, 53, b"one")), taken(1, &there.udp(2, 53, b"two"))])
}

#[test]
fn a_capture_cut_off_is_replayed_up_to_there() {
    let bench = Bench::new();
    let whole = packets();
    bench.put("cut.pcap", &whole[..whole.len() - 1]);
    let said = bench.replay(&["--outside", "cut.pcap", "--forwarded", "crossed.pcapng"]);
    assert_eq!((said.code, said.rows.len()), (2, 1));
    assert_eq!(said.summary["outcomes"]["forwarded"], 1);
    assert!(said.err.starts_with("error: cut.pcap ends inside packet 2: "), "{}", said.err);
    assert!(std::fs::read(bench.path("crossed.pcapng")).unwrap().len() > 100);
}

#[test]
fn what_is_no_capture_is_refused() {
    let bench = Bench::new();
    let mut cooked = packets();
    cooked[20] = 113;
    let mut future = packets();
    (future[4], future[6]) = (9, 9);
    bench.put("future", &future);
    bench.put("empty", b"").put("foreign", b"GIF89a, not a capture at all").put("cooked", &cooked);
    bench.put("nothing", &pcap(&[])).put("good", &packets());
    for (arguments, message) in [
        (vec!["--pcap", "empty"], "error: empty is empty: a capture begins with a header"),
        (vec!["--pcap", "foreign"], "error: foreign is no capture: "),
        (vec!["--outside", "good", "--inside", "foreign"], "error: foreign is no capture: "),
        (
            vec!["--pcap", "cooked"],
            "error: cooked: packet 1 is of link type LINUX_SLL (113); only Ethernet",
        ),
        (vec!["--pcap", "future"], "error: future is a pcap of version 9.9: "),
        (vec!["--pcap", "nothing"], "error: no packet in nothing: "),
        (vec!["--pcap", "absent"], "error: absent: No such file or directory"),
        (vec!["--pcap", "good", "--forwarded", "no/such/folder"], "error: no/such/folder: No such file"),
        (vec![], "error: the following required arguments were not provided"),
        (
            vec!["--pcap", "good", "--outside", "good"],
            "error: the argument '--pcap <FILE>' cannot be used with",
        ),
        (vec!["--outside", "good", "--inside-net", "10.0.0.0/8"], "error: "),
        (vec!["--pcap", "good", "--inside-mac", "02:00"], "error: invalid value '02:00'"),
    ] {
        let output = bench.call(&arguments);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.starts_with(message), "{arguments:?}: {err}");
    }
    assert_eq!(std::fs::read(bench.path("good")).unwrap(), packets(), "no input was overwritten");
    // An older 2.x stands the same.
    let mut older = packets();
    older[6] = 3;
    assert_eq!(bench.put("older", &older).replay(&["--pcap", "older"]).code, 0);
    // One side may be silent.
    let said = bench.replay(&["--outside", "good", "--inside", "nothing"]);
    assert_eq!((said.code, said.rows.len()), (0, 2));
}

#[test]
fn no_output_overwrites_what_is_read_or_the_other_output() {
    let bench = Bench::new();
    bench.put("good", &packets());
    std::fs::hard_link(bench.path("good"), bench.path("hard")).unwrap();
    std::os::unix::fs::symlink("good", bench.path("soft")).unwrap();
    std::os::unix::fs::symlink("new", bench.path("dangling")).unwrap();
    let folder = || {
        let names = std::fs::read_dir(bench.folder.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, policy) = (folder(), std::fs::read(bench.path("gate.toml")).unwrap());
    let (capture, judge, one) = (
        "error: an output would overwrite the capture",
        "error: an output would overwrite the policy",
        "error: both outputs would be written to one file",
    );
    for (arguments, message) in [
        (["--forwarded", "good", "--verdicts", "rows"], capture),
        (["--forwarded", "crossed", "--verdicts", "hard"], capture),
        (["--forwarded", "soft", "--verdicts", "-"], capture),
        (["--forwarded", "crossed", "--verdicts", "gate.toml"], judge),
        (["--forwarded", "./gate.toml", "--verdicts", "-"], judge),
        (["--forwarded", "new", "--verdicts", "new"], one),
        (["--forwarded", "new", "--verdicts", "dangling"], one),
        (["--forwarded", "new", "--verdicts", "./new"], one),
    ] {
        let output = bench.call(&[&["--pcap", "good"][..], &arguments].concat());
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.starts_with(message), "{arguments:?}: {err}");
        assert_eq!(folder(), before, "{arguments:?}: nothing was made");
    }
    assert_eq!(std::fs::read(bench.path("good")).unwrap(), packets());
    assert_eq!(std::fs::read(bench.path("gate.toml")).unwrap(), policy);
    // What is no file may be written to twice.
    let nowhere = ["--pcap", "good", "--forwarded", "/dev/null", "--verdicts", "/dev/null"];
    assert_eq!(bench.call(&nowhere).status.code(), Some(0));
}
