//! Reading what a stranger sends: bounded in bytes and in time.

use super::LoginError;
use crate::api::answer;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::time::Duration;
use zeroize::Zeroizing;

/// A name and a password fit many times.
pub(super) const MAX_BODY: usize = 64 * 1024;
/// How long a client may take to send them.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// A body that says that it is JSON.
pub(super) async fn json<B>(headers: &HeaderMap, body: B) -> Result<Zeroizing<Vec<u8>>, LoginError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A form that a browser sends across origins without asking is never JSON by its type.
    let json = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let json = json
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if !json.is_some_and(|mime| mime.eq_ignore_ascii_case(answer::JSON)) {
        return Err(LoginError::Body("of the type application/json"));
    }
    collect(body).await
}

/// A body whole.
pub(super) async fn collect<B>(body: B) -> Result<Zeroizing<Vec<u8>>, LoginError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(LoginError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(LoginError::TooLarge),
        Ok(Err(_)) => Err(LoginError::Body("whole")),
        Ok(Ok(whole)) => Ok(Zeroizing::new(whole.to_bytes().to_vec())),
    }
}
