//! Moments as the language spells them: with an offset, or a date.

use toml::de::DeValue;

use super::super::code::Code;
use super::super::verdict::Moment;
use super::document::Value;
use super::findings::Findings;

/// Why what TOML calls a time is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum NotAMoment {
    /// A local time.
    #[error("has no offset: a local time is another one in each place")]
    NoOffset,
    /// A time of day.
    #[error("has no date: a time of day comes back every day")]
    NoDate,
}

/// An instant, or a date, which ends at 24:00 UTC.
pub(super) fn instant(value: Value<'_>, findings: &mut Findings) -> Option<Moment> {
    let (key, help) = (value.key, |key: &str| {
        format!(
            "write {key} = 2027-05-31T18:00:00+02:00, or {key} = 2027-05-31 for its end in UTC, without quotes"
        )
    });
    let reason = match value.raw {
        DeValue::Datetime(written) => {
            return match moment(written) {
                Ok(moment) => Some(moment),
                Err(why) => {
                    let message = format!("`{key}` {why}");
                    findings.say_with(Code::Instant, value.origin, message, help(key));
                    None
                }
            };
        }
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => "neither",
    };
    let message = format!("`{key}` must be an instant or a date, and this is {reason}");
    findings.say_with(Code::Instant, value.origin, message, help(key));
    None
}

/// The moment that a time of TOML's means: an instant, or the end of a date in UTC. Beyond what a moment can
/// say, before 1970 is long past and after 2554 never comes.
///
/// # Errors
/// It has no offset, or no date.
pub(in super::super) fn moment(written: &toml::value::Datetime) -> Result<Moment, NotAMoment> {
    let end = match (&written.date, &written.time, &written.offset) {
        (Some(_), Some(_), Some(_)) => written.to_string().parse::<jiff::Timestamp>().ok(),
        (Some(date), None, None) => end_of(*date),
        (Some(_), Some(_), None) => return Err(NotAMoment::NoOffset),
        (None, ..) | (Some(_), None, Some(_)) => return Err(NotAMoment::NoDate),
    };
    Ok(match end.map(jiff::Timestamp::as_nanosecond) {
        Some(nanos) if nanos < 0 => Moment(0),
        Some(nanos) => u64::try_from(nanos).map_or(Moment::NEVER, Moment),
        None => Moment::NEVER,
    })
}

/// 24:00 UTC of a date as text: `2027-05-31`.
pub(in super::super) fn end_of_day(text: &str) -> Option<Moment> {
    u64::try_from(next_midnight(text)?.as_nanosecond()).ok().map(Moment)
}

/// 24:00 UTC of a date.
fn end_of(date: toml::value::Date) -> Option<jiff::Timestamp> {
    next_midnight(&date.to_string())
}

fn next_midnight(date: &str) -> Option<jiff::Timestamp> {
    let next = date.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
    format!("{next}T00:00:00Z").parse().ok()
}
