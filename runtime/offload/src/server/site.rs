//! Requests to the right protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;

use super::infer::{App, Asker};
use super::{grpc, rest};
use crate::web::{ConnectionCounters, Site, WebLimits};

impl Site for App {
    fn limits(&self) -> WebLimits {
        let limits = &self.limits;
        WebLimits {
            max_connections: limits.max_connections,
            head_timeout: limits.head_timeout,
            write_timeout: None,
            drain: limits.drain,
        }
    }

    async fn answer(self: Arc<Self>, peer: SocketAddr, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        let is_grpc = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            grpc::answer(&self, Asker { protocol: "grpc", peer }, request).await
        } else {
            rest::answer(&self, Asker { protocol: "rest", peer }, request).await
        }
    }

    fn connections(&self) -> &ConnectionCounters {
        &self.metrics.connections
    }

    fn stop(&self) {
        Self::stop(self);
    }
}
