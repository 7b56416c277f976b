//! Policy files as text, and places in them.
//!
//! What it is: bounded reading of the first file and its parts, and the arithmetic of lines and
//! columns. What it is not: it does not know TOML. Invariants: only regular files of at most
//! [`FILE_LIMIT`] bytes of UTF-8 are read; a folder is never swept up. Cost: one read a file.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes that one file may have.
pub const FILE_LIMIT: usize = 4 << 20;
/// Bytes that all files of a policy may have together.
pub const POLICY_LIMIT: usize = 32 << 20;
/// Entries that `parts` may have.
pub const PARTS_LIMIT: usize = 256;

/// One file of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it was read from.
    pub path: PathBuf,
    /// What people are shown: relative to the folder of the first file.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// All files of a policy, the first file first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// In the order of `parts`.
    pub files: Vec<SourceFile>,
}

/// A place in a policy's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
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

    /// Column of its first character, from 1.
    #[must_use]
    pub fn column(&self, origin: Origin) -> usize {
        Columns::of(self).column(origin)
    }
}

/// Columns of places in the order of the text: each counts on from the one before it, so that all places
/// in one long line cost one walk over it.
#[derive(Clone, Debug)]
pub struct Columns<'s> {
    sources: &'s Sources,
    /// The last place: file, byte, column.
    last: (u16, usize, usize),
}

impl<'s> Columns<'s> {
    /// Begins at the start of the first file.
    #[must_use]
    pub fn of(sources: &'s Sources) -> Self {
        Self { sources, last: (0, 0, 1) }
    }

    /// Column of the place's first character, from 1. A place before the last one is counted from the
    /// start of its line.
    pub fn column(&mut self, origin: Origin) -> usize {
        let (new, before) = self.stretch(origin);
        let column = before.chars().count() + if new { 1 } else { self.last.2 };
        self.last = (origin.file, usize::try_from(origin.start).unwrap_or(usize::MAX), column);
        column
    }

    /// The text to count, and whether it begins a line.
    fn stretch(&self, origin: Origin) -> (bool, &'s str) {
        let Some(file) = self.sources.files.get(usize::from(origin.file)) else { return (true, "") };
        let at = usize::try_from(origin.start).unwrap_or(usize::MAX);
        let (last_file, last, _) = self.last;
        let known = if last_file == origin.file && last <= at { last } else { 0 };
        let since = file.text.get(known..at).unwrap_or_default();
        match since.rfind('\n') {
            Some(end) => (true, since.get(end + 1..).unwrap_or_default()),
            None => (known == 0, since),
        }
    }
}

/// Where the lines of one text start.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    starts: Vec<u32>,
}

impl Lines {
    /// Finds them; text beyond 4 GiB has none.
    pub(super) fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = breaks.filter_map(|(at, _)| u32::try_from(at + 1).ok());
        Self { starts: std::iter::once(0).chain(starts).collect() }
    }

    /// The place of a span of bytes.
    pub(super) fn origin(&self, file: u16, span: &std::ops::Range<usize>) -> Origin {
        let start = u32::try_from(span.start).unwrap_or(u32::MAX);
        let end = u32::try_from(span.end).unwrap_or(u32::MAX);
        let line = self.starts.partition_point(|first| *first <= start);
        Origin { file, start, end, line: u32::try_from(line).unwrap_or(u32::MAX) }
    }
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// Nothing there.
    #[error("there is no such file")]
    Missing,
    /// A folder.
    #[error("it is a folder")]
    Folder,
    /// A device, a pipe or a socket.
    #[error("it is {0}, not a regular file")]
    NotRegular(&'static str),
    /// More than [`FILE_LIMIT`].
    #[error("it is larger than 4 MiB")]
    TooLarge,
    /// Not UTF-8.
    #[error("it is not UTF-8 text (line {line})")]
    NotText {
        /// Line of the first byte that is not, from 1.
        line: usize,
    },
    /// The kernel refuses.
    #[error("{0}")]
    Refused(#[source] std::io::Error),
}

/// Reads one file, without ever waiting for a pipe or taking in more than [`FILE_LIMIT`].
///
/// # Errors
/// Why it was not read.
pub fn read_file(path: &Path) -> Result<String, NotRead> {
    let refused = |error: std::io::Error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        if missing { NotRead::Missing } else { NotRead::Refused(error) }
    };
    // Before the file is opened: opening a device can already do something.
    regular(&std::fs::metadata(path).map_err(refused)?)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(refused)?;
    regular(&file.metadata().map_err(refused)?)?;
    text_of(file)
}

fn regular(metadata: &std::fs::Metadata) -> Result<(), NotRead> {
    if metadata.is_dir() {
        return Err(NotRead::Folder);
    }
    if !metadata.is_file() {
        let kind = metadata.file_type();
        return Err(NotRead::NotRegular(if kind.is_fifo() {
            "a pipe"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        }));
    }
    if metadata.len() > FILE_LIMIT as u64 {
        return Err(NotRead::TooLarge);
    }
    Ok(())
}

fn text_of(file: File) -> Result<String, NotRead> {
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes).map_err(NotRead::Refused)?;
    if bytes.len() > FILE_LIMIT {
        return Err(NotRead::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        NotRead::NotText { line: good.split(|byte| *byte == b'\n').count() }
    })
}

/// The name of a part with its `.` and `inner/..` taken out; `None`: absolute, empty or with a NUL.
pub(super) fn part_name(written: &str) -> Option<String> {
    use std::path::Component;
    if written.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(written).components() {
        match component {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            Component::ParentDir => parts.push(".."),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one() {
        let text = "a\nbü = 1\n";
        let lines = Lines::of(text);
        let origin = lines.origin(0, &(6..7));
        assert_eq!(origin, Origin { file: 0, start: 6, end: 7, line: 2 });
        let file = SourceFile { path: "x".into(), name: "x".into(), text: text.into() };
        let sources = Sources { files: vec![file] };
        assert_eq!(sources.column(origin), 4);
        assert_eq!(sources.place(origin), "x:2");
        assert_eq!(lines.origin(0, &(0..1)).line, 1);
        assert_eq!(lines.origin(0, &(2..3)).line, 2);
        assert_eq!(lines.origin(0, &(text.len()..text.len())).line, 3);
    }

    #[test]
    fn columns_in_one_line_are_counted_once() {
        let text = format!("a\n{}\nb ü", "ü ".repeat(4_000));
        let file = |text: &str| SourceFile { path: "x".into(), name: "x".into(), text: text.into() };
        let sources = Sources { files: vec![file(&text), file(&text)] };
        let starts = (0..text.len()).filter(|at| text.is_char_boundary(*at)).step_by(7);
        let places = [0, 1].map(|file| {
            let start = |at: usize| u32::try_from(at).expect("small");
            starts.clone().map(move |at| Origin { file, start: start(at), ..Origin::default() })
        });
        let mut columns = Columns::of(&sources);
        let mut counted = 0;
        for origin in places.into_iter().flatten() {
            counted += columns.stretch(origin).1.len();
            let before = &text[..usize::try_from(origin.start).expect("small")];
            let slow = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
            assert_eq!(columns.column(origin), slow, "{origin:?}");
        }
        assert!(counted <= 2 * text.len(), "{counted} bytes of {}", text.len());
        let back = Origin { start: 4, ..Origin::default() };
        assert_eq!(columns.column(back), 2, "going back is only slower");
    }

    #[test]
    fn part_names_are_normal() {
        assert_eq!(part_name("./rules//a.toml").as_deref(), Some("rules/a.toml"));
        assert_eq!(part_name("rules/../a.toml").as_deref(), Some("a.toml"));
        assert_eq!(part_name("../../a.toml").as_deref(), Some("../../a.toml"));
        assert_eq!(part_name("/etc/a.toml"), None);
        assert_eq!(part_name(""), None);
        assert_eq!(part_name("."), None);
        assert_eq!(part_name("a\0.toml"), None);
    }

    #[test]
    fn only_regular_files_of_text_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(read_file(&path("none")), Err(NotRead::Missing)));
        assert!(matches!(read_file(folder.path()), Err(NotRead::Folder)));
        assert!(matches!(read_file(Path::new("/dev/zero")), Err(NotRead::NotRegular("a device"))));
        std::fs::write(path("bytes"), b"a = 1\n\xff\xfe").expect("write");
        assert!(matches!(read_file(&path("bytes")), Err(NotRead::NotText { line: 2 })));
        std::fs::write(path("full"), vec![b'#'; FILE_LIMIT]).expect("write");
        assert_eq!(read_file(&path("full")).map(|text| text.len()).ok(), Some(FILE_LIMIT));
        std::fs::write(path("over"), vec![b'#'; FILE_LIMIT + 1]).expect("write");
        assert!(matches!(read_file(&path("over")), Err(NotRead::TooLarge)));
        let fifo = path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        assert!(matches!(read_file(&fifo), Err(NotRead::NotRegular("a pipe"))), "and it does not wait");
    }
}
