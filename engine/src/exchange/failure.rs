//! The one table from what went wrong to a status, a name in the log, and whether the request may be sent again.

use ringway_protocol::{BodyError, RequestError, ResponseError};

use super::ClientError;
use crate::upstream::{AcquireError, OriginError};

/// Why an exchange did not end as it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The request's head is refused.
    BadRequest(RequestError),
    /// The head did not come in time.
    RequestHeadTimeout,
    /// No memory is left to hold the head.
    Overloaded,
    /// No route takes the request.
    NoRoute,
    /// A route would, for other methods.
    MethodNotAllowed,
    /// The request passed this proxy too often.
    Loop,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The body's framing is broken.
    BadBody(BodyError),
    /// Bytes followed an Upgrade request before it was answered.
    EarlyTunnelBytes,
    /// The body stopped coming, or came too slowly.
    RequestBodyTimeout,
    /// The client went away.
    ClientGone,
    /// The client takes the answer too slowly.
    SlowReader,
    /// No endpoint has an address.
    Unresolved,
    /// No connection came free in time.
    QueueTimeout,
    /// Connecting took too long.
    ConnectTimeout,
    /// Connecting failed.
    ConnectFailed,
    /// The origin closed before it answered.
    OriginClosed,
    /// The origin's head is refused.
    BadResponse(ResponseError),
    /// The origin sent 1xx without end.
    TooManyInformational,
    /// The origin switched protocols unasked.
    UnaskedUpgrade,
    /// The origin's head did not come in time.
    ResponseHeadTimeout,
    /// The whole exchange took longer than the route allows.
    RouteTimeout,
    /// The origin's body is broken or was cut short.
    BadResponseBody(BodyError),
    /// The origin's body stopped coming.
    ResponseBodyTimeout,
}

impl Failure {
    /// The status for the client, and for the log where none was sent.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest(error) => error.status(),
            Self::BadBody(_) | Self::EarlyTunnelBytes => 400,
            Self::NoRoute => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestHeadTimeout | Self::RequestBodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::ClientGone | Self::SlowReader => 499,
            Self::ConnectFailed
            | Self::OriginClosed
            | Self::BadResponse(_)
            | Self::TooManyInformational
            | Self::UnaskedUpgrade
            | Self::BadResponseBody(_) => 502,
            Self::Unresolved | Self::QueueTimeout | Self::Overloaded => 503,
            Self::ConnectTimeout
            | Self::ResponseHeadTimeout
            | Self::RouteTimeout
            | Self::ResponseBodyTimeout => 504,
            Self::Loop => 508,
        }
    }

    /// Its name in the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadRequest(error) => error.reason(),
            Self::RequestHeadTimeout => "request_head_timeout",
            Self::Overloaded => "overloaded",
            Self::NoRoute => "no_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Loop => "loop",
            Self::BodyTooLarge => "body_too_large",
            Self::BadBody(error) | Self::BadResponseBody(error) => error.reason(),
            Self::EarlyTunnelBytes => "early_tunnel_bytes",
            Self::RequestBodyTimeout => "request_body_timeout",
            Self::ClientGone => "client_gone",
            Self::SlowReader => "slow_reader",
            Self::Unresolved => "no_endpoint",
            Self::QueueTimeout => "queue_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::OriginClosed => "origin_closed",
            Self::BadResponse(error) => error.reason(),
            Self::TooManyInformational => "too_many_informational",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::ResponseHeadTimeout => "response_head_timeout",
            Self::RouteTimeout => "route_timeout",
            Self::ResponseBodyTimeout => "response_body_timeout",
        }
    }

    /// Whether the client is to blame: counted as a bad request.
    pub fn is_clients(self) -> bool {
        matches!(
            self,
            Self::BadRequest(_)
                | Self::BadBody(_)
                | Self::EarlyTunnelBytes
                | Self::RequestHeadTimeout
                | Self::RequestBodyTimeout
                | Self::BodyTooLarge
                | Self::Loop
        )
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Gone => Self::ClientGone,
            // The body ends with the connection: the client left in the middle of it.
            ClientError::Body(BodyError::Truncated) => Self::ClientGone,
            ClientError::Body(error) => Self::BadBody(error),
            ClientError::TooLarge => Self::BodyTooLarge,
        }
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        match error {
            AcquireError::Unresolved => Self::Unresolved,
            AcquireError::QueueTimeout => Self::QueueTimeout,
            AcquireError::ConnectTimeout => Self::ConnectTimeout,
            AcquireError::Connect(_) => Self::ConnectFailed,
        }
    }
}

impl From<OriginError> for Failure {
    fn from(error: OriginError) -> Self {
        match error {
            OriginError::Closed(_) => Self::OriginClosed,
            OriginError::Head(error) => Self::BadResponse(error),
            OriginError::Body(error) => Self::BadResponseBody(error),
            OriginError::NoMemory => Self::Overloaded,
        }
    }
}
