//! Logging in: the paths under `/v1/login/`, which a stranger may ask.
//!
//! A login with a password yields one session token; renewing it lengthens the same token; logging out
//! deletes it. Guarantees: a failed login reads and costs the same whether the name, the password or the
//! account was wrong (G5 of docs/attacks.md); a session is written only if its user is still exactly as it
//! was when the password was checked, in the same transaction; no text of a request reaches a log.
//!
//! What an attacker would try: bodies without end (bounded in bytes and time), floods of logins
//! (`authn::passwords` bounds the hashing and answers 429), a session made just before the password
//! changes (its epoch is the old one, so it is refused), renewing for ever (not beyond `renewableUntil`).
//! Limits per account and source come with the platform's throttling.

mod password;
mod session;

pub use password::Proof;

use super::{Body, answer};
use crate::{
    authn::{Authn, AuthnError, Credential, Index, Slot, UserEntry, WebSocket, passwords},
    config::{BaseDomain, Sessions, live::Live},
    objects::{DecodeError, check_handle},
    status::{Reason, Status, clock},
    store::{Store, StoreError, follow::Follower},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// A name and a password fit many times.
const MAX_BODY: usize = 64 * 1024;
/// How long a client may take to send them.
const BODY_TIME: Duration = Duration::from_secs(10);
/// How often to start over if the user is being changed at the same moment.
const ATTEMPTS: usize = 3;
/// Read-your-writes: how long to wait for this replica's own index.
const APPLY_LIMIT: Duration = Duration::from_secs(5);

/// The only provider so far.
const LOCAL: &str = "local";

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
    /// How long a login lasts.
    pub sessions: Live<Sessions>,
    /// Clusters have host names under this domain: told to whoever writes a kubeconfig.
    pub base_domain: Live<Option<BaseDomain>>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such path.
    #[error("no such path")]
    NoSuchPath,
    /// The path takes another method.
    #[error("the path takes {0}")]
    Method(&'static str),
    /// The body is not what is expected here.
    #[error("the body is not {0}")]
    Body(&'static str),
    /// The body is too large.
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// The body did not come in time.
    #[error("the body took longer than {} s", BODY_TIME.as_secs())]
    BodyTimeout,
    /// No provider of this name.
    #[error("no such provider")]
    Provider,
    /// Wrong name, wrong password, disabled, machine: a stranger is not told which.
    #[error("login refused: {0}")]
    Refused(Refused),
    /// The token of a renewal or logout.
    #[error(transparent)]
    Authn(#[from] AuthnError),
    /// The token is not a session.
    #[error("not a session")]
    NotASession,
    /// The proof of the own password failed.
    #[error("the current password is wrong")]
    WrongCurrent,
    /// The new password is against the rules.
    #[error(transparent)]
    Rule(#[from] passwords::RuleError),
    /// A machine user has no password.
    #[error("a machine user has no password")]
    Machine,
    /// The user is not there.
    #[error("no such user")]
    NoUser,
    /// The user was changed at the same time, again and again.
    #[error("the user was changed at the same time")]
    Conflict,
    /// No password could be checked.
    #[error(transparent)]
    Passwords(#[from] passwords::PasswordError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] crate::authn::NoRandomness),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds what cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a login is refused, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has this handle.
    #[error("unknown user")]
    UnknownUser,
    /// Somebody has, with another password.
    #[error("wrong password")]
    WrongPassword,
    /// The user may not log in.
    #[error("disabled user")]
    Disabled,
    /// The user has tokens only.
    #[error("machine user")]
    Machine,
    /// No password was ever set.
    #[error("user without a password")]
    NoPassword,
}

impl LoginError {
    /// What the caller is told.
    pub fn status(&self) -> Status {
        let failure = |code, reason, message: &str| Status::failure(code, Some(reason), message);
        match self {
            Self::NoSuchPath => failure(404, Reason::NotFound, "no such path under /v1/login/"),
            Self::Method(_) => failure(405, Reason::MethodNotAllowed, &self.to_string()),
            Self::Body(_) | Self::Provider => failure(400, Reason::BadRequest, &self.to_string()),
            Self::TooLarge => failure(413, Reason::RequestEntityTooLarge, &self.to_string()),
            Self::BodyTimeout => Status::failure(408, None, self.to_string()),
            Self::Refused(_) => failure(401, Reason::Unauthorized, "wrong user name or password"),
            Self::Authn(error) => error.status(),
            Self::NotASession => failure(
                403,
                Reason::Forbidden,
                "only the session of a login can be renewed or ended here",
            ),
            Self::WrongCurrent => failure(403, Reason::Forbidden, &self.to_string()),
            Self::Rule(_) | Self::Machine => failure(422, Reason::Invalid, &self.to_string()),
            Self::NoUser => failure(404, Reason::NotFound, &self.to_string()),
            Self::Conflict => failure(409, Reason::Conflict, &self.to_string()),
            Self::Passwords(error) => error.status(),
            Self::Randomness(_) | Self::Store(_) | Self::Decode(_) => failure(
                503,
                Reason::ServiceUnavailable,
                "the gateway's store cannot do this at the moment; try again",
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordLogin {
    provider: String,
    username: String,
    password: Zeroized,
    /// What the person logs in from: shown in their list of tokens.
    #[serde(default)]
    client: String,
}

/// Text that is wiped when it is dropped.
struct Zeroized(Zeroizing<String>);

impl<'de> Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Providers<'a> {
    providers: [Provider; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    base_domain: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    name: &'static str,
    /// How to log in there: `password`.
    flow: &'static str,
    display_name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn<'a> {
    token: &'a str,
    expires_at: Timestamp,
    renewable_until: Timestamp,
    user: Who<'a>,
}

#[derive(Serialize)]
struct Who<'a> {
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    expires_at: Timestamp,
}

impl Login {
    /// Answers a request whose path starts with `/v1/login/`.
    pub async fn handle<B>(&self, request: Request<B>) -> Result<Response<Body>, LoginError>
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
            "/v1/login/providers" if head.method == Method::GET => Ok(self.providers()),
            "/v1/login/providers" => Err(LoginError::Method("GET")),
            "/v1/login/password" => {
                post()?;
                self.password(&read(&head.headers, body).await?).await
            }
            "/v1/login/renew" => {
                post()?;
                self.renew(&head.headers).await
            }
            "/v1/login/logout" => {
                post()?;
                self.logout(&head.headers).await
            }
            _ => Err(LoginError::NoSuchPath),
        }
    }

    fn providers(&self) -> Response<Body> {
        answer::ok(&Providers {
            providers: [Provider {
                name: LOCAL,
                flow: "password",
                display_name: "Local account",
            }],
            base_domain: self.base_domain.get().as_ref().map(BaseDomain::as_str),
        })
    }

    async fn password(&self, body: &[u8]) -> Result<Response<Body>, LoginError> {
        // The parser's own words could hold the password.
        let login: PasswordLogin = serde_json::from_slice(body).map_err(|_| {
            LoginError::Body("JSON with provider, username, password and, if wanted, client")
        })?;
        if login.provider != LOCAL {
            return Err(LoginError::Provider);
        }
        let (session, user) = match self.log_in(&login).await {
            Ok(done) => done,
            Err(error) => {
                let known = self.index.user(&login.username);
                // An unknown name is not logged: people type passwords there.
                let user = known.as_ref().map_or("", |user| &user.handle);
                tracing::info!(user, %error, "login failed");
                return Err(error);
            }
        };
        tracing::info!(user = &*user.handle, token = %session.text.id(), "login");
        let body = LoggedIn {
            token: session.text.expose(),
            expires_at: session.expires_at,
            renewable_until: session.renewable_until,
            user: Who {
                name: &user.handle,
                uid: &user.uid,
            },
        };
        Ok(answer::json(StatusCode::CREATED, answer::JSON, &body))
    }

    async fn log_in(
        &self,
        login: &PasswordLogin,
    ) -> Result<(session::New, Arc<UserEntry>), LoginError> {
        for _ in 0..ATTEMPTS {
            let user = self.check(&login.username, &login.password.0).await?;
            match self.create(&user, &login.client, clock::now()).await {
                Ok(session) => return Ok((session, user)),
                Err(LoginError::Store(StoreError::Conflict { key })) => {
                    // Somebody changed the user since this replica last looked: look again.
                    if let Some(kv) = self.store.get(&key).await? {
                        self.applied(kv.mod_revision).await;
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Err(LoginError::Conflict)
    }

    /// The user whose password this is. One hash is computed, whoever asks for whom.
    async fn check(
        &self,
        username: &str,
        password: &Zeroizing<String>,
    ) -> Result<Arc<UserEntry>, LoginError> {
        use crate::authn::Unknowable::{Loading, Unreadable};
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Loading).into());
        }
        // Exactly the handle: other spellings of a name are nobody's (L3).
        let slot = check_handle(username)
            .ok()
            .and_then(|()| self.index.user_slot(username));
        let found = match slot {
            Some(Slot::Known(user)) => Ok(user),
            Some(Slot::Unreadable) => return Err(AuthnError::Unavailable(Unreadable).into()),
            None => Err(Refused::UnknownUser),
        };
        let (hash, refused) = match &found {
            Err(refused) => (None, *refused),
            Ok(user) if user.disabled => (None, Refused::Disabled),
            Ok(user) if user.machine => (None, Refused::Machine),
            Ok(user) => match &user.password {
                Some(hash) => (Some(hash.clone()), Refused::WrongPassword),
                None => (None, Refused::NoPassword),
            },
        };
        let fits = self.passwords.verify(hash, password.clone()).await?;
        match found {
            Ok(user) if fits => Ok(user),
            Ok(_) | Err(_) => Err(LoginError::Refused(refused)),
        }
    }

    async fn renew(&self, headers: &HeaderMap) -> Result<Response<Body>, LoginError> {
        let identity = self.session(headers)?;
        let expires_at = self.extend(identity.token_id(), clock::now()).await?;
        tracing::info!(user = identity.handle(), token = %identity.token_id(), "session renewed");
        Ok(answer::ok(&Renewed { expires_at }))
    }

    async fn logout(&self, headers: &HeaderMap) -> Result<Response<Body>, LoginError> {
        let identity = self.session(headers)?;
        self.end(identity.token_id()).await?;
        tracing::info!(user = identity.handle(), token = %identity.token_id(), "logout");
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Who holds the session that a request carries.
    fn session(&self, headers: &HeaderMap) -> Result<crate::authn::Identity, LoginError> {
        let credential = Credential::extract(headers, WebSocket::No)?;
        let authn = Authn::new(Arc::clone(&self.index));
        let identity = authn.authenticate(&credential, clock::now())?;
        match identity.token_kind() {
            crate::objects::TokenKind::Ses => Ok(identity),
            crate::objects::TokenKind::Pat => Err(LoginError::NotASession),
        }
    }

    /// Waits until this replica has seen the write. If that takes too long the write still counts.
    async fn applied(&self, revision: u64) {
        if let Err(behind) = self.follower.wait_for(revision, APPLY_LIMIT).await {
            tracing::warn!(%behind, "answering before this replica has seen its own write");
        }
    }
}

async fn read<B>(headers: &HeaderMap, body: B) -> Result<Zeroizing<Vec<u8>>, LoginError>
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
    match tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Err(LoginError::BodyTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(LoginError::TooLarge),
        Ok(Err(_)) => Err(LoginError::Body("whole")),
        Ok(Ok(whole)) => Ok(Zeroizing::new(whole.to_bytes().to_vec())),
    }
}

#[cfg(test)]
mod tests;
