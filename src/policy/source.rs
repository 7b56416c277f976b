//! Policy files as text, and places in them.

use std::path::PathBuf;

/// One file of a policy.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// What people are shown: relative to the folder of the first file.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// All files of a policy, the first file first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// In the order of `parts`.
    pub files: Vec<SourceFile>,
}

/// A place in a policy's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// Index into [`Sources::files`].
    pub file: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// Line, from 1.
    pub line: u32,
}

impl Sources {
    /// `rules/payments.toml:1`.
    #[must_use]
    pub fn place(&self, origin: Origin) -> String {
        match self.files.get(usize::from(origin.file)) {
            Some(file) => format!("{}:{}", file.name, origin.line),
            None => format!("?:{}", origin.line),
        }
    }
}
