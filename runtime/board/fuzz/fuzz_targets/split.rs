//! A Motion JPEG stream: whatever the size of its pieces, the same pictures come out, each of them whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tinysaver_board::{JpegSplitter, Split};

/// Pictures, what else was told, and whether the stream ended within a picture.
fn split(stream: &[u8], piece: usize) -> (Vec<Vec<u8>>, Vec<Split>, bool) {
    let mut splitter = JpegSplitter::default();
    let (mut picture, mut pictures, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for mut piece in stream.chunks(piece.max(1)) {
        // A picture that begins in a cut one uses no byte of its own.
        let mut idle = 0;
        while !piece.is_empty() {
            let (used, split) = splitter.feed(piece, &mut picture);
            piece = &piece[used..];
            idle = if used == 0 { idle + 1 } else { 0 };
            assert!(idle < 2, "stands still");
            assert!(picture.len() <= stream.len() + 2, "bytes that nobody sent");
            match split {
                Split::Frame => pictures.push(picture.clone()),
                Split::More => assert!(piece.is_empty(), "bytes are left"),
                other => others.push(other),
            }
        }
    }
    (pictures, others, splitter.is_inside())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, stream)) = bytes.split_first() else { return };
    let whole = split(stream, stream.len());
    for picture in &whole.0 {
        assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
    }
    assert_eq!(split(stream, piece.into()), whole);
});
