//! What one subject holds, and where.
//!
//! Memory is the point of the shapes here: a binding is one [`Grant`], named from the map by name and from
//! its subject's list; a place where a subject holds one unexpiring role is 24 bytes.

use super::super::bits::Bits;
use super::super::table::Allowing;
use super::projects::{self, Projects};
use super::targets::{Clusters, Selectors};
use crate::objects::{BindingSpec, Subject, SubjectKind};
use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;
use smallvec::SmallVec;
use std::sync::Arc;

/// A letter and a uid.
const NEAR: usize = 40;
/// Drops of one subject's grants that are not looked through.
const SIFT: usize = 64;
/// The instant that never comes.
pub(super) const NEVER: i64 = i64::MAX;
/// Above this number of roles in one place they are kept as bits too, so that the number costs nothing.
const MANY_ROLES: usize = 8;
/// The same for the projects that one subject is in.
const MANY_PROJECTS: usize = 8;

/// One binding.
pub(super) struct Grant {
    pub(super) name: Box<str>,
    /// [`subject_key`]
    pub(super) subject: Arc<str>,
    pub(super) role: u32,
    pub(super) scope: Scope,
    /// [`instant`], or [`NEVER`].
    pub(super) expires_at: i64,
}

/// Where a binding's role is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Global,
    Everywhere,
    Cluster(u32),
    /// Boxed twice: bindings to several named clusters are few, and a binding is 16 bytes shorter.
    #[expect(
        clippy::box_collection,
        reason = "the rare variant must not widen the others"
    )]
    Clusters(Box<Vec<u32>>),
    Selector(u32),
    Project(u32),
    /// More than one of the scope's fields is set: nothing is granted.
    Contradictory,
}

impl Scope {
    pub(super) fn of(
        spec: &BindingSpec,
        clusters: &mut Clusters,
        selectors: &mut Selectors,
        projects: &mut Projects,
    ) -> Self {
        let named = !spec.clusters.is_empty();
        let selected = !spec.cluster_selector.is_empty();
        let in_project = !spec.project.is_empty() || !spec.project_uid.is_empty();
        match (spec.all_clusters, named, selected, in_project) {
            (false, false, false, false) => Self::Global,
            (true, false, false, false) => Self::Everywhere,
            (false, true, false, false) => match spec.clusters.as_slice() {
                [one] => Self::Cluster(clusters.id(one)),
                many => Self::Clusters(Box::new(
                    many.iter().map(|name| clusters.id(name)).collect(),
                )),
            },
            (false, false, true, false) => {
                Self::Selector(selectors.acquire(&spec.cluster_selector, clusters))
            }
            (false, false, false, true) => Self::Project(projects.id(projects::id_in(spec))),
            _ => Self::Contradictory,
        }
    }

    fn places(&self) -> impl Iterator<Item = PlaceKey> + '_ {
        let (one, many) = match self {
            Self::Global => (Some(PlaceKey::Global), [].as_slice()),
            Self::Everywhere => (Some(PlaceKey::Everywhere), [].as_slice()),
            Self::Cluster(id) => (Some(PlaceKey::Cluster(*id)), [].as_slice()),
            Self::Clusters(ids) => (None, ids.as_slice()),
            Self::Selector(id) => (Some(PlaceKey::Selector(*id)), [].as_slice()),
            Self::Project(id) => (Some(PlaceKey::Project(*id)), [].as_slice()),
            Self::Contradictory => (None, [].as_slice()),
        };
        let many = many.iter().map(|&id| PlaceKey::Cluster(id));
        one.into_iter().chain(many)
    }
}

/// A place where roles are held. Sorted: global, everywhere, clusters, projects, selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PlaceKey {
    Global,
    Everywhere,
    Cluster(u32),
    Project(u32),
    Selector(u32),
}

/// All that one subject holds.
pub(super) struct Holdings {
    /// Shared with its grants.
    subject: Arc<str>,
    /// The same once more: a look-up reads it, and with many subjects each further piece of memory is one that no cache
    /// holds.
    near: SmallVec<[u8; NEAR]>,
    grants: Box<[Arc<Grant>]>,
    /// In order. Most subjects hold something in one or two places.
    places: SmallVec<[(PlaceKey, Held); 2]>,
    /// The projects among the places, if they are many.
    many: Option<Box<Bits>>,
}

/// The roles held in one place.
pub(super) enum Held {
    One(u32),
    Several(Box<Several>),
}

/// More than one role, or one that expires.
pub(super) struct Several {
    always: Box<[u32]>,
    /// `always` again, if they are many.
    bits: Option<Bits>,
    /// Roles held until an instant only, latest first.
    until: Box<[(i64, u32)]>,
}

impl Holdings {
    pub(super) fn is_of(&self, kind: SubjectKind, id: &str) -> bool {
        let Some((&letter, rest)) = self.near.split_first() else {
            return false;
        };
        letter == letter_of(kind) && rest == id.as_bytes()
    }

    pub(super) fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    pub(super) fn grants(&self) -> &[Arc<Grant>] {
        &self.grants
    }

    /// What is held at a place that is no project: on a cluster by its name, by its labels, and everywhere.
    pub(super) fn at<'h>(
        &'h self,
        at: PlaceKey,
        selectors: &'h Selectors,
    ) -> impl Iterator<Item = &'h Held> {
        let cluster = match at {
            PlaceKey::Cluster(id) => Some(id),
            PlaceKey::Global
            | PlaceKey::Everywhere
            | PlaceKey::Project(_)
            | PlaceKey::Selector(_) => None,
        };
        let everywhere = cluster.and_then(|_| self.everywhere());
        let selected = cluster.into_iter().flat_map(move |id| {
            self.selected()
                .iter()
                .filter_map(move |(key, held)| match key {
                    PlaceKey::Selector(selector) if selectors.selects(*selector, id) => Some(held),
                    PlaceKey::Selector(_)
                    | PlaceKey::Global
                    | PlaceKey::Everywhere
                    | PlaceKey::Cluster(_)
                    | PlaceKey::Project(_) => None,
                })
        });
        everywhere.into_iter().chain(self.find(at)).chain(selected)
    }

    /// What is held in one project.
    pub(super) fn in_project(&self, project: u32) -> Option<&Held> {
        self.find(PlaceKey::Project(project))
    }

    /// Every project where anything is held.
    pub(super) fn projects(&self) -> impl Iterator<Item = (u32, &Held)> {
        let from = self
            .places
            .partition_point(|(key, _)| *key < PlaceKey::Project(0));
        let to = self
            .places
            .partition_point(|(key, _)| *key < PlaceKey::Selector(0));
        let places = self.places.get(from..to).unwrap_or_default();
        places.iter().filter_map(|(key, held)| match key {
            PlaceKey::Project(project) => Some((*project, held)),
            PlaceKey::Global
            | PlaceKey::Everywhere
            | PlaceKey::Cluster(_)
            | PlaceKey::Selector(_) => None,
        })
    }

    /// Those of `projects` where anything is held.
    pub(super) fn in_projects<'h>(
        &'h self,
        projects: &'h Bits,
    ) -> impl Iterator<Item = (u32, &'h Held)> {
        let few = self.many.is_none().then(|| self.projects());
        let few = few.into_iter().flatten();
        let few = few.filter(|(project, _)| projects.contains(*project));
        let many = self.many.iter().flat_map(move |many| many.common(projects));
        let many = many.filter_map(|project| Some((project, self.in_project(project)?)));
        few.chain(many)
    }

    /// Everywhere comes first, or behind the gateway's own API.
    fn everywhere(&self) -> Option<&Held> {
        let mut first = self.places.iter().take(2);
        let found = first.find(|(key, _)| *key == PlaceKey::Everywhere);
        found.map(|(_, held)| held)
    }

    fn find(&self, at: PlaceKey) -> Option<&Held> {
        let index = self
            .places
            .binary_search_by_key(&at, |(key, _)| *key)
            .ok()?;
        self.places.get(index).map(|(_, held)| held)
    }

    /// The places that are selectors: the end of the list.
    fn selected(&self) -> &[(PlaceKey, Held)] {
        if !matches!(self.places.last(), Some((PlaceKey::Selector(_), _))) {
            return &[];
        }
        let from = self
            .places
            .partition_point(|(key, _)| *key < PlaceKey::Selector(0));
        self.places.get(from..).unwrap_or_default()
    }

    /// The holdings after some edits; `None` when nothing is left.
    pub(super) fn rebuilt(subject: &Arc<str>, old: Option<&Self>, edits: &Edits) -> Option<Self> {
        let gone: HashSet<*const Grant> = edits.dropped.iter().map(Arc::as_ptr).collect();
        let kept = old.map_or(&[][..], Self::grants);
        let grants: Box<[Arc<Grant>]> = kept
            .iter()
            .chain(&edits.added)
            .filter(|grant| gone.is_empty() || !gone.contains(&Arc::as_ptr(grant)))
            .cloned()
            .collect();
        if grants.is_empty() {
            return None;
        }
        let places = places_of(&grants);
        Some(Self {
            near: SmallVec::from_slice(subject.as_bytes()),
            subject: old.map_or(subject, Self::subject).clone(),
            many: many_projects(&places),
            places,
            grants,
        })
    }
}

impl Holdings {
    /// Grants, and places where something is held: one grant may be for thousands of clusters.
    pub(super) fn size(&self) -> usize {
        self.grants.len() + self.places.len()
    }

    /// What several subjects hold, as if one did. `None` if that is nothing.
    pub(super) fn together(each: &[&Self]) -> Option<Self> {
        let grants: Box<[Arc<Grant>]> = each
            .iter()
            .flat_map(|holdings| holdings.grants.iter().cloned())
            .collect();
        let first = each.first()?;
        let places = places_of(&grants);
        Some(Self {
            near: first.near.clone(),
            subject: Arc::clone(&first.subject),
            many: many_projects(&places),
            places,
            grants,
        })
    }
}

/// Groups grants by place; of the same role in the same place the latest end counts.
fn places_of(grants: &[Arc<Grant>]) -> SmallVec<[(PlaceKey, Held); 2]> {
    let mut all: Vec<(PlaceKey, u32, i64)> = grants
        .iter()
        .flat_map(|grant| {
            let places = grant.scope.places();
            places.map(|place| (place, grant.role, grant.expires_at))
        })
        .collect();
    all.sort_unstable_by_key(|&(place, role, end)| (place, role, std::cmp::Reverse(end)));
    all.dedup_by_key(|&mut (place, role, _)| (place, role));
    let each = all.chunk_by(|(a, ..), (b, ..)| a == b);
    let mut places: SmallVec<_> = each
        .filter_map(|roles| roles.first().map(|&(place, ..)| (place, Held::of(roles))))
        .collect();
    places.shrink_to_fit();
    places
}

fn many_projects(places: &[(PlaceKey, Held)]) -> Option<Box<Bits>> {
    let projects = places.iter().filter_map(|(key, _)| match key {
        PlaceKey::Project(project) => Some(*project),
        PlaceKey::Global | PlaceKey::Everywhere | PlaceKey::Cluster(_) | PlaceKey::Selector(_) => {
            None
        }
    });
    (projects.clone().count() > MANY_PROJECTS).then(|| Box::new(projects.collect()))
}

impl Held {
    fn of(roles: &[(PlaceKey, u32, i64)]) -> Self {
        if let [(_, role, NEVER)] = roles {
            return Self::One(*role);
        }
        let always: Box<[u32]> = roles
            .iter()
            .filter(|(.., end)| *end == NEVER)
            .map(|&(_, role, _)| role)
            .collect();
        let mut until: Box<[(i64, u32)]> = roles
            .iter()
            .filter(|(.., end)| *end != NEVER)
            .map(|&(_, role, end)| (end, role))
            .collect();
        until.sort_unstable_by_key(|&end_and_role| std::cmp::Reverse(end_and_role));
        let bits = (always.len() > MANY_ROLES).then(|| always.iter().copied().collect());
        Self::Several(Box::new(Several {
            always,
            bits,
            until,
        }))
    }

    /// A role held now that is among the allowing ones.
    pub(super) fn first_in(&self, allowing: &Allowing<'_>, now: i64) -> Option<u32> {
        match self {
            Self::One(role) => allowing.contains(*role).then_some(*role),
            Self::Several(several) => match &several.bits {
                Some(bits) => allowing.first_common(bits),
                None => several
                    .always
                    .iter()
                    .copied()
                    .find(|&role| allowing.contains(role)),
            }
            .or_else(|| {
                several
                    .live_until(now)
                    .find(|&role| allowing.contains(role))
            }),
        }
    }

    /// The roles held now.
    pub(super) fn live(&self, now: i64) -> impl Iterator<Item = u32> + '_ {
        let (one, several) = match self {
            Self::One(role) => (Some(*role), None),
            Self::Several(several) => (None, Some(several)),
        };
        one.into_iter()
            .chain(several.into_iter().flat_map(move |several| {
                several
                    .always
                    .iter()
                    .copied()
                    .chain(several.live_until(now))
            }))
    }
}

impl Several {
    /// A role whose end is `now` is held no more.
    fn live_until(&self, now: i64) -> impl Iterator<Item = u32> + '_ {
        self.until
            .iter()
            .take_while(move |(end, _)| now < *end)
            .map(|&(_, role)| role)
    }
}

/// Changes to subjects' grants that are not compiled yet.
#[derive(Default)]
pub(in crate::authz) struct Pending(HashMap<Arc<str>, Edits>);

/// Changes to one subject's grants.
#[derive(Default)]
pub(in crate::authz) struct Edits {
    added: Vec<Arc<Grant>>,
    dropped: Vec<Arc<Grant>>,
    /// How many were dropped when those that had been added here were last taken out.
    sifted: usize,
}

impl Edits {
    /// A drop. What was added and dropped again is taken out of both every now and then: while the store cannot be read
    /// to its end, each try brings all of it anew.
    fn drop(&mut self, grant: Arc<Grant>) {
        self.dropped.push(grant);
        if self.dropped.len() < 2 * self.sifted + SIFT {
            return;
        }
        let both = |kept: &mut Vec<Arc<Grant>>, other: &HashSet<*const Grant>| {
            kept.retain(|grant| !other.contains(&Arc::as_ptr(grant)));
        };
        let added = self.added.iter().map(Arc::as_ptr).collect();
        let dropped = self.dropped.iter().map(Arc::as_ptr).collect();
        both(&mut self.added, &dropped);
        both(&mut self.dropped, &added);
        self.sifted = self.dropped.len();
    }
}

impl Pending {
    /// The key of a subject that already has an edit, so that all its grants share one.
    pub(super) fn subject(&self, kind: SubjectKind, id: &str) -> Option<Arc<str>> {
        let key = subject_key(kind, id);
        self.0.get_key_value(&key).map(|(key, _)| Arc::clone(key))
    }

    /// Grants that are kept for later, in any way.
    #[cfg(test)]
    pub(in crate::authz) fn len(&self) -> usize {
        let each = self.0.values();
        each.map(|edits| edits.added.len() + edits.dropped.len())
            .sum()
    }

    pub(super) fn add_grant(&mut self, grant: Arc<Grant>) {
        self.edits(&grant).added.push(grant);
    }

    pub(super) fn drop_grant(&mut self, grant: Arc<Grant>) {
        self.edits(&grant).drop(grant);
    }

    fn edits(&mut self, grant: &Grant) -> &mut Edits {
        self.0.entry(Arc::clone(&grant.subject)).or_default()
    }
}

impl IntoIterator for Pending {
    type Item = (Arc<str>, Edits);
    type IntoIter = hashbrown::hash_map::IntoIter<Arc<str>, Edits>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What counts of a subject: its uid, or in a folder that has none its name.
pub(super) fn subject_id(subject: &Subject) -> &str {
    if subject.uid.is_empty() {
        &subject.name
    } else {
        &subject.uid
    }
}

/// Kind and id as one text: `u` or `g`, then the id.
pub(super) fn subject_key(kind: SubjectKind, id: &str) -> Arc<str> {
    format!("{}{id}", char::from(letter_of(kind))).into()
}

fn letter_of(kind: SubjectKind) -> u8 {
    match kind {
        SubjectKind::User => b'u',
        SubjectKind::Group => b'g',
    }
}

/// The reverse of [`subject_key`].
pub(super) fn split_key(key: &str) -> Option<(SubjectKind, &str)> {
    if let Some(id) = key.strip_prefix('u') {
        return Some((SubjectKind::User, id));
    }
    key.strip_prefix('g').map(|id| (SubjectKind::Group, id))
}

/// Nanoseconds since 1970; an instant after 2262 is [`NEVER`], one before 1677 long ago.
pub(super) fn instant(at: Timestamp) -> i64 {
    let nanoseconds = at.as_nanosecond();
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { NEVER })
}
