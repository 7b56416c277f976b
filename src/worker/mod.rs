//! A pinned loop per queue.
