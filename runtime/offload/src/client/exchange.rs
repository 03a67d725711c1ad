//! One question to a server and its answer, over whichever transport, with bounded replies.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use super::agreement::Transport;
use super::connection::{ClientTls, GrpcSender, GrpcService, RestSender, connect_grpc, connect_rest, origin};
use super::url::EndpointUrl;
use super::{MAX_REPLY_BYTES, RemoteFailure};
use crate::protocol::grpc::{Flag, ModelInferResponse, ModelMetadataResponse, ModelQuery, SERVICE};
use crate::protocol::rest::{decode_reply, encode_request};
use crate::protocol::{HEADER_LENGTH, InferReply, InferRequest, ModelMetadata};

/// Of an error's text, for logs.
const MAX_DETAIL_CHARS: usize = 200;
/// HTTP/1 connections that wait for the next frame.
const MAX_IDLE: usize = 4;

/// A server with its open connections. Only connections that are whole are kept.
pub(super) struct Peer {
    pub url: EndpointUrl,
    tls: Option<ClientTls>,
    token: Option<HeaderValue>,
    grpc: Mutex<Option<GrpcSender>>,
    rest: Mutex<Vec<RestSender>>,
}

/// A reply and what it weighed.
pub(super) struct Received {
    pub reply: InferReply,
    pub bytes: u64,
}

impl Peer {
    pub fn new(url: EndpointUrl, tls: Option<ClientTls>, token: Option<HeaderValue>) -> Self {
        Self { url, tls, token, grpc: Mutex::new(None), rest: Mutex::new(Vec::new()) }
    }

    /// Asks for an inference. `left` goes along as gRPC's own deadline.
    pub async fn infer(
        &self,
        transport: Transport,
        model: &str,
        request: &InferRequest,
        left: Duration,
    ) -> Result<Received, RemoteFailure> {
        match transport {
            Transport::Grpc => {
                let sent = request.to_grpc(model);
                let reply: ModelInferResponse = self.call("ModelInfer", sent, left).await?;
                let bytes = reply.raw_outputs.iter().map(|raw| raw.len() as u64).sum();
                let reply = InferReply::try_from(reply).map_err(|error| RemoteFailure::Server(error.to_string()))?;
                Ok(Received { reply, bytes })
            }
            Transport::RestBinary | Transport::RestJson => {
                let body = encode_request(request, transport == Transport::RestBinary);
                let body = body.map_err(|error| RemoteFailure::Server(error.to_string()))?;
                let path = format!("/v2/models/{model}/infer");
                let reply = self.http(Method::POST, &path, Some((body.bytes, body.json_bytes))).await?;
                let length = reply.header_length.as_deref();
                let bytes = reply.body.len() as u64;
                let reply =
                    decode_reply(&reply.body, length).map_err(|error| RemoteFailure::Server(error.to_string()))?;
                Ok(Received { reply, bytes })
            }
        }
    }

    /// Whether the model says that it is ready. Only the status counts; the server's own readiness says little.
    pub async fn ready(&self, grpc: bool, model: &str, left: Duration) -> Result<bool, RemoteFailure> {
        if grpc {
            let query = ModelQuery { name: model.to_owned(), version: String::new() };
            return match self.call::<_, Flag>("ModelReady", query, left).await {
                Ok(flag) => Ok(flag.yes),
                Err(RemoteFailure::Server(_)) => Ok(false),
                Err(other) => Err(other),
            };
        }
        match self.http(Method::GET, &format!("/v2/models/{model}/ready"), None).await {
            Ok(_) => Ok(true),
            Err(RemoteFailure::Server(_) | RemoteFailure::Busy(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    pub async fn describe(&self, grpc: bool, model: &str, left: Duration) -> Result<ModelMetadata, RemoteFailure> {
        if grpc {
            let query = ModelQuery { name: model.to_owned(), version: String::new() };
            let reply: ModelMetadataResponse = self.call("ModelMetadata", query, left).await?;
            return Ok(reply.into());
        }
        let reply = self.http(Method::GET, &format!("/v2/models/{model}"), None).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| RemoteFailure::Server(format!("the model's description: {error}")))
    }

    /// Forgets what is connected.
    pub fn disconnect(&self) {
        *lock(&self.grpc) = None;
        lock(&self.rest).clear();
    }

    async fn call<Q, R>(&self, method: &str, message: Q, left: Duration) -> Result<R, RemoteFailure>
    where
        Q: prost::Message + Send + Sync + 'static,
        R: prost::Message + Default + Send + Sync + 'static,
    {
        let sender = self.grpc_sender().await?;
        let service = GrpcService { sender: sender.clone(), token: self.token.clone() };
        let mut grpc = Grpc::with_origin(service, origin(&self.url)?).max_decoding_message_size(MAX_REPLY_BYTES);
        let path = format!("{SERVICE}{method}").parse().map_err(|_| RemoteFailure::Link("bad path".into()))?;
        let mut request = tonic::Request::new(message);
        request.set_timeout(left);
        grpc.ready().await.map_err(|error| self.lost(&error))?;
        match grpc.unary(request, path, ProstCodec::<Q, R>::default()).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(self.judge(&status, &sender)),
        }
    }

    fn lost(&self, error: &hyper::Error) -> RemoteFailure {
        *lock(&self.grpc) = None;
        RemoteFailure::Link(error.to_string())
    }

    /// Tells what the server said from what became of the connection.
    fn judge(&self, status: &tonic::Status, sender: &GrpcSender) -> RemoteFailure {
        use tonic::Code;
        let detail = shortened(&format!("{:?}: {}", status.code(), status.message()));
        let mut cause = std::error::Error::source(status);
        let mut broken = sender.is_closed();
        while let Some(error) = cause {
            broken |= error.is::<hyper::Error>() || error.is::<std::io::Error>();
            cause = error.source();
        }
        if broken {
            *lock(&self.grpc) = None;
            return RemoteFailure::Link(detail);
        }
        match status.code() {
            Code::DeadlineExceeded => RemoteFailure::Deadline,
            Code::Unavailable => RemoteFailure::Busy(detail),
            _ => RemoteFailure::Server(detail),
        }
    }

    async fn grpc_sender(&self) -> Result<GrpcSender, RemoteFailure> {
        if let Some(sender) = lock(&self.grpc).as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let sender = connect_grpc(&self.url, self.tls.as_ref()).await?;
        *lock(&self.grpc) = Some(sender.clone());
        Ok(sender)
    }

    /// Sends a request over a connection that is open already or a new one. A server may close an idle connection at any
    /// time, which shows only when it is used: then, and only then, the request is sent once more.
    async fn send_rest(
        &self,
        method: &Method,
        path: &str,
        body: Option<&(Bytes, Option<usize>)>,
    ) -> Result<(Response<Incoming>, RestSender), RemoteFailure> {
        let link = |error: hyper::Error| RemoteFailure::Link(error.to_string());
        // The one used last is the least likely to have been closed.
        let used = { lock(&self.rest).pop() };
        if let Some(mut sender) = used
            && sender.ready().await.is_ok()
        {
            match sender.send_request(self.http_request(method, path, body)?).await {
                Ok(response) => return Ok((response, sender)),
                Err(error) => log::debug!("{}: a used connection failed: {error}", self.url),
            }
        }
        let mut sender = connect_rest(&self.url, self.tls.as_ref()).await?;
        let response = sender.send_request(self.http_request(method, path, body)?).await.map_err(link)?;
        Ok((response, sender))
    }

    async fn http(
        &self,
        method: Method,
        path: &str,
        body: Option<(Bytes, Option<usize>)>,
    ) -> Result<HttpReply, RemoteFailure> {
        let (response, sender) = self.send_rest(&method, path, body.as_ref()).await?;
        let status = response.status();
        let header_length =
            response.headers().get(HEADER_LENGTH).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if response.body().size_hint().lower() > MAX_REPLY_BYTES as u64 {
            return Err(RemoteFailure::Server("the reply is too large".into()));
        }
        let body = Limited::new(response.into_body(), MAX_REPLY_BYTES).collect().await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                RemoteFailure::Server("the reply is too large".into())
            } else {
                RemoteFailure::Link(error.to_string())
            }
        })?;
        let body = body.to_bytes();
        let mut idle = lock(&self.rest);
        if idle.len() < MAX_IDLE {
            idle.push(sender);
        }
        drop(idle);
        match status {
            StatusCode::OK => Ok(HttpReply { header_length, body }),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                Err(RemoteFailure::Busy(error_text(status, &body)))
            }
            StatusCode::GATEWAY_TIMEOUT => Err(RemoteFailure::Deadline),
            _ => Err(RemoteFailure::Server(error_text(status, &body))),
        }
    }

    fn http_request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&(Bytes, Option<usize>)>,
    ) -> Result<Request<Full<Bytes>>, RemoteFailure> {
        let mut builder = Request::builder().method(method).uri(path).header(HOST, self.url.authority());
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token);
        }
        if let Some((bytes, json_bytes)) = body {
            builder = builder.header(CONTENT_LENGTH, bytes.len());
            builder = match json_bytes {
                Some(json_bytes) => {
                    builder.header(CONTENT_TYPE, "application/octet-stream").header(HEADER_LENGTH, *json_bytes)
                }
                None => builder.header(CONTENT_TYPE, "application/json"),
            };
        }
        let bytes = body.map(|(bytes, _)| bytes.clone()).unwrap_or_default();
        builder.body(Full::new(bytes)).map_err(|error| RemoteFailure::Link(error.to_string()))
    }
}

struct HttpReply {
    header_length: Option<String>,
    body: Bytes,
}

/// Whatever the content type says: JSON's `error` or `detail`, else the first letters.
fn error_text(status: StatusCode, body: &Bytes) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let said = json.as_ref().and_then(|json| json.get("error").or_else(|| json.get("detail")));
    let text = match said {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::from_utf8_lossy(body.get(..MAX_DETAIL_CHARS.min(body.len())).unwrap_or_default()).into_owned(),
    };
    shortened(&format!("{}: {text}", status.as_u16()))
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_DETAIL_CHARS).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_real_servers_are_understood() {
        let check = |body: &'static str| error_text(StatusCode::BAD_REQUEST, &Bytes::from_static(body.as_bytes()));
        assert_eq!(check(r#"{"error":"bad shape"}"#), "400: bad shape");
        assert_eq!(check(r#"{"detail":[{"loc":["body"]}]}"#), r#"400: [{"loc":["body"]}]"#);
        assert_eq!(check("Internal\nServer Error"), "400: Internal Server Error");
        assert_eq!(check(""), "400: ");
    }
}
