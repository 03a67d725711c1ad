//! Why a request has no result, in both protocols' words.

use http::StatusCode;
use tonic::{Code, Status};

use super::WorkerError;
use crate::protocol::ProtocolError;

/// One kind for each thing that the asker can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Request(String),
    #[error("no token, or not the right one, in `authorization: Bearer`")]
    Token,
    #[error("{0}")]
    NotFound(String),
    #[error("this path takes {0}")]
    Method(&'static str),
    #[error("the request is larger than {max_bytes} bytes")]
    TooLarge { max_bytes: usize },
    #[error("the body did not arrive in time")]
    SlowBody,
    #[error("busy: {0}")]
    Busy(&'static str),
    #[error("the deadline passed before there was a result")]
    Deadline,
    #[error("the model failed: {0}")]
    Model(String),
}

impl Failure {
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Request(_) => StatusCode::BAD_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Model(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn grpc_code(&self) -> Code {
        match self {
            Self::Request(_) => Code::InvalidArgument,
            Self::Token => Code::Unauthenticated,
            Self::NotFound(_) => Code::NotFound,
            Self::Method(_) => Code::Unimplemented,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            Self::SlowBody => Code::Cancelled,
            Self::Busy(_) => Code::Unavailable,
            Self::Deadline => Code::DeadlineExceeded,
            Self::Model(_) => Code::Internal,
        }
    }

    /// The name in metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Request(_) => "bad_request",
            Self::Token => "unauthorised",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method",
            Self::TooLarge { .. } => "too_large",
            Self::SlowBody => "slow_body",
            Self::Busy(_) => "busy",
            Self::Deadline => "deadline",
            Self::Model(_) => "model",
        }
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Self::Request(error.to_string())
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Request(detail) => Self::Request(detail),
            WorkerError::Model(detail) => Self::Model(detail),
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Self::new(failure.grpc_code(), failure.to_string())
    }
}

/// What a body of ours failed with comes back as the failure that it was.
impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        match status.code() {
            Code::ResourceExhausted => Self::TooLarge { max_bytes: 0 },
            Code::Unavailable => Self::Busy("memory for requests is used up"),
            _ => Self::Request(status.message().to_owned()),
        }
    }
}
