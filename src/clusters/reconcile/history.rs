//! Up to where the watchers have told of each kind of object.
//!
//! A list shows the store as it is, so one that is older than what was told of before shows that the store was put back
//! from a copy: its versions begin again where the copy ends, and what was known is not newer because it says so.

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
}
