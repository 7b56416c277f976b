//! Ports on `AF_XDP` sockets.
