//! A lab whose namespaces were deleted by hand: what its gate left is found and removed all the same.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use portcullis::control::client;
use portcullis::gateway::Place;
use portcullis::lab::process::wait_for;
use portcullis::lab::topology::{self, GATE};
use portcullis::lab::{Removed, namespace};

use crate::own::{Own, PROGRAM, text};

/// A gate started by hand, which is not on the lab's record, and its place.
fn gate(own: &Own) -> (Child, Place) {
    let (netns, socket) = (own.0.host(GATE).unwrap(), own.0.name.socket());
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab/gate.toml");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--policy", policy, "--socket"]).arg(&socket).stdout(Stdio::null());
    let child = namespace::run_in(&netns, || command.spawn()).unwrap().unwrap();
    assert!(wait_for(Duration::from_secs(20), || client::status(&socket).is_ok()));
    (child, namespace::run_in(&netns, || Place::of("lab")).unwrap().unwrap())
}

fn delete_all(own: &Own) {
    for part in topology::parts() {
        namespace::delete(&own.0.name.namespace(part)).unwrap();
    }
}

/// The lines of `lab status`, which ends with 1.
fn status(own: &Own) -> Vec<String> {
    let said = own.cli(&["status"]);
    assert_eq!(said.status.code(), Some(1));
    text(&said.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn pins_of_a_lab_whose_namespaces_were_deleted_go_with_it() {
    let own = Own::up('y');
    let (mut child, place) = gate(&own);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(own.0.status().unwrap().up, "a gate that is dead is none of the lab's parts");
    delete_all(&own);
    // The services of its hosts keep their namespaces; the gate's own is gone.
    assert!(wait_for(Duration::from_secs(5), || {
        status(&own).iter().any(|line| line.starts_with("  broken: wire lab"))
    }));
    let name = own.0.name.to_string();
    let lines = status(&own);
    assert_eq!(
        lines[0],
        format!("lab {name} is up in part, `portcullis lab down --name {name}` removes it")
    );
    assert!(lines[1].starts_with(&format!("  missing: pc-{name}-gate, pc-{name}-out")), "{lines:?}");
    let pinned =
        format!("  broken: wire lab is still pinned at {}, without pc-{name}-gate", place.pins.display());
    assert_eq!(lines.last(), Some(&pinned));
    let json = own.cli(&["status", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["broken"].as_array().unwrap().last().unwrap(), &pinned["  broken: ".len()..]);
    assert!(place.pins.exists() && place.state.exists());

    let down = own.cli(&["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(
        text(&down.stdout),
        format!("lab {name} is gone: 0 namespaces removed, 5 processes ended, 1 wire released\n")
    );
    assert!(!place.pins.exists() && !place.state.exists());
    own.nothing_left();
    assert_eq!(own.0.down().unwrap(), Removed::default());
}

#[test]
fn a_gate_that_lives_on_in_a_namespace_without_a_name_goes_with_its_lab() {
    let own = Own::up('z');
    let (mut child, place) = gate(&own);
    namespace::delete(&own.0.name.namespace(GATE)).unwrap();
    let name = own.0.name.to_string();
    let lines = status(&own);
    let file = format!("/proc/{}/ns/net", child.id());
    assert!(
        lines.contains(&format!(
            "  broken: the gate's namespace has lost its name and still lives as {file}"
        )),
        "{lines:?}"
    );
    let removed = own.0.down();
    // A gate that is still there must not outlive the test.
    let ended = child.try_wait().unwrap();
    let _ = child.kill();
    child.wait().unwrap();
    let removed = removed.unwrap();
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "asked to end, and ended in order");
    assert_eq!(removed, Removed { namespaces: 10, processes: 6, wires: 1 });
    assert!(!place.pins.exists() && !place.state.exists(), "{name}");
    own.nothing_left();
}
