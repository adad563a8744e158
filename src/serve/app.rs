//! The wiring: which part gets what, and in which order things begin and end.
//!
//! Begin: sockets, state, follower; then, when the in-memory view is whole, the listener. Until then clients
//! wait in the kernel's queue and `/readyz` says why. End: the listener and its connections drain first,
//! while everything behind them still works; then the follower and the keepers stop, the admin listener
//! after them, so that operators see the drain, what providers are asked just then is waited for ([`asking`]), the last
//! traces are sent, and the audit log is closed last.

use super::{
    admin::{Admin, AdminListener, Check, Note},
    conn::Settings,
    lifecycle::{self, Drained},
    listen::{Listener, Shared},
    reload::{self, Reloader, Source},
    state::{State, StateError},
    tls::{self, TlsError},
};
use crate::{
    authn::{
        passwords::{PasswordError, Passwords},
        providers::check_files,
    },
    clusters::Registry,
    config::{
        Config,
        live::{Bound, Live, LiveConfig},
    },
    gateway::Entry,
    observe::{
        audit::Audit,
        metrics::Metrics,
        trace::{Exporter, TraceError},
    },
    store::{
        Store,
        follow::{Behind, Follower},
    },
};
use arc_swap::ArcSwap;
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

mod apart;
mod asking;
mod samples;
mod wiring;

pub(in crate::serve) use wiring::Views;
use wiring::Wiring;

/// Wait for the first complete view of the store: a million objects take a few seconds.
const FIRST_VIEW: Duration = Duration::from_mins(2);
/// Age of the in-memory view from which on this replica calls itself unready. The follower asks the store
/// every second; ten missed answers are no hiccup.
const VIEW_AGE: Duration = Duration::from_secs(10);
/// Wait for background tasks at the end; they hold nothing that a kill would break. What asks providers does, and is
/// waited for apart.
const BACKGROUND_END: Duration = Duration::from_secs(2);
/// Wait for the last traces at the end; a collector that has not taken them by then is away.
const TRACES_END: Duration = Duration::from_secs(5);
/// The same when there is no time left.
const TRACES_CUT: Duration = Duration::from_millis(500);

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({option})")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The option that names it.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Store or keys.
    #[error(transparent)]
    State(#[from] StateError),
    /// The audit log.
    #[error("cannot write the audit log {} (audit.path)", path.display())]
    Audit {
        /// The file; empty: standard output.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The export of traces.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The password hasher.
    #[error("cannot set up password hashing")]
    Passwords(#[from] PasswordError),
    /// The system gives no thread, or no descriptors for its runtime.
    #[error("cannot start a thread that follows the store")]
    Thread(#[source] io::Error),
    /// The policy folder.
    #[error("the policy folder has mistakes:\n{}", .0.join("\n"))]
    Policy(Vec<String>),
    /// Files that a provider names.
    #[error("the providers have mistakes:\n{}", .0.join("\n"))]
    Providers(Vec<String>),
    /// The store was not read in time.
    #[error("the store could not be read within {} s", FIRST_VIEW.as_secs())]
    FirstView(#[from] Behind),
}

/// Both sockets, bound; nothing is accepted yet.
pub struct Sockets {
    main: Listener,
    admin: AdminListener,
}

impl Sockets {
    /// Binds both; port 0 takes free ones.
    pub async fn bind(listen: SocketAddr, admin: SocketAddr) -> Result<Self, StartError> {
        let error = |address, option| {
            move |source| StartError::Bind {
                address,
                option,
                source,
            }
        };
        Ok(Self {
            main: Listener::bind(listen)
                .await
                .map_err(error(listen, "listen"))?,
            admin: AdminListener::bind(admin)
                .await
                .map_err(error(admin, "admin_listen"))?,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.main.address()
    }

    /// Where operators look.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }
}

/// A gateway that serves.
pub struct App {
    store: Store,
    follower: Follower,
    tasks: Tasks,
    deadline: Live<Duration>,
    reloads: reload::Parts,
    audit: Arc<Audit<Entry>>,
    exporter: Option<Exporter>,
    /// What has a thread of its own does not end with the runtime: it ends with this, if nobody stops it.
    _end: DropGuard,
}

/// What runs, and how it is ended.
#[derive(Default)]
struct Tasks {
    /// Ends accepting, and then connections.
    stop: CancellationToken,
    open: TaskTracker,
    /// Answers of HTTP/2 that are under way.
    answers: TaskTracker,
    /// Ends what is open still at the end of the drain.
    cut: CancellationToken,
    /// Ends what works behind the connections.
    end: CancellationToken,
    background: TaskTracker,
    /// What asks providers about accounts.
    asking: TaskTracker,
}

impl App {
    /// Starts everything; returns when requests are answered.
    pub async fn start(
        config: &Config,
        sockets: Sockets,
        state: State,
    ) -> Result<Self, StartError> {
        let served = tls::load(&config.tls.cert_file, &config.tls.key_file)?;
        let passwords = Passwords::new(config.login.hash_concurrency, config.login.hash_queue)?;
        let live = LiveConfig::new(config.clone());
        let metrics = Arc::new(Metrics::new());
        let folder = reload::policy_of(config).map_err(StartError::Policy)?;
        check_files(&config.providers).map_err(StartError::Providers)?;
        let views = Arc::new(Views::new(config, &state, &metrics));
        let tasks = Tasks::default();
        let audit = views.audit(&config.audit)?;
        let (tracer, exporter) = wiring::traces(&live, &metrics)?.unzip();
        let follower = Follower::new(state.store.clone());
        let status = Arc::new(reload::Status::new(Arc::clone(&metrics)));
        let Sockets { main, admin } = sockets;
        let checks = checks(&follower, &tasks.stop, &audit);
        let admin_shows = Admin::new(checks, notes(&status, &views), Arc::clone(&metrics));
        let background = &tasks.background;
        background.spawn(admin.run(Arc::new(admin_shows), tasks.end.clone()));
        let end = follow(&follower, &views, &tasks)?;
        follower.wait_for(0, FIRST_VIEW).await?;
        views.take_policy(folder).map_err(StartError::Policy)?;

        let wiring = Wiring {
            config: &live,
            state: &state,
            views: &views,
            follower: &follower,
            metrics: &metrics,
            audit: &audit,
            tracer,
            reloads: &status,
            background,
            asking: &tasks.asking,
        };
        let clusters = wiring.clusters();
        wiring.keep(&clusters, &tasks.end);
        let open = tasks.open.clone();
        let reloads = reload::Parts {
            gateway: Arc::new(wiring.gateway(
                clusters,
                passwords.clone(),
                (open, tasks.cut.clone()),
            )),
            tls: Arc::new(ArcSwap::from_pointee(served)),
            places: Bound::new(config.limits.connections),
            config: live,
            passwords,
            views,
            status,
            metrics,
            audit: Arc::clone(&audit),
        };
        reloads.tell_certificate();
        let (metrics, registry) = (&reloads.metrics, &reloads.views.registry);
        let counts = reloads.audit.counts();
        samples::register(metrics, &follower, registry, &reloads.passwords, counts);
        if config.policies.is_some() {
            reloads.views.tell_policy();
        }
        serve(main, &reloads, &tasks);
        Ok(Self {
            deadline: reloads.config.part(|config| config.drain.deadline),
            store: state.store,
            follower,
            tasks,
            reloads,
            audit,
            exporter,
            _end: end,
        })
    }

    /// What reads the configuration, which is in this file, and the certificate again.
    pub fn reloader(&self, file: PathBuf) -> Reloader {
        Reloader::new(file, self.reloads.clone())
    }

    /// Runs something until the stop.
    pub fn beside<F>(&self, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = work(self.tasks.end.clone());
        self.tasks.background.spawn(work);
    }

    /// Says how far this replica's memory is behind the store.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// The clusters that this replica serves.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.reloads.views.registry
    }

    /// Where every request is recorded.
    pub fn audit(&self) -> &Audit<Entry> {
        &self.audit
    }

    /// Names of the registered clusters, in order.
    pub fn clusters(&self) -> Vec<String> {
        self.reloads.views.clusters()
    }

    /// Ends it: drains until the configured deadline or `hurry`, then stops the rest and closes the store.
    pub async fn stop(self, hurry: impl Future<Output = ()>) -> Drained {
        let tasks = &self.tasks;
        let mut hurry = pin!(hurry);
        let patience = self.deadline.get();
        let deadline = Instant::now() + patience;
        let drained = lifecycle::drain(&tasks.stop, &tasks.open, patience, hurry.as_mut()).await;
        // What is cut has its line in the logs.
        tasks.cut.cancel();
        tasks.answers.close();
        let cut = async { tokio::join!(tasks.open.wait(), tasks.answers.wait()) };
        let _ = tokio::time::timeout(BACKGROUND_END, cut).await;
        tasks.end.cancel();
        tasks.background.close();
        let traces = async {
            if let Some(exporter) = self.exporter {
                exporter.finish(last_traces(drained, deadline)).await;
            }
        };
        // What is still running then ends with the process.
        let background = tokio::time::timeout(BACKGROUND_END, tasks.background.wait());
        let asking = asking::finish(&tasks.asking, (drained, deadline), hurry);
        let _ = tokio::join!(background, asking, traces);
        self.audit.close().await;
        self.store.close().await;
        drained
    }
}

/// How long the last traces may take: what is left of the drain, and after a drain that was cut, or at its very
/// end, no more than it takes to send to a collector nearby.
fn last_traces(drained: Drained, deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    match drained {
        Drained::Clean => left.clamp(TRACES_CUT, TRACES_END),
        Drained::Cut(_) => TRACES_CUT,
    }
}

/// Begins to follow the store, on a thread of its own, until the end or until what comes back is dropped.
fn follow(follower: &Follower, views: &Views, tasks: &Tasks) -> Result<DropGuard, StartError> {
    let following = follower.clone().run(views.sink(), tasks.end.clone());
    let following = apart::run("store-follower", following).map_err(StartError::Thread)?;
    tasks.background.spawn(following);
    Ok(tasks.end.clone().drop_guard())
}

/// What must be so before this replica takes requests.
fn checks(follower: &Follower, stop: &CancellationToken, audit: &Arc<Audit<Entry>>) -> Vec<Check> {
    let (follower, stop, audit) = (follower.clone(), stop.clone(), Arc::clone(audit));
    vec![
        Check::new("store", move || match follower.age() {
            Some(age) if age <= VIEW_AGE => Ok(()),
            Some(age) => Err(format!("no contact for {} s", age.as_secs())),
            None => Err("not read yet".to_owned()),
        }),
        // Elsewhere a request may be recorded, and so carried out.
        Check::new("audit", move || {
            audit.can_admit().map_err(|why| why.to_string())
        }),
        Check::new("drain", move || {
            let draining = stop.is_cancelled();
            (!draining)
                .then_some(())
                .ok_or_else(|| "stopping".to_owned())
        }),
    ]
}

/// What became of the last reload of each source.
fn notes(status: &Arc<reload::Status>, views: &Arc<Views>) -> Vec<Note> {
    let note = |source: Source| {
        let (status, views) = (Arc::clone(status), Arc::clone(views));
        let tell = move || {
            let line = status.line(source)?;
            let remarks = match source {
                Source::Policy => views.authz.folder().remark_count(),
                Source::Config | Source::Certificate => 0,
            };
            Ok(match remarks {
                0 => line,
                some => format!("{line}; {some} remark(s), which palisade policy status shows"),
            })
        };
        Note {
            name: source.name(),
            tell: Box::new(tell),
        }
    };
    Source::ALL.map(note).into()
}

/// Takes connections from now on.
fn serve(listener: Listener, parts: &reload::Parts, tasks: &Tasks) {
    let shared = Shared {
        tls: Arc::clone(&parts.tls),
        places: parts.places.clone(),
        settings: parts.config.part(settings),
        metrics: Arc::clone(&parts.metrics),
        stop: tasks.stop.clone(),
        cut: tasks.cut.clone(),
        open: tasks.open.clone(),
        answers: tasks.answers.clone(),
    };
    let gateway = Arc::clone(&parts.gateway);
    let accepting = listener.run(shared, move |conn, request| {
        let gateway = Arc::clone(&gateway);
        async move { gateway.handle(&conn, request).await }
    });
    tasks.background.spawn(accepting);
}

fn settings(config: &Config) -> Settings {
    Settings {
        handshake_timeout: config.tls.handshake_timeout,
        header_timeout: config.limits.header_timeout,
        idle_timeout: config.limits.idle_timeout,
        header_bytes: config.limits.header_bytes,
        h2_streams: config.limits.h2_streams,
        h2_ping_interval: config.limits.h2_ping_interval,
    }
}
