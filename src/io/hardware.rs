//! What is known of network drivers, from outside of them: the table of docs/HARDWARE.md.
//!
//! What it is: text for people, with its sources; `doctor` shows a port's row of it. Where a driver answers for
//! itself that counts, and nothing here. What it does with the room in a frame none tells: that is taken from here.

use std::fmt::Write;

use serde::Deserialize;

/// The table.
const TEXT: &str = include_str!("hardware.toml");

/// One driver.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// As the kernel names it.
    pub name: String,
    /// How it was tested here; `None`: it is documented only.
    pub tested: Option<String>,
    native: Since,
    zero_copy: Since,
    frame: Frame,
    symmetric: Symmetric,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Since {
    #[serde(rename = "since")]
    first: Option<String>,
    no: Option<String>,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame {
    rule: String,
    /// Receive buffers without a copy come in steps of so many bytes; `None`: it is not known.
    rounds: Option<u32>,
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Symmetric {
    how: String,
    source: String,
}

impl Since {
    fn words(&self) -> String {
        match (&self.first, &self.no) {
            (Some(first), _) => first.clone(),
            (None, Some(no)) => format!("no: {no}"),
            (None, None) => "not found".to_owned(),
        }
    }
}

impl Driver {
    /// What is known of it, in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let tested = self
            .tested
            .as_ref()
            .map_or_else(|| "not tested here".to_owned(), |how| format!("tested {how}"));
        format!(
            "native XDP since Linux {}, zero-copy {}; {tested}",
            self.native.words(),
            match &self.zero_copy.first {
                Some(first) => format!("since {first}"),
                None => self.zero_copy.words(),
            }
        )
    }
}

/// All drivers of the table.
///
/// # Errors
/// The table cannot be read; a test sees to it that it can.
pub fn drivers() -> Result<Vec<Driver>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        driver: Vec<Driver>,
    }
    toml::from_str::<Table>(TEXT).map(|table| table.driver)
}

/// The row of a driver, if it has one.
#[must_use]
pub fn driver(name: &str) -> Option<Driver> {
    drivers().ok()?.into_iter().find(|driver| driver.name == name)
}

/// The steps, in bytes, in which a driver's receive buffers come when it receives without a copy; `None`: not known.
#[must_use]
pub fn rounds(name: &str) -> Option<u32> {
    driver(name)?.frame.rounds.filter(|step| *step > 0)
}

/// The table as docs/HARDWARE.md has it.
#[must_use]
pub fn page(drivers: &[Driver]) -> String {
    let mut page = String::from(
        "| driver | native XDP since | zero-copy since | frames | symmetric hashing |\n|---|---|---|---|---|\n",
    );
    for one in drivers {
        let mark = if one.tested.is_some() { "**" } else { "" };
        let cell = |words: &str, source: &str| {
            let source = if source.contains(' ') || source == "not found" {
                source.to_owned()
            } else {
                format!("`{source}`")
            };
            if source == words { source } else { format!("{words} ({source})") }
        };
        let _ = writeln!(
            page,
            "| {mark}{}{mark} | {} | {} | {} | {} |",
            one.name,
            cell(&one.native.words(), &one.native.source),
            cell(&one.zero_copy.words(), &one.zero_copy.source),
            cell(&one.frame.rule, &one.frame.source),
            cell(&one.symmetric.how, &one.symmetric.source),
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_hardware_is_this_table() {
        let drivers = drivers().unwrap();
        assert_eq!(drivers.len(), 8);
        let written = include_str!("../../docs/HARDWARE.md");
        let table = page(&drivers);
        assert!(written.contains(&table), "docs/HARDWARE.md must have this table:\n{table}");
        for tested in drivers.iter().filter_map(|one| one.tested.as_ref().map(|how| (&one.name, how))) {
            let (name, how) = tested;
            assert!(written.contains(&format!("- **{name}**: {how}.")), "{name}: {how}");
        }
    }

    #[test]
    fn a_driver_is_summed_up_in_a_line() {
        assert_eq!(
            driver("ixgbe").unwrap().summary(),
            "native XDP since Linux 4.12, zero-copy since 4.20; not tested here"
        );
        assert!(
            driver("veth")
                .unwrap()
                .summary()
                .contains("zero-copy no: the driver has none; tested in every")
        );
        assert_eq!(driver("nosuch"), None);
    }
}
