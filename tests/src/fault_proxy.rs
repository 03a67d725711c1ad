//! A proxy between client and server that does what bad networks do, and a server that says what bad servers say. Both on
//! 127.0.0.1, both may change their manners while they run.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens to what the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing bad.
    None,
    /// New connections are closed at once, old ones are cut.
    Refuse,
    /// Connections are taken; not a byte goes through.
    Hang,
    /// Bytes go one at a time, with so much time between them.
    Drip(Duration),
    /// Every reply is held back so long, and up to so much longer by chance.
    Delay(Duration, Duration),
    /// The connection is cut after so many bytes of the server's.
    CutAfter(usize),
    /// The server's bytes are replaced by these, for ever.
    Garbage(&'static [u8]),
    /// Every n-th connection is cut after its first bytes.
    ResetEvery(usize),
}

/// A running proxy.
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    fault: Mutex<Fault>,
    changed: Condvar,
    stopped: AtomicBool,
    connections: AtomicUsize,
    carried_bytes: AtomicUsize,
    server: Mutex<SocketAddr>,
}

impl FaultProxy {
    /// Starts on a free port, before that server.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(server: SocketAddr, fault: Fault) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            fault: Mutex::new(fault),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            carried_bytes: AtomicUsize::new(0),
            server: Mutex::new(server),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                thread::spawn(move || shared.carry(stream));
            }
        });
        Ok(Self { address, shared })
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes its manners, for open connections, too.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault() = fault;
        self.shared.changed.notify_all();
    }

    /// Another server takes over, for new connections.
    pub fn move_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Waits until so many bytes of the server's have come through, all connections together.
    pub fn wait_until_carried(&self, bytes: usize) {
        let shared = &self.shared;
        let too_few = |_: &mut Fault| shared.carried_bytes.load(Ordering::Relaxed) < bytes;
        drop(shared.changed.wait_while(shared.fault(), too_few).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for them no longer than that, and says whether they have come.
    #[must_use]
    pub fn is_carried_within(&self, bytes: usize, timeout: Duration) -> bool {
        let shared = &self.shared;
        let too_few = |_: &mut Fault| shared.carried_bytes.load(Ordering::Relaxed) < bytes;
        let waited = shared.changed.wait_timeout_while(shared.fault(), timeout, too_few);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Bytes of the server's that have come through.
    #[must_use]
    pub fn carried_bytes(&self) -> usize {
        self.shared.carried_bytes.load(Ordering::Relaxed)
    }

    /// Connections that it has taken.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.set(Fault::Refuse);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the connection hangs.
    fn fault_now(&self) -> Fault {
        let hangs = |fault: &mut Fault| *fault == Fault::Hang && !self.stopped.load(Ordering::Relaxed);
        self.changed.wait_while(self.fault(), hangs).unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn carry(&self, client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        if *self.fault() == Fault::Refuse {
            return;
        }
        let server = *self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(server) = TcpStream::connect(server) else { return };
        let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
        let upstream = thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        // An error on either side ends both, which is all that a proxy can do about it.
        let _ = self.back(&server, &client, number);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        let _ = upstream.join();
    }

    fn back(&self, mut server: &TcpStream, mut client: &TcpStream, number: usize) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut sent = 0_usize;
        // Short, so that a change of manners is noticed by connections that are idle.
        server.set_read_timeout(Some(Duration::from_millis(20)))?;
        loop {
            let count = match server.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if *self.fault() == Fault::Refuse {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            match self.fault_now() {
                Fault::None | Fault::Hang => client.write_all(bytes)?,
                Fault::Refuse => return Ok(()),
                Fault::Delay(time, jitter) => {
                    // A fraction that looks random and is the same in every run.
                    let chance = (sent.wrapping_mul(2_654_435_761) >> 8) % 1000;
                    thread::sleep(time + jitter * chance as u32 / 1000);
                    client.write_all(bytes)?;
                }
                Fault::Drip(time) => {
                    for byte in bytes {
                        if !matches!(self.fault_now(), Fault::Drip(_)) {
                            return Ok(());
                        }
                        client.write_all(std::slice::from_ref(byte))?;
                        thread::sleep(time);
                    }
                }
                Fault::CutAfter(limit) => {
                    let rest = limit.saturating_sub(sent).min(count);
                    client.write_all(bytes.get(..rest).unwrap_or_default())?;
                    if sent + count >= limit {
                        return Ok(());
                    }
                }
                Fault::Garbage(garbage) => loop {
                    client.write_all(garbage)?;
                    if !matches!(*self.fault(), Fault::Garbage(_)) {
                        return Ok(());
                    }
                },
                Fault::ResetEvery(n) => {
                    client.write_all(bytes)?;
                    if number.is_multiple_of(n.max(1)) && sent > 0 {
                        return Ok(());
                    }
                }
            }
            sent += count;
            // Under the lock, so that whoever waits for it cannot miss it.
            let guard = self.fault();
            self.carried_bytes.fetch_add(count, Ordering::Relaxed);
            drop(guard);
            self.changed.notify_all();
        }
    }
}

/// A REST server whose every answer the test decides.
pub struct BadServer {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// Given a request's line and body: status and body of the reply.
pub type Replies = dyn Fn(&str, &[u8]) -> (u16, Vec<u8>) + Send + Sync;

impl BadServer {
    /// Starts on a free port.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(replies: Arc<Replies>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let stopped = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&stopped);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.load(Ordering::Relaxed) {
                    return;
                }
                let replies = Arc::clone(&replies);
                // A client that leaves is no failure.
                thread::spawn(move || drop(converse(&stream, &*replies)));
            }
        });
        Ok(Self { address, stopped })
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BadServer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn converse(mut stream: &TcpStream, replies: &Replies) -> io::Result<()> {
    let mut received = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        };
        let head = String::from_utf8_lossy(received.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let total = end + length.unwrap_or(0);
        while received.len() < total {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        let line = head.lines().next().unwrap_or_default().to_owned();
        let (status, body) = replies(&line, received.get(end..total).unwrap_or_default());
        received.drain(..total);
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat())?;
    }
}
