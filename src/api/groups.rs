//! Local groups. Members are named by people and counted by uid: a name is resolved once, when it is
//! written.

use super::admins::{self, Loss};
use super::authority::{Authority, Lasts};
use super::bound;
use super::cascade::{self, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::resource::{Context, Resource};
use super::table::{self, Column};
use crate::authz::folder::Standing;
use crate::objects::{Group, Kind, Member, Stored, SubjectKind, User};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// Members of one group: the group is one value of the store, some 100 bytes a member.
const MAX_MEMBERS: usize = 5_000;

impl Resource for Group {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The group's name"),
        Column::shown("Display Name", "For people to read"),
        Column::shown("Members", "Number of members"),
        Column::shown("Age", "Time since the group was made"),
        Column::wide("Users", "Handles of the members"),
        Column::wide("Uid", "What bindings name the group by"),
    ];

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            self.metadata.name.as_str().into(),
            table::or_none(&self.spec.display_name),
            self.spec.members.len().to_string().into(),
            table::age(self, now),
            table::joined(self.spec.members.iter().map(|m| m.name.as_str())),
            self.metadata.uid.as_str().into(),
        ]
    }

    async fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        draft.check_text("spec.displayName", &self.spec.display_name);
        resolve(cx, &mut self.spec.members, &[], draft).await?;
        self.guard_new(cx, draft).await?;
        Ok(Self::Private::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        draft.check_text("spec.displayName", &self.spec.display_name);
        resolve(cx, &mut self.spec.members, &old.object.spec.members, draft).await?;
        if self.spec.members != old.object.spec.members {
            let was = &old.object.spec.members;
            let adds = self.spec.members.iter().any(|member| !was.contains(member));
            let lasts = if adds { Lasts::ForGood } else { Lasts::Now };
            self.guard(cx, draft, lasts).await?;
        }
        let stays = |m: &Member| self.spec.members.contains(m);
        if !old.object.spec.members.iter().all(stays) {
            let loss = Loss::Members(&old.object.metadata.uid, &self.spec.members);
            let object = ObjectRef::of::<Self>(&self.metadata.name);
            admins::guard(cx, draft, &loss, object).await?;
        }
        Ok(Self::Private::default())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        self.guard(cx, draft, Lasts::Now).await?;
        bound::forget(draft, &self.metadata.uid);
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        let loss = Loss::Members(&self.metadata.uid, &[]);
        admins::guard(cx, draft, &loss, object).await?;
        cx.bury(self, draft).await?;
        cascade::of_group(&Hands::of(cx.api), self)
            .await?
            .fill(draft);
        Ok(())
    }

    async fn sweep(&self, hands: &Hands) -> Result<(), ApiError> {
        let key = Self::key(&self.metadata.name);
        while cascade::of_group(hands, self)
            .await?
            .write(hands, &key)
            .await?
        {}
        Ok(())
    }
}

impl Group {
    /// Bindings of the policy folder wait for a group of a name: who makes it with members gives them all of those.
    async fn guard_new(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        if self.spec.members.is_empty() {
            return Ok(());
        }
        let authority = Authority::of(cx, ObjectRef::of::<Self>(&self.metadata.name));
        for placed in cx.api.authz.folder().bindings.values() {
            let subject = &placed.binding.spec.subject;
            let waits = subject.kind == SubjectKind::Group
                && subject.name == self.metadata.name
                && placed.standing == Standing::Nobody;
            if waits {
                authority.must_hold(draft, &placed.binding.spec).await?;
            }
        }
        Ok(())
    }

    /// Who is in a group holds what the group is bound to: who says who is must hold it too.
    async fn guard(
        &self,
        cx: &Context<'_>,
        draft: &mut Draft,
        lasts: Lasts,
    ) -> Result<(), ApiError> {
        let authority = Authority::of(cx, ObjectRef::of::<Self>(&self.metadata.name));
        let uid = &self.metadata.uid;
        authority
            .must_hold_all_of(draft, (SubjectKind::Group, uid), lasts)
            .await
    }
}

/// Fills the uids of members. Who was a member stays who they were, also if they are gone by now.
async fn resolve(
    cx: &Context<'_>,
    members: &mut [Member],
    old: &[Member],
    draft: &mut Draft,
) -> Result<(), ApiError> {
    if members.len() > MAX_MEMBERS {
        draft.wrong(Mistake::too_many(
            "spec.members",
            members.len(),
            MAX_MEMBERS,
        ));
        return Ok(());
    }
    let old: HashMap<&str, &str> = old
        .iter()
        .map(|m| (m.name.as_str(), m.uid.as_str()))
        .collect();
    let mut seen = std::collections::HashSet::new();
    for (index, member) in members.iter_mut().enumerate() {
        let field = format!("spec.members[{index}].name");
        if !seen.insert(member.name.clone()) {
            draft.wrong(Mistake::duplicate(field, &member.name));
            continue;
        }
        if let Some(uid) = old.get(member.name.as_str())
            && (member.uid.is_empty() || member.uid == *uid)
        {
            (*uid).clone_into(&mut member.uid);
            continue;
        }
        let Some((user, found)) = cx.load::<User>(&member.name).await? else {
            draft.wrong(Mistake::not_found(field, &member.name));
            continue;
        };
        draft.refers_to(&found);
        fill_uid(
            draft,
            &format!("spec.members[{index}].uid"),
            &mut member.uid,
            &user.object.metadata.uid,
        );
    }
    Ok(())
}

/// Fills a uid that stands beside a name; one that was given must be the right one.
pub(super) fn fill_uid(draft: &mut Draft, field: &str, given: &mut String, found: &str) {
    if given.is_empty() {
        found.clone_into(given);
    } else if given != found {
        draft.wrong(Mistake::invalid(
            field,
            given,
            "the name belongs to another uid now; leave the uid out to take the name as it is today",
        ));
    }
}
