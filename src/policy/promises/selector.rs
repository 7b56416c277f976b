//! §3: whom a selector means.

use super::*;

/// Which of the outside addresses a deny `from` this selector matches.
fn denied(from: &str) -> Vec<&'static str> {
    let table = table(&rule("deny", "r", from, "{ app = \"printer\" }", r#"["any"]"#));
    let all = ["10.10.0.7", "10.10.0.9", "192.0.2.1"];
    let matched = |from: &&str| ask(from, "10.20.0.40", "tcp/1").denial(&table) == Some(Denial::Rule);
    all.into_iter().filter(matched).collect()
}

const PAY: &str = "10.10.0.7";
const DEV: &str = "10.10.0.9";
const STRANGER: &str = "192.0.2.1";

#[test]
fn keys_are_and_lists_are_any_of() {
    assert_eq!(denied("{ app = \"pay\" }"), [PAY]);
    assert_eq!(denied("{ app = [\"pay\", \"dev\"] }"), [PAY, DEV]);
    assert_eq!(denied("{ app = [\"pay\", \"dev\"], env = \"dev\" }"), [DEV]);
    assert_eq!(denied("{ app = \"pay\", env = \"dev\" }"), [""; 0]);
    assert_eq!(denied("{ name = [\"dev\", \"vault\"] }"), [DEV]);
}

#[test]
fn a_workload_without_the_key_does_not_match_under_not_either() {
    assert_eq!(denied("{ env = { not = \"prod\" } }"), [DEV]);
    assert_eq!(denied("{ env = { not = [\"prod\", \"dev\"] } }"), [""; 0]);
    assert_eq!(denied("{ tier = { not = \"ops\" } }"), [""; 0]);
}

#[test]
fn except_is_everything_else_unlabelled_and_unknown_included() {
    assert_eq!(denied("{ except = [{ env = \"prod\" }] }"), [DEV, STRANGER]);
    assert_eq!(denied("{ except = [{ env = \"prod\" }, { app = \"dev\" }] }"), [STRANGER]);
    assert_eq!(denied("{ except = [{ unknown = true }] }"), [PAY, DEV]);
}

#[test]
fn a_label_that_unknown_inherits_takes_it_out_of_no_except() {
    let mut model = model(&rule(
        "deny",
        "r",
        "{ except = [{ env = \"prod\" }] }",
        "{ app = \"printer\" }",
        r#"["any"]"#,
    ));
    let world = model.networks.iter_mut().find(|n| n.name == "world").unwrap();
    world.labels.insert("env".into(), "prod".into());
    let question = ask(STRANGER, "10.20.0.40", "tcp/1");
    assert_eq!(question.denial(&compile(&model)), Some(Denial::Rule));
}

#[test]
fn any_is_every_claimed_workload() {
    assert_eq!(denied("{ any = true }"), [PAY, DEV]);
}

#[test]
fn unknown_is_a_key_like_any_other() {
    assert_eq!(denied("{ unknown = true }"), [STRANGER]);
    assert_eq!(denied("{ network = \"world\", unknown = true }"), [STRANGER]);
    assert_eq!(denied("{ network = \"world\" }"), [PAY, DEV, STRANGER]);
    assert_eq!(denied("{ network = \"servers\", unknown = true }"), [""; 0]);
}

#[test]
fn a_network_means_the_networks_within_it_on_its_side() {
    let table = table(&format!(
        "[network.lan]\nat = \"w.outside\"\nprefixes = [\"10.10.0.0/24\"]\n{}",
        rule("deny", "r", "{ network = \"world\" }", "{ network = \"servers\" }", r#"["any"]"#)
    ));
    assert_eq!(ask(PAY, "10.20.0.40", "tcp/1").denial(&table), Some(Denial::Rule));
    assert_eq!(ask("10.20.0.40", PAY, "tcp/1").denial(&table), Some(Denial::NoRule));
}
