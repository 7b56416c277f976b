//! The interrupts of a device's queues, and the processors they come to.
//!
//! What it is: which interrupt belongs to which queue, by the device's address on the PCI bus and the names that
//! drivers give, and where it is delivered. What it is not: it chooses no processor. The folder that stands for `/`
//! is an argument. Invariant: an interrupt that is not plainly one of a queue is left alone.

use std::fs;
use std::io;
use std::path::Path;

use super::topology::device;

/// The interrupts of the first `queues` queues of the device with that address, by queue; `None` where it is
/// not found.
#[must_use]
pub fn of_queues(root: &Path, address: &str, queues: usize) -> Vec<Option<u32>> {
    let mut found = vec![None; queues];
    for (interrupt, name) in named(root, address) {
        if let Some(place) = queue(&name).and_then(|queue| found.get_mut(queue)) {
            // Of two for one queue, reception and transmission apart, the first: reception stands before.
            place.get_or_insert(interrupt);
        }
    }
    found
}

/// The message-signalled interrupts that a device has now: a driver that sets itself up anew may get others, and its
/// numbers go to whoever asks next.
#[must_use]
pub fn of_device(root: &Path, address: &str) -> Vec<u32> {
    let entries = device(root, address).map(|folder| fs::read_dir(folder.join("msi_irqs")));
    let Some(Ok(entries)) = entries else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Has interrupts come to the processors they came to before, those that are still the device's. What its driver
/// keeps stays where it is.
pub fn give_back<'a>(root: &Path, address: &str, before: impl IntoIterator<Item = (&'a u32, &'a String)>) {
    let own = of_device(root, address);
    for (interrupt, list) in before {
        if own.contains(interrupt) {
            let _ = set_processors(root, *interrupt, list);
        }
    }
}

/// The processors an interrupt comes to, as the kernel writes lists of them.
///
/// # Errors
/// There is no such interrupt.
pub fn processors(root: &Path, interrupt: u32) -> io::Result<String> {
    fs::read_to_string(file(root, interrupt)).map(|text| text.trim().to_owned())
}

/// Has an interrupt come to these processors.
///
/// # Errors
/// The kernel refuses, for one because the driver keeps it where it is.
pub fn set_processors(root: &Path, interrupt: u32, list: &str) -> io::Result<()> {
    fs::write(file(root, interrupt), list)
}

fn file(root: &Path, interrupt: u32) -> std::path::PathBuf {
    root.join(format!("proc/irq/{interrupt}/smp_affinity_list"))
}

/// A device's message-signalled interrupts with their names, by number.
fn named(root: &Path, address: &str) -> Vec<(u32, String)> {
    let own = of_device(root, address);
    let table = fs::read_to_string(root.join("proc/interrupts")).unwrap_or_default();
    let mut all: Vec<(u32, String)> = table
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.split_once(':')?;
            let number = number.trim().parse().ok().filter(|number| own.contains(number))?;
            Some((number, rest.split_whitespace().next_back()?.to_owned()))
        })
        .collect();
    all.sort_unstable();
    all
}

/// The queue that an interrupt's name tells: `eth0-TxRx-3` (igb, ixgbe, i40e, ice), `eth0-rx-3`, `virtio0-input.3`,
/// `mlx5_comp3@pci:0000:01:00.0`, `eth0-Tx-Rx-3` (ena). The bare name of an interface, and what is for the
/// device itself, tells none.
fn queue(name: &str) -> Option<usize> {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let digits = name.len() - name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (kind, number) = name.split_at_checked(digits)?;
    let is_queue =
        ["-TxRx-", "-Tx-Rx-", "-rx-", "-input.", "mlx5_comp"].iter().any(|end| kind.ends_with(end));
    if is_queue { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_drivers_tell_their_queue() {
        for (name, expected) in [
            ("enp1s0f0-TxRx-3", Some(3)),
            ("i40e-ens1f0-TxRx-12", Some(12)),
            ("ice-ens1f0-TxRx-0", Some(0)),
            ("eth0-Tx-Rx-7", Some(7)),
            ("virtio0-input.1", Some(1)),
            ("virtio0-output.1", None),
            ("virtio0-config", None),
            ("mlx5_comp5@pci:0000:81:00.0", Some(5)),
            ("mlx5_async0@pci:0000:81:00.0", None),
            ("eth0", None),
            ("eth0-rx-", None),
            ("", None),
        ] {
            assert_eq!(queue(name), expected, "{name}");
        }
    }

    #[test]
    fn only_interrupts_of_the_device_are_looked_at_set_and_given_back() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for interrupt in [24, 25, 26, 27] {
            write(&format!("sys/bus/pci/devices/0000:01:00.0/msi_irqs/{interrupt}"), "msix\n");
            write(&format!("proc/irq/{interrupt}/smp_affinity_list"), "0-7\n");
        }
        write(
            "proc/interrupts",
            "           CPU0       CPU1\n  0:         22          0   IO-APIC   2-edge      timer\n \
             24:          0          1  PCI-MSIX-0000:01:00.0   0-edge      eth0\n \
             25:          5          0  PCI-MSIX-0000:01:00.0   1-edge      eth0-TxRx-0\n \
             26:          0          9  PCI-MSIX-0000:01:00.0   2-edge      eth0-TxRx-1\n \
             31:          0          9  PCI-MSIX-0000:02:00.0   2-edge      eth1-TxRx-1\n\
             NMI:          0          0   Non-maskable interrupts\n",
        );
        let of = |address: &str, queues| of_queues(root.path(), address, queues);
        assert_eq!(of("0000:01:00.0", 2), [Some(25), Some(26)]);
        assert_eq!(of("0000:01:00.0", 3), [Some(25), Some(26), None]);
        assert_eq!(of("0000:02:00.0", 2), [None, None]);
        assert_eq!(of("", 1), [None]);
        set_processors(root.path(), 26, "3").unwrap();
        assert_eq!(processors(root.path(), 26).unwrap(), "3");
        assert_eq!(processors(root.path(), 25).unwrap(), "0-7");
        assert!(processors(root.path(), 99).is_err());
        // 27 is the device's, 24 is by now another one's.
        fs::remove_file(root.path().join("sys/bus/pci/devices/0000:01:00.0/msi_irqs/24")).unwrap();
        write("proc/irq/24/smp_affinity_list", "5\n");
        let before = [24, 26, 27].map(|interrupt| (interrupt, "0-3".to_owned()));
        give_back(root.path(), "0000:01:00.0", before.iter().map(|(interrupt, list)| (interrupt, list)));
        let now = [24, 26, 27].map(|interrupt| processors(root.path(), interrupt).unwrap());
        assert_eq!(now, ["5", "0-3", "0-3"]);
        give_back(root.path(), "", [(&26, &"7".to_owned())]);
        assert_eq!(processors(root.path(), 26).unwrap(), "0-3");
    }
}
