//! What the scripts refuse, before they fetch, build or change anything.

use std::process::Command;

#[test]
fn the_virtual_machine_names_the_argument_that_it_does_not_take() {
    for (arguments, told) in [
        (&["--nic", "e1000"][..], "--nic is igb or virtio, not 'e1000'"),
        (&["--queues", "0"], "--queues is 1 to 8, not '0'"),
        (&["--queues", "two"], "--queues is 1 to 8, not 'two'"),
        (&["--kernel", "5.10"], "not '5.10'"),
        // As a number it is one that there is.
        (&["--kernel", "6.10"], "not '6.10'"),
        (&["--gate", "/nowhere/portcullis"], "there is no program /nowhere/portcullis"),
        (&["--queues"], "the last argument wants a value"),
        (&["--quiet"], "there is no --quiet"),
    ] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/vm");
        let done = Command::new(script).args(arguments).output().expect("bash");
        let page = String::from_utf8_lossy(&done.stderr);
        assert!(page.contains(told), "{arguments:?}: {page}");
        assert_eq!((done.status.code(), page.lines().count()), (Some(2), 1), "{arguments:?}: {page}");
    }
}
