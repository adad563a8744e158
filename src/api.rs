//! The gateway's own API, in Kubernetes shape: group `palisade.dev/v1alpha1`, so that kubectl is the
//! admin tool and every client library can read it.
//!
//! It stands behind the same request path as every cluster: the gateway has authenticated the request
//! and asked the policy about it at global scope before [`Api::handle`] is called, and hands over what
//! came out as a [`Caller`]. What it guarantees on top of that:
//!
//! - The request that is carried out is the request that was judged: both sides read the target with
//!   `authz::request_info`, and a target whose two readings could differ is answered 404 here.
//! - A [`Reach::Own`] caller touches nothing but what is theirs; what is not theirs and what is not there
//!   are the same answer.
//! - Nobody gains by a write: tokens are never wider or longer-lived than the token that made them, and
//!   users, groups, roles, bindings and clusters are written by admins alone.
//! - No answer holds a hash, a sealed credential or a password: those are another type (`objects`), and
//!   no function here puts them into an answer. A token's text is in the answer to its creation alone.
//! - Every write is one compare-and-swap transaction; the answer waits until this replica's own index has
//!   seen it, so that the next request of the same client does too.
//!
//! What an attacker would try: bodies that are huge or deep (bounded before they are read into
//! anything), fields that are misspelt in the hope of a default (unknown fields are errors), a name that
//! means something to a path or a header (`objects::names`), a binding that waits for a name to be taken
//! again (uids, tombstones, and what hangs on an object goes with it), two admins who remove each other
//! in the same instant (a guard key in both transactions).

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

mod answer;
mod caller;
mod discovery;
mod error;
pub mod login;
mod route;

use route::Route;

pub use caller::{Caller, Reach};
pub use error::{ApiError, Mistake, ObjectRef};

/// What answers carry: whole, small bodies. A watch will make a stream of it.
pub type Body = Full<Bytes>;

/// The own API: what every request to it needs, and nothing of the rest of the gateway.
pub struct Api {}

impl Api {
    /// The API.
    #[expect(
        clippy::new_without_default,
        reason = "takes the store from the next change on"
    )]
    pub fn new() -> Self {
        Self {}
    }

    /// Carries out a request that the gateway has authenticated and judged at global scope.
    ///
    /// The request's URI must hold the target byte for byte as it arrived and as it was judged. The error
    /// becomes HTTP at the gateway's one place for that ([`ApiError::status`]).
    ///
    /// # Errors
    /// [`ApiError`]: the request was not carried out, with two exceptions that say so themselves.
    #[expect(
        clippy::unused_async,
        reason = "reads the body from the next change on"
    )]
    pub async fn handle<B>(
        &self,
        caller: &Caller,
        request: Request<B>,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (head, _body) = request.into_parts();
        let route = Route::parse(head.uri.path()).ok_or(ApiError::NoSuchPath)?;
        match route {
            Route::Version => Ok(discovery::version()),
            Route::Api => discovery::api(&head.headers),
            Route::Apis => discovery::apis(&head.headers),
            Route::Group(group) => Ok(discovery::group(group)),
            Route::GroupVersion(group, version) => Ok(discovery::group_version(group, version)),
            Route::OpenApiIndex
            | Route::OpenApi(..)
            | Route::SelfSubjectReviews(_)
            | Route::Object { .. } => Err(match caller.reach {
                Reach::All => ApiError::NoSuchPath,
                Reach::Own => ApiError::Forbidden("this needs a grant at global scope".to_owned()),
            }),
        }
    }
}
