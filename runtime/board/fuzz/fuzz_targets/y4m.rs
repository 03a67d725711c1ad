//! Any file as .y4m: whole frames or an error; what is whole becomes a tensor and a picture.
#![no_main]

mod tensor;

use std::io::BufReader;

use libfuzzer_sys::fuzz_target;
use tinysaver_board::{DecodeLimits, FrameBuffer, Y4mFrame, Y4mReader, picture_of};

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, file)) = bytes.split_first() else { return };
    let reader = BufReader::with_capacity(usize::from(piece) + 1, file);
    let Ok(mut reader) = Y4mReader::new(reader) else { return };
    let header = *reader.header();
    let mut frame = FrameBuffer::default();
    // Each frame takes at least its line from the file.
    for _ in 0..=file.len() {
        frame.clear();
        match reader.next_frame(&mut frame.bytes) {
            Ok(Y4mFrame::Whole) => {
                assert_eq!(Some(frame.bytes.len()), header.frame_bytes());
                frame.set_pixels(header.format, (header.width, header.height), header.colour, 0).expect("it is whole");
                let view = frame.view().expect("pixels").expect("they are checked");
                let _ = tensor::maker(1 + usize::from(piece % 16), 0.875, DecodeLimits::default()).tensor(&view);
                let picture = picture_of(&frame, (16, 16), DecodeLimits::default()).expect("it is whole");
                assert_eq!(picture.rgb.len(), 3 * picture.width as usize * picture.height as usize);
            }
            Ok(Y4mFrame::Cut) => assert!(frame.bytes.len() <= file.len()),
            Ok(Y4mFrame::End) | Err(_) => return,
        }
    }
    panic!("more frames than bytes");
});
