//! One connection to a server: TCP, perhaps TLS, then HTTP/2 for gRPC or HTTP/1 for REST.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::body::Body;

use super::RemoteFailure;
use super::url::EndpointUrl;

/// A silent HTTP/2 server is found out after twice this.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// What a server may send before it is read.
const WINDOW_BYTES: u32 = 256 << 10;
/// Head of a reply.
const MAX_HEAD_BYTES: usize = 16 << 10;

pub(super) type GrpcSender = http2::SendRequest<Body>;
pub(super) type RestSender = http1::SendRequest<Full<Bytes>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS settings for each of the two.
#[derive(Debug, Clone)]
pub(super) struct ClientTls {
    pub grpc: Arc<ClientConfig>,
    pub rest: Arc<ClientConfig>,
}

async fn connect(url: &EndpointUrl, tls: Option<Arc<ClientConfig>>) -> Result<Box<dyn Stream>, RemoteFailure> {
    let link = |what: &str, error: std::io::Error| RemoteFailure::Link(format!("{what}: {error}"));
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await.map_err(|error| link("connect", error))?;
    stream.set_nodelay(true).map_err(|error| link("connect", error))?;
    let Some(config) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| RemoteFailure::Link(format!("'{}' is no name that a certificate can have", url.host)))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|error| link("TLS", error))?;
    Ok(Box::new(stream))
}

/// Connects for gRPC.
pub(super) async fn connect_grpc(url: &EndpointUrl, tls: Option<&ClientTls>) -> Result<GrpcSender, RemoteFailure> {
    let stream = connect(url, tls.map(|tls| Arc::clone(&tls.grpc))).await?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| RemoteFailure::Link(format!("HTTP/2: {error}")))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("connection ended: {error}");
        }
    });
    Ok(sender)
}

/// Connects for REST.
pub(super) async fn connect_rest(url: &EndpointUrl, tls: Option<&ClientTls>) -> Result<RestSender, RemoteFailure> {
    let stream = connect(url, tls.map(|tls| Arc::clone(&tls.rest))).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| RemoteFailure::Link(format!("HTTP/1: {error}")))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("connection ended: {error}");
        }
    });
    Ok(sender)
}

/// A gRPC connection as tonic wants it: adds the token to each request.
#[derive(Clone)]
pub(super) struct GrpcService {
    pub sender: GrpcSender,
    pub token: Option<HeaderValue>,
}

impl tower_service::Service<Request<Body>> for GrpcService {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(token) = &self.token {
            request.headers_mut().insert(http::header::AUTHORIZATION, token.clone());
        }
        Box::pin(self.sender.send_request(request))
    }
}

/// What stands before every path.
pub(super) fn origin(url: &EndpointUrl) -> Result<Uri, RemoteFailure> {
    let scheme = if url.tls { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(url.authority()).path_and_query("/").build();
    uri.map_err(|error| RemoteFailure::Link(error.to_string()))
}
