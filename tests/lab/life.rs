//! A lab comes whole and goes whole, also after a failed start.

use std::fs;
use std::process::Command;

use portcullis::lab::topology::{self, HOSTS};
use portcullis::lab::{Error, Removed, namespace};

use crate::own::{Own, PATIENCE, PROGRAM, answered, servers, text};

#[test]
fn it_comes_whole_and_goes_whole() {
    let own = Own::new('a');
    let up = own.cli(&["up"]);
    assert!(up.status.success(), "{}", text(&up.stderr));
    let mut expected: Vec<String> = topology::parts().map(|part| own.0.name.namespace(part)).collect();
    expected.sort();
    assert_eq!(own.namespaces(), expected);
    let serving = HOSTS.iter().filter(|host| host.answers()).count();
    assert_eq!(servers(&own.0).len(), serving);
    let status = own.cli(&["status", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!((json["up"].as_bool(), json["missing"].as_array().map(Vec::len)), (Some(true), Some(0)));

    let down = own.cli(&["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert_eq!(
        text(&down.stdout),
        format!(
            "lab {} is gone: {} namespaces removed, {serving} processes ended\n",
            own.0.name,
            expected.len()
        )
    );
    own.nothing_left();
    let again = own.cli(&["down"]);
    assert!(again.status.success());
    assert_eq!(text(&again.stdout), format!("lab {}: nothing was up\n", own.0.name));
}

#[test]
fn two_labs_stand_side_by_side() {
    let (one, two) = (Own::up('e'), Own::up('f'));
    assert_eq!(one.tcp("workstation", "partner", 443, PATIENCE)[0], answered("partner 443"));
    let removed = one.0.down().unwrap();
    assert_eq!(removed, Removed { namespaces: 11, processes: 5, wires: 0 });
    one.nothing_left();
    assert!(two.0.status().unwrap().up);
    assert_eq!(two.tcp("workstation", "partner", 443, PATIENCE)[0], answered("partner 443"));
}

#[test]
fn a_second_up_names_the_way_out_and_touches_nothing() {
    let own = Own::up('g');
    let before = (own.namespaces(), servers(&own.0));
    let again = own.cli(&["up"]);
    assert_eq!(again.status.code(), Some(2));
    let (said, name) = (text(&again.stderr), own.0.name.to_string());
    assert!(said.contains(&format!("`portcullis lab down --name {name}` removes it")), "{said}");
    assert_eq!((own.namespaces(), servers(&own.0)), before);
    assert!(own.0.status().unwrap().up);
}

#[test]
fn a_failed_start_leaves_nothing() {
    // Everything is there when the services turn out not to come up.
    for (letter, program) in [('h', "/nowhere/portcullis"), ('i', "/bin/true"), ('j', "/bin/echo")] {
        let own = Own::with(letter, program);
        let why = own.0.up().unwrap_err();
        assert!(matches!(why, Error::Process(_)), "{why}");
        own.nothing_left();
    }
}

#[test]
fn what_is_left_of_a_half_dead_lab_is_removed() {
    let own = Own::up('k');
    for pid in servers(&own.0) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    namespace::delete(&own.0.name.namespace("vault")).unwrap();
    // A signal that was sent is not yet a process that ended: at most ten seconds.
    for _ in 0..2_000 {
        if own.0.status().unwrap().broken.len() == 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let status = own.0.status().unwrap();
    assert_eq!((status.up, status.missing), (false, vec![own.0.name.namespace("vault")]));
    assert_eq!(
        status.broken,
        [
            "the services of workstation have ended",
            "the services of partner have ended",
            "the services of carddb have ended",
            "the services of jump have ended"
        ]
    );
    let said = own.cli(&["status"]);
    assert_eq!(said.status.code(), Some(1));
    let name = own.0.name.to_string();
    assert!(
        text(&said.stdout).starts_with(&format!(
            "lab {name} is up in part, `portcullis lab down --name {name}` removes it\n  missing: pc-{name}-vault\n  \
             broken: the services of workstation have ended\n"
        )),
        "{}",
        text(&said.stdout)
    );
    assert_eq!(own.0.down().unwrap().namespaces, 10);
    own.nothing_left();

    // A folder alone, and a namespace alone.
    fs::create_dir_all(own.0.name.folder().join("processes")).unwrap();
    assert!(matches!(own.0.up().unwrap_err(), Error::Standing { .. }));
    own.0.down().unwrap();
    own.nothing_left();
    namespace::add(&own.0.name.namespace("jump")).unwrap();
    assert!(matches!(own.0.up().unwrap_err(), Error::Standing { .. }));
    own.0.down().unwrap();
    own.nothing_left();
}

#[test]
fn without_root_it_says_so() {
    let refused = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", PROGRAM, "lab", "up"])
        .output()
        .unwrap();
    // The program itself may lie where nobody else may look; then there is nothing to try.
    if refused.status.code() == Some(127) || refused.status.code() == Some(126) {
        return;
    }
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("a lab needs root"), "{}", text(&refused.stderr));
}
