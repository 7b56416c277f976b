//! Errors and warnings with code, place, caret and help.
//!
//! What it is: one finding, its picture for people and its row for programs. What it is not: it finds
//! nothing itself. Invariant: text from a policy reaches a terminal only with its control characters
//! taken out. Cost: bounded, [`RENDERED`] findings with one line of text each.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::code::Code;
use super::source::{Columns, Origin, SourceFile, Sources};

/// Findings that [`render`] draws; the others are counted.
pub const RENDERED: usize = 100;

/// Bytes of a line that [`render`] draws; of a longer one only the place is shown.
const LINE_LIMIT: usize = 2000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy is not loaded.
    Error,
    /// It is.
    Warning,
}

impl Severity {
    /// The word people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding in a policy's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Stable code: `P0104`.
    pub code: Code,
    /// What is wrong: `"prd" is not a value of label env`.
    pub message: String,
    /// Where; none when the first file could not be read at all.
    pub origin: Option<Origin>,
    /// Words under the caret: `did you mean "prod"?`.
    pub label: Option<String>,
    /// Other places concerned, each with a word: `first declared here`.
    pub related: Vec<(Origin, String)>,
    /// What to do: `env is closed: prod, test, dev`.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding with its code's severity.
    #[must_use]
    pub fn new(code: Code, origin: Option<Origin>, message: impl Into<String>) -> Self {
        Self {
            severity: code.severity(),
            code,
            message: message.into(),
            origin,
            label: None,
            related: Vec::new(),
            help: None,
        }
    }

    /// With words under the caret.
    #[must_use]
    pub fn label(mut self, words: impl Into<String>) -> Self {
        self.label = Some(words.into());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, words: impl Into<String>) -> Self {
        self.help = Some(words.into());
        self
    }

    /// With another place concerned.
    #[must_use]
    pub fn related(mut self, origin: Origin, words: impl Into<String>) -> Self {
        self.related.push((origin, words.into()));
        self
    }
}

/// Errors and warnings among the findings.
#[must_use]
pub fn count(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error).count();
    (errors, diagnostics.len() - errors)
}

/// Renders findings as rustc does, one after the other, with a closing count.
#[must_use]
pub fn render(sources: &Sources, diagnostics: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(100);
    let mut page = String::new();
    let mut columns = Columns::of(sources);
    for diagnostic in drawn(diagnostics) {
        page.push_str(&picture(&renderer, sources, &mut columns, diagnostic));
        page.push_str("\n\n");
    }
    let (errors, warnings) = count(diagnostics);
    if let more @ 1.. = diagnostics.len().saturating_sub(RENDERED) {
        let _ = writeln!(page, "and {more} more\n");
    }
    let _ = write!(page, "{}, {}", plural(errors, "error"), plural(warnings, "warning"));
    page.push_str(if errors > 0 { "; nothing was loaded\n" } else { "\n" });
    page
}

/// Those that are drawn, in order: where there are too many, no warning takes the place of an error.
fn drawn(diagnostics: &[Diagnostic]) -> impl Iterator<Item = &Diagnostic> {
    let (errors, _) = count(diagnostics);
    let mut errors = errors.min(RENDERED);
    let mut warnings = RENDERED - errors;
    diagnostics.iter().filter(move |found| {
        let room = match found.severity {
            Severity::Error => &mut errors,
            Severity::Warning => &mut warnings,
        };
        let drawn = *room > 0;
        *room -= usize::from(drawn);
        drawn
    })
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn picture(
    renderer: &Renderer,
    sources: &Sources,
    columns: &mut Columns<'_>,
    diagnostic: &Diagnostic,
) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(words_of(&diagnostic.message)).id(diagnostic.code.number());
    let mut group = Group::with_title(title);
    let first = diagnostic.origin.map(|origin| (origin, diagnostic.label.as_deref()));
    let others = diagnostic.related.iter().map(|(origin, words)| (*origin, Some(words.as_str())));
    for (place, (origin, words)) in first.into_iter().chain(others).enumerate() {
        let Some(file) = sources.files.get(usize::from(origin.file)) else { continue };
        let kind = if place == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
        let number = usize::try_from(origin.line).unwrap_or(1);
        if let Some((line, span)) = line_of(file, origin) {
            let caret = kind.span(span).label(words.map(words_of));
            let snippet = Snippet::source(source_of(line)).path(file.name.as_str());
            group = group.element(snippet.line_start(number).annotation(caret));
            continue;
        }
        let at = annotate_snippets::Origin::path(file.name.as_str()).line(number);
        group = group.element(at.char_column(columns.column(origin)));
        if let Some(words) = words {
            group = group.element(Level::NOTE.message(words_of(words)));
        }
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(words_of(help)));
    }
    renderer.render(&[group])
}

/// Words without control characters: the renderer leaves those of labels and help as they are.
fn words_of(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    annotate_snippets::normalize_untrusted_str(&plain)
}

/// A line without the control characters that the renderer does not draw itself, U+0080 to U+009F. What
/// stands in their place has as many bytes, so spans stay.
fn source_of(line: &str) -> String {
    line.chars().map(|c| if ('\u{80}'..='\u{9f}').contains(&c) { '¿' } else { c }).collect()
}

/// What is looked at around a place to find its line: not more than can be drawn on either side.
fn window(text: &str, at: usize) -> Option<(usize, &str)> {
    let start = text.ceil_char_boundary(at.saturating_sub(LINE_LIMIT + 1));
    let end = text.floor_char_boundary(at.saturating_add(LINE_LIMIT + 2));
    Some((start, text.get(start..end)?))
}

/// The line of a place and its span in it, cut at the line's end; none for a line too long to draw.
fn line_of(file: &SourceFile, origin: Origin) -> Option<(&str, std::ops::Range<usize>)> {
    let at = usize::try_from(origin.start).ok()?;
    let (first, near) = window(&file.text, at)?;
    let before = near.get(..at.checked_sub(first)?)?;
    let start = match before.rfind('\n') {
        Some(found) => first + found + 1,
        None if first == 0 => 0,
        None => return None,
    };
    let line = near.get(start - first..)?.split('\n').next()?.trim_end_matches('\r');
    if line.len() > LINE_LIMIT {
        return None;
    }
    // The renderer panics on a span that ends within a character.
    let from = line.floor_char_boundary(at - start);
    let until = usize::try_from(origin.end).ok()?.saturating_sub(start).clamp(from, line.len());
    Some((line, from..line.ceil_char_boundary(until)))
}

/// A finding as a row for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row<'a> {
    /// `P0104`.
    pub code: Code,
    /// `error` or `warning`.
    pub severity: Severity,
    /// The file, relative to the folder of the first.
    pub file: Option<&'a str>,
    /// Line, from 1.
    pub line: Option<u32>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: &'a str,
    /// Words under the caret.
    pub label: Option<&'a str>,
    /// What to do.
    pub help: Option<&'a str>,
    /// Other places concerned.
    pub related: Vec<RelatedRow<'a>>,
}

/// Another place that a finding concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelatedRow<'a> {
    /// The file.
    pub file: Option<&'a str>,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: usize,
    /// What it has to do with it.
    pub message: &'a str,
}

/// The findings as rows for programs, all of them, in their order.
#[must_use]
pub fn rows<'a>(sources: &'a Sources, diagnostics: &'a [Diagnostic]) -> Vec<Row<'a>> {
    let name = |origin: Origin| Some(sources.files.get(usize::from(origin.file))?.name.as_str());
    let mut columns = Columns::of(sources);
    let mut row = |found: &'a Diagnostic| Row {
        code: found.code,
        severity: found.severity,
        file: found.origin.and_then(name),
        line: found.origin.map(|origin| origin.line),
        column: found.origin.map(|origin| columns.column(origin)),
        message: &found.message,
        label: found.label.as_deref(),
        help: found.help.as_deref(),
        related: found
            .related
            .iter()
            .map(|(origin, words)| RelatedRow {
                file: name(*origin),
                line: origin.line,
                column: sources.column(*origin),
                message: words,
            })
            .collect(),
    };
    diagnostics.iter().map(&mut row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        let file = SourceFile { path: "/x/a.toml".into(), name: "a.toml".into(), text: text.into() };
        Sources { files: vec![file] }
    }

    fn at(start: u32, end: u32, line: u32) -> Origin {
        Origin { file: 0, start, end, line }
    }

    #[test]
    fn programs_get_every_field() {
        let sources = sources("[zone.ü]\nmode = \"x\"\n");
        let found = Diagnostic::new(Code::Word, Some(at(17, 20, 2)), "wrong")
            .label("under it")
            .help("do this")
            .related(at(6, 8, 1), "here too");
        let row = serde_json::to_value(rows(&sources, &[found])).expect("rows");
        let expected = serde_json::json!([{
            "code": "P0114", "severity": "error", "file": "a.toml", "line": 2, "column": 8,
            "message": "wrong", "label": "under it", "help": "do this",
            "related": [{ "file": "a.toml", "line": 1, "column": 7, "message": "here too" }],
        }]);
        assert_eq!(row, expected);
    }

    #[test]
    fn a_hundred_are_drawn_and_the_rest_counted() {
        let sources = sources("x\n");
        let mut found = vec![Diagnostic::new(Code::Word, Some(at(0, 1, 1)), "wrong"); 150];
        found.push(Diagnostic::new(Code::NoOwner, Some(at(0, 1, 1)), "odd"));
        let page = render(&sources, &found, false);
        assert_eq!(page.matches("error[P0114]: wrong").count(), 100);
        let end = "\n\nand 51 more\n\n150 errors, 1 warning; nothing was loaded\n";
        assert!(page.ends_with(end), "{page}");
        assert_eq!(rows(&sources, &found).len(), 151);
    }

    #[test]
    fn no_warning_takes_the_place_of_an_error() {
        let sources = sources("x\n");
        let warning = |words: &str| Diagnostic::new(Code::NoOwner, Some(at(0, 1, 1)), words);
        let mut found = vec![warning("early"); 150];
        found.push(Diagnostic::new(Code::Word, Some(at(0, 1, 1)), "the error"));
        found.push(warning("late"));
        let page = render(&sources, &found, false);
        assert_eq!(page.matches("warning[P0602]: early").count(), 99);
        assert!(page.contains("error[P0114]: the error") && !page.contains("late"), "{page}");
        assert!(page.ends_with("\n\nand 52 more\n\n1 error, 151 warnings; nothing was loaded\n"), "{page}");
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        let sources = sources("a = \"\u{1b}[31m\u{9b}\"\n");
        let found = Diagnostic::new(Code::Word, Some(at(4, 11, 1)), "\u{1b}[2J is wrong")
            .label("\u{1b}[2J")
            .help("\u{9b}2J");
        let page = render(&sources, &[found], false);
        assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    }

    #[test]
    fn of_a_line_too_long_to_draw_the_place_is_shown() {
        let sources = sources(&format!("a = \"{}\"", "x".repeat(100_000)));
        let found = Diagnostic::new(Code::Word, Some(at(4, 100_006, 1)), "wrong").label("this");
        let page = render(&sources, &[found], false);
        assert!(page.contains("a.toml:1:5") && page.contains("this"), "{page}");
        assert!(page.len() < 300, "{}", page.len());
    }

    #[test]
    fn a_line_is_sought_only_as_far_as_it_can_be_drawn() {
        for text in ["ü".repeat(1 << 20), "x".repeat(1 << 20), "x\n".repeat(1 << 19)] {
            for at in [0, 2, LINE_LIMIT, 1 << 19, text.len()] {
                let (start, near) = window(&text, at).expect("a window");
                assert!(near.len() <= 2 * LINE_LIMIT + 3, "{} bytes around {at}", near.len());
                assert!(start <= at && at <= start + near.len(), "{start} and {} around {at}", near.len());
            }
        }
        let lines = |length: usize| format!("a\n{}\r\nb", "x".repeat(length));
        for (length, drawn) in [(LINE_LIMIT, true), (LINE_LIMIT + 1, false)] {
            let sources = sources(&lines(length));
            for place in [2, 1_000, length + 1] {
                let place = u32::try_from(place).expect("small");
                let line = line_of(&sources.files[0], at(place, place + 1, 2));
                assert_eq!(line.map(|(line, _)| line.len()), drawn.then_some(length), "{length} {place}");
            }
        }
    }

    #[test]
    fn colour_is_only_added() {
        let sources = sources("x = 1\n");
        let found = Diagnostic::new(Code::NoOwner, Some(at(0, 1, 1)), "odd").label("this");
        let (plain, coloured) =
            (render(&sources, std::slice::from_ref(&found), false), render(&sources, &[found], true));
        assert!(coloured.contains('\u{1b}') && !plain.contains('\u{1b}'));
    }
}
