//! Reads one kind of object of a cluster: lists it once, in pages, and then watches it.
//!
//! The listener hears of every object, in the order of its changes, and after each list of what is no longer
//! there ([`News::Listed`] is the whole set). A watch that ends goes on where it ended; one that cannot
//! (410, KEP-365) means a new list.
//!
//! What could go wrong: a list that breaks off and looks complete (only the last page ends it, and an answer
//! that is no list is an error), a connection that is dead without saying so (bookmarks come every minute;
//! after [`SILENCE`] the watch is opened anew), an API server that refuses (tried again, ever more seldom),
//! an account that may not read yet (the same: its rule is on its way), thousands of clusters that all refuse
//! (what answers and says no is asked less often than what is away: [`failure::REFUSED_MAX`]), a cluster whose store was put
//! back from a copy (a watch from a version that is still to come is silent and no error, so after trouble and silence
//! the cluster is asked where it stands: [`Watcher::is_ahead`]).

use super::content::{Key, Seen, Version, Wire};
use crate::{
    clusters::{
        MANAGED_BY, MANAGER,
        client::{Client, ClientError, Follow, escape},
        keeper::share,
        kube::PAGE,
        object::ObjectKind,
    },
    objects::check_label,
};
use http::StatusCode;
use serde::de::IgnoredAny;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

mod failure;
mod wire;

use failure::{Failure, RETRY_MAX};
use wire::{Odd, Page};

/// Bound on the objects of one kind: a cluster with more has a mistake, and memory is not without end.
const MAX_OBJECTS: usize = 200_000;
/// A watch that says nothing for so long is taken for dead. API servers send a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);
/// How long a watch is asked for, as client-go does: between this and twice it.
const WATCH: Duration = Duration::from_mins(5);
/// A watch that ends sooner than this, and said nothing, is a failure: opened again at once it would be a
/// loop without a pause.
const SHORTEST: Duration = Duration::from_secs(1);
/// First pause after a failure: the account's own rule may be a moment old.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// A kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Source {
    /// All of them: which ones a project holds is a question of their names.
    Namespaces,
    /// Those with our label: one that loses it counts as gone, and is written anew.
    Roles,
    /// All of them: any can name a group of ours.
    ClusterBindings,
    /// All of them, of all namespaces.
    Bindings,
}

impl Source {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [
        Self::Namespaces,
        Self::Roles,
        Self::ClusterBindings,
        Self::Bindings,
    ];

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "Namespaces",
            Self::Roles => "ClusterRoles",
            Self::ClusterBindings => "ClusterRoleBindings",
            Self::Bindings => "RoleBindings",
        }
    }

    /// What of it is kept in step; namespaces are not.
    pub(super) fn kind(self) -> Option<ObjectKind> {
        match self {
            Self::Namespaces => None,
            Self::Roles => Some(ObjectKind::ClusterRole),
            Self::ClusterBindings => Some(ObjectKind::ClusterRoleBinding),
            Self::Bindings => Some(ObjectKind::RoleBinding),
        }
    }

    /// Path and the query's beginning.
    fn path(self) -> String {
        let label = MANAGED_BY.replace('/', "%2F");
        match self {
            Self::Namespaces => format!("{}?", ObjectKind::Namespace.collection()),
            Self::Roles => format!(
                "{}?labelSelector={label}%3D{MANAGER}&",
                ObjectKind::ClusterRole.collection()
            ),
            Self::ClusterBindings => format!("{}?", ObjectKind::ClusterRoleBinding.collection()),
            Self::Bindings => "/apis/rbac.authorization.k8s.io/v1/rolebindings?".to_owned(),
        }
    }

    fn read(self, wire: Wire) -> Item {
        let item = match self {
            Self::Namespaces => {
                let ending = wire.metadata.deletion_timestamp.is_some();
                return Item::Namespace(wire.metadata.name, ending);
            }
            Self::Roles => wire.role(),
            Self::ClusterBindings | Self::Bindings => wire.binding(),
        };
        Item::Object(item.0, Box::new(item.1))
    }
}

/// One object that was read.
#[derive(Debug)]
pub(super) enum Item {
    /// Its name, and whether it is being deleted.
    Namespace(Box<str>, bool),
    /// A role or a binding.
    Object(Key, Box<Seen>),
}

impl Item {
    /// Whether it matters: it carries a name of ours, or names a group of ours.
    fn matters(&self) -> bool {
        match self {
            Self::Namespace(name, _) => check_label(name).is_ok(),
            Self::Object(key, seen) => super::matters(key, seen),
        }
    }
}

/// What a watcher tells.
#[derive(Debug)]
pub(super) enum News {
    /// All that there is and matters.
    Listed(List),
    /// One that is there, new or changed.
    There(Item),
    /// One that is gone, or matters no more.
    Gone(Item),
    /// It cannot be read at the moment, and why.
    Trouble(Source, String),
    /// It is read again, nothing was missed.
    Well(Source),
}

/// A whole list.
#[derive(Debug)]
pub(super) struct List {
    /// What was listed.
    pub source: Source,
    /// How often a new list had been asked for when it began.
    pub asked: u64,
    /// As of when.
    pub version: Version,
    /// The cluster's versions begin again.
    pub back: bool,
    /// All that there is and matters.
    pub items: Vec<Item>,
}

/// Reads one kind until it is dropped.
pub(super) struct Watcher {
    source: Source,
    client: Arc<Client>,
    news: mpsc::Sender<News>,
    /// Asks for a new list when it changes.
    again: watch::Receiver<u64>,
    pause: Duration,
    troubled: bool,
    /// The last watch ended without a word, or was quiet for too long.
    silent: bool,
    /// The cluster's versions begin again, and it was not listed since.
    back: bool,
}

/// Why a watch is over.
enum End {
    /// As it should be: go on from this version.
    Over(Version),
    /// Nobody listens any more.
    Deaf,
    /// List again.
    List,
    /// The cluster's versions begin again: its store was put back from a copy.
    Back,
    /// It broke.
    Broken(Version, Failure),
}

impl Watcher {
    /// A watcher that tells `news`.
    pub(super) fn new(
        source: Source,
        client: Arc<Client>,
        news: mpsc::Sender<News>,
        again: watch::Receiver<u64>,
    ) -> Self {
        Self {
            source,
            client,
            news,
            again,
            pause: RETRY_FIRST,
            troubled: false,
            silent: false,
            back: false,
        }
    }

    /// Lists and watches without end; returns when nobody listens.
    pub(super) async fn run(mut self) {
        loop {
            let asked = *self.again.borrow_and_update();
            let version = match self.list().await {
                Ok((items, version)) => {
                    self.well();
                    let list = List {
                        source: self.source,
                        asked,
                        version: version.clone(),
                        back: std::mem::take(&mut self.back),
                        items,
                    };
                    if self.news.send(News::Listed(list)).await.is_err() {
                        return;
                    }
                    version
                }
                Err(failure) => {
                    if self.trouble(failure).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            if self.watch_from(version).await.is_err() {
                return;
            }
        }
    }

    /// Watches, again and again, until a new list is needed. Err if nobody listens.
    async fn watch_from(&mut self, mut version: Version) -> Result<(), ()> {
        loop {
            match self.watch(version).await {
                End::Over(next) => version = next,
                End::Deaf => return Err(()),
                End::List => return Ok(()),
                End::Back => {
                    self.back = true;
                    // Not in a hurry: a server that counts in a way of its own would be listed without a pause.
                    self.pause = RETRY_MAX;
                    self.trouble(Failure::passing("its versions begin again"))
                        .await?;
                    return Ok(());
                }
                End::Broken(next, failure) => {
                    version = next;
                    self.trouble(failure).await?;
                    if self.again.has_changed().map_err(drop)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn well(&mut self) {
        self.pause = RETRY_FIRST;
        self.troubled = false;
    }

    /// A watch tells something, or is open and quiet. One that opens and breaks off at its first line is not well: it
    /// would be opened without a pause, and told of each time. Err if nobody listens.
    async fn proven(&mut self) -> Result<(), ()> {
        if self.troubled {
            self.well();
            self.news
                .send(News::Well(self.source))
                .await
                .map_err(drop)?;
        }
        Ok(())
    }

    /// Tells of a failure and waits, until a new list is asked for at the longest. Err if nobody listens.
    async fn trouble(&mut self, failure: Failure) -> Result<(), ()> {
        self.troubled = true;
        let news = News::Trouble(self.source, failure.why);
        self.news.send(news).await.map_err(drop)?;
        let pause = self.pause.min(failure.longest);
        // Of a copy: whoever lists next still finds that it was asked for.
        let mut again = self.again.clone();
        tokio::select! {
            () = sleep(share(pause, 700, 1300)) => self.pause = (pause * 2).min(failure.longest),
            // Something was mended: from the beginning.
            changed = again.changed() => {
                changed.map_err(drop)?;
                self.pause = RETRY_FIRST;
            }
        }
        Ok(())
    }

    /// Whether a version is still to come: the cluster's store was put back from a copy.
    async fn is_ahead(&self, version: &Version) -> Result<bool, Failure> {
        let path = format!("{}limit=1", self.source.path());
        let page: Page<IgnoredAny> = self.client.get(&path).await?;
        Ok(Version(page.metadata.resource_version).is_before(version))
    }

    /// The whole set and its version.
    async fn list(&self) -> Result<(Vec<Item>, Version), Failure> {
        let mut size = PAGE;
        let mut next = String::new();
        let mut all = Vec::new();
        loop {
            let path = format!("{}limit={size}{next}", self.source.path());
            let page: Page<Wire> = match self.client.get(&path).await {
                Ok(page) => page,
                // Whoever may write such objects can make a page of any size; one alone always fits.
                Err(ClientError::TooLarge { .. }) if size > 1 => {
                    size = (size / 8).max(1);
                    continue;
                }
                Err(error) if error.code() == Some(StatusCode::GONE) && !next.is_empty() => {
                    // The pages took longer than the cluster keeps a version: from the beginning.
                    return Err(Failure::passing("a list took too long; it starts anew"));
                }
                Err(error) => return Err(error.into()),
            };
            let items = page.items.into_iter();
            all.extend(
                items
                    .map(|wire| self.source.read(wire))
                    .filter(Item::matters),
            );
            if all.len() > MAX_OBJECTS {
                return Err(Failure::lasting(format!(
                    "there are more than {MAX_OBJECTS}"
                )));
            }
            if page.metadata.r#continue.is_empty() {
                return Ok((all, Version(page.metadata.resource_version)));
            }
            next = format!("&continue={}", escape(&page.metadata.r#continue));
        }
    }

    async fn watch(&mut self, version: Version) -> End {
        let seconds = share(WATCH, 1000, 2000).as_secs();
        let path = format!(
            "{}watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            self.source.path(),
            escape(&version.0)
        );
        if self.troubled || self.silent {
            match self.is_ahead(&version).await {
                Ok(ahead) => {
                    self.silent = false;
                    if ahead {
                        return End::Back;
                    }
                }
                Err(failure) => return End::Broken(version, failure),
            }
        }
        let opened = self.client.follow(&path).await;
        let mut lines = match opened {
            Ok(lines) => lines,
            Err(error) if error.code() == Some(StatusCode::GONE) => return End::List,
            Err(error) => return End::Broken(version, error.into()),
        };
        let opened = Instant::now();
        let end = self.lines(&mut lines, version.clone()).await;
        if matches!(&end, End::Over(same) if *same == version) && opened.elapsed() < SHORTEST {
            return End::Broken(version, Failure::passing("the watch ends at once"));
        }
        end
    }

    async fn lines(&mut self, lines: &mut Follow, mut version: Version) -> End {
        let mut proven = false;
        let mut told = false;
        loop {
            let patience = if proven { SILENCE } else { SHORTEST };
            let line = tokio::select! {
                line = timeout(patience, lines.line()) => line,
                changed = self.again.changed() => {
                    return if changed.is_ok() { End::List } else { End::Deaf };
                }
            };
            let line = match line {
                // It is open and quiet, as most are.
                Err(_) if !proven => {
                    proven = true;
                    if self.proven().await.is_err() {
                        return End::Deaf;
                    }
                    continue;
                }
                // Quiet for too long, or ended: from where it was.
                Err(_) => {
                    self.silent = true;
                    return End::Over(version);
                }
                Ok(Ok(None)) => {
                    self.silent = !told;
                    return End::Over(version);
                }
                Ok(Ok(Some(line))) => line,
                Ok(Err(error)) => return End::Broken(version, error.into()),
            };
            told = true;
            match self.source.event(&line) {
                Ok((newer, _)) if newer.is_before(&version) => return End::Back,
                Ok((newer, news)) => {
                    version = newer;
                    if !proven {
                        proven = true;
                        if self.proven().await.is_err() {
                            return End::Deaf;
                        }
                    }
                    if let Some(news) = news
                        && self.news.send(news).await.is_err()
                    {
                        return End::Deaf;
                    }
                }
                Err(Odd::Expired) => return End::List,
                Err(Odd::Failed(why)) => return End::Broken(version, Failure::passing(why)),
            }
        }
    }
}

#[cfg(test)]
mod tests;
