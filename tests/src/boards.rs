//! Boards that ask a server for what their savers were not sure of: each with a connection of its own, at random moments.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// How many boards, and how often each asks.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// Connections at the same time.
    pub boards: u32,
    /// Requests a second of each, on average; the gaps between them are exponential.
    pub per_second: f64,
    /// How long they ask.
    pub duration: Duration,
}

/// What they were told.
#[derive(Debug, Default)]
pub struct Heard {
    /// Status 200.
    pub answered: u64,
    /// Status 503.
    pub refused: u64,
    /// Everything else, in words, the first few.
    pub wrong: Vec<String>,
    /// From asking to the reply, of the answered ones, in milliseconds.
    pub latencies_ms: Vec<f64>,
}

impl Heard {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.wrong.extend(other.wrong);
        self.latencies_ms.extend(other.latencies_ms);
    }
}

/// Lets them ask with this REST request (head and body), and adds up what they heard.
#[must_use]
pub fn simulate(address: SocketAddr, request: &[u8], fleet: Fleet) -> Heard {
    thread::scope(|scope| {
        let start = Instant::now();
        let boards = (0..fleet.boards).map(|number| {
            let board = thread::Builder::new().stack_size(128 << 10);
            board.spawn_scoped(scope, move || board_life(address, request, fleet, start, number))
        });
        let boards: Vec<_> = boards.collect();
        let mut heard = Heard::default();
        for board in boards {
            match board.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(one)) => heard.add(one),
                Ok(Err(_)) => heard.wrong.push("a board panicked".into()),
                Err(error) => heard.wrong.push(format!("no thread for a board: {error}")),
            }
        }
        heard
    })
}

fn board_life(address: SocketAddr, request: &[u8], fleet: Fleet, start: Instant, number: u32) -> Heard {
    let mut heard = Heard::default();
    let mut chance = Chance(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut connection = match connect(address) {
        Ok(connection) => connection,
        Err(error) => {
            heard.wrong.push(format!("connect: {error}"));
            return heard;
        }
    };
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_secs_f64(-chance.next().ln() / fleet.per_second);
        if at.max(start.elapsed()) > fleet.duration {
            return heard;
        }
        // Its next frame that escalates, not a wait for something to have happened.
        thread::sleep((start + at).saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        match ask(&mut connection, request) {
            Ok(200) => {
                heard.answered += 1;
                heard.latencies_ms.push(asked.elapsed().as_secs_f64() * 1e3);
            }
            Ok(503) => heard.refused += 1,
            Ok(status) => heard.wrong.push(format!("status {status}")),
            Err(error) => {
                heard.wrong.push(error.to_string());
                return heard;
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(120)))?;
    Ok(connection)
}

/// One request on a connection that stays open; gives the reply's status.
fn ask(connection: &mut TcpStream, request: &[u8]) -> io::Result<u16> {
    connection.write_all(request)?;
    let mut received = Vec::new();
    let mut buffer = [0; 8 << 10];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
        received.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if let Some((status, total)) = reply_head(&received) {
            let rest = total.saturating_sub(received.len());
            io::copy(&mut connection.take(rest as u64), &mut io::sink())?;
            return Ok(status);
        }
    }
}

/// Status and whole length of a reply whose head is there.
fn reply_head(received: &[u8]) -> Option<(u16, usize)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(received.get(..end)?).to_ascii_lowercase();
    let status = head.get(9..12)?.parse().ok()?;
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
    Some((status, end + length))
}

/// Numbers that look random and are the same in every run (xorshift64).
struct Chance(u64);

impl Chance {
    /// Above 0, below 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }
}

/// A REST request that asks `model` for a photo in the binary form.
#[must_use]
pub fn photo_request(model: &str, photo: &[u8]) -> Vec<u8> {
    let header = serde_json::json!({"inputs": [{"name": "image", "shape": [1, 1], "datatype": "BYTES",
        "parameters": {"binary_data_size": photo.len() + 4}}], "parameters": {"binary_data_output": true}})
    .to_string();
    let body_bytes = header.len() + 4 + photo.len();
    let head = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: {}\r\n\
         content-length: {body_bytes}\r\n\r\n",
        header.len()
    );
    let length = u32::try_from(photo.len()).unwrap_or(u32::MAX).to_le_bytes();
    [head.as_bytes(), header.as_bytes(), &length, photo].concat()
}
