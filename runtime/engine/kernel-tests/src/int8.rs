#[path = "../../src/int8/aligned.rs"]
mod aligned;
#[path = "../../src/int8/depthwise_weights.rs"]
mod depthwise_weights;
#[path = "../../src/int8/kernels/mod.rs"]
mod kernels;
#[path = "../../src/int8/quant.rs"]
mod quant;
#[path = "../../src/int8/weights.rs"]
mod weights;
#[path = "../../src/int8/window.rs"]
mod window;
