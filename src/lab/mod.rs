//! The veth rig.
