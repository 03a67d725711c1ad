//! Finds out how to speak to a server: is the model ready, what does it take, what works. The first that works is kept.

use std::time::{Duration, Instant};

use super::agreement::{Agreement, Form, Transport, forms, usable};
use super::exchange::Peer;
use super::url::Scheme;
use super::{EndpointOptions, RemoteFailure};

/// Behind a model's name: the same model, taking photos, as Triton's repositories usually name it.
const PHOTO_SUFFIX: &str = "_jpeg";

/// Asks a server what works. Trouble with the connection ends it; a refusal only ends the attempt.
pub(super) async fn agree(peer: &Peer, options: &EndpointOptions, until: Instant) -> Result<Agreement, RemoteFailure> {
    let mut first_trouble = None;
    if let Some(agreement) = over_grpc(peer, options, until).await.unwrap_or_else(|trouble| {
        first_trouble = Some(trouble);
        None
    }) {
        return Ok(agreement);
    }
    if options.url.scheme == Scheme::Grpc {
        return Err(first_trouble.unwrap_or_else(nothing_works));
    }
    for transport in [Transport::RestBinary, Transport::RestJson] {
        if let Some(agreement) = over(peer, options, transport, until).await? {
            return Ok(agreement);
        }
    }
    Err(nothing_works())
}

/// Asks whether the model is still there and still answers as agreed.
pub(super) async fn confirm(
    peer: &Peer,
    options: &EndpointOptions,
    agreement: &Agreement,
    until: Instant,
) -> Result<(), RemoteFailure> {
    let grpc = agreement.transport == Transport::Grpc;
    if !peer.ready(grpc, &agreement.model, left(until)).await? {
        return Err(RemoteFailure::Busy(format!("model '{}' is not ready", agreement.model)));
    }
    attempt(peer, options, agreement, until).await
}

fn nothing_works() -> RemoteFailure {
    RemoteFailure::Server("no way of asking that this program knows works with it".into())
}

async fn over_grpc(peer: &Peer, options: &EndpointOptions, until: Instant) -> Result<Option<Agreement>, RemoteFailure> {
    over(peer, options, Transport::Grpc, until).await
}

async fn over(
    peer: &Peer,
    options: &EndpointOptions,
    transport: Transport,
    until: Instant,
) -> Result<Option<Agreement>, RemoteFailure> {
    let grpc = transport == Transport::Grpc;
    if !peer.ready(grpc, &options.model, left(until)).await? {
        return Err(RemoteFailure::Busy(format!("model '{}' is not ready", options.model)));
    }
    let description = peer.describe(grpc, &options.model, left(until)).await?;
    let Some(input) = description.inputs.first() else {
        return Err(RemoteFailure::Server(format!("model '{}' says nothing of its inputs", options.model)));
    };
    let mut candidates = Vec::new();
    let candidate = |model: &str, form: Form, input: &str, shape: &[i64]| Agreement {
        transport,
        form,
        model: model.to_owned(),
        input: input.to_owned(),
        shape: shape.to_vec(),
    };
    // JSON has no room for a photo's bytes.
    if options.photos && transport != Transport::RestJson {
        candidates.push(candidate(&options.model, Form::Photo, &input.name, &[1, 1]));
        let photo_model = format!("{}{PHOTO_SUFFIX}", options.model);
        if input.datatype != "BYTES" && peer.ready(grpc, &photo_model, left(until)).await.unwrap_or(false) {
            let name =
                peer.describe(grpc, &photo_model, left(until)).await?.inputs.first().map(|input| input.name.clone());
            candidates.extend(name.map(|name| candidate(&photo_model, Form::Photo, &name, &[1, 1])));
        }
    }
    if let Some((form, shape)) = forms(input, options.height, options.width) {
        candidates.push(candidate(&options.model, form, &input.name, &shape));
    }
    for agreement in candidates {
        match attempt(peer, options, &agreement, until).await {
            Ok(()) => return Ok(Some(agreement)),
            Err(RemoteFailure::Server(detail)) => {
                log::info!("{}: {} over {}: {detail}", peer.url, agreement.form.name(), transport.name());
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(None)
}

/// A whole inference on a picture that says nothing.
async fn attempt(
    peer: &Peer,
    options: &EndpointOptions,
    agreement: &Agreement,
    until: Instant,
) -> Result<(), RemoteFailure> {
    let left = left(until);
    let payload = (options.sample)(agreement.form);
    let timeout_us = u64::try_from(left.as_micros()).unwrap_or(u64::MAX);
    let request = agreement.request("probe", &payload, timeout_us)?;
    let received = peer.infer(agreement.transport, &agreement.model, &request, left).await?;
    usable(&received.reply, "probe", options.classes).map(drop)
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
