//! Which part gets what.

use crate::{
    api::{
        self, Api,
        login::{
            Login,
            grants::{self, Grants},
        },
    },
    authn::{
        Authn, Index,
        passwords::Passwords,
        providers::{Providers, refresh::Refresher},
        throttle::{self, Throttle},
        usage,
    },
    authz::{Authz, PolicyFolder, files},
    clusters::{Clusters, Registry, keeper, service},
    config::{self, AuditOutput, AuditSync, Config, live::LiveConfig},
    gateway::{self, Entry, Gateway},
    objects::Role,
    observe::{
        audit::{self, Audit},
        metrics::Metrics,
        trace::{self, Exporter, TraceError, Tracer},
    },
    proxy::dial::Reach,
    serve::{
        app::StartError,
        reload,
        state::{State, make_folder},
    },
    store::follow::{Batch, Follower},
    web::Web,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Remarks on a policy folder that are logged; `palisade policy status` has all.
const MAX_REMARKS: usize = 20;

/// The parts that are fed by the store.
pub(in crate::serve) struct Views {
    pub(super) registry: Arc<Registry>,
    pub(in crate::serve) authz: Arc<Authz>,
    index: Arc<Index>,
    pub(in crate::serve) providers: Arc<Providers>,
    grants: Arc<Grants>,
    /// Held while the store's changes or another policy folder go into all of them: whom a folder names is
    /// looked up in the index, which must not change meanwhile.
    turn: Arc<Mutex<()>>,
}

impl Views {
    pub(super) fn new(config: &Config, state: &State, metrics: &Metrics) -> Self {
        let roles = built_in().map(|role| (role.metadata.name.clone(), role.spec.clone()));
        let authz = Arc::new(Authz::new(roles.collect()));
        let index = Arc::new(Index::new());
        let providers = Arc::new(Providers::new(Arc::clone(&index)));
        providers.replace(&config.providers);
        Self {
            registry: Arc::new(Registry::new(
                Arc::clone(&authz),
                Arc::clone(&state.keyring),
                reach(config),
                Arc::clone(&metrics.meters),
            )),
            authz,
            index,
            providers,
            grants: Arc::new(Grants::new(Arc::clone(&metrics.terminals))),
            turn: Arc::default(),
        }
    }

    /// From now on this folder counts, for requests and for what clusters are told. If it cannot beside what is stored:
    /// a line for each reason.
    pub(in crate::serve) fn take_policy(&self, folder: PolicyFolder) -> Result<(), Vec<String>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let clashes = self.authz.clashes(&folder);
        if !clashes.is_empty() {
            return Err(clashes);
        }
        self.authz.set_folder(folder, &self.index);
        Ok(())
    }

    /// Says in the log what is in the folder, and what of it does not count.
    pub(in crate::serve) fn tell_policy(&self) {
        let folder = self.authz.folder();
        let (roles, projects) = (folder.roles.len(), folder.projects.len());
        let bindings = folder.bindings.len();
        let remarks = folder.remarks();
        tracing::info!(
            roles,
            projects,
            bindings,
            remarks = remarks.len(),
            "the policy folder counts"
        );
        for remark in remarks.iter().take(MAX_REMARKS) {
            tracing::warn!("policy folder: {remark}");
        }
    }

    pub(super) fn clusters(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .registry
            .names()
            .into_iter()
            .map(String::from)
            .collect();
        names.sort();
        names
    }

    /// Opens the audit log, whose events name groups as the index does.
    pub(super) fn audit(&self, config: &config::Audit) -> Result<Arc<Audit<Entry>>, StartError> {
        let error = |source| StartError::Audit {
            path: config.path.clone(),
            source,
        };
        if config.output == AuditOutput::File
            && let Some(folder) = config.path.parent()
        {
            make_folder(folder)?;
        }
        let index = Arc::clone(&self.index);
        let encode = move |entry: &Entry, line: &mut Vec<u8>| entry.write(&index, line);
        let audit = Audit::start(&audit_settings(config), encode).map_err(error)?;
        Ok(Arc::new(audit))
    }

    /// Tells all of them. The index last: who is not known there gets no further, so nobody is judged by
    /// a policy that is older than their token.
    pub(super) fn sink(&self) -> impl FnMut(Batch) + Send + 'static {
        let registry = Arc::clone(&self.registry);
        let (authz, index) = (Arc::clone(&self.authz), Arc::clone(&self.index));
        let (turn, grants) = (Arc::clone(&self.turn), Arc::clone(&self.grants));
        move |batch| {
            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            grants.apply_batch(&batch);
            registry.apply(&batch);
            authz.apply(&batch);
            index.apply_batch(&batch);
            authz.people_changed(&batch, &index);
        }
    }
}

/// What there is when the parts are put together.
pub(super) struct Wiring<'a> {
    pub(super) config: &'a LiveConfig,
    pub(super) state: &'a State,
    pub(super) views: &'a Views,
    pub(super) follower: &'a Follower,
    pub(super) metrics: &'a Arc<Metrics>,
    pub(super) audit: &'a Arc<Audit<Entry>>,
    /// There if requests are traced.
    pub(super) tracer: Option<Arc<Tracer>>,
    /// What became of reloads, for the API.
    pub(super) reloads: &'a Arc<reload::Status>,
    /// Work that a stop waits for after the connections.
    pub(super) background: &'a TaskTracker,
    /// The same for longer: what asks providers.
    pub(super) asking: &'a TaskTracker,
}

impl Wiring<'_> {
    /// The gateway's hands on its clusters.
    pub(super) fn clusters(&self) -> Arc<Clusters> {
        Arc::new(Clusters::new(
            Arc::clone(&self.views.registry),
            self.state.store.clone(),
            self.follower.clone(),
            Arc::clone(&self.state.keyring),
            service::TOKEN_LIFE,
        ))
    }

    /// What is looked after until the end: the clusters' health and tokens, what
    /// providers say of accounts, and when tokens were used.
    pub(super) fn keep(&self, clusters: &Arc<Clusters>, end: &CancellationToken) {
        let settings = keeper::Settings {
            health_interval: self.config.part(|config| config.clusters.health_interval),
            write_pace: self
                .config
                .part(|config| Duration::from_secs(1) / config.clusters.writes_per_second.max(1)),
        };
        let health = keeper::run(Arc::clone(clusters), settings, end.clone());
        self.background.spawn(health);
        let refresher = Refresher {
            providers: Arc::clone(&self.views.providers),
            index: Arc::clone(&self.views.index),
            store: self.state.store.clone(),
            keyring: Arc::clone(&self.state.keyring),
            ends: Arc::clone(&self.metrics.refreshes),
            unsaved: Arc::default(),
            claims: Arc::default(),
        };
        self.asking.spawn(refresher.run(end.clone()));
        let (grants, store) = (Arc::clone(&self.views.grants), self.state.store.clone());
        self.background
            .spawn(grants::sweep(grants, store, end.clone()));
        let (index, store) = (Arc::clone(&self.views.index), self.state.store.clone());
        self.background
            .spawn(usage::keep(index, store, end.clone()));
    }

    /// The request path. `streams` lists upgraded streams, which a stop waits for, until `cut`.
    pub(super) fn gateway(
        &self,
        clusters: Arc<Clusters>,
        passwords: Passwords,
        (streams, cut): (TaskTracker, CancellationToken),
    ) -> Gateway {
        let login = Arc::new(Login {
            store: self.state.store.clone(),
            follower: self.follower.clone(),
            index: Arc::clone(&self.views.index),
            passwords,
            throttle: self.throttle(),
            providers: Arc::clone(&self.views.providers),
            keyring: Arc::clone(&self.state.keyring),
            logins: Arc::clone(&self.metrics.logins),
            grants: Arc::clone(&self.views.grants),
            external_url: self.config.part(|config| config.external_url.clone()),
            sessions: self.config.part(|config| config.sessions),
            base_domain: self.config.part(|config| config.base_domain.clone()),
        });
        let parts = gateway::Parts {
            authn: Authn::new(Arc::clone(&self.views.index)),
            authz: Arc::clone(&self.views.authz),
            clusters: Arc::clone(&self.views.registry),
            api: self.api(clusters, Arc::clone(&login)),
            web: Web {
                login: Arc::clone(&login),
                authn: Authn::new(Arc::clone(&self.views.index)),
                external_url: self.config.part(|config| config.external_url.clone()),
            },
            login,
            streams,
            cut,
            metrics: Arc::clone(self.metrics),
            audit: Arc::clone(self.audit),
            tracer: self.tracer.clone(),
        };
        Gateway::new(parts, reload::snapshot(&self.config.load()))
    }

    fn throttle(&self) -> Throttle {
        let settings = self.config.part(|config| {
            let login = &config.login;
            let source = throttle::Pace {
                tries: login.source_tries,
                interval: login.source_interval,
            };
            throttle::Settings {
                account: throttle::Pace {
                    tries: login.account_tries,
                    interval: login.account_interval,
                },
                source: (login.source_tries > 0).then_some(source),
            }
        });
        Throttle::new(settings, self.config.load().login.hash_concurrency)
    }

    fn api(&self, clusters: Arc<Clusters>, login: Arc<Login>) -> Api {
        Api::new(api::Parts {
            store: self.state.store.clone(),
            follower: self.follower.clone(),
            index: Arc::clone(&self.views.index),
            login,
            built_in: built_in().cloned().collect(),
            authz: Arc::clone(&self.views.authz),
            clusters,
            tasks: self.background.clone(),
            reloads: Arc::clone(self.reloads),
            limits: self.config.part(|config| api::Limits {
                token_life: config.tokens.default_lifetime,
                token_max_life: config.tokens.max_lifetime,
                body_bytes: config.limits.body_bytes,
                reach: reach(config),
            }),
        })
    }
}

/// What traces requests and what exports that, if the configuration names a collector.
pub(super) fn traces(
    live: &LiveConfig,
    metrics: &Metrics,
) -> Result<Option<(Arc<Tracer>, Exporter)>, TraceError> {
    let config = &live.load().tracing;
    let Some(endpoint) = config.otlp.endpoint.clone() else {
        return Ok(None);
    };
    let settings = trace::Settings {
        endpoint,
        ca_file: config.otlp.ca_file.clone(),
    };
    let (ends, one_in) = (&metrics.spans, live.part(|config| config.tracing.one_in));
    let (tracer, waiting) = Tracer::new(
        move || one_in.get(),
        config.client_context,
        Arc::clone(ends),
    );
    let exporter = Exporter::start(&settings, waiting, Arc::clone(ends))?;
    Ok(Some((tracer, exporter)))
}

fn audit_settings(config: &config::Audit) -> audit::Settings {
    audit::Settings {
        output: match config.output {
            AuditOutput::Off => audit::Output::Off,
            AuditOutput::Stdout => audit::Output::Stdout,
            AuditOutput::File => audit::Output::File(audit::FileSettings {
                path: config.path.clone(),
                max_size: config.max_size,
                max_files: config.max_files,
                sync: match config.sync {
                    AuditSync::Never => audit::Sync::Never,
                    AuditSync::Interval => audit::Sync::Every(config.sync_interval),
                    AuditSync::Batch => audit::Sync::Batch,
                },
            }),
        },
        queue: config.queue,
        best_effort: config.danger_audit_best_effort,
    }
}

/// The roles that come with the program.
fn built_in() -> impl Iterator<Item = &'static Role> {
    files::built_in().roles.values().map(|role| &role.object)
}

/// Which addresses a cluster may have.
fn reach(config: &Config) -> Reach {
    if config.clusters.danger_allow_loopback_clusters {
        Reach::ClustersAndLoopback
    } else {
        Reach::Clusters
    }
}
