//! Projects, and the way from a namespace to the project that holds it.
//!
//! A name is looked up by hash; of globs only prefixes of a length that some glob of the cluster has, and below such
//! a prefix only suffixes of a length that stands with it: what is looked at is bounded by the length of a name, not
//! by the number of projects.
//!
//! What could go wrong: two projects that hold one namespace. A folder and the API refuse that; if it comes to be
//! all the same (two writers of two sources), such a namespace belongs to nobody, and [`super::Problem`] says so:
//! no choice is made in silence.

use super::super::bits::Bits;
use super::super::shards::ShardMap;
use super::targets::{Names, index};
use crate::objects::namespaces::{Pattern, can_be_held};
use crate::objects::{BindingSpec, Project};
use hashbrown::{DefaultHashBuilder, HashMap};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Projects by number; a project that only bindings know has no record.
#[derive(Clone, Default)]
pub(super) struct Projects {
    hasher: DefaultHashBuilder,
    /// Uids; names in a folder that has no uids.
    ids: Names,
    records: Arc<Vec<Option<Arc<Record>>>>,
    by_name: Arc<HashMap<Box<str>, u32>>,
    cells: ShardMap<Arc<Cell>>,
    clusters: Arc<HashMap<u32, Arc<OnCluster>>>,
}

/// One project.
pub(super) struct Record {
    pub(super) name: Box<str>,
    pub(super) cluster: u32,
    pub(super) namespaces: Box<[Pattern]>,
}

/// What one cluster has.
#[derive(Clone, Default)]
struct OnCluster {
    projects: Bits,
    /// How many prefixes of globs have which length.
    prefix_lengths: BTreeMap<usize, usize>,
}

/// Who claims what begins so.
#[derive(Clone)]
struct Cell {
    cluster: u32,
    text: Box<str>,
    entries: Entries,
}

#[derive(Clone)]
enum Entries {
    /// The text is a namespace's name.
    Name(Claims),
    /// It is what globs have before their `*`.
    Globs(Globs),
}

/// The globs with one prefix, by suffix.
#[derive(Clone, Default)]
struct Globs {
    by_suffix: HashMap<Box<str>, Claims>,
    /// How many of them have which length.
    lengths: BTreeMap<usize, usize>,
}

/// Numbers of projects; nearly always one.
type Claims = SmallVec<[u32; 2]>;

/// What is known of a namespace so far.
#[derive(Clone, Copy)]
enum Holder {
    Nobody,
    One(u32),
    Several,
}

impl Holder {
    fn with(self, claims: &[u32]) -> Self {
        claims.iter().fold(self, |holder, &project| match holder {
            Self::Nobody => Self::One(project),
            Self::One(before) if before == project => holder,
            Self::One(_) | Self::Several => Self::Several,
        })
    }
}

/// What counts of a project that an object names: its uid, or in a folder that has none its name.
pub(super) fn id_in(spec: &BindingSpec) -> &str {
    if spec.project_uid.is_empty() {
        &spec.project
    } else {
        &spec.project_uid
    }
}

fn id_of(project: &Project) -> &str {
    if project.metadata.uid.is_empty() {
        &project.metadata.name
    } else {
        &project.metadata.uid
    }
}

impl Projects {
    pub(super) fn id(&mut self, id: &str) -> u32 {
        self.ids.id(id)
    }

    pub(super) fn find(&self, id: &str) -> Option<u32> {
        self.ids.find(id)
    }

    /// The uid (or the name, in a folder).
    pub(super) fn uid(&self, project: u32) -> &str {
        self.ids.name(project)
    }

    pub(super) fn shared_uid(&self, project: u32) -> Option<Arc<str>> {
        self.ids.shared(project)
    }

    pub(super) fn record(&self, project: u32) -> Option<&Record> {
        self.records.get(index(project))?.as_deref()
    }

    pub(super) fn named(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (0..)
            .zip(self.records.iter())
            .filter_map(|(id, record)| record.as_deref().map(|record| (id, record)))
    }

    /// The projects of a cluster.
    pub(super) fn on(&self, cluster: u32) -> Option<&Bits> {
        self.clusters.get(&cluster).map(|on| &on.projects)
    }

    /// The one project that holds the namespace.
    pub(super) fn holding(&self, cluster: u32, namespace: &str) -> Option<u32> {
        let on = self.clusters.get(&cluster)?;
        let name = namespace.as_bytes();
        let mut holder = Holder::Nobody;
        if let Some(Entries::Name(claims)) = self.entries(cluster, name, true) {
            holder = holder.with(claims);
        }
        for &length in on.prefix_lengths.keys() {
            let Some((prefix, rest)) = name.split_at_checked(length) else {
                break;
            };
            if let Some(Entries::Globs(globs)) = self.entries(cluster, prefix, false) {
                holder = globs.matching(rest).fold(holder, Holder::with);
            }
        }
        match holder {
            // Last, because most requests are in no project; globs alone could hold what is not a name.
            Holder::One(project) if can_be_held(namespace) => Some(project),
            Holder::Nobody | Holder::One(_) | Holder::Several => None,
        }
    }

    fn entries(&self, cluster: u32, text: &[u8], is_name: bool) -> Option<&Entries> {
        let hash = self.hasher.hash_one((cluster, is_name, text));
        let cell = self
            .cells
            .get(hash, |cell| cell.is(cluster, text, is_name))?;
        Some(&cell.entries)
    }

    /// Puts a project in the place of the one of its name.
    pub(super) fn put(&mut self, project: &Project, cluster: u32) {
        self.remove(&project.metadata.name);
        let id = self.ids.id(id_of(project));
        let namespaces = project.spec.namespaces.iter();
        let record = Record {
            name: project.metadata.name.as_str().into(),
            cluster,
            // What is no entry at all holds nothing.
            namespaces: namespaces
                .filter_map(|text| Pattern::parse(text).ok())
                .collect(),
        };
        Arc::make_mut(&mut self.by_name).insert(record.name.clone(), id);
        self.on_mut(cluster).projects.insert(id);
        for pattern in &record.namespaces {
            self.claim(id, cluster, pattern, Edit::Enter);
        }
        self.set(id, Some(record));
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(id) = self.named(name) else {
            return;
        };
        Arc::make_mut(&mut self.by_name).remove(name);
        let Some(record) = self.records.get(index(id)).cloned().flatten() else {
            return;
        };
        for pattern in &record.namespaces {
            self.claim(id, record.cluster, pattern, Edit::Leave);
        }
        self.on_mut(record.cluster).projects.remove(id);
        self.set(id, None);
    }

    fn set(&mut self, id: u32, record: Option<Record>) {
        let all = Arc::make_mut(&mut self.records);
        if all.len() <= index(id) {
            all.resize(index(id) + 1, None);
        }
        if let Some(slot) = all.get_mut(index(id)) {
            *slot = record.map(Arc::new);
        }
    }

    fn on_mut(&mut self, cluster: u32) -> &mut OnCluster {
        let on = Arc::make_mut(&mut self.clusters)
            .entry(cluster)
            .or_default();
        Arc::make_mut(on)
    }

    /// Enters a claim of a project, or takes it back.
    fn claim(&mut self, project: u32, cluster: u32, pattern: &Pattern, edit: Edit) {
        let (text, is_name) = match pattern {
            Pattern::Name(name) => (name, true),
            Pattern::Glob { prefix, .. } => (prefix, false),
        };
        let hash = self.hasher.hash_one((cluster, is_name, text.as_bytes()));
        let is = |cell: &Arc<Cell>| cell.is(cluster, text.as_bytes(), is_name);
        let old = self.cells.remove(hash, is);
        let had = old.is_some();
        let mut cell = old.unwrap_or_else(|| {
            Arc::new(Cell {
                cluster,
                text: text.clone(),
                entries: match pattern {
                    Pattern::Name(_) => Entries::Name(Claims::new()),
                    Pattern::Glob { .. } => Entries::Globs(Globs::default()),
                },
            })
        });
        let has = match (&mut Arc::make_mut(&mut cell).entries, pattern) {
            (Entries::Name(claims), _) => {
                edit.apply(claims, project);
                !claims.is_empty()
            }
            (Entries::Globs(globs), Pattern::Glob { suffix, .. }) => {
                globs.edit(suffix, project, edit);
                !globs.by_suffix.is_empty()
            }
            // A cell of globs is looked up for globs alone.
            (Entries::Globs(_), Pattern::Name(_)) => had,
        };
        if has {
            let hasher = &self.hasher;
            let hash_of = |cell: &Arc<Cell>| {
                hasher.hash_one((cell.cluster, cell.is_name(), cell.text.as_bytes()))
            };
            self.cells.put(hash, is, hash_of, cell);
        }
        if !is_name && had != has {
            count(&mut self.on_mut(cluster).prefix_lengths, text.len(), edit);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Edit {
    Enter,
    Leave,
}

impl Edit {
    fn apply(self, claims: &mut Claims, project: u32) {
        match self {
            Self::Enter => claims.push(project),
            // An entry that a project has twice is claimed twice.
            Self::Leave => {
                if let Some(at) = claims.iter().position(|&claim| claim == project) {
                    claims.remove(at);
                }
            }
        }
    }
}

fn count(lengths: &mut BTreeMap<usize, usize>, length: usize, edit: Edit) {
    let number = lengths.entry(length).or_default();
    *number = match edit {
        Edit::Enter => *number + 1,
        Edit::Leave => number.saturating_sub(1),
    };
    lengths.retain(|_, number| *number > 0);
}

impl Cell {
    fn is(&self, cluster: u32, text: &[u8], is_name: bool) -> bool {
        self.cluster == cluster && self.is_name() == is_name && self.text.as_bytes() == text
    }

    fn is_name(&self) -> bool {
        matches!(self.entries, Entries::Name(_))
    }
}

impl Globs {
    /// The claims of those globs whose suffix `rest` ends with.
    fn matching<'g>(&'g self, rest: &'g [u8]) -> impl Iterator<Item = &'g [u32]> {
        let lengths = self.lengths.keys().copied();
        lengths
            .take_while(|&length| length <= rest.len())
            .filter_map(|length| {
                let (_, suffix) = rest.split_at_checked(rest.len() - length)?;
                let suffix = std::str::from_utf8(suffix).ok()?;
                self.by_suffix.get(suffix).map(SmallVec::as_slice)
            })
    }

    fn edit(&mut self, suffix: &str, project: u32, edit: Edit) {
        let had = self.by_suffix.contains_key(suffix);
        let claims = self.by_suffix.entry_ref(suffix).or_default();
        edit.apply(claims, project);
        let has = !claims.is_empty();
        if !has {
            self.by_suffix.remove(suffix);
        }
        if had != has {
            count(&mut self.lengths, suffix.len(), edit);
        }
    }
}
