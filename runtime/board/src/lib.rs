//! What the board sees: pictures from files and patterns, decoded, cropped and scaled into a model's input tensor.
//!
//! Invariant: whatever the bytes are, decoding gives pixels or an error that says what is wrong with them; no picture
//! is answered for that was only half there. The same bytes give the same tensor on every platform.

mod decode;
mod files;
mod frame;
mod fused;
mod pattern;
mod preprocess;

pub use decode::{DecodeError, DecodeLimits, Picture, decode};
pub use files::{PictureFiles, SourceError};
pub use frame::{Colour, FrameError, FrameView, Matrix, PixelFormat, Plane, Range};
pub use fused::{FramePreprocessor, FrameTensorError};
pub use pattern::{TestPattern, TestPatternError};
pub use preprocess::{ChannelOrder, Filter, Preprocess, PreprocessError, Preprocessor, Tensor};
