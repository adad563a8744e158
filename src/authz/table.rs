//! The rules of all roles turned around: from what a request asks to the roles that allow it.
//!
//! A rule is spread into cells, one per (API group, resource): each cell says per verb which roles allow it,
//! for any name and for single names. A request needs at most six cells: its group or `*`, times its
//! resource, `*`, or `*/subresource`. The answer is a few sets of roles; whether somebody holds one of them
//! is a question about bits. So a decision costs the same for one role and for four thousand, and a role's
//! change touches its own cells alone.
//!
//! What could go wrong: a cell that allows more than [`super::rules`] does. A property test compares them.

use super::Attributes;
use super::bits::Bits;
use super::rules::ALL;
use super::shards::ShardMap;
use crate::objects::rules::PolicyRule;
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Sets of roles that one request can find: six cells, each for the verb and `*`, for any name and its own.
const MOST_SETS: usize = 24;
/// Longest `resource/subresource` that is looked up without allocating.
const INLINE_RESOURCE: usize = 128;

/// From requests to roles. Cloning shares everything.
#[derive(Clone, Default)]
pub(super) struct Table {
    hasher: DefaultHashBuilder,
    cells: ShardMap<Arc<Cell>>,
    urls: ShardMap<Arc<UrlCell>>,
    /// How many prefix entries have which length; only these prefixes of a path are looked up.
    prefix_lengths: Arc<BTreeMap<usize, usize>>,
}

#[derive(Clone)]
struct Cell {
    group: Box<str>,
    resource: Box<str>,
    any_name: Verbs,
    named: HashMap<Box<str>, Verbs>,
}

#[derive(Clone)]
struct UrlCell {
    text: Box<str>,
    /// Stands for everything that starts with `text`.
    is_prefix: bool,
    verbs: Verbs,
}

/// Roles per verb; few verbs, so a list.
#[derive(Clone, Default)]
struct Verbs(Vec<(Box<str>, Bits)>);

/// The sets of roles of which any one allows the request.
#[derive(Default)]
pub(super) struct Allowing<'a>(SmallVec<[&'a Bits; MOST_SETS]>);

impl Allowing<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, role: u32) -> bool {
        self.0.iter().any(|bits| bits.contains(role))
    }

    pub(super) fn first_common(&self, held: &Bits) -> Option<u32> {
        self.0.iter().find_map(|bits| bits.first_common(held))
    }
}

impl Table {
    /// The roles that allow a request.
    pub(super) fn allowing(&self, attrs: &Attributes<'_>) -> Allowing<'_> {
        let mut found = Allowing::default();
        if attrs.is_resource {
            self.resource_roles(attrs, &mut found);
        } else {
            self.url_roles(attrs, &mut found);
        }
        found
    }

    fn resource_roles<'a>(&'a self, attrs: &Attributes<'_>, found: &mut Allowing<'a>) {
        let mut combined = SmallVec::<[u8; INLINE_RESOURCE]>::from_slice(attrs.resource.as_bytes());
        let mut wildcard = SmallVec::<[u8; INLINE_RESOURCE]>::new();
        if !attrs.subresource.is_empty() {
            combined.push(b'/');
            combined.extend_from_slice(attrs.subresource.as_bytes());
            wildcard.extend_from_slice(b"*/");
            wildcard.extend_from_slice(attrs.subresource.as_bytes());
        }
        let wildcard = (!wildcard.is_empty()).then_some(wildcard.as_slice());
        for group in [attrs.api_group, ALL] {
            let resources = [Some(combined.as_slice()), Some(ALL.as_bytes()), wildcard];
            for resource in resources.into_iter().flatten() {
                let hash = self.hasher.hash_one((group.as_bytes(), resource));
                let is = |cell: &Arc<Cell>| {
                    cell.group.as_bytes() == group.as_bytes()
                        && cell.resource.as_bytes() == resource
                };
                if let Some(cell) = self.cells.get(hash, is) {
                    cell.any_name.collect(attrs.verb, found);
                    if let Some(verbs) = cell.named.get(attrs.name) {
                        verbs.collect(attrs.verb, found);
                    }
                }
            }
        }
    }

    fn url_roles<'a>(&'a self, attrs: &Attributes<'_>, found: &mut Allowing<'a>) {
        let path = attrs.path.as_bytes();
        let mut look = |text: &[u8], is_prefix: bool| {
            let hash = self.hasher.hash_one((is_prefix, text));
            let is =
                |cell: &Arc<UrlCell>| cell.is_prefix == is_prefix && cell.text.as_bytes() == text;
            if let Some(cell) = self.urls.get(hash, is) {
                cell.verbs.collect(attrs.verb, found);
            }
        };
        look(path, false);
        for &length in self.prefix_lengths.keys() {
            let Some(prefix) = path.get(..length) else {
                break;
            };
            look(prefix, true);
        }
    }

    /// Whether no role has any rule.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.cells.len() + self.urls.len() + self.prefix_lengths.len() == 0
    }

    /// Enters a role's rules.
    pub(super) fn add<'r>(&mut self, role: u32, rules: impl Iterator<Item = &'r PolicyRule>) {
        for rule in rules {
            for (group, resource) in pairs(rule) {
                self.edit_cell(group, resource, |cell| cell.enter(role, rule));
            }
            for entry in &rule.non_resource_urls {
                self.edit_url(entry, |verbs| verbs.add(role, &rule.verbs));
            }
        }
    }

    /// Takes a role out of all cells that its rules touch.
    pub(super) fn remove<'r>(&mut self, role: u32, rules: impl Iterator<Item = &'r PolicyRule>) {
        for rule in rules {
            for (group, resource) in pairs(rule) {
                self.edit_cell(group, resource, |cell| cell.remove(role));
            }
            for entry in &rule.non_resource_urls {
                self.edit_url(entry, |verbs| verbs.remove(role));
            }
        }
    }

    fn edit_cell(&mut self, group: &str, resource: &str, edit: impl FnOnce(&mut Cell)) {
        let hash = self
            .hasher
            .hash_one((group.as_bytes(), resource.as_bytes()));
        let is = |cell: &Arc<Cell>| &*cell.group == group && &*cell.resource == resource;
        let mut cell = self.cells.remove(hash, is).unwrap_or_else(|| {
            Arc::new(Cell {
                group: group.into(),
                resource: resource.into(),
                any_name: Verbs::default(),
                named: HashMap::new(),
            })
        });
        edit(Arc::make_mut(&mut cell));
        if !cell.any_name.0.is_empty() || !cell.named.is_empty() {
            let hasher = &self.hasher;
            let hash_of = |cell: &Arc<Cell>| {
                hasher.hash_one((cell.group.as_bytes(), cell.resource.as_bytes()))
            };
            self.cells.put(hash, is, hash_of, cell);
        }
    }

    fn edit_url(&mut self, entry: &str, edit: impl FnOnce(&mut Verbs)) {
        let text = entry.trim_end_matches('*');
        let is_prefix = text.len() < entry.len();
        let hash = self.hasher.hash_one((is_prefix, text.as_bytes()));
        let is = |cell: &Arc<UrlCell>| cell.is_prefix == is_prefix && &*cell.text == text;
        let old = self.urls.remove(hash, is);
        let had = old.is_some();
        let mut cell = old.unwrap_or_else(|| {
            Arc::new(UrlCell {
                text: text.into(),
                is_prefix,
                verbs: Verbs::default(),
            })
        });
        edit(&mut Arc::make_mut(&mut cell).verbs);
        let has = !cell.verbs.0.is_empty();
        if has {
            let hasher = &self.hasher;
            let hash_of =
                |cell: &Arc<UrlCell>| hasher.hash_one((cell.is_prefix, cell.text.as_bytes()));
            self.urls.put(hash, is, hash_of, cell);
        }
        if is_prefix && had != has {
            let lengths = Arc::make_mut(&mut self.prefix_lengths);
            let count = lengths.entry(text.len()).or_default();
            *count = if has { *count + 1 } else { *count - 1 };
            lengths.retain(|_, count| *count > 0);
        }
    }
}

impl Cell {
    fn enter(&mut self, holder: u32, rule: &PolicyRule) {
        if rule.resource_names.is_empty() {
            self.any_name.add(holder, &rule.verbs);
        }
        for name in &rule.resource_names {
            let verbs = self.named.entry_ref(name.as_str()).or_default();
            verbs.add(holder, &rule.verbs);
        }
        // A rule without verbs leaves nothing behind.
        self.named.retain(|_, verbs| !verbs.0.is_empty());
    }

    fn remove(&mut self, role: u32) {
        self.any_name.remove(role);
        self.named.retain(|_, verbs| {
            verbs.remove(role);
            !verbs.0.is_empty()
        });
    }
}

impl Verbs {
    fn add(&mut self, role: u32, verbs: &[String]) {
        for verb in verbs {
            if let Some((_, roles)) = self.0.iter_mut().find(|(entry, _)| **entry == **verb) {
                roles.insert(role);
            } else {
                self.0
                    .push((verb.as_str().into(), std::iter::once(role).collect()));
            }
        }
    }

    fn remove(&mut self, role: u32) {
        self.0.retain_mut(|(_, roles)| {
            roles.remove(role);
            !roles.is_empty()
        });
    }

    fn collect<'a>(&'a self, verb: &str, found: &mut Allowing<'a>) {
        for (entry, roles) in &self.0 {
            if **entry == *verb || &**entry == ALL {
                found.0.push(roles);
            }
        }
    }
}

fn pairs(rule: &PolicyRule) -> impl Iterator<Item = (&str, &str)> {
    rule.api_groups.iter().flat_map(|group| {
        rule.resources
            .iter()
            .map(move |resource| (group.as_str(), resource.as_str()))
    })
}
