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
use crate::{
    config::env,
    proxy::endpoint::{EndpointError, ServerUrl},
    status::clock,
};
use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// Shape of the files; a newer one is refused.
const VERSION: u32 = 1;
/// How long a renewal may take: kubectl waits for it.
const RENEWAL_LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for whoever holds the lock: two renewals that time out, and some.
const LOCK_LIMIT: Duration = Duration::from_secs(25);
/// How often to look whether the lock is free. The standard library's lock cannot wait for a bounded time.
const LOCK_POLL: Duration = Duration::from_millis(10);
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
    #[error("{}: another palisade has held this lock for {} seconds", .0.display(), LOCK_LIMIT.as_secs())]
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
}

impl Saved {
    /// A gateway without a session yet.
    pub fn new(server: String, ca: Option<String>) -> Self {
        Self {
            version: VERSION,
            server,
            ca,
            session: None,
        }
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
    fn is_good(&self, now: Timestamp) -> bool {
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

/// The folder of the sessions.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The given folder, or the user's own.
    pub fn open(dir: Option<&Path>) -> Result<Self, SessionError> {
        let root = match dir {
            Some(dir) => dir.to_owned(),
            None => match env::folder("XDG_CONFIG_HOME") {
                Some(config) => config.join("palisade"),
                None => std::env::home_dir()
                    .filter(|home| home.is_absolute())
                    .ok_or(SessionError::NoHome)?
                    .join(".config/palisade"),
            },
        };
        Ok(Self { root })
    }

    /// The gateway's URL in the one form in which it is a key: the given one, or that of the last login.
    pub fn server(&self, given: Option<&str>) -> Result<String, SessionError> {
        match given {
            Some(given) => server_key(given),
            None => match fs::read_to_string(self.current_path()) {
                Ok(text) => server_key(text.trim()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(SessionError::NoServer)
                }
                Err(source) => Err(at(&self.current_path())(source)),
            },
        }
    }

    /// Makes this gateway the one that commands without `--server` mean.
    pub fn set_current(&self, server: &str) -> Result<(), SessionError> {
        self.make()?;
        // Two logins at the same time must not share the unfinished file.
        let draft = self
            .root
            .join(format!("current.{}.tmp", std::process::id()));
        replace(
            &draft,
            &self.current_path(),
            format!("{server}\n").as_bytes(),
        )
    }

    /// What is kept of a gateway.
    pub fn load(&self, server: &str) -> Result<Option<Saved>, SessionError> {
        let path = self.path(server, "json");
        let text = match fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(&path)(source)),
        };
        let content = |why: String| SessionError::Content {
            path: path.clone(),
            why,
        };
        let saved: Saved = serde_json::from_slice(&text).map_err(|e| content(e.to_string()))?;
        if saved.version > VERSION {
            return Err(content("a newer palisade wrote it".to_owned()));
        }
        if saved.server != server {
            return Err(content(format!("it is about {}", saved.server)));
        }
        Ok(Some(saved))
    }

    /// Waits until no other process writes the gateway's file.
    pub async fn lock(&self, server: &str) -> Result<Locked, SessionError> {
        self.lock_within(server, LOCK_LIMIT).await
    }

    async fn lock_within(&self, server: &str, limit: Duration) -> Result<Locked, SessionError> {
        self.make()?;
        let path = self.path(server, "lock");
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
                Err(TryLockError::WouldBlock) if tokio::time::Instant::now() > deadline => {
                    return Err(SessionError::Locked(path));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            }
        }
        Ok(Locked {
            draft: self.path(server, "tmp"),
            path: self.path(server, "json"),
            _held: file,
        })
    }

    fn make(&self) -> Result<(), SessionError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.root).map_err(at(&self.root))
    }

    fn current_path(&self) -> PathBuf {
        self.root.join("current")
    }

    /// `<host>_<port>_<path>-<sum>.<kind>`: readable, and no two URLs share it.
    fn path(&self, server: &str, kind: &str) -> PathBuf {
        let readable = server.trim_start_matches("https://").chars().take(80);
        let name: String = readable
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-.".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let sum = digest::digest(&digest::SHA256, server.as_bytes());
        let sum = sum.as_ref().iter().take(6);
        let sum = sum.fold(0, |sum: u64, &byte| sum << 8 | u64::from(byte));
        self.root.join(format!("{name}-{sum:012x}.{kind}"))
    }
}

/// The right to write a gateway's file; given back when it is dropped, or when the process ends.
pub struct Locked {
    draft: PathBuf,
    path: PathBuf,
    _held: File,
}

impl Locked {
    /// Writes the file, whole or not at all.
    pub fn save(&self, saved: &Saved) -> Result<(), SessionError> {
        // Strings and times: serialising them cannot fail.
        let text = Zeroizing::new(serde_json::to_vec_pretty(saved).unwrap_or_default());
        replace(&self.draft, &self.path, &text)
    }
}

/// `https://host[:port][/path]`, lower-case host, no default port, no slash at its end.
pub fn server_key(url: &str) -> Result<String, SessionError> {
    let url = ServerUrl::parse(url)?;
    Ok(format!("https://{}{}", url.authority(), url.path))
}

/// Puts `content` under `path`, readable by its owner alone, so that it is there whole or not at all.
pub fn replace(draft: &Path, path: &Path, content: &[u8]) -> Result<(), SessionError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(draft).map_err(at(draft))?;
    // A draft that a crash left behind keeps the mode that it had.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(at(draft))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(at(draft))?;
    fs::rename(draft, path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SessionError {
    let path = path.to_owned();
    move |source| SessionError::File { path, source }
}

#[cfg(test)]
mod tests;
