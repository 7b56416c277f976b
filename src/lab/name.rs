//! The name of a lab, and the names of what belongs to it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A lab's name: one to eight of `a-z`, `0-9` and `-`, so that every name made from it stays short and
/// needs no quoting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabName(String);

/// The text can't name a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lab's name is 1 to 8 of a-z, 0-9 and -, and begins with a letter or digit")]
pub struct NotALabName;

impl LabName {
    /// The namespace of a host, a switch or the gate: `pc-lab-vault`.
    #[must_use]
    pub fn namespace(&self, part: &str) -> String {
        format!("pc-{}-{part}", self.0)
    }

    /// Where the lab keeps the record of its processes, and the gate's socket.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(format!("/run/portcullis/lab-{}", self.0))
    }

    /// Socket of the gate that the demo starts.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("gate.sock")
    }
}

impl Default for LabName {
    fn default() -> Self {
        Self("lab".to_owned())
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for LabName {
    type Err = NotALabName;

    fn from_str(text: &str) -> Result<Self, NotALabName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = (1..=8).contains(&text.len())
            && text.bytes().all(|b| plain(b) || b == b'-')
            && text.bytes().next().is_some_and(plain);
        if good { Ok(Self(text.to_owned())) } else { Err(NotALabName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        for good in ["a", "lab", "lab-2", "12345678", "0-"] {
            assert_eq!(good.parse(), Ok(LabName(good.to_owned())));
        }
        for bad in ["", "123456789", "Lab", "-lab", "a_b", "a b", "../x", "a/b", "é"] {
            assert_eq!(bad.parse::<LabName>(), Err(NotALabName), "{bad:?}");
        }
    }

    #[test]
    fn names_made_from_it() {
        let name: LabName = "two".parse().unwrap();
        assert_eq!(name.namespace("vault"), "pc-two-vault");
        assert_eq!(name.socket(), PathBuf::from("/run/portcullis/lab-two/gate.sock"));
        assert_eq!(LabName::default().to_string(), "lab");
    }
}
