//! `.mjpeg` files: JPEGs, one behind the other.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use tinysaver_core::DropReason;

use super::{Drops, Fault, FaultKind, FrameBuffer, JpegSplitter, Next, Source, Split};

/// What a player assumes of a stream that tells no rate.
const FRAMES_PER_SECOND: f64 = 25.0;

/// Reads one file from its beginning to its end.
#[derive(Debug)]
pub struct MjpegFile {
    path: PathBuf,
    reader: BufReader<File>,
    splitter: JpegSplitter,
    frames: u64,
}

impl MjpegFile {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let file =
            File::open(path).map_err(|error| Fault::new(FaultKind::Gone, format!("{}: {error}", path.display())))?;
        let reader = BufReader::with_capacity(64 << 10, file);
        Ok(Self { path: path.into(), reader, splitter: JpegSplitter::default(), frames: 0 })
    }

    fn split(&mut self, picture: &mut Vec<u8>) -> Result<Next, Fault> {
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::new(FaultKind::Io, format!("{}: {error}", self.path.display()))),
            };
            if bytes.is_empty() {
                return Ok(self.end());
            }
            let (used, split) = self.splitter.feed(bytes, picture);
            self.reader.consume(used);
            if let Some(next) = next_of(split) {
                return Ok(next);
            }
        }
    }

    fn end(&mut self) -> Next {
        if std::mem::take(&mut self.splitter).is_inside() {
            return Next::Dropped(DropReason::Damaged, "the file ends in the middle of a picture".into());
        }
        if self.frames == 0 {
            log::warn!("{}: no JPEG picture in this file", self.path.display());
        }
        Next::End
    }
}

/// What a splitter's result is to a source; `None`: go on.
pub(super) fn next_of(split: Split) -> Option<Next> {
    match split {
        Split::More => None,
        Split::Frame => Some(Next::Frame),
        Split::Cut => Some(Next::Dropped(DropReason::Damaged, "another picture begins before its end".into())),
        Split::TooLarge => Some(Next::Dropped(DropReason::TooLarge, "a picture of more bytes than the limit".into())),
    }
}

impl Source for MjpegFile {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        // `bytes` is left as it is: a cut picture's successor may have begun in it.
        frame.set_jpeg();
        frame.captured_at = None;
        let next = self.split(&mut frame.bytes)?;
        frame.name = format!("{}#{}", self.path.display(), self.frames);
        if matches!(next, Next::Frame | Next::Dropped(..)) {
            self.frames += 1;
        }
        Ok(next)
    }

    fn frames_per_second(&self) -> Option<f64> {
        Some(FRAMES_PER_SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jpeg_stream::tests::jpeg;
    use super::*;

    #[test]
    fn every_picture_comes_out_and_cut_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mjpeg");
        let pictures = [jpeg(1), jpeg(2), jpeg(3)];
        let cut = &pictures[1][..pictures[1].len() * 2 / 3];
        std::fs::write(&path, [&pictures[0], cut, &pictures[2], cut].concat()).unwrap();
        let mut source = MjpegFile::open(&path).unwrap();
        let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
        let mut got = Vec::new();
        loop {
            match source.next(&mut frame, &mut drops).unwrap() {
                Next::Frame => got.push(pictures.iter().position(|picture| *picture == frame.bytes)),
                Next::Dropped(reason, _) => {
                    assert_eq!(reason, DropReason::Damaged);
                    got.push(None);
                }
                Next::Idle => unreachable!("files do not wait"),
                Next::End => break,
            }
        }
        assert_eq!(got, [Some(0), None, Some(2), None]);
        assert!(frame.name.ends_with("a.mjpeg#4"), "{}", frame.name);
        assert_eq!(MjpegFile::open(Path::new("/no/a.mjpeg")).unwrap_err().kind, FaultKind::Gone);
    }
}
