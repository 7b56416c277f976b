//! What the accepted forms mean, value for value.

use std::collections::BTreeMap;

use super::super::super::model::{Atom, Gate, Limits, Match, Model, Reply, Selector, Timeouts};
use super::super::super::verdict::{Action, Mode, Moment};
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
    let text = "[gate]\nsocket = \"/tmp/x.sock\"\nrings = 1024\nqueues = 3\nsymmetric_rss = false\nflows = 0x4000\nheartbeat = \"2s\"\n\
                management = [\"192.0.2.10\", \"2001:db8::10\", \"192.0.2.10\"]\nlink_local = \"forward\"\n\
                cold_start_reset = \"2m\"\ninventory_limit = \"90m\"\n";
    let socket = "/tmp/x.sock".into();
    let limits = Limits { flows_per_source: 4_096, flows_from_outside: 12_288, ..Gate::default().limits };
    let timeouts = Timeouts::default();
    let gate = Gate {
        socket,
        rings: 1024,
        queues: Some(3),
        symmetric_rss: false,
        flows: 16_384,
        heartbeat: 2_000_000_000,
        management: ["192.0.2.10", "2001:db8::10"].map(|own| own.parse().unwrap()).to_vec(),
        link_local: Action::Forward,
        cold_start_reset: 120_000_000_000,
        inventory_limit: 5_400_000_000_000,
        timeouts,
        limits,
    };
    assert_eq!(model(&[], text).gate, gate);
    assert_eq!(model(&[], "[gate]\nheartbeat = \"500ms\"\n").gate.heartbeat, Gate::default().heartbeat);
}

#[test]
fn timeouts_are_what_is_written_and_the_rest_as_it_was() {
    let text = "[gate.timeouts]\ntcp_opening = \"10s\"\ntcp_established = \"1h30m\"\ntcp_half_closed = \"2m\"\n\
                tcp_closing = \"11s\"\ntcp_closed = \"12s\"\nudp_one_way = \"13s\"\nudp = \"14s\"\n\
                icmp = \"15s\"\nother = \"16s\"\nfragment = \"17s\"\n";
    let seconds = |seconds: u64| seconds * 1_000_000_000;
    let all = Timeouts {
        tcp_opening: seconds(10),
        tcp_established: seconds(5_400),
        tcp_half_closed: seconds(120),
        tcp_closing: seconds(11),
        tcp_closed: seconds(12),
        udp_one_way: seconds(13),
        udp: seconds(14),
        icmp: seconds(15),
        other: seconds(16),
        fragment: seconds(17),
    };
    assert_eq!(model(&[], text).gate, Gate { timeouts: all, ..Gate::default() });
    let one = Timeouts { icmp: seconds(30), ..Timeouts::default() };
    let text = "[gate]\ntimeouts = { icmp = \"30s\" }\n";
    assert_eq!(model(&[], text).gate, Gate { timeouts: one, ..Gate::default() });
}

#[test]
fn limits_are_what_is_written_and_shares_are_of_the_table() {
    let text = "[gate]\nflows = 10000\n[gate.limits]\nhalf_open = 100\nnew_flows_per_source = \"200/s\"\n\
                new_flows_burst = 400\nflows_per_source = 123\nflows_from_outside = \"50%\"\n\
                datagrams = 64\ndatagrams_per_source = 8\nheld_fragments = 32\n\
                held_fragments_per_source = 4\nreplies = \"100/s\"\nreplies_per_source = \"5/s\"\n";
    let all = Limits {
        half_open: 100,
        new_flows_per_source: 200,
        new_flows_burst: 400,
        flows_per_source: 123,
        flows_from_outside: 5_000,
        datagrams: 64,
        datagrams_per_source: 8,
        held_fragments: 32,
        held_fragments_per_source: 4,
        replies: 100,
        replies_per_source: 5,
    };
    assert_eq!(model(&[], text).gate, Gate { flows: 10_000, limits: all, ..Gate::default() });
    // One source never has more than all have.
    let few = "[gate]\nlimits = { datagrams = 16, held_fragments = 2, replies = \"3/s\" }\n";
    let limits = Limits {
        datagrams: 16,
        datagrams_per_source: 16,
        held_fragments: 2,
        held_fragments_per_source: 2,
        replies: 3,
        replies_per_source: 3,
        ..Gate::default().limits
    };
    assert_eq!(model(&[], few).gate, Gate { limits, ..Gate::default() });
}

#[test]
fn a_binding_ends_at_an_instant_or_with_a_date_in_utc() {
    let macs = "macs      = [\"02:00:00:20:00:10\"]";
    let until = |text: &str| {
        let model = model(&[(macs, &format!("{macs}\nvalid_until = {text}"))], "");
        model.workloads.iter().find(|w| w.name == "vault-1").and_then(|w| w.valid_until)
    };
    let second = 1_000_000_000;
    // 2027-06-01T00:00:00Z
    let june = 1_811_808_000 * second;
    assert_eq!(until("2027-05-31"), Some(Moment(june)));
    assert_eq!(until("2027-06-01T00:00:00Z"), Some(Moment(june)));
    assert_eq!(until("2027-06-01T02:30:00.5+02:30"), Some(Moment(june + second / 2)));
    assert_eq!(until("1969-12-30"), Some(Moment(0)));
    assert_eq!(until("9999-12-31"), Some(Moment::NEVER));
    assert_eq!(Moment(june).to_string(), "2027-06-01T00:00:00Z");
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
        groups: Vec::new(),
        accounts: strings(&["payments-prod"]),
        unknown: true,
        same: Vec::new(),
        differs: Vec::new(),
    };
    assert_eq!(model.rules[0].to, Selector::Match(expected));
}

#[test]
fn rules_carry_all_their_keys() {
    let more = "[deny.all]\nfrom = { any = true }\nto = { except = [{ app = \"vault\" }, { unknown = true }] }\n\
                services = [\"any\"]\nlog = true\njustification = \"why\"\nticket = \"T-1\"\nowner = \"pay\"\n\
                mitigation = \"none\"\nreview_by = 2027-05-31\nreply = \"unreachable\"\n[allow.esp]\nfrom = { app = \"payments\", env = \
                \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"esp\"]\n\
                both_ways = true\n";
    let model = model(&[], more);
    let ids: Vec<String> = model.rules.iter().map(super::super::super::model::Rule::full_id).collect();
    assert_eq!(ids, ["guardrail.prod-only", "deny.all", "allow.api-to-vault", "allow.esp"]);
    let modes: Vec<Option<Mode>> = model.rules.iter().map(|rule| rule.mode).collect();
    assert_eq!(modes, [Some(Mode::Enforce), None, None, None]);
    let replies: Vec<Option<Reply>> = model.rules.iter().map(|rule| rule.reply).collect();
    assert_eq!(replies, [None, Some(Reply::Unreachable), None, None]);
    let deny = &model.rules[1];
    assert_eq!(deny.from, Selector::Any);
    assert!(deny.log && deny.services.any && !deny.both_ways);
    assert_eq!(deny.ticket.as_deref(), Some("T-1"));
    assert_eq!(deny.mitigation.as_deref(), Some("none"));
    assert_eq!(deny.review_by.as_deref(), Some("2027-05-31"));
    assert!(model.rules[3].both_ways);
}

/// Its ports tell who opens, though no rule names them.
#[test]
fn sctp_is_allowed_one_way_or_both() {
    let sctp = ("esp   = [\"ip/50\"]", "esp   = [\"ip/132\"]");
    let rule = |services: &str, more: &str| {
        format!(
            "[allow.more]\nfrom = {{ app = \"payments\", env = \"prod\" }}\nto = {{ app = \"vault\", env = \"prod\" }}\n\
             services = {services}\nowner = \"pay\"\njustification = \"why\"\n{more}"
        )
    };
    for (services, more, both) in [
        ("[\"esp\"]", "", false),
        ("[\"esp\", \"https\"]", "", false),
        ("[\"esp\"]", "both_ways = true\n", true),
        ("[\"esp\", \"ip/47\"]", "both_ways = true\n", true),
    ] {
        assert_eq!(model(&[sctp], &rule(services, more)).rules[2].both_ways, both, "{services}");
    }
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
fn a_deny_that_unclaimed_addresses_match_is_neither_empty_nor_of_one_side() {
    let said = "services = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n";
    let more = format!(
        "[network.guests]\nat = \"cde.outside\"\nprefixes = [\"10.66.0.0/16\"]\nlabels = {{ app = \"guest\" }}\n\
         [network.spare]\nat = \"cde.inside\"\nprefixes = [\"10.20.9.0/24\"]\nlabels = {{ app = \"payments\" }}\n\
         [workload.desk]\naddresses = [\"10.10.0.9\"]\nlabels = {{ app = \"desk\", env = \"prod\" }}\n\
         [deny.guests]\nfrom = {{ network = \"guests\" }}\nto = {{ zone = \"cde\" }}\n{said}\
         [deny.guests-by-label]\nfrom = {{ app = \"guest\" }}\nto = {{ zone = \"cde\" }}\n{said}\
         [guardrail.spare]\nmode = \"observe\"\nfrom = {{ app = \"payments\" }}\nto = {{ app = \"desk\" }}\n{said}\
         [deny.multicast]\nfrom = {{ app = \"vault\" }}\nto = {{ unknown = true }}\n{said}"
    );
    assert_eq!(super::shown(super::load(&format!("{BASE}\n{more}"))), "0 errors, 0 warnings\n");
    // Allows don't mean them.
    let allow = "[allow.guests]\nfrom = { app = \"guest\", env = \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\n\
                 services = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n";
    let shown = super::shown(super::load(&format!("{BASE}\n{more}{allow}")));
    assert!(shown.contains("allow.guests has no effect: empty"), "{shown}");
    assert!(shown.ends_with("0 errors, 1 warning\n"), "{shown}");
}

#[test]
fn what_a_network_has_unclaimed_decides_whether_an_allow_of_unknown_addresses_opens_a_zone() {
    let network = |at: &str| format!("[network.spare]\nat = \"cde.{at}\"\nprefixes = [\"10.20.9.0/24\"]\n");
    let allow = "[allow.updates]\nfrom = { app = \"vault\", env = \"prod\" }\nto = { network = \"spare\", env = \"prod\", unknown = true }\n\
                 services = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n";
    let labels = "labels = { env = \"prod\" }\n";
    let outside = super::shown(super::load(&format!("{BASE}\n{}{labels}{allow}", network("outside"))));
    assert_eq!(outside, "0 errors, 0 warnings\n");
    let flipped =
        allow.replace("app = \"vault\", env = \"prod\" }\nto", "app = \"payments\", env = \"prod\" }\nto");
    let inside = super::shown(super::load(&format!("{BASE}\n{}{labels}{flipped}", network("inside"))));
    assert!(
        inside.contains("error[P0406]: allow.updates lets unknown addresses into zone cde"),
        "{inside}"
    );
}

#[test]
fn the_page_tells_the_defaults() {
    let page = include_str!("../../../../docs/POLICY.md");
    let gate = Gate::default();
    let written = [
        ("socket", gate.socket.display().to_string()),
        ("rings", gate.rings.to_string()),
        ("flows", gate.flows.to_string()),
        ("heartbeat", format!("\"{}ms\"", gate.heartbeat / 1_000_000)),
    ];
    let row = |key: &str| page.lines().find(|line| line.contains(&format!("| `{key}` |"))).expect(key);
    for (key, default) in written {
        let row = row(key);
        assert!(row.ends_with(&format!("| `{default}` |")), "{row}");
    }
    // As defaults are written there, they change nothing.
    let table = |keys: &[&str]| {
        let written = keys.iter().map(|key| {
            let default = row(key).trim_end_matches(" |").rsplit("| ").next().expect("a cell");
            format!("{key} = {}\n", default.trim_matches('`'))
        });
        written.collect::<String>()
    };
    let times = [
        "tcp_opening",
        "tcp_established",
        "tcp_half_closed",
        "tcp_closing",
        "tcp_closed",
        "udp_one_way",
        "udp",
        "icmp",
        "other",
        "fragment",
    ];
    let limits = [
        "half_open",
        "new_flows_per_source",
        "new_flows_burst",
        "flows_per_source",
        "flows_from_outside",
        "datagrams",
        "datagrams_per_source",
        "held_fragments",
        "held_fragments_per_source",
        "replies",
        "replies_per_source",
    ];
    let text = format!("[gate.timeouts]\n{}[gate.limits]\n{}", table(&times), table(&limits));
    assert_eq!(model(&[], &text).gate, gate, "{text}");
}
