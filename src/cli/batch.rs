//! `portcullis explain --batch`: JSON queries in, JSON answers out, a line each.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::Path;

use super::Done;
use super::fault::{Fault, tell};
use super::page::number;
use super::screen::Screen;
use crate::policy::explain::{Batch, LONGEST};
use crate::policy::read::Loaded;
use crate::policy::{Moment, Table};

/// Bytes of answers that are written at once.
const ROOM: usize = 64 << 10;

/// Answers a file, or standard input for `-`, to its end.
///
/// # Errors
/// It can't be read, or the output is lost.
pub(super) fn run(
    file: &Path,
    (policy, table): (&Loaded, &Table),
    now: Moment,
    screen: &mut Screen,
) -> Result<Done, Fault> {
    let name = file.display().to_string();
    let mut batch = Batch::new(policy, table, now);
    let input: Box<dyn Read> = if name == "-" {
        Box::new(stdin().lock())
    } else {
        Box::new(File::open(file).map_err(|error| Fault::Batch(name.clone(), error))?)
    };
    let mut input = BufReader::with_capacity(ROOM, input);
    let mut line = Vec::with_capacity(LONGEST + 1);
    let mut out = String::with_capacity(ROOM + LONGEST);
    loop {
        // Who waits for an answer before the next question gets it.
        if out.len() >= ROOM || input.buffer().is_empty() {
            screen.show(&out)?;
            out.clear();
        }
        if screen.is_gone() {
            break;
        }
        match next(&mut input, &mut line).map_err(|error| Fault::Batch(name.clone(), error))? {
            Next::Line => batch.answer(&line, &mut out)?,
            Next::TooLong => batch.too_long(&mut out)?,
            Next::End => break,
        }
    }
    screen.show(&out)?;
    let Some((wrong, first)) = batch.wrong() else { return Ok(Done::Well) };
    let (wrong, lines) = (number(wrong), number(batch.lines()));
    tell(&format!("error: {wrong} of {lines} lines got an error for an answer; the first is {first}\n"));
    tell("  remedy: correct these lines; all others are answered\n");
    Ok(Done::Invalid)
}

/// What comes next of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Line,
    /// A line that is longer than a query may be; it is passed over.
    TooLong,
    End,
}

/// Reads a line without its end, of which no more than a query may have is kept.
fn next(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Next> {
    line.clear();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
    if input.by_ref().take(most).read_until(b'\n', line)? == 0 {
        return Ok(Next::End);
    }
    if line.pop_if(|last| *last == b'\n').is_some() || line.len() <= LONGEST {
        return Ok(Next::Line);
    }
    input.skip_until(b'\n')?;
    Ok(Next::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_up_to_its_bound_and_passed_over_beyond_it() {
        let longest = vec![b'a'; LONGEST];
        let input = [&longest[..], &b"\n"[..], &longest[..], &b"b\n\nc"[..], &longest[..]].concat();
        let (mut input, mut line) = (&input[..], Vec::new());
        let mut read = || (next(&mut input, &mut line).unwrap(), line.len());
        assert_eq!(read(), (Next::Line, LONGEST));
        assert_eq!(read().0, Next::TooLong);
        assert_eq!(read(), (Next::Line, 0));
        assert_eq!(read().0, Next::TooLong);
        assert_eq!(read(), (Next::End, 0));
        let mut last = &b"no end"[..];
        assert_eq!(next(&mut last, &mut line).unwrap(), Next::Line);
        assert_eq!(line, b"no end");
    }
}
