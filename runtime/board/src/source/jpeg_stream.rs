//! Finds the pictures in a stream of concatenated JPEGs, such as a `.mjpeg` file or `rpicam-vid`'s output.
//!
//! Markers are followed, not only looked for: a thumbnail inside a segment is no picture of the stream, and bytes
//! between pictures are passed over. A picture that was cut within its pixels is told from the next one; one that was
//! cut within its header takes the next one with it. What a picture holds is for the decoder to judge.

use super::MAX_FRAME_BYTES;

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
const TEMPORARY: u8 = 0x01;

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// All of them were used; the picture is not complete.
    More,
    /// A picture is complete.
    Frame,
    /// A picture was cut: another one began in its middle.
    Cut,
    /// A picture has more bytes than any camera's.
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between pictures.
    Seek,
    /// Between pictures, behind an 0xff.
    SeekCode,
    /// The next picture's first marker was seen at the end of a cut one.
    Begin,
    /// Between segments.
    Marker,
    /// Behind an 0xff.
    Code,
    /// At the first byte of a segment's length.
    LengthHigh(u8),
    /// At the second one.
    LengthLow(u8, u8),
    /// So many bytes of the segment are left.
    Segment(u8, usize),
    /// In coded pixels.
    Scan,
    /// In coded pixels, behind an 0xff.
    ScanCode,
}

/// Splits a stream that comes in pieces of any size.
#[derive(Debug)]
pub struct JpegSplitter {
    state: State,
    max_bytes: usize,
}

impl Default for JpegSplitter {
    fn default() -> Self {
        Self { state: State::Seek, max_bytes: MAX_FRAME_BYTES }
    }
}

impl JpegSplitter {
    /// Uses up to all of `bytes`; tells how many and what came of them. `picture` collects the bytes of one picture
    /// and is emptied when the next one begins.
    pub fn feed(&mut self, bytes: &[u8], picture: &mut Vec<u8>) -> (usize, Split) {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            // One byte more than the limit tells, wherever the pieces of the stream end.
            let room = (self.max_bytes + 1).saturating_sub(picture.len()).max(1);
            let (step, split) = self.step(rest.get(..room).unwrap_or(rest), picture);
            used += step;
            if split != Split::More {
                return (used, split);
            }
            if picture.len() > self.max_bytes {
                picture.clear();
                self.state = State::Seek;
                return (used, Split::TooLarge);
            }
        }
        (used, Split::More)
    }

    /// Whether a picture has begun and is not complete; at the end of a stream, that is a cut one.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !matches!(self.state, State::Seek | State::SeekCode)
    }

    /// Uses at least one byte of `rest`, which is not empty.
    fn step(&mut self, rest: &[u8], picture: &mut Vec<u8>) -> (usize, Split) {
        let Some(&byte) = rest.first() else { return (0, Split::More) };
        match self.state {
            State::Seek => (self.seek(rest), Split::More),
            State::SeekCode => {
                match byte {
                    START_OF_IMAGE => self.begin(picture),
                    0xff => {}
                    _ => self.state = State::Seek,
                }
                (1, Split::More)
            }
            State::Begin => {
                self.begin(picture);
                (0, Split::More)
            }
            State::Segment(code, left) => {
                let part = rest.get(..left).unwrap_or(rest);
                picture.extend_from_slice(part);
                self.segment(code, left - part.len());
                (part.len(), Split::More)
            }
            State::Scan => {
                let end = memchr::memchr(0xff, rest).map_or(rest.len(), |at| at + 1);
                picture.extend_from_slice(rest.get(..end).unwrap_or_default());
                if picture.last() == Some(&0xff) {
                    self.state = State::ScanCode;
                }
                (end, Split::More)
            }
            _ => {
                picture.push(byte);
                (1, self.header_byte(byte))
            }
        }
    }

    fn seek(&mut self, rest: &[u8]) -> usize {
        let Some(at) = memchr::memchr(0xff, rest) else { return rest.len() };
        self.state = State::SeekCode;
        at + 1
    }

    fn begin(&mut self, picture: &mut Vec<u8>) {
        picture.clear();
        picture.extend_from_slice(&[0xff, START_OF_IMAGE]);
        self.state = State::Marker;
    }

    fn header_byte(&mut self, byte: u8) -> Split {
        match (self.state, byte) {
            // Some cameras leave bytes between segments.
            (State::Marker, 0xff) => self.state = State::Code,
            (State::Code | State::ScanCode, code) => return self.code(code),
            (State::LengthHigh(code), high) => self.state = State::LengthLow(code, high),
            (State::LengthLow(code, high), low) => {
                // The length counts its own two bytes; less is nonsense that the decoder will refuse.
                let length = usize::from(u16::from_be_bytes([high, low]));
                self.segment(code, length.saturating_sub(2));
            }
            _ => {}
        }
        Split::More
    }

    fn code(&mut self, code: u8) -> Split {
        let in_scan = self.state == State::ScanCode;
        match code {
            0xff => {}
            START_OF_IMAGE => {
                self.state = State::Begin;
                return Split::Cut;
            }
            END_OF_IMAGE => {
                self.state = State::Seek;
                return Split::Frame;
            }
            // Stuffing, and markers without a segment: restarts.
            0x00 | TEMPORARY | 0xd0..=0xd7 => self.state = if in_scan { State::Scan } else { State::Marker },
            _ => self.state = State::LengthHigh(code),
        }
        Split::More
    }

    fn segment(&mut self, code: u8, left: usize) {
        self.state = match left {
            0 if code == START_OF_SCAN => State::Scan,
            0 => State::Marker,
            _ => State::Segment(code, left),
        };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A real JPEG whose pixels depend on `seed`.
    pub(crate) fn jpeg(seed: u8) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(32, 24, |x, y| {
            let part = |value: u32| u8::try_from(value * 7 % 256).unwrap();
            image::Rgb([part(x).wrapping_add(seed), part(y), part(x * y)])
        });
        let mut bytes = Vec::new();
        picture.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Jpeg).unwrap();
        bytes
    }

    /// Splits `stream` that comes in pieces of `piece` bytes.
    fn split(stream: &[u8], piece: usize, max_bytes: usize) -> (Vec<Vec<u8>>, Vec<Split>, bool) {
        let mut splitter = JpegSplitter { max_bytes, ..JpegSplitter::default() };
        let (mut picture, mut pictures, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for mut piece in stream.chunks(piece) {
            while !piece.is_empty() {
                let (used, split) = splitter.feed(piece, &mut picture);
                piece = &piece[used..];
                match split {
                    Split::Frame => pictures.push(picture.clone()),
                    Split::More => {}
                    other => others.push(other),
                }
            }
        }
        (pictures, others, splitter.is_inside())
    }

    #[test]
    fn finds_pictures_between_rubbish() {
        let pictures = [jpeg(1), jpeg(2), jpeg(3)];
        let stream = [b"\xff\xffrubbish\xff", &pictures[0][..], &[0; 9], &pictures[1], &pictures[2], b"\xff"].concat();
        for piece in [1, 2, 7, 100, 1 << 20] {
            assert_eq!(split(&stream, piece, MAX_FRAME_BYTES), (pictures.to_vec(), vec![], false), "{piece}");
        }
    }

    #[test]
    fn a_thumbnail_is_no_picture() {
        let (outer, inner) = (jpeg(1), jpeg(2));
        let length = u16::try_from(inner.len() + 2).unwrap().to_be_bytes();
        let picture = [&outer[..2], &[0xff, 0xe1], &length, &inner, &outer[2..]].concat();
        assert_eq!(split(&picture, 64, MAX_FRAME_BYTES).0, [picture]);
    }

    #[test]
    fn a_cut_picture_costs_no_other() {
        let (first, second) = (jpeg(1), jpeg(2));
        for keep in [first.len() - 2, first.len() * 2 / 3] {
            let stream = [&first[..keep], &second].concat();
            for piece in [1, 5, 1 << 20] {
                let (pictures, others, inside) = split(&stream, piece, MAX_FRAME_BYTES);
                assert_eq!((pictures, others, inside), (vec![second.clone()], vec![Split::Cut], false), "{keep}");
            }
        }
        assert!(split(&first[..first.len() - 1], 9, MAX_FRAME_BYTES).2, "a stream that ends in a picture");
    }

    #[test]
    fn a_picture_without_end_is_given_up() {
        let (first, second) = (jpeg(1), jpeg(2));
        let stream = [&first[..first.len() - 2], &vec![0x55; 100_000], &second].concat();
        let (pictures, others, _) = split(&stream, 4096, 50_000);
        assert_eq!((pictures, others), (vec![second], vec![Split::TooLarge]));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(mut stream in prop::collection::vec(prop_oneof![Just(0xffu8), Just(0xd8), Just(0xd9), Just(0xda), any::<u8>()], 0..300), piece in 1usize..20) {
            stream.extend(jpeg(4));
            let whole = split(&stream, stream.len(), 1000);
            prop_assert_eq!(split(&stream, piece, 1000), whole);
        }

        #[test]
        fn memory_is_bounded(stream in prop::collection::vec(any::<u8>(), 0..4000), max in 0usize..100) {
            let mut splitter = JpegSplitter { max_bytes: max, ..JpegSplitter::default() };
            let mut picture = Vec::new();
            let mut rest = &[&[0xff, 0xd8, 0xff, 0xe0][..], &stream].concat()[..];
            while !rest.is_empty() {
                let (used, _) = splitter.feed(rest, &mut picture);
                prop_assert!((used > 0 || splitter.is_inside()) && picture.len() <= max + 2);
                rest = &rest[used..];
            }
        }
    }
}
