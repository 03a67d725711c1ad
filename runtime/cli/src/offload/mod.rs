//! Frames that the saver is not sure of: to a base on another machine, to the one on this board on a thread of its own,
//! or back with the saver's answer.

mod answers;
mod bases;
mod escalator;
mod local;
mod offloading;
mod payload;
mod settings;

pub use answers::Draft;
pub use offloading::Offload;
pub use settings::{OffloadArgs, OffloadFile, OffloadSettings, read_token};
