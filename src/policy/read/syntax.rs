//! The text of one file: what of it is TOML.
//!
//! What it is: every syntax error of a file, each with its place and what to write, and the text with the
//! lines blanked that are not TOML, so that the rest of it can be read all the same. What it is not: it
//! knows no key of the language. Cost: a sound file is parsed once, and a large one as much again in parts
//! before that; one with errors is parsed again for each round of recovery, at most [`ROUNDS`] times.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::{DeTable, Error};

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
/// What the parser says of a name written twice.
const DUPLICATE: &str = "duplicate key";

/// A file as far as it is TOML.
#[derive(Debug)]
pub(super) enum Read<'t> {
    /// All of it, a name written twice aside.
    Whole(DeTable<'t>),
    /// Its text with the other lines blanked; bytes keep their places.
    Blanked(String),
}

impl<'t> Read<'t> {
    /// Reads a file and reports each of its syntax errors once.
    pub(super) fn of(file: u16, text: &'t str, findings: &mut Findings) -> Self {
        if let Some(garbage) = garbage(text, |part| DeTable::parse_recoverable(part).1) {
            garbage.report(file, text, findings);
            return Self::Blanked(String::new());
        }
        let mut reported = BTreeSet::new();
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut lines = round(file, text, &errors, &mut reported, findings);
        if lines.is_empty() {
            return Self::Whole(table.into_inner());
        }
        let mut cleaned = text.to_owned();
        for _ in 1..ROUNDS {
            cleaned = blank(cleaned, &lines);
            if reported.len() > SYNTAX_LIMIT {
                break;
            }
            lines = round(file, text, &DeTable::parse_recoverable(&cleaned).1, &mut reported, findings);
            if lines.is_empty() {
                break;
            }
        }
        Self::Blanked(cleaned)
    }

    /// The tables of a file that is whole, else the text to parse for them.
    pub(super) fn parted(self) -> (Option<DeTable<'t>>, String) {
        match self {
            Self::Whole(table) => (Some(table), String::new()),
            Self::Blanked(text) => (None, text),
        }
    }
}

/// Reports errors on lines that have none yet, and gives the lines that are to be blanked.
fn round(
    file: u16,
    text: &str,
    errors: &[Error],
    reported: &mut BTreeSet<usize>,
    findings: &mut Findings,
) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut repeated_header = false;
    let mut errors: Vec<_> = errors.iter().map(|e| (e.message(), e.span().unwrap_or_default())).collect();
    errors.sort_by_key(|(_, span)| span.start);
    for (message, span) in errors {
        let line = line_around(text, span.start);
        let header = text.get(line.clone()).is_some_and(|line| line.trim_start().starts_with('['));
        if message == DUPLICATE {
            // The second table's keys fall into the first: only the header is the error.
            if !header && repeated_header && !header_between(text, reported, line.start) {
                continue;
            }
            repeated_header = header;
        }
        if reported.len() > SYNTAX_LIMIT || !reported.insert(line.start) {
            continue;
        }
        report(file, text, message, &span, &line, header, findings);
        if message != DUPLICATE {
            lines.push(line);
        }
    }
    lines
}

fn blank(text: String, lines: &[Range<usize>]) -> String {
    let mut bytes = text.into_bytes();
    for line in lines {
        if let Some(bytes) = bytes.get_mut(line.clone()) {
            bytes.fill(b' ');
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// What makes it useless to read a text to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Garbage {
    /// More errors than a person makes.
    Errors,
    /// Levels upon levels of tables or lists, from here on.
    Depth { message: String, span: Range<usize> },
}

impl Garbage {
    fn report(&self, file: u16, text: &str, findings: &mut Findings) {
        findings.text_is_partial();
        match self {
            Self::Errors => {
                let words = "this does not look like a policy: too much of it is not TOML";
                let origin = findings.origin(file, &(0..0));
                findings.say_with(Code::Syntax, origin, words, "check that it is the right file");
            }
            Self::Depth { message, span } => {
                let line = line_around(text, span.start);
                report(file, text, message, span, &line, false, findings);
            }
        }
    }
}

/// Looks at more and more of the beginning of a large text, so that a few errors are kept and not
/// millions: those of 4 MiB of `=` take a gigabyte, and 4 MiB of `[` as many levels.
fn garbage(text: &str, mut look: impl FnMut(&str) -> Vec<Error>) -> Option<Garbage> {
    let parts = std::iter::successors(Some(LARGE), |part| part.checked_mul(2));
    parts.take_while(|part| *part < text.len()).find_map(|part| {
        let start = text.get(..text.floor_char_boundary(part)).unwrap_or_default();
        // A line cut in two would be an error; of one that fills half of it, the beginning tells enough.
        let lines = start.rsplit_once('\n').map(|(lines, _)| lines).filter(|lines| lines.len() > part / 2);
        let errors = look(lines.unwrap_or(start));
        if errors.len() > GARBAGE {
            return Some(Garbage::Errors);
        }
        let deep = errors.iter().find(|error| is_deep(error.message()))?;
        Some(Garbage::Depth { message: deep.message().to_owned(), span: deep.span().unwrap_or_default() })
    })
}

/// Whether the parser gave up for the levels that it would have to go down.
fn is_deep(message: &str) -> bool {
    message.contains("recur")
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
    if message == DUPLICATE {
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
    let help = if is_deep(message) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, and the bytes that were parsed for it.
    fn looked(text: &str) -> (Option<Garbage>, usize) {
        let mut bytes = 0;
        let found = garbage(text, |part| {
            bytes += part.len();
            DeTable::parse_recoverable(part).1
        });
        (found, bytes)
    }

    #[test]
    fn of_one_giant_line_only_the_beginning_is_parsed() {
        let size = 4 << 20;
        let deep = |text: String| {
            let (found, bytes) = looked(&text);
            let Some(Garbage::Depth { message, .. }) = found else {
                panic!("{:?}: {found:?}", &text[..40])
            };
            assert!(is_deep(&message), "{message}");
            assert!(bytes <= 2 * LARGE, "{bytes} bytes for the first {:?}", &text[..20]);
        };
        for unit in ["[", "{a=", "[{a=[", "[[1,"] {
            deep(format!("a = {}", unit.repeat(size / unit.len())));
            deep(format!("[gate]\nflows = 1024\na = {}", unit.repeat(size / unit.len())));
        }
        deep("a.".repeat(size / 2));
        for noise in ["=", "= = \n"] {
            let (found, bytes) = looked(&noise.repeat(size / noise.len()));
            assert_eq!((found, bytes <= 2 * LARGE), (Some(Garbage::Errors), true), "{noise:?}");
        }
    }

    #[test]
    fn a_large_sound_text_is_parsed_once_more_in_parts() {
        let lines: Vec<String> = (0..20_000).map(|n| format!("k{n} = 1")).collect();
        let text = lines.join("\n");
        let (found, bytes) = looked(&text);
        assert_eq!(found, None);
        assert!(bytes < 2 * text.len(), "{bytes} of {}", text.len());
        let wide = format!("a = [{}]", "\"10.0.0.1\", ".repeat(100_000));
        let (found, bytes) = looked(&wide);
        assert_eq!((found, bytes < 2 * wide.len()), (None, true));
        let mut findings = Findings::new();
        assert!(matches!(Read::of(0, &wide, &mut findings), Read::Whole(_)));
        assert_eq!(findings.len(), 0);
    }
}
