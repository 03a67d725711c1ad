//! What the board sees, and what it draws: pictures from files and patterns, decoded, cropped and scaled into a model's input tensor.
//!
//! Invariant: whatever the bytes are, decoding gives pixels or an error that says what is wrong with them; no picture
//! is answered for that was only half there. The same bytes give the same tensor on every platform.

mod decode;
mod display;
mod files;
mod frame;
mod fused;
mod jpeg;
mod live;
mod pattern;
pub mod power;
mod preprocess;
mod source;
mod system;
mod throttle;
mod v4l2;

pub use decode::{DecodeError, DecodeLimits, EncodeError, Picture, decode, encode_jpeg, encode_preview};
pub use display::{
    Canvas, Controller, Display, DisplayAddress, DisplayError, Facts, Ink, Layout, PictureError, SpiPanel,
    draw_overlay, open_display, picture_of,
};
pub use files::{PictureFiles, SourceError};
pub use frame::{Colour, FrameError, FrameView, Matrix, PixelFormat, Plane, Range};
pub use fused::{FramePreprocessor, FrameTensorError, FrameWay};
pub use jpeg::JpegError;
pub use live::{Capture, CaptureState, CaptureStatus, CaptureWatch, LatestSlot, Opener, Taken};
pub use pattern::{TestPattern, TestPatternError};
pub use preprocess::{ChannelOrder, Filter, Preprocess, PreprocessError, Preprocessor, Tensor};
pub use source::{
    AddressError, Clock, Content, Dropped, Drops, Fault, FaultKind, FrameBuffer, HttpSource, JpegSplitter,
    MAX_FRAME_BYTES, MjpegFile, MonotonicClock, MultipartReader, Next, Paced, Part, PatternSource, PictureSource,
    RpicamSource, Source, SourceAddress, Split, StreamOptions, Y4mFile, Y4mFrame, Y4mHeader, Y4mReader,
    without_credentials,
};
pub use system::free_bytes;
pub use throttle::Throttle;
pub use v4l2::{
    CameraInfo, Choice, FormatOffer, RateRange, SizeOffer, SizeRange, V4l2Address, V4l2Opener, Wish, choose,
    list_cameras,
};
