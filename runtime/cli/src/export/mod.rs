//! The base for servers of others: what Triton and KServe want to find on a disk.

mod kserve;
mod triton;

pub use kserve::manifest;
pub use triton::{Batching, repository};
