//! The clusters by name, in memory, fed by the store's changes.
//!
//! A request finds its cluster here without a lock. What could go wrong: a credential that does not open
//! (the cluster has no data path, and its status says why), a change that makes connections wrong (a new
//! target, so that no old connection is used), a cluster that was removed and registered anew under its
//! name (another uid: nothing is taken over).

use super::{
    credential::{self, ClusterCredential},
    health::Report,
    manifest::{self, Roles},
    reconcile::Plan,
    standing::Standing,
};
use crate::{
    authz::Authz,
    objects::{Cluster, Health, Kind, Stored},
    observe::metrics::{Meter, Meters},
    proxy::{
        Facts, Upstream,
        dial::Reach,
        endpoint::{self, Endpoint, EndpointError, ServerUrl, Target},
    },
    store::{
        Revision,
        follow::{Batch, Change},
        seal::Keyring,
    },
};
use arc_swap::ArcSwap;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::watch;

/// Why a cluster has no data path at the moment. Reads on after "cluster".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Not registered (any more).
    #[error("{0:?} is not registered")]
    Unknown(String),
    /// Registered, without a credential.
    #[error(
        "{0:?} is registered, but not connected yet: an operator has to run `palisade cluster add`"
    )]
    Pending(String),
    /// The last probe was answered with 401.
    #[error("{0:?} refuses the gateway's credential; tell your administrator")]
    Refused(String),
    /// Its registration cannot be used.
    #[error("{0:?} is registered with settings that cannot be used; tell your administrator")]
    Unusable(String),
}

/// One cluster as it was last stored.
pub struct Entry {
    /// The object, as stored.
    pub cluster: Cluster,
    /// Revision of the stored value.
    pub revision: Revision,
    /// The two tokens, if there are some that open.
    pub credential: Option<Arc<ClusterCredential>>,
    /// It is sealed with another key than the first: to be sealed anew.
    pub(super) old_key: bool,
    upstream: Option<Arc<Upstream>>,
    report: Arc<ArcSwap<Report>>,
    meter: Arc<Meter>,
    standing: Arc<Standing>,
}

impl Entry {
    /// How it stands: in step or not, and which groups it takes.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// The data path, if there is one.
    pub fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    /// What the last probe found.
    pub fn report(&self) -> Arc<Report> {
        self.report.load_full()
    }

    /// Takes over what a probe found; the version stays known while a cluster is away.
    pub(super) fn found(&self, mut report: Report) {
        let before = self.report.load();
        if report.version.is_empty() {
            report.version.clone_from(&before.version);
        }
        if let Some(upstream) = &self.upstream {
            match report.health {
                Health::Down => upstream.state().set_down(&report.message),
                Health::Ready | Health::Refused | Health::Unknown | Health::Pending => {
                    upstream.state().set_up();
                }
            }
        }
        if report.health != before.health {
            let cluster = &self.cluster.metadata.name;
            tracing::info!(
                %cluster, health = ?report.health, why = report.message, "cluster health"
            );
        }
        self.report.store(Arc::new(report));
    }
}

type Map<T> = HashMap<Box<str>, T>;

/// All clusters, and the policy that says what they are to hold.
pub struct Registry {
    clusters: ArcSwap<Map<Arc<Entry>>>,
    authz: Arc<Authz>,
    keyring: Arc<Keyring>,
    meters: Arc<Meters>,
    reach: Reach,
    changed: watch::Sender<u64>,
}

impl Registry {
    /// An empty one. `authz` has the policy that clusters are told of; `reach` guards every connection to a
    /// cluster; every cluster counts in a meter of its own among `meters`.
    pub fn new(
        authz: Arc<Authz>,
        keyring: Arc<Keyring>,
        reach: Reach,
        meters: Arc<Meters>,
    ) -> Self {
        Self {
            clusters: ArcSwap::default(),
            authz,
            keyring,
            meters,
            reach,
            changed: watch::Sender::new(0),
        }
    }

    /// Takes over what changed in the store. Keys of other kinds pass by.
    pub fn apply(&self, batch: &Batch) {
        let mut next: Option<Map<Arc<Entry>>> = None;
        for change in &batch.changes {
            if let Some(name) = change.key().strip_prefix(&Cluster::prefix()) {
                let map = next.get_or_insert_with(|| (**self.clusters.load()).clone());
                self.apply_cluster(map, name, change);
            }
        }
        if let Some(next) = next {
            self.clusters.store(Arc::new(next));
            self.changed.send_modify(|generation| *generation += 1);
        }
    }

    /// The data path of a cluster.
    pub fn upstream(&self, name: &str) -> Result<Arc<Upstream>, NotReady> {
        let clusters = self.clusters.load();
        let entry = clusters
            .get(name)
            .ok_or_else(|| NotReady::Unknown(name.to_owned()))?;
        let health = entry.report.load().health;
        match (&entry.upstream, health) {
            (Some(_), Health::Refused) => Err(NotReady::Refused(name.to_owned())),
            (Some(upstream), _) => Ok(Arc::clone(upstream)),
            (None, Health::Pending) => Err(NotReady::Pending(name.to_owned())),
            (None, _) => Err(NotReady::Unusable(name.to_owned())),
        }
    }

    /// Where requests to this name count, whether it is registered or not.
    pub fn meter(&self, name: &str) -> Arc<Meter> {
        let clusters = self.clusters.load();
        let entry = clusters.get(name);
        Arc::clone(entry.map_or(&self.meters.unknown, |entry| &entry.meter))
    }

    /// A cluster by name.
    pub fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        self.clusters.load().get(name).cloned()
    }

    /// What is known of a cluster's health, for its status.
    pub fn report(&self, name: &str) -> Option<Arc<Report>> {
        Some(self.entry(name)?.report())
    }

    /// The names of all clusters.
    pub fn names(&self) -> Vec<Box<str>> {
        self.clusters.load().keys().cloned().collect()
    }

    /// The roles that clusters are told of.
    pub fn roles(&self) -> Roles {
        Roles::of(&self.authz.policy())
    }

    /// Told of every change of a cluster.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Told of every change of what clusters are to hold.
    pub(super) fn policy_changes(&self) -> watch::Receiver<u64> {
        self.authz.shape_changes()
    }

    /// What policy wants of a cluster.
    pub(super) fn plan(&self, cluster: &Cluster) -> Plan {
        if cluster.status.cleaning_since.is_some() {
            return Plan::nothing();
        }
        Plan::of(&self.authz, &cluster.metadata.name)
    }

    /// Where a cluster is, with the guard that this gateway's settings want.
    pub(super) fn target(&self, cluster: &Cluster) -> Result<Target, EndpointError> {
        target(cluster, self.reach)
    }

    fn apply_cluster(&self, map: &mut Map<Arc<Entry>>, name: &str, change: &Change) {
        let Change::Put(kv) = change else {
            self.forget(map, name);
            return;
        };
        match Stored::<Cluster>::decode(&kv.key, &kv.value, kv.mod_revision) {
            Ok(stored) => {
                let entry = self.entry_of(stored, kv.mod_revision, map.get(name));
                map.insert(name.into(), Arc::new(entry));
            }
            // What was known of it may be wrong by now: it is not served, and the log says why.
            Err(error) => {
                tracing::error!(cluster = name, %error, "a cluster's registration cannot be read");
                self.forget(map, name);
            }
        }
    }

    fn forget(&self, map: &mut Map<Arc<Entry>>, name: &str) {
        if let Some(entry) = map.remove(name) {
            self.meters.give_back(&entry.meter);
        }
    }

    fn entry_of(
        &self,
        stored: Stored<Cluster>,
        revision: Revision,
        before: Option<&Arc<Entry>>,
    ) -> Entry {
        let Stored {
            object: cluster,
            private,
            ..
        } = stored;
        let before = before.filter(|entry| entry.cluster.metadata.uid == cluster.metadata.uid);
        let meter = match before {
            Some(entry) => Arc::clone(&entry.meter),
            None => self.meters.take(&cluster.metadata.name),
        };
        let mut entry = Entry {
            cluster,
            revision,
            meter,
            credential: None,
            old_key: false,
            upstream: None,
            report: Arc::new(ArcSwap::from_pointee(Report::of(
                Health::Pending,
                "no credential was handed over yet",
            ))),
            standing: Arc::new(Standing::new(&[])),
        };
        let Some(sealed) = private.credential else {
            return entry;
        };
        let roles = &entry.cluster.status.synced_roles;
        // What was known of another server says nothing of this one.
        entry.standing = match before.filter(|entry_before| {
            entry_before.credential.is_some()
                && !credential::must_drop(&entry_before.cluster.spec, &entry.cluster.spec)
        }) {
            Some(before) => {
                before.standing.remember(roles);
                Arc::clone(&before.standing)
            }
            None => Arc::new(Standing::new(roles)),
        };
        match self.connect(&entry, &sealed, before) {
            Ok((credential, upstream)) => {
                let same = before
                    .and_then(|entry| Some((entry, entry.upstream()?)))
                    .filter(|(_, old)| old.endpoint().same_target(upstream.endpoint()));
                // Refused with the old token says nothing about the new one.
                entry.report = match same {
                    Some((before, _)) if before.report.load().health != Health::Refused => {
                        Arc::clone(&before.report)
                    }
                    Some(_) | None => Arc::new(ArcSwap::from_pointee(Report::default())),
                };
                entry.credential = Some(Arc::new(credential));
                entry.old_key = self.keyring.is_old(&sealed);
                entry.upstream = Some(Arc::new(upstream));
            }
            Err(why) => {
                let name = &entry.cluster.metadata.name;
                tracing::error!(cluster = %name, %why, "a cluster cannot be used");
                entry.report.store(Arc::new(Report::of(Health::Down, why)));
            }
        }
        entry
    }

    fn connect(
        &self,
        entry: &Entry,
        sealed: &str,
        before: Option<&Arc<Entry>>,
    ) -> Result<(ClusterCredential, Upstream), String> {
        let cluster = &entry.cluster;
        let credential = credential::open(&self.keyring, cluster, sealed)
            .map_err(|error| format!("its credential cannot be opened: {error}"))?;
        let unusable = |error: EndpointError| format!("its settings cannot be used: {error}");
        let previous = before.and_then(|entry| {
            let kept = !credential::must_drop(&entry.cluster.spec, &cluster.spec);
            entry.upstream().filter(|_| kept)
        });
        let target = match previous {
            Some(upstream) => Arc::clone(upstream.endpoint().target()),
            None => Arc::new(self.target(cluster).map_err(unusable)?),
        };
        let endpoint = Endpoint::new(target, &credential.impersonator.token).map_err(unusable)?;
        let facts = Facts {
            acting: cluster.status.synced_version >= manifest::ACTING,
            user_prefix: cluster.spec.user_prefix().into(),
            groups: Arc::clone(entry.standing.groups()),
        };
        let meter = Arc::clone(&entry.meter);
        let upstream = Upstream::new(endpoint, facts, meter, previous.map(|upstream| &**upstream));
        Ok((credential, upstream))
    }
}

/// The target of a cluster's spec: parsed URL, CA, server name.
pub fn target(cluster: &Cluster, reach: Reach) -> Result<Target, EndpointError> {
    let spec = &cluster.spec;
    let url = ServerUrl::parse(&spec.server)?;
    if !url.path.is_empty() {
        return Err(EndpointError::Url(spec.server.clone()));
    }
    let given = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    let roots = endpoint::roots(given(&spec.ca).as_deref())?;
    let config = endpoint::client_config(roots, None)?;
    let name = given(&spec.tls_server_name);
    Target::new(&cluster.metadata.name, url, name.as_deref(), config, reach)
}

#[cfg(test)]
mod tests;
