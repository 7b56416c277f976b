//! Commands on the hosts of a lab.

use std::process::Command;

use portcullis::lab::process::wait_for;

use crate::own::{Own, PATIENCE, PROGRAM, text};

#[test]
fn a_command_runs_where_it_is_told_to() {
    let own = Own::up('l');
    let links = own.cli(&["exec", "vault", "--", "ip", "-br", "address", "show", "eth0"]);
    let links = text(&links.stdout);
    assert!(links.contains("10.20.0.10/24") && links.contains("2001:db8:20::10/64"), "{links}");
    assert_eq!(own.cli(&["exec", "vault", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(own.cli(&["exec", "vault", "--", "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let nobody = own.cli(&["exec", "nobody", "--", "true"]);
    assert_eq!(nobody.status.code(), Some(2));
    assert!(text(&nobody.stderr).contains("no host nobody in a lab; there are gate, out, in, payments"));
    // What is run is on record while it runs, and no longer.
    let servers = own.0.status().unwrap().processes.len();
    assert_eq!(servers, 5);
}

#[test]
fn what_exec_started_ends_with_the_lab() {
    let own = Own::up('m');
    let name = own.0.name.to_string();
    let mut sleeper = Command::new(PROGRAM)
        .args(["lab", "--name", &name, "exec", "jump", "--", "sleep", "600"])
        .spawn()
        .unwrap();
    let there = || own.0.status().unwrap().processes.iter().any(|entry| entry.what == "sleep on jump");
    assert!(wait_for(PATIENCE, there));
    assert_eq!(own.0.down().unwrap().processes, 6);
    own.nothing_left();
    assert_eq!(sleeper.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn exec_in_a_lab_that_is_not_up_says_how_to_raise_it() {
    let own = Own::new('n');
    let done = own.cli(&["exec", "vault", "--", "true"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("`portcullis lab up --name"), "{}", text(&done.stderr));
    own.nothing_left();
}
