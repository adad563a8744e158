//! Up to where the watchers have told of each kind of object.
//!
//! A watcher tells of all changes of its kind, in their order. So an answer to a write that is older than the last
//! change that it told of, about an object that is not there, is about one that was removed since.
//!
//! What could go wrong: a cluster whose store was put back from a copy. Its versions begin again where the copy ends; what
//! was heard before says nothing then, and a list that is older than it shows that ([`History::goes_back`]): lists are
//! read from the store itself.

use super::content::Version;
use crate::clusters::object::ObjectKind;
use std::collections::BTreeMap;

/// See the module.
#[derive(Default)]
pub(super) struct History(BTreeMap<ObjectKind, Version>);

impl History {
    /// Whether a list shows an older state than what was told of before.
    pub(super) fn goes_back(&self, kind: ObjectKind, version: &Version) -> bool {
        self.0
            .get(&kind)
            .is_some_and(|heard| version.is_before(heard))
    }

    /// A list was told.
    pub(super) fn set(&mut self, kind: ObjectKind, version: &Version) {
        self.0.insert(kind, version.clone());
    }

    /// A change was told.
    pub(super) fn goes_on(&mut self, kind: ObjectKind, version: &Version) {
        let heard = self.0.entry(kind).or_default();
        if !version.is_before(heard) {
            heard.clone_from(version);
        }
    }

    /// Whether all changes up to `version` were told.
    pub(super) fn has_passed(&self, kind: ObjectKind, version: &Version) -> bool {
        let heard = self.0.get(&kind);
        heard.is_some_and(|heard| heard == version || version.is_before(heard))
    }
}
