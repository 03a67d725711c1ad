//! Picture files as a source.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use tinysaver_core::DropReason;

use super::{Drops, Fault, FrameBuffer, MAX_FRAME_BYTES, Next, Source};
use crate::files::PictureFiles;

/// Files, in order. One that cannot be read is told and costs no other.
#[derive(Debug)]
pub struct PictureSource {
    files: PictureFiles,
    index: usize,
}

impl PictureSource {
    /// From the first file on.
    #[must_use]
    pub fn new(files: PictureFiles) -> Self {
        Self { files, index: 0 }
    }
}

impl Source for PictureSource {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        frame.clear();
        let Some(path) = self.files.paths().get(self.index) else { return Ok(Next::End) };
        self.index += 1;
        frame.name = path.display().to_string();
        // A file that has no end, such as a device, must not eat the memory.
        let read =
            File::open(path).and_then(|file| file.take(MAX_FRAME_BYTES as u64 + 1).read_to_end(&mut frame.bytes));
        Ok(match read {
            Ok(bytes) if bytes > MAX_FRAME_BYTES => {
                let detail = format!("more than {} MiB", MAX_FRAME_BYTES >> 20);
                Next::Dropped(DropReason::TooLarge, detail)
            }
            Ok(_) => Next::Frame,
            Err(error) => Next::Dropped(DropReason::Unreadable, error.to_string()),
        })
    }

    fn count(&self) -> Option<u64> {
        Some(self.files.paths().len() as u64)
    }

    fn paths(&self) -> &[PathBuf] {
        self.files.paths()
    }
}
