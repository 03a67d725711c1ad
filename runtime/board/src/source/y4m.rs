//! `.y4m` files: YUV4MPEG2, uncompressed video with a line of text before it (`man yuv4mpeg`), as ffmpeg writes it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use tinysaver_core::DropReason;

use super::{Drops, Fault, FaultKind, FrameBuffer, MAX_FRAME_BYTES, Next, Source};
use crate::frame::{Colour, Matrix, PixelFormat, Range};

const MAGIC: &str = "YUV4MPEG2";

/// No header that anybody writes is longer.
const MAX_LINE_BYTES: u64 = 1024;

/// What the first line says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Y4mHeader {
    /// How a frame's planes lie.
    pub format: PixelFormat,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// BT.601, unless the file knows better, which the format has no word for.
    pub colour: Colour,
    /// Frames per second, if told.
    pub frames_per_second: Option<f64>,
}

impl Y4mHeader {
    /// Reads the first line, without its newline.
    ///
    /// # Errors
    /// It is no such line, or the frames are of a kind that is not served.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(format!("the file does not begin with {MAGIC}: it is no .y4m file"));
        }
        let mut header = Self {
            format: PixelFormat::Yu12,
            width: 0,
            height: 0,
            colour: Colour { matrix: Matrix::Bt601, range: Range::Limited },
            frames_per_second: None,
        };
        for word in words.filter(|word| !word.is_empty()) {
            header.word(word)?;
        }
        header.frame_bytes().ok_or_else(|| format!("{} x {} pixels: no usable size", header.width, header.height))?;
        Ok(header)
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        let Some((tag, value)) = word.split_at_checked(1) else { return Err(format!("header: '{word}'")) };
        let number = || value.parse().map_err(|_| format!("header: '{word}' is no number"));
        match tag {
            "W" => self.width = number()?,
            "H" => self.height = number()?,
            "F" => self.frames_per_second = rate(value),
            "C" => self.format = format(value)?,
            "X" if value == "COLORRANGE=FULL" => self.colour.range = Range::Full,
            // Interlacing, pixel aspect and comments do not matter here.
            _ => {}
        }
        Ok(())
    }

    /// Bytes of a frame; `None` where there is no such frame.
    #[must_use]
    pub fn frame_bytes(&self) -> Option<usize> {
        let planes = (0..self.format.planes()).map(|plane| {
            let (row_bytes, rows) = self.format.plane_size(plane, self.width, self.height)?;
            row_bytes.checked_mul(rows)
        });
        let bytes = planes.sum::<Option<usize>>()?;
        (self.width > 0 && self.height > 0 && bytes <= MAX_FRAME_BYTES).then_some(bytes)
    }
}

fn rate(value: &str) -> Option<f64> {
    let (frames, seconds) = value.split_once(':')?;
    let rate = frames.parse::<f64>().ok()? / seconds.parse::<f64>().ok()?;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

fn format(value: &str) -> Result<PixelFormat, String> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(PixelFormat::Yu12),
        "422" => Ok(PixelFormat::Yuv422p),
        "mono" => Ok(PixelFormat::Grey),
        other => Err(format!(
            "colour space C{other} is not served (C420, C422 and Cmono are); convert with ffmpeg -pix_fmt yuv420p"
        )),
    }
}

/// Reads frames from anything.
#[derive(Debug)]
pub struct Y4mReader<R> {
    reader: R,
    header: Y4mHeader,
}

/// What a call brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Y4mFrame {
    /// A frame.
    Whole,
    /// The file ends in the middle of one.
    Cut,
    /// The file is at its end.
    End,
}

impl<R: BufRead> Y4mReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`Y4mHeader::parse`], or those of the reader.
    pub fn new(mut reader: R) -> Result<Self, String> {
        let line = read_line(&mut reader).map_err(|error| error.to_string())?;
        let header = Y4mHeader::parse(&line.unwrap_or_default())?;
        Ok(Self { reader, header })
    }

    /// What the file holds.
    #[must_use]
    pub fn header(&self) -> &Y4mHeader {
        &self.header
    }

    /// Reads a frame's bytes: its planes, one behind the other.
    ///
    /// # Errors
    /// Those of the reader, or something that is no frame.
    pub fn next_frame(&mut self, bytes: &mut Vec<u8>) -> Result<Y4mFrame, String> {
        bytes.clear();
        let Some(line) = read_line(&mut self.reader).map_err(|error| error.to_string())? else {
            return Ok(Y4mFrame::End);
        };
        if line != "FRAME" && !line.starts_with("FRAME ") {
            return Err("a frame must begin with the word FRAME: the file is damaged".into());
        }
        let wanted = self.header.frame_bytes().unwrap_or(0);
        let mut part = self.reader.by_ref().take(wanted as u64);
        let read = part.read_to_end(bytes).map_err(|error| error.to_string())?;
        Ok(if read == wanted { Y4mFrame::Whole } else { Y4mFrame::Cut })
    }
}

/// One line without its newline; `None` at the end.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Reads one file from its beginning to its end.
#[derive(Debug)]
pub struct Y4mFile {
    path: PathBuf,
    reader: Y4mReader<BufReader<File>>,
    frames: u64,
    ended: bool,
}

impl Y4mFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// It cannot be opened or is no such file.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let fault = |kind, what: String| Fault::new(kind, format!("{}: {what}", path.display()));
        let file = File::open(path).map_err(|error| fault(FaultKind::Gone, error.to_string()))?;
        let reader = Y4mReader::new(BufReader::with_capacity(256 << 10, file));
        let reader = reader.map_err(|what| fault(FaultKind::Refused, what))?;
        Ok(Self { path: path.into(), reader, frames: 0, ended: false })
    }
}

impl Source for Y4mFile {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        frame.clear();
        frame.name = format!("{}#{}", self.path.display(), self.frames);
        let fault =
            |what: String| Fault::new(FaultKind::Io, format!("{}, frame {}: {what}", self.path.display(), self.frames));
        if self.ended {
            return Ok(Next::End);
        }
        match self.reader.next_frame(&mut frame.bytes).map_err(fault)? {
            Y4mFrame::Whole => {
                let Y4mHeader { format, width, height, colour, .. } = *self.reader.header();
                frame.set_pixels(format, (width, height), colour, 0).map_err(|error| fault(error.to_string()))?;
                self.frames += 1;
                Ok(Next::Frame)
            }
            Y4mFrame::Cut => {
                self.ended = true;
                self.frames += 1;
                Ok(Next::Dropped(DropReason::Damaged, "the file ends in the middle of this frame".into()))
            }
            Y4mFrame::End => Ok(Next::End),
        }
    }

    fn frames_per_second(&self) -> Option<f64> {
        self.reader.header().frames_per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_headers() {
        let header =
            Y4mHeader::parse("YUV4MPEG2 W6 H4 F30000:1001 Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL").unwrap();
        assert_eq!((header.format, header.width, header.height), (PixelFormat::Yu12, 6, 4));
        assert_eq!((header.colour.range, header.frame_bytes()), (Range::Full, Some(36)));
        assert!((header.frames_per_second.unwrap() - 29.97).abs() < 0.01);
        let of = |line: &str| Y4mHeader::parse(line).unwrap();
        assert_eq!(of("YUV4MPEG2 W5 H3 F0:0 C422").frame_bytes(), Some(15 + 2 * 9));
        assert_eq!(of("YUV4MPEG2 W5 H3 F0:0 Cmono").format, PixelFormat::Grey);
        assert_eq!(of("YUV4MPEG2 W5 H3 F0:0").frames_per_second, None);
    }

    #[test]
    fn refuses_headers() {
        let check = |line: &str, words: &str| {
            let error = Y4mHeader::parse(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        };
        check("RIFF", "does not begin with YUV4MPEG2");
        check("", "does not begin with YUV4MPEG2");
        check("YUV4MPEG2 W640", "no usable size");
        check("YUV4MPEG2 W99999999 H99999999", "no usable size");
        check("YUV4MPEG2 Wx H4", "'Wx' is no number");
        check("YUV4MPEG2 W4 H4 C444", "yuv420p");
        check("YUV4MPEG2 W4 H4 C420p10", "C420p10");
    }

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.y4m");
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn frames_come_out_whole_and_the_last_one_may_be_cut() {
        let content = [b"YUV4MPEG2 W2 H2 F25:1 C420\nFRAME\nabcdefFRAME Ip\nghijklFRAME\nmn" as &[u8]].concat();
        let (_folder, path) = file(&content);
        let mut source = Y4mFile::open(&path).unwrap();
        let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
        for expected in [b"abcdef", b"ghijkl"] {
            assert_eq!(source.next(&mut frame, &mut drops), Ok(Next::Frame));
            assert_eq!(frame.bytes, expected);
            assert_eq!(frame.view().unwrap().unwrap().planes().len(), 3);
        }
        assert!(matches!(source.next(&mut frame, &mut drops), Ok(Next::Dropped(DropReason::Damaged, _))));
        assert!(frame.name.ends_with("a.y4m#2"));
        assert_eq!(source.next(&mut frame, &mut drops), Ok(Next::End));
    }

    #[test]
    fn damage_names_the_file_and_the_frame() {
        let (_folder, path) = file(b"YUV4MPEG2 W2 H2\nFRAME\nabcdefFRAMe\n");
        let mut source = Y4mFile::open(&path).unwrap();
        let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
        assert_eq!(source.next(&mut frame, &mut drops), Ok(Next::Frame));
        let fault = source.next(&mut frame, &mut drops).unwrap_err().to_string();
        assert!(fault.contains("a.y4m, frame 1: ") && fault.contains("FRAME"), "{fault}");
        let (_folder, path) = file(b"not a video");
        assert!(Y4mFile::open(&path).unwrap_err().to_string().contains("a.y4m: the file does not begin with"));
    }

    proptest! {
        #[test]
        fn fuzz_y4m(header in "(YUV4MPEG2)?[ WHFCX0-9:a-z]{0,40}", body in prop::collection::vec(any::<u8>(), 0..300), frame in any::<bool>()) {
            let content = [header.as_bytes(), if frame { b"\nFRAME\n" } else { b"\n" }, &body].concat();
            let Ok(mut reader) = Y4mReader::new(&content[..]) else { return Ok(()) };
            let mut bytes = Vec::new();
            // Each frame takes at least its line from the content.
            for _ in 0..=content.len() {
                match reader.next_frame(&mut bytes) {
                    Ok(Y4mFrame::Whole) => prop_assert_eq!(Some(bytes.len()), reader.header().frame_bytes()),
                    Ok(Y4mFrame::Cut) => prop_assert!(bytes.len() <= body.len()),
                    Ok(Y4mFrame::End) | Err(_) => return Ok(()),
                }
            }
            prop_assert!(false, "more frames than bytes");
        }
    }
}
