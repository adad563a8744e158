//! The loop that keeps a cluster in step with policy, one per cluster.
//!
//! It lists what it needs once, and then watches (`watcher`); what is wanted and what is seen make the
//! differences (`book`), which are done in an order, at a pace (`queue`) and by server-side apply (`writer`).
//! Giving a person a role touches no cluster: only roles, projects and namespaces do.
//!
//! There is one gateway for a store, and so one loop for a cluster. Two would do each write twice, and end at the
//! same: what one has written the other sees as wanted. Replicas that share a store will elect the one that writes.
//!
//! Guarantees: nothing is written before the kind of object was read as a whole; the data path sends a group
//! only after the cluster's authoriser has said that it takes it; what is not ours is left alone.
//!
//! What could go wrong:
//!
//! - A cluster that is away, or refuses: reads and writes are tried again ever more seldom, and the cluster is
//!   `Unknown` or `Behind` with the reason. Nothing is forgotten: after a break that is too long for a watch
//!   everything is listed anew.
//! - One object that is refused (an admission webhook, a rule that this API server does not take): it alone
//!   waits, the others go on.
//! - Somebody else who writes the same object: it is put back, counted, and ever more slowly.
//! - A change between two reads of different kinds: every action is checked against what is seen when it
//!   begins, and a removal names the very version that was seen.

mod book;
mod content;
mod heard;
mod history;
mod plan;
mod queue;
mod session;
mod watcher;
mod writer;

pub use content::Key;
pub use plan::{Plan, ProjectRef};

use super::{registry::Entry, service::Clusters};
use crate::config::live::Live;
use content::Seen;
use session::Session;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Which cluster a loop is for. One that was registered anew under the name has another uid.
pub struct Place {
    /// All of them.
    pub clusters: Arc<Clusters>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: String,
    /// Between two writes to it.
    pub pace: Live<Duration>,
}

impl Place {
    /// The cluster as it is registered now.
    fn entry(&self) -> Option<Arc<Entry>> {
        let entry = self.clusters.registry().entry(&self.name)?;
        (entry.cluster.metadata.uid == self.uid).then_some(entry)
    }
}

/// Runs until `stop`, or until the cluster is registered no more.
pub async fn run(place: Place, stop: CancellationToken) {
    let mut news = place.clusters.registry().changes();
    loop {
        news.mark_unchanged();
        let Some(entry) = place.entry() else {
            return;
        };
        let turn = async {
            match Session::new(&place, &entry) {
                Some(session) => session.run(&mut news).await,
                // Nothing to speak with yet: until its object changes.
                None => drop(news.changed().await),
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => {}
        }
    }
}

/// Whether an object has anything to do with us: a name of ours, or a group of ours among its subjects.
fn matters(key: &Key, seen: &Seen) -> bool {
    let kept = key.name().starts_with(super::PREFIX) && super::object::is_ours(key.name());
    kept || book::names_grant_group(seen)
}
