//! Reading again what can change while the gateway runs: the configuration file, the certificate and the
//! policy folder.
//!
//! Each source is taken whole or not at all. What is wrong with one holds up no other: a configuration that
//! waits for a restart must not let the certificate run out. What can fail happens first ([`Found::read`],
//! beside the requests); then [`Reloader::take`] puts it in place, which cannot fail.
//!
//! A reload comes by SIGHUP, or because a file has changed ([`looks`]). What is refused is logged once, with
//! every mistake, shown by `/readyz?verbose` and a metric, and tried again every [`RETRY`]: a file that was
//! half written, or a clock that was behind. The gateway stays ready: it works, with what it had.
//!
//! What could go wrong: a certificate and a key of different pairs, in the moment between two writes (they
//! are read when both are at rest, refused if they do not fit, and tried again); a certificate that has ended
//! or has not begun (the old one is kept); an option that a part read only at its start (its row says that
//! it takes a restart, and the file is refused).

mod expiry;
mod looks;

pub use crate::observe::reloads::{Problem, Source, Status};

use super::{
    app::Views,
    lifecycle::Hangups,
    tls::{self, Served, Sum},
};
use crate::{
    authn::{passwords::Passwords, providers::check_files},
    authz::{PolicyFolder, files, folder},
    config::{
        BaseDomain, Config, File, LogLevel,
        live::{Bound, LiveConfig},
    },
    gateway::{Entry, Gateway, Snapshot},
    observe::{audit::Audit, log, metrics::Metrics},
    request::Router,
    status::clock,
};
use arc_swap::ArcSwap;
use expiry::{Expiry, Warning};
use jiff::Timestamp;
use looks::{Look, Looks};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;

/// Between two looks at the files. A change counts after the second look that sees it.
const LOOK: Duration = Duration::from_secs(2);
/// Between two tries to take what was refused.
const RETRY: Duration = Duration::from_mins(1);

/// What a reload changes.
#[derive(Clone)]
pub struct Parts {
    /// What the options say.
    pub config: LiveConfig,
    /// The server's certificate.
    pub tls: Arc<ArcSwap<Served>>,
    /// `limits.connections`
    pub places: Bound,
    /// `login.hash_concurrency` and `login.hash_queue`
    pub passwords: Passwords,
    /// Which hosts and paths are clusters.
    pub gateway: Arc<Gateway>,
    /// Where policy goes.
    pub(super) views: Arc<Views>,
    /// What became of it.
    pub status: Arc<Status>,
    /// Where the certificate's end is shown.
    pub metrics: Arc<Metrics>,
    /// Whose file is opened anew.
    pub audit: Arc<Audit<Entry>>,
}

/// Reads again when it is time to.
pub struct Reloader {
    file: PathBuf,
    parts: Parts,
    looks: Looks,
    retry_at: Instant,
    expiry: Expiry,
}

impl Reloader {
    /// For a gateway whose configuration was read from `file`.
    pub fn new(file: PathBuf, parts: Parts) -> Self {
        // Nothing was seen yet, so that a change since the start is news.
        let looks = Looks::new(Look::default());
        Self {
            file,
            parts,
            looks,
            retry_at: Instant::now(),
            expiry: Expiry::default(),
        }
    }

    /// Reloads on each SIGHUP and each change, until `stop`. Without signals on changes alone.
    pub async fn run(mut self, mut hangups: Option<Hangups>, stop: CancellationToken) {
        let work = async {
            loop {
                self.look_at_certificate();
                let hangup = async {
                    match &mut hangups {
                        Some(hangups) => hangups.next().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = hangup => {
                        tracing::info!("SIGHUP: reading everything again");
                        self.parts.audit.reopen();
                        if self.reload().await.is_empty() {
                            tracing::info!("nothing new was taken");
                        }
                    }
                    () = sleep(LOOK) => {
                        let news = self.looks.is_news(self.look().await);
                        let retry = self.parts.status.has_problem() && Instant::now() >= self.retry_at;
                        if news || retry {
                            self.reload().await;
                        }
                    }
                }
            }
        };
        let _ = stop.run_until_cancelled(work).await;
    }

    /// Reads everything and takes what is good and new; which sources were.
    pub async fn reload(&mut self) -> Vec<Source> {
        let look = self.look().await;
        self.looks.reading(look);
        self.retry_at = Instant::now() + RETRY;
        let (file, running) = (self.file.clone(), self.parts.config.load());
        let now = Now {
            config: running,
            certificate: self.parts.tls.load().sum(),
            policy: self.parts.views.authz.folder_sum(),
        };
        let found = spawn_blocking(move || Found::read(&file, &now)).await;
        match found {
            Ok(found) => self.take(found),
            Err(error) => {
                tracing::error!(%error, "the files could not be read");
                Vec::new()
            }
        }
    }

    async fn look(&self) -> Look {
        let config = self.parts.config.load();
        let file = self.file.clone();
        let look = move || {
            let tls = &config.tls;
            let mut all = vec![file, tls.cert_file.clone(), tls.key_file.clone()];
            if let Some(folder) = &config.policies {
                all.push(folder.clone());
                // What cannot be listed is a change, and reading says what is wrong.
                all.extend(files::policy_files(folder).unwrap_or_default());
            }
            Look::at(all)
        };
        // A look that fails has seen nothing, which is a change: reading then says what is wrong.
        spawn_blocking(look).await.unwrap_or_default()
    }

    /// Puts what was found in place.
    fn take(&self, found: Found) -> Vec<Source> {
        let mut taken = Vec::new();
        let status = &self.parts.status;
        match found.config {
            New::Found(config) => {
                self.parts.take_config(*config);
                taken.push(Source::Config);
            }
            New::AsBefore => self.as_before(Source::Config),
            New::Refused(problem) => self.refused(Source::Config, &problem),
        }
        match found.certificate {
            New::Found(served) => {
                self.parts.tls.store(Arc::new(*served));
                taken.push(Source::Certificate);
            }
            New::AsBefore => self.as_before(Source::Certificate),
            New::Refused(problem) => self.refused(Source::Certificate, &problem),
        }
        match found.policy {
            New::Found(folder) => match self.parts.views.take_policy(*folder) {
                Ok(()) => taken.push(Source::Policy),
                Err(lines) => self.refused(Source::Policy, &Problem { lines }),
            },
            New::AsBefore => self.as_before(Source::Policy),
            New::Refused(problem) => self.refused(Source::Policy, &problem),
        }
        if !taken.is_empty() {
            let generation = status.taken(&taken);
            let names: Vec<&str> = taken.iter().map(|source| source.name()).collect();
            tracing::info!(taken = names.join(","), generation, "reloaded");
            self.parts.tell_certificate();
        }
        if taken.contains(&Source::Policy) {
            self.parts.views.tell_policy();
        }
        taken
    }

    fn as_before(&self, source: Source) {
        if self.parts.status.as_before(source) {
            let source = source.name();
            tracing::info!(source, "mended: it says again what counts already");
        }
    }

    fn refused(&self, source: Source, problem: &Problem) {
        if self.parts.status.refused(source, problem) {
            let source = source.name();
            for mistake in problem.lines.iter().take(MAX_MISTAKES) {
                tracing::error!(source, mistake, "refused: what counted before is kept");
            }
            let more = problem.lines.len().saturating_sub(MAX_MISTAKES);
            if more > 0 {
                tracing::error!(source, more, "refused: there are more mistakes");
            }
        }
    }

    /// Warns of its end.
    fn look_at_certificate(&mut self) {
        let Some(validity) = self.parts.tls.load().validity else {
            return;
        };
        let warning = self.expiry.due(validity, clock::now());
        let not_after = validity.not_after;
        match warning {
            Some(Warning::Ends) => tracing::warn!(%not_after, "the server's certificate ends soon"),
            Some(Warning::Ended) => {
                tracing::error!(%not_after, "the server's certificate has ended: clients refuse it");
            }
            None => {}
        }
    }
}

/// Mistakes of one source that are logged; `palisade config check` and `palisade policy test` tell all.
const MAX_MISTAKES: usize = 50;
/// How often a folder is read that is another one each time.
const READINGS: usize = 3;

impl Parts {
    fn take_config(&self, config: Config) {
        self.places.resize(config.limits.connections);
        let login = config.login;
        self.passwords
            .resize(login.hash_concurrency, login.hash_queue);
        log::set_level(level(config.log.level));
        self.gateway.replace(snapshot(&config));
        self.views.providers.replace(&config.providers);
        self.config.replace(config);
    }

    /// What is to be known of the certificate that is shown from now on.
    pub fn tell_certificate(&self) {
        let served = self.tls.load();
        if let Some(validity) = served.validity {
            let ends = validity.not_after.as_second();
            self.metrics.reloads.certificate_not_after.set(ends);
        }
        let url = self.config.load().external_url.clone();
        if !served.is_for(url.host()) {
            tracing::warn!(
                host = url.host(),
                "the certificate is not good for the host of external_url: clients will refuse it"
            );
        }
    }
}

/// What requests see of a configuration.
pub fn snapshot(config: &Config) -> Snapshot {
    let base_domain = config.base_domain.as_ref().map(BaseDomain::as_str);
    Snapshot {
        router: Router::new(base_domain),
    }
}

/// The same level in the log's own words.
pub fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// What one source says.
enum New<T> {
    /// Something else than what counts, and good.
    Found(Box<T>),
    /// What counts already.
    AsBefore,
    /// Nothing that can be taken.
    Refused(Problem),
}

/// What counts now.
struct Now {
    config: Arc<Config>,
    certificate: Sum,
    policy: folder::Sum,
}

/// What all sources say.
struct Found {
    config: New<Config>,
    certificate: New<Served>,
    policy: New<PolicyFolder>,
}

impl Found {
    /// Reads everything. A configuration that names another certificate or another folder is taken with
    /// those or not at all; without it, they are still looked for where they were.
    fn read(file: &Path, now: &Now) -> Self {
        let running = &now.config;
        let config = match read_config(file, running) {
            New::Found(config) => config,
            kept @ (New::AsBefore | New::Refused(_)) => return Self::beside(kept, running, now),
        };
        let found = Self::beside(New::AsBefore, &config, now);
        let moved_certificate = config.tls.cert_file != running.tls.cert_file
            || config.tls.key_file != running.tls.key_file;
        let moved_policy = config.policies != running.policies;
        let problem = match (&found.certificate, &found.policy) {
            (New::Refused(problem), _) if moved_certificate => problem.clone(),
            (_, New::Refused(problem)) if moved_policy => problem.clone(),
            _ => {
                return Self {
                    config: New::Found(config),
                    ..found
                };
            }
        };
        Self::beside(New::Refused(problem), running, now)
    }

    /// What the configuration's files say.
    fn beside(own: New<Config>, config: &Config, now: &Now) -> Self {
        Self {
            config: own,
            certificate: read_certificate(config, &now.certificate),
            policy: read_policy(config, &now.policy),
        }
    }
}

/// The folder of a configuration; the empty one if it names none. On failure a line for each mistake.
pub fn policy_of(config: &Config) -> Result<PolicyFolder, Vec<String>> {
    let folder = config.policies.as_deref();
    folder.map_or_else(|| Ok(PolicyFolder::default()), PolicyFolder::load)
}

/// The folder as it is twice in a row: a link that is swapped while its files are read one by one would have
/// some of each state.
fn settled_policy(config: &Config) -> Result<PolicyFolder, Vec<String>> {
    let mut before = policy_of(config)?;
    for _ in 0..READINGS {
        let folder = policy_of(config)?;
        if folder.sum() == before.sum() {
            return Ok(folder);
        }
        before = folder;
    }
    Err(vec!["the folder changes while it is read".to_owned()])
}

fn read_policy(config: &Config, now: &folder::Sum) -> New<PolicyFolder> {
    match settled_policy(config) {
        Ok(folder) if folder.sum() == *now => New::AsBefore,
        Ok(folder) => New::Found(Box::new(folder)),
        Err(lines) => New::Refused(Problem { lines }),
    }
}

fn read_config(file: &Path, running: &Config) -> New<Config> {
    let file = match File::read(file) {
        Ok(file) => file,
        Err(lines) => return New::Refused(Problem { lines }),
    };
    let mut lines = file.need_restart(running);
    lines.extend(
        check_files(&file.config.providers)
            .err()
            .unwrap_or_default(),
    );
    if !lines.is_empty() {
        New::Refused(Problem { lines })
    } else if file.config == *running {
        New::AsBefore
    } else {
        New::Found(Box::new(file.config))
    }
}

fn read_certificate(config: &Config, serving: &Sum) -> New<Served> {
    let tls = &config.tls;
    let read = || {
        let files = tls::Files::read(&tls.cert_file, &tls.key_file)?;
        if files.sum() == *serving {
            return Ok(None);
        }
        files.serve().map(Some)
    };
    let served = match read() {
        Ok(Some(served)) => served,
        Ok(None) => return New::AsBefore,
        Err(error) => return New::Refused(Problem::of(error.to_string())),
    };
    match served
        .validity
        .and_then(|validity| out_of_time(validity, clock::now()))
    {
        None => New::Found(Box::new(served)),
        Some(why) => {
            let cert = tls.cert_file.display();
            New::Refused(Problem::of(format!("{cert}: the certificate {why}")))
        }
    }
}

/// Why clients would refuse it at this moment. At the start such a certificate is served all the same:
/// there is no better one.
fn out_of_time(validity: tls::Validity, now: Timestamp) -> Option<String> {
    let tls::Validity {
        not_before,
        not_after,
    } = validity;
    if now < not_before {
        Some(format!("is good from {not_before} on, and not yet"))
    } else if now > not_after {
        Some(format!("has ended: {not_after}"))
    } else {
        None
    }
}
