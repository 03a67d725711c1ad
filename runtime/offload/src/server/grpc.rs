//! The gRPC methods, framed by tonic.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use prost::Message;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::body::MeteredBody;
use super::budget::Charge;
use super::failure::Failure;
use super::infer::{App, Asker};
use crate::protocol::InferRequest;
use crate::protocol::grpc::{
    Empty, Flag, ModelInferRequest, ModelInferResponse, ModelMetadataResponse, ModelQuery, SERVICE,
    ServerMetadataResponse,
};

/// Answers one call.
pub(super) async fn answer(app: &Arc<App>, asker: Asker, request: Request<Incoming>) -> Response<Body> {
    let method = request.uri().path().strip_prefix(SERVICE).unwrap_or_default().to_owned();
    let open = matches!(method.as_str(), "ServerLive" | "ServerReady");
    if let Err(failure) = app.admit(request.headers().get(AUTHORIZATION))
        && !open
    {
        return Status::from(failure).into_http();
    }
    let charge = Charge::new(&app.budget);
    let timeout = timeout(request.headers());
    let request = request.map(|body| MeteredBody::new(body, Arc::clone(&charge), app.limits.max_body_bytes));
    match method.as_str() {
        "ServerLive" => call(app, request, |_: Empty| async { Ok(Flag { yes: true }) }).await,
        "ServerReady" => call(app, request, |_: Empty| async { Ok(Flag { yes: app.ready() }) }).await,
        "ServerMetadata" => call(app, request, |_: Empty| async { Ok(server_metadata()) }).await,
        "ModelReady" => {
            let ready = |query: ModelQuery| async move {
                Ok(Flag { yes: app.ready() && app.model(&query.name, &query.version).is_ok() })
            };
            call(app, request, ready).await
        }
        "ModelMetadata" => {
            let describe = |query: ModelQuery| async move {
                let model = app.model(&query.name, &query.version)?;
                Ok(ModelMetadataResponse::from(model.metadata.clone()))
            };
            call(app, request, describe).await
        }
        "ModelInfer" => call(app, request, |wire| infer(app, asker, wire, timeout)).await,
        _ => Status::new(Code::Unimplemented, "no such method of inference.GRPCInferenceService").into_http(),
    }
}

async fn infer(
    app: &App,
    asker: Asker,
    mut wire: ModelInferRequest,
    timeout: Option<Duration>,
) -> Result<ModelInferResponse, Failure> {
    app.metrics.received_bytes.inc_by(wire.encoded_len() as u64);
    let (name, version) = (std::mem::take(&mut wire.model_name), std::mem::take(&mut wire.model_version));
    let request = InferRequest::try_from(wire).map_err(Failure::from);
    Ok(app.infer(asker, &name, &version, request, timeout).await?.into())
}

fn server_metadata() -> ServerMetadataResponse {
    let metadata = App::metadata();
    ServerMetadataResponse {
        name: metadata.name,
        version: metadata.version.unwrap_or_default(),
        extensions: metadata.extensions.unwrap_or_default(),
    }
}

async fn call<Q, R, F, Fut>(app: &App, request: Request<MeteredBody>, method: F) -> Response<Body>
where
    Q: Message + Default + Send + 'static,
    R: Message + Send + 'static,
    F: Fn(Q) -> Fut,
    Fut: Future<Output = Result<R, Failure>>,
{
    let codec = ProstCodec::<R, Q>::default();
    let mut grpc = Grpc::new(codec).max_decoding_message_size(app.limits.max_body_bytes);
    // The time limit is on the whole call: what a model may take is limited by itself.
    let longest = app.limits.body_timeout + app.limits.max_queue_wait;
    match tokio::time::timeout(longest, grpc.unary(Method(method), request)).await {
        Ok(response) => response,
        Err(_) => Status::from(Failure::Deadline).into_http(),
    }
}

/// tonic wants a tower service; a function is one.
struct Method<F>(F);

impl<Q, R, F, Fut> tonic::server::UnaryService<Q> for Method<F>
where
    F: Fn(Q) -> Fut,
    Fut: Future<Output = Result<R, Failure>>,
{
    type Response = R;
    type Future = Wrapped<Fut>;

    fn call(&mut self, request: tonic::Request<Q>) -> Self::Future {
        Wrapped(Box::pin((self.0)(request.into_inner())))
    }
}

struct Wrapped<Fut>(std::pin::Pin<Box<Fut>>);

impl<R, Fut: Future<Output = Result<R, Failure>>> Future for Wrapped<Fut> {
    type Output = Result<tonic::Response<R>, Status>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context).map(|result| result.map(tonic::Response::new).map_err(Status::from))
    }
}

/// gRPC's own deadline: at most 8 digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(amount.saturating_mul(3600))),
        "M" => Some(Duration::from_secs(amount.saturating_mul(60))),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_as_grpc_writes_them() {
        let check = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            timeout(&headers)
        };
        assert_eq!(check("250m"), Some(Duration::from_millis(250)));
        assert_eq!(check("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "5", "-1m", "123456789S", "1x", "1.5S"] {
            assert_eq!(check(wrong), None, "{wrong}");
        }
    }
}
