//! The built binary, driven as its users drive it. Needs `make models`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "end_to_end/bad_input.rs"]
mod bad_input;
#[path = "end_to_end/bench.rs"]
mod bench;
#[path = "end_to_end/budget.rs"]
mod budget;
#[path = "end_to_end/change.rs"]
mod change;
#[path = "end_to_end/energy.rs"]
mod energy;
#[path = "end_to_end/face.rs"]
mod face;
#[path = "end_to_end/lab.rs"]
mod lab;
#[path = "end_to_end/live.rs"]
mod live;
#[path = "end_to_end/logs.rs"]
mod logs;
#[path = "end_to_end/main_job.rs"]
mod main_job;
#[path = "end_to_end/offload.rs"]
mod offload;
#[path = "end_to_end/onnx.rs"]
mod onnx;
#[path = "end_to_end/scale_out.rs"]
mod scale_out;
#[path = "end_to_end/serve.rs"]
mod serve;
