//! Release of one wire.
//!
//! What it is not: it never touches a wire whose gate is alive, nor one of another network namespace, unless
//! that namespace is gone. Invariant: a release that finds nothing where no gate was ever seen is an error,
//! never taken for one of the right wire.

use std::fs;
use std::io;
use std::path::Path;

use super::past;
use super::place::{Place, PlaceError};
use super::stray::Stray;

/// A wire that is not released.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A gate runs on it, or its place is unusable.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// There is nothing of it here, and never was.
    #[error("nothing was released: no gate has left a wire {wire} in this network namespace ({namespace})")]
    Never {
        /// The wire.
        wire: String,
        /// Inode of the namespace.
        namespace: u64,
    },
    /// There is nothing of it here; there is elsewhere.
    #[error(
        "nothing was released: wire {wire} is not in this network namespace ({namespace}) but in {}",
        listed(strays)
    )]
    Elsewhere {
        /// The wire.
        wire: String,
        /// Inode of the namespace it was looked for in.
        namespace: u64,
        /// Where it is.
        strays: Vec<Stray>,
    },
    /// Something of it could not be removed or given back.
    #[cfg(feature = "xdp")]
    #[error(transparent)]
    Ports(#[from] crate::io::af_xdp::AfXdpError),
    /// This binary has no port for interfaces.
    #[error(
        "this portcullis was built without the feature `xdp`: it cannot release interfaces; build it with default features"
    )]
    NoXdp,
}

impl ReleaseError {
    /// What to do, where the message does not say it already.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Never { .. } => Some(
                "check the name, and release it in the network namespace that its gate ran in; \
                 `ls /sys/fs/bpf/portcullis` lists what gates left, as WIRE-NAMESPACE"
                    .to_owned(),
            ),
            Self::Elsewhere { strays, .. } => {
                Some(strays.iter().map(Stray::remedy).collect::<Vec<_>>().join("; "))
            }
            #[cfg(feature = "xdp")]
            Self::Ports(_) => None,
            Self::Place(_) | Self::NoXdp => None,
        }
    }
}

fn listed(strays: &[Stray]) -> String {
    strays.iter().map(Stray::to_string).collect::<Vec<_>>().join(", ")
}

/// What a release found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Programs were attached; they are no more.
    pub programs: bool,
    /// The ports had settings of ours; they have their own again.
    pub settings: bool,
    /// Nothing was left: it was released here before. Wires of this name in other namespaces, which stay.
    pub again: Option<Vec<Stray>>,
}

/// Detaches a wire's programs, removes its pins and gives its ports their settings back. Done twice, it
/// finds nothing the second time.
///
/// # Errors
/// A gate runs on it, something could not be undone, or there never was such a wire in this place.
pub fn release(wire: &str) -> Result<Released, ReleaseError> {
    let place = Place::of(wire)?;
    // Either folder says that a gate was here, however little of it is left.
    if !place.state.exists() && !place.pins.exists() {
        let strays = Stray::all(&place);
        return if past::knows(&place) {
            Ok(Released { again: Some(strays), ..Released::default() })
        } else if strays.is_empty() {
            Err(ReleaseError::Never { wire: place.wire, namespace: place.namespace })
        } else {
            Err(ReleaseError::Elsewhere { wire: place.wire, namespace: place.namespace, strays })
        };
    }
    let lock = place.lock()?;
    let released = released(&place.pins, &place.saved())?;
    place.clear(lock)?;
    // The wire is released all the same; only a second time would be taken for a wrong name.
    let _ = past::remember(&place);
    Ok(released)
}

/// Removes what gates left in a network namespace that is gone: pins and state. There are no ports any more
/// to give settings back to. Answers of how many wires.
///
/// # Errors
/// A gate is alive all the same, or something could not be removed.
pub fn abandon(namespace: u64) -> Result<usize, ReleaseError> {
    let wires = Place::wires(namespace)?;
    for place in &wires {
        let lock = place.lock()?;
        remove_pins(&place.pins)?;
        match fs::remove_file(place.saved()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PlaceError::State { path: place.saved(), source }.into());
            }
            Ok(()) | Err(_) => {}
        }
        place.clear(lock)?;
    }
    Ok(wires.len())
}

#[cfg(feature = "xdp")]
fn released(pins: &Path, saved: &Path) -> Result<Released, ReleaseError> {
    let found = crate::io::af_xdp::release(pins, saved)?;
    Ok(Released { programs: found.pins, settings: found.settings, again: None })
}

#[cfg(not(feature = "xdp"))]
fn released(_pins: &Path, _saved: &Path) -> Result<Released, ReleaseError> {
    Err(ReleaseError::NoXdp)
}

#[cfg(feature = "xdp")]
fn remove_pins(pins: &Path) -> Result<(), ReleaseError> {
    crate::io::af_xdp::remove_pins(pins)?;
    Ok(())
}

#[cfg(not(feature = "xdp"))]
fn remove_pins(_pins: &Path) -> Result<(), ReleaseError> {
    Err(ReleaseError::NoXdp)
}
