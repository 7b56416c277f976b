//! Times as the language spells them: `500ms`, `30s`, `2h4m`.

use std::ops::RangeInclusive;

use super::super::code::Code;
use super::document::Value;
use super::findings::Findings;

/// Units by size, in nanoseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// A time within a range, in nanoseconds.
pub(super) fn duration(
    value: Value<'_>,
    range: RangeInclusive<u64>,
    findings: &mut Findings,
) -> Option<u64> {
    let text = value.text(findings)?;
    let written = nanos(text.text);
    let found = written.filter(|nanos| range.contains(nanos));
    if found.is_none() {
        let (least, most) = (*range.start(), *range.end());
        let words = format!("`{}` must be a time from {} to {}", value.key, spell(least), spell(most));
        let help = match written {
            Some(nanos) => {
                let nearest = spell(nanos.clamp(least, most));
                format!("the nearest it takes: {} = \"{nearest}\"", value.key)
            }
            None => "write numbers with d, h, m, s or ms, the largest first: \"2h4m\"".to_owned(),
        };
        findings.say_with(Code::Value, text.origin, words, help);
    }
    found
}

/// Numbers with units, each once at most, the largest first.
fn nanos(text: &str) -> Option<u64> {
    let mut units = UNITS.iter();
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() || total == 0 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(letters)?;
        let (_, size) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*size)?)?;
        rest = behind;
    }
    Some(total)
}

fn spell(nanos: u64) -> String {
    let mut rest = nanos;
    let parts = UNITS.iter().filter_map(|(unit, size)| {
        let number = rest / size;
        rest %= size;
        (number > 0).then(|| format!("{number}{unit}"))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_time_is_numbers_with_units_the_largest_first() {
        let times = [
            ("500ms", SECOND / 2),
            ("30s", 30 * SECOND),
            ("90s", 90 * SECOND),
            ("2h4m", 7_440 * SECOND),
            ("1d2h3m4s5ms", 93_784 * SECOND + 5_000_000),
        ];
        for (text, meant) in times {
            assert_eq!(nanos(text), Some(meant), "{text}");
            assert_eq!(nanos(&spell(meant)), Some(meant), "{text}");
        }
        assert_eq!(spell(90 * SECOND), "1m30s");
    }

    #[test]
    fn anything_else_is_none() {
        let wrong = [
            "",
            "0s",
            "5",
            "s",
            "5 s",
            "4m2h",
            "1m1m",
            "1.5s",
            "-1s",
            "+1s",
            "1s ",
            "1us",
            "1S",
            "½s",
            "99999999999999999999s",
            "999999999999d",
            "1s2",
        ];
        for text in wrong {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
