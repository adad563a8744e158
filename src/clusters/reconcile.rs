//! The loop that keeps a cluster in step with policy, one per cluster.
//!
//! It lists what it needs once, and then watches (`watcher`); what is wanted and what is seen make the
//! differences (`book`), which are done in an order, at a pace (`queue`) and by server-side apply (`writer`).
//! Giving a person a role touches no cluster: only roles, projects and namespaces do.
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
mod plan;
mod queue;
mod session;
mod watcher;
mod writer;

pub use content::Key;
pub use plan::{Plan, ProjectRef};

use super::{registry::Entry, service::Clusters};
use content::Seen;
use session::Session;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Which cluster a loop is for. One that was registered anew under the name has another uid.
pub struct Place {
    clusters: Arc<Clusters>,
    name: Box<str>,
    uid: String,
}

impl Place {
    /// The cluster of this name and uid.
    pub fn new(clusters: &Arc<Clusters>, name: &str, uid: &str) -> Self {
        Self {
            clusters: Arc::clone(clusters),
            name: name.into(),
            uid: uid.to_owned(),
        }
    }

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
