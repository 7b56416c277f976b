//! The findings of one reading, in the order of the text.

use std::fmt::Write as _;
use std::ops::Range;

use super::super::code::{Code, Scope};
use super::super::diagnostic::{Diagnostic, Severity};
use super::super::source::{Lines, Origin, SourceFile};

/// Characters compared in search of a likeness, over a whole reading: a text with 100 000 wrong names
/// must not cost a comparison of each with every right one.
const LIKENESS_BUDGET: usize = 4 << 20;

/// Collects what is wrong while reading goes on.
#[derive(Debug)]
pub(super) struct Findings {
    lines: Vec<Lines>,
    found: Vec<Diagnostic>,
    whole: bool,
    budget: usize,
}

impl Findings {
    pub(super) fn new() -> Self {
        Self { lines: Vec::new(), found: Vec::new(), whole: true, budget: LIKENESS_BUDGET }
    }

    /// Learns where the lines of each file start.
    pub(super) fn learn_lines<'f>(&mut self, files: impl IntoIterator<Item = &'f SourceFile>) {
        self.lines = files.into_iter().map(|file| Lines::of(&file.text)).collect();
    }

    /// Some of the text could not be read: what would need all of it is not reported.
    pub(super) fn text_is_partial(&mut self) {
        self.whole = false;
    }

    pub(super) fn origin(&self, file: u16, span: &Range<usize>) -> Origin {
        match self.lines.get(usize::from(file)) {
            Some(lines) => lines.origin(file, span),
            None => Origin { file, ..Origin::default() },
        }
    }

    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Reports `message` at `origin`, with what to do.
    pub(super) fn say_with(
        &mut self,
        code: Code,
        origin: Origin,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic::new(code, Some(origin), message).help(help));
    }

    /// How many there are so far.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether anything found so far stops the load.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|found| found.severity == Severity::Error)
    }

    /// What was found, sorted by place.
    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let whole = self.whole;
        let mut found = self.found;
        found.retain(|found| whole || found.code.scope() == Scope::Place);
        found.sort_by_key(|found| {
            found.origin.map(|origin| (origin.file, origin.start, found.severity, found.code))
        });
        found
    }

    /// The candidate most like `word`, if one is like it at all.
    pub(super) fn nearest<'c>(
        &mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) -> Option<&'c str> {
        let length = word.chars().count();
        let limit = (length / 3).max(1);
        let mut best: Option<(usize, &str)> = None;
        if length > 64 {
            return None;
        }
        for candidate in candidates {
            let other = candidate.chars().count();
            self.budget = self.budget.checked_sub(other.max(1))?;
            if other.abs_diff(length) > limit {
                continue;
            }
            let distance = strsim::damerau_levenshtein(word, candidate);
            if distance <= limit && best.is_none_or(|(nearest, _)| distance < nearest) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }
}

/// `a, b, c`, or the first sixteen of them and how many more.
pub(super) fn listing<'c>(names: impl IntoIterator<Item = &'c str>) -> String {
    let mut names = names.into_iter();
    let mut text = names.by_ref().take(16).collect::<Vec<_>>().join(", ");
    if let more @ 1.. = names.count() {
        let _ = write!(text, " and {more} more");
    }
    text
}
