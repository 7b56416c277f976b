//! Events off the workers.
