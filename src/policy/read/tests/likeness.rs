//! Every kind of name that can be misspelt is answered with the right one.

const BASE: &str = include_str!("base.toml");

/// A line of the base, the same with a slip, and what is to be offered.
const SLIPS: &[(&str, &str, &str)] = &[
    // Sections and keys of each.
    ("[service]", "[servce]", "`service`"),
    ("unzoned = \"observe\"", "unzond = \"observe\"", "`unzoned`"),
    ("via      = [", "vai      = [", "`via`"),
    ("addresses       = [", "adresses       = [", "`addresses`"),
    ("data = { values = [", "data = { value = [", "`values`"),
    ("approvers = [", "aprovers = [", "`approvers`"),
    ("lacp  = ", "lcap  = ", "`lacp`"),
    ("members = {", "member = {", "`members`"),
    ("justification = \"Every", "justificaton = \"Every", "`justification`"),
    ("services      = [\"any\"]", "servics      = [\"any\"]", "`services`"),
    // Labels and their values.
    ("labels    = { app = \"vault\"", "labels    = { ap = \"vault\"", "app"),
    (
        "labels    = { app = \"vault\", env = \"prod\"",
        "labels    = { app = \"vault\", env = \"prdo\"",
        "\"prod\"",
    ),
    ("members = { data = ", "members = { dta = ", "data"),
    ("members = { data = \"cardholder\"", "members = { data = \"cardholders\"", "\"cardholder\""),
    ("to            = { zone = \"cde\" }", "to            = { zone = \"cde\", differs = \"evn\" }", "env"),
    ("to            = { zone = \"cde\" }", "to            = { env = { nto = \"prod\" } }", "`not`"),
    // Words of selectors.
    ("to            = { zone = \"cde\" }", "to            = { zones = \"cde\" }", "zone"),
    ("to            = { zone = \"cde\" }", "to            = { netwrok = \"servers\" }", "network"),
    (
        "from          = { app = \"payments\"",
        "from          = { service_acount = \"payments-prod\"",
        "service_account",
    ),
    ("from          = { except = ", "from          = { excpet = ", "except"),
    // Names that are declared elsewhere.
    ("to            = { zone = \"cde\" }", "to            = { zone = \"cd\" }", "\"cde\""),
    ("to            = { zone = \"cde\" }", "to            = { network = \"servrs\" }", "\"servers\""),
    ("to            = { zone = \"cde\" }", "to            = { name = \"vault1\" }", "\"vault-1\""),
    ("to            = { zone = \"cde\" }", "to            = { group = \"vrpp\" }", "\"vrrp\""),
    (
        "from          = { app = \"payments\"",
        "from          = { service_account = \"payment-prod\"",
        "\"payments-prod\"",
    ),
    ("services      = [\"https\"]", "services      = [\"htps\"]", "\"https\""),
    ("esp   = [\"ip/50\"]", "esp   = [\"ip/50\", \"htpps\"]", "\"https\""),
    (
        "mode    = \"simulate\"",
        "mode    = \"simulate\"\nservice_modes = { http = \"enforce\" }",
        "\"https\"",
    ),
    ("owner   = \"pay\"", "owner   = \"pya\"", "\"pay\""),
    ("macs      = [", "owner     = \"apy\"\nmacs      = [", "\"pay\""),
    ("owner         = \"pay\"", "owner         = \"payy\"", "\"pay\""),
    ("at       = \"cde.inside\"", "at       = \"cde.insid\"", "\"cde.inside\""),
    // Words that values are.
    ("mode    = \"simulate\"", "mode    = \"simulated\"", "\"simulate\""),
    ("mode          = \"enforce\"", "mode          = \"enforced\"", "\"enforce\""),
    ("unzoned = \"observe\"", "unzoned = \"obsrve\"", "\"observe\""),
    ("arp   = \"forward\"", "arp   = \"forwrad\"", "\"forward\""),
    ("fail    = \"closed\"", "fail    = \"close\"", "\"closed\""),
    ("services      = [\"any\"]", "services      = [\"tcp/1\"]\nreply = \"rest\"", "\"reset\""),
    // Services that are written out.
    ("https = [\"tcp/443\"]", "https = [\"tpc/443\"]", "\"tcp/443\""),
    ("https = [\"tcp/443\"]", "https = [\"tcp/443\", \"icmp6/128\"]", "\"icmpv6/128\""),
    ("https = [\"tcp/443\"]", "https = [\"tcp/443\", \"icmp/echo-reqest\"]", "echo-request"),
];

#[test]
fn every_kind_of_name_that_is_misspelt_is_answered_with_the_right_one() {
    let base = format!("{BASE}\n[group.vrrp]\naddresses = [\"224.0.0.18\"]\n");
    assert_eq!(super::shown(super::load(&base)), "0 errors, 0 warnings\n");
    for (old, new, right) in SLIPS {
        assert!(base.contains(old), "the base has no {old}");
        let shown = super::shown(super::load(&base.replacen(old, new, 1)));
        assert!(shown.contains(&format!(" did you mean {right}?")), "{new}:\n{shown}");
    }
}

#[test]
fn what_is_like_no_name_gets_none() {
    for name in ["warehouse", "x"] {
        let shown =
            super::shown(super::load(&BASE.replace("zone = \"cde\"", &format!("zone = \"{name}\""))));
        assert!(shown.contains("is not declared") && !shown.contains("did you mean"), "{shown}");
    }
}
