//! A list of hosts from somewhere else → a part of a policy.
//!
//! What it is: CSV (RFC 4180) with a line of headings into `[workload.NAME]` sections, each with the line that
//! it came from. What it is not: the reader; what is written is read as any part is. Invariant: all that is
//! wrong is said at once, by line; nothing is half imported, and nothing is guessed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::prefix::{NotAPrefix, Prefix};
use super::read::{NotAName, interface, is_name, is_one_account, is_reserved, mapped, moment, no_host};
use crate::wire::Mac;

/// What came of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The part: TOML.
    pub part: String,
    /// Workloads in it.
    pub workloads: usize,
    /// Headings that selectors use as words, and the labels that they became.
    pub renamed: Vec<(String, String)>,
}

/// Something wrong in a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct BadRow {
    /// Its line, from 1.
    pub line: usize,
    /// What it is.
    pub wrong: Wrong,
}

/// What can be wrong in a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A quote that does not end, or text after one.
    #[error("a quote that nothing closes, or that stands within a value: write \"\" for one quote")]
    Quote,
    /// A heading that must be there is not.
    #[error("no column is headed `{0}`")]
    NoHeading(&'static str),
    /// Another character than a comma between the headings.
    #[error(
        "its headings are parted by {0:?}: part all values by commas, and set values that have commas in quotes"
    )]
    Separator(char),
    /// A heading twice.
    #[error("two columns are headed `{0}`")]
    HeadingTwice(String),
    /// A heading that can't be a label.
    #[error("`{heading}` can't be the name of a label: {1}", heading = .0.escape_debug())]
    Heading(String, NotAName),
    /// More or fewer values than headings.
    #[error("{0} values under {1} headings")]
    Width(usize, usize),
    /// No name.
    #[error("{0:?} can't be the name of a workload: {1}")]
    Name(String, NotAName),
    /// A name twice.
    #[error("{0} is named already in line {1}")]
    Twice(String, usize),
    /// No address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// Not an address.
    #[error("{0:?} is not an address or prefix: {1}")]
    Address(String, NotAPrefix),
    /// An IPv4 address, written as one of IPv6.
    #[error("{0} is an IPv4 address in IPv6 clothes: write {1}")]
    Mapped(String, Prefix),
    /// An address that no host has.
    #[error("{0} {1}: claim addresses of hosts")]
    NoHost(Prefix, &'static str),
    /// An address that another line has, or this one twice.
    #[error("{0} is claimed already in line {1}")]
    Claimed(Prefix, usize),
    /// Several accounts.
    #[error("{0:?} is not the name of one service account")]
    Account(String),
    /// The MAC of no interface.
    #[error("{0:?} is not the MAC of an interface: {1}")]
    NoInterface(String, String),
    /// Not a MAC.
    #[error("{0:?} is not a MAC: write 02:00:00:20:00:10")]
    Mac(String),
    /// Not a time.
    #[error("{0:?} is neither a date nor an instant with an offset: write 2027-05-31")]
    Until(String),
}

/// Makes a part of a list; `source` is what it is called in the comments of the part.
///
/// # Errors
/// Everything that is wrong with it.
pub fn import(csv: &str, source: &str) -> Result<Imported, Vec<BadRow>> {
    let mut wrong = Vec::new();
    let rows = match rows(csv) {
        Ok(rows) => rows,
        Err(bad) => return Err(vec![bad]),
    };
    let mut rows = rows.into_iter();
    let headings = rows.next().unwrap_or_default();
    if let [only] = headings.as_slice()
        && let Some(separator) = [';', '\t', '|'].into_iter().find(|other| only.value.contains(*other))
    {
        return Err(vec![only.bad(Wrong::Separator(separator))]);
    }
    let mut renamed = Vec::new();
    let columns = columns(&headings, &mut renamed, &mut wrong);
    // Without names or addresses each line would be wrong for that alone.
    if wrong.iter().any(|bad| matches!(bad.wrong, Wrong::NoHeading(_))) {
        return Err(wrong);
    }
    let (mut body, mut seen, mut claims) = (String::new(), BTreeMap::new(), BTreeMap::new());
    for cells in rows {
        let line = cells.first().map_or(0, |cell| cell.line);
        if cells.len() != headings.len() {
            wrong.push(BadRow { line, wrong: Wrong::Width(cells.len(), headings.len()) });
            continue;
        }
        let row = Columns { keys: &columns, cells: &cells };
        let name = row.get("name");
        if let Err(why) = is_name(name.text()) {
            wrong.push(name.bad(Wrong::Name(name.text().to_owned(), why)));
            continue;
        }
        if let Some(first) = seen.insert(name.text().to_owned(), name.line) {
            wrong.push(name.bad(Wrong::Twice(name.text().to_owned(), first)));
        }
        workload(&mut body, (source, line), row, &mut claims, &mut wrong);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let part = format!(
        "# Imported from {}: {} workloads. Import it again rather than edit this.\n{body}",
        plain(source),
        seen.len()
    );
    Ok(Imported { part, workloads: seen.len(), renamed })
}

const KNOWN: [&str; 6] = ["name", "addresses", "owner", "service_account", "macs", "valid_until"];

/// The headings as keys: those of a workload, and labels, which keep their case as labels do.
fn columns(headings: &[Cell], renamed: &mut Vec<(String, String)>, wrong: &mut Vec<BadRow>) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for cell in headings {
        let heading = cell.text();
        let lower = heading.to_lowercase();
        let key = if KNOWN.contains(&lower.as_str()) {
            lower
        } else if is_reserved(&lower) {
            let label = format!("{heading}_label");
            renamed.push((heading.to_owned(), label.clone()));
            label
        } else {
            if let Err(why) = is_name(heading) {
                wrong.push(cell.bad(Wrong::Heading(heading.to_owned(), why)));
            }
            heading.to_owned()
        };
        if columns.contains(&key) {
            wrong.push(cell.bad(Wrong::HeadingTwice(key.clone())));
        }
        columns.push(key);
    }
    for needed in ["name", "addresses"] {
        if !columns.iter().any(|key| key == needed) {
            wrong.push(BadRow { line: 1, wrong: Wrong::NoHeading(needed) });
        }
    }
    columns
}

/// A row under its headings.
#[derive(Clone, Copy)]
struct Columns<'a> {
    keys: &'a [String],
    cells: &'a [Cell],
}

impl<'a> Columns<'a> {
    /// The cell under a heading; an empty one where there is no such column.
    fn get(self, key: &str) -> &'a Cell {
        static NONE: Cell = Cell { line: 0, value: String::new() };
        let place = self.keys.iter().position(|heading| heading == key);
        place.and_then(|place| self.cells.get(place)).unwrap_or(&NONE)
    }

    /// What is in a cell, parted by white space or semicolons.
    fn list(self, key: &str) -> (&'a Cell, Vec<&'a str>) {
        let cell = self.get(key);
        let items = cell.text().split(|c: char| c.is_whitespace() || c == ';');
        (cell, items.filter(|item| !item.is_empty()).collect())
    }
}

/// One section.
fn workload(
    into: &mut String,
    (source, line): (&str, usize),
    row: Columns<'_>,
    claims: &mut BTreeMap<Prefix, usize>,
    wrong: &mut Vec<BadRow>,
) {
    let (name, (addresses, prefixes), (macs, mac_texts)) =
        (row.get("name").text(), row.list("addresses"), row.list("macs"));
    if prefixes.is_empty() {
        wrong.push(BadRow { line, wrong: Wrong::NoAddress(name.to_owned()) });
    }
    for text in &prefixes {
        wrong.extend(claim(text, addresses.line, claims).err().map(|why| addresses.bad(why)));
    }
    for text in &mac_texts {
        let why = match interface(text) {
            Ok(_) => continue,
            Err(_) if text.parse::<Mac>().is_err() => Wrong::Mac((*text).to_owned()),
            Err(why) => Wrong::NoInterface((*text).to_owned(), why),
        };
        wrong.push(macs.bad(why));
    }
    let account = row.get("service_account");
    if !is_one_account(account.text()) {
        wrong.push(account.bad(Wrong::Account(account.text().to_owned())));
    }
    let until = row.get("valid_until");
    // As the reader takes it: TOML's own form of a time, and a moment by what it says.
    let time = until.text().parse::<toml::value::Datetime>().ok().filter(|time| moment(time).is_ok());
    if !until.text().is_empty() && time.is_none() {
        wrong.push(until.bad(Wrong::Until(until.text().to_owned())));
    }
    let texts = |items: &[&str]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let labels = row.keys.iter().zip(row.cells).filter(|(key, cell)| {
        let known = KNOWN.contains(&key.as_str());
        !known && !cell.text().is_empty()
    });
    let labels: Vec<String> =
        labels.map(|(key, cell)| format!("{} = {}", key_of(key), quoted(cell.text()))).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(into, "\n[workload.{}] # {}:{line}", key_of(name), plain(source));
    let _ = writeln!(into, "addresses = [{}]", texts(&prefixes));
    if !labels.is_empty() {
        let _ = writeln!(into, "labels = {{ {} }}", labels.join(", "));
    }
    for key in ["service_account", "owner"].into_iter().filter(|key| !row.get(key).text().is_empty()) {
        let _ = writeln!(into, "{key} = {}", quoted(row.get(key).text()));
    }
    if !mac_texts.is_empty() {
        let _ = writeln!(into, "macs = [{}]", texts(&mac_texts));
    }
    if let Some(time) = time {
        let _ = writeln!(into, "valid_until = {time}");
    }
}

/// Enters an address or prefix that hosts can have and nobody has yet, as the reader does.
fn claim(text: &str, line: usize, claims: &mut BTreeMap<Prefix, usize>) -> Result<(), Wrong> {
    let prefix = text.parse::<Prefix>().map_err(|why| Wrong::Address(text.to_owned(), why))?;
    if let Some(v4) = mapped(prefix) {
        return Err(Wrong::Mapped(text.to_owned(), v4));
    }
    if let Some(why) = no_host(prefix) {
        return Err(Wrong::NoHost(prefix, why));
    }
    match claims.insert(prefix, line) {
        Some(first) => Err(Wrong::Claimed(prefix, first)),
        None => Ok(()),
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key: bare where TOML lets it be.
fn key_of(key: &str) -> String {
    let bare = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { quoted(key) }
}

/// A text that may stand in a comment.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A value and the line that it begins in.
#[derive(Clone, Debug, Default)]
struct Cell {
    line: usize,
    value: String,
}

impl Cell {
    fn new(line: usize) -> Self {
        Self { line, value: String::new() }
    }

    /// Without the white space around it.
    fn text(&self) -> &str {
        self.value.trim()
    }

    fn bad(&self, wrong: Wrong) -> BadRow {
        BadRow { line: self.line, wrong }
    }
}

/// The rows of a CSV text that are not empty.
fn rows(csv: &str) -> Result<Vec<Vec<Cell>>, BadRow> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let (mut row, mut cell) = (Vec::new(), Cell::new(1));
    let (mut line, mut quoted, mut closed) = (1, false, false);
    let is_written = |row: &Vec<Cell>| row.iter().any(|cell: &Cell| !cell.text().is_empty());
    let mut chars = csv.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.value.push('"');
            }
            ('"', true) => (quoted, closed) = (false, true),
            ('"', false) if cell.value.is_empty() && !closed => quoted = true,
            ('"', false) => return Err(BadRow { line, wrong: Wrong::Quote }),
            (',', false) => {
                row.push(std::mem::replace(&mut cell, Cell::new(line)));
                closed = false;
            }
            ('\r', false) if chars.peek() == Some(&'\n') => {}
            ('\n', false) => {
                row.push(std::mem::replace(&mut cell, Cell::new(line)));
                rows.extend(Some(std::mem::take(&mut row)).filter(is_written));
                closed = false;
            }
            (other, false) if closed && !other.is_whitespace() => {
                return Err(BadRow { line, wrong: Wrong::Quote });
            }
            (other, _) => cell.value.push(other),
        }
    }
    if quoted {
        return Err(cell.bad(Wrong::Quote));
    }
    row.push(cell);
    rows.extend(Some(row).filter(is_written));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Moment;
    use crate::policy::read::read_text;

    const POLICY: &str = "parts = [\"hosts.toml\"]\n[label]\nenv = {}\napp = {}\nzone_label = {}\n[owner.pay]\n\
        authors = [\"group:a\"]\napprovers = [\"group:b\"]\n[profile]\narp = \"drop\"\nndp = \"drop\"\nlldp = \"drop\"\n\
        stp = \"drop\"\nlacp = \"drop\"\ndhcp = \"drop\"\nother = \"drop\"\n[wire.w]\noutside = \"a\"\ninside = \"b\"\n\
        fail = \"closed\"\nunzoned = \"observe\"\n[network.n]\nat = \"w.outside\"\nprefixes = [\"0.0.0.0/0\", \"::/0\"]\n";

    #[test]
    fn a_list_becomes_a_part_that_reads_as_it_says() {
        let csv = "Name,addresses,env,app,zone,owner,service_account,macs,valid_until\r\n\
                   api-1,10.0.0.1; 2001:db8::1,prod,\"pay, \"\"x\"\"\",red,pay,pay-prod,02:00:00:00:00:01,2027-05-31\r\n\
                   \r\n\
                   db.1,10.0.1.0/24,prod,,,,,,\n";
        let imported = import(csv, "hosts.csv").expect("sound");
        assert_eq!(imported.workloads, 2);
        assert_eq!(imported.renamed, [("zone".to_owned(), "zone_label".to_owned())]);
        assert!(imported.part.contains("[workload.api-1] # hosts.csv:2\n"), "{}", imported.part);
        assert!(imported.part.contains("[workload.\"db.1\"] # hosts.csv:4\n"), "{}", imported.part);
        let files = [("gate.toml", POLICY), ("hosts.toml", &imported.part)];
        let loaded = read_text(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
        let model = loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).model;
        let [api, db] = model.workloads.as_slice() else { panic!("two") };
        assert_eq!((api.name.as_str(), api.addresses.len()), ("api-1", 2));
        let labels: Vec<(&str, &str)> = api.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("app", "pay, \"x\""), ("env", "prod"), ("zone_label", "red")]);
        assert_eq!((api.owner.as_deref(), api.service_account.as_deref()), (Some("pay"), Some("pay-prod")));
        assert_eq!((api.macs.len(), api.valid_until), (1, Some(Moment(1_811_808_000_000_000_000))));
        assert_eq!((db.name.as_str(), db.labels.len(), db.valid_until), ("db.1", 1, None));
    }

    #[test]
    fn everything_wrong_is_said_by_line_and_nothing_is_imported() {
        let told = |csv: &str| -> Vec<String> {
            let bad = import(csv, "x").expect_err("wrong");
            bad.iter().map(ToString::to_string).collect()
        };
        let csv = "name,addresses,macs,valid_until\na,10.0.0.300,,\na,10.0.0.1,zz,\n,10.0.0.2,,\nb,,,soon\nc,10.0.0.3\n";
        assert_eq!(
            told(csv),
            [
                "line 2: \"10.0.0.300\" is not an address or prefix: not an IP address",
                "line 3: a is named already in line 2",
                "line 3: \"zz\" is not a MAC: write 02:00:00:20:00:10",
                "line 4: \"\" can't be the name of a workload: names have 1 to 128 letters, digits, `-`, `_` and `.`",
                "line 5: b has no address",
                "line 5: \"soon\" is neither a date nor an instant with an offset: write 2027-05-31",
                "line 6: 2 values under 4 headings",
            ]
        );
        assert_eq!(
            told("name,env,env,a b\n"),
            [
                "line 1: two columns are headed `env`",
                "line 1: `a b` can't be the name of a label: names have 1 to 128 letters, digits, `-`, `_` and `.`",
                "line 1: no column is headed `addresses`",
            ]
        );
        for csv in [
            "name,addresses\n\"a,10.0.0.1\n",
            "name,addresses\na\"b,10.0.0.1\n",
            "name,addresses\n\"a\"b,1\n",
        ] {
            assert!(told(csv)[0].contains("a quote that nothing closes"), "{csv}");
        }
        assert_eq!(told("").len(), 2);
    }

    #[test]
    fn what_the_reader_refuses_is_not_imported() {
        let told = |row: &str| -> Vec<String> {
            let csv = format!("name,addresses,macs,service_account\na,10.0.0.1,,\n{row}\n");
            import(&csv, "x")
                .map_or_else(|bad| bad.iter().map(ToString::to_string).collect(), |_| Vec::new())
        };
        let group = "is a multicast or broadcast address, which no host has: claim addresses of hosts";
        let rows = [
            ("b,10.0.0.2 2001:db8::1,02:00:00:00:00:01,b-prod", None),
            ("b,224.0.0.1,,", Some(format!("224.0.0.1 {group}"))),
            ("b,ff02::1,,", Some(format!("ff02::1 {group}"))),
            ("b,255.255.255.255,,", Some(format!("255.255.255.255 {group}"))),
            ("b,0.0.0.0,,", Some("0.0.0.0 never crosses a wire: claim addresses of hosts".to_owned())),
            ("b,::1,,", Some("::1 never crosses a wire: claim addresses of hosts".to_owned())),
            (
                "b,::ffff:10.0.0.9,,",
                Some("::ffff:10.0.0.9 is an IPv4 address in IPv6 clothes: write 10.0.0.9".to_owned()),
            ),
            ("b,10.0.0.1,,", Some("10.0.0.1 is claimed already in line 2".to_owned())),
            ("b,10.0.0.2 10.0.0.2,,", Some("10.0.0.2 is claimed already in line 3".to_owned())),
            (
                "b,10.0.0.2,01:00:00:00:00:01,",
                Some(
                    "\"01:00:00:00:00:01\" is not the MAC of an interface: a group address has no one owner"
                        .to_owned(),
                ),
            ),
            (
                "b,10.0.0.2,,b-prod;b-test",
                Some("\"b-prod;b-test\" is not the name of one service account".to_owned()),
            ),
        ];
        for (row, wrong) in rows {
            let wrong: Vec<String> = wrong.into_iter().map(|wrong| format!("line 3: {wrong}")).collect();
            assert_eq!(told(row), wrong, "{row}");
            // The reader says the same of the same workload.
            let cells: Vec<&str> = row.split(',').collect();
            let [_, addresses, macs, account] = cells.as_slice() else { panic!("{row}") };
            let listed = |text: &str| {
                text.split_whitespace().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ")
            };
            let part = format!(
                "[workload.a]\naddresses = [\"10.0.0.1\"]\n[workload.b]\naddresses = [{}]\nmacs = [{}]\n{}",
                listed(addresses),
                listed(macs),
                if account.is_empty() {
                    String::new()
                } else {
                    format!("service_account = \"{account}\"\n")
                }
            );
            let files = [("gate.toml", POLICY), ("hosts.toml", &part)];
            let read = read_text(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
            assert_eq!(read.is_ok(), wrong.is_empty(), "{row}");
        }
    }

    #[test]
    fn a_list_that_is_not_parted_by_commas_says_so_once() {
        for separator in [';', '\t', '|'] {
            let csv = "name,addresses,app\na,10.0.0.1,x\n".replace(',', &separator.to_string());
            let bad = import(&csv, "x").expect_err("no commas");
            assert_eq!(bad, [BadRow { line: 1, wrong: Wrong::Separator(separator) }]);
        }
        // Without a column of names no line is looked at.
        let bad = import("host,addresses\na,10.0.0.1\n", "x").expect_err("no names");
        assert_eq!(bad, [BadRow { line: 1, wrong: Wrong::NoHeading("name") }]);
    }

    #[test]
    fn what_is_wrong_is_said_of_the_line_that_its_value_begins_in() {
        let told = |csv: &str| -> Vec<String> {
            let bad = import(csv, "x").expect_err("wrong");
            bad.iter().map(ToString::to_string).collect()
        };
        let head = "name,\"addresses\",note,macs\n";
        assert_eq!(
            told(&format!("{head}a,10.0.0.1,\"two\nlines\",zz\nb,x,\"\n\n\",\"y\n\"\n")),
            [
                "line 3: \"zz\" is not a MAC: write 02:00:00:20:00:10",
                "line 4: \"x\" is not an address or prefix: not an IP address",
                "line 6: \"y\" is not a MAC: write 02:00:00:20:00:10",
            ]
        );
        let quote = "a quote that nothing closes, or that stands within a value: write \"\" for one quote";
        assert_eq!(
            told(&format!("{head}a,10.0.0.1,\"two\nlines\",\"zz\n\n")),
            [format!("line 3: {quote}")]
        );
        assert_eq!(told("name,addresses,\"a\nb\",c d\n").len(), 2);
        assert!(told("name,addresses,\"a\nb\",c d\n")[1].starts_with("line 2: `c d` can't be"));
        let list = import("name,addresses\na,\"10.0.0.1\n10.0.0.2\"\n", "x").expect("a list on two lines");
        assert!(list.part.contains("addresses = [\"10.0.0.1\", \"10.0.0.2\"]\n"), "{}", list.part);
    }

    #[test]
    fn a_list_of_an_office_program_is_a_list() {
        let plain = import("name,addresses\na,10.0.0.1\n", "x");
        assert!(plain.is_ok());
        // Its mark, its line ends, blanks around values, a row of nothing, no end of the last line.
        assert_eq!(import("\u{feff}name, addresses\r\n a ,\"10.0.0.1\" \r\n,\r\n", "x"), plain);
        assert_eq!(import("name,addresses\na,10.0.0.1", "x"), plain);
    }

    #[test]
    fn a_label_keeps_its_case_and_a_key_has_none() {
        let imported = import("NAME,Addresses,Env,Zone\na,10.0.0.1,prod,red\n", "x").expect("sound");
        assert!(
            imported.part.contains("labels = { Env = \"prod\", Zone_label = \"red\" }\n"),
            "{}",
            imported.part
        );
        assert_eq!(imported.renamed, [("Zone".to_owned(), "Zone_label".to_owned())]);
    }

    #[test]
    fn a_time_is_taken_as_the_reader_takes_it() {
        let times = [
            ("2027-05-31", true),
            ("2027-05-31T18:00:00Z", true),
            ("2027-05-31 18:00:00+02:00", true),
            ("2027-05-31T18:00:00.5Z", true),
            ("20270531", false),
            ("2027-05-31T18:00:00", false),
            ("18:00:00", false),
            ("2027-05-31T18:00:00+02", false),
            ("2027-05-31T180000Z", false),
            ("2027-05-31T18:00:00+02:00[Europe/Berlin]", false),
            ("+002027-05-31", false),
            ("2027-13-01", false),
            ("2027-05-31 # a date", false),
            ("2027-05-31\nowner = \"x\"", false),
        ];
        for (time, taken) in times {
            let imported = import(&format!("name,addresses,valid_until\na,10.0.0.1,\"{time}\"\n"), "x");
            assert_eq!(imported.is_ok(), taken, "{time}: {imported:?}");
            let Ok(imported) = imported else { continue };
            let files = [("gate.toml", POLICY), ("hosts.toml", &imported.part)];
            let loaded = read_text(files.map(|(name, text)| (name.to_owned(), text.to_owned())).into());
            let model = loaded.unwrap_or_else(|rejected| panic!("{:?}", rejected.diagnostics)).model;
            assert!(model.workloads[0].valid_until.is_some(), "{time}");
        }
    }
}
