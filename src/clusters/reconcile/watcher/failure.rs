//! Why something could not be read, and how long to leave it.

use crate::clusters::client::ClientError;
use http::StatusCode;
use std::time::Duration;

/// Longest pause: so soon is a cluster noticed that is back.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(5);
/// Longest pause where the API server refuses, as for an object that it refuses. Somebody has
/// to change something there first; who has done so and asks for a look is not kept waiting.
pub(super) const REFUSED_MAX: Duration = Duration::from_mins(5);

/// Why something could not be read.
pub(super) struct Failure {
    pub(super) why: String,
    /// The longest pause before it is tried again.
    pub(super) longest: Duration,
}

impl Failure {
    /// What may be over at any moment.
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            longest: RETRY_MAX,
        }
    }

    /// What stays until something is changed.
    pub(super) fn lasting(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            longest: REFUSED_MAX,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let lasts = match &error {
            // With a reason it is the API server's own word, and not that of something before it while it is away.
            ClientError::Refused(refusal) => {
                refusal.reason.is_some()
                    && refusal.code.is_client_error()
                    && refusal.code != StatusCode::TOO_MANY_REQUESTS
            }
            ClientError::TooLarge { .. } => true,
            ClientError::Dial(_)
            | ClientError::Broken { .. }
            | ClientError::Timeout { .. }
            | ClientError::Shape { .. }
            | ClientError::Request { .. } => false,
        };
        let longest = if lasts { REFUSED_MAX } else { RETRY_MAX };
        Self {
            why: error.chain(),
            longest,
        }
    }
}
