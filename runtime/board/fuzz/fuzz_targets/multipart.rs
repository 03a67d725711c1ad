//! Any bytes as a camera's multipart stream: the same parts whatever the size of the pieces that it comes in, and an end.
#![no_main]

use std::io::{BufReader, ErrorKind};

use libfuzzer_sys::fuzz_target;
use tinysaver_board::{MultipartReader, Part};

/// Every part and its body, and how the stream ended.
fn parts(stream: &[u8], piece: usize) -> (Vec<(Part, Vec<u8>)>, Option<ErrorKind>) {
    let mut reader = MultipartReader::new(BufReader::with_capacity(piece.max(1), stream), "b");
    let (mut body, mut parts) = (Vec::new(), Vec::new());
    // Each part takes at least its delimiter from the stream.
    for _ in 0..=stream.len() {
        match reader.next_part(&mut body, &mut || {}) {
            Ok(Part::End) => return (parts, None),
            Err(error) => return (parts, Some(error.kind())),
            Ok(part) => {
                assert!(body.len() <= stream.len() + 2, "bytes that nobody sent");
                parts.push((part, body.clone()));
            }
        }
    }
    panic!("more parts than bytes");
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    assert_eq!(parts(stream, piece.into()), parts(stream, stream.len()));
});
