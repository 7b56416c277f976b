//! The binary as people and programs call it: exit codes, pages, errors. No root, no NIC.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that can't go on fails")]

use std::path::PathBuf;
use std::process::{Command, Output};

use portcullis::io::clock::boot_nanos;

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .env_remove("PORTCULLIS_SOCKET")
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn cde() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("configs/cde/gate.toml");
    path.to_str().unwrap().to_owned()
}

/// A copy of the example with one edit, in a folder of its own.
fn edited(file: &str, edit: impl Fn(String) -> String) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("configs/cde");
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    for place in ["", "rules"] {
        for entry in std::fs::read_dir(from.join(place)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), folder.path().join(place).join(entry.file_name())).unwrap();
            }
        }
    }
    let path = folder.path().join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    let after = edit(before.clone());
    assert_ne!(before, after, "the edit finds nothing to edit");
    std::fs::write(path, after).unwrap();
    let first = folder.path().join("gate.toml").to_str().unwrap().to_owned();
    (folder, first)
}

#[test]
fn a_sound_policy_is_summed_up() {
    let output = portcullis(&["check", "--policy", &cde()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("wire cde: "), "{}", out(&output));
    assert!(out(&output).contains("6 guardrails, 5 denies, "), "{}", out(&output));
    let output = portcullis(&["check", "--policy", &cde(), "--format", "json"]);
    assert_eq!(code(&output), 0);
    assert_eq!((&json(&output)["ok"], &json(&output)["errors"]), (&true.into(), &0.into()));
    assert_eq!(json(&output)["summary"]["wire"], "cde");
}

#[test]
fn a_misspelt_value_is_pointed_at() {
    let (_folder, first) = edited("rules/payments.toml", |text| text.replacen("\"prod\"", "\"prd\"", 1));
    let output = portcullis(&["check", "--policy", &first]);
    assert_eq!(code(&output), 2);
    let page = out(&output);
    assert!(page.contains("rules/payments.toml:"), "{page}");
    assert!(page.contains("did you mean \"prod\"?"), "{page}");
    assert!(page.contains("nothing was loaded"), "{page}");
    assert_eq!(err(&output), "");
    let output = portcullis(&["check", "--policy", &first, "--format", "json"]);
    assert_eq!(code(&output), 2);
    assert_eq!(json(&output)["ok"], false);
    assert_eq!(json(&output)["findings"][0]["file"], "rules/payments.toml");
}

#[test]
fn warnings_fail_a_pipeline_only_where_it_asks() {
    let empty = "\n[allow.nobody]\nfrom = { app = \"nowhere\", env = \"prod\" }\nto = { app = \
                 \"tokenization\", env = \"prod\" }\nservices = [\"https\"]\nowner = \
                 \"payments-platform\"\njustification = \"None.\"\n";
    let (_folder, first) = edited("rules/payments.toml", |text| text + empty);
    let output = portcullis(&["check", "--policy", &first]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(out(&output).contains("warning"), "{}", out(&output));
    assert_eq!(code(&portcullis(&["check", "--policy", &first, "--strict"])), 1);
}

#[test]
fn the_example_has_no_finding_and_is_checked_in_time() {
    let begun = boot_nanos();
    let output = portcullis(&["check", "--policy", &cde(), "--strict"]);
    let took = boot_nanos() - begun;
    // Reviews fall due after the day that it was written for.
    let due = portcullis(&["check", "--policy", &cde(), "--strict", "--level", "P0611=off"]);
    assert_eq!(code(&due), 0, "{}", out(&due));
    assert!(!out(&output).contains("error"), "{}", out(&output));
    // 100 ms is promised of a release build.
    let bound = if cfg!(debug_assertions) { 3_000_000_000 } else { 100_000_000 };
    assert!(took < bound, "{took} ns");
}

#[test]
fn warnings_take_the_level_that_is_asked_for() {
    let telnet = |text: String| {
        text.replacen(
            "services      = [\"https\"]",
            "services      = [\"https\", \"tcp/25\", \"tcp/110\"]",
            1,
        )
    };
    let (_folder, first) = edited("rules/payments.toml", telnet);
    let ends = |level: &[&str]| {
        let mut words = vec!["check", "--policy", &first];
        words.extend(level);
        let output = portcullis(&words);
        (code(&output), out(&output).contains("[P0610]"), out(&output).contains("error[P0610]"))
    };
    assert_eq!(ends(&[]), (0, true, false));
    assert_eq!(ends(&["--strict"]), (1, true, false));
    assert_eq!(ends(&["--level", "P0610=error"]), (1, true, true));
    assert_eq!(ends(&["--strict", "--level", "P0610=off"]), (0, false, false));
    for wrong in ["P0610", "P9999=off", "P0610=loud", "P0101=off"] {
        assert_eq!(code(&portcullis(&["check", "--policy", &first, "--level", wrong])), 2, "{wrong}");
    }
}

#[test]
fn two_policies_are_compared_and_an_opening_ends_with_1() {
    let (old, cards) = (cde(), "{ app = \"cards\", role = \"db\", env = \"prod\" }");
    for arguments in [&["diff", &old, &old][..], &["diff", "--opening", &old, &old]] {
        let output = portcullis(arguments);
        assert_eq!((code(&output), err(&output)), (0, String::new()));
        assert!(!out(&output).contains("rule "), "{}", out(&output));
    }
    let allow = format!(
        "\n[allow.checkout-to-cards]\nfrom = {{ app = \"checkout\", env = \"prod\" }}\nto = {cards}\nservices = \
         [\"https\"]\nowner = \"treasury\"\njustification = \"A test.\"\n"
    );
    let (_folder, new) = edited("rules/payments.toml", |text| text + &allow);
    let output = portcullis(&["diff", &old, &new]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("OPENS    1\n"), "{}", out(&output));
    let output = portcullis(&["diff", "--opening", &old, &new]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    let page = out(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "allow.checkout-to-cards rules/payments.toml:",
        "into an enforced zone",
        "such as ",
        "an opening: touches zone cde; owner payments-platform, treasury",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let output = portcullis(&["diff", "--opening", "--format", "json", &old, &new]);
    assert_eq!(code(&output), 1);
    let found = json(&output);
    assert_eq!((&found["opens"], &found["zones"][0]), (&true.into(), &"cde".into()));
    let change = &found["changes"][0];
    assert_eq!((&change["kind"], &change["into_enforced"]), (&"opens".into(), &true.into()));
    assert_eq!(change["example"]["service"], "tcp/443");
    // The other way round it only closes.
    let output = portcullis(&["diff", "--opening", &new, &old]);
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(out(&output).contains("no opening: 1 that close"), "{}", out(&output));
}

#[test]
fn policies_that_do_not_hold_together_are_not_compared_and_both_are_told() {
    let (_one, old) = edited("rules/payments.toml", |text| text.replacen("\"prod\"", "\"prd\"", 1));
    let (_two, new) = edited("zones.toml", |text| text.replacen("simulate", "simulated", 1));
    let output = portcullis(&["diff", &old, &new]);
    assert_eq!((code(&output), out(&output)), (2, String::new()));
    for words in [&format!("{old}:\n"), &format!("{new}:\n"), "rules/payments.toml:", "zones.toml:"] {
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    }
    let output = portcullis(&["diff", "--opening", &cde(), "/nowhere/gate.toml"]);
    assert_eq!((code(&output), out(&output)), (2, String::new()));
    assert!(err(&output).contains("/nowhere/gate.toml"), "{}", err(&output));
    assert_eq!(code(&portcullis(&["diff", &cde(), &cde(), "--at", "soon"])), 2);
    assert_eq!(code(&portcullis(&["diff", &cde(), &cde(), "--at", "2027-05-31"])), 0);
    assert_eq!(code(&portcullis(&["diff", &cde()])), 2);
}

#[test]
fn an_inventory_is_listed_and_a_list_becomes_a_part_of_it() {
    let output = portcullis(&["inventory", "list", "--policy", &cde(), "--format", "json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let rows = json(&output);
    assert_eq!(rows.as_array().unwrap().len(), 75);
    let vault = rows.as_array().unwrap().iter().find(|row| row["name"] == "vault-1").unwrap();
    assert_eq!(
        (&vault["service_account"], &vault["place"]),
        (&"vault-prod".into(), &"inventory.toml:3".into())
    );
    let output = portcullis(&["inventory", "labels", "env", "--policy", &cde()]);
    assert_eq!((code(&output), out(&output).lines().count()), (0, 3), "{}", out(&output));
    for (key, like) in [("colour", ""), ("evn", "; did you mean env?")] {
        let output = portcullis(&["inventory", "labels", key, "--policy", &cde()]);
        let told = format!(
            "error: the policy declares no label {key}{like}\n  remedy: `[label]` of the policy lists the keys there are\n"
        );
        assert_eq!((code(&output), err(&output)), (2, told));
    }
    let inherits = |text: String| {
        text.replacen(
            "at       = \"cde.inside\"",
            "at       = \"cde.inside\"\nlabels   = { rack = \"r1\" }",
            1,
        )
        .replacen("app     = {}", "app     = {}\nrack = {}", 1)
    };
    let (_policy, first) = edited("gate.toml", inherits);
    let output = portcullis(&["inventory", "labels", "rack", "--policy", &first]);
    let own = out(&output);
    assert!(own.starts_with("rack=r1  ") && own.contains(" workloads, of which "), "{own}{}", err(&output));
    assert!(own.ends_with(" inherit it from network cde-servers\n"), "{own}");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("hosts.csv");
    let import = |text: &str| {
        std::fs::write(&list, text).unwrap();
        portcullis(&["inventory", "import", list.to_str().unwrap()])
    };
    let output = import("name,addresses,zone\na,10.0.0.1,red\n");
    assert_eq!(code(&output), 0);
    assert!(
        out(&output).contains("[workload.a] # hosts.csv:2\naddresses = [\"10.0.0.1\"]\n"),
        "{}",
        out(&output)
    );
    assert_eq!(err(&output), "column zone became label zone_label: selectors use the word\n");
    let output = import("name,addresses\na,b\n");
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
    assert!(
        err(&output).starts_with("error: hosts.csv: line 2: ")
            && err(&output).contains("1 error; nothing was imported\n  remedy: correct ")
    );
}

#[test]
fn the_schema_is_printed_as_the_file_has_it() {
    let output = portcullis(&["schema"]);
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("configs/policy.schema.json");
    assert_eq!(out(&output), std::fs::read_to_string(file).unwrap());
}

#[test]
fn a_failing_test_ends_a_check_and_a_start_with_1_and_names_the_counterexample() {
    let fails = "\n[test.nobody-reaches-the-vault]\nfrom = { app = \"payments\" }\nto = { app = \"tokenization\" }\n\
                 services = [\"any\"]\nexpect = \"deny\"\n";
    let (_folder, first) = edited("tests.toml", |text| text + fails);
    let told = "test.nobody-reaches-the-vault fails: payments-7 (10.10.0.7) may open tcp/443 to vault-1 (10.20.0.10)";
    let output = portcullis(&["check", "--policy", &first]);
    assert_eq!(code(&output), 1, "{}", out(&output));
    let page = out(&output);
    assert!(page.contains(&format!("error[P0701]: {told}")), "{page}");
    assert!(page.contains("tests.toml:") && page.contains("rules/payments.toml:"), "{page}");
    assert!(page.contains("1 error, 0 warnings; nothing was loaded\n"), "{page}");
    let output = portcullis(&["check", "--policy", &first, "--format", "json"]);
    let report = json(&output);
    assert_eq!((code(&output), &report["ok"], &report["errors"]), (1, &false.into(), &1.into()));
    assert_eq!(report["findings"][0]["message"], told);
    assert_eq!(report["findings"][0]["related"][0]["file"], "rules/payments.toml");
    assert_eq!(report["summary"]["tests"], 15);
    let output = portcullis(&["run", "--policy", &first]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert!(err(&output).contains(&format!("error[P0701]: {told}")), "{}", err(&output));
}

#[test]
fn a_policy_that_is_not_there_is_named() {
    for verb in ["check", "run"] {
        let output = portcullis(&[verb, "--policy", "/nowhere/gate.toml"]);
        assert_eq!(code(&output), 2, "{verb}");
        assert!((out(&output) + &err(&output)).contains("/nowhere/gate.toml"), "{verb}");
    }
}

#[test]
fn verbs_and_arguments_that_do_not_exist_are_usage_errors() {
    for arguments in [
        &["guard"][..],
        &["check"],
        &["run"],
        &["release"],
        &["status", "--format", "xml"],
        &["status", "--interval", "0"],
        &["events", "--last", "5000"],
        &["completions", "edlin"],
    ] {
        let output = portcullis(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(err(&output).starts_with("error: "), "{arguments:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{arguments:?}");
    }
}

#[test]
fn without_a_gate_the_error_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gate.sock");
    let socket = socket.to_str().unwrap();
    for arguments in [
        &["status"][..],
        &["events"],
        &["rules"],
        &["explain", "--from", "a", "--to", "b", "--service", "c"],
    ] {
        let verb = arguments[0];
        let output = portcullis(&[arguments, &["--socket", socket]].concat());
        assert_eq!(code(&output), 2, "{verb}");
        let text = err(&output);
        assert!(text.contains("no gate is running") && text.contains(socket), "{verb}: {text}");
        assert!(text.contains("portcullis run --policy FILE"), "{verb}: {text}");
        assert_eq!(out(&output), "", "{verb}");
    }
    drop(std::os::unix::net::UnixListener::bind(socket).unwrap());
    let output = portcullis(&["status", "--socket", socket]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("nobody answers"), "{}", err(&output));
}

#[test]
fn the_socket_can_be_named_by_the_environment() {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("status")
        .env("PORTCULLIS_SOCKET", "/nowhere/else.sock")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("/nowhere/else.sock"), "{}", err(&output));
}

#[test]
fn a_start_that_fails_leaves_no_socket() {
    let (folder, first) = edited("gate.toml", |text| text.replace("ens1f0", "pc-nowhere"));
    let socket = folder.path().join("gate.sock");
    let output = portcullis(&["run", "--policy", &first, "--socket", socket.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).starts_with("error: "), "{}", err(&output));
    assert!(!socket.exists());
    let told = if cfg!(feature = "xdp") {
        // Without root the first thing missing is a capability, or the place to keep state.
        ["pc-nowhere", "run as root", "are you root?", "BPF file system"]
    } else {
        ["without the feature `xdp`"; 4]
    };
    assert!(told.iter().any(|words| err(&output).contains(words)), "{}", err(&output));
}

#[test]
fn a_socket_in_use_is_found_before_a_port_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("gate.sock");
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = portcullis(&["run", "--policy", &cde(), "--socket", socket.to_str().unwrap()]);
    assert_eq!(code(&output), 2);
    assert!(socket.exists());
    if !cfg!(feature = "xdp") || !rustix::process::geteuid().is_root() {
        // Who may not open a wire is told that first.
        return;
    }
    assert!(err(&output).contains("a gate is already listening on"), "{}", err(&output));
    assert!(err(&output).contains("remedy: stop that gate first"), "{}", err(&output));
}

#[test]
fn doctor_answers_in_both_forms() {
    let output = portcullis(&["doctor", "--format", "json"]);
    let checks = json(&output);
    let failed = checks.as_array().unwrap().iter().any(|check| check["finding"] == "fail");
    assert_eq!(code(&output), i32::from(failed));
    let names: Vec<&str> = checks.as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert!(names.contains(&"wall clock") && names.contains(&"capabilities"), "{names:?}");
    let page = out(&portcullis(&["doctor", "--policy", &cde()]));
    assert!(page.contains("wall clock"), "{page}");
}

#[test]
fn shells_and_manuals_are_served() {
    for shell in ["bash", "zsh", "fish"] {
        let output = portcullis(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(out(&output).contains("portcullis"), "{shell}");
        assert!(["reach", "prove", "batch"].iter().all(|word| out(&output).contains(word)), "{shell}");
    }
    assert!(out(&portcullis(&["man"])).contains(".TH portcullis 1"));
    assert!(out(&portcullis(&["man", "status"])).contains(".TH portcullis-status 1"));
    assert_eq!(code(&portcullis(&["man", "nothing"])), 2);
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output)), (0, String::new()));
}

#[test]
fn a_policy_explains_a_connection() {
    let ask = |service: &str, more: &[&str]| {
        let policy = cde();
        let base = [
            "explain",
            "--policy",
            &policy,
            "--from",
            "payments-7",
            "--to",
            "vault-1",
            "--service",
            service,
        ];
        portcullis(&[&base[..], more].concat())
    };
    let output = ask("https", &[]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("ALLOW, forwarded   payments-7"), "{}", out(&output));
    assert!(out(&output).contains("allow.payments-to-vault"), "{}", out(&output));
    let output = ask("tcp/22", &["--format", "json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!((&json(&output)["verdict"], &json(&output)["reason"]), (&"deny".into(), &"no_rule".into()));
    let output = ask("htps", &[]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("htps") && err(&output).contains("remedy: "), "{}", err(&output));
}

/// Runs the program with something to read.
fn fed(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn rows(output: &Output) -> Vec<serde_json::Value> {
    out(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_batch_says_what_explain_says_one_by_one() {
    let ends = [
        ("10.10.0.7", "10.20.0.10"),
        ("2001:db8:10::7", "2001:db8:20::10"),
        ("10.10.16.9", "10.20.0.20"),
        ("192.0.2.7", "10.20.0.200"),
        ("10.20.0.10", "10.10.0.7"),
        ("10.20.0.10", "10.20.0.11"),
        ("127.0.0.1", "10.20.0.10"),
        ("desktops", "vault-1"),
    ];
    let services = [
        ("tcp/443", r#""proto": "tcp", "dport": 443"#),
        ("udp/67 from 68", r#""proto": "udp", "dport": 67, "sport": 68"#),
        ("ip/50", r#""proto": 50"#),
    ];
    let (mut input, mut asked) = (String::new(), Vec::new());
    for (from, to) in ends {
        for (service, fields) in services {
            input.extend(["{\"src\": \"", from, "\", \"dst\": \"", to, "\", ", fields, "}\n"]);
            asked.push((from, to, service));
        }
    }
    let output = fed(&["explain", "--policy", &cde(), "--batch", "-"], &input);
    assert_eq!((code(&output), err(&output)), (0, String::new()));
    let answers = rows(&output);
    assert_eq!(answers.len(), asked.len());
    for ((from, to, service), answer) in asked.into_iter().zip(&answers) {
        let one = [
            "explain",
            "--format",
            "json",
            "--policy",
            &cde(),
            "--from",
            from,
            "--to",
            to,
            "--service",
            service,
        ];
        let one = json(&portcullis(&one));
        for key in ["verdict", "outcome", "stage", "reason", "mode", "judge_at"] {
            assert_eq!(answer[key], one[key], "{key}: {from} {to} {service}: {answer} {one}");
        }
        assert_eq!(answer["rule"], one["rule"]["id"], "{answer} {one}");
        assert_eq!((&answer["from"], &answer["to"]), (&one["from"]["name"], &one["to"]["name"]));
    }
    let stages: std::collections::BTreeSet<&str> =
        answers.iter().filter_map(|answer| answer["stage"].as_str()).collect();
    assert!(["odd", "profile", "rules"].iter().all(|stage| stages.contains(stage)), "{stages:?}");
}

#[test]
fn a_bad_line_of_a_batch_is_named_and_the_others_are_answered() {
    let good = r#"{"src": "10.10.0.7", "dst": "10.20.0.10", "proto": "tcp", "dport": 443}"#;
    let bad = good.replace("443", "70000");
    let long = format!("{{\"src\": \"{}\"}}", "a".repeat(5_000));
    let input = format!("{good}\n{bad}\nnonsense\n{long}\n\n{good}");
    let output = fed(&["explain", "--policy", &cde(), "--batch", "-"], &input);
    assert_eq!(code(&output), 2);
    let rows = rows(&output);
    assert_eq!(rows.len(), 6);
    assert_eq!((&rows[0], &rows[0]["verdict"]), (&rows[5], &"allow".into()));
    assert_eq!((&rows[1]["line"], &rows[1]["field"]), (&2.into(), &"dport".into()));
    assert_eq!(rows[1]["error"], "line 2: dport: 70000 is not a number from 0 to 65535");
    assert!(rows[2]["error"].as_str().unwrap().starts_with("line 3: at column 2 "), "{}", rows[2]);
    assert_eq!(rows[3]["error"], "line 4: it is longer than 4096 bytes");
    assert_eq!(rows[4]["error"], "line 5: it is empty");
    let said = err(&output);
    assert!(
        said.starts_with("error: 4 of 6 lines got an error for an answer; the first is line 2: "),
        "{said}"
    );
    assert!(said.contains("remedy: "), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.jsonl");
    std::fs::write(&file, good).unwrap();
    let from_file = portcullis(&["explain", "--policy", &cde(), "--batch", file.to_str().unwrap()]);
    assert_eq!((code(&from_file), out(&from_file).lines().next()), (0, out(&output).lines().next()));
    for missing in [folder.path().join("nothing"), folder.path().to_owned()] {
        let output = portcullis(&["explain", "--policy", &cde(), "--batch", missing.to_str().unwrap()]);
        assert_eq!(code(&output), 2);
        assert!(err(&output).contains("can't read the queries of") && err(&output).contains("remedy: "));
    }
    for usage in [
        &["explain", "--batch", "-"][..],
        &["explain", "--policy", "x", "--batch", "-", "--from", "a"],
        &["explain", "--policy", "x", "--batch", "-", "--format", "json"],
        &["explain", "--policy", "x", "--from", "a", "--to", "b"],
    ] {
        assert_eq!(code(&portcullis(usage)), 2, "{usage:?}");
    }
}

#[test]
fn a_policy_explains_a_connection_as_a_tree() {
    let output = portcullis(&[
        "explain",
        "--policy",
        &cde(),
        "--from",
        "payments-7",
        "--to",
        "vault-1",
        "--service",
        "https",
        "--format",
        "tree",
    ]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("ALLOW, forwarded   payments-7"), "{}", out(&output));
    assert!(out(&output).contains("\n├─ from  payments-7"), "{}", out(&output));
}

#[test]
fn who_can_reach_a_zone_is_listed_in_both_forms() {
    let policy = cde();
    let zone = portcullis(&["reach", "--policy", &policy, "--to", "cde"]);
    assert_eq!(code(&zone), 0, "{}", err(&zone));
    assert!(out(&zone).starts_with("anyone → zone cde   "), "{}", out(&zone));
    let output = portcullis(&["reach", "--policy", &policy, "--to", "vault-1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let page = out(&output);
    assert!(page.contains("allow.payments-to-vault   rules/payments.toml:"), "{page}");
    assert!(page.contains("as payments-prod (held)"), "{page}");
    assert!(page.contains("assumes every binding fresh"), "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 100), "{page}");
    let output = portcullis(&["reach", "--policy", &policy, "--from", "payments-7", "--format", "json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let found = json(&output);
    let rules: Vec<&str> =
        found["allowed"].as_array().unwrap().iter().filter_map(|way| way["rule"]["id"].as_str()).collect();
    assert!(rules.contains(&"allow.payments-to-vault"), "{rules:?}");
    let wrong = |words: &str| {
        let output = portcullis(&["reach", "--policy", &policy, "--to", words]);
        assert_eq!(code(&output), 2, "{words}");
        err(&output)
    };
    assert!(wrong("valt-1").contains("did you mean \"vault-1\"?"));
    assert!(wrong("{ env = \"prd\" }").contains("did you mean \"prod\"?"));
    assert!(wrong("{ app = \"nobody\" }").contains("nobody on this wire"));
    assert_eq!(code(&portcullis(&["reach", "--policy", &policy])), 2);
    assert_eq!(code(&portcullis(&["reach", "--to", "vault-1"])), 2);
}

#[test]
fn a_statement_is_proved_or_refuted_by_exit_code() {
    let policy = cde();
    let prove = |statement: &str, more: &[&str]| {
        portcullis(&[&["reach", "--policy", &policy, "--prove", statement][..], more].concat())
    };
    let output = prove("desktops !-> vault-1", &[]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(
        out(&output).starts_with("PROVED   named desktops !-> named vault-1 on anything"),
        "{}",
        out(&output)
    );
    let output = prove("payments-7 !-> vault-1 on https", &["--format", "json"]);
    assert_eq!(code(&output), 1);
    let refuted = json(&output);
    let example = &refuted["counterexample"];
    assert_eq!(
        (&refuted["proved"], &example["rule"]["id"]),
        (&false.into(), &"allow.payments-to-vault".into())
    );
    let (src, dst, service) = (
        example["src"].as_str().unwrap(),
        example["dst"].as_str().unwrap(),
        example["service"].as_str().unwrap(),
    );
    let asked = [
        "explain",
        "--format",
        "json",
        "--policy",
        &policy,
        "--from",
        src,
        "--to",
        dst,
        "--service",
        service,
    ];
    assert_eq!(json(&portcullis(&asked))["rule"], example["rule"]);
    for (statement, says) in [
        ("desktops vault-1", "write A !-> B"),
        ("desktop !-> vault-1", "did you mean \"desktops\"?"),
        ("desktops !-> vault-1 on htps", "did you mean \"https\"?"),
        ("vault-1 !-> carddb-1", "no pair that crosses this gate"),
    ] {
        let output = prove(statement, &[]);
        assert_eq!(code(&output), 2, "{statement}");
        assert!(err(&output).contains(says) && err(&output).contains("remedy: "), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
    assert_eq!(code(&prove("desktops !-> vault-1", &["--to", "vault-1"])), 2);
}

#[test]
fn a_policy_is_told_in_sentences() {
    let output = portcullis(&["rules", "--policy", &cde()]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("guardrail  enforce"), "{}", out(&output));
    assert!(out(&output).lines().all(|line| line.chars().count() <= 100), "{}", out(&output));
    let output = portcullis(&["rules", "--policy", &cde(), "--format", "json"]);
    assert_eq!(code(&output), 0);
    assert!(json(&output).as_array().unwrap().iter().any(|sentence| sentence["id"] == "payments-to-vault"));
}

#[test]
fn a_lease_that_has_ended_is_counted_in_the_sentences() {
    let (_folder, policy) = edited("inventory.toml", |text| {
        let head = "[workload.vault-1]\n";
        assert!(text.contains(head));
        text.replace(head, &format!("{head}valid_until = 2020-01-01\n"))
    });
    let [before, after] = [cde(), policy].map(|policy| portcullis(&["rules", "--policy", &policy]));
    assert_eq!((code(&before), code(&after)), (0, 0), "{}", err(&after));
    assert!(!out(&before).contains("lapsed"), "{}", out(&before));
    assert!(out(&after).contains("1 lapsed"), "{}", out(&after));
}
