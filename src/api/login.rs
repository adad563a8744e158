//! Logging in: the paths under `/v1/login/`, which a stranger may ask.
//!
//! A terminal is also logged in by way of a browser ([`grants`]). A login with a password ([`attempt`]) yields one
//! session token; renewing it lengthens the same token; logging out deletes it. Guarantees: a failed login reads and
//! costs the same whether the name, the password or the account was wrong (G5 of docs/attacks.md); a session is written
//! only if its user is still exactly as it was when the password was checked, in the same transaction; no text of a
//! request reaches a log.
//!
//! What an attacker would try: a session made just before the password changes (its epoch is the old one, so it is
//! refused), renewing for ever (not beyond `renewableUntil`), bodies without end ([`body`]).

mod attempt;
mod body;
mod enter;
mod error;
pub mod grants;
mod password;
mod provider;
mod seen;
mod session;
mod tries;
mod wire;

pub use attempt::{Done, PasswordLogin, Zeroized};
pub use error::{LoginError, NoHandle, Refused};
pub use password::Proof;
pub use seen::{About, Deed, Seen};
pub use session::New;

use super::{Body, answer};
use crate::{
    authn::{
        Authn, Credential, Identity, Index, WebSocket, passwords, providers, throttle::Throttle,
    },
    config::{BaseDomain, ExternalUrl, Sessions, live::Live},
    objects::TokenKind,
    observe::metrics::{cells::Table, labels::LoginEnd},
    status::clock,
    store::{Store, follow::Follower, seal::Keyring},
};
use bytes::Bytes;
use grants::{Ask, Grants};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// How often to start over if the user is being changed at the same moment.
const ATTEMPTS: usize = 3;
/// Read-your-writes: how long to wait for this replica's own index.
const APPLY_LIMIT: Duration = Duration::from_secs(5);

/// Handles logins.
pub struct Login {
    /// Where sessions are written.
    pub store: Store,
    /// Says when this replica has seen a write.
    pub follower: Follower,
    /// Users and tokens.
    pub index: Arc<Index>,
    /// Checks passwords.
    pub passwords: passwords::Passwords,
    /// Says whether one may be tried.
    pub throttle: Throttle,
    /// Where people log in besides local accounts.
    pub providers: Arc<providers::Providers>,
    /// Seals what clients prove that they were here before with.
    pub keyring: Arc<Keyring>,
    /// Counts logins.
    pub logins: Arc<Table<LoginEnd>>,
    /// Logins of terminals that somebody is to agree to.
    pub grants: Arc<Grants>,
    /// Where browsers find the pages.
    pub external_url: Live<ExternalUrl>,
    /// How long a login lasts.
    pub sessions: Live<Sessions>,
    /// Clusters have host names under this domain: told to whoever writes a kubeconfig.
    pub base_domain: Live<Option<BaseDomain>>,
}

/// The session that a login is to give.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// `ses` for a terminal, `web` for a browser.
    pub kind: TokenKind,
    /// What the person logs in from: shown in their list of tokens.
    pub client: String,
    /// Where that is.
    pub from: IpAddr,
}

impl Login {
    /// Answers a request whose path starts with `/v1/login/`, from a client at `peer`.
    pub async fn handle<B>(
        &self,
        peer: IpAddr,
        request: Request<B>,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let post = || match head.method {
            Method::POST => Ok(()),
            _ => Err(LoginError::Method("POST")),
        };
        match head.uri.path() {
            "/v1/login/providers" if head.method == Method::GET => {
                Ok(wire::ways(&self.providers, self.base_domain.get().as_ref()))
            }
            "/v1/login/providers" => Err(LoginError::Method("GET")),
            "/v1/login/password" => {
                post()?;
                let login = body::json(&head.headers, body).await;
                let login = login.and_then(|body| wire::password_login(&body, peer));
                let done = self.by_password(login, seen).await?;
                Ok(wire::logged_in(&done))
            }
            "/v1/login/device" => {
                post()?;
                let form = (&head.headers, body);
                self.by_form((Ask::Device, peer), form, seen).await
            }
            "/v1/login/token" => {
                post()?;
                let form = (&head.headers, body);
                self.by_form((Ask::Token, peer), form, seen).await
            }
            "/v1/login/revoke" => {
                post()?;
                let form = (&head.headers, body);
                self.by_form((Ask::Revoke, peer), form, seen).await
            }
            "/v1/login/renew" => {
                post()?;
                self.renew(&head.headers, seen).await
            }
            "/v1/login/logout" => {
                post()?;
                self.logout(&head.headers, seen).await
            }
            _ => Err(LoginError::NoSuchPath),
        }
    }

    async fn renew(
        &self,
        headers: &HeaderMap,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError> {
        let identity = self.session(headers)?;
        seen.session(Deed::Renewal, &identity);
        let expires_at = self.extend(identity.token_id(), clock::now()).await?;
        tracing::info!(user = identity.handle(), token = %identity.token_id(), "session renewed");
        Ok(wire::renewed(expires_at))
    }

    async fn logout(
        &self,
        headers: &HeaderMap,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError> {
        let identity = self.session(headers)?;
        seen.session(Deed::Logout, &identity);
        self.end(identity.token_id()).await?;
        tracing::info!(user = identity.handle(), token = %identity.token_id(), "logout");
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Who holds the session that a request carries.
    fn session(&self, headers: &HeaderMap) -> Result<Identity, LoginError> {
        let credential = Credential::extract(headers, WebSocket::No)?;
        let authn = Authn::new(Arc::clone(&self.index));
        let identity = authn.authenticate(&credential, clock::now())?;
        match identity.token_kind() {
            TokenKind::Ses => Ok(identity),
            TokenKind::Pat | TokenKind::Web => Err(LoginError::NotASession),
        }
    }

    /// Waits until this replica has seen what stands at a key, where a write did not find what it knows.
    async fn catch_up(&self, key: &str) -> Result<(), LoginError> {
        if let Some(kv) = self.store.get(key).await? {
            self.applied(kv.mod_revision).await;
        }
        Ok(())
    }

    /// Waits until this replica has seen the write. If that takes too long the write still counts.
    async fn applied(&self, revision: u64) {
        if let Err(behind) = self.follower.wait_for(revision, APPLY_LIMIT).await {
            tracing::warn!(%behind, "answering before this replica has seen its own write");
        }
    }
}

#[cfg(test)]
mod tests;
