//! What scripts refuse, before they install, build or fetch anything.

use std::process::Command;

#[test]
fn the_virtual_machine_is_refused_what_it_cannot_have_before_anything_is_fetched() {
    for (line, said) in [
        (vec!["--kernel", "5.10"], "no kernel \"5.10\" in scripts/vm.d/kernels"),
        (vec!["--kernel", "6.10"], "no kernel \"6.10\""),
        (vec!["--kernel", "6.1", "--kernel"], "--kernel 6.1|6.12|7"),
        (vec!["--gate", "/no/such/gate"], "\"/no/such/gate\" is no program"),
        (vec!["--queues", "0"], "--queues N"),
        (vec!["--nic", "e1000"], "--nic igb|virtio"),
    ] {
        // A run that went on would end at its cache, with another code.
        let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/vm"))
            .args(["--gate", "/bin/true"])
            .args(&line)
            .env("XDG_CACHE_HOME", "/dev/null")
            .output()
            .expect("bash is installed");
        let words = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{line:?}: {words}");
        assert!(words.contains(said), "{line:?}: {words}");
    }
}
