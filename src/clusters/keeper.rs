//! The loops that keep clusters: for each a task that probes its health and renews its tokens in time, and
//! one that keeps it in step with policy (`reconcile`).
//!
//! What could go wrong: all clusters at once (every interval has its own jitter), several replicas that
//! renew the same tokens (the compare-and-swap lets one win; the others take over what it wrote), a
//! request that finds the cluster away between two probes (the data path says so and the task looks at
//! once, but not more often than [`PROBE_GAP`]).

use super::{
    health::Prober,
    reconcile,
    registry::{Entry, Registry},
    service::Clusters,
};
use crate::{config::live::Live, objects::Health, status::clock};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Between probes of a cluster that is away: so soon is it back in use.
pub const PROBE_DOWN: Duration = Duration::from_secs(2);
/// Least time between two probes of one cluster, however often requests fail.
pub const PROBE_GAP: Duration = Duration::from_millis(250);
/// Between tries to renew that failed, at first; doubled up to [`RENEW_RETRY_MAX`].
const RENEW_RETRY: Duration = Duration::from_secs(5);
/// A third of a token's life is left when renewing starts: hundreds of tries even at this pace.
const RENEW_RETRY_MAX: Duration = Duration::from_mins(5);
/// Between two renewals that both succeed: a cluster that gives tokens of no life, or a clock that was set,
/// must not make one after the other. Tokens live ten minutes at least (TokenRequest's own bound).
const RENEW_FLOOR: Duration = Duration::from_mins(1);
/// Between a write and the next look at the same credential.
const AFTER_WRITE: Duration = Duration::from_secs(1);
/// First probes of all clusters are spread over this at start.
const SPREAD: Duration = Duration::from_millis(500);
/// Sleep of a loop with nothing to do; a change wakes it.
const LONG: Duration = Duration::from_hours(1);

/// How often clusters are asked, and written to.
#[derive(Clone)]
pub struct Settings {
    /// Between two probes of a cluster that answers.
    pub health_interval: Live<Duration>,
    /// Between two writes to one cluster.
    pub write_pace: Live<Duration>,
}

/// Runs until `stop`: every registered cluster has its tasks, and no other.
pub async fn run(clusters: Arc<Clusters>, settings: Settings, stop: CancellationToken) {
    let registry = Arc::clone(clusters.registry());
    let mut news = registry.changes();
    let mut tasks = JoinSet::new();
    let mut running: HashMap<(Box<str>, String), CancellationToken> = HashMap::new();
    loop {
        news.mark_unchanged();
        let wanted = present(&registry);
        running.retain(|key, task| {
            let keep = wanted.contains(key);
            if !keep {
                task.cancel();
            }
            keep
        });
        for key in wanted {
            running.entry(key).or_insert_with_key(|(name, uid)| {
                let token = stop.child_token();
                let keeper = Keeper::new(&clusters, name, uid, settings.health_interval.clone());
                tasks.spawn(keeper.run(token.clone()));
                let place = reconcile::Place {
                    clusters: Arc::clone(&clusters),
                    name: name.clone(),
                    uid: uid.clone(),
                    pace: settings.write_pace.clone(),
                };
                tasks.spawn(reconcile::run(place, token.clone()));
                token
            });
        }
        tokio::select! {
            () = stop.cancelled() => break,
            more = news.changed() => if more.is_err() { break },
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Name and uid of every registered cluster.
fn present(registry: &Registry) -> Vec<(Box<str>, String)> {
    let uid = |name: &str| Some(registry.entry(name)?.cluster.metadata.uid.clone());
    let names = registry.names().into_iter();
    names
        .filter_map(|name| Some((uid(&name)?, name)))
        .map(|(uid, name)| (name, uid))
        .collect()
}

struct Keeper {
    clusters: Arc<Clusters>,
    name: Box<str>,
    uid: String,
    interval: Live<Duration>,
    prober: Option<Prober>,
    probe_at: Instant,
    probed_at: Option<Instant>,
    renew_pause: Duration,
    renew_not_before: Instant,
    /// Why the last try to renew failed.
    renew_problem: Option<String>,
}

impl Keeper {
    fn new(clusters: &Arc<Clusters>, name: &str, uid: &str, interval: Live<Duration>) -> Self {
        Self {
            clusters: Arc::clone(clusters),
            name: name.into(),
            uid: uid.to_owned(),
            interval,
            prober: None,
            probe_at: Instant::now() + share(SPREAD, 0, 1000),
            probed_at: None,
            renew_pause: RENEW_RETRY,
            renew_not_before: Instant::now(),
            renew_problem: None,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut news = self.clusters.registry().changes();
        loop {
            let turn = self.turn(&mut news);
            tokio::select! {
                () = stop.cancelled() => return,
                goes_on = turn => if !goes_on { return },
            }
        }
    }

    /// Waits for the next thing to do, and does it. `false` when the cluster is gone.
    async fn turn(&mut self, news: &mut watch::Receiver<u64>) -> bool {
        news.mark_unchanged();
        let entry = self.clusters.registry().entry(&self.name);
        let Some(entry) = entry.filter(|entry| entry.cluster.metadata.uid == self.uid) else {
            return false;
        };
        let Some(upstream) = entry.upstream() else {
            self.prober = None;
            return news.changed().await.is_ok();
        };
        let prober = self.prober.as_ref();
        if !prober.is_some_and(|prober| prober.speaks_for(upstream.endpoint())) {
            self.prober = Some(Prober::new(upstream.endpoint()));
            // A credential that was handed over, or another server: say soon how it is.
            if self.probed_at.is_some() {
                self.probe_at = Instant::now();
            }
        }
        let gap = self
            .probed_at
            .map_or_else(Instant::now, |at| at + PROBE_GAP);
        let renew_at = self.renew_at(&entry);
        tokio::select! {
            () = sleep_until(self.probe_at.max(gap)) => self.probe(&entry).await,
            () = upstream.state().failed() => self.probe_at = Instant::now(),
            () = sleep_until(renew_at) => self.renew(&entry).await,
            more = news.changed() => return more.is_ok(),
        }
        true
    }

    async fn probe(&mut self, entry: &Entry) {
        let Some(prober) = &mut self.prober else {
            return;
        };
        let mut report = prober.probe().await;
        if let (Health::Ready, Some(problem)) = (report.health, &self.renew_problem) {
            report.message = format!("its tokens cannot be renewed: {problem}");
        }
        let interval = self.interval.get();
        let pause = match report.health {
            Health::Ready => share(interval, 800, 1200),
            Health::Down | Health::Refused | Health::Unknown | Health::Pending => {
                share(PROBE_DOWN.min(interval), 800, 1200)
            }
        };
        entry.found(report);
        let now = Instant::now();
        self.probed_at = Some(now);
        self.probe_at = now + pause;
    }

    /// When to renew: at two thirds of the tokens' life, a little sooner by chance.
    fn renew_at(&self, entry: &Entry) -> Instant {
        let Some(credential) = &entry.credential else {
            return Instant::now() + LONG;
        };
        if entry.old_key {
            return Instant::now().max(self.renew_not_before);
        }
        let due = credential.renew_at(self.clusters.life());
        let left = due.duration_since(clock::now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        // Looked at anew at least once an hour: the clock of the machine may be set meanwhile.
        let left = share(left, 900, 1000).min(LONG);
        (Instant::now() + left).max(self.renew_not_before)
    }

    async fn renew(&mut self, entry: &Entry) {
        let due = |entry: &Entry| {
            let credential = entry.credential.as_ref()?;
            let at = credential.renew_at(self.clusters.life());
            Some(Duration::try_from(at.duration_since(clock::now())).unwrap_or(Duration::ZERO))
        };
        // Woken by the hour, not by the tokens.
        if !entry.old_key && due(entry).is_none_or(|left| left > LONG) {
            return;
        }
        let done = if entry.old_key {
            self.clusters.seal_anew(entry).await
        } else {
            self.clusters.renew(entry).await
        };
        let pause = match done {
            Ok(renewed) => {
                if entry.old_key {
                    tracing::info!(cluster = %self.name, renewed, "sealed the cluster's tokens with the new key");
                } else {
                    tracing::info!(cluster = %self.name, renewed, "renewed the cluster's tokens");
                }
                self.renew_pause = RENEW_RETRY;
                self.renew_problem = None;
                if renewed && !entry.old_key {
                    RENEW_FLOOR
                } else {
                    // The store's event brings what is there; not again before it had the time to.
                    AFTER_WRITE
                }
            }
            Err(error) => {
                tracing::warn!(cluster = %self.name, %error, "cannot renew the cluster's tokens");
                self.renew_problem = Some(error.to_string());
                let pause = self.renew_pause;
                self.renew_pause = (pause * 2).min(RENEW_RETRY_MAX);
                share(pause, 800, 1200)
            }
        };
        self.renew_not_before = Instant::now() + pause;
    }
}

/// Between `low` and `high` thousandths of a duration, by chance.
pub(super) fn share(whole: Duration, low: u32, high: u32) -> Duration {
    let mut bytes = [0; 2];
    // Without randomness the middle does: this spreads load, it guards nothing.
    let chance = match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from(u16::from_be_bytes(bytes)),
        Err(_) => u32::from(u16::MAX / 2),
    };
    let thousandths = low + (high.saturating_sub(low)) * chance / u32::from(u16::MAX);
    whole.saturating_mul(thousandths) / 1000
}
