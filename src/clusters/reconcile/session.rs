//! One stretch of keeping a cluster in step: as long as its server and its credential are the same.

use super::{
    Place,
    book::{Action, Book},
    content::{Key, Seen},
    queue::{Cause, Queue},
    watcher::{News, Source, Watcher},
};
use crate::{
    clusters::{
        client::{Client, ClientError},
        credential::ClusterCredential,
        registry::Entry,
        service::{self, Clusters},
        standing::Standing,
    },
    proxy::endpoint::Target,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

mod groups;
mod news;
mod view;
mod writes;

use groups::Trust;

/// Writes that are on their way at a time: at twenty a second, enough for a cluster that takes 200 ms for one.
const WRITERS: usize = 4;
/// News that are taken in at a time, and that wait at most: a watcher waits when there are more.
const BATCH: usize = 256;
/// Least time between two looks at the whole plan: many changes of policy in a row are one.
const REPLAN: Duration = Duration::from_millis(50);
/// Wait before a session begins anew after a mistake of ours.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Session {
    cluster: Box<str>,
    clusters: Arc<Clusters>,
    uid: String,
    cleaning: bool,
    target: Arc<Target>,
    credential: Arc<ClusterCredential>,
    standing: Arc<Standing>,
    book: Book,
    queue: Queue,
    /// Those that nothing is being written with.
    writers: Vec<Arc<Client>>,
    impersonator: Arc<Client>,
    news: mpsc::Receiver<News>,
    work: JoinSet<Done>,
    /// Which kinds were read as a whole, and how often a look at everything had been asked for then.
    listed: HashMap<Source, u64>,
    troubles: BTreeMap<Source, String>,
    /// Why nothing can be written.
    unwritten: Option<String>,
    /// The groups that the data path may send.
    known: BTreeSet<String>,
    /// Those that the authoriser is being asked about.
    hearing: BTreeSet<String>,
    /// Told when clusters are to hold something else.
    policy: watch::Receiver<u64>,
    replan_at: Option<Instant>,
    planned: Instant,
    note_at: Option<Instant>,
    noting: bool,
}

/// What a task of the session has done.
enum Done {
    /// A write or a removal.
    Wrote(
        Key,
        Box<Action>,
        Arc<Client>,
        Result<Option<Seen>, ClientError>,
    ),
    /// The authoriser takes these groups.
    Heard(BTreeSet<String>),
    /// The known roles were written down, or not.
    Noted(bool),
    /// A watcher has ended: nobody listens.
    Watched,
}

impl Session {
    /// Starts to read the cluster; `None` if there is nothing to speak with.
    pub(super) fn new(place: &Place, entry: &Entry) -> Option<Self> {
        let upstream = entry.upstream()?;
        let credential = Arc::clone(entry.credential.as_ref()?);
        let target = Arc::clone(upstream.endpoint().target());
        let speak = |token: &str| service::speak(&target, token).ok().map(Arc::new);
        let reconciler = || speak(&credential.reconciler.token);
        let writers = (0..WRITERS).map(|_| reconciler()).collect::<Option<_>>()?;
        let (sender, news) = mpsc::channel(BATCH);
        let standing = Arc::clone(entry.standing());
        let mut work = JoinSet::new();
        for source in Source::ALL {
            let watcher = Watcher::new(source, reconciler()?, sender.clone(), standing.asks());
            work.spawn(async move {
                watcher.run().await;
                Done::Watched
            });
        }
        let now = Instant::now();
        // Listening before looking: what changes in between is not missed.
        let policy = place.clusters.registry().policy_changes();
        let plan = place.clusters.registry().plan(&entry.cluster);
        Some(Self {
            cluster: place.name.clone(),
            clusters: Arc::clone(&place.clusters),
            uid: place.uid.clone(),
            impersonator: speak(&credential.impersonator.token)?,
            cleaning: is_cleaning(entry),
            target,
            credential,
            standing,
            book: Book::new(plan),
            queue: Queue::new(now, place.pace.clone()),
            writers,
            news,
            work,
            listed: HashMap::new(),
            troubles: BTreeMap::new(),
            unwritten: None,
            known: BTreeSet::new(),
            hearing: BTreeSet::new(),
            policy,
            replan_at: None,
            planned: now,
            note_at: Some(now),
            noting: false,
        })
    }

    /// Runs until the cluster's server, credential or registration is another one.
    pub(super) async fn run(mut self, clusters: &mut watch::Receiver<u64>) {
        let mut news = Vec::with_capacity(BATCH);
        loop {
            self.write_what_is_due();
            self.show();
            self.note();
            // Here too: news without a pause must not put it off.
            self.replan_if_due();
            let wake = self.wake();
            tokio::select! {
                // Registrations first: whoever writes that a cluster is to be cleaned up asks for a look after that, which
                // must not be answered with what was wanted before. News last but for the clock: there may be very many.
                biased;
                changed = clusters.changed() => {
                    if changed.is_err() || !self.goes_on() {
                        return;
                    }
                    self.note_at = Some(Instant::now());
                }
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.finish(done),
                    // A task of ours that panicked: from the beginning, and not in a hurry.
                    Err(_) => return sleep(AFTER_PANIC).await,
                },
                changed = self.policy.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.replan_at = Some((self.planned + REPLAN).max(Instant::now()));
                }
                count = self.news.recv_many(&mut news, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for news in news.drain(..) {
                        self.hear(news);
                    }
                }
                () = sleep_until(wake) => self.replan_if_due(),
            }
        }
    }

    /// Whether the cluster is still the one that this session speaks with.
    fn goes_on(&self) -> bool {
        let Some(entry) = self.clusters.registry().entry(&self.cluster) else {
            return false;
        };
        let (Some(upstream), Some(credential)) = (entry.upstream(), &entry.credential) else {
            return false;
        };
        entry.cluster.metadata.uid == self.uid
            && is_cleaning(&entry) == self.cleaning
            && Arc::ptr_eq(upstream.endpoint().target(), &self.target)
            && Arc::ptr_eq(entry.standing(), &self.standing)
            && *credential.reconciler.token == *self.credential.reconciler.token
            && *credential.impersonator.token == *self.credential.impersonator.token
    }

    /// When to look again, if nothing happens before.
    fn wake(&self) -> Instant {
        /// A change wakes the loop; this only bounds what a mistake of ours would cost.
        const LONG: Duration = Duration::from_mins(10);
        let now = Instant::now();
        let writes = self.queue.wake().filter(|at| {
            // Due since the last look, a moment ago: at once. What cannot begin waits for the end of something
            // that wakes the loop by itself.
            !self.writers.is_empty() && (*at > now || self.queue.next(now).is_some())
        });
        let times = [
            writes,
            self.replan_at,
            self.note_at.filter(|_| !self.noting),
        ];
        let first = times.into_iter().flatten().min();
        first.unwrap_or(now + LONG)
    }

    /// Whether policy may want something else than the book says.
    fn replans(&self) -> bool {
        self.replan_at.is_some() || self.policy.has_changed().unwrap_or(false)
    }

    fn replan_if_due(&mut self) {
        let now = Instant::now();
        if self.replan_at.is_none_or(|at| at > now) {
            return;
        }
        self.replan_at = None;
        let registry = self.clusters.registry();
        let Some(entry) = registry.entry(&self.cluster) else {
            return;
        };
        let plan = registry.plan(&entry.cluster);
        if !plan.is_same(self.book.plan()) || self.book.has_moved() {
            self.book.replan(plan);
            self.queue.hurry(now);
            self.look_at_everything(Cause::Policy);
            self.groups_changed(Trust::Ask);
        }
        self.planned = Instant::now();
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Wrote(key, action, client, result) => {
                self.writers.push(client);
                match result {
                    Ok(seen) => self.written(&key, &action, seen),
                    Err(error) => self.refused(&key, &error),
                }
            }
            Done::Heard(groups) => self.heard(groups),
            Done::Noted(done) => self.noted(done),
            Done::Watched => {}
        }
    }
}

fn is_cleaning(entry: &Entry) -> bool {
    entry.cluster.status.cleaning_since.is_some()
}
