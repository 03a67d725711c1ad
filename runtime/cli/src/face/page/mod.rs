//! The live page: what the board sees, health and metrics, over HTTP.
//!
//! Invariant: viewers cost the run nothing but a copy of a frame, and that only while they look. There is one encoding
//! for all of them; each takes the newest picture when it has room for it, and who takes nothing is dropped.

mod health;
mod html;
mod metrics;
mod site;
mod stream;

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result};
use tinysaver_board::{CaptureWatch, DecodeLimits, FrameBuffer};
use tinysaver_core::Record;
use tinysaver_offload::web::{ServerControl, serve_site};

use super::answers::Answers;
use super::followers::{Follower, Seen};
use super::settings::HttpSettings;
use crate::energy::BoardWatch;
use metrics::Metrics;
use stream::Stream;

/// What all of the page's parts share.
struct Shared {
    settings: HttpSettings,
    answers: Mutex<Answers>,
    capture: Option<CaptureWatch>,
    metrics: Metrics,
    stream: Stream,
    source: String,
    models: String,
}

impl Shared {
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the page tells of the run as a whole.
pub struct About {
    /// The source's address.
    pub source: String,
    /// Saver and base.
    pub models: String,
    /// For a live source.
    pub capture: Option<CaptureWatch>,
    /// What holds the board back.
    pub board: BoardWatch,
}

/// Follows a run for the live page.
pub struct LivePage {
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
    control: ServerControl,
    threads: Vec<JoinHandle<()>>,
}

impl LivePage {
    /// Takes the port and starts to serve.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub fn start(settings: &HttpSettings, about: About, limits: DecodeLimits) -> Result<Self> {
        let listener = std::net::TcpListener::bind(settings.listen)
            .with_context(|| format!("--http: cannot listen on {}", settings.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            log::warn!("the live page at {address} shows the camera to everybody in reach; 127.0.0.1 keeps it here");
        }
        let About { source, models, capture, board } = about;
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            answers: Mutex::new(Answers::new(Instant::now())),
            metrics: Metrics::new(capture.clone(), board),
            capture,
            stream: Stream::new(settings.max_viewers, settings.interval),
            source,
            models,
        });
        let (control, orders) = ServerControl::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (of_server, of_encoder) = (Arc::clone(&shared), Arc::clone(&shared));
        let serve = move || {
            runtime.block_on(async {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => drop(serve_site(listener, of_server, orders).await),
                    Err(error) => log::error!("the live page cannot be served: {error}"),
                }
            });
        };
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let threads = vec![
            spawn("http").spawn(serve).context("--http")?,
            spawn("encode").spawn(move || stream::encode(&of_encoder, limits)).context("--http")?,
        ];
        Ok(Self { shared, address, control, threads })
    }

    /// Where it can be looked at.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

impl Follower for LivePage {
    fn wants_picture(&self) -> bool {
        self.shared.stream.wants_picture()
    }

    fn take(&mut self, record: &Record, picture: Option<&Arc<FrameBuffer>>) {
        self.shared.answers().add(record, Instant::now());
        self.shared.metrics.add(record);
        // A picture may be there because somebody else wanted it.
        if let (Some(_), Some(picture), true) = (record.answer(), picture, self.wants_picture()) {
            self.shared.stream.put(Seen { record: record.clone(), picture: Some(Arc::clone(picture)) });
        }
    }

    fn finish(&mut self) {
        self.shared.stream.close();
        self.control.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                log::error!("a thread of the live page panicked; this is a defect");
            }
        }
    }
}
