//! What the accepted forms mean, value for value.

use std::collections::BTreeMap;

use super::super::super::model::{Atom, Gate, Match, Model, Selector};
use super::super::super::verdict::Mode;
use super::super::read_text;
use crate::wire::{Mac, Vlans};

const BASE: &str = include_str!("base.toml");
const ALL: (u16, u16) = (0, u16::MAX);

fn model(edits: &[(&str, &str)], more: &str) -> Model {
    let mut text = format!("{BASE}\n{more}");
    for (old, new) in edits {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    match read_text(vec![("gate.toml".into(), text)]) {
        Ok(loaded) => loaded.model,
        Err(rejected) => panic!("{}", super::shown(Err(rejected))),
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn every_form_of_a_service() {
    let forms: &[(&str, Atom)] = &[
        ("tcp/443", Atom { protocol: 6, to: (443, 443), from: ALL }),
        ("tcp/1-65535", Atom { protocol: 6, to: (1, 65535), from: ALL }),
        ("udp/67 from 68", Atom { protocol: 17, to: (67, 67), from: (68, 68) }),
        ("udp/33434-33534 from 1024-65535", Atom { protocol: 17, to: (33434, 33534), from: (1024, 65535) }),
        ("icmp/8", Atom { protocol: 1, to: (0x0800, 0x08ff), from: ALL }),
        ("icmp/echo-request", Atom { protocol: 1, to: (0x0800, 0x08ff), from: ALL }),
        ("icmp/3.4", Atom { protocol: 1, to: (0x0304, 0x0304), from: ALL }),
        ("icmpv6/packet-too-big", Atom { protocol: 58, to: (0x0200, 0x02ff), from: ALL }),
        ("icmpv6/255.255", Atom { protocol: 58, to: (0xffff, 0xffff), from: ALL }),
        ("ip/50", Atom { protocol: 50, to: ALL, from: ALL }),
        ("ip/6", Atom { protocol: 6, to: ALL, from: ALL }),
    ];
    for (written, atom) in forms {
        let model = model(&[("esp   = [\"ip/50\"]", &format!("esp   = [\"{written}\"]"))], "");
        assert_eq!(model.services["esp"].atoms, [*atom], "{written}");
    }
}

#[test]
fn services_name_others_and_count_once() {
    let edit =
        "https = [\"tcp/443\"]\nweb = [\"https\", \"tcp/443\", \"alt\"]\nalt = [\"tcp/8443\", \"https\"]";
    let model =
        model(&[("https = [\"tcp/443\"]", edit), ("[\"https\"]\njust", "[\"web\", \"tcp/80\"]\njust")], "");
    let ports: Vec<u16> = model.services["web"].atoms.iter().map(|atom| atom.to.0).collect();
    assert_eq!(ports, [443, 8443]);
    let allow = model.rules.last().expect("the allow");
    assert_eq!(allow.services.written, ["web", "tcp/80"]);
    assert_eq!(allow.services.atoms.iter().map(|atom| atom.to.0).collect::<Vec<_>>(), [80, 443, 8443]);
    assert!(!allow.services.any);
}

#[test]
fn the_gate_keeps_its_defaults_or_takes_what_is_written() {
    assert_eq!(model(&[], "[gate]\napprovals = \"off\"\n").gate, Gate::default());
    let text = "[gate]\nsocket = \"/tmp/x.sock\"\nrings = 1024\nflows = 0x4000\nheartbeat = \"2s\"\n";
    let socket = "/tmp/x.sock".into();
    let gate = Gate { socket, rings: 1024, flows: 16_384, heartbeat: 2_000_000_000 };
    assert_eq!(model(&[], text).gate, gate);
    assert_eq!(model(&[], "[gate]\nheartbeat = \"500ms\"\n").gate.heartbeat, Gate::default().heartbeat);
}

#[test]
fn networks_list_their_tags_and_routers() {
    let at = "at       = \"cde.inside\"";
    let vlans = "vlans = [\"untagged\", \"100\", \"100.20\"]\nvia = [\"02:00:00:00:00:01\"]\nlabels = { app = \"x\" }";
    let model = model(&[(at, &format!("{at}\n{vlans}"))], "");
    let [servers, world] = model.networks.as_slice() else { panic!("two networks") };
    let single = Vlans { outer: 100, inner: Vlans::NONE };
    assert_eq!(servers.vlans, [Vlans::UNTAGGED, single, Vlans { outer: 100, inner: 20 }]);
    assert_eq!(servers.via, [Mac([2, 0, 0, 0, 0, 1])]);
    assert_eq!(servers.labels, BTreeMap::from([("app".to_owned(), "x".to_owned())]));
    assert_eq!(world.vlans, [Vlans::UNTAGGED]);
}

#[test]
fn every_key_of_a_selector() {
    let to = "to            = { zone = \"cde\" }";
    let all = "to = { zone = [\"cde\"], network = \"servers\", name = [\"vault-1\", \"api-1\"], \
               service_account = \"payments-prod\", app = [\"a\", \"b\"], env = { not = [\"dev\"] }, \
               data = { not = \"cardholder\" }, unknown = true }";
    let model = model(&[(to, all)], "");
    let expected = Match {
        labels: BTreeMap::from([("app".to_owned(), strings(&["a", "b"]))]),
        not: BTreeMap::from([
            ("data".to_owned(), strings(&["cardholder"])),
            ("env".to_owned(), strings(&["dev"])),
        ]),
        names: strings(&["vault-1", "api-1"]),
        zones: strings(&["cde"]),
        networks: strings(&["servers"]),
        accounts: strings(&["payments-prod"]),
        unknown: true,
    };
    assert_eq!(model.rules[0].to, Selector::Match(expected));
}

#[test]
fn rules_carry_all_their_keys() {
    let more = "[deny.all]\nfrom = { any = true }\nto = { except = [{ app = \"vault\" }, { unknown = true }] }\n\
                services = [\"any\"]\nlog = true\njustification = \"why\"\nticket = \"T-1\"\nowner = \"pay\"\n\
                mitigation = \"none\"\nreview_by = 2027-05-31\n[allow.esp]\nfrom = { app = \"payments\", env = \
                \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"esp\"]\n\
                both_ways = true\n";
    let model = model(&[], more);
    let ids: Vec<String> = model.rules.iter().map(super::super::super::model::Rule::full_id).collect();
    assert_eq!(ids, ["guardrail.prod-only", "deny.all", "allow.api-to-vault", "allow.esp"]);
    let modes: Vec<Option<Mode>> = model.rules.iter().map(|rule| rule.mode).collect();
    assert_eq!(modes, [Some(Mode::Enforce), None, None, None]);
    let deny = &model.rules[1];
    assert_eq!(deny.from, Selector::Any);
    assert!(deny.log && deny.services.any && !deny.both_ways);
    assert_eq!(deny.ticket.as_deref(), Some("T-1"));
    assert_eq!(deny.mitigation.as_deref(), Some("none"));
    assert_eq!(deny.review_by.as_deref(), Some("2027-05-31"));
    assert!(model.rules[3].both_ways);
}

#[test]
fn inherited_labels_count_when_a_zone_looks_for_members() {
    let labels = "labels    = { app = \"vault\", env = \"prod\", data = \"cardholder\" }";
    let at = "at       = \"cde.inside\"";
    let edits = [
        (labels, "labels    = { app = \"vault\", env = \"prod\" }"),
        (at, "at       = \"cde.inside\"\nlabels = { data = \"cardholder\" }"),
    ];
    let mut text = BASE.to_owned();
    for (old, new) in edits {
        text = text.replacen(old, new, 1);
    }
    assert_eq!(super::shown(super::load(&text)), "0 errors, 0 warnings\n");
}

#[test]
fn the_page_tells_the_defaults() {
    let page = include_str!("../../../../docs/LANGUAGE.md");
    let gate = Gate::default();
    let written = [
        ("socket", gate.socket.display().to_string()),
        ("rings", gate.rings.to_string()),
        ("flows", gate.flows.to_string()),
        ("heartbeat", format!("\"{}ms\"", gate.heartbeat / 1_000_000)),
    ];
    for (key, default) in written {
        let row = page.lines().find(|line| line.contains(&format!("| `{key}` |"))).expect(key);
        assert!(row.ends_with(&format!("| `{default}` |")), "{row}");
    }
}
