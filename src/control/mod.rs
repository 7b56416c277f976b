//! The API over a unix socket.
