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
//! - Nobody gains by a write: a token makes none that is wider or lives longer (a session makes tokens of its
//!   user's up to the configured length, and they survive it: docs/decisions/0004), and nobody gives what they do
//!   not hold (`authority`).
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

use crate::{
    authn::Index,
    authz::{self, Authz},
    clusters::Clusters,
    config::live::Live,
    objects::Role,
    observe::reloads,
    proxy::dial,
    store::{Store, follow::Follower},
};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use std::{sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

mod access;
mod admins;
mod answer;
mod authority;
mod bindings;
mod body;
mod bound;
mod caller;
mod cascade;
mod cluster_actions;
mod clusters;
mod decode;
mod delete;
mod discovery;
mod dispatch;
mod draft;
mod error;
mod grants;
mod groups;
mod list;
pub mod login;
mod openapi;
mod password;
pub mod policy_status;
mod projects;
mod provider_group;
mod query;
mod resource;
mod review;
mod roles;
mod route;
mod select;
mod settle;
mod table;
mod tokens;
mod unlock;
mod users;
mod version;

#[cfg(test)]
mod tests;

pub use authz::Reach;
pub use caller::Caller;
pub use error::{ApiError, Mistake, ObjectRef};
pub use users::tombstone;

/// What answers carry: whole, small bodies. A watch will make a stream of it.
pub type Body = Full<Bytes>;

/// What operators can set.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Life of a token whose maker names no end.
    pub token_life: Duration,
    /// Longest life of a token.
    pub token_max_life: Duration,
    /// Largest body of a request (bytes).
    pub body_bytes: usize,
    /// Which addresses a cluster may have.
    pub reach: dial::Reach,
}

/// What the own API works with.
pub struct Parts {
    /// Where objects are.
    pub store: Store,
    /// Says when this replica has seen a write.
    pub follower: Follower,
    /// Whose tokens are whose.
    pub index: Arc<Index>,
    /// Changes passwords.
    pub login: Arc<login::Login>,
    /// The roles that come with the gateway.
    pub built_in: Vec<Role>,
    /// What callers hold.
    pub authz: Arc<Authz>,
    /// Health, credentials and roles of clusters.
    pub clusters: Arc<Clusters>,
    /// What goes on when its request has ended; a stop waits for it.
    pub tasks: TaskTracker,
    /// What became of reloads.
    pub reloads: Arc<reloads::Status>,
    /// What operators can set.
    pub limits: Live<Limits>,
}

/// The own API: what every request to it needs, and nothing of the rest of the gateway.
pub struct Api {
    store: Store,
    follower: Follower,
    index: Arc<Index>,
    login: Arc<login::Login>,
    /// In the order of their names, labelled.
    built_in: Vec<Role>,
    authz: Arc<Authz>,
    clusters: Arc<Clusters>,
    tasks: TaskTracker,
    reloads: Arc<reloads::Status>,
    limits: Live<Limits>,
}

impl Api {
    /// The API over these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            follower,
            index,
            login,
            built_in,
            authz,
            clusters,
            tasks,
            reloads,
            limits,
        } = parts;
        Self {
            store,
            follower,
            index,
            login,
            built_in: roles::labelled(built_in),
            authz,
            clusters,
            tasks,
            reloads,
            limits,
        }
    }

    /// Carries out a request that the gateway has authenticated and judged at global scope.
    ///
    /// The request's URI must hold the target byte for byte as it arrived and as it was judged. The error
    /// becomes HTTP at the gateway's one place for that ([`ApiError::status`]).
    ///
    /// # Errors
    /// [`ApiError`]: the request was not carried out; [`ApiError::Uncertain`] says that nobody can tell.
    pub async fn handle<B>(
        &self,
        caller: &Caller,
        request: Request<B>,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let call = dispatch::Call::read(&head)?;
        let bytes = match head.method {
            Method::GET | Method::HEAD => Bytes::new(),
            _ if call.ignores_body() => Bytes::new(),
            _ => {
                let accepted = call.accepts(&head.method);
                body::read(body, &head.headers, accepted, self.limits.get().body_bytes).await?
            }
        };
        dispatch::answer(self, caller, &head, call, &bytes).await
    }
}
