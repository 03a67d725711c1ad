//! The REST paths.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;
use tonic::body::Body;

use super::body::MeteredBody;
use super::budget::Charge;
use super::failure::Failure;
use super::infer::{App, Asker, VERSION};
use crate::protocol::rest::{RestBody, decode_request, encode_reply};
use crate::protocol::{HEADER_LENGTH, InferRequest};

const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How many bytes of memory a byte of JSON may become: a digit and a comma are an 8-byte number.
const JSON_GROWTH: usize = 4;
/// A JSON body beyond this is read on another thread, so that no connection waits for it.
const LONG_JSON_BYTES: usize = 64 << 10;

type Reply = Result<Response<Body>, Failure>;

/// Answers one request.
pub(super) async fn answer(app: &App, asker: Asker, request: Request<Incoming>) -> Response<Body> {
    let reply = route(app, asker, request).await;
    reply.unwrap_or_else(|failure| failure_response(&failure))
}

async fn route(app: &App, asker: Asker, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if let ["v2", "health", rest @ ("live" | "ready")] = segments.as_slice() {
        only(&request, &Method::GET, "GET")?;
        let ok = *rest == "live" || app.ready();
        return Ok(status_only(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }));
    }
    app.admit(request.headers().get(AUTHORIZATION))?;
    match segments.as_slice() {
        ["v2"] => get(&request, || Ok(json(&App::metadata()))),
        ["metrics"] => get(&request, || metrics(app)),
        ["v2", "models", model] => get(&request, || Ok(json(&app.model(model, "")?.metadata))),
        ["v2", "models", model, "versions", version] => {
            get(&request, || Ok(json(&app.model(model, version)?.metadata)))
        }
        ["v2", "models", model, "ready"] => get(&request, || model_ready(app, model, "")),
        ["v2", "models", model, "versions", version, "ready"] => get(&request, || model_ready(app, model, version)),
        ["v2", "models", model, "infer"] => infer(app, asker, model, "", request).await,
        ["v2", "models", model, "versions", version, "infer"] => infer(app, asker, model, version, request).await,
        ["v2", "repository", "index"] => {
            only(&request, &Method::POST, "POST")?;
            let models =
                app.models().map(|model| json!({"name": model.metadata.name, "version": VERSION, "state": "READY"}));
            Ok(json(&models.collect::<Vec<_>>()))
        }
        _ => Err(Failure::NotFound("no such path; the protocol's begin with /v2".into())),
    }
}

fn only(request: &Request<Incoming>, method: &Method, name: &'static str) -> Result<(), Failure> {
    if request.method() == method { Ok(()) } else { Err(Failure::Method(name)) }
}

fn get(request: &Request<Incoming>, reply: impl FnOnce() -> Reply) -> Reply {
    only(request, &Method::GET, "GET")?;
    reply()
}

fn model_ready(app: &App, model: &str, version: &str) -> Reply {
    app.model(model, version)?;
    Ok(status_only(if app.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }))
}

fn metrics(app: &App) -> Reply {
    let text = app.metrics.text().map_err(|error| Failure::Model(error.to_string()))?;
    Ok(with_type(OPEN_METRICS, text.into()))
}

async fn infer(app: &App, asker: Asker, model: &str, version: &str, request: Request<Incoming>) -> Reply {
    only(&request, &Method::POST, "POST")?;
    let charge = Charge::new(&app.budget);
    let (parts, body) = request.into_parts();
    let decoded = read(app, &parts.headers, body, &charge).await;
    // How the reply is wanted is all that is needed after the tensors have gone to a worker.
    let wanted = decoded.as_ref().ok().map(|request| InferRequest {
        parameters: request.parameters.clone(),
        outputs: request.outputs.clone(),
        ..InferRequest::default()
    });
    let reply = app.infer(asker, model, version, decoded, None).await?;
    let body = encode_reply(&reply, &wanted.unwrap_or_default()).map_err(|error| Failure::Model(error.to_string()))?;
    Ok(body_response(body))
}

/// Reads a body within its limits of size, memory and time.
async fn read(app: &App, headers: &HeaderMap, body: Incoming, charge: &Arc<Charge>) -> Result<InferRequest, Failure> {
    let max_bytes = app.limits.max_body_bytes;
    let header_length = header_text(headers, HEADER_LENGTH)?;
    let encoding = headers.get(http::header::CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
    if encoding.is_some() {
        return Err(Failure::Request("compressed bodies are not taken".into()));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max_bytes as u64) {
        return Err(Failure::TooLarge { max_bytes });
    }
    let metered = MeteredBody::new(body, Arc::clone(charge), max_bytes);
    let collected = tokio::time::timeout(app.limits.body_timeout, metered.collect()).await;
    let bytes = match collected {
        Err(_) => return Err(Failure::SlowBody),
        Ok(Err(status)) => {
            return Err(match Failure::from(&status) {
                Failure::TooLarge { .. } => Failure::TooLarge { max_bytes },
                other => other,
            });
        }
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    app.metrics.received_bytes.inc_by(bytes.len() as u64);
    decode(bytes, header_length, charge).await
}

async fn decode(bytes: Bytes, header_length: Option<String>, charge: &Charge) -> Result<InferRequest, Failure> {
    let binary = header_length.as_ref().and_then(|length| length.parse::<usize>().ok());
    let json_bytes = binary.unwrap_or(bytes.len());
    if !charge.take(json_bytes.min(bytes.len()).saturating_mul(JSON_GROWTH)) {
        return Err(Failure::Busy("memory for requests is used up"));
    }
    let parse = move || decode_request(&bytes, header_length.as_deref());
    if json_bytes < LONG_JSON_BYTES {
        return Ok(parse()?);
    }
    let parsed = tokio::task::spawn_blocking(parse).await;
    Ok(parsed.map_err(|error| Failure::Model(error.to_string()))??)
}

fn header_text(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::Request(format!("more than one header {name}")));
    }
    let text = value.to_str().map_err(|_| Failure::Request(format!("header {name} is no text")))?;
    Ok(Some(text.to_owned()))
}

fn json<T: serde::Serialize>(value: &T) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => with_type(JSON, text.into()),
        Err(error) => failure_response(&Failure::Model(error.to_string())),
    }
}

fn status_only(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn with_type(content_type: &'static str, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(bytes)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn body_response(body: RestBody) -> Response<Body> {
    let Some(json_bytes) = body.json_bytes else { return with_type(JSON, body.bytes) };
    let mut response = with_type("application/octet-stream", body.bytes);
    response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(json_bytes));
    response
}

fn failure_response(failure: &Failure) -> Response<Body> {
    let text = json!({ "error": failure.to_string() }).to_string();
    let mut response = with_type(JSON, text.into());
    *response.status_mut() = failure.http_status();
    match failure {
        Failure::Busy(_) => {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Failure::Method(method) => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
        }
        _ => {}
    }
    response
}
