//! `v4l2:///dev/video0?size=640x480&fps=30&format=auto`.

use std::path::PathBuf;

use crate::frame::PixelFormat;
use crate::source::StreamOptions;

/// Which camera, and what is wished of it.
#[derive(Debug, Clone, PartialEq)]
pub struct V4l2Address {
    /// The node; a link in `/dev/v4l/by-id` stays the same after the camera was plugged in elsewhere.
    pub path: PathBuf,
    /// Size, rate and patience.
    pub options: StreamOptions,
    /// A format to insist on; `None` leaves the choice to us.
    pub format: Option<PixelFormat>,
}
