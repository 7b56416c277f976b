//! A lab of a test's own, and what is looked up in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use portcullis::lab::probe::{self, Ending};
use portcullis::lab::topology::Host;
use portcullis::lab::{Lab, LabName, namespace};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const BRIEF: Duration = Duration::from_millis(500);

/// A lab of this test alone, removed with the value whatever happens.
pub(crate) struct Own(pub(crate) Lab);

impl Own {
    pub(crate) fn new(letter: char) -> Self {
        Self::with(letter, PROGRAM)
    }

    pub(crate) fn with(letter: char, program: &str) -> Self {
        let name: LabName = format!("{letter}{:x}", std::process::id()).parse().unwrap();
        Self(Lab { name, program: PathBuf::from(program), queues: 1 })
    }

    pub(crate) fn up(letter: char) -> Self {
        let own = Self::new(letter);
        own.0.up().unwrap();
        own
    }

    pub(crate) fn namespaces(&self) -> Vec<String> {
        let prefix = self.0.name.namespace("");
        // The folder comes with the first namespace.
        let names = fs::read_dir("/run/netns").into_iter().flatten();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
        names.sort();
        names
    }

    /// No namespace, no process, no file.
    pub(crate) fn nothing_left(&self) {
        assert_eq!(self.namespaces(), [""; 0]);
        assert!(!self.0.name.folder().exists());
        assert_eq!(servers(&self.0), [0; 0]);
        let status = self.0.status().unwrap();
        assert_eq!((status.namespaces, status.processes), (vec![], vec![]));
    }

    pub(crate) fn cli(&self, words: &[&str]) -> Output {
        let name = self.0.name.to_string();
        Command::new(PROGRAM).args(["lab", "--name", &name]).args(words).output().unwrap()
    }

    /// TCP from one host to another, over both families.
    pub(crate) fn tcp(&self, from: &str, to: &str, port: u16, patience: Duration) -> [Ending; 2] {
        let to = Host::named(to).unwrap();
        let from = self.0.name.namespace(from);
        [false, true].map(|v6| {
            let to = (to.address(v6), port).into();
            namespace::run_in(&from, || probe::tcp(None, to, patience)).unwrap().unwrap().ending
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.0.down();
    }
}

/// Pids of the processes whose standard error is a log of this lab.
pub(crate) fn servers(lab: &Lab) -> Vec<u32> {
    let folder = lab.name.folder();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        let log = fs::read_link(path.join("fd/2")).ok()?;
        log.starts_with(&folder).then(|| path.file_name()?.to_str()?.parse().ok())?
    });
    processes.collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

pub(crate) fn answered(by: &str) -> Ending {
    Ending::Answered { by: by.to_owned() }
}
