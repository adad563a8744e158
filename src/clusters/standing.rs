//! How a cluster stands, as this replica sees it: in step with policy or not, and which grant groups it takes.
//!
//! The loop writes here (`reconcile`), the data path, the API and metrics read. It outlives changes of the
//! cluster's object as long as the cluster is the same one.

use super::manifest;
use crate::{objects::SyncStatus, proxy::Groups};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use tokio::sync::watch;

/// See the module.
pub struct Standing {
    groups: Arc<Groups>,
    view: watch::Sender<View>,
    /// How often a look at the whole cluster was asked for.
    asked: watch::Sender<u64>,
    /// What was done so far.
    pub tally: Tally,
}

/// What the loop shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// For people.
    pub status: SyncStatus,
    /// The cluster was looked at as a whole since so many were asked for.
    pub answered: u64,
    /// Nothing is left to be done that was not tried.
    pub settled: bool,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// Objects that were written.
    pub writes: AtomicU64,
    /// Objects that were removed.
    pub removals: AtomicU64,
    /// Of both: what somebody else had changed.
    pub drift: AtomicU64,
    /// Writes and removals that failed.
    pub failures: AtomicU64,
    /// Lists of one kind of object.
    pub lists: AtomicU64,
}

impl Tally {
    /// One more.
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

impl Standing {
    /// Of a cluster that was not looked at yet, and knew these roles when it was last.
    pub(super) fn new(roles: &[String]) -> Self {
        let standing = Self {
            groups: Arc::default(),
            view: watch::Sender::default(),
            asked: watch::Sender::default(),
            tally: Tally::default(),
        };
        standing.remember(roles);
        standing
    }

    /// What was last written of the roles that the cluster knows counts until somebody has looked.
    pub(super) fn remember(&self, roles: &[String]) {
        let groups = roles.iter().map(|role| manifest::grant_group(role));
        self.groups.remember(groups);
    }

    /// The groups that may be sent.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// The cluster roles whose groups may be sent, in order.
    pub fn roles(&self) -> Vec<String> {
        let known = self.groups.known();
        let mut roles: Vec<String> = known.roles().map(str::to_owned).collect();
        roles.sort();
        roles
    }

    /// What the loop shows now.
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Shows something else.
    pub(super) fn show(&self, view: View) {
        self.view.send_replace(view);
    }

    /// Waits until what is shown is as wished; what it is then.
    pub(super) async fn until(&self, wish: impl FnMut(&View) -> bool) -> View {
        let mut views = self.view.subscribe();
        // The sender lives as long as this does.
        match views.wait_for(wish).await {
            Ok(view) => view.clone(),
            Err(_) => self.view(),
        }
    }

    /// Asks for a look at the whole cluster; the number that [`View::answered`] will have reached then.
    pub(super) fn ask(&self) -> u64 {
        self.asked.send_modify(|asked| *asked += 1);
        *self.asked.borrow()
    }

    /// Told of every [`Standing::ask`].
    pub(super) fn asks(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }
}
