//! The embedded server: REST and gRPC on one port, a bounded queue and its workers behind each model.
//!
//! Invariants: every request gets one reply or a closed connection; whatever it claims about its size, no more memory is
//! held for all requests together than [`Limits::max_memory_bytes`], for results and HTTP/2 windows not counted; a full
//! queue says so at once.

mod body;
mod budget;
mod failure;
mod grpc;
mod infer;
mod metrics;
mod queue;
mod rest;
mod site;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::protocol::{InferRequest, ModelMetadata, Tensor};
use crate::tls::{TlsError, TlsFiles};
use crate::web::{ReloadingTls, serve_with_tls};
pub use crate::web::{ServerControl, ServerOrders};

/// What one request, one connection and all of them together may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body of a request.
    pub max_body_bytes: usize,
    /// Bodies of all requests together, and what JSON grows to.
    pub max_memory_bytes: usize,
    /// Connections at one time; further ones are closed at once.
    pub max_connections: usize,
    /// For a TLS handshake, and for the head of a request (an idle HTTP/1 connection is closed after it, too).
    pub head_timeout: Duration,
    /// From the head of a request to the end of its body.
    pub body_timeout: Duration,
    /// Requests that wait for a worker, per model.
    pub queue_length: usize,
    /// A request that has waited this long for a worker is refused.
    pub max_queue_wait: Duration,
    /// How long requests in hand may take after a signal to stop.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 16 << 20,
            max_memory_bytes: 256 << 20,
            max_connections: 1000,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            queue_length: 64,
            max_queue_wait: Duration::from_secs(2),
            drain: Duration::from_secs(10),
        }
    }
}

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    /// Its limits.
    pub limits: Limits,
    /// Certificate, key and, for mutual TLS, the authority of the clients; without them all is plain text.
    pub tls: Option<TlsFiles>,
    /// What a client must send as `authorization: Bearer ...`, except to the health endpoints.
    pub token: Option<String>,
}

/// One worker's copy of a model.
pub trait Worker: Send {
    /// Runs a request; the request is consistent in itself, but nothing says that it fits the model.
    ///
    /// # Errors
    /// It does not fit, or the model failed.
    fn infer(&mut self, request: &InferRequest) -> Result<Vec<Tensor>, WorkerError>;
}

/// Why a worker has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The asker's fault: another request of the same kind fails again.
    #[error("{0}")]
    Request(String),
    /// Ours.
    #[error("{0}")]
    Model(String),
}

/// A model to serve: what it says of itself, and one worker for each request that runs at the same time.
pub struct ModelOffer {
    /// Names and tensors: a model may be known by several names, each with another kind of input.
    pub faces: Vec<ModelMetadata>,
    /// At least one.
    pub workers: Vec<Box<dyn Worker>>,
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A model that cannot be offered.
    #[error("model '{name}': {detail}")]
    Model {
        /// Its name.
        name: String,
        /// Why.
        detail: &'static str,
    },
    /// The system refuses threads or signals.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// A server that has its port.
pub struct Server {
    listener: TcpListener,
    app: Arc<infer::App>,
    acceptor: Option<ReloadingTls>,
}

impl Server {
    /// Takes the port, reads the certificates and starts the workers. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(
        address: SocketAddr,
        models: Vec<ModelOffer>,
        options: ServerOptions,
    ) -> Result<Self, ServeError> {
        let acceptor = options.tls.clone().map(ReloadingTls::load).transpose()?;
        let listener = TcpListener::bind(address).await.map_err(|source| ServeError::Bind { address, source })?;
        let app = Arc::new(infer::App::start(models, options)?);
        Ok(Self { listener, app, acceptor })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle to stop or reload it, and the server's part of it.
    #[must_use]
    pub fn control(&self) -> (ServerControl, ServerOrders) {
        ServerControl::new()
    }

    /// Serves until told to stop; then finishes what is in hand. Returns how many connections had to be cut.
    pub async fn run(self, orders: ServerOrders) -> usize {
        serve_with_tls(self.listener, self.app, self.acceptor, orders).await
    }
}
