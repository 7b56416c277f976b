//! Processors of this machine: which share a core, and which memory is near them.
//!
//! What it is: a reading of `/sys`, once, at start. What it is not: it pins nothing and chooses nothing. The root
//! is an argument, so that any machine can be read from a folder. Invariant: what the kernel does not say is
//! one node, and each processor a core of its own.

use std::fs;
use std::path::{Path, PathBuf};

/// One logical processor that this process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Its number.
    pub number: usize,
    /// The smallest number among those that share its core: its own, unless it is a sibling.
    pub core: usize,
    /// Its node of memory.
    pub node: usize,
}

/// The processors with these numbers, by number, as the folder that stands for `/` tells.
#[must_use]
pub fn processors(root: &Path, allowed: &[usize]) -> Vec<Processor> {
    let nodes = nodes(root);
    let mut all: Vec<Processor> = allowed
        .iter()
        .map(|&number| {
            let siblings =
                root.join(format!("sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list"));
            let core = list(&siblings).into_iter().min().unwrap_or(number);
            let node =
                nodes.iter().find(|(_, members)| members.contains(&number)).map_or(0, |(node, _)| *node);
            Processor { number, core, node }
        })
        .collect();
    all.sort_unstable_by_key(|one| one.number);
    all
}

/// The node of memory near a device on the PCI bus, by its address there; `None`: none is nearer than others.
#[must_use]
pub fn node_of(root: &Path, address: &str) -> Option<usize> {
    let text = fs::read_to_string(device(root, address)?.join("numa_node")).ok()?;
    // -1 where the firmware does not say.
    text.trim().parse().ok()
}

/// What the kernel tells of the device with an address on the PCI bus; `None` for what is no address.
pub(super) fn device(root: &Path, address: &str) -> Option<PathBuf> {
    // It is no way out of the folder.
    let is_name = !address.is_empty() && !address.contains('/');
    is_name.then(|| root.join("sys/bus/pci/devices").join(address))
}

/// Nodes of memory with their processors.
fn nodes(root: &Path) -> Vec<(usize, Vec<usize>)> {
    let Ok(folder) = fs::read_dir(root.join("sys/devices/system/node")) else { return Vec::new() };
    let mut all: Vec<(usize, Vec<usize>)> = folder
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let node = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
            Some((node, list(&entry.path().join("cpulist"))))
        })
        .collect();
    all.sort_unstable();
    all
}

/// A list as the kernel writes them: `0-3,8`. Nothing where there is none.
fn list(file: &Path) -> Vec<usize> {
    fs::read_to_string(file).map_or_else(|_| Vec::new(), |text| numbers(&text))
}

fn numbers(text: &str) -> Vec<usize> {
    /// No machine has more; a range beyond is not written out.
    const MOST: usize = 1 << 16;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (last < MOST).then_some(first..=last)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(numbers("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(numbers("5"), [5]);
        assert_eq!(numbers("\n"), [0; 0]);
        assert_eq!(numbers("0-99999999999,x,-,3"), [3]);
    }

    #[test]
    fn what_is_not_told_is_one_node_and_a_core_each() {
        let root = tempfile::tempdir().unwrap();
        let one = |number| Processor { number, core: number, node: 0 };
        assert_eq!(processors(root.path(), &[1, 0]), [one(0), one(1)]);
        assert_eq!(node_of(root.path(), "0000:01:00.0"), None);
    }

    #[test]
    fn cores_nodes_and_devices_are_read() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        // Two nodes of one core with two threads each.
        for (number, siblings) in [(0, "0,2"), (1, "1,3"), (2, "0,2"), (3, "1,3")] {
            let file = format!("sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list");
            write(&file, siblings);
        }
        write("sys/devices/system/node/node0/cpulist", "0,2\n");
        write("sys/devices/system/node/node1/cpulist", "1,3\n");
        write("sys/devices/system/node/has_cpu", "0-1\n");
        write("sys/bus/pci/devices/0000:81:00.0/numa_node", "1\n");
        write("sys/bus/pci/devices/0000:01:00.0/numa_node", "-1\n");
        let one = |number, core, node| Processor { number, core, node };
        assert_eq!(processors(root.path(), &[0, 2, 3]), [one(0, 0, 0), one(2, 0, 0), one(3, 1, 1)]);
        assert_eq!(node_of(root.path(), "0000:81:00.0"), Some(1));
        assert_eq!(node_of(root.path(), "0000:01:00.0"), None);
        assert_eq!(node_of(root.path(), ""), None);
        assert_eq!(node_of(root.path(), "../pci/devices/0000:81:00.0"), None);
    }
}
