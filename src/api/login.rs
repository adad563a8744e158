//! Logging in: the paths under `/v1/login/`, which a stranger may ask.
//!
//! A terminal is also logged in by way of a browser ([`grants`]). A login with a password yields one session token; renewing it lengthens the same token; logging out
//! deletes it. Guarantees: a failed login reads and costs the same whether the name, the password or the
//! account was wrong (G5 of docs/attacks.md); a session is written only if its user is still exactly as it
//! was when the password was checked, in the same transaction; no text of a request reaches a log.
//!
//! What an attacker would try: bodies without end (bounded in bytes and time), trying passwords, or trying
//! so many that the person is kept out (`authn::throttle`: 429 before any hash), floods of logins
//! (`authn::passwords` bounds the hashing, and answers 429 too), a session made just before the password
//! changes (its epoch is the old one, so it is refused), renewing for ever (not beyond `renewableUntil`).

mod attempt;
mod enter;
mod error;
pub mod grants;
mod password;
mod provider;
mod session;
mod tries;

pub use attempt::Done;
pub use error::{LoginError, NoHandle, Refused};
pub use password::Proof;
pub use session::New;

use super::{Body, answer};
use crate::{
    authn::{
        Authn, Credential, Identity, Index, TokenId, UserEntry, WebSocket, passwords, providers,
        throttle::{Limit, Source, Throttle},
    },
    config::{BaseDomain, ExternalUrl, Sessions, live::Live},
    objects::{LOCAL, TokenKind},
    observe::metrics::{cells::Table, labels::LoginEnd},
    status::clock,
    store::{Store, follow::Follower, seal::Keyring},
};
use bytes::Bytes;
use grants::Grants;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// A name and a password fit many times.
const MAX_BODY: usize = 64 * 1024;
/// How long a client may take to send them.
const BODY_TIME: Duration = Duration::from_secs(10);
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

/// A login with a password, from a terminal or from a page.
pub struct PasswordLogin {
    /// Where the account is.
    pub provider: String,
    /// As it was typed.
    pub username: String,
    /// As it was typed.
    pub password: Zeroized,
    /// What an earlier login gave the client to keep.
    pub device: Option<String>,
    /// What it is to give.
    pub wanted: Wanted,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordBody {
    provider: String,
    username: String,
    password: Zeroized,
    #[serde(default)]
    client: String,
    #[serde(default)]
    device: Option<String>,
}

/// Text that is wiped when it is dropped.
pub struct Zeroized(Zeroizing<String>);

impl From<Zeroizing<String>> for Zeroized {
    fn from(text: Zeroizing<String>) -> Self {
        Self(text)
    }
}

impl<'de> Deserialize<'de> for Zeroized {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ways<'a> {
    providers: Vec<Provider<'a>>,
    /// How a terminal logs in by way of a browser. A gateway that says nothing has no pages.
    grants: [&'static str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    base_domain: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider<'a> {
    name: &'a str,
    /// How to log in there: `password`, or `browser` with one.
    flow: &'static str,
    display_name: &'a str,
    /// Whether a terminal's person may type a code there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    device_flow: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn<'a> {
    token: &'a str,
    expires_at: Timestamp,
    renewable_until: Timestamp,
    user: Who<'a>,
    device: &'a str,
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

/// What a request came to, for those who record it.
#[derive(Clone, Default)]
pub struct Seen {
    /// What was done, or tried with a password.
    pub deed: Option<Deed>,
    /// What a deed on a page was about. Boxed: most requests have none.
    pub about: Option<Box<About>>,
    /// Who was identified, and by which session.
    pub who: Option<(Arc<UserEntry>, TokenId)>,
    /// Whose password was tried and got no session, if there is such a user: people type passwords where names belong.
    pub tried: Option<Arc<UserEntry>>,
}

/// What is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A session begins.
    Login,
    /// A session is lengthened.
    Renewal,
    /// A session ends.
    Logout,
    /// Its user ends a session or token on the page that lists them.
    SessionEnd,
    /// Somebody lets a terminal log in as them.
    GrantGiven,
    /// Somebody does not.
    GrantRefused,
}

/// What a deed on a page was about.
#[derive(Clone, Debug)]
pub enum About {
    /// Sessions or tokens, by their ids, with blanks between them.
    Tokens(String),
    /// A terminal.
    Terminal {
        /// What it calls its machine.
        client: String,
        /// From where it asked; none: it waits beside the browser.
        address: Option<String>,
    },
}

impl Seen {
    /// Sessions or tokens are ended. A person has not so many that their ids would not be one line.
    pub(crate) fn ends<'i>(&mut self, ids: impl IntoIterator<Item = &'i TokenId>) {
        let ids: Vec<&str> = ids.into_iter().map(TokenId::as_str).collect();
        self.deed = Some(Deed::SessionEnd);
        self.about = Some(Box::new(About::Tokens(ids.join(" "))));
    }

    /// Somebody has answered a terminal.
    pub(crate) fn answered(&mut self, deed: Deed, client: &str, from: Option<IpAddr>) {
        self.deed = Some(deed);
        self.about = Some(Box::new(About::Terminal {
            client: client.to_owned(),
            address: from.map(|it| it.to_canonical().to_string()),
        }));
    }

    fn session(&mut self, deed: Deed, identity: &Identity) {
        self.deed = Some(deed);
        self.who = Some((Arc::clone(identity.user()), identity.token_id()));
    }
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
            "/v1/login/providers" if head.method == Method::GET => Ok(self.providers()),
            "/v1/login/providers" => Err(LoginError::Method("GET")),
            "/v1/login/password" => {
                post()?;
                let body = read(&head.headers, body).await;
                self.password(peer, body, seen).await
            }
            "/v1/login/device" => {
                post()?;
                self.device_begins(peer, &head.headers, body).await
            }
            "/v1/login/token" => {
                post()?;
                self.token(peer, (&head.headers, body), seen).await
            }
            "/v1/login/revoke" => {
                post()?;
                self.revoke(peer, &head.headers, body).await
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

    fn providers(&self) -> Response<Body> {
        let of = |name, flow, display_name| Provider {
            name,
            flow,
            display_name,
            device_flow: false,
        };
        let all = self.providers.all();
        let others = all.values().map(|it| {
            let flow = if it.is_by_browser() {
                "browser"
            } else {
                "password"
            };
            Provider {
                device_flow: it.has_device_flow(),
                ..of(&it.name, flow, it.config.display_name.as_str())
            }
        });
        answer::ok(&Ways {
            providers: std::iter::once(of(LOCAL, "password", "Local account"))
                .chain(others)
                .collect(),
            grants: ["device", "authorization_code"],
            base_domain: self.base_domain.get().as_ref().map(BaseDomain::as_str),
        })
    }

    async fn password(
        &self,
        peer: IpAddr,
        body: Result<Zeroizing<Vec<u8>>, LoginError>,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError> {
        let login = body.and_then(|body| {
            // The parser's own words could hold the password.
            serde_json::from_slice::<PasswordBody>(&body).map_err(|_| {
                LoginError::Body(
                    "JSON with provider, username, password and, if wanted, client and device",
                )
            })
        });
        let login = login.map(|body| PasswordLogin {
            provider: body.provider,
            username: body.username,
            password: body.password,
            device: body.device,
            wanted: Wanted {
                kind: TokenKind::Ses,
                client: body.client,
                from: peer,
            },
        });
        let done = self.by_password(login, seen).await?;
        Ok(logged_in(&done))
    }

    /// Logs in with a password: the one way for terminals and for pages. What could not be read is counted too.
    pub async fn by_password(
        &self,
        login: Result<PasswordLogin, LoginError>,
        seen: &mut Seen,
    ) -> Result<Done, LoginError> {
        let source = |login: &PasswordLogin| Source::of(login.wanted.from);
        let mut tried = None;
        let done = match login {
            Ok(login) if login.provider == LOCAL => {
                let done = self.log_in(&login, source(&login), seen).await;
                tried = self.index.user(&login.username);
                done
            }
            Ok(login) => match self.providers.get(&login.provider) {
                Some(provider) => {
                    let notes = (&mut *seen, &mut tried);
                    self.log_in_at(&provider, &login, source(&login), notes)
                        .await
                }
                None => Err(LoginError::Provider),
            },
            Err(error) => Err(error),
        };
        self.note(tried, &done, seen);
        done
    }

    /// The one place that is told how each login with a password ended.
    fn note(
        &self,
        known: Option<Arc<UserEntry>>,
        done: &Result<Done, LoginError>,
        seen: &mut Seen,
    ) {
        match done {
            Ok(Done { session, user, .. }) => {
                self.logins.inc(LoginEnd::Done);
                seen.tried = None;
                seen.who = Some((Arc::clone(user), session.text.id()));
                tracing::info!(user = &*user.handle, token = %session.text.id(), "login");
            }
            Err(error) => {
                self.logins.inc(end(error));
                // An unknown name is not logged: people type passwords there.
                let user = known.as_ref().map_or("", |user| &user.handle);
                tracing::info!(user, %error, "login failed");
                if matches!(error, LoginError::Refused(_)) {
                    seen.deed = Some(Deed::Login);
                    seen.tried = known;
                }
            }
        }
    }

    /// Tells of a login that came to nothing before anybody was known.
    pub fn note_failure(&self, error: &LoginError) {
        self.logins.inc(end(error));
        tracing::info!(%error, "login failed");
    }

    /// How long strangers are kept from trying this user's password; none: they are not.
    pub fn kept_from(&self, user: &UserEntry) -> Option<Duration> {
        self.throttle
            .kept_from(&attempt::account_of(user), Instant::now())
    }

    /// Whether it matters from which address somebody logs in.
    pub fn tells_sources_apart(&self) -> bool {
        self.throttle.tells_sources_apart()
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
        Ok(answer::ok(&Renewed { expires_at }))
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

    /// Waits until this replica has seen the write. If that takes too long the write still counts.
    async fn applied(&self, revision: u64) {
        if let Err(behind) = self.follower.wait_for(revision, APPLY_LIMIT).await {
            tracing::warn!(%behind, "answering before this replica has seen its own write");
        }
    }
}

/// What a terminal is told.
fn logged_in(done: &Done) -> Response<Body> {
    let Done {
        session,
        user,
        device,
    } = done;
    let body = LoggedIn {
        token: session.text.expose(),
        expires_at: session.expires_at,
        renewable_until: session.renewable_until,
        user: Who {
            name: &user.handle,
            uid: &user.uid,
        },
        device,
    };
    answer::json(StatusCode::CREATED, answer::JSON, &body)
}

/// What is counted.
fn end(error: &LoginError) -> LoginEnd {
    if let LoginError::Throttled(throttled) = error {
        return match throttled.limit {
            Limit::Account => LoginEnd::ThrottledAccount,
            Limit::Source => LoginEnd::ThrottledSource,
            Limit::Known => LoginEnd::ThrottledKnown,
        };
    }
    match error.status().code {
        401 => LoginEnd::Refused,
        429 => LoginEnd::Busy,
        400..500 => LoginEnd::Invalid,
        _ => LoginEnd::Unavailable,
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
    collect(body).await
}

async fn collect<B>(body: B) -> Result<Zeroizing<Vec<u8>>, LoginError>
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

#[cfg(test)]
mod tests;
