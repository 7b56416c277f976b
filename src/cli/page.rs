//! What pages are made of: aligned columns, numbers, durations, lists.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// A number with its thousands apart: `18 412`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 rule`, `2 rules`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(u64::try_from(n).unwrap_or(u64::MAX)))
}

/// A duration in its two largest units: `3 d 4 h`, `2 min 5 s`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Nanoseconds with a fitting unit: `1.8 µs`.
pub(crate) fn nanos(nanos: u64) -> String {
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{}.{} µs", nanos / 1_000, nanos % 1_000 / 100),
        _ => format!("{}.{} ms", nanos / 1_000_000, nanos % 1_000_000 / 100_000),
    }
}

/// Columns without lines around them; those in `right` are numbers.
pub(crate) fn columns(heads: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(heads);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if right.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            [0, 999, 1_000, 18_412, 1_204_331].map(number).join("|"),
            "0|999|1 000|18 412|1 204 331"
        );
        assert_eq!(number(u64::MAX), "18 446 744 073 709 551 615");
        assert_eq!(
            [count(0, "rule"), count(1, "rule"), count(2_000, "rule")],
            ["0 rules", "1 rule", "2 000 rules"]
        );
    }

    #[test]
    fn durations_have_two_units() {
        assert_eq!(
            [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 273_600].map(duration).join("|"),
            "0 s|59 s|1 min 0 s|59 min 59 s|1 h 0 min|23 h 59 min|1 d 0 h|3 d 4 h"
        );
        assert_eq!([0, 999, 1_800, 2_540_000].map(nanos).join("|"), "0 ns|999 ns|1.8 µs|2.5 ms");
    }

    #[test]
    fn columns_line_up_and_leave_no_blanks_at_the_end() {
        let rows = vec![vec!["outside".into(), "5".into()], vec!["in".into(), "1 000".into()]];
        assert_eq!(
            columns(&["side", "packets"], &[1], rows),
            "side     packets\noutside        5\nin         1 000\n"
        );
    }
}
