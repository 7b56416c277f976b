//! The stable codes of findings, one line each with what to do.
//!
//! What it is: the list that docs/DIAGNOSTICS.md prints. What it is not: the messages; those name the
//! thing and its place. Invariant: a code keeps its number and its meaning for ever; a retired one is
//! not given out again (P0901 to P0916 that are missing: what the language got since). P00 files and text, P01 names and keys, P02 inventory and wire, P03 services,
//! P04 selectors, P06 rules, P07 tests, P08 what it comes to, P09 what this version does not have yet.

use std::fmt;

use super::diagnostic::Severity;

macro_rules! codes {
    ($($name:ident $number:literal $severity:ident $scope:ident $summary:literal => $remedy:literal;)*) => {
        /// A stable code: `P0104`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $summary] $name,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code with a number.
            #[must_use]
            pub fn of(number: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.number() == number)
            }

            /// `P0104`.
            #[must_use]
            pub const fn number(self) -> &'static str {
                match self { $(Self::$name => $number,)* }
            }

            /// Error or warning.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What it is, in one line.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self { $(Self::$name => $summary,)* }
            }

            /// What to do, in one line.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// What it takes to be sure of it.
            pub(super) const fn scope(self) -> Scope {
                match self { $(Self::$name => Scope::$scope,)* }
            }
        }
    };
}

/// How much of the policy must have been read before a finding can be trusted. When a file has a
/// syntax error or is missing, a name that seems undeclared may stand in what was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The words at its place.
    Place,
    /// The whole text.
    Whole,
}

codes! {
    FileUnreadable "P0001" Error Place "a file of the policy can't be read" => "check that it exists and that the gate may read it";
    PartMissing "P0002" Error Place "a file that `parts` names does not exist" => "put the file there, or take its name out of `parts`";
    NotAFile "P0003" Error Place "a file of the policy is a folder, a device, a pipe or a socket" => "name regular files: folders are never swept up, pipes never waited for";
    PartTwice "P0004" Error Place "`parts` names a file twice" => "remove one of the two";
    PartNamesParts "P0005" Error Place "a part has `parts` of its own" => "list all parts in the first file";
    NotText "P0006" Error Place "a file of the policy is not UTF-8 text" => "save it as UTF-8";
    TooLarge "P0007" Error Place "a file is larger than 4 MiB, or the policy larger than 32 MiB or 256 parts" => "split the inventory into parts; check that it is the right file";
    Syntax "P0008" Error Place "the text is not TOML" => "correct it at the caret";
    PartPath "P0009" Error Place "a part's path is absolute, empty or no path at all" => "write it relative to the folder of the first file";
    Empty "P0010" Error Whole "the policy has no `[wire]`" => "declare the wire: outside, inside, fail, unzoned";

    UnknownKey "P0101" Error Place "a key or section that does not exist" => "correct its spelling or remove it";
    WrongType "P0102" Error Place "a value of the wrong type" => "write what the message asks for";
    MissingKey "P0103" Error Whole "a key that must be written is not" => "write it: there is no default";
    LabelValue "P0104" Error Whole "a value that a closed label does not have" => "use one of its values, or add this one to `[label]`";
    LabelKey "P0105" Error Whole "a label key that `[label]` does not declare" => "correct its spelling or declare it";
    ReservedLabel "P0106" Error Place "a label key with a name that selectors use" => "rename the label";
    UnknownOwner "P0107" Error Whole "an owner that is not declared" => "declare `[owner.NAME]`";
    UnknownZone "P0108" Error Whole "a zone that is not declared" => "declare `[zone.NAME]`";
    UnknownNetwork "P0109" Error Whole "a network that is not declared" => "declare `[network.NAME]`";
    UnknownService "P0110" Error Whole "a service that is not declared" => "declare it in `[service]`, or write protocol and port";
    UnknownWorkload "P0111" Error Whole "a workload that is not declared" => "declare `[workload.NAME]`";
    UnknownAccount "P0112" Warning Whole "a service account that no workload declares" => "correct its spelling, or give it to a workload";
    Duplicate "P0113" Error Place "a name declared twice" => "rename one of the two, or merge them";
    Word "P0114" Error Place "a word that is not one of those allowed here" => "use one of the words that the message lists";
    Value "P0115" Error Place "a value out of its range or form" => "use what the message asks for";
    Name "P0116" Error Place "a name with characters that names can't have" => "use letters, digits, `-`, `_` and `.`";
    NoEffect "P0117" Warning Whole "a rule without effect" => "correct or remove it: the word says why";
    UnknownGroup "P0118" Error Whole "a group that is not declared" => "declare `[group.NAME]`";
    ListedTwice "P0119" Warning Place "a value that stands twice in its list" => "remove one of the two, or correct it";

    Prefix "P0201" Error Place "not an IP address or prefix" => "write 10.20.0.10 or 10.20.0.0/24";
    HostBits "P0202" Error Place "a prefix with bits set beyond its length" => "write the network, or the address alone";
    Mac "P0203" Error Place "not the Ethernet address of one interface" => "write six bytes: 02:00:00:20:00:10";
    Vlan "P0204" Error Place "not a VLAN" => "write \"untagged\", \"100\" or \"100.20\"; ids are 1 to 4094";
    ClaimTwice "P0205" Error Place "one address or prefix claimed twice" => "leave it to one workload";
    TwoAccounts "P0206" Error Place "two service accounts on one address" => "give each account an address of its own";
    NetworkTwice "P0207" Error Place "one prefix in two networks of a wire" => "leave it to one network";
    Uncovered "P0208" Error Whole "addresses that no network of the wire covers" => "add 0.0.0.0/0 and ::/0 to the network of the rest of the world";
    At "P0209" Error Whole "a network at a side that does not exist" => "write at = \"WIRE.outside\" or \"WIRE.inside\"";
    AccountOnPrefix "P0210" Warning Place "a service account on a prefix, which can't hold one" => "claim single addresses";
    NoMac "P0211" Warning Whole "a workload inside with no MAC written" => "write `macs`, or `via` of its network";
    SamePort "P0212" Error Place "both ports of the wire are one interface" => "name two interfaces";
    OddAddress "P0213" Warning Place "a claim of addresses whose packets are odd, whatever rules say" => "claim addresses that may cross: not link-local, loopback, 0.0.0.0/8, 240.0.0.0/4";
    Instant "P0214" Error Place "not an instant with an offset, nor a date" => "write 2027-05-31T18:00:00Z, or 2027-05-31, which ends at 24:00 UTC";
    Lapsed "P0215" Warning Place "a binding that has lapsed: no allow matches it" => "renew `valid_until`, or remove the workload";
    GroupAddress "P0216" Error Whole "an address that is no group's" => "write addresses of 224.0.0.0/4 or ff00::/8, 255.255.255.255, or the last address of an IPv4 network";
    GateClaimed "P0217" Warning Place "a claim of an address that is the gate's own" => "remove it, or the address from `management` of [gate]";
    NeverHeld "P0218" Warning Whole "a service account that is never held: no MAC is written for its workload outside" => "write `macs`, or `via` of its network: without, no allow that names the account in `from` matches";
    Overridden "P0219" Warning Whole "a label of a network that not all of its addresses have: something narrower says another value" => "leave it if that is meant; else take the label out of the one or the other";

    Service "P0301" Error Place "not a service" => "write a service's name, tcp/443, udp/67 from 68, icmp/8, icmp/3.4 or ip/50";
    Ports "P0302" Error Place "a bad port, type or protocol number, or a range that runs backwards" => "ports are 1 to 65535, the lower first";
    ServiceCycle "P0303" Error Whole "services that name each other in a circle" => "remove one of the references";
    ReservedAny "P0304" Error Place "`any` as, or inside, a named service" => "write services = [\"any\"] in the rule";
    NoServices "P0305" Error Place "an empty list of services" => "name a service, or \"any\"";
    AnyIntoZone "P0306" Error Whole "an allow of `any` service that touches a zone" => "name the services";
    BothWays "P0307" Error Place "an allow of a protocol without ports that does not say `both_ways`" => "write both_ways = true: it has no client";
    BothWaysUnused "P0308" Error Place "`both_ways` where it has no meaning" => "remove it; write a second rule for the other direction";
    ResetOfOther "P0309" Error Place "`reply = \"reset\"` for services that are not TCP alone" => "name TCP services only, or write reply = \"unreachable\"";
    GroupAnswers "P0310" Error Place "`both_ways` or `reply` on a rule to a group" => "remove it: a group answers nobody, and nobody is answered for one";

    EmptySelector "P0401" Error Place "a selector without keys" => "write any = true for every claimed workload";
    MixedSelector "P0402" Error Place "`any`, `except` or `group` beside other keys" => "write it alone";
    ExceptHere "P0403" Error Place "`except` where it is not allowed" => "only denies, guardrails and tests that expect a denial may say `except`";
    ZoneHere "P0404" Error Place "`zone` in a zone's members" => "select the members by labels";
    UnknownHere "P0405" Error Place "`unknown` where it is not allowed" => "only rules may say `unknown = true`";
    UnknownIntoZone "P0406" Error Whole "an allow for unknown addresses that reaches into a zone" => "claim the addresses in the inventory and select them";
    EmptyZone "P0407" Warning Whole "a zone that no workload is a member of" => "correct `members`, or label the workloads";
    GroupHere "P0408" Error Place "`group` where it is not allowed" => "only `to` of a rule names groups: nobody sends from one, and no zone has one as a member";
    PairHere "P0409" Error Place "`same` or `differs` where it is not allowed" => "only `to` of a rule or test says them, and `differs` only where something is denied";

    RequiredLabel "P0601" Warning Whole "an allow that does not name a required label at both ends" => "name it, or read the rule as for any value";
    NoOwner "P0602" Warning Place "a rule or zone without owner" => "write who answers for it";
    NoJustification "P0603" Warning Place "a rule without justification" => "write why it exists";
    OneSide "P0604" Warning Whole "a rule whose two ends lie on one side: this gate never sees it" => "remove it, or look at `at` of the networks";
    ReviewDate "P0605" Error Place "`review_by` that is not a date" => "write a date without quotes: 2027-05-31";
    NotAsked "P0606" Warning Whole "a rule for packets that rules are not asked about" => "remove it: odd packets, housekeeping, ICMP errors and replies are decided before or beside rules";

    Overlap "P0607" Warning Whole "an allow of which a deny or guardrail takes a part" => "say in the allow whom it still lets through, or remove what the stronger rule decides";
    Redundant "P0608" Warning Whole "a list of services that says something twice" => "remove what another one of the list holds";
    WideRule "P0609" Warning Whole "an allow into a zone that is wider than the zone needs" => "name who may by labels, and the ports that are used";
    Insecure "P0610" Warning Whole "an allow of an insecure service without `mitigation`" => "use a secure service, or write what makes this one bearable: mitigation = \"...\"";
    Overdue "P0611" Warning Place "a rule whose review is overdue" => "review it and write the next `review_by`";

    TestFails "P0701" Error Whole "a test of the policy that does not hold: nothing is put in force" => "correct the rules or the test; explain shows why";
    EmptyTest "P0702" Warning Whole "a test that holds for nobody: no pair of addresses that this gate sees matches it" => "correct its ends, or give the workloads that it is about their labels";

    TableLarge "P0801" Warning Whole "a compiled policy larger than a processor's caches" => "fewer distinct label sets, or wider rules, make it smaller; it works as it is";

    LaterApprovals "P0907" Error Place "`approvals` other than \"off\": not available yet" => "write approvals = \"off\"";
    LaterState "P0908" Error Place "`state` of `[gate]`: not available yet" => "leave it out: flows do not outlive the process";
    LaterWires "P0909" Error Place "several wires: not available yet" => "run one gate for each wire";
    LaterFailOpen "P0910" Error Place "`fail = \"open\"`: not available yet" => "write fail = \"closed\"";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.number())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page's table, as this list would print it.
    fn table() -> String {
        let mut page = String::from("| code | is | what it means | what to do |\n|---|---|---|---|\n");
        for code in Code::ALL {
            let row = format!(
                "| {code} | {} | {} | {} |\n",
                code.severity().name(),
                code.summary(),
                code.remedy().replace('|', "\\|")
            );
            page.push_str(&row);
        }
        page
    }

    #[test]
    fn the_page_lists_every_code_in_order() {
        let page = include_str!("../../docs/DIAGNOSTICS.md");
        let start = page.find("| code |").expect("the table");
        assert_eq!(&page[start..], table(), "docs/DIAGNOSTICS.md: replace its table by the right side");
    }

    #[test]
    fn numbers_rise_and_none_is_given_twice() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].number() < pair[1].number(), "{} {}", pair[0], pair[1]);
        }
    }
}
