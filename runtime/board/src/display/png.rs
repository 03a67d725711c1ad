//! A PNG file as a display: for boards without one, for documents and for tests.

use std::fs;
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::canvas::Canvas;
use super::facts::Facts;
use super::{Display, DisplayError};
use crate::decode::Picture;

/// A file that always holds a whole picture: each is written beside it and takes its place.
pub(super) struct PngDisplay {
    path: PathBuf,
    canvas: Canvas,
}

impl PngDisplay {
    pub(super) fn open(path: &Path, (width, height): (u32, u32)) -> Result<Self, DisplayError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !parent.is_dir() {
            return Err(DisplayError::new(path.display(), "its folder does not exist"));
        }
        Ok(Self { path: path.into(), canvas: Canvas::new(width, height) })
    }
}

impl Display for PngDisplay {
    fn size(&self) -> (u32, u32) {
        (self.canvas.width(), self.canvas.height())
    }

    fn show(&mut self, facts: &Facts, picture: Option<&Picture>) -> Result<(), DisplayError> {
        self.canvas.show(facts, picture);
        let bytes = encode_png(&self.canvas).map_err(|error| DisplayError::new(self.path.display(), error))?;
        let beside = self.path.with_extension("png.new");
        let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &self.path));
        written.map_err(|error| DisplayError::new(self.path.display(), error))
    }
}

/// A whole PNG file, packed quickly rather than well.
pub(super) fn encode_png(canvas: &Canvas) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Up).write_image(
        canvas.rgb(),
        canvas.width(),
        canvas.height(),
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}
