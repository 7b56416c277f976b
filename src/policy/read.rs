//! Files → [`Model`], or every error at once.

use std::path::Path;

use super::diagnostic::Diagnostic;
use super::model::Model;
use super::source::Sources;

/// A policy that holds together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its meaning.
    pub model: Model,
    /// Its text.
    pub sources: Sources,
    /// What deserves a look but stops nothing.
    pub warnings: Vec<Diagnostic>,
}

/// A policy that does not: nothing of it is used.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// What could be read.
    pub sources: Sources,
    /// Every error and warning, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a policy from its first file.
///
/// # Errors
/// All of them at once.
pub fn read(first: &Path) -> Result<Loaded, Rejected> {
    let _ = first;
    Err(Rejected { sources: Sources::default(), diagnostics: Vec::new() })
}
