//! The picture's stream: one encoding for all viewers, and only while there are any.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use tinysaver_board::{Canvas, DecodeLimits, encode_preview, picture_of};
use tokio::sync::watch;

use super::Shared;
use crate::face::followers::Seen;
use crate::face::latest::Latest;
use crate::face::screen::facts;

/// The separator of the stream's parts.
pub(super) const BOUNDARY: &str = "tinysaver-frame";
const QUALITY: u8 = 80;
/// The picture's width: room for the overlay's words, and no more than a page shows.
const WIDTHS: (u32, u32) = (480, 960);

/// The encoder's hand-over points.
pub(super) struct Stream {
    slot: Latest<Seen>,
    /// The newest part, ready to be sent.
    parts: watch::Sender<Option<Bytes>>,
    viewers: Arc<AtomicUsize>,
    max_viewers: usize,
    interval: Duration,
    last_put: Mutex<Option<Instant>>,
}

impl Stream {
    pub(super) fn new(max_viewers: usize, interval: Duration) -> Self {
        Self {
            slot: Latest::default(),
            parts: watch::Sender::new(None),
            viewers: Arc::default(),
            max_viewers,
            interval,
            last_put: Mutex::new(None),
        }
    }

    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    pub(super) fn max_viewers(&self) -> usize {
        self.max_viewers
    }

    /// Somebody looks, the encoder has taken the last picture, and it is time for another.
    pub(super) fn wants_picture(&self) -> bool {
        self.viewers() > 0 && self.slot.is_empty() && self.is_due()
    }

    fn is_due(&self) -> bool {
        let last = self.last_put.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_none_or(|last| last.elapsed() >= self.interval)
    }

    pub(super) fn put(&self, seen: Seen) {
        *self.last_put.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.slot.put(seen);
    }

    pub(super) fn close(&self) {
        self.slot.close();
    }

    /// One more viewer; `None`: there are too many.
    pub(super) fn watch(&self) -> Option<Parts> {
        let more = |viewers: usize| (viewers < self.max_viewers).then_some(viewers + 1);
        let taken = self.viewers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let before = taken.ok()?;
        if before == 0 {
            // What was encoded for others may be hours old.
            self.parts.send_replace(None);
        }
        let place = Place(Arc::clone(&self.viewers));
        let mut receiver = self.parts.subscribe();
        receiver.mark_changed();
        Some(Parts { waiting: Box::pin(next_part(receiver)), is_first: true, place })
    }
}

/// A viewer's place, given back when the connection ends, however it ends.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Received = (watch::Receiver<Option<Bytes>>, Option<Bytes>);

/// Waits for a part that this viewer has not had.
async fn next_part(mut receiver: watch::Receiver<Option<Bytes>>) -> Received {
    loop {
        if receiver.changed().await.is_err() {
            return (receiver, None);
        }
        let part = receiver.borrow_and_update().clone();
        if part.is_some() {
            return (receiver, part);
        }
    }
}

/// A viewer's body: asked for more only when the connection has room, it gives the newest part.
pub(super) struct Parts {
    waiting: Pin<Box<dyn Future<Output = Received> + Send>>,
    is_first: bool,
    #[expect(dead_code, reason = "held until the body is dropped")]
    place: Place,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if std::mem::take(&mut self.is_first) {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(format!("--{BOUNDARY}\r\n"))))));
        }
        let Poll::Ready((receiver, part)) = self.waiting.as_mut().poll(context) else { return Poll::Pending };
        let Some(part) = part else { return Poll::Ready(None) };
        self.waiting = Box::pin(next_part(receiver));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }
}

/// The encoding thread.
pub(super) fn encode(shared: &Shared, limits: DecodeLimits) {
    while !shared.stream.slot.is_closed() {
        let Some(seen) = shared.stream.slot.take(Duration::from_secs(1)) else { continue };
        let now = Instant::now();
        let rate = shared.answers().frames_per_second(now);
        if let Some(jpeg) = draw(&seen, rate, limits) {
            shared.metrics.note_encoded(now.elapsed());
            shared.stream.parts.send_replace(Some(part(&jpeg)));
        }
    }
}

/// The overlay on the frame; `None` for a frame that cannot be shown, which then has no answer either.
fn draw(seen: &Seen, rate: Option<f64>, limits: DecodeLimits) -> Option<Vec<u8>> {
    let (least, most) = WIDTHS;
    let picture = picture_of(seen.picture.as_ref()?, (least, least * 3 / 4), limits).ok()?;
    let width = picture.width.clamp(least, most);
    let height = (u64::from(picture.height) * u64::from(width) / u64::from(picture.width.max(1))).clamp(90, 2000);
    let height = u32::try_from(height).unwrap_or(least);
    let mut canvas = Canvas::new(width, height);
    canvas.show(&facts(&seen.record, seen.record.answer()?, rate), Some(&picture));
    encode_preview(canvas.rgb(), width as usize, height as usize, QUALITY).ok()
}

/// A part with the next one's separator behind it: browsers show a picture only when it has come.
fn part(jpeg: &[u8]) -> Bytes {
    let mut part = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len()).into_bytes();
    part.extend_from_slice(jpeg);
    part.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
    part.into()
}
