//! The saver's side of offloading: makes what a base needs of a frame, asks, and lets the frame wait elsewhere.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tinysaver_core::route::{Degraded, PendingFrame, Route, RoutePolicy, RoutePrices};
use tinysaver_offload::client::{Client, EndpointOptions, Form, Patience};

use super::answers::{Draft, Waiting};
use super::bases::{Bases, Message};
use super::local::LocalBase;
use super::payload::PayloadMaker;
use super::settings::OffloadSettings;
use crate::cascade::Stage;
use crate::frames::{Image, micros_since};
use crate::pair::{ModelEntry, Pair};

/// Exact pixels of a small base are hardly more bytes than a photo, and cost the base nothing.
const SMALL_PIXELS_BYTES: usize = 64 << 10;
/// Before the first payload is known: a photo of some hundred pixels.
const GUESSED_BYTES: u64 = 20_000;

/// Sends frames on their way.
pub struct Escalator {
    bases: Arc<Bases>,
    maker: PayloadMaker,
    deadline: Duration,
    last_bytes: u64,
    max_waiting: usize,
}

/// What became of an escalated frame at once.
pub enum Escalated {
    /// It waits for a message.
    Waits(Box<Waiting>),
    /// No base can help: the draft with the reason.
    Falls(Draft, Degraded),
}

impl Escalator {
    /// Looks for the servers and starts the local base, if there is one to be.
    ///
    /// # Errors
    /// Certificates or a pair that cannot be used. Servers need not be there.
    pub fn start(
        pair: &Pair,
        base: &ModelEntry,
        classes: usize,
        settings: &OffloadSettings,
        prices: Option<RoutePrices>,
        local: Option<Stage>,
        messages: Sender<Message>,
    ) -> Result<Self> {
        let maker =
            || PayloadMaker::new(&pair.preprocess(base), base.input, settings.jpeg_quality, settings.photo_scale);
        let samples = samples(&mut maker()?)?;
        let sample = Arc::new(move |form: Form| {
            samples.iter().find(|(known, _)| *known == form).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
        });
        let endpoints = settings.urls.iter().map(|url| EndpointOptions {
            model: url.model.clone().unwrap_or_else(|| base.id.clone()),
            url: url.clone(),
            tls: settings.tls.clone(),
            token: settings.token.clone(),
            photos: settings.photos && base.input * base.input * 3 > SMALL_PIXELS_BYTES,
            height: base.input,
            width: base.input,
            classes,
            sample: sample.clone(),
        });
        let policy = RoutePolicy::default();
        let patience = Patience::default();
        let client = Client::start(endpoints.collect(), settings.router(policy, prices), patience)?;
        let local = local.map(LocalBase::start).transpose().context("cannot start the base's thread")?;
        // Without it the first frames of a short run would find no server.
        client.wait_until_settled(patience.probe);
        Ok(Self {
            bases: Arc::new(Bases::new(client, local, messages)),
            maker: maker()?,
            deadline: settings.deadline,
            last_bytes: GUESSED_BYTES,
            max_waiting: usize::try_from(policy.max_in_flight)?,
        })
    }

    /// For whoever collects the answers.
    pub fn bases(&self) -> Arc<Bases> {
        Arc::clone(&self.bases)
    }

    /// How many frames may wait before a source that has time should.
    pub fn max_waiting(&self) -> usize {
        self.max_waiting
    }

    /// Decides where the frame goes and sends it there. `coded` is the JPEG that it came as, if it did.
    ///
    /// # Errors
    /// The frame cannot be scaled or coded.
    pub fn escalate(&mut self, image: &Image, coded: Option<&[u8]>, mut draft: Draft) -> Result<Escalated> {
        let started = Instant::now();
        let pixels = Arc::new(self.maker.pixels(image)?);
        draft.add_resize_us(micros_since(started));
        let left = self.deadline.saturating_sub(draft.age());
        let (sequence, deadline) = (draft.sequence(), Instant::now() + left);
        let client = &self.bases.client;
        let now = client.now();
        match client.route(left, self.last_bytes) {
            Route::Saver(reason) => Ok(Escalated::Falls(draft, reason)),
            Route::Local => {
                self.bases.ask_local(sequence, &pixels, deadline);
                let frame = PendingFrame::local(now + left);
                Ok(Escalated::Waits(Box::new(Waiting::new(draft, frame, pixels, deadline))))
            }
            Route::Remote { endpoint, hedge_after } => {
                let encoding = Instant::now();
                let payload = match client.agreement(endpoint) {
                    Some(agreement) => self.maker.payload(agreement.form, image, &pixels, coded),
                    None => Err(anyhow!("the server's form is not known")),
                };
                let payload = payload.inspect_err(|_| client.cancel(endpoint))?;
                self.last_bytes = payload.len() as u64;
                let (encode_us, handing_over) = (micros_since(encoding), Instant::now());
                self.bases.ask_remote(endpoint, sequence, payload, deadline);
                draft.sent(encode_us, micros_since(handing_over), self.last_bytes);
                let hedge_at = hedge_after.map(|after| now + after);
                let frame = PendingFrame::remote(now + left, hedge_at, self.bases.has_local());
                Ok(Escalated::Waits(Box::new(Waiting::new(draft, frame, pixels, deadline))))
            }
        }
    }
}

/// A grey picture in each form that any server could want.
fn samples(maker: &mut PayloadMaker) -> Result<Vec<(Form, bytes::Bytes)>> {
    let mut samples = Vec::new();
    for form in [
        Form::Photo,
        Form::Pixels { planes: false },
        Form::Pixels { planes: true },
        Form::Floats { planes: false },
        Form::Floats { planes: true },
    ] {
        samples.push((form, maker.sample(form)?));
    }
    Ok(samples)
}
