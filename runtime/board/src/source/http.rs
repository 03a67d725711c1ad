//! JPEG streams over HTTP: IP cameras, ustreamer, mjpg-streamer.

use std::io::{self, BufRead, BufReader};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use tinysaver_core::DropReason;
use ureq::http::Uri;
use ureq::{Agent, BodyReader, Timeout};

use super::address::without_credentials;
use super::mjpeg_file::next_of;
use super::{Clock, Drops, Fault, FaultKind, FrameBuffer, JpegSplitter, MultipartReader, Next, Part, Source};

type Body = BufReader<BodyReader<'static>>;

/// How the server packs its pictures.
enum Packing {
    /// As parts of a multipart message.
    Multipart(MultipartReader<Body>),
    /// One behind the other.
    Bare(Body, JpegSplitter),
}

/// An open stream.
pub struct HttpSource<C> {
    packing: Packing,
    clock: C,
    shown_url: String,
    timeout: Duration,
}

impl<C: Clock> HttpSource<C> {
    /// Asks the server for its stream. Name and password in the address are sent as basic authentication.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or sends something else.
    pub fn open(url: &str, timeout: Duration, clock: C) -> Result<Self, Fault> {
        let shown_url = without_credentials(url);
        let response = agent(timeout).get(&shown_url);
        let response = match authorization(url) {
            Some(authorization) => response.header("Authorization", authorization),
            None => response,
        };
        let response = response.call().map_err(|error| open_fault(&shown_url, timeout, &error))?;
        let header = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = header.to_owned();
        let body = BufReader::with_capacity(64 << 10, response.into_body().into_reader());
        let packing = match packing(&content_type).map_err(|what| refused(&shown_url, &what))? {
            Some(boundary) => Packing::Multipart(MultipartReader::new(body, &boundary)),
            None => Packing::Bare(body, JpegSplitter::default()),
        };
        Ok(Self { packing, clock, shown_url, timeout })
    }

    fn read_fault(&self, error: &io::Error) -> Fault {
        let url = &self.shown_url;
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        if matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut {
            let detail = format!("{url}: nothing came for {:.1} s", self.timeout.as_secs_f64());
            return Fault::new(FaultKind::Timeout, detail);
        }
        Fault::new(FaultKind::Io, format!("{url}: {error}"))
    }
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        // A camera stands in the same network.
        .proxy(None)
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .timeout_per_write(Some(timeout))
        .max_redirects(3)
        .user_agent(concat!("tinysaver/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

/// The boundary of a multipart stream; `None` for pictures without packing.
fn packing(content_type: &str) -> Result<Option<String>, String> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    match kind.trim().to_ascii_lowercase().as_str() {
        kind if kind.starts_with("multipart/") => {
            let boundary = parameters.split(';').find_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
            });
            let boundary = boundary.filter(|boundary| !boundary.trim_start_matches('-').is_empty());
            Ok(Some(boundary.ok_or("the stream's content type names no boundary")?))
        }
        "video/x-motion-jpeg" | "video/x-mjpeg" | "video/mjpeg" | "application/octet-stream" | "" => Ok(None),
        "image/jpeg" => {
            Err("this is a single picture, not a stream; ask for the camera's MJPEG stream, such as /stream.mjpg"
                .into())
        }
        other => Err(format!("the server sends {other}, not multipart/x-mixed-replace with JPEGs")),
    }
}

fn authorization(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (credentials, _) = authority.rsplit_once('@')?;
    let decoded: Vec<u8> = percent_decode_str(credentials).collect();
    Some(format!("Basic {}", BASE64_STANDARD.encode(decoded)))
}

fn refused(url: &str, what: &str) -> Fault {
    Fault::new(FaultKind::Refused, format!("{url}: {what}"))
}

fn open_fault(url: &str, timeout: Duration, error: &ureq::Error) -> Fault {
    match error {
        ureq::Error::StatusCode(401 | 403) => {
            refused(url, "the server wants a name and password: http://NAME:PASSWORD@... (basic authentication)")
        }
        ureq::Error::StatusCode(code) => refused(url, &format!("the server answers with status {code}")),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Fault::new(FaultKind::Gone, format!("{url}: no connection within {:.1} s", timeout.as_secs_f64()))
        }
        ureq::Error::Timeout(_) => {
            Fault::new(FaultKind::Timeout, format!("{url}: no answer within {:.1} s", timeout.as_secs_f64()))
        }
        ureq::Error::Io(error) => Fault::new(FaultKind::Gone, format!("{url}: {error}")),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
            Fault::new(FaultKind::Gone, format!("{url}: {error}"))
        }
        other if url.parse::<Uri>().is_err() => refused(url, &format!("not a valid address: {other}")),
        other => Fault::new(FaultKind::Io, format!("{url}: {other}")),
    }
}

impl<C: Clock> Source for HttpSource<C> {
    fn next(&mut self, frame: &mut FrameBuffer, _drops: &mut Drops) -> Result<Next, Fault> {
        frame.name.clone_from(&self.shown_url);
        frame.set_jpeg();
        let clock = &self.clock;
        let mut captured_at = None;
        let next = match &mut self.packing {
            Packing::Multipart(reader) => {
                let part = reader.next_part(&mut frame.bytes, &mut || captured_at = Some(clock.now()));
                part.map(|part| match part {
                    Part::Whole => Next::Frame,
                    Part::Unusable(reason, detail) => Next::Dropped(reason, detail.into()),
                    Part::End => Next::End,
                })
            }
            Packing::Bare(body, splitter) => bare(body, splitter, &mut frame.bytes),
        };
        frame.captured_at = captured_at.or_else(|| Some(clock.now()));
        match next {
            // A camera's stream has no end: its connection has.
            Ok(Next::End) => {
                Err(Fault::new(FaultKind::Ended, format!("{}: the server ended the stream", self.shown_url)))
            }
            Ok(next) => Ok(next),
            Err(error) => Err(self.read_fault(&error)),
        }
    }

    fn description(&self) -> String {
        let packing = match self.packing {
            Packing::Multipart(_) => "multipart",
            Packing::Bare(..) => "plain",
        };
        format!("{}: {packing} JPEG stream", self.shown_url)
    }
}

fn bare(body: &mut Body, splitter: &mut JpegSplitter, picture: &mut Vec<u8>) -> io::Result<Next> {
    loop {
        let bytes = body.fill_buf()?;
        if bytes.is_empty() {
            let cut = std::mem::take(splitter).is_inside();
            let detail = "the stream ended within a picture".to_owned();
            return Ok(if cut { Next::Dropped(DropReason::Damaged, detail) } else { Next::End });
        }
        let (used, split) = splitter.feed(bytes, picture);
        body.consume(used);
        if let Some(next) = next_of(split) {
            return Ok(next);
        }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
