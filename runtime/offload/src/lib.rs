//! The base on another machine: the Open Inference Protocol v2, as a server and as the board's client.
//!
//! Invariant: this is the only crate that opens a socket. It knows nothing of pictures and models: a server is given
//! something that turns tensors into tensors, a client is given tensors that are ready to send. Whatever the other side
//! says or does, the result is an answer or an error, within a bounded time and a bounded amount of memory.

pub mod client;
pub mod pki;
pub mod protocol;
pub mod server;
pub mod tls;
pub mod web;
