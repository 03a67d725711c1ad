//! Frames for the cascade: a recorded source is asked for one after the other and loses none; of a live one, a thread
//! keeps the newest.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tinysaver_board::{
    Capture, CaptureStatus, CaptureWatch, Clock, Content, Dropped, Drops, Fault, FrameBuffer, HttpSource, MjpegFile,
    MonotonicClock, Next, Paced, PatternSource, PictureFiles, PictureSource, RpicamSource, Source, SourceAddress,
    Taken, V4l2Opener, Y4mFile,
};
use tinysaver_core::{DropReason, StageMicros};

use crate::frames::{micros, micros_since};

/// How long to wait for a live frame before looking after other things.
const WAIT: Duration = Duration::from_millis(100);

/// At what speed recorded frames come.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pace {
    /// As they were recorded, not as fast as they can be taken.
    pub realtime: bool,
    /// Another rate than the recording's.
    pub frames_per_second: Option<f64>,
}

enum Kind {
    Recorded(Box<dyn Source>),
    Live(Capture),
}

/// An open source.
pub struct Feed {
    kind: Kind,
    address: String,
    is_paced: bool,
    frame: FrameBuffer,
    drops: Drops,
    /// When the frame in hand was asked for, and when it was there.
    asked_at: Instant,
    taken_at: Duration,
    read_us: Option<u64>,
}

impl Feed {
    /// Opens what the address names.
    ///
    /// # Errors
    /// The address is none, nothing is there, or it cannot be used.
    pub fn open(address: &str, pace: Pace) -> Result<Self> {
        let parsed: SourceAddress = address.parse()?;
        let kind = if parsed.is_live() { open_live(parsed)? } else { Kind::Recorded(open_recorded(parsed, pace)?) };
        Ok(Self {
            address: shown(address),
            is_paced: pace.realtime && matches!(kind, Kind::Recorded(_)),
            kind,
            frame: FrameBuffer::default(),
            drops: Drops::default(),
            asked_at: Instant::now(),
            taken_at: Duration::ZERO,
            read_us: None,
        })
    }

    /// The source of recorded frames, for what it knows of itself.
    fn recorded(&self) -> Option<&dyn Source> {
        match &self.kind {
            Kind::Recorded(source) => Some(&**source),
            Kind::Live(_) => None,
        }
    }

    /// How many frames there are, where that is known.
    pub fn count(&self) -> Option<u64> {
        self.recorded()?.count()
    }

    /// Paths of picture files.
    pub fn paths(&self) -> &[std::path::PathBuf] {
        self.recorded().map_or(&[], Source::paths)
    }

    /// What logs call the source, without passwords.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether frames wait until they are asked for, however long that takes.
    pub fn has_time(&self) -> bool {
        matches!(self.kind, Kind::Recorded(_)) && !self.is_paced
    }

    /// The bytes of the frame in hand if it came as a JPEG from a camera.
    pub fn jpeg(&self) -> Option<&[u8]> {
        matches!(self.frame.content, Content::Jpeg).then_some(&*self.frame.bytes)
    }

    /// Counters of a live source.
    pub fn status(&self) -> Option<CaptureStatus> {
        match &self.kind {
            Kind::Recorded(_) => None,
            Kind::Live(capture) => Some(capture.status()),
        }
    }

    /// The same for other threads.
    pub fn watch(&self) -> Option<CaptureWatch> {
        match &self.kind {
            Kind::Recorded(_) => None,
            Kind::Live(capture) => Some(capture.watch()),
        }
    }

    /// Waits for the next frame; for a live one at most so long, and never more than a little.
    ///
    /// # Errors
    /// A recorded source that cannot be read on. A live one is opened again instead.
    pub fn next(&mut self, longest: Duration) -> Result<Next, Fault> {
        self.asked_at = Instant::now();
        let next = match &mut self.kind {
            Kind::Recorded(source) => source.next(&mut self.frame, &mut self.drops)?,
            Kind::Live(capture) => match capture.take(&mut self.frame, &mut self.drops, WAIT.min(longest)) {
                Taken::Frame => Next::Frame,
                Taken::Nothing => Next::Idle,
                Taken::Closed => Next::End,
            },
        };
        self.taken_at = MonotonicClock.now();
        self.read_us = self.has_time().then(|| micros_since(self.asked_at));
        Ok(next)
    }

    /// The frame that [`next`](Self::next) brought.
    pub fn frame(&self) -> &FrameBuffer {
        &self.frame
    }

    /// What was dropped since this was last asked.
    pub fn take_drops(&mut self) -> impl Iterator<Item = Dropped> + use<> {
        self.drops.take()
    }

    /// What is known of the frame's time so far.
    pub fn stages(&self) -> StageMicros {
        let waited = |captured_at| micros(self.taken_at.saturating_sub(captured_at));
        StageMicros { wait: self.frame.captured_at.map(waited), read: self.read_us, ..StageMicros::default() }
    }

    /// How old the frame is now, and how long its answer took: the same for a frame with a time of its own.
    pub fn age_and_latency_us(&self) -> (Option<u64>, u64) {
        match self.frame.captured_at {
            Some(captured_at) => {
                let age = micros(MonotonicClock.now().saturating_sub(captured_at));
                (Some(age), age)
            }
            None => (None, micros_since(self.asked_at)),
        }
    }

    /// Ends capturing; a frame that still waits is dropped and told.
    pub fn stop(&mut self) {
        let Kind::Live(capture) = &mut self.kind else { return };
        capture.stop();
        if capture.take(&mut self.frame, &mut self.drops, Duration::ZERO) == Taken::Frame {
            self.drops.add(DropReason::Stopped, 1, "the run ended before its turn");
        }
    }
}

fn open_live(address: SourceAddress) -> Result<Kind> {
    let capture = match address {
        SourceAddress::V4l2(address) => Capture::start(V4l2Opener::new(address)),
        SourceAddress::Http { url, timeout } => {
            Capture::start(move || Ok(Box::new(HttpSource::open(&url, timeout, MonotonicClock)?) as Box<dyn Source>))
        }
        SourceAddress::Rpicam { camera, options } => {
            Capture::start(
                move || Ok(Box::new(RpicamSource::open(camera, options, MonotonicClock)?) as Box<dyn Source>),
            )
        }
        other => bail!("{other:?}: not a live source"),
    };
    Ok(Kind::Live(capture?))
}

fn open_recorded(address: SourceAddress, pace: Pace) -> Result<Box<dyn Source>> {
    let source: Box<dyn Source> = match address {
        SourceAddress::Pictures(path) => Box::new(PictureSource::new(find_pictures(&path)?)),
        SourceAddress::Mjpeg(path) => Box::new(MjpegFile::open(&path)?),
        SourceAddress::Y4m(path) => Box::new(Y4mFile::open(&path)?),
        SourceAddress::Pattern(pattern) => Box::new(PatternSource::new(pattern)),
        other => bail!("{other:?}: not a recorded source"),
    };
    if !pace.realtime {
        return Ok(source);
    }
    let rate = pace.frames_per_second.or_else(|| source.frames_per_second());
    let rate = rate.context("--realtime: these pictures have no rate of their own; name one with --fps")?;
    Ok(Box::new(Paced::new(source, MonotonicClock, rate)))
}

fn find_pictures(source: &str) -> Result<PictureFiles> {
    let files = PictureFiles::find(source)?;
    if files.other_files() > 0 {
        log::info!("{source}: {} files that are no pictures are passed over", files.other_files());
    }
    Ok(files)
}

fn shown(address: &str) -> String {
    if address.starts_with("http://") { tinysaver_board::without_credentials(address) } else { address.to_owned() }
}
