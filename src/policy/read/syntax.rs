//! The text of one file: what of it is TOML.
//!
//! What it is: every syntax error of a file, each with its place and what to write, and the text with the
//! lines blanked that are not TOML, so that the rest of it can be read all the same. What it is not: it
//! knows no key of the language. Cost: a file with errors is parsed again for each round of recovery, at
//! most [`ROUNDS`] times.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::findings::Findings;
use super::wanted::one_pair;

/// Times that a file is parsed to find errors behind errors.
const ROUNDS: usize = 8;
/// Syntax errors reported for one file.
const SYNTAX_LIMIT: usize = 50;
/// Bytes from which a file is first looked at for how much of it is not TOML.
const LARGE: usize = 64 << 10;
/// Errors that make a large file garbage.
const GARBAGE: usize = 1000;

/// The text of a file with the lines blanked that are not TOML; bytes keep their places.
pub(super) fn readable<'t>(file: u16, text: &'t str, findings: &mut Findings) -> Cow<'t, str> {
    let mut cleaned = Cow::Borrowed(text);
    let mut reported = BTreeSet::new();
    if text.len() > LARGE && is_garbage(text) {
        let words = "this does not look like a policy: too much of it is not TOML";
        let origin = findings.origin(file, &(0..0));
        findings.say_with(Code::Syntax, origin, words, "check that it is the right file");
        findings.text_is_partial();
        return Cow::Borrowed("");
    }
    for _ in 0..ROUNDS {
        let errors = syntax_errors(&cleaned);
        let mut blanked = cleaned.clone().into_owned().into_bytes();
        let mut changed = false;
        let mut repeated_header = false;
        for (message, span) in errors {
            let line = line_around(text, span.start);
            let header = text.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('['));
            if message == "duplicate key" {
                // The second table's keys fall into the first: only the header is the error.
                if !header && repeated_header && !header_between(text, &reported, line.start) {
                    continue;
                }
                repeated_header = header;
            }
            if reported.len() > SYNTAX_LIMIT || !reported.insert(line.start) {
                continue;
            }
            report(file, text, &message, &span, &line, header, findings);
            if message != "duplicate key"
                && let Some(bytes) = blanked.get_mut(line)
            {
                bytes.fill(b' ');
                changed = true;
            }
        }
        if !changed || reported.len() > SYNTAX_LIMIT {
            break;
        }
        cleaned = String::from_utf8(blanked).map_or(Cow::Borrowed(""), Cow::Owned);
    }
    cleaned
}

/// Looks at more and more of the beginning, so that a few errors are kept and not millions: those of
/// 4 MiB of `=` take a gigabyte.
fn is_garbage(text: &str) -> bool {
    let parts = std::iter::successors(Some(LARGE), |part| part.checked_mul(2));
    parts.take_while(|part| *part < text.len()).any(|part| {
        let start = text.get(..text.floor_char_boundary(part)).unwrap_or_default();
        let lines = start.rsplit_once('\n').map_or(start, |(lines, _)| lines);
        DeTable::parse_recoverable(lines).1.len() > GARBAGE
    })
}

/// Errors by place; those without one stand at the start.
fn syntax_errors(text: &str) -> Vec<(String, Range<usize>)> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let place = |error: &toml::de::Error| error.span().unwrap_or_default();
    let mut errors: Vec<_> = errors.iter().map(|e| (e.message().to_owned(), place(e))).collect();
    errors.sort_by_key(|(_, span)| span.start);
    errors
}

/// Whether a table begins between the last reported line and this one.
fn header_between(text: &str, reported: &BTreeSet<usize>, line: usize) -> bool {
    let Some(last) = reported.range(..line).next_back() else { return false };
    let lines = text.get(*last..line).unwrap_or_default().lines();
    lines.skip(1).any(|line| line.trim_start().starts_with('['))
}

fn report(
    file: u16,
    text: &str,
    message: &str,
    span: &Range<usize>,
    line: &Range<usize>,
    header: bool,
    findings: &mut Findings,
) {
    let origin = findings.origin(file, span);
    if message == "duplicate key" {
        let name = text.get(span.clone()).unwrap_or_default();
        let words = text.get(line.clone()).unwrap_or_default().trim();
        if words.starts_with("[[") {
            let message = format!("`{name}` is a table, and [[{name}]] adds to a list of tables");
            findings.say_with(Code::WrongType, origin, message, one_pair(name));
            return;
        }
        let mut found = Diagnostic::new(Code::Duplicate, Some(origin), format!("{name} is written twice"))
            .help("names are unique: rename one of the two, or merge them");
        if header && let Some(first) = text.find(words).filter(|first| *first < line.start) {
            let first = findings.origin(file, &(first..first + words.len()));
            found = found.related(first, "first written here");
        }
        findings.push(found);
        return;
    }
    findings.text_is_partial();
    let words = text.get(line.clone()).unwrap_or_default();
    findings.say_with(Code::Syntax, origin, format!("not TOML: {message}"), remedy(message, words));
}

/// What to write instead, by what the parser missed and what the line holds.
fn remedy(message: &str, line: &str) -> String {
    let control = line.chars().find(|c| c.is_control() && !matches!(c, '\t' | '\r'));
    if let Some(control) = control {
        let number = u32::from(control);
        return format!("remove U+{number:04X} from the line, or check that it is the right file");
    }
    let says = |words: &str| message.contains(words);
    let help = if says("recur") {
        "tables and lists lie a few levels deep: check that it is the right file"
    } else if says("table header") || says("unclosed table") || (says("`]`") && line.starts_with('[')) {
        "a section's header is a line like [zone.cde]"
    } else if says("must be quoted") && line.contains(['[', '{']) {
        "text stands in quotes, and a comma between two values: services = [\"https\", \"ping\"]"
    } else if says("must be quoted") {
        "text stands in quotes: mode = \"simulate\"; only numbers, dates, true and false stand without"
    } else if says("key with no value") || says("missing assignment") {
        "write KEY = VALUE, or [SECTION] for a header"
    } else if says("invalid basic string") || says("invalid literal string") {
        "end the text with a quote on the same line; write \\\\ for a backslash and \\\" for a quote"
    } else if says("unclosed array") || says("`]`") {
        "a list ends with ] and has commas between its items: [\"a\", \"b\"]"
    } else if says("date") || says("time") {
        "a date is written without quotes, as 2027-05-31"
    } else if says("inline table") {
        "a table in a line ends with } and has commas between its entries: { app = \"a\", env = \"b\" }"
    } else {
        "correct it at the caret: lines are KEY = VALUE or [SECTION], and text stands in quotes"
    };
    help.to_owned()
}

/// The line that holds a byte, without its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let before = bytes.get(..at).unwrap_or_default();
    let after = bytes.get(at..).unwrap_or_default();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |found| found + 1);
    let end = after.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |found| at + found);
    start..end
}
