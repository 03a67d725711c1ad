//! The board's side: asks servers for the answers that the saver is not sure of, on one thread of its own.
//!
//! Invariants: each question has exactly one end, at its deadline at the latest; an answer that comes later is counted
//! and goes nowhere; no reply is read beyond [`MAX_REPLY_BYTES`]; a server in trouble is asked by this module only, never
//! with a frame, until it answers again.

mod agreement;
mod connection;
mod endpoint;
mod exchange;
mod probe;
mod url;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderValue;
use tinysaver_core::route::{Degraded, Escalation, RemoteEnd, Route, Router};
use tokio::sync::mpsc;

use crate::tls::{TlsError, TlsFiles, client_config};

pub use agreement::{Agreement, Form, Transport};
pub use url::{EndpointUrl, Scheme, UrlError};

use connection::ClientTls;
use endpoint::Endpoint;
use exchange::Peer;

/// A thousand classes as JSON numbers are 20 kB; nobody needs more than this.
pub const MAX_REPLY_BYTES: usize = 4 << 20;
/// Questions on their way to the network's thread.
const MAX_WAITING: usize = 64;

/// A server and what is asked of it.
#[derive(Clone)]
pub struct EndpointOptions {
    /// Where it is.
    pub url: EndpointUrl,
    /// The model's name there.
    pub model: String,
    /// Whom to believe and who we are; unused without TLS.
    pub tls: TlsFiles,
    /// Sent as `authorization: Bearer ...`.
    pub token: Option<String>,
    /// Whether encoded photos may be sent; otherwise exact pixels.
    pub photos: bool,
    /// Rows of the model's input.
    pub height: usize,
    /// Columns of the model's input.
    pub width: usize,
    /// Numbers that an answer has.
    pub classes: usize,
    /// A picture in each form, to try a server with.
    pub sample: Arc<dyn Fn(Form) -> Bytes + Send + Sync>,
}

/// How patient the client is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To connect and find out what works, each time.
    pub probe: Duration,
    /// How long an answer is still waited for after its deadline, to learn how late it was.
    pub late: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { probe: Duration::from_secs(5), late: Duration::from_secs(1) }
    }
}

/// Why a server gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteFailure {
    /// It took too long.
    #[error("no answer in time")]
    Deadline,
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Link(String),
    /// It refused, or answered nonsense.
    #[error("{0}")]
    Server(String),
    /// It has too much to do.
    #[error("{0}")]
    Busy(String),
}

impl RemoteFailure {
    /// The reason that the frame's record gets.
    #[must_use]
    pub fn degraded(&self) -> Degraded {
        match self {
            Self::Deadline => Degraded::Deadline,
            Self::Link(_) => Degraded::Link,
            Self::Server(_) | Self::Busy(_) => Degraded::Server,
        }
    }
}

/// What a server said, as many numbers as there are classes, or why it said nothing.
pub type RemoteAnswer = Result<Vec<f32>, RemoteFailure>;

/// A frame on its way to a server.
pub struct Question {
    /// The frame's number; comes back as the reply's id.
    pub sequence: u64,
    /// In the form that [`Client::agreement`] names.
    pub payload: Bytes,
    /// When its answer is of no use any more.
    pub deadline: Instant,
    /// Takes the answer, on the network's thread: must be quick.
    pub answer: Box<dyn FnOnce(RemoteAnswer) + Send>,
}

/// What the client has counted.
#[derive(Debug, Default)]
pub struct ClientCounters {
    asked: AtomicU64,
    answered: AtomicU64,
    late: AtomicU64,
    deadline: AtomicU64,
    link: AtomicU64,
    server: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

/// [`ClientCounters`] at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ClientCounts {
    /// Frames that were sent to a server, or tried to be.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that came after the frame's deadline: logged here, fed to nothing.
    pub late: u64,
    /// Frames whose deadline passed.
    pub deadline: u64,
    /// Frames whose connection failed.
    pub link: u64,
    /// Frames that a server refused or answered with nonsense.
    pub server: u64,
    /// Payloads sent.
    pub sent_bytes: u64,
    /// Tensors received.
    pub received_bytes: u64,
}

impl ClientCounters {
    fn counts(&self) -> ClientCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClientCounts {
            asked: read(&self.asked),
            answered: read(&self.answered),
            late: read(&self.late),
            deadline: read(&self.deadline),
            link: read(&self.link),
            server: read(&self.server),
            sent_bytes: read(&self.sent_bytes),
            received_bytes: read(&self.received_bytes),
        }
    }

    fn ended(&self, answer: &RemoteAnswer) {
        let counter = match answer {
            Ok(_) => &self.answered,
            Err(RemoteFailure::Deadline) => &self.deadline,
            Err(RemoteFailure::Link(_)) => &self.link,
            Err(RemoteFailure::Server(_) | RemoteFailure::Busy(_)) => &self.server,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The client cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Certificates cannot be used.
    #[error("{url}: {source}")]
    Tls {
        /// The server that they are for.
        url: String,
        /// Why.
        source: Box<TlsError>,
    },
    /// A token that no header can carry.
    #[error("{0}: the token has letters that no header can carry")]
    Token(String),
    /// The system refuses a thread.
    #[error("cannot start the network's thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What client and network thread share.
pub(super) struct Shared {
    router: Mutex<Router>,
    started: Instant,
    agreements: Mutex<Vec<Option<Arc<Agreement>>>>,
    /// How many servers have been probed to an end, once.
    settled: Mutex<usize>,
    settling: Condvar,
    pub counters: ClientCounters,
    pub patience: Patience,
}

impl Shared {
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn router(&self) -> MutexGuard<'_, Router> {
        lock(&self.router)
    }

    pub fn agree(&self, index: usize, agreement: Option<Arc<Agreement>>) {
        if let Some(place) = lock(&self.agreements).get_mut(index) {
            *place = agreement;
        }
    }

    pub fn settle_one(&self) {
        *lock(&self.settled) += 1;
        self.settling.notify_all();
    }
}

/// The state is whole between any two of its changes, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle on the network's thread, which ends when it is dropped.
pub struct Client {
    shared: Arc<Shared>,
    questions: Option<mpsc::Sender<(usize, Question)>>,
    thread: Option<std::thread::JoinHandle<()>>,
    endpoints: usize,
}

impl Client {
    /// Starts to look for the servers. `router` has as many of them, not proven yet.
    ///
    /// # Errors
    /// Certificates that cannot be used; the servers themselves need not be there.
    pub fn start(endpoints: Vec<EndpointOptions>, router: Router, patience: Patience) -> Result<Self, ClientError> {
        let mut peers = Vec::with_capacity(endpoints.len());
        for options in endpoints {
            peers.push((peer(&options)?, options));
        }
        let shared = Arc::new(Shared {
            router: Mutex::new(router),
            started: Instant::now(),
            agreements: Mutex::new(vec![None; peers.len()]),
            settled: Mutex::new(0),
            settling: Condvar::new(),
            counters: ClientCounters::default(),
            patience,
        });
        let (questions, receiver) = mpsc::channel(MAX_WAITING);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let count = peers.len();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("network".into()).spawn(move || {
            let endpoints: Vec<Arc<Endpoint>> = peers
                .into_iter()
                .enumerate()
                .map(|(index, (peer, options))| Arc::new(Endpoint::new(index, peer, options, Arc::clone(&of_thread))))
                .collect();
            runtime.block_on(serve_questions(&endpoints, receiver));
            // A name that is being looked up must not keep the program from ending.
            runtime.shutdown_background();
        })?;
        Ok(Self { shared, questions: Some(questions), thread: Some(thread), endpoints: count })
    }

    /// Waits until each server has been looked for once, at the longest so long.
    pub fn wait_until_settled(&self, longest: Duration) {
        let settled = lock(&self.shared.settled);
        let waiting = |settled: &mut usize| *settled < self.endpoints;
        // Whether it was long enough shows in the routes.
        drop(self.shared.settling.wait_timeout_while(settled, longest, waiting));
    }

    /// Decides where a frame goes that has so much time left. After a remote route, [`Client::ask`] must follow.
    #[must_use]
    pub fn route(&self, left: Duration, bytes: u64) -> Route {
        self.shared.router().route(&Escalation { now: self.shared.now(), left, bytes })
    }

    /// Takes a remote route back: nothing will be asked.
    pub fn cancel(&self, endpoint: usize) {
        let now = self.shared.now();
        self.shared.router().remote_ended(endpoint, now, RemoteEnd::Cancelled, 0.0);
    }

    /// The clock of routes and deadlines.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Whether the base on this board would be in time.
    #[must_use]
    pub fn local_fits(&self, left: Duration) -> bool {
        self.shared.router().local_fits(left)
    }

    /// Notes what the base on this board took.
    pub fn local_took(&self, took: Duration) {
        self.shared.router().local_took(took);
    }

    /// What a server wants to be sent; `None` while it has not been found out.
    #[must_use]
    pub fn agreement(&self, endpoint: usize) -> Option<Arc<Agreement>> {
        lock(&self.shared.agreements).get(endpoint).cloned().flatten()
    }

    /// Sends a frame to a server. The question's `answer` is called once, in any case.
    pub fn ask(&self, endpoint: usize, question: Question) {
        self.shared.counters.asked.fetch_add(1, Ordering::Relaxed);
        let full = match &self.questions {
            Some(questions) => questions.try_send((endpoint, question)).err().map(|error| error.into_inner().1),
            None => Some(question),
        };
        if let Some(question) = full {
            self.cancel(endpoint);
            let answer = Err(RemoteFailure::Busy("too many questions are waiting".into()));
            self.shared.counters.ended(&answer);
            (question.answer)(answer);
        }
    }

    /// The counters now.
    #[must_use]
    pub fn counts(&self) -> ClientCounts {
        self.shared.counters.counts()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the network's thread panicked");
        }
    }
}

fn peer(options: &EndpointOptions) -> Result<Peer, ClientError> {
    let url = &options.url;
    let tls = if url.tls {
        let config = |protocol: &[u8]| {
            client_config(&options.tls, &[protocol])
                .map_err(|source| ClientError::Tls { url: url.to_string(), source: Box::new(source) })
        };
        Some(ClientTls { grpc: config(b"h2")?, rest: config(b"http/1.1")? })
    } else {
        None
    };
    let header = |token: &String| HeaderValue::from_str(&format!("Bearer {token}"));
    let token = options.token.as_ref().map(header).transpose().map_err(|_| ClientError::Token(url.to_string()))?;
    Ok(Peer::new(url.clone(), tls, token))
}

async fn serve_questions(endpoints: &[Arc<Endpoint>], mut questions: mpsc::Receiver<(usize, Question)>) {
    for endpoint in endpoints {
        tokio::spawn(Arc::clone(endpoint).watch());
    }
    while let Some((index, question)) = questions.recv().await {
        if let Some(endpoint) = endpoints.get(index) {
            tokio::spawn(Arc::clone(endpoint).ask(question));
        }
    }
}
