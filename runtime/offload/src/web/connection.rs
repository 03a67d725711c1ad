//! From a socket to requests: how many connections, TLS, which HTTP, and the end of all that.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::{Order, Site};
use crate::tls::{TlsError, TlsFiles, server_config};

/// Head of an HTTP/1 request, and of an HTTP/2 one.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// What a client may send before it is read; times the connections this is memory outside the budget.
const WINDOW_BYTES: u32 = 256 << 10;
const MAX_STREAMS: u32 = 64;
/// A peer that vanished without a word is found out after twice this.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// After the system refused a connection, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Certificates that can be read again while connections live.
pub(crate) struct ReloadingTls {
    files: TlsFiles,
    acceptor: Mutex<TlsAcceptor>,
}

impl ReloadingTls {
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let acceptor = Mutex::new(TlsAcceptor::from(server_config(&files)?));
        Ok(Self { files, acceptor })
    }

    fn reload(&self) {
        match server_config(&self.files) {
            Ok(config) => {
                *self.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = TlsAcceptor::from(config);
                log::info!("certificates read again");
            }
            Err(error) => log::error!("the old certificates stay in use: {error}"),
        }
    }

    fn current(&self) -> TlsAcceptor {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Takes connections until told to stop, then lets them finish. Returns how many had to be cut.
pub(super) async fn accept_all<S: Site>(
    listener: TcpListener,
    site: Arc<S>,
    tls: Option<ReloadingTls>,
    mut orders: watch::Receiver<Order>,
) -> usize {
    let limits = site.limits();
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let mut connections = JoinSet::new();
    let mut reloads = 0;
    loop {
        tokio::select! {
            // Nobody left who could give an order is an order to stop.
            changed = orders.changed() => {
                let order = *orders.borrow_and_update();
                if order.stop || changed.is_err() {
                    break;
                }
                if order.reloads != std::mem::replace(&mut reloads, order.reloads) && let Some(tls) = &tls {
                    tls.reload();
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        site.connections().refused.inc();
                        continue;
                    };
                    let (site, orders) = (Arc::clone(&site), orders.clone());
                    let acceptor = tls.as_ref().map(ReloadingTls::current);
                    connections.spawn(async move {
                        site.connections().open.inc();
                        serve_one(&site, stream, peer, acceptor, orders).await;
                        site.connections().open.dec();
                        drop(place);
                    });
                }
                Err(error) => {
                    log::warn!("cannot take a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    site.stop();
    let finish = async { while connections.join_next().await.is_some() {} };
    // What is left after the time is cut when the set is dropped.
    let _ = tokio::time::timeout(limits.drain, finish).await;
    connections.len()
}

async fn serve_one<S: Site>(
    site: &Arc<S>,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    orders: watch::Receiver<Order>,
) {
    // Replies are small and whole: waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let limits = site.limits();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(limits.write_timeout);
    let stream = Box::pin(stream);
    let Some(acceptor) = acceptor else {
        return serve_http(site, stream, peer, orders).await;
    };
    match tokio::time::timeout(limits.head_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => serve_http(site, stream, peer, orders).await,
        Ok(Err(error)) => {
            site.connections().failed_handshakes.inc();
            log::info!("{peer}: TLS handshake failed: {error}");
        }
        Err(_) => {
            site.connections().failed_handshakes.inc();
            log::info!("{peer}: TLS handshake took too long");
        }
    }
}

async fn serve_http<S: Site>(
    site: &Arc<S>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    mut orders: watch::Receiver<Order>,
) {
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let site = Arc::clone(site);
        async move { Ok::<_, Infallible>(site.answer(peer, request).await) }
    });
    let head_timeout = site.limits().head_timeout;
    let builder = http_builder(head_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // hyper limits the time of a head only once it knows which HTTP it is, which a silent client never says.
    let mut first_request = pin!(tokio::time::sleep(head_timeout));
    let (mut told, mut waiting) = (false, true);
    loop {
        tokio::select! {
            () = first_request.as_mut(), if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    log::debug!("{peer}: no request in time");
                    return;
                }
            }
            result = connection.as_mut() => {
                if let Err(error) = result {
                    log::debug!("{peer}: {error}");
                }
                return;
            }
            changed = orders.changed(), if !told => {
                if changed.is_err() || orders.borrow().stop {
                    told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

fn http_builder(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}
