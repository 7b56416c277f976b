//! One wrong policy for each error, or more where it has more than one face.

use crate::policy::code::Code;

/// A policy that is right but for one thing.
pub(super) enum Case {
    /// A line of the base is another one.
    Line(&'static str, &'static str),
    /// Something more at its end.
    More(&'static str),
    /// Another text altogether.
    Text(&'static str),
    /// Parts: names and texts; the base lists them.
    Parts(&'static str, &'static [(&'static str, &'static str)]),
}

use Case::{Line, More, Parts, Text};

/// Name of the picture, code, policy.
pub(super) const ERRORS: &[(&str, Code, Case)] = &[
    ("", Code::PartMissing, Parts("parts = [\"zones.toml\", \"rules/lost.toml\"]", &[("zones.toml", "")])),
    ("", Code::PartTwice, Parts("parts = [\"zones.toml\", \"./zones.toml\"]", &[("zones.toml", "")])),
    ("itself", Code::PartTwice, Parts("parts = [\"gate.toml\"]", &[])),
    ("", Code::PartNamesParts, Parts("parts = [\"a.toml\"]", &[("a.toml", "parts = [\"b.toml\"]\n")])),
    ("", Code::PartPath, Parts("parts = [\"/etc/passwd\", \".\", \"a\\u0000b\"]", &[])),
    ("", Code::Syntax, Line("mode    = \"simulate\"", "mode    = simulate")),
    (
        "three",
        Code::Syntax,
        Text("[zone.cde\nmembers {}\nmode = \n[wire.cde]\nfail = \"closed\"\ncolour = 1\n"),
    ),
    ("control", Code::Syntax, More("[gate]\nflows = 1\u{0}24\n")),
    ("remedies", Code::Syntax, Text("a = \"b\nc = [1 2]\nd = { e = 1 f = 2 }\n[g\nh\ni = 2026-13-01\n")),
    ("", Code::Empty, Text("")),
    ("wireless", Code::Empty, Text("[service]\nhttps = [\"tcp/443\"]\n")),
    ("", Code::UnknownKey, Line("unzoned = \"observe\"", "unzoned = \"observe\"\nfial = \"closed\"")),
    ("section", Code::UnknownKey, More("[servce]\nssh = [\"tcp/22\"]\n")),
    (
        "mode of an allow",
        Code::UnknownKey,
        More(
            "[deny.x]\nmode = \"enforce\"\nfrom = { any = true }\nto = { any = true }\nservices = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "not alone",
        Code::UnknownKey,
        Line("to            = { zone = \"cde\" }", "to            = { not = { env = \"prod\" } }"),
    ),
    ("", Code::WrongType, Line("owner   = \"pay\"", "owner   = [\"pay\"]")),
    ("list", Code::WrongType, Line("https = [\"tcp/443\"]", "https = \"tcp/443\"")),
    ("item", Code::WrongType, Line("https = [\"tcp/443\"]", "https = [443]")),
    (
        "several",
        Code::WrongType,
        More("[gate]\nrings = \"512\"\nflows = 1.5\n\n[label.role]\nrequired = \"yes\"\n"),
    ),
    (
        "selectors",
        Code::WrongType,
        Line("from          = { except = [{ env = \"prod\" }] }", "from          = { except = \"prod\" }"),
    ),
    (
        "table",
        Code::WrongType,
        Line("from          = { app = \"payments\", env = \"prod\" }", "from          = \"payments\""),
    ),
    (
        "list of tables",
        Code::WrongType,
        More("[[deny]]\nfrom = { any = true }\n\n[[allow]]\nfrom = { any = true }\n"),
    ),
    ("", Code::MissingKey, Line("unzoned = \"observe\"", "")),
    ("guardrail mode", Code::MissingKey, Line("mode          = \"enforce\"", "")),
    ("profile", Code::MissingKey, Line("lacp  = \"drop\"", "")),
    (
        "",
        Code::LabelValue,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { app = \"payments\", env = \"prd\" }",
        ),
    ),
    (
        "workload",
        Code::LabelValue,
        Line(
            "labels    = { app = \"vault\", env = \"prod\", data = \"cardholder\" }",
            "labels    = { app = \"vault\", env = \"live\", data = \"cardholder\" }",
        ),
    ),
    ("", Code::LabelKey, Line("members = { data = \"cardholder\" }", "members = { dat = \"cardholder\" }")),
    (
        "of a selector",
        Code::LabelKey,
        Line("to            = { zone = \"cde\" }", "to            = { zones = \"cde\" }"),
    ),
    (
        "not",
        Code::UnknownKey,
        Line("to            = { zone = \"cde\" }", "to            = { env = { nto = \"prod\" } }"),
    ),
    ("", Code::ReservedLabel, Line("app  = {}", "app  = {}\nzone = {}")),
    ("", Code::UnknownOwner, Line("owner   = \"pay\"", "owner   = \"payy\"")),
    (
        "",
        Code::UnknownZone,
        Line("to            = { zone = \"cde\" }", "to            = { zone = [\"cde\", \"cdx\"] }"),
    ),
    (
        "",
        Code::UnknownNetwork,
        Line("to            = { zone = \"cde\" }", "to            = { network = \"server\" }"),
    ),
    ("", Code::UnknownService, Line("services      = [\"https\"]", "services      = [\"http\"]")),
    ("in a service", Code::UnknownService, Line("https = [\"tcp/443\"]", "https = [\"tls\"]")),
    (
        "in service_modes",
        Code::UnknownService,
        Line("mode    = \"simulate\"", "mode    = \"simulate\"\nservice_modes = { htps = \"enforce\" }"),
    ),
    (
        "",
        Code::UnknownWorkload,
        Line("to            = { zone = \"cde\" }", "to            = { name = \"vault-2\" }"),
    ),
    (
        "",
        Code::Duplicate,
        Parts("parts = [\"a.toml\"]", &[("a.toml", "[workload.api-1]\naddresses = [\"10.10.0.8\"]\n")]),
    ),
    (
        "one file",
        Code::Duplicate,
        More("[workload.api-1]\naddresses = [\"10.10.0.8\"]\nlabels = { app = \"payments\" }\n"),
    ),
    (
        "key",
        Code::Duplicate,
        Line("mode    = \"simulate\"", "mode    = \"simulate\"\nmode    = \"enforce\""),
    ),
    (
        "services",
        Code::Duplicate,
        Parts("parts = [\"a.toml\"]", &[("a.toml", "[service]\nhttps = [\"tcp/8443\"]\n")]),
    ),
    ("", Code::Word, Line("mode    = \"simulate\"", "mode    = \"simulat\"")),
    ("profile", Code::Word, Line("lacp  = \"drop\"", "lacp  = \"allow\"")),
    (
        "",
        Code::Value,
        More("[gate]\nrings = 300\nflows = 1\nheartbeat = \"5 minutes\"\nsocket = \"gate.sock\"\n"),
    ),
    (
        "times",
        Code::Value,
        More(
            "[gate.timeouts]\ntcp_opening = \"1h\"\ntcp_established = \"8d\"\ntcp_closed = \"30\"\nudp = \"4s2m\"\nfragment = \"100ms\"\n",
        ),
    ),
    (
        "limits",
        Code::Value,
        More(
            "[gate.limits]\nhalf_open = 0\nnew_flows_per_source = \"200\"\nflows_per_source = 70000\nflows_from_outside = \"175%\"\nheld_fragments = 32\nheld_fragments_per_source = 33\n",
        ),
    ),
    ("replies", Code::Value, More("[gate.limits]\nreplies = \"10/s\"\nreplies_per_source = \"11/s\"\n")),
    ("empty", Code::Value, Line("justification = \"Every PAN is tokenised.\"", "justification = \" \"")),
    ("interface", Code::Value, Line("inside  = \"ens1f1\"", "inside  = \"enp0s31f6np0v0.100\"")),
    ("people", Code::Value, Line("approvers = [\"user:lead\"]", "approvers = [\"lead\"]")),
    (
        "unknown false",
        Code::Value,
        Line("to            = { zone = \"cde\" }", "to            = { zone = \"cde\", unknown = false }"),
    ),
    (
        "",
        Code::Name,
        More("[workload.\"vault 2\"]\naddresses = [\"10.20.0.11\"]\nmacs = [\"02:00:00:20:00:11\"]\n"),
    ),
    (
        "address",
        Code::Name,
        More("[workload.\"10.20.0.11\"]\naddresses = [\"10.20.0.11\"]\nmacs = [\"02:00:00:20:00:11\"]\n"),
    ),
    (
        "",
        Code::Prefix,
        Line(
            "addresses = [\"10.20.0.10\"]",
            "addresses = [\"10.20.0.300\", \"10.20.0.10/33\", \"::ffff:10.20.0.10\", \"224.0.0.18\", \"127.0.0.1\"]",
        ),
    ),
    (
        "",
        Code::HostBits,
        Line(
            "prefixes = [\"10.20.0.0/24\", \"2001:db8:20::/64\"]",
            "prefixes = [\"10.20.0.1/24\", \"2001:db8:20::1/64\"]",
        ),
    ),
    (
        "",
        Code::Mac,
        Line(
            "macs      = [\"02:00:00:20:00:10\"]",
            "macs      = [\"02-00-00-20-00-10\", \"01:00:5e:00:00:12\", \"00:00:00:00:00:00\"]",
        ),
    ),
    (
        "",
        Code::Vlan,
        Line(
            "at       = \"cde.inside\"",
            "at       = \"cde.inside\"\nvlans    = [\"untagged\", \"100\", \"100.20\", \"4095\", \"0\", \"100.20.3\"]",
        ),
    ),
    (
        "",
        Code::ClaimTwice,
        More("[workload.vault-2]\naddresses = [\"10.20.0.10/32\"]\nmacs = [\"02:00:00:20:00:11\"]\n"),
    ),
    (
        "itself",
        Code::ClaimTwice,
        Line("addresses = [\"10.20.0.10\"]", "addresses = [\"10.20.0.10\", \"10.20.0.10\"]"),
    ),
    (
        "",
        Code::TwoAccounts,
        More("[workload.api-2]\naddresses = [\"10.10.0.7\"]\nservice_account = \"reports-prod\"\n"),
    ),
    (
        "list",
        Code::TwoAccounts,
        Line(
            "service_account = \"payments-prod\"",
            "service_account = [\"payments-prod\", \"reports-prod\"]",
        ),
    ),
    (
        "string",
        Code::TwoAccounts,
        Line("service_account = \"payments-prod\"", "service_account = \"payments-prod, reports-prod\""),
    ),
    ("", Code::NetworkTwice, More("[network.rest]\nat = \"cde.inside\"\nprefixes = [\"::/0\"]\n")),
    (
        "",
        Code::Uncovered,
        Line("prefixes = [\"0.0.0.0/0\", \"::/0\"]", "prefixes = [\"0.0.0.0/5\", \"2000::/3\"]"),
    ),
    ("", Code::At, Line("at       = \"cde.inside\"", "at       = \"cde.insde\"")),
    ("", Code::SamePort, Line("inside  = \"ens1f1\"", "inside  = \"ens1f0\"")),
    (
        "",
        Code::Service,
        Line(
            "https = [\"tcp/443\"]",
            "https = [\"tpc/443\", \"443 tcp\", \"tcp/ 443\", \"icmp/echo\", \"icmp/echo-reqest\"]",
        ),
    ),
    (
        "",
        Code::Ports,
        Line(
            "https = [\"tcp/443\"]",
            "https = [\"tcp/0\", \"tcp/65536\", \"tcp/9010-9000\", \"icmp/256\", \"ip/256\", \"udp/67 from x\"]",
        ),
    ),
    (
        "",
        Code::ServiceCycle,
        Line("https = [\"tcp/443\"]", "https = [\"web\"]\nweb   = [\"tls\"]\ntls   = [\"https\"]"),
    ),
    (
        "",
        Code::ReservedAny,
        Line("https = [\"tcp/443\"]", "https = [\"tcp/443\", \"any\"]\nany   = [\"udp/53\"]"),
    ),
    ("", Code::NoServices, Line("services      = [\"https\"]", "services      = []")),
    ("", Code::AnyIntoZone, Line("services      = [\"https\"]", "services      = [\"any\"]")),
    ("", Code::BothWays, Line("services      = [\"https\"]", "services      = [\"https\", \"esp\"]")),
    (
        "",
        Code::BothWaysUnused,
        Line("services      = [\"https\"]", "services      = [\"https\"]\nboth_ways     = true"),
    ),
    (
        "mixed",
        Code::BothWaysUnused,
        Line("services      = [\"https\"]", "services      = [\"https\", \"esp\"]\nboth_ways     = true"),
    ),
    (
        "deny",
        Code::BothWaysUnused,
        Line("services      = [\"any\"]", "services      = [\"any\"]\nboth_ways     = true"),
    ),
    (
        "",
        Code::ResetOfOther,
        Line("services      = [\"any\"]", "services      = [\"any\"]\nreply         = \"reset\""),
    ),
    (
        "with others",
        Code::ResetOfOther,
        Line(
            "services      = [\"any\"]",
            "services      = [\"https\", \"udp/53\"]\nreply         = \"reset\"",
        ),
    ),
    (
        "reply",
        Code::Word,
        Line("services      = [\"any\"]", "services      = [\"any\"]\nreply         = \"rst\""),
    ),
    (
        "reply of an allow",
        Code::UnknownKey,
        Line("services      = [\"https\"]", "services      = [\"https\"]\nreply         = \"reset\""),
    ),
    (
        "timeout",
        Code::UnknownKey,
        More("[gate]\ntimeouts = { tcp_open = \"30s\" }\nlimits = { half_opens = 3 }\n"),
    ),
    ("", Code::EmptySelector, Line("to            = { zone = \"cde\" }", "to            = {}")),
    (
        "",
        Code::MixedSelector,
        Line("to            = { zone = \"cde\" }", "to            = { any = true, zone = \"cde\" }"),
    ),
    (
        "except",
        Code::MixedSelector,
        Line(
            "from          = { except = [{ env = \"prod\" }] }",
            "from          = { except = [{ any = true }] }",
        ),
    ),
    (
        "",
        Code::ExceptHere,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { except = [{ env = \"dev\" }] }",
        ),
    ),
    (
        "members",
        Code::ExceptHere,
        Line("members = { data = \"cardholder\" }", "members = { except = [{ env = \"dev\" }] }"),
    ),
    (
        "nested",
        Code::ExceptHere,
        Line(
            "from          = { except = [{ env = \"prod\" }] }",
            "from          = { except = [{ except = [{ env = \"prod\" }] }] }",
        ),
    ),
    ("", Code::ZoneHere, Line("members = { data = \"cardholder\" }", "members = { zone = \"cde\" }")),
    ("", Code::UnknownHere, Line("members = { data = \"cardholder\" }", "members = { unknown = true }")),
    (
        "",
        Code::UnknownIntoZone,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { unknown = true }",
        ),
    ),
    (
        "to",
        Code::UnknownIntoZone,
        Line("to            = { app = \"vault\", env = \"prod\" }", "to            = { unknown = true }"),
    ),
    (
        "",
        Code::ReviewDate,
        Line("services      = [\"https\"]", "services      = [\"https\"]\nreview_by     = \"2027-05-31\""),
    ),
    (
        "instant",
        Code::ReviewDate,
        Line(
            "services      = [\"https\"]",
            "services      = [\"https\"]\nreview_by     = 2027-05-31T12:00:00Z",
        ),
    ),
    (
        "",
        Code::Instant,
        Line(
            "macs      = [\"02:00:00:20:00:10\"]",
            "macs      = [\"02:00:00:20:00:10\"]\nvalid_until = 2027-05-31T12:00:00",
        ),
    ),
    (
        "time",
        Code::Instant,
        Line(
            "macs      = [\"02:00:00:20:00:10\"]",
            "macs      = [\"02:00:00:20:00:10\"]\nvalid_until = 12:00:00",
        ),
    ),
    (
        "string",
        Code::Instant,
        Line(
            "macs      = [\"02:00:00:20:00:10\"]",
            "macs      = [\"02:00:00:20:00:10\"]\nvalid_until = \"2027-05-31\"",
        ),
    ),
    (
        "",
        Code::UnknownGroup,
        Line("to            = { zone = \"cde\" }", "to            = { group = [\"vrrp\", \"ospf\"] }"),
    ),
    (
        "",
        Code::GroupAddress,
        More(
            "[group.all]\naddresses = [\"10.20.0.255\", \"255.255.255.255\", \"10.20.0.254\", \"224.0.0.0/3\", \"2001:db8::1\"]\n",
        ),
    ),
    (
        "group",
        Code::ClaimTwice,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[group.ha]\naddresses = [\"224.0.0.18\", \"10.30.0.255\"]\n[network.lab]\nat = \"cde.inside\"\nprefixes = [\"10.30.0.0/24\"]\n[workload.odd]\naddresses = [\"10.30.0.255\"]\n",
        ),
    ),
    (
        "",
        Code::GroupAnswers,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[allow.vrrp]\nfrom = { app = \"vault\", env = \"prod\" }\nto = { group = \"vrrp\" }\nservices = [\"ip/112\"]\nboth_ways = true\nowner = \"pay\"\njustification = \"x\"\n[deny.vrrp]\nfrom = { any = true }\nto = { group = \"vrrp\" }\nservices = [\"tcp/1\"]\nreply = \"reset\"\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "",
        Code::GroupHere,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[deny.vrrp]\nfrom = { except = [{ group = \"vrrp\" }] }\nto = { any = true }\nservices = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n[zone.vrrp]\nmembers = { group = \"vrrp\" }\nowner = \"pay\"\nmode = \"observe\"\n",
        ),
    ),
    (
        "group",
        Code::MixedSelector,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[deny.vrrp]\nfrom = { any = true }\nto = { group = \"vrrp\", zone = \"cde\" }\nservices = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "group",
        Code::AnyIntoZone,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[allow.vrrp]\nfrom = { app = \"payments\", env = \"prod\" }\nto = { group = \"vrrp\" }\nservices = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "group",
        Code::UnknownIntoZone,
        More(
            "[group.vrrp]\naddresses = [\"224.0.0.18\"]\n[allow.vrrp]\nfrom = { unknown = true }\nto = { group = \"vrrp\" }\nservices = [\"ip/112\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "",
        Code::TestFails,
        More(
            "[test.nobody-reaches-cards]\nfrom = { any = true }\nto = { zone = \"cde\" }\nservices = [\"any\"]\nexpect = \"deny\"\n",
        ),
    ),
    (
        "no rule",
        Code::TestFails,
        More(
            "[test.web]\nfrom = { app = \"payments\" }\nto = { zone = \"cde\" }\nservices = [\"https\", \"tcp/8443\"]\nexpect = \"allow\"\n",
        ),
    ),
    (
        "forbidden",
        Code::TestFails,
        More(
            "[deny.never]\nfrom = { app = \"payments\" }\nto = { zone = \"cde\" }\nservices = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n[test.web]\nfrom = { app = \"payments\" }\nto = { zone = \"cde\" }\nservices = [\"https\"]\nexpect = \"allow\"\n",
        ),
    ),
    (
        "unknown",
        Code::TestFails,
        More(
            "[test.strangers]\nfrom = { unknown = true }\nto = { app = \"vault\" }\nservices = [\"https\"]\nexpect = \"allow\"\n",
        ),
    ),
    (
        "of a test",
        Code::Word,
        More(
            "[test.web]\nfrom = { app = \"payments\" }\nto = { zone = \"cde\" }\nservices = [\"https\"]\nexpect = \"deyn\"\n",
        ),
    ),
    (
        "",
        Code::PairHere,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { app = \"payments\", same = \"env\" }",
        ),
    ),
    (
        "differs in an allow",
        Code::PairHere,
        Line(
            "to            = { app = \"vault\", env = \"prod\" }",
            "to            = { app = \"vault\", differs = \"env\" }",
        ),
    ),
    (
        "members",
        Code::PairHere,
        Line("members = { data = \"cardholder\" }", "members = { data = \"cardholder\", same = \"env\" }"),
    ),
    (
        "except",
        Code::PairHere,
        Line("to            = { zone = \"cde\" }", "to            = { except = [{ same = \"env\" }] }"),
    ),
    (
        "of a pair",
        Code::LabelKey,
        Line(
            "to            = { zone = \"cde\" }",
            "to            = { zone = \"cde\", differs = [\"evn\", \"app\"] }",
        ),
    ),
    ("", Code::LaterApprovals, More("[gate]\napprovals = \"on\"\n")),
    ("", Code::LaterState, More("[gate]\nstate = \"/var/lib/x\"\n")),
    (
        "management",
        Code::Value,
        More("[gate]\nmanagement = [\"192.0.2.1\", \"eth0\", \"192.0.2.0/24\", \"224.0.0.1\"]\n"),
    ),
    ("link local", Code::Word, More("[gate]\nlink_local = \"allow\"\n")),
    ("cold start", Code::Value, More("[gate]\ncold_start_reset = \"1d\"\n")),
    ("inventory limit", Code::Value, More("[gate]\ninventory_limit = \"1s\"\n")),
    (
        "",
        Code::LaterWires,
        More("[wire.dmz]\noutside = \"a\"\ninside = \"b\"\nfail = \"closed\"\nunzoned = \"observe\"\n"),
    ),
    ("", Code::LaterFailOpen, Line("fail    = \"closed\"", "fail    = \"open\"")),
];
