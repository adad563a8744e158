//! Searches, over a few connections that the search account is bound on.
//!
//! A bind changes who a whole connection speaks for, so people's passwords are never tried on these: each of them
//! has a connection of its own ([`Pool::try_password`]). A connection that failed in any way is thrown away, and
//! a search, which changes nothing, is asked once more on another.

use super::{
    super::files::off_thread,
    connect::{self, Connection, Hosts, bind, broken, source_of},
    entry::Entry,
    failure::{BrokenError, Failure},
};
use crate::config::Ldap as Settings;
use ldap3::{
    LdapResult, Scope,
    adapters::{Adapter, EntriesOnly, PagedResults},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};

/// Connections for searches. Each carries many at the same time; a second one is there while the first is being
/// made anew.
const CONNECTIONS: usize = 2;
/// How long one is used: then the first of the hosts has its turn again.
const MAX_LIFE: Duration = Duration::from_mins(10);
/// Searches at the same time: a domain controller answers some thousands a second.
const SEARCHES: usize = 32;
/// Passwords that are tried at the same time, each on a connection of its own.
const BINDS: usize = 16;
/// How long a login waits for its turn, and for a connection that somebody else is making: longer, and the person has
/// given up. Making one has limits of its own (`connect_timeout`, `timeout`).
const TURN: Duration = Duration::from_secs(5);
/// Entries of one page: what Active Directory gives at most is 1,000.
const PAGE: i32 = 500;
/// Time for all pages of one search together.
const WHOLE_SEARCH: Duration = Duration::from_secs(30);

/// No such object (RFC 4511, appendix A).
pub(super) const NO_SUCH_OBJECT: u32 = 32;

/// One search.
pub(super) struct Query<'a> {
    pub(super) what: &'static str,
    pub(super) base: &'a str,
    pub(super) scope: Scope,
    pub(super) filter: &'a str,
    pub(super) attributes: &'a [&'a str],
    /// Of more entries than this nothing is taken.
    pub(super) most: usize,
}

/// The connections to one directory.
pub(super) struct Pool {
    settings: Settings,
    hosts: Hosts,
    slots: [Mutex<Option<Arc<Connection>>>; CONNECTIONS],
    next: AtomicUsize,
    searches: Semaphore,
    binds: Semaphore,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            hosts: Hosts::default(),
            settings,
            slots: Default::default(),
            next: AtomicUsize::new(0),
            searches: Semaphore::new(SEARCHES),
            binds: Semaphore::new(BINDS),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All entries that a query finds.
    pub(super) async fn search(&self, query: &Query<'_>) -> Result<Vec<Entry>, Failure> {
        let _turn = turn(&self.searches).await?;
        let mut again = true;
        loop {
            let (slot, connection) = self.searcher().await?;
            let found = timeout(WHOLE_SEARCH, Box::pin(self.ask(&connection, query))).await;
            let silent = || BrokenError::Timeout(WHOLE_SEARCH);
            let found = found.unwrap_or_else(|_| Err(broken(&connection, silent())));
            match found {
                Err(failure) if failure.is_of_connection() => {
                    self.throw_away(slot, &connection).await;
                    if !std::mem::take(&mut again) {
                        return Err(failure);
                    }
                }
                other => return other,
            }
        }
    }

    /// What a server says to a DN with a password. The connection is this one bind's own. It is sent once: a server
    /// that does not answer may have counted the try, and a second one would count twice towards a lock (G6).
    pub(super) async fn try_password(
        &self,
        dn: &str,
        password: &str,
    ) -> Result<LdapResult, Failure> {
        let _turn = turn(&self.binds).await?;
        let connection = self.hosts.connect(&self.settings).await?;
        let said = bind(&connection, &self.settings, dn, password).await;
        if said.is_err() {
            self.hosts.failed(&connection.host);
        }
        said
    }

    /// A connection on which the search account is bound, and its place.
    async fn searcher(&self) -> Result<(usize, Arc<Connection>), Failure> {
        let slot = self.next.fetch_add(1, Relaxed) % CONNECTIONS;
        let Some(place) = self.slots.get(slot) else {
            return Err(Failure::Busy);
        };
        // Held while it is made: who comes meanwhile waits for the same one.
        let place = timeout(TURN, place.lock()).await;
        let mut place = place.map_err(|_| Failure::Busy)?;
        if let Some(found) = &*place
            && found.since.elapsed() < MAX_LIFE
            && !found.ldap.clone().is_closed()
        {
            return Ok((slot, Arc::clone(found)));
        }
        *place = None;
        let made = Arc::new(self.bound().await?);
        *place = Some(Arc::clone(&made));
        Ok((slot, made))
    }

    async fn bound(&self) -> Result<Connection, Failure> {
        let file = self.settings.bind_password_file.clone();
        let password = off_thread(move || connect::password(&file)).await?;
        let mut again = true;
        loop {
            let connection = self.hosts.connect(&self.settings).await?;
            match bind(
                &connection,
                &self.settings,
                &self.settings.bind_dn,
                &password,
            )
            .await
            {
                Ok(result) if result.rc == 0 => return Ok(connection),
                Ok(result) if result.rc == super::INVALID_CREDENTIALS => {
                    return Err(Failure::SearchAccount(super::said(&result.text)));
                }
                Ok(result) if !std::mem::take(&mut again) => {
                    return Err(Failure::answer("the bind of the search account", result));
                }
                Ok(_) => self.hosts.failed(&connection.host),
                Err(failure) => {
                    self.hosts.failed(&connection.host);
                    if !std::mem::take(&mut again) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    async fn throw_away(&self, slot: usize, connection: &Arc<Connection>) {
        self.hosts.failed(&connection.host);
        let Some(place) = self.slots.get(slot) else {
            return;
        };
        // Who holds it for that long makes another one, and has thrown this one away.
        let Ok(mut place) = timeout(TURN, place.lock()).await else {
            return;
        };
        if place
            .as_ref()
            .is_some_and(|found| Arc::ptr_eq(found, connection))
        {
            *place = None;
        }
    }

    async fn ask(&self, connection: &Connection, query: &Query<'_>) -> Result<Vec<Entry>, Failure> {
        let limit = self.settings.timeout;
        let lost = |error| broken(connection, source_of(error, limit));
        let attributes: Vec<String> = query.attributes.iter().map(ToString::to_string).collect();
        let mut adapters: Vec<Box<dyn Adapter<'_, String, Vec<String>>>> =
            vec![Box::new(EntriesOnly::new())];
        if query.scope != Scope::Base {
            adapters.push(Box::new(PagedResults::new(PAGE)));
        }
        let mut ldap = connection.ldap.clone();
        let stream = ldap.with_timeout(limit).streaming_search_with(
            adapters,
            query.base,
            query.scope,
            query.filter,
            attributes,
        );
        let mut stream = Box::pin(stream).await.map_err(lost)?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.next().await.map_err(lost)? {
            if entries.len() >= query.most {
                return Err(Failure::TooMany {
                    what: query.what,
                    most: query.most,
                });
            }
            entries.push(Entry::read(entry)?);
        }
        let result = stream.finish().await;
        match result.rc {
            0 => Ok(entries),
            // One entry that is not there is an answer; a base that is not there is a mistake of the configuration,
            // or a directory that is not whole: it must not make all accounts go away.
            NO_SUCH_OBJECT if query.scope == Scope::Base => Ok(Vec::new()),
            _ => Err(Failure::answer(query.what, result)),
        }
    }
}

async fn turn(places: &Semaphore) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
    match timeout(TURN, places.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Failure::Busy),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::settings, *};
    use crate::config::Transport;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_a_connection_that_another_is_making() {
        let folder = tempfile::tempdir().unwrap();
        let pool = Pool::new(settings(folder.path(), Transport::Ldaps, &[]));
        let mut making = Vec::new();
        for slot in &pool.slots {
            making.push(slot.lock().await);
        }
        let query = Query {
            what: "accounts",
            base: "dc=a",
            scope: Scope::Subtree,
            filter: "(uid=jane)",
            attributes: &[],
            most: 1,
        };
        let found = timeout(TURN * 2, pool.search(&query)).await;
        assert!(matches!(found, Ok(Err(Failure::Busy))), "{found:?}");
    }
}
