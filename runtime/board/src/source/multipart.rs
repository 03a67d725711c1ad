//! `multipart/x-mixed-replace`, the way in which IP cameras, ustreamer and mjpg-streamer send JPEGs (RFC 2046 section
//! 5.1, with what cameras make of it: boundaries with or without their dashes, missing lengths).

use std::io::{self, BufRead, Read};

use tinysaver_core::DropReason;

use super::{JpegSplitter, MAX_FRAME_BYTES, Split};

/// A line of a part's header that is longer is no such line.
const MAX_LINE_BYTES: usize = 4096;

/// A part's header of more lines is none.
const MAX_HEADER_LINES: usize = 64;

/// So much may stand between two parts.
const MAX_GAP_BYTES: usize = 1 << 20;

/// What a call brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A part's body.
    Whole,
    /// A part that cannot be used; the stream goes on.
    Unusable(DropReason, &'static str),
    /// The stream ended.
    End,
}

/// Splits a stream into its parts.
#[derive(Debug)]
pub struct MultipartReader<R> {
    reader: R,
    /// With two dashes before it.
    delimiter: Vec<u8>,
    line: Vec<u8>,
    splitter: JpegSplitter,
}

#[derive(Debug, Default)]
struct Header {
    length: Option<usize>,
    is_other_type: bool,
}

impl<R: BufRead> MultipartReader<R> {
    /// `boundary` is the parameter of the stream's content type; dashes before it are ignored.
    pub fn new(reader: R, boundary: &str) -> Self {
        let delimiter = format!("--{}", boundary.trim_start_matches('-')).into_bytes();
        Self { reader, delimiter, line: Vec::new(), splitter: JpegSplitter::default() }
    }

    /// Reads the next part's body. `at_first_byte` is called when it begins to arrive.
    ///
    /// # Errors
    /// Those of the reader, or a stream that is not what it says.
    pub fn next_part(&mut self, body: &mut Vec<u8>, at_first_byte: &mut dyn FnMut()) -> io::Result<Part> {
        body.clear();
        if !self.find_delimiter()? {
            return Ok(Part::End);
        }
        let header = self.header()?;
        // Waits for data without taking it.
        fill(&mut self.reader)?;
        at_first_byte();
        let part = match header.length {
            Some(length) if length > MAX_FRAME_BYTES => return self.skip(length),
            Some(length) => self.known_length(length, body)?,
            None => self.jpeg(body)?,
        };
        match part {
            Part::Whole if header.is_other_type => Ok(Part::Unusable(DropReason::NotAnImage, "a part that is no JPEG")),
            Part::Whole if body.is_empty() => Ok(Part::Unusable(DropReason::Damaged, "a part without content")),
            other => Ok(other),
        }
    }

    fn find_delimiter(&mut self) -> io::Result<bool> {
        let mut gap = 0;
        loop {
            if !self.read_line()? {
                return Ok(false);
            }
            if let Some(rest) = self.line.strip_prefix(&self.delimiter[..]) {
                // Two more dashes end the stream.
                return Ok(!rest.starts_with(b"--"));
            }
            // Some servers name their boundary with its dashes and then send it without, or with more of them.
            let dashes = self.line.iter().take_while(|&&byte| byte == b'-').count();
            if self.line.get(dashes..).zip(self.delimiter.get(2..)).is_some_and(|(line, name)| line == name) {
                return Ok(true);
            }
            gap += self.line.len() + 1;
            if gap > MAX_GAP_BYTES {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the announced boundary does not come"));
            }
        }
    }

    fn header(&mut self) -> io::Result<Header> {
        let mut header = Header::default();
        for _ in 0..MAX_HEADER_LINES {
            if !self.read_line()? || self.line.is_empty() {
                return Ok(header);
            }
            let line = String::from_utf8_lossy(&self.line);
            let Some((name, value)) = line.split_once(':') else { continue };
            match name.trim().to_ascii_lowercase().as_str() {
                "content-length" => header.length = value.trim().parse().ok(),
                "content-type" => header.is_other_type = !value.trim().to_ascii_lowercase().starts_with("image/"),
                _ => {}
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "a part's header has no end"))
    }

    fn known_length(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<Part> {
        let read = self.reader.by_ref().take(length as u64).read_to_end(body)?;
        Ok(if read < length {
            Part::Unusable(DropReason::Damaged, "the stream ended within a part")
        } else {
            Part::Whole
        })
    }

    fn skip(&mut self, length: usize) -> io::Result<Part> {
        io::copy(&mut self.reader.by_ref().take(length as u64), &mut io::sink())?;
        Ok(Part::Unusable(DropReason::TooLarge, "a part of more bytes than the limit"))
    }

    /// Without a length, the picture's own markers tell where it ends.
    fn jpeg(&mut self, body: &mut Vec<u8>) -> io::Result<Part> {
        self.splitter = JpegSplitter::default();
        loop {
            let bytes = fill(&mut self.reader)?;
            if bytes.is_empty() {
                return Ok(Part::Unusable(DropReason::Damaged, "the stream ended within a part"));
            }
            let (used, split) = self.splitter.feed(bytes, body);
            self.reader.consume(used);
            match split {
                Split::Frame => return Ok(Part::Whole),
                Split::Cut => return Ok(Part::Unusable(DropReason::Damaged, "another picture begins before its end")),
                Split::TooLarge => return self.skip(0),
                Split::More => {}
            }
        }
    }

    /// Reads up to a newline, which is dropped with a carriage return before it; `false` at the end. A longer line is
    /// cut into several.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = self.reader.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
        }
        Ok(read > 0)
    }
}

/// `fill_buf` alone gives up when a signal comes in.
fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    reader.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::super::jpeg_stream::tests::jpeg;
    use super::*;
    use proptest::prelude::*;

    fn parts(stream: &[u8], boundary: &str) -> Vec<Result<Vec<u8>, Part>> {
        // A tiny buffer, so that everything crosses its border somewhere.
        let mut reader = MultipartReader::new(io::BufReader::with_capacity(11, stream), boundary);
        let (mut body, mut parts) = (Vec::new(), Vec::new());
        loop {
            match reader.next_part(&mut body, &mut || {}).unwrap() {
                Part::Whole => parts.push(Ok(body.clone())),
                Part::End => return parts,
                other => parts.push(Err(other)),
            }
        }
    }

    fn part(header: &str, body: &[u8]) -> Vec<u8> {
        [header.as_bytes(), b"\r\n\r\n", body, b"\r\n"].concat()
    }

    #[test]
    fn reads_what_servers_send() {
        let (a, b) = (jpeg(1), jpeg(2));
        let with = |boundary: &str, picture: &[u8]| {
            part(
                &format!("{boundary}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\nX-T: 1", picture.len()),
                picture,
            )
        };
        let both = vec![Ok(a.clone()), Ok(b.clone())];
        // ustreamer, mjpg-streamer; the last one names its boundary with the dashes.
        assert_eq!(parts(&[with("--x", &a), with("--x", &b)].concat(), "x"), both);
        assert_eq!(parts(&[&b"\r\n"[..], &with("--x", &a), &with("--x", &b), b"--x--\r\n"].concat(), "--x"), both);
        assert_eq!(parts(&[with("x", &a), with("x", &b)].concat(), "x"), both, "no dashes at all");
        let bare = |picture: &[u8]| part("--x\nContent-type:image/jpeg", picture);
        assert_eq!(parts(&[bare(&a), bare(&b)].concat(), "x"), both, "no length");
    }

    #[test]
    fn unusable_parts_are_told_and_cost_no_other() {
        let good = jpeg(1);
        let sized = |kind: &str, body: &[u8]| {
            part(&format!("--x\r\nContent-Type: {kind}\r\nContent-Length: {}", body.len()), body)
        };
        let stream = [
            sized("text/plain", b"hello"),
            sized("image/jpeg", b""),
            sized("image/jpeg", &good),
            b"--x\r\nContent-Length: 500\r\n\r\nshort".to_vec(),
        ];
        let reasons: Vec<_> = parts(&stream.concat(), "x")
            .into_iter()
            .map(|part| match part {
                Err(Part::Unusable(reason, _)) => Some(reason),
                _ => None,
            })
            .collect();
        assert_eq!(reasons, [Some(DropReason::NotAnImage), Some(DropReason::Damaged), None, Some(DropReason::Damaged)]);
    }

    #[test]
    fn endless_rubbish_is_an_error() {
        let rubbish = vec![b'x'; 3 * MAX_GAP_BYTES];
        let error = MultipartReader::new(&rubbish[..], "b").next_part(&mut Vec::new(), &mut || {}).unwrap_err();
        assert!(error.to_string().contains("boundary"), "{error}");
        let header = format!("--b\r\n{}", "a: b\r\n".repeat(1000));
        let error = MultipartReader::new(header.as_bytes(), "b").next_part(&mut Vec::new(), &mut || {}).unwrap_err();
        assert!(error.to_string().contains("no end"), "{error}");
    }

    proptest! {
        #[test]
        fn fuzz_multipart(pieces in prop::collection::vec(prop_oneof![
            Just(b"--b\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"Content-Length: 7\r\n".to_vec()), Just(b"Content-Length: 99999999999\r\n".to_vec()),
            Just(vec![0xff, 0xd8, 0xff]), Just(vec![0xff, 0xd9]), Just(b"--b--".to_vec()), prop::collection::vec(any::<u8>(), 0..20),
        ], 0..30)) {
            let stream = pieces.concat();
            let mut reader = MultipartReader::new(&stream[..], "b");
            let mut body = Vec::new();
            // Each part takes at least its delimiter from the stream.
            for _ in 0..=stream.len() {
                match reader.next_part(&mut body, &mut || {}) {
                    Ok(Part::End) | Err(_) => return Ok(()),
                    Ok(_) => prop_assert!(body.len() <= stream.len() + 2),
                }
            }
            prop_assert!(false, "more parts than bytes");
        }
    }
}
