//! Ids and names in lists of who may log in.

use super::{GroupRef, github};
use crate::config;

/// What ids look like at a provider. A listed text that looks so is compared with ids alone: whoever may choose a name
/// could else be called like somebody's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// A directory's.
    Uuids,
    /// GitHub's.
    Numbers {
        /// Which one's: accounts are listed by number, and are what they are at this server.
        url: String,
    },
    /// An OpenID provider's. Its groups have no id but their name, which is compared to the letter.
    Hashes,
}

impl Ids {
    /// Those of this provider.
    pub fn of(source: &config::Source) -> Self {
        match source {
            config::Source::Ldap(_) => Self::Uuids,
            config::Source::Github(github) => Self::Numbers {
                url: github.url.clone(),
            },
            config::Source::Oidc(_) => Self::Hashes,
        }
    }

    /// Whether a listed text means this account.
    pub(super) fn is_user(&self, listed: &str, name: &str, id: &str) -> bool {
        let is_id = match self {
            Self::Uuids => is_uuid(listed),
            Self::Numbers { url } if is_number(listed) => {
                return github::account_id(url, listed) == id;
            }
            Self::Numbers { .. } => false,
            Self::Hashes => listed.len() == 64 && listed.bytes().all(|it| it.is_ascii_hexdigit()),
        };
        if is_id {
            listed.eq_ignore_ascii_case(id)
        } else {
            listed.to_lowercase() == name.to_lowercase()
        }
    }

    /// Whether a listed text means this group.
    pub(super) fn is_group(&self, listed: &str, group: &GroupRef) -> bool {
        let is_id = match self {
            Self::Uuids => is_uuid(listed),
            Self::Numbers { .. } => github::looks_like_group_id(listed),
            Self::Hashes => return listed == &*group.id,
        };
        if is_id {
            listed.eq_ignore_ascii_case(&group.id)
        } else {
            listed.to_lowercase() == group.name.to_lowercase()
        }
    }
}

fn is_uuid(text: &str) -> bool {
    // As ids are written: with hyphens, and without braces.
    text.len() == uuid::fmt::Hyphenated::LENGTH && uuid::Uuid::try_parse(text).is_ok()
}

/// Whether it has digits and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authn::providers::Record,
        config::{Access, AccessMode},
        objects::Member,
        status::clock,
    };

    /// Whether an account of this name and id, in a group of this name and id, may log in where this is listed.
    fn listed(ids: &Ids, user: (&str, &str), group: (&str, &str), text: &str) -> (bool, bool) {
        let groups = vec![GroupRef {
            id: group.1.into(),
            name: group.0.into(),
        }];
        let record = Record::new(Member::default(), user.0, groups, clock::now());
        let access = |users: &[&str], groups: &[&str]| Access {
            mode: AccessMode::Restricted,
            users: users.iter().map(ToString::to_string).collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
        };
        (
            record.is_listed(user.1, &access(&[text], &[]), ids),
            record.is_listed(user.1, &access(&[], &[text]), ids),
        )
    }

    // L6
    #[test]
    fn nobody_is_let_in_who_is_called_like_the_id_of_somebody_listed() {
        let hash = "0a".repeat(32);
        let uuid = "0b8f5ab4-1f6e-4dd6-a7b3-000000000001";
        let hub = || Ids::Numbers {
            url: "https://github.com".to_owned(),
        };
        for (ids, id, group) in [
            (hub(), "583231", "org-11"),
            (hub(), "583231", "team-7"),
            (Ids::Hashes, &*hash, "ops"),
            (Ids::Uuids, uuid, uuid),
        ] {
            let is = |user, of, text| listed(&ids, user, of, text);
            // By id, and by name in another case.
            assert!(is(("jane", id), ("acme", group), id).0, "{ids:?}");
            assert!(is(("jane", id), ("acme", group), "Jane").0, "{ids:?}");
            assert!(is(("jane", id), (group, group), group).1, "{ids:?}");
            // Somebody else, who is called so.
            assert!(!is((id, "8"), ("acme", "9"), id).0, "{ids:?}");
            let (name, text) = (group.to_uppercase(), group);
            assert!(!is(("x", "8"), (&name, "org-9"), text).1, "{ids:?}");
        }
        let group = ("Acme", "org-11");
        assert!(listed(&hub(), ("x", "8"), group, "acme").1);
        assert!(listed(&hub(), ("x", "8"), group, "ORG-11").1);
        // At another server it is another one's number.
        let corp = Ids::Numbers {
            url: "https://git.corp.example:8443".to_owned(),
        };
        let at_corp = "583231@git.corp.example:8443";
        let group = ("acme", "org-11");
        assert!(listed(&corp, ("jane", at_corp), group, "583231").0);
        assert!(!listed(&hub(), ("jane", at_corp), group, "583231").0);
        assert!(!listed(&corp, ("jane", "583231"), group, "583231").0);
        // Two groups at an OpenID provider.
        assert!(!listed(&Ids::Hashes, ("x", "8"), ("Ops", "Ops"), "ops").1);
    }
}
