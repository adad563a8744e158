//! Clusters: registered API servers.

use super::authority::{Authority, Ground};
use super::cascade::{self, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::resource::{Context, Resource};
use super::table::{self, Column};
use super::{Api, Caller, Reach};
use crate::objects::{
    Cluster, ClusterPrivate, ClusterSpec, ClusterStatus, Health, Kind, Step, Stored, SyncStatus,
};
use crate::proxy::{dial, endpoint};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Longest prefix of user names: it stands in front of every name on the cluster.
const MAX_PREFIX: usize = 32;

impl Resource for Cluster {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The cluster's name"),
        Column::shown("Health", "As seen by the replica that answers"),
        Column::shown("Version", "Version of the cluster's API server"),
        Column::shown("Age", "Time since the cluster was registered"),
        Column::wide("Server", "Where the gateway reaches it"),
        Column::wide(
            "Sync",
            "Whether it holds what policy says, and how many objects differ",
        ),
        Column::wide("Message", "Why it is not ready"),
    ];
    const NAMED_BY_NAME: bool = true;

    const FIELDS: &'static [&'static str] = &["spec.server", "status.health"];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.server" => (&self.spec.server).into(),
            "status.health" => health_name(self.status.health).into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            self.metadata.name.as_str().into(),
            health_name(self.status.health).into(),
            table::or_none(&self.status.version),
            table::age(self, now),
            table::or_none(&self.spec.server),
            sync_cell(&self.status.sync).into(),
            table::or_none(&self.status.message),
        ]
    }

    fn is_own(&self, api: &Api, caller: &Caller) -> bool {
        api.holds_any(caller, &self.metadata.name)
    }

    fn show(&mut self, api: &Api, caller: &Caller) {
        api.cluster_status(self);
        if caller.reach == Reach::Own {
            // Where it stands in the network and what operators note is not for everybody who may use it.
            self.spec = ClusterSpec::default();
            self.metadata.annotations.clear();
            self.status.message.clear();
            self.status.synced_roles.clear();
            self.status.sync = SyncStatus::default();
        }
    }

    async fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<ClusterPrivate, ApiError> {
        self.guard(cx, draft, &Ground::Everywhere).await?;
        check_spec(&self.spec, cx.api.limits.get().reach, draft);
        self.status = ClusterStatus::default();
        Ok(ClusterPrivate::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<ClusterPrivate, ApiError> {
        self.guard(cx, draft, &Ground::Cluster(self.metadata.name.clone()))
            .await?;
        check_spec(&self.spec, cx.api.limits.get().reach, draft);
        let (was, now) = (&old.object.spec, &self.spec);
        self.status = old.object.status.clone();
        let moved = (&was.server, &was.ca, &was.tls_server_name)
            != (&now.server, &now.ca, &now.tls_server_name);
        if moved {
            // The credential was for the server that was there; another one must not be handed it.
            self.status.synced_roles.clear();
            self.status.synced_version = 0;
            self.status.synced_at = None;
            self.status.cleaning_since = None;
            return Ok(ClusterPrivate::default());
        }
        Ok(old.private.clone())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        self.guard(cx, draft, &Ground::Cluster(self.metadata.name.clone()))
            .await?;
        cascade::of_cluster(&Hands::of(cx.api), self)
            .await?
            .fill(draft);
        Ok(())
    }

    async fn sweep(&self, hands: &Hands) -> Result<(), ApiError> {
        let key = Self::key(&self.metadata.name);
        while cascade::of_cluster(hands, self)
            .await?
            .write(hands, &key)
            .await?
        {}
        Ok(())
    }
}

fn health_name(health: Health) -> &'static str {
    match health {
        Health::Unknown => "Unknown",
        Health::Pending => "Pending",
        Health::Ready => "Ready",
        Health::Down => "Down",
        Health::Refused => "Refused",
    }
}

impl Cluster {
    /// Who says where a cluster is gets what its users send there, and who sets its labels gives what bindings by label
    /// give: they must hold everything there.
    async fn guard(
        &self,
        cx: &Context<'_>,
        draft: &mut Draft,
        ground: &Ground,
    ) -> Result<(), ApiError> {
        let authority = Authority::of(cx, ObjectRef::of::<Self>(&self.metadata.name));
        authority.must_own(draft, ground).await
    }
}

/// `InStep`, `Behind (12)`
fn sync_cell(sync: &SyncStatus) -> String {
    match (sync.state, sync.behind) {
        (Step::Behind, count) => format!("{} ({count})", sync.state.name()),
        (Step::InStep | Step::Unknown, _) => sync.state.name().to_owned(),
    }
}

/// Checks where a cluster is. The address is checked again whenever it is dialled (P11): here only, so that
/// a plain mistake is told to whoever makes it.
fn check_spec(spec: &ClusterSpec, reach: dial::Reach, draft: &mut Draft) {
    match endpoint::ServerUrl::parse(&spec.server) {
        Err(error) => draft.wrong(Mistake::invalid("spec.server", &spec.server, error)),
        Ok(url) => {
            if !url.path.is_empty() {
                let detail = "must be https://host[:port] without a path";
                draft.wrong(Mistake::invalid("spec.server", &spec.server, detail));
            }
            let address = url.host.parse::<IpAddr>();
            if let Some(Err(error)) = address.ok().map(|address| dial::check(address, reach)) {
                draft.wrong(Mistake::invalid("spec.server", &spec.server, error));
            }
            if spec.tls_server_name.is_empty() {
                draft.check(
                    "spec.server",
                    &spec.server,
                    endpoint::server_name(&url.host).map(drop),
                );
            }
        }
    }
    if !spec.ca.is_empty() {
        draft.check(
            "spec.ca",
            "(PEM)",
            endpoint::roots(Some(&spec.ca)).map(drop),
        );
    }
    if !spec.tls_server_name.is_empty() {
        let checked = endpoint::server_name(&spec.tls_server_name).map(drop);
        draft.check("spec.tlsServerName", &spec.tls_server_name, checked);
    }
    draft.check(
        "spec.userPrefix",
        &spec.user_prefix,
        check_prefix(&spec.user_prefix),
    );
}

/// A prefix ends with a colon, which no handle has, so prefix and handle never run into each other, and it is
/// none that a cluster gives a meaning.
fn check_prefix(prefix: &str) -> Result<(), &'static str> {
    if prefix.is_empty() {
        return Ok(());
    }
    let Some(inner) = prefix.strip_suffix(':') else {
        return Err("must end with ':'");
    };
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if inner.is_empty() || prefix.len() > MAX_PREFIX || !inner.bytes().all(plain) {
        return Err("must be 1 to 31 of a-z, 0-9 and '-', and ':' at its end");
    }
    if inner.starts_with("system") {
        return Err("names that start with \"system\" are the cluster's own");
    }
    Ok(())
}

/// `spec.clusters` of another object: at most so many names, each once, and of a cluster that is there.
pub(super) async fn named(
    (names, most): (&[String], usize),
    cx: &Context<'_>,
    draft: &mut Draft,
    is_there: impl Fn(&Cluster) -> bool,
) -> Result<(), ApiError> {
    if names.len() > most {
        draft.wrong(Mistake::too_many("spec.clusters", names.len(), most));
        return Ok(());
    }
    let mut seen = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        let field = format!("spec.clusters[{index}]");
        if !seen.insert(name) {
            draft.wrong(Mistake::duplicate(field, name));
            continue;
        }
        match cx.load::<Cluster>(name).await? {
            Some((stored, key)) if is_there(&stored.object) => draft.refers_to(&key),
            Some(_) | None => draft.wrong(Mistake::not_found(field, name)),
        }
    }
    Ok(())
}
