//! Standard output.
//!
//! Invariant: a reader who leaves (`portcullis events --watch | head`) ends the verb, not in an error; a
//! full disk behind a redirection is one.

use std::io::{self, IsTerminal, StdoutLock, Write};

/// Where pages go.
#[derive(Debug)]
pub(crate) struct Screen<W = StdoutLock<'static>> {
    out: W,
    gone: bool,
    terminal: bool,
}

impl Screen {
    /// The process's own output.
    pub(crate) fn stdout() -> Self {
        let out = io::stdout().lock();
        let terminal = out.is_terminal();
        Self { out, gone: false, terminal }
    }
}

impl<W: Write> Screen<W> {
    /// Writes a page through to the reader.
    ///
    /// # Errors
    /// Anything but a reader who left.
    pub(crate) fn show(&mut self, page: &str) -> io::Result<()> {
        if self.gone {
            return Ok(());
        }
        match self.out.write_all(page.as_bytes()).and_then(|()| self.out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(())
            }
            written => written,
        }
    }

    /// Shows a page in place of the one before, where that can be done.
    ///
    /// # Errors
    /// As [`Screen::show`].
    pub(crate) fn replace(&mut self, page: &str) -> io::Result<()> {
        if self.terminal {
            self.show("\x1b[H\x1b[2J")?;
        }
        self.show(page)
    }

    /// Columns a page may have: the terminal's, 100 anywhere else.
    pub(crate) fn width(&self) -> usize {
        let seen = if self.terminal { terminal_size::terminal_size() } else { None };
        seen.map_or(100, |(width, _)| usize::from(width.0).clamp(40, 400))
    }

    /// Nobody reads any more.
    pub(crate) const fn is_gone(&self) -> bool {
        self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ends(io::ErrorKind);

    impl Write for Ends {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_error_and_a_full_disk_is() {
        let mut pipe = Screen { out: Ends(io::ErrorKind::BrokenPipe), gone: false, terminal: false };
        assert!(pipe.show("page").is_ok());
        assert!(pipe.is_gone());
        let mut disk = Screen { out: Ends(io::ErrorKind::StorageFull), gone: false, terminal: false };
        assert_eq!(disk.show("page").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(!disk.is_gone());
    }

    #[test]
    fn only_a_terminal_is_cleared() {
        let mut file = Screen { out: Vec::new(), gone: false, terminal: false };
        file.replace("one\n").unwrap();
        file.replace("two\n").unwrap();
        assert_eq!(file.out, b"one\ntwo\n");
        let mut terminal = Screen { out: Vec::new(), gone: false, terminal: true };
        terminal.replace("one\n").unwrap();
        assert_eq!(terminal.out, b"\x1b[H\x1b[2Jone\n");
    }
}
