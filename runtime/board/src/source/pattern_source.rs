//! Made-up pictures as a source.

use super::{Drops, Fault, FaultKind, FrameBuffer, Next, Source};
use crate::frame::{Colour, PixelFormat};
use crate::pattern::TestPattern;

/// A test pattern, picture by picture.
#[derive(Debug)]
pub struct PatternSource {
    pattern: TestPattern,
    index: u64,
}

impl PatternSource {
    /// From the first picture on.
    #[must_use]
    pub fn new(pattern: TestPattern) -> Self {
        Self { pattern, index: 0 }
    }
}

impl Source for PatternSource {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        if self.index >= self.pattern.frames {
            return Ok(Next::End);
        }
        frame.clear();
        frame.name = format!("test://?seed={}#{}", self.pattern.seed, self.index);
        let picture = self.pattern.picture(self.index);
        self.index += 1;
        frame.bytes = picture.rgb;
        let size = (picture.width, picture.height);
        frame
            .set_pixels(PixelFormat::Rgb3, size, Colour::JPEG, 0)
            .map_err(|error| Fault::new(FaultKind::Refused, error.to_string()))?;
        Ok(Next::Frame)
    }

    fn count(&self) -> Option<u64> {
        Some(self.pattern.frames)
    }

    fn frames_per_second(&self) -> Option<f64> {
        Some(30.0)
    }
}
