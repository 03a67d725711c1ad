//! The page's paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tinysaver_board::CaptureWatch;
use tinysaver_core::Exit;
use tinysaver_offload::web::{Body, ConnectionCounters, RequestBody, Site, WebLimits};

use super::health::{Readiness, readiness};
use super::stream::BOUNDARY;
use super::{Shared, html};

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Connections at one time: a browser takes up to six, and viewers are bounded by themselves.
const MAX_CONNECTIONS: usize = 64;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A viewer that takes nothing for so long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream never ends by itself: at the end of a run it is cut.
const DRAIN: Duration = Duration::from_millis(200);

impl Site for Shared {
    fn limits(&self) -> WebLimits {
        WebLimits {
            max_connections: MAX_CONNECTIONS,
            head_timeout: HEAD_TIMEOUT,
            write_timeout: Some(WRITE_TIMEOUT),
            drain: DRAIN,
        }
    }

    async fn answer(self: Arc<Self>, _: SocketAddr, request: Request<RequestBody>) -> Response<Body> {
        let mut response = self.route(request.method(), request.uri().path());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
        // No other site may show or read what the camera sees.
        headers
            .insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
        headers.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
        response
    }

    fn connections(&self) -> &ConnectionCounters {
        &self.metrics.connections
    }
}

impl Shared {
    fn route(&self, method: &Method, path: &str) -> Response<Body> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/" => page(),
            "/stream.mjpg" => self.stream(),
            "/status.json" => text(StatusCode::OK, JSON, self.status().to_string()),
            "/v2/health/live" => text(StatusCode::OK, JSON, json!({ "live": true }).to_string()),
            "/v2/health/ready" => {
                let readiness = self.readiness();
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, JSON, json!(readiness).to_string())
            }
            "/metrics" => match self.metrics.text() {
                Ok(metrics) => text(StatusCode::OK, METRICS, metrics),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{error}\n")),
            },
            _ => {
                let there = "there are /, /stream.mjpg, /status.json, /metrics, /v2/health/live and /v2/health/ready\n";
                text(StatusCode::NOT_FOUND, PLAIN, there)
            }
        }
    }

    fn stream(&self) -> Response<Body> {
        let Some(parts) = self.stream.watch() else {
            let words = format!("{} viewers are the most at one time\n", self.stream.max_viewers());
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, words);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return response;
        };
        let mut response = Response::new(Body::new(parts));
        let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
        if let Ok(kind) = HeaderValue::from_str(&kind) {
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        response
    }

    fn readiness(&self) -> Readiness {
        let status = self.capture.as_ref().map(CaptureWatch::status);
        let (answered, last_at) = {
            let answers = self.answers();
            (answers.answered(), answers.last_at())
        };
        readiness(answered, last_at, Instant::now(), self.settings.stale, status.as_ref())
    }

    fn status(&self) -> Value {
        // Copied, so that the run waits for a moment only, however long the rest takes.
        let answers = self.answers().clone();
        let (answered, now) = (answers.answered(), Instant::now());
        #[expect(clippy::cast_precision_loss, reason = "a ratio to look at")]
        let ratio = |frames: u64| (answered > 0).then(|| frames as f64 / answered as f64);
        let exits = Exit::ALL.map(|exit| {
            let frames = answers.exits().get(&exit).copied().unwrap_or(0);
            json!({ "exit": exit.name(), "frames": frames, "ratio": ratio(frames) })
        });
        let last = answers.last().and_then(|record| Some((record, record.answer()?)));
        let last = last.map(|(record, answer)| {
            json!({
                "sequence": record.sequence, "time_utc": record.time_utc, "label": answer.label, "exit": answer.exit.name(),
                "probability": answer.probability, "latency_ms": record.latency_us as f64 / 1e3,
            })
        });
        json!({
            "readiness": self.readiness(),
            "source": self.source, "models": self.models,
            "answered": answered, "exits": exits,
            "dropped": answers.dropped().values().sum::<u64>(), "dropped_by_reason": answers.dropped(),
            "frames_per_second": answers.frames_per_second(now), "latency": answers.latency(),
            "operations_saved_ratio": answers.saved_ratio(), "last": last,
            "viewers": self.stream.viewers(),
            "capture": self.capture.as_ref().map(CaptureWatch::status),
        })
    }
}

fn page() -> Response<Body> {
    let mut response = text(StatusCode::OK, "text/html; charset=utf-8", html::PAGE);
    let policy = "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; script-src \
                  'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn text(status: StatusCode, kind: &'static str, words: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(words.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
