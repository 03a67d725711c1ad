//! Listening: what every server of this program has below its own paths. How many connections, how long each may take
//! for what, TLS, HTTP/1 and HTTP/2, and an orderly end.

mod connection;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) use connection::ReloadingTls;
pub use http;
pub use hyper::body::Incoming as RequestBody;
/// Any body, behind one type.
pub use tonic::body::Body;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct WebLimits {
    /// Connections at one time; further ones are closed at once.
    pub max_connections: usize,
    /// For a TLS handshake, and for the head of a request (an idle HTTP/1 connection is closed after it, too).
    pub head_timeout: Duration,
    /// A client that takes nothing of what is sent for so long is dropped; `None` waits for ever.
    pub write_timeout: Option<Duration>,
    /// How long requests in hand may take after the order to stop.
    pub drain: Duration,
}

/// Counts connections; register the fields under the site's own names.
#[derive(Debug, Clone, Default)]
pub struct ConnectionCounters {
    /// Open now.
    pub open: Gauge,
    /// Closed at once: there were too many.
    pub refused: Counter,
    /// TLS handshakes that failed, or took too long.
    pub failed_handshakes: Counter,
}

/// Somebody who answers requests.
pub trait Site: Send + Sync + 'static {
    /// What connections may cost.
    fn limits(&self) -> WebLimits;

    /// Answers one request.
    fn answer(
        self: Arc<Self>,
        peer: SocketAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send;

    /// Where its connections are counted.
    fn connections(&self) -> &ConnectionCounters;

    /// No more connections are taken from now on.
    fn stop(&self) {}
}

/// Tells a running server what to do.
#[derive(Debug, Clone)]
pub struct ServerControl(watch::Sender<Order>);

/// What [`ServerControl`] speaks to.
#[derive(Debug)]
pub struct ServerOrders(watch::Receiver<Order>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Order {
    stop: bool,
    reloads: u64,
}

impl ServerControl {
    /// A handle, and the server's part of it.
    #[must_use]
    pub fn new() -> (Self, ServerOrders) {
        let (sender, receiver) = watch::channel(Order::default());
        (Self(sender), ServerOrders(receiver))
    }

    /// Take no more requests; finish those in hand.
    pub fn stop(&self) {
        self.0.send_modify(|order| order.stop = true);
    }

    /// Read the certificates again.
    pub fn reload(&self) {
        self.0.send_modify(|order| order.reloads += 1);
    }
}

/// Serves a site in plain text until told to stop; then finishes what is in hand. Returns how many connections had to be
/// cut.
pub async fn serve_site<S: Site>(listener: TcpListener, site: Arc<S>, orders: ServerOrders) -> usize {
    connection::accept_all(listener, site, None, orders.0).await
}

/// The same, with TLS where there are certificates.
pub(crate) async fn serve_with_tls<S: Site>(
    listener: TcpListener,
    site: Arc<S>,
    tls: Option<ReloadingTls>,
    orders: ServerOrders,
) -> usize {
    connection::accept_all(listener, site, tls, orders.0).await
}
