//! Policy in memory, and the step of the request path that asks it.
//!
//! The policy is an immutable value behind one pointer: a request takes it once and decides from that
//! view. Changes arrive in batches from the store; a batch that does not end a transaction is not
//! published.
//!
//! What could go wrong: a stored role or binding that cannot be read must not go on granting what an older
//! value granted: it is taken out, and the log says so. What a policy folder says stands above the store
//! (`layers`).

mod refusal;

use super::{
    Actor, Asked, Attributes, AuthzError, OwnPermit, Pace, Permit, Permitted, Purpose, Reach,
    RequestInfo,
    folder::{FolderView, PolicyFolder, Sum},
    layers::Layers,
    permit::{MOST_GRANTS, Shape},
    policy::{self, Carried, Pending, Place, Policy, Who},
    rules,
};
use crate::{
    authn::{Identity, Index},
    objects::{Binding, Cluster, Kind, Project, Role, RoleSpec, Stored, rules::PolicyRule},
    request::ClusterTarget,
    status::clock,
    store::follow::{Batch, Change},
};
use arc_swap::ArcSwap;
pub(super) use refusal::denied;
use refusal::{refusal, whose};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// Name of the built-in role that everyone who is logged in holds on the gateway's own API.
const AUTHENTICATED: &str = "authenticated";
/// What a cluster-scoped token may still ask of the own API: who am I.
const WHOAMI: (&str, &str) = ("authentication.k8s.io", "selfsubjectreviews");

/// The next policy, while a transaction's changes arrive.
struct Next {
    policy: Policy,
    /// What is not in it yet. A store with a million bindings comes in thousands of parts, and each subject is compiled
    /// once.
    pending: Pending,
    layers: Layers,
    /// Whether all changes of the last transaction are in it.
    whole: bool,
    /// Whether people would see something else of the folder than before.
    folder_changed: bool,
    /// Whether clusters are to hold something else than by the published policy.
    shape_changed: bool,
}

/// Decides requests. Cheap to share.
pub struct Authz {
    policy: ArcSwap<Policy>,
    folder: ArcSwap<FolderView>,
    /// Locked by whoever brings changes, never by a request.
    next: Mutex<Next>,
    built_in: BTreeMap<String, RoleSpec>,
    everyones: Vec<PolicyRule>,
    /// [`AUTHENTICATED`], to be shared.
    authenticated: Arc<str>,
    shape: watch::Sender<u64>,
}

impl Authz {
    /// A policy of the built-in roles alone; [`Authz::apply`] adds what is stored.
    pub fn new(built_in: BTreeMap<String, RoleSpec>) -> Self {
        // Everyone's role stands beside the policy: bound, it would reach everybody's objects.
        let roles = built_in
            .iter()
            .filter(|(name, _)| *name != AUTHENTICATED)
            .map(|(name, spec)| policy::Change::PutRole(name, spec));
        let policy = Policy::of(roles);
        let everyones = built_in.get(AUTHENTICATED).map(|role| role.rules.clone());
        Self {
            policy: ArcSwap::from_pointee(policy.clone()),
            folder: ArcSwap::default(),
            next: Mutex::new(Next {
                policy,
                pending: Pending::default(),
                layers: Layers::default(),
                whole: true,
                folder_changed: false,
                shape_changed: false,
            }),
            everyones: everyones.unwrap_or_default(),
            authenticated: AUTHENTICATED.into(),
            shape: watch::Sender::new(0),
            built_in,
        }
    }

    /// The policy of this moment.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Told when clusters are to hold something else than before, after that counts: of roles, projects and clusters
    /// that came, changed or went. To whom roles are given is no part of that. Several changes may be told as one.
    pub fn shape_changes(&self) -> watch::Receiver<u64> {
        self.shape.subscribe()
    }

    /// Takes over what changed in the store. Keys of other kinds pass by.
    pub fn apply(&self, batch: &Batch) {
        let edits: Vec<Edit> = batch
            .changes
            .iter()
            .filter_map(|change| self.edit(change))
            .collect();
        let mut next = self.next();
        let found = edits.len();
        next.folder_changed |= edits.iter().any(|edit| next.layers.concerns_view(edit));
        let edits: Vec<Edit> = (edits.into_iter())
            .filter_map(|edit| next.layers.stored(edit))
            .collect();
        next.folder_changed |= edits.len() < found;
        next.whole = batch.complete;
        self.publish(&mut next, &edits);
    }

    /// Looks again at whom the folder's bindings name. To be called when `people` has the batch.
    pub fn people_changed(&self, batch: &Batch, people: &Index) {
        let mut next = self.next();
        let edits = next.layers.people(batch, people);
        if !edits.is_empty() {
            self.publish_folder(&mut next, &edits);
        }
    }

    /// Why a folder cannot be taken beside what is stored; nothing if it can.
    pub fn clashes(&self, folder: &PolicyFolder) -> Vec<String> {
        self.next().layers.clashes(folder)
    }

    /// Takes another folder, as one change. Nobody may change `people` meanwhile.
    pub fn set_folder(&self, folder: PolicyFolder, people: &Index) {
        let mut next = self.next();
        let Next { policy, layers, .. } = &mut *next;
        let edits = layers.replace(folder, policy, people);
        self.publish_folder(&mut next, &edits);
    }

    /// What people see of the folder.
    pub fn folder(&self) -> Arc<FolderView> {
        self.folder.load_full()
    }

    /// [`PolicyFolder::sum`] of the folder that counts.
    pub fn folder_sum(&self) -> Sum {
        self.next().layers.sum()
    }

    /// What is not the whole of a transaction waits for its rest.
    fn publish(&self, next: &mut Next, edits: &[Edit]) {
        next.shape_changed |= edits.iter().any(|edit| edit.shapes(&next.policy));
        let changes = edits.iter().map(Edit::change);
        next.policy.note(changes, &mut next.pending);
        if !next.whole {
            return;
        }
        next.policy.compile(std::mem::take(&mut next.pending));
        self.policy.store(Arc::new(next.policy.clone()));
        if std::mem::take(&mut next.shape_changed) {
            self.tell_shape();
        }
        if std::mem::take(&mut next.folder_changed) {
            self.folder.store(Arc::new(next.layers.view()));
        }
    }

    /// What changed in the folder counts at once, also while the store is being read anew: that may take long, or
    /// fail, and what somebody was denied in the folder must not wait for it.
    fn publish_folder(&self, next: &mut Next, edits: &[Edit]) {
        next.folder_changed = true;
        if next.whole {
            return self.publish(next, edits);
        }
        let changes = edits.iter().map(Edit::change);
        next.policy.note(changes, &mut next.pending);
        let mut now = Policy::clone(&self.policy.load());
        let shape_changed = edits.iter().any(|edit| edit.shapes(&now));
        now.apply(edits.iter().map(Edit::change));
        self.policy.store(Arc::new(now));
        if shape_changed {
            self.tell_shape();
        }
        self.folder.store(Arc::new(next.layers.view()));
    }

    fn tell_shape(&self) {
        self.shape.send_modify(|generation| *generation += 1);
    }

    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this identity holds anything on a cluster.
    pub fn holds_any(&self, user: &str, groups: &[Box<str>], cluster: &str) -> bool {
        self.policy.load().holds_any(
            &Who {
                user,
                groups,
                shared: None,
            },
            cluster,
            clock::now(),
        )
    }

    /// How far the policy opens the own API to a request, and by which role: what a permit would say, for
    /// reviews of one's own rights.
    pub fn reach(&self, who: &Who<'_>, attrs: &Attributes<'_>) -> Option<(Reach, Arc<str>)> {
        let policy = self.policy.load();
        let now = clock::now();
        if let Some(role) = policy.decide(who, Place::Global, attrs, now).role() {
            return Some((Reach::All, policy.shared_role_name(role)));
        }
        if self.is_everyones(attrs) {
            return Some((Reach::Own, Arc::clone(&self.authenticated)));
        }
        let role = policy.decide_in_projects(who, attrs, now).role()?;
        Some((Reach::Own, policy.shared_role_name(role)))
    }

    /// All rules that somebody holds on the own API, with those that everyone holds.
    pub fn own_rules(&self, who: &Who<'_>) -> Vec<PolicyRule> {
        let policy = self.policy.load();
        let now = clock::now();
        let mut held = policy.rules_of(who, Place::Global, now);
        held.extend(policy.rules_about_bindings(who, now));
        held.extend(self.everyones.iter().cloned());
        held
    }

    /// Judges a request. The only maker of permits.
    ///
    /// # Errors
    /// [`AuthzError`]: the request must be answered 403.
    pub fn authorize(&self, actor: Actor, asked: Asked<'_>) -> Result<Permitted, AuthzError> {
        let Asked {
            purpose,
            info,
            follows,
        } = asked;
        match purpose {
            Purpose::Cluster(target) => {
                let pods = info.api_group.is_empty() && info.resource == "pods";
                let shape = Shape {
                    pace: pace(&info, follows),
                    proxied: info.subresource == "proxy" || info.verb == "proxy",
                    command: pods && matches!(&*info.subresource, "exec" | "attach"),
                };
                self.to_cluster(actor, target, &info, shape)
                    .map(Permitted::Cluster)
            }
            Purpose::Own => self.to_own(actor, &info).map(Permitted::Own),
        }
    }

    fn to_cluster(
        &self,
        actor: Actor,
        target: ClusterTarget,
        info: &RequestInfo<'_>,
        shape: Shape,
    ) -> Result<Permit, AuthzError> {
        let cluster = target.name;
        within_scope(actor.caller(), &cluster)?;
        let policy = self.policy.load();
        let now = clock::now();
        let who = actor.who();
        let holder = policy.holder(&who);
        let decided = holder.decide_request(Place::Cluster(&cluster), info, now);
        let Some(role) = decided.role() else {
            return Err(refusal(&policy, &actor, &cluster, info, now));
        };
        let carried = Carried::of(&info.attributes());
        let grants = holder.grants(&cluster, carried, now, MOST_GRANTS);
        if grants.len() > MOST_GRANTS {
            let user = actor.handle().to_owned();
            let cluster = cluster.into_string();
            return Err(AuthzError::TooManyGrants { user, cluster });
        }
        let allowed_by = policy.shared_role_name(role);
        let cut = target.cut;
        Ok(Permit::new(actor, cluster, cut, grants, allowed_by, shape))
    }

    fn to_own(&self, actor: Actor, info: &RequestInfo<'_>) -> Result<OwnPermit, AuthzError> {
        let attrs = info.attributes();
        let scoped = actor.caller().token_clusters().is_some();
        if scoped && (attrs.api_group, attrs.resource) != WHOAMI {
            return Err(AuthzError::TokenNotForOwn);
        }
        let policy = self.policy.load();
        let decided = policy.decide_request(&actor.who(), Place::Global, info, clock::now());
        if let Some(role) = decided.role() {
            let allowed_by = policy.shared_role_name(role);
            return Ok(OwnPermit::new(actor, Reach::All, allowed_by));
        }
        if self.is_everyones(&attrs) {
            let allowed_by = Arc::clone(&self.authenticated);
            return Ok(OwnPermit::new(actor, Reach::Own, allowed_by));
        }
        let decided = policy.decide_in_projects(&actor.who(), &attrs, clock::now());
        if let Some(role) = decided.role() {
            let allowed_by = policy.shared_role_name(role);
            return Ok(OwnPermit::new(actor, Reach::Own, allowed_by));
        }
        Err(denied(
            actor.handle(),
            &attrs,
            &format!(
                "no role of {} on the gateway's own API allows it",
                whose(&actor)
            ),
        ))
    }

    fn is_everyones(&self, attrs: &Attributes<'_>) -> bool {
        self.everyones.iter().any(|rule| rules::allows(rule, attrs))
    }

    fn edit(&self, change: &Change) -> Option<Edit> {
        let key = change.key();
        if let Some(name) = key.strip_prefix(&Role::prefix()) {
            // The built-in roles stand above stored ones of the same name.
            let built_in = self.built_in.contains_key(name);
            return (!built_in).then(|| Edit::Role(name.to_owned(), read::<Role>(change)));
        }
        if let Some(name) = key.strip_prefix(&Binding::prefix()) {
            return Some(Edit::Binding(name.to_owned(), read::<Binding>(change)));
        }
        if let Some(name) = key.strip_prefix(&Project::prefix()) {
            return Some(Edit::Project(name.to_owned(), read::<Project>(change)));
        }
        let name = key.strip_prefix(&Cluster::prefix())?;
        Some(Edit::Cluster(name.to_owned(), read::<Cluster>(change)))
    }
}

/// A token is good for the clusters that it names, whoever its user acts as (P12).
pub(super) fn within_scope(caller: &Identity, cluster: &str) -> Result<(), AuthzError> {
    match caller.token_clusters() {
        Some(scope) if !scope.iter().any(|name| **name == *cluster) => {
            Err(AuthzError::TokenScope {
                cluster: cluster.to_owned(),
            })
        }
        Some(_) | None => Ok(()),
    }
}

/// Which connections a request shares: nothing that is decided here gives or takes a right.
fn pace(info: &RequestInfo<'_>, follows: bool) -> Pace {
    let log = info.subresource == "log";
    match info.is_long_running() {
        false => Pace::Short,
        true if info.verb == "watch" || (log && follows) => Pace::Trickle,
        true => Pace::Bulk,
    }
}

/// One change of the policy, owned.
pub(super) enum Edit {
    Role(String, Option<Role>),
    Binding(String, Option<Binding>),
    Cluster(String, Option<Cluster>),
    Project(String, Option<Project>),
}

impl Edit {
    fn change(&self) -> policy::Change<'_> {
        match self {
            Self::Role(name, Some(role)) => policy::Change::PutRole(name, &role.spec),
            Self::Role(name, None) => policy::Change::RemoveRole(name),
            Self::Binding(name, Some(binding)) => policy::Change::PutBinding(name, &binding.spec),
            Self::Binding(name, None) => policy::Change::RemoveBinding(name),
            Self::Cluster(name, Some(cluster)) => {
                policy::Change::PutCluster(name, &cluster.metadata.labels)
            }
            Self::Cluster(name, None) => policy::Change::RemoveCluster(name),
            Self::Project(_, Some(project)) => policy::Change::PutProject(project),
            Self::Project(name, None) => policy::Change::RemoveProject(name),
        }
    }

    /// Whether clusters are to hold something else by it. The status of a cluster, written often, is nothing.
    fn shapes(&self, policy: &Policy) -> bool {
        match self {
            Self::Role(..) | Self::Project(..) => true,
            Self::Cluster(name, cluster) => policy.is_registered(name) != cluster.is_some(),
            Self::Binding(..) => false,
        }
    }
}

/// The object of a change; `None` if it is gone or cannot be read.
fn read<K: Kind>(change: &Change) -> Option<K> {
    let Change::Put(kv) = change else { return None };
    Stored::<K>::decode(&kv.key, &kv.value, kv.mod_revision)
        .inspect_err(|error| tracing::error!(key = kv.key, %error, "left out of the policy"))
        .ok()
        .map(|stored| stored.object)
}

#[cfg(test)]
mod tests;
