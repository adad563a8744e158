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
//! (what answers and says no is asked less often than what is away: [`REFUSED_MAX`]).

use super::content::{Key, Seen, Wire, or_default};
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
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

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
/// Longest pause: so soon is a cluster noticed that is back.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Longest pause where the API server refuses, as for an object that it refuses. Somebody has
/// to change something there first; who has done so and asks for a look is not kept waiting.
const REFUSED_MAX: Duration = Duration::from_mins(5);

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
    /// All that there is and matters, and how often a new list had been asked for when it began.
    Listed(Source, u64, Vec<Item>),
    /// One that is there, new or changed.
    There(Item),
    /// One that is gone, or matters no more.
    Gone(Item),
    /// It cannot be read at the moment, and why.
    Trouble(Source, String),
    /// It is read again, nothing was missed.
    Well(Source),
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
}

/// Why a watch is over.
enum End {
    /// As it should be: go on from this version.
    Over(Box<str>),
    /// Nobody listens any more.
    Deaf,
    /// List again.
    List,
    /// It broke.
    Broken(Box<str>, Failure),
}

/// Why something could not be read.
struct Failure {
    why: String,
    /// The longest pause before it is tried again.
    longest: Duration,
}

impl Failure {
    /// What may be over at any moment.
    fn passing(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            longest: RETRY_MAX,
        }
    }

    /// What stays until something is changed.
    fn lasting(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            longest: REFUSED_MAX,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let lasts = match &error {
            // With a reason it is the API server's own word, and not that of something before it while it is away.
            ClientError::Refused(refusal) => {
                refusal.reason.is_some()
                    && refusal.code.is_client_error()
                    && refusal.code != StatusCode::TOO_MANY_REQUESTS
            }
            ClientError::TooLarge { .. } => true,
            ClientError::Dial(_)
            | ClientError::Broken { .. }
            | ClientError::Timeout { .. }
            | ClientError::Shape { .. }
            | ClientError::Request { .. } => false,
        };
        let longest = if lasts { REFUSED_MAX } else { RETRY_MAX };
        Self {
            why: error.chain(),
            longest,
        }
    }
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
        }
    }

    /// Lists and watches without end; returns when nobody listens.
    pub(super) async fn run(mut self) {
        loop {
            let asked = *self.again.borrow_and_update();
            let version = match self.list().await {
                Ok((items, version)) => {
                    self.well();
                    let told = self
                        .news
                        .send(News::Listed(self.source, asked, items))
                        .await;
                    if told.is_err() {
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
    async fn watch_from(&mut self, mut version: Box<str>) -> Result<(), ()> {
        loop {
            match self.watch(version).await {
                End::Over(next) => version = next,
                End::Deaf => return Err(()),
                End::List => return Ok(()),
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

    /// The whole set and its version.
    async fn list(&self) -> Result<(Vec<Item>, Box<str>), Failure> {
        #[derive(Deserialize)]
        struct List {
            // Without a default: an answer that is no list must not pass for an empty one.
            #[serde(deserialize_with = "or_default")]
            items: Vec<Wire>,
            metadata: ListMeta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ListMeta {
            resource_version: Box<str>,
            #[serde(default)]
            r#continue: String,
        }
        let mut size = PAGE;
        let mut next = String::new();
        let mut all = Vec::new();
        loop {
            let path = format!("{}limit={size}{next}", self.source.path());
            let page: List = match self.client.get(&path).await {
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
                return Ok((all, page.metadata.resource_version));
            }
            next = format!("&continue={}", escape(&page.metadata.r#continue));
        }
    }

    async fn watch(&mut self, version: Box<str>) -> End {
        let seconds = share(WATCH, 1000, 2000).as_secs();
        let path = format!(
            "{}watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
            self.source.path(),
            escape(&version)
        );
        let opened = self.client.follow(&path).await;
        let mut lines = match opened {
            Ok(lines) => lines,
            Err(error) if error.code() == Some(StatusCode::GONE) => return End::List,
            Err(error) => return End::Broken(version, error.into()),
        };
        if self.troubled {
            self.well();
            if self.news.send(News::Well(self.source)).await.is_err() {
                return End::Deaf;
            }
        }
        let opened = Instant::now();
        let end = self.lines(&mut lines, version.clone()).await;
        if matches!(&end, End::Over(same) if *same == version) && opened.elapsed() < SHORTEST {
            return End::Broken(version, Failure::passing("the watch ends at once"));
        }
        end
    }

    async fn lines(&mut self, lines: &mut Follow, mut version: Box<str>) -> End {
        loop {
            let line = tokio::select! {
                line = timeout(SILENCE, lines.line()) => line,
                changed = self.again.changed() => {
                    return if changed.is_ok() { End::List } else { End::Deaf };
                }
            };
            let line = match line {
                // Quiet for too long, or ended: from where it was.
                Err(_) | Ok(Ok(None)) => return End::Over(version),
                Ok(Ok(Some(line))) => line,
                Ok(Err(error)) => return End::Broken(version, error.into()),
            };
            match self.event(&line) {
                Ok((newer, news)) => {
                    version = newer;
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

    /// Reads one event: the version it leads to, and what it tells.
    fn event(&self, line: &Bytes) -> Result<(Box<str>, Option<News>), Odd> {
        #[derive(Deserialize)]
        struct Event<'e> {
            r#type: &'e str,
            #[serde(borrow)]
            object: &'e RawValue,
        }
        #[derive(Deserialize)]
        struct Status {
            #[serde(default)]
            code: u16,
            #[serde(default)]
            message: String,
        }
        let unread =
            |error: serde_json::Error| Odd::Failed(format!("an event cannot be read: {error}"));
        let event: Event<'_> = serde_json::from_slice(line).map_err(unread)?;
        if event.r#type == "ERROR" {
            let status: Status = serde_json::from_str(event.object.get()).map_err(unread)?;
            return Err(match status.code {
                410 => Odd::Expired,
                code => Odd::Failed(format!("the watch failed ({code}): {}", status.message)),
            });
        }
        let wire: Wire = serde_json::from_str(event.object.get()).map_err(unread)?;
        let version = wire.metadata.resource_version.clone();
        let item = || self.source.read(wire);
        let news = match event.r#type {
            "BOOKMARK" => None,
            "DELETED" => Some(News::Gone(item())),
            // ADDED, MODIFIED, and whatever else says that it is there.
            _ => {
                let item = item();
                Some(if item.matters() {
                    News::There(item)
                } else {
                    News::Gone(item)
                })
            }
        };
        Ok((version, news))
    }
}

/// What an event can be beside news.
enum Odd {
    /// The version is too old to go on from.
    Expired,
    /// Anything else.
    Failed(String),
}

#[cfg(test)]
mod tests;
