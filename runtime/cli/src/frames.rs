//! Where frames come from: pictures on disk or a test pattern.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use tinysaver_board::{DecodeLimits, Picture, PictureFiles, TestPattern, decode};
use tinysaver_core::{DropReason, StageMicros};

/// A source that has been found to hold something.
pub enum Frames {
    /// Files, in order.
    Files(PictureFiles),
    /// Made-up pictures.
    Pattern(TestPattern),
}

/// Why a frame got no answer.
pub struct Drop {
    /// The kind.
    pub reason: DropReason,
    /// The error's own words.
    pub detail: String,
}

impl Frames {
    /// Opens a path, a pattern or a `test://` address.
    ///
    /// # Errors
    /// There is nothing there.
    pub fn open(source: &str) -> Result<Self> {
        if source.starts_with("test://") {
            return Ok(Self::Pattern(source.parse()?));
        }
        let files = PictureFiles::find(source)?;
        if files.other_files() > 0 {
            log::info!("{source}: {} files that are no pictures are passed over", files.other_files());
        }
        Ok(Self::Files(files))
    }

    /// How many frames there are.
    pub fn count(&self) -> u64 {
        match self {
            Self::Files(files) => files.paths().len() as u64,
            Self::Pattern(pattern) => pattern.frames,
        }
    }

    /// Paths of the pictures; none of a pattern.
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Files(files) => files.paths(),
            Self::Pattern(_) => &[],
        }
    }

    /// What the log and the table call frame `index`.
    pub fn name(&self, index: u64) -> String {
        match self {
            Self::Files(_) => self.path(index).map_or_else(String::new, |path| path.display().to_string()),
            Self::Pattern(pattern) => format!("test://?seed={}#{index}", pattern.seed),
        }
    }

    fn path(&self, index: u64) -> Option<&PathBuf> {
        self.paths().get(usize::try_from(index).ok()?)
    }

    /// Reads and decodes frame `index`; notes how long each took.
    pub fn picture(&self, index: u64, limits: DecodeLimits, stages: &mut StageMicros) -> Result<Picture, Drop> {
        let started = Instant::now();
        if let Self::Pattern(pattern) = self {
            let picture = pattern.picture(index);
            stages.read = Some(micros_since(started));
            return Ok(picture);
        }
        let unreadable = |detail: String| Drop { reason: DropReason::Unreadable, detail };
        let path = self.path(index).ok_or_else(|| unreadable("no such frame".into()))?;
        let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        stages.read = Some(micros_since(started));
        let started = Instant::now();
        let picture = decode(&bytes, limits).map_err(|error| Drop::from(&error));
        stages.decode = Some(micros_since(started));
        picture
    }
}

impl From<&tinysaver_board::DecodeError> for Drop {
    fn from(error: &tinysaver_board::DecodeError) -> Self {
        use tinysaver_board::DecodeError;
        let reason = match error {
            DecodeError::NotAnImage(_) => DropReason::NotAnImage,
            DecodeError::Damaged(_) => DropReason::Damaged,
            DecodeError::TooLarge { .. } => DropReason::TooLarge,
        };
        Self { reason, detail: error.to_string() }
    }
}

/// Whole microseconds from `start` to now.
pub fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}
