//! What a session writes: when its turn has come, and what becomes of it.

use super::{Done, Session};
use crate::clusters::{
    client::{Client, ClientError},
    reconcile::{
        book::{Action, Wrote},
        content::{Key, Seen},
        queue::Cause,
        writer::{self, Blame},
    },
    standing::Tally,
};
use std::sync::Arc;
use tokio::time::Instant;

/// From so many tries on a refusal is told to operators: the first ones may be an authoriser that lags.
const TOLD: u32 = 6;

impl Session {
    pub(super) fn write_what_is_due(&mut self) {
        let now = Instant::now();
        while let Some(key) = self.queue.next(now) {
            let Some(client) = self.writers.pop() else {
                return;
            };
            if let Some(action) = self.book.difference(&key) {
                self.begin(key, Box::new(action), client);
            } else {
                self.queue.settle(&key);
                self.writers.push(client);
            }
        }
    }

    fn begin(&mut self, key: Key, action: Box<Action>, client: Arc<Client>) {
        self.queue.begin(&key, Instant::now());
        self.book.begin(&key);
        self.work.spawn(async move {
            let result = writer::perform(&client, &key, &action).await;
            Done::Wrote(key, action, client, result)
        });
    }

    pub(super) fn written(&mut self, key: &Key, action: &Action, seen: Option<Seen>) {
        self.unwritten = None;
        let tally = &self.standing.tally;
        Tally::count(if seen.is_some() {
            &tally.writes
        } else {
            &tally.removals
        });
        let wrote = self.book.wrote(key, action, seen);
        let again = || {
            let next = self.book.difference(key);
            matches!(next, Some(Action::Apply(_) | Action::Overwrite(_)))
        };
        let cause = match wrote {
            Wrote::Otherwise if again() => {
                let why = "the cluster keeps it otherwise than it was written";
                self.queue.failed(key, why.to_owned(), Instant::now());
                return;
            }
            Wrote::Taken | Wrote::Otherwise => Cause::Policy,
            Wrote::Overtaken => Cause::Drift,
        };
        if self.queue.succeeded(key) {
            Tally::count(&self.standing.tally.drift);
            tracing::warn!(cluster = %self.cluster, object = %key, "undid what somebody else had changed");
        }
        self.changed(key, cause);
    }

    pub(super) fn refused(&mut self, key: &Key, error: &ClientError) {
        Tally::count(&self.standing.tally.failures);
        self.book.refused(key);
        let why = error.chain();
        let now = Instant::now();
        if writer::blame(error) == Blame::Cluster {
            self.queue.rest(now);
            self.unwritten = Some(why.clone());
        }
        let tries = self.queue.failed(key, why.clone(), now);
        if tries == TOLD {
            tracing::warn!(cluster = %self.cluster, object = %key, why, "cannot bring an object to a cluster");
        }
        self.look(key, Cause::Policy);
    }
}
