//! One policy that holds together and is worth a word, for each warning, or more.

use super::cases::Case::{self, Line, More};
use crate::policy::code::Code;

/// Name of the picture, code, policy.
pub(super) const WARNINGS: &[(&str, Code, Case)] = &[
    (
        "",
        Code::UnknownAccount,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { env = \"prod\", service_account = \"payment-prod\" }",
        ),
    ),
    (
        "",
        Code::ListedTwice,
        More(
            "[gate]\nmanagement = [\"192.0.2.10\", \"2001:db8::10\", \"192.0.2.10\", \"2001:DB8:0::10\"]\n\
             [workload.vault-2]\naddresses = [\"10.20.0.11\"]\nlabels = { app = \"vault\", env = \"prod\" }\n\
             macs = [\"02:00:00:20:00:0b\", \"02:00:00:20:00:0B\"]\n\
             [network.far]\nat = \"cde.outside\"\nprefixes = [\"203.0.113.0/24\"]\n\
             via = [\"02:00:00:00:00:fe\", \"02:00:00:00:00:fd\", \"02:00:00:00:00:fe\"]\n",
        ),
    ),
    (
        "",
        Code::GateClaimed,
        More(
            "[gate]\nmanagement = [\"10.20.0.10\", \"192.0.2.10\"]\n\
             [workload.office]\naddresses = [\"192.0.2.0/24\"]\nlabels = { app = \"payments\", env = \"prod\" }\n",
        ),
    ),
    (
        "",
        Code::NoEffect,
        Line(
            "from          = { app = \"payments\", env = \"prod\" }",
            "from          = { app = \"reports\", env = \"prod\" }",
        ),
    ),
    (
        "",
        Code::AccountOnPrefix,
        Line("addresses       = [\"10.10.0.7\"]", "addresses       = [\"10.10.0.0/24\"]"),
    ),
    ("", Code::NoMac, Line("macs      = [\"02:00:00:20:00:10\"]", "")),
    ("", Code::NeverHeld, Line("via      = [\"02:00:00:00:00:fe\"]", "")),
    (
        "",
        Code::Overridden,
        More(
            "[network.lab]\nat = \"cde.inside\"\nprefixes = [\"10.30.0.0/16\"]\nvia = [\"02:00:00:00:20:fe\"]\n\
             labels = { env = \"test\", app = \"lab\" }\n[network.bench]\nat = \"cde.inside\"\n\
             prefixes = [\"10.30.1.0/24\"]\nvia = [\"02:00:00:00:20:fe\"]\nlabels = { env = \"dev\", app = \"lab\" }\n\
             [workload.copy-1]\naddresses = [\"10.30.0.1\"]\nlabels = { env = \"prod\" }\n\
             [workload.copy-2]\naddresses = [\"10.30.1.2\", \"10.30.0.2\"]\nlabels = { env = \"prod\", app = \"lab\" }\n",
        ),
    ),
    (
        "several",
        Code::NeverHeld,
        More(
            "[network.partners]\nat = \"cde.outside\"\nprefixes = [\"198.51.100.0/24\"]\n[workload.acquirer]\naddresses = [\"198.51.100.7\"]\nlabels = { app = \"acquirer\", env = \"prod\" }\nservice_account = \"acquirer\"\n[workload.scheme]\naddresses = [\"198.51.100.8\", \"198.51.100.9\"]\nlabels = { app = \"scheme\", env = \"prod\" }\nservice_account = \"scheme\"\n",
        ),
    ),
    (
        "",
        Code::EmptyZone,
        Line(
            "labels    = { app = \"vault\", env = \"prod\", data = \"cardholder\" }",
            "labels    = { app = \"vault\", env = \"prod\" }",
        ),
    ),
    (
        "",
        Code::RequiredLabel,
        Line("to            = { app = \"vault\", env = \"prod\" }", "to            = { app = \"vault\" }"),
    ),
    ("", Code::NoOwner, Line("owner   = \"pay\"", "")),
    (
        "rule",
        Code::NoOwner,
        Line(
            "services      = [\"https\"]\njustification = \"Every PAN is tokenised.\"\nowner         = \"pay\"",
            "services      = [\"https\"]\njustification = \"Every PAN is tokenised.\"",
        ),
    ),
    ("", Code::NoJustification, Line("justification = \"Every PAN is tokenised.\"", "")),
    (
        "",
        Code::OneSide,
        Line(
            "to            = { app = \"vault\", env = \"prod\" }",
            "to            = { app = \"payments\", env = { not = \"dev\" } }",
        ),
    ),
    (
        "",
        Code::NotAsked,
        Line(
            "services      = [\"https\"]",
            "services      = [\"https\", \"icmp/0\", \"icmp/3.4\", \"icmp/redirect\", \"icmpv6/135\", \"icmpv6/143\", \"udp/67\", \"udp/547 from 546\"]",
        ),
    ),
    (
        "in a service",
        Code::NotAsked,
        Line("https = [\"tcp/443\"]", "https = [\"tcp/443\", \"icmp/0\", \"icmp/11\", \"icmp/12\"]"),
    ),
    (
        "header",
        Code::NotAsked,
        More(
            "[deny.fragments]\nfrom = { app = \"payments\" }\nto = { app = \"vault\" }\nservices = [\"ip/44\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "",
        Code::OddAddress,
        Line(
            "addresses       = [\"10.10.0.7\"]",
            "addresses       = [\"10.10.0.7\", \"169.254.169.254\", \"fe80::7\", \"240.1.0.0/16\", \"0.1.2.3\"]",
        ),
    ),
    (
        "",
        Code::Lapsed,
        Line(
            "macs      = [\"02:00:00:20:00:10\"]",
            "macs      = [\"02:00:00:20:00:10\"]\nvalid_until = 2026-11-23",
        ),
    ),
    (
        "covered",
        Code::NoEffect,
        More(
            "[allow.narrower]\nfrom = { app = \"payments\", env = \"prod\" }\nto = { zone = \"cde\", env = \"prod\", app = \"vault\" }\nservices = [\"tcp/443\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "no pair",
        Code::NoEffect,
        More(
            "[deny.elsewhere]\nfrom = { app = \"payments\" }\nto = { zone = \"cde\", name = \"vault-1\", differs = \"env\" }\nservices = [\"any\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "no family",
        Code::NoEffect,
        More(
            "[workload.six]\naddresses = [\"2001:db8:10::6\"]\nlabels = { app = \"six\", env = \"prod\" }\n[allow.six]\nfrom = { app = \"six\", env = \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "no service of the family",
        Code::NoEffect,
        More(
            "[allow.ping]\nfrom = { app = \"payments\", env = \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"icmpv6/echo-request\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "no VLAN",
        Code::NoEffect,
        More(
            "[network.dmz]\nat = \"cde.outside\"\nprefixes = [\"10.30.0.0/24\"]\nvlans = [\"30\"]\n[workload.tagged]\naddresses = [\"10.30.0.3\"]\nlabels = { app = \"tagged\", env = \"prod\" }\n[allow.tagged]\nfrom = { app = \"tagged\", env = \"prod\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "overruled",
        Code::NoEffect,
        More(
            "[workload.lab]\naddresses = [\"10.10.0.9\"]\nlabels = { app = \"lab\", env = \"dev\" }\n[allow.lab]\nfrom = { app = \"lab\", env = \"dev\" }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"https\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    (
        "",
        Code::Overlap,
        More(
            "[workload.lab]\naddresses = [\"10.10.0.9\"]\nlabels = { app = \"payments\", env = \"dev\" }\n[allow.all]\nfrom = { app = \"payments\", env = [\"prod\", \"dev\"] }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"tcp/8443\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    ("", Code::Redundant, Line("services      = [\"https\"]", "services      = [\"https\", \"tcp/443\"]")),
    (
        "",
        Code::WideRule,
        More(
            "[allow.wide]\nfrom = { any = true }\nto = { app = \"vault\", env = \"prod\" }\nservices = [\"tcp/1024-65535\"]\nowner = \"pay\"\njustification = \"x\"\n",
        ),
    ),
    ("", Code::Insecure, Line("services      = [\"https\"]", "services      = [\"https\", \"tcp/23\"]")),
    (
        "",
        Code::Overdue,
        Line("services      = [\"https\"]", "services      = [\"https\"]\nreview_by     = 2026-11-22"),
    ),
    (
        "",
        Code::EmptyTest,
        More(
            "[test.desktops-never]\nfrom = { app = \"desktop\" }\nto = { zone = \"cde\" }\nservices = [\"any\"]\nexpect = \"deny\"\n",
        ),
    ),
];
