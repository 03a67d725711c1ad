//! Request bodies, counted while they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::budget::Charge;
use super::failure::Failure;

/// A body that ends with an error as soon as it is longer than allowed, or than memory allows.
pub(super) struct MeteredBody {
    inner: Incoming,
    charge: Arc<Charge>,
    max_bytes: usize,
}

impl MeteredBody {
    pub fn new(inner: Incoming, charge: Arc<Charge>, max_bytes: usize) -> Self {
        Self { inner, charge, max_bytes }
    }

    fn count(&self, bytes: usize) -> Result<(), Failure> {
        if self.charge.taken_bytes().saturating_add(bytes) > self.max_bytes {
            return Err(Failure::TooLarge { max_bytes: self.max_bytes });
        }
        if self.charge.take(bytes) { Ok(()) } else { Err(Failure::Busy("memory for requests is used up")) }
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    /// gRPC reports a status as it is.
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => {
                let cut = Failure::Request(format!("the request was cut short: {error}"));
                return Poll::Ready(Some(Err(cut.into())));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let counted = frame.data_ref().map_or(Ok(()), |data| self.count(data.len()));
        Poll::Ready(Some(counted.map(|()| frame).map_err(tonic::Status::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
