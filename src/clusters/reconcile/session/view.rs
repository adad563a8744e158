//! What a session shows of the cluster: whether it is in step, and what is not.

use super::Session;
use crate::{
    clusters::{
        reconcile::{content::Key, watcher::Source},
        standing::View,
    },
    objects::{Step, SyncStatus},
    status::clock,
};

/// Objects that are shown by name.
const SHOWN: usize = 10;

impl Session {
    pub(super) fn show(&self) {
        let before = self.standing.view();
        let state = self.state();
        let mut status = SyncStatus {
            state,
            since: before.status.since,
            message: self.message(),
            behind: self.queue.len(),
            waiting: self.waiting(),
            foreign: self.book.foreign().len(),
            foreign_bindings: self
                .book
                .foreign()
                .iter()
                .take(SHOWN)
                .map(Key::to_string)
                .collect(),
        };
        if state != before.status.state || status.since.is_none() {
            status.since = Some(clock::whole_seconds(clock::now()));
        }
        let answered = self.listed.values().min().copied().unwrap_or_default();
        let view = View {
            status,
            answered: if self.listed.len() == Source::ALL.len() {
                answered
            } else {
                0
            },
            settled: self.queue.is_stuck() && self.hearing.is_empty() && !self.replans(),
        };
        if view != before {
            self.standing.show(view);
        }
    }

    fn state(&self) -> Step {
        if !self.troubles.is_empty() || self.listed.len() < Source::ALL.len() {
            Step::Unknown
        } else if self.queue.len() > 0 {
            Step::Behind
        } else {
            Step::InStep
        }
    }

    fn message(&self) -> String {
        let trouble = self.troubles.iter().next();
        match (trouble, &self.unwritten) {
            (Some((source, why)), _) => format!("cannot read {}: {why}", source.name()),
            (None, Some(why)) => format!("cannot write: {why}"),
            (None, None) => String::new(),
        }
    }

    /// Some of what differs, first what was refused.
    fn waiting(&self) -> Vec<String> {
        let refused = self.queue.waiting().filter_map(|(key, it)| {
            let why = it.why.as_ref()?;
            Some(format!(
                "{key} (since {}): {why}",
                clock::whole_seconds(it.since)
            ))
        });
        let others = self.queue.waiting().filter(|(_, it)| it.why.is_none());
        let others = others.map(|(key, _)| key.to_string());
        refused.chain(others).take(SHOWN).collect()
    }
}
