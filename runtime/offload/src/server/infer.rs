//! What both protocols do alike: find the model, wait for its worker, count, log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use subtle::ConstantTimeEq;

use super::budget::Budget;
use super::failure::Failure;
use super::metrics::{Metrics, ModelLabels, RequestLabels};
use super::queue::{Done, Queue};
use super::{Limits, ModelOffer, ServeError, ServerOptions};
use crate::protocol::{InferReply, InferRequest, ModelMetadata, ServerMetadata};

/// The one version that every model has.
pub(super) const VERSION: &str = "1";

/// A model with its queue.
pub(super) struct ServedModel {
    pub metadata: ModelMetadata,
    queue: Arc<Queue>,
}

/// Everything that connections share.
pub(super) struct App {
    models: BTreeMap<String, ServedModel>,
    pub limits: Limits,
    token: Option<String>,
    pub budget: Arc<Budget>,
    pub metrics: Metrics,
    stopping: AtomicBool,
}

/// Who asks, how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub protocol: &'static str,
    pub peer: SocketAddr,
}

impl App {
    pub fn start(offers: Vec<ModelOffer>, options: ServerOptions) -> Result<Self, ServeError> {
        let mut models = BTreeMap::new();
        for ModelOffer { faces, workers } in offers {
            let Some(first) = faces.first().map(|face| face.name.clone()) else { continue };
            if workers.is_empty() {
                return Err(ServeError::Model { name: first, detail: "it has no worker" });
            }
            let queue = Arc::new(Queue::start(&first, workers, options.limits.queue_length)?);
            for mut metadata in faces {
                let name = metadata.name.clone();
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                if name.is_empty() || !name.bytes().all(plain) {
                    return Err(ServeError::Model {
                        name,
                        detail: "a name has letters, digits, '.', '_' and '-' only",
                    });
                }
                metadata.versions = Some(vec![VERSION.to_owned()]);
                let model = ServedModel { metadata, queue: Arc::clone(&queue) };
                if models.insert(name.clone(), model).is_some() {
                    return Err(ServeError::Model { name, detail: "there is another one of that name" });
                }
            }
        }
        Ok(Self {
            models,
            budget: Budget::new(options.limits.max_memory_bytes),
            limits: options.limits,
            token: options.token,
            metrics: Metrics::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Not ready any more.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn ready(&self) -> bool {
        !self.stopping.load(Ordering::Relaxed)
    }

    pub fn models(&self) -> impl Iterator<Item = &ServedModel> {
        self.models.values()
    }

    pub fn metadata() -> ServerMetadata {
        ServerMetadata {
            name: "tinysaver".into(),
            version: Some(env!("CARGO_PKG_VERSION").into()),
            extensions: Some(vec!["binary_tensor_data".into()]),
        }
    }

    /// The model of that name; an empty version is any.
    pub fn model(&self, name: &str, version: &str) -> Result<&ServedModel, Failure> {
        let known = || self.models.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let model = self
            .models
            .get(name)
            .ok_or_else(|| Failure::NotFound(format!("unknown model '{}'; there are {}", shown(name), known())))?;
        if version.is_empty() || version == VERSION {
            Ok(model)
        } else {
            Err(Failure::NotFound(format!("model '{name}' has no version '{}', only {VERSION}", shown(version))))
        }
    }

    /// Whether whoever sent this `authorization` header may ask.
    pub fn admit(&self, authorization: Option<&http::HeaderValue>) -> Result<(), Failure> {
        let Some(token) = &self.token else { return Ok(()) };
        let sent = authorization.map(http::HeaderValue::as_bytes).unwrap_or_default();
        let sent = sent.split_first_chunk::<7>().filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        let right = sent.is_some_and(|(_, sent)| bool::from(sent.ct_eq(token.as_bytes())));
        if right { Ok(()) } else { Err(Failure::Token) }
    }

    /// Runs a request; counts and logs how it went. `timeout` is what the asker's protocol says; a `timeout` parameter of
    /// the request may shorten it.
    pub async fn infer(
        &self,
        asker: Asker,
        name: &str,
        version: &str,
        request: Result<InferRequest, Failure>,
        timeout: Option<Duration>,
    ) -> Result<InferReply, Failure> {
        let started = Instant::now();
        let result = self.run(name, version, request, timeout).await;
        let outcome = result.as_ref().map_or_else(Failure::name, |_| "ok");
        let model = if self.models.contains_key(name) { name } else { "" };
        let labels = RequestLabels { model: model.to_owned(), protocol: asker.protocol, outcome };
        self.metrics.requests.get_or_create(&labels).inc();
        let took_us = started.elapsed().as_micros();
        match result {
            Ok((reply, done)) => {
                self.metrics.note_stage(name, "wait", done.waited);
                self.metrics.note_stage(name, "compute", done.computed);
                log::info!(
                    target: "tinysaver::requests",
                    "{} {} model={name} outcome=ok wait_us={} compute_us={} total_us={took_us}",
                    asker.peer, asker.protocol, done.waited.as_micros(), done.computed.as_micros()
                );
                Ok(reply)
            }
            Err(failure) => {
                log::info!(
                    target: "tinysaver::requests",
                    "{} {} model={model} outcome={outcome} total_us={took_us}: {failure}", asker.peer, asker.protocol
                );
                Err(failure)
            }
        }
    }

    async fn run(
        &self,
        name: &str,
        version: &str,
        request: Result<InferRequest, Failure>,
        timeout: Option<Duration>,
    ) -> Result<(InferReply, Done), Failure> {
        let model = self.model(name, version)?;
        let request = request?;
        if !self.ready() {
            return Err(Failure::Busy("the server is going down"));
        }
        let id = request.id.clone();
        let asked = request.timeout_us().map(Duration::from_micros);
        let longest = self.limits.max_queue_wait;
        let wait = [asked, timeout].into_iter().flatten().fold(longest, Duration::min);
        let gauge = self.metrics.queue.get_or_create(&ModelLabels { model: name.to_owned() }).clone();
        gauge.set(i64::try_from(model.queue.waiting()).unwrap_or(i64::MAX));
        let mut done = model.queue.run(request, Instant::now() + wait).await?;
        gauge.set(i64::try_from(model.queue.waiting()).unwrap_or(i64::MAX));
        let outputs = std::mem::take(&mut done.outputs);
        let reply = InferReply { model_name: name.to_owned(), model_version: Some(VERSION.to_owned()), id, outputs };
        Ok((reply, done))
    }
}

/// A name from outside, short enough for a message.
fn shown(name: &str) -> String {
    name.chars().take(60).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}
