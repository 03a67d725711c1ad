//! Drives the way from a camera's frame to a model's tensor, for comparisons with other libraries.
//!
//! `camera KIND WIDTH HEIGHT FILE SIDE serve`: makes FILE (one frame as a camera gives it) into SIDE x SIDE u8 tensors.
//! Prints a line when it is ready, then reads numbers from standard input and answers each with a line after that many
//! frames; 0 ends it. The script measures this process's CPU time.
//! `camera KIND WIDTH HEIGHT FILE SIDE tensor OUT`: writes the tensor, R G B of each pixel, as levels from 0 to 255.
//! `camera slot`: hands frames through the newest-frame slot, as the numbers on standard input say.
//! KIND is V4L2's code of a pixel format, such as YUYV or MJPG.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use tinysaver_board::{
    ChannelOrder, Colour, Drops, Filter, FrameBuffer, FramePreprocessor, FrameView, LatestSlot, Matrix, PixelFormat,
    Preprocess, Range, Taken, Tensor,
};
use tinysaver_core::{Element, InputSpec, Layout};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments == ["slot"] {
        return slot();
    }
    let [kind, width, height, file, side, rest @ ..] = arguments.as_slice() else {
        return Err("usage: camera KIND WIDTH HEIGHT FILE SIDE serve | tensor OUT".into());
    };
    let format =
        <[u8; 4]>::try_from(kind.as_bytes()).ok().and_then(PixelFormat::from_fourcc).ok_or("no such format")?;
    let bytes = std::fs::read(file)?;
    // What video cameras send, and what OpenCV takes it for.
    let colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };
    let frame = FrameView::contiguous(format, width.parse()?, height.parse()?, colour, &bytes, 0)?;
    let mut preprocessor = preprocessor(side.parse()?)?;
    match rest {
        ["serve"] => serve(&mut preprocessor, &frame),
        ["tensor", out] => match preprocessor.tensor(&frame)? {
            Tensor::U8(levels) => Ok(std::fs::write(out, levels)?),
            Tensor::F32(_) => Err("u8 was wanted".into()),
        },
        _ => Err("usage: camera KIND WIDTH HEIGHT FILE SIDE serve | tensor OUT".into()),
    }
}

fn preprocessor(side: usize) -> Result<FramePreprocessor, Failure> {
    let rule = Preprocess {
        crop_fraction: 0.875,
        filter: Filter::Bicubic,
        channels: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let element = Element::U8 { scale: 1.0, zero_point: 0 };
    let spec = InputSpec { height: side, width: side, channels: 3, layout: Layout::Nhwc, element };
    Ok(FramePreprocessor::new(&rule, spec)?)
}

fn serve(preprocessor: &mut FramePreprocessor, frame: &FrameView) -> Result<(), Failure> {
    preprocessor.tensor(frame)?;
    println!("READY {:?}", preprocessor.way());
    answer(|| Ok(preprocessor.tensor(frame).map(|_| ())?))
}

fn slot() -> Result<(), Failure> {
    let slot = LatestSlot::default();
    let (mut filled, mut looked_at, mut drops) = (FrameBuffer::default(), FrameBuffer::default(), Drops::default());
    println!("READY slot");
    answer(|| {
        slot.put(&mut filled, &mut drops);
        match slot.take(&mut looked_at, &mut drops, Duration::ZERO) {
            Taken::Frame => Ok(()),
            other => Err(format!("{other:?} instead of a frame").into()),
        }
    })
}

/// Reads numbers and works so often.
fn answer(mut work: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    for line in std::io::stdin().lock().lines() {
        let count: usize = line?.trim().parse()?;
        if count == 0 {
            break;
        }
        let started = Instant::now();
        for _ in 0..count {
            work()?;
        }
        println!("{}", started.elapsed().as_nanos());
        std::io::stdout().flush()?;
    }
    Ok(())
}
