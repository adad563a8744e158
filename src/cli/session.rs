//! The session of a person: what `palisade login` leaves behind, and what every other command uses.
//!
//! One file per gateway, mode 0600, in the user's config folder: the gateway's URL, the CA it is trusted
//! by, and the session token. Files are written under a lock and appear whole (write, sync, rename), so a
//! reader never needs the lock. A session is renewed after half its life, by whoever holds the lock first:
//! a hundred kubectl at the same time make one renewal.
//!
//! What could go wrong: a gateway that cannot be reached while the session is still good (it is used as it
//! is, and the next try waits [`RETRY_RENEWAL`]), a lock holder that hangs (waiting has a bound), a clock
//! that is wrong by hours (the session seems to have ended: log in again).

use super::http::{CaSum, HttpClient, HttpError, Options, Trust};
use crate::{proxy::endpoint::EndpointError, status::clock};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, path::PathBuf, time::Duration};

mod folder;

use folder::at;

pub use folder::{Folder, Locked, replace, server_key};

/// Shape of the files; a newer one is refused.
const VERSION: u32 = 1;
/// Users of one gateway whom one person logs in as from one machine, and some.
const MAX_DEVICES: usize = 16;
/// How long a renewal may take: kubectl waits for it.
const RENEWAL_LIMIT: Duration = Duration::from_secs(10);
/// After a renewal that failed for want of an answer, the session is used as it is for this long.
pub const RETRY_RENEWAL: SignedDuration = SignedDuration::from_secs(30);

/// Where the options below stand in every command's help: after its own.
const GATEWAY: &str = "Gateway";

/// Which gateway, and how it is trusted: options of every command that speaks to one.
#[derive(Clone, Default, clap::Args)]
pub struct GatewayArgs {
    /// The gateway; without it, the one of the last login
    #[arg(
        long,
        env = "PALISADE_SERVER",
        value_name = "URL",
        help_heading = GATEWAY
    )]
    pub server: Option<String>,
    /// PEM file with the authority of the gateway's certificate
    #[arg(
        long,
        env = "PALISADE_CA",
        value_name = "FILE",
        conflicts_with = "ca_sum",
        help_heading = GATEWAY
    )]
    pub ca: Option<PathBuf>,
    /// SHA-256 (hex) of the authority's certificate, which the gateway must present
    #[arg(long, value_name = "SHA256", help_heading = GATEWAY)]
    pub ca_sum: Option<CaSum>,
    /// Where sessions are kept [default: $XDG_CONFIG_HOME/palisade or ~/.config/palisade]
    #[arg(
        long,
        env = "PALISADE_CONFIG_DIR",
        value_name = "DIR",
        help_heading = GATEWAY
    )]
    pub config_dir: Option<PathBuf>,
    /// A token to use in place of the session. For the environment: a command line is no place for it.
    #[arg(
        long,
        env = "PALISADE_TOKEN",
        value_name = "TOKEN",
        hide = true,
        hide_env_values = true
    )]
    pub token: Option<String>,
}

/// Why there is no session to work with.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Neither `--server` nor an earlier login.
    #[error("which gateway? Give --server URL, or log in first: run palisade login --server URL")]
    NoServer,
    /// Nobody logged in there.
    #[error("not logged in to {0}: run palisade login --server {0}")]
    NotLoggedIn(String),
    /// The session is over, or was revoked.
    #[error("the session at {0} has ended: run palisade login --server {0}")]
    Ended(String),
    /// The gateway did not answer, or said no.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Not a server URL.
    #[error(transparent)]
    Url(#[from] EndpointError),
    /// Neither `XDG_CONFIG_HOME` nor a home folder.
    #[error("no home folder is known: give --config-dir DIR")]
    NoHome,
    /// A file of ours cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of ours holds something else.
    #[error("{}: not a session file ({why}); remove it and log in again", .path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another palisade holds the lock for too long.
    #[error("{}: another palisade has held this lock for {} seconds", .0.display(), folder::LOCK_LIMIT.as_secs())]
    Locked(PathBuf),
}

/// What is kept of a gateway. No `Debug`: it holds the token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// [`VERSION`].
    pub version: u32,
    /// The gateway's URL, as [`server_key`] writes it.
    pub server: String,
    /// PEM; none: the public web PKI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Absent after a logout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// By handle: what a login as this user gave this machine to be known by at the next one, so that a
    /// stranger who tries passwords there does not keep the person out. It opens nothing, and a logout
    /// leaves it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, String>,
}

impl Saved {
    /// A gateway without a session yet.
    pub fn new(server: String, ca: Option<String>) -> Self {
        Self {
            version: VERSION,
            server,
            ca,
            session: None,
            devices: BTreeMap::new(),
        }
    }

    /// Keeps what a login as `user` gave this machine.
    pub fn keep_device(&mut self, user: &str, device: String) {
        if self.devices.len() >= MAX_DEVICES && !self.devices.contains_key(user) {
            // Which one goes hardly matters: its user is a stranger once.
            self.devices.pop_first();
        }
        self.devices.insert(user.to_owned(), device);
    }
}

/// A login. No `Debug`: it holds the token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Handle of who logged in.
    pub user: String,
    /// The token's text.
    pub token: String,
    /// When it was given, or renewed for the last time.
    pub obtained_at: Timestamp,
    /// Its end, unless it is renewed.
    pub expires_at: Timestamp,
    /// The latest end that renewing can give.
    pub renewable_until: Timestamp,
    /// When a renewal last got no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal_failed_at: Option<Timestamp>,
}

impl Session {
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Past half of its life, if renewing can lengthen it and is not known to be in vain just now.
    fn is_due(&self, now: Timestamp) -> bool {
        let half = self.obtained_at.duration_until(self.expires_at) / 2;
        let recently = |failed: Timestamp| failed.duration_until(now).abs() < RETRY_RENEWAL;
        self.obtained_at.duration_until(now) >= half
            && self.expires_at < self.renewable_until
            && !self.renewal_failed_at.is_some_and(recently)
    }
}

/// A gateway to speak to, as somebody.
pub struct Connected {
    /// The client; every request carries the token.
    pub http: HttpClient,
    /// The gateway's URL, without a slash at its end.
    pub server: String,
    /// PEM of the CA that the gateway is trusted by; none: the public web PKI.
    pub ca: Option<String>,
}

/// Opens the gateway that `args` means, with its session (renewed if that is due) or `PALISADE_TOKEN`.
pub async fn connect(args: &GatewayArgs) -> Result<Connected, SessionError> {
    let folder = Folder::open(args.config_dir.as_deref())?;
    let server = folder.server(args.server.as_deref())?;
    let (saved, token) = if let Some(token) = &args.token {
        (folder.load(&server)?, token.clone())
    } else {
        let saved = current(&folder, &server, clock::now()).await?;
        let session = saved.session.as_ref();
        let token = session.map(|session| session.token.clone());
        let token = token.ok_or_else(|| SessionError::NotLoggedIn(server.clone()))?;
        (Some(saved), token)
    };
    let (trust, ca) = trust(args, saved.and_then(|saved| saved.ca))?;
    let options = Options {
        trust,
        token: Some(&token),
        ..Options::default()
    };
    let http = HttpClient::new(&server, options)?;
    Ok(Connected { http, server, ca })
}

/// What the options say about trust, else what an earlier login found; and the PEM, where it is known.
pub fn trust(
    args: &GatewayArgs,
    saved: Option<String>,
) -> Result<(Trust, Option<String>), SessionError> {
    if let Some(sum) = args.ca_sum {
        return Ok((Trust::Sum(sum), saved));
    }
    let ca = match &args.ca {
        Some(path) => Some(fs::read_to_string(path).map_err(at(path))?),
        None => saved,
    };
    Ok((ca.clone().map_or(Trust::WebPki, Trust::Ca), ca))
}

/// The saved gateway with a session that is good at `now`: as it is, or renewed if that is due.
pub async fn current(folder: &Folder, server: &str, now: Timestamp) -> Result<Saved, SessionError> {
    let saved = good(folder.load(server)?, server, now)?;
    if !saved
        .session
        .as_ref()
        .is_some_and(|session| session.is_due(now))
    {
        return Ok(saved);
    }
    let lock = match folder.lock(server).await {
        Ok(lock) => lock,
        // Whoever has it is renewing, or hangs; this session is good either way.
        Err(SessionError::Locked(_)) => return Ok(saved),
        Err(other) => return Err(other),
    };
    // Somebody may have renewed it, or logged out, while this process waited.
    let mut saved = good(folder.load(server)?, server, now)?;
    if let Some(session) = &mut saved.session
        && session.is_due(now)
    {
        match renew(server, saved.ca.clone(), session, now).await {
            Ok(()) => lock.save(&saved)?,
            Err(SessionError::Ended(server)) => {
                saved.session = None;
                lock.save(&saved)?;
                return Err(SessionError::Ended(server));
            }
            Err(_) => {
                session.renewal_failed_at = Some(now);
                lock.save(&saved)?;
            }
        }
    }
    Ok(saved)
}

fn good(saved: Option<Saved>, server: &str, now: Timestamp) -> Result<Saved, SessionError> {
    let not_logged_in = || SessionError::NotLoggedIn(server.to_owned());
    let saved = saved.ok_or_else(not_logged_in)?;
    let session = saved.session.as_ref().ok_or_else(not_logged_in)?;
    if !session.is_good(now) {
        return Err(SessionError::Ended(server.to_owned()));
    }
    Ok(saved)
}

async fn renew(
    server: &str,
    ca: Option<String>,
    session: &mut Session,
    now: Timestamp,
) -> Result<(), SessionError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Renewed {
        expires_at: Timestamp,
    }
    let options = Options {
        trust: ca.map_or(Trust::WebPki, Trust::Ca),
        token: Some(&session.token),
        limit: Some(RENEWAL_LIMIT),
        ..Options::default()
    };
    let http = HttpClient::new(server, options)?;
    let body = serde_json::json!({});
    match http.post::<_, Renewed>("/v1/login/renew", &body).await {
        Ok(Renewed { expires_at }) => {
            session.expires_at = expires_at;
            session.obtained_at = now;
            session.renewal_failed_at = None;
            Ok(())
        }
        Err(error) if error.code() == Some(http::StatusCode::UNAUTHORIZED) => {
            Err(SessionError::Ended(server.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
