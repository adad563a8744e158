//! Roles, what they inherit, and the three tables that their rules are entered in, one per scope.

use super::super::bits::Bits;
use super::super::table::Table;
use super::BASIC;
use super::targets::{Names, index};
use crate::objects::rules::PolicyRule;
use crate::objects::{RoleScope, RoleSpec};
use std::sync::Arc;

/// All roles by number; a name that only bindings or heirs know has no record.
#[derive(Clone, Default)]
pub(super) struct Roles {
    names: Names,
    records: Arc<Vec<Option<Arc<Role>>>>,
    global: Table,
    cluster: Table,
    project: Table,
    basic: Option<u32>,
}

/// One role with its inheritance resolved.
#[derive(Clone)]
pub(super) struct Role {
    pub(super) spec: Arc<RoleSpec>,
    /// Everything that it inherits from, at any depth, whether it exists or not.
    reach: Bits,
    /// The roles whose rules it has: itself first. Empty if it is circular.
    pub(super) flat: Box<[u32]>,
}

impl Roles {
    pub(super) fn id(&mut self, name: &str) -> u32 {
        self.names.id(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    pub(super) fn name(&self, id: u32) -> &str {
        self.names.name(id)
    }

    pub(super) fn shared_name(&self, id: u32) -> Option<Arc<str>> {
        self.names.shared(id)
    }

    pub(super) fn record(&self, id: u32) -> Option<&Role> {
        record(&self.records, id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Role)> {
        (0..)
            .zip(self.records.iter())
            .filter_map(|(id, role)| role.as_deref().map(|role| (id, role)))
    }

    pub(super) fn is_circular(&self, id: u32) -> bool {
        self.record(id).is_some_and(|role| role.reach.contains(id))
    }

    pub(super) fn table(&self, scope: RoleScope) -> &Table {
        match scope {
            RoleScope::Global => &self.global,
            RoleScope::Cluster => &self.cluster,
            RoleScope::Project => &self.project,
        }
    }

    /// The role that every holder of a grant on a cluster has there too.
    pub(super) fn basic(&self) -> Option<u32> {
        self.basic
    }

    /// A role counts where its scope is, if it exists and is not circular.
    pub(super) fn counts(&self, id: u32, scope: RoleScope) -> bool {
        self.record(id)
            .is_some_and(|role| role.spec.scope == scope && !role.reach.contains(id))
    }

    /// The rules of a role, its own and inherited ones, each with the role that it comes from.
    pub(super) fn rules<'r>(
        &'r self,
        role: &'r Role,
    ) -> impl Iterator<Item = (u32, usize, &'r PolicyRule)> {
        role.flat.iter().flat_map(|&from| {
            let rules = self.record(from).map(|role| role.spec.rules.iter());
            rules
                .into_iter()
                .flatten()
                .enumerate()
                .map(move |(at, rule)| (from, at, rule))
        })
    }

    /// Puts or removes a role, and resolves again it and those that inherit from it.
    pub(super) fn put(&mut self, name: &str, spec: Option<&RoleSpec>) {
        let id = self.names.id(name);
        for parent in spec.iter().flat_map(|spec| &spec.inherits) {
            self.names.id(parent);
        }
        if name == BASIC {
            self.basic = Some(id);
        }
        let mut affected: Vec<u32> = self
            .iter()
            .filter(|(other, role)| *other != id && role.reach.contains(id))
            .map(|(other, _)| other)
            .collect();
        affected.push(id);

        let before = self.clone();
        for &role in &affected {
            self.leave_table(role, &before);
        }
        self.set(
            id,
            spec.map(|spec| Role {
                spec: Arc::new(spec.clone()),
                reach: Bits::default(),
                flat: Box::default(),
            }),
        );
        // Reach first, of all: whether a parent is circular decides what its heirs have.
        for &role in &affected {
            let reach = self.reach_of(role);
            self.update(role, |record| record.reach = reach);
        }
        for &role in &affected {
            let flat = self.flat_of(role);
            self.update(role, |record| record.flat = flat);
            self.enter_table(role);
        }
    }

    fn leave_table(&mut self, id: u32, before: &Self) {
        if let Some(role) = before.record(id) {
            let rules = before.rules(role).map(|(.., rule)| rule);
            self.table_mut(role.spec.scope).remove(id, rules);
        }
    }

    fn enter_table(&mut self, id: u32) {
        let records = Arc::clone(&self.records);
        let Some(role) = record(&records, id) else {
            return;
        };
        let rules = role
            .flat
            .iter()
            .filter_map(|&from| record(&records, from))
            .flat_map(|role| role.spec.rules.iter());
        self.table_mut(role.spec.scope).add(id, rules);
    }

    fn table_mut(&mut self, scope: RoleScope) -> &mut Table {
        match scope {
            RoleScope::Global => &mut self.global,
            RoleScope::Cluster => &mut self.cluster,
            RoleScope::Project => &mut self.project,
        }
    }

    fn reach_of(&self, id: u32) -> Bits {
        let mut reach = Bits::default();
        let mut next = vec![id];
        while let Some(role) = next.pop() {
            for parent in self.parents(role) {
                if !reach.contains(parent) {
                    reach.insert(parent);
                    next.push(parent);
                }
            }
        }
        reach
    }

    /// Itself and its parents at any depth, without what is missing, circular or of another scope.
    fn flat_of(&self, id: u32) -> Box<[u32]> {
        let Some(scope) = self.record(id).map(|role| role.spec.scope) else {
            return Box::default();
        };
        let usable = |role: u32| {
            self.record(role)
                .is_some_and(|record| record.spec.scope == scope && !record.reach.contains(role))
        };
        let mut flat = Vec::new();
        let mut seen = Bits::default();
        let mut next = vec![id];
        while let Some(role) = next.pop() {
            if seen.contains(role) || !usable(role) {
                continue;
            }
            seen.insert(role);
            flat.push(role);
            next.extend(self.parents(role));
        }
        flat.into()
    }

    fn parents(&self, id: u32) -> impl Iterator<Item = u32> + '_ {
        self.record(id)
            .into_iter()
            .flat_map(|role| &role.spec.inherits)
            .filter_map(|name| self.names.find(name))
    }

    fn set(&mut self, id: u32, role: Option<Role>) {
        let all = Arc::make_mut(&mut self.records);
        if all.len() <= index(id) {
            all.resize(index(id) + 1, None);
        }
        if let Some(slot) = all.get_mut(index(id)) {
            *slot = role.map(Arc::new);
        }
    }

    fn update(&mut self, id: u32, edit: impl FnOnce(&mut Role)) {
        let slot = Arc::make_mut(&mut self.records).get_mut(index(id));
        if let Some(Some(role)) = slot {
            edit(Arc::make_mut(role));
        }
    }
}

fn record(records: &[Option<Arc<Role>>], id: u32) -> Option<&Role> {
    records.get(index(id))?.as_deref()
}
