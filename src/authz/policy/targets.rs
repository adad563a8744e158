//! Clusters and the selectors that name them by label.
//!
//! A selector is a place of its own, shared by all bindings that have the same one: when a cluster's labels
//! change, only the selectors whose answer changes are touched, and no subject.

use super::super::bits::Bits;
use super::grants::Scope;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

type Labels = BTreeMap<String, String>;

/// Names to numbers. A number is never given to another name: names are as many as objects ever named them.
#[derive(Clone, Default)]
pub(super) struct Names {
    ids: Arc<HashMap<Arc<str>, u32>>,
    names: Arc<Vec<Arc<str>>>,
}

impl Names {
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(super) fn id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let name: Arc<str> = name.into();
        // Four thousand million names do not fit in memory.
        let id = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.names).push(Arc::clone(&name));
        Arc::make_mut(&mut self.ids).insert(name, id);
        id
    }

    pub(super) fn name(&self, id: u32) -> &str {
        self.names
            .get(index(id))
            .map_or("", |name| -> &str { name })
    }

    pub(super) fn shared(&self, id: u32) -> Option<Arc<str>> {
        self.names.get(index(id)).cloned()
    }
}

/// A number as an index.
pub(super) fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// Registered clusters and their labels; names that only bindings know have none.
#[derive(Clone, Default)]
pub(super) struct Clusters {
    names: Names,
    labels: Arc<Vec<Option<Arc<Labels>>>>,
}

impl Clusters {
    pub(super) fn id(&mut self, name: &str) -> u32 {
        self.names.id(name)
    }

    pub(super) fn name(&self, id: u32) -> &str {
        self.names.name(id)
    }

    pub(super) fn registered(&self, name: &str) -> Option<u32> {
        let id = self.names.find(name)?;
        self.labels.get(index(id))?.as_ref().map(|_| id)
    }

    pub(super) fn put(&mut self, name: &str, labels: Option<&Labels>) -> u32 {
        let id = self.id(name);
        let all = Arc::make_mut(&mut self.labels);
        if all.len() <= index(id) {
            all.resize(index(id) + 1, None);
        }
        if let Some(slot) = all.get_mut(index(id)) {
            *slot = labels.cloned().map(Arc::new);
        }
        id
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &Labels)> {
        (0..)
            .zip(self.labels.iter())
            .filter_map(|(id, labels)| labels.as_deref().map(|labels| (id, labels)))
    }
}

/// The distinct selectors of all bindings.
#[derive(Clone, Default)]
pub(super) struct Selectors {
    ids: Arc<HashMap<Arc<Labels>, u32>>,
    all: Arc<Vec<Selector>>,
    free: Arc<Vec<u32>>,
}

#[derive(Clone)]
struct Selector {
    labels: Arc<Labels>,
    /// Clusters that carry all of the labels.
    selects: Arc<Bits>,
    /// Bindings that have this selector.
    uses: usize,
}

impl Selectors {
    pub(super) fn selects(&self, selector: u32, cluster: u32) -> bool {
        self.all
            .get(index(selector))
            .is_some_and(|selector| selector.selects.contains(cluster))
    }

    pub(super) fn labels(&self, selector: u32) -> Option<&Labels> {
        self.all
            .get(index(selector))
            .map(|selector| &*selector.labels)
    }

    /// The number of a selector, counted as used once more.
    pub(super) fn acquire(&mut self, labels: &Labels, clusters: &Clusters) -> u32 {
        if let Some(&id) = self.ids.get(labels) {
            if let Some(selector) = Arc::make_mut(&mut self.all).get_mut(index(id)) {
                selector.uses += 1;
            }
            return id;
        }
        let labels = Arc::new(labels.clone());
        let selects = clusters
            .iter()
            .filter(|(_, carried)| carries(carried, &labels))
            .map(|(id, _)| id)
            .collect();
        let selector = Selector {
            labels: Arc::clone(&labels),
            selects: Arc::new(selects),
            uses: 1,
        };
        let all = Arc::make_mut(&mut self.all);
        let reused = Arc::make_mut(&mut self.free).pop();
        let id = reused.unwrap_or_else(|| u32::try_from(all.len()).unwrap_or(u32::MAX));
        match all.get_mut(index(id)) {
            Some(slot) => *slot = selector,
            None => all.push(selector),
        }
        Arc::make_mut(&mut self.ids).insert(labels, id);
        id
    }

    /// One binding less has the scope.
    pub(super) fn release(&mut self, scope: &Scope) {
        let &Scope::Selector(id) = scope else {
            return;
        };
        let Some(selector) = Arc::make_mut(&mut self.all).get_mut(index(id)) else {
            return;
        };
        selector.uses -= 1;
        if selector.uses == 0 {
            selector.selects = Arc::default();
            Arc::make_mut(&mut self.ids).remove(&selector.labels);
            Arc::make_mut(&mut self.free).push(id);
        }
    }

    /// A cluster has other labels now, or is gone.
    pub(super) fn cluster_changed(&mut self, cluster: u32, labels: Option<&Labels>) {
        let selected =
            |selector: &Selector| labels.is_some_and(|labels| carries(labels, &selector.labels));
        let changed: Vec<(usize, bool)> = self
            .all
            .iter()
            .enumerate()
            .map(|(at, selector)| (at, selected(selector), selector.selects.contains(cluster)))
            .filter(|&(_, now, before)| now != before)
            .map(|(at, now, _)| (at, now))
            .collect();
        for (at, now) in changed {
            if let Some(selector) = Arc::make_mut(&mut self.all).get_mut(at) {
                let selects = Arc::make_mut(&mut selector.selects);
                if now {
                    selects.insert(cluster);
                } else {
                    selects.remove(cluster);
                }
            }
        }
    }
}

fn carries(carried: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| carried.get(key) == Some(value))
}
