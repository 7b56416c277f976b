//! A list of hosts from somewhere else → a part of a policy.
//!
//! What it is: CSV (RFC 4180) with a line of headings into `[workload.NAME]` sections, each with the line that
//! it came from. What it is not: the reader; what is written is read as any part is. Invariant: all that is
//! wrong is said at once, by line; nothing is half imported, and nothing is guessed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::prefix::{NotAPrefix, Prefix};
use super::read::{NotAName, is_name, is_reserved};
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
    /// A heading twice.
    #[error("two columns are headed `{0}`")]
    HeadingTwice(String),
    /// A heading that can't be a label.
    #[error("`{0}` can't be the name of a label: {1}")]
    Heading(String, NotAName),
    /// More or fewer values than headings.
    #[error("{0} values under {1} headings")]
    Width(usize, usize),
    /// No name.
    #[error("\"{0}\" can't be the name of a workload: {1}")]
    Name(String, NotAName),
    /// A name twice.
    #[error("{0} is named already in line {1}")]
    Twice(String, usize),
    /// No address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// Not an address.
    #[error("\"{0}\" is not an address or prefix: {1}")]
    Address(String, NotAPrefix),
    /// Not a MAC.
    #[error("\"{0}\" is not a MAC: write 02:00:00:20:00:10")]
    Mac(String),
    /// Not a time.
    #[error("\"{0}\" is neither a date nor an instant with an offset: write 2027-05-31")]
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
    let (_, headings) = rows.next().unwrap_or_default();
    let mut renamed = Vec::new();
    let columns = columns(&headings, &mut renamed, &mut wrong);
    let (mut body, mut seen) = (String::new(), BTreeMap::new());
    for (line, values) in rows {
        let mut say = |what| wrong.push(BadRow { line, wrong: what });
        if values.len() != headings.len() {
            say(Wrong::Width(values.len(), headings.len()));
            continue;
        }
        let cells: Vec<(&str, &str)> =
            columns.iter().map(String::as_str).zip(values.iter().map(|value| value.trim())).collect();
        let cell =
            |key: &str| cells.iter().find(|(heading, _)| *heading == key).map_or("", |(_, cell)| cell);
        let name = cell("name");
        if let Err(why) = is_name(name) {
            say(Wrong::Name(name.to_owned(), why));
            continue;
        }
        if let Some(first) = seen.insert(name.to_owned(), line) {
            say(Wrong::Twice(name.to_owned(), first));
        }
        workload(&mut body, (source, line), &cells, &mut say);
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

/// The headings as keys: those of a workload, and labels.
fn columns(
    headings: &[String],
    renamed: &mut Vec<(String, String)>,
    wrong: &mut Vec<BadRow>,
) -> Vec<String> {
    let mut say = |what| wrong.push(BadRow { line: 1, wrong: what });
    let mut columns: Vec<String> = Vec::new();
    for heading in headings {
        let heading = heading.trim().to_lowercase();
        let key = if KNOWN.contains(&heading.as_str()) {
            heading
        } else if is_reserved(&heading) {
            let label = format!("{heading}_label");
            renamed.push((heading, label.clone()));
            label
        } else {
            if let Err(why) = is_name(&heading) {
                say(Wrong::Heading(heading.clone(), why));
            }
            heading
        };
        if columns.contains(&key) {
            say(Wrong::HeadingTwice(key.clone()));
        }
        columns.push(key);
    }
    for needed in ["name", "addresses"] {
        if !columns.iter().any(|key| key == needed) {
            say(Wrong::NoHeading(needed));
        }
    }
    columns
}

/// One section. Lists in a cell are parted by spaces or semicolons.
fn workload(
    into: &mut String,
    (source, line): (&str, usize),
    cells: &[(&str, &str)],
    say: &mut impl FnMut(Wrong),
) {
    let cell = |key: &str| cells.iter().find(|(heading, _)| *heading == key).map_or("", |(_, cell)| cell);
    let list = |key: &str| -> Vec<String> {
        let items = cell(key).split([' ', ';']).map(str::trim).filter(|item| !item.is_empty());
        items.map(str::to_owned).collect()
    };
    let (name, addresses, macs) = (cell("name"), list("addresses"), list("macs"));
    if addresses.is_empty() {
        say(Wrong::NoAddress(name.to_owned()));
    }
    for address in &addresses {
        if let Err(why) = address.parse::<Prefix>() {
            say(Wrong::Address(address.clone(), why));
        }
    }
    for mac in macs.iter().filter(|mac| mac.parse::<Mac>().is_err()) {
        say(Wrong::Mac(mac.clone()));
    }
    let until = cell("valid_until");
    let is_time = until.parse::<jiff::Timestamp>().is_ok() || super::read::end_of_day(until).is_some();
    if !until.is_empty() && !is_time {
        say(Wrong::Until(until.to_owned()));
    }
    let texts = |items: &[String]| items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ");
    let labels = cells.iter().filter(|(key, value)| !KNOWN.contains(key) && !value.is_empty());
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{} = {}", key_of(key), quoted(value))).collect();
    // Writing to a String cannot fail.
    let _ = writeln!(into, "\n[workload.{}] # {}:{line}", key_of(name), plain(source));
    let _ = writeln!(into, "addresses = [{}]", texts(&addresses));
    if !labels.is_empty() {
        let _ = writeln!(into, "labels = {{ {} }}", labels.join(", "));
    }
    for key in ["service_account", "owner"].into_iter().filter(|key| !cell(key).is_empty()) {
        let _ = writeln!(into, "{key} = {}", quoted(cell(key)));
    }
    if !macs.is_empty() {
        let _ = writeln!(into, "macs = [{}]", texts(&macs));
    }
    if !until.is_empty() {
        let _ = writeln!(into, "valid_until = {until}");
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

type Row = (usize, Vec<String>);

/// The rows of a CSV text that are not empty, each with the line that it begins in.
fn rows(csv: &str) -> Result<Vec<Row>, BadRow> {
    let mut rows: Vec<Row> = Vec::new();
    let mut row: Row = (1, vec![String::new()]);
    let (mut line, mut quoted, mut closed) = (1, false, false);
    let mut chars = csv.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        let fresh = row.1.last().is_none_or(String::is_empty);
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                push(&mut row, '"');
            }
            ('"', true) => (quoted, closed) = (false, true),
            ('"', false) if fresh && !closed => quoted = true,
            ('"', false) => return Err(BadRow { line, wrong: Wrong::Quote }),
            (',', false) => {
                row.1.push(String::new());
                closed = false;
            }
            ('\r', false) if chars.peek() == Some(&'\n') => {}
            ('\n', false) => {
                let done = std::mem::replace(&mut row, (line, vec![String::new()]));
                rows.extend(Some(done).filter(|(_, values)| values.iter().any(|v| !v.trim().is_empty())));
                closed = false;
            }
            (other, false) if closed && !other.is_whitespace() => {
                return Err(BadRow { line, wrong: Wrong::Quote });
            }
            (other, _) => push(&mut row, other),
        }
    }
    if quoted {
        return Err(BadRow { line: row.0, wrong: Wrong::Quote });
    }
    rows.extend(Some(row).filter(|(_, values)| values.iter().any(|v| !v.trim().is_empty())));
    Ok(rows)
}

fn push(row: &mut Row, c: char) {
    if let Some(value) = row.1.last_mut() {
        value.push(c);
    }
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
}
