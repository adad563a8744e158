//! The folder of the sessions: one file a gateway, written under a lock, there whole or not at all.

use super::{Saved, SessionError, VERSION};
use crate::{config::env, proxy::endpoint::ServerUrl};
use aws_lc_rs::digest;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// How long to wait for whoever holds the lock: two renewals that time out, and some.
pub(super) const LOCK_LIMIT: Duration = Duration::from_secs(25);
/// How often to look whether the lock is free. The standard library's lock cannot wait for a bounded time.
const LOCK_POLL: Duration = Duration::from_millis(10);
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

    pub(super) async fn lock_within(
        &self,
        server: &str,
        limit: Duration,
    ) -> Result<Locked, SessionError> {
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
    pub(super) fn path(&self, server: &str, kind: &str) -> PathBuf {
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

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> SessionError {
    let path = path.to_owned();
    move |source| SessionError::File { path, source }
}
