//! The groups of an account, those that it is in through others included.
//!
//! Active Directory says all of them in one attribute, as security ids; what those are called is asked in batches
//! and kept ([`Names`]). OpenLDAP is asked level by level, for groups that name what was found before, so a circle
//! ends where it began.

use super::{
    entry::{Entry, Malformed},
    failure::Failure,
    filter::{any, escaped, octets},
    pool::{Pool, Query},
};
use crate::{authn::providers::GroupRef, config::GroupLookup};
use ldap3::Scope;
use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Groups of one account: above what Active Directory puts into a Kerberos ticket (1,010), and a bound for what a
/// session holds.
pub const MAX_GROUPS: usize = 5_000;
/// Levels of groups in groups that are followed; deeper ones do not count.
pub const MAX_DEPTH: usize = 10;
/// Values of one filter. Directories bound a filter by its size; this stays below 16 KiB.
const BATCH: usize = 100;
/// Names that are kept; with more, all are asked again.
const MAX_NAMES: usize = 100_000;
/// Groups that give rights: with the bit of `groupType` that distribution groups do not have ([MS-ADTS] 2.2.12), by the
/// rule of all bits. `tokenGroups` holds no others either.
const SECURITY: &str = "(objectCategory=group)(groupType:1.2.840.113556.1.4.803:=2147483648)";
/// The rule of membership in a chain ([MS-ADTS] 3.1.1.3.4.4.3).
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

/// Groups by security id.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<Vec<u8>, (Instant, Known)>>);

/// What a security id is known to be.
#[derive(Clone)]
enum Known {
    Group(GroupRef),
    /// No group below the base.
    Nothing,
}

impl From<Option<GroupRef>> for Known {
    fn from(group: Option<GroupRef>) -> Self {
        group.map_or(Self::Nothing, Self::Group)
    }
}

impl Names {
    fn get(&self, sid: &[u8], life: Duration) -> Option<Known> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, name) = names.get(sid)?;
        (since.elapsed() < life).then(|| name.clone())
    }

    fn put(&self, sid: Vec<u8>, name: Known) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES {
            names.clear();
        }
        names.insert(sid, (Instant::now(), name));
    }
}

/// The groups of an account in Active Directory.
pub(super) async fn active_directory(
    pool: &Pool,
    names: (&Names, Duration),
    account: &Entry,
) -> Result<Vec<GroupRef>, Failure> {
    if pool.settings().group_lookup == GroupLookup::Auto {
        let sids = token_groups(pool, &account.dn).await?;
        // Everybody is in one at least: none is what an account sees that may not read it.
        if !sids.is_empty() {
            return resolve(pool, names, sids).await;
        }
    }
    in_chain(pool, account).await
}

async fn token_groups(pool: &Pool, dn: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut sids = Vec::new();
    let mut from = 0;
    loop {
        let ranged = format!("tokenGroups;range={from}-*");
        let attribute = if from == 0 { "tokenGroups" } else { &ranged };
        let found = pool
            .search(&Query {
                what: "groups of an account",
                base: dn,
                scope: Scope::Base,
                filter: "(objectClass=*)",
                attributes: &[attribute],
                most: 1,
            })
            .await?;
        let Some(entry) = found.first() else {
            return Err(Malformed("an account went away while it was read").into());
        };
        sids.extend_from_slice(entry.values("tokenGroups"));
        if sids.len() > MAX_GROUPS {
            return Err(too_many());
        }
        match entry.rest_of("tokenGroups") {
            Some(next) if next > from => from = next,
            Some(_) | None => return Ok(sids),
        }
    }
}

/// Names no older than this decide who may log in where groups are listed by name.
async fn resolve(
    pool: &Pool,
    (names, life): (&Names, Duration),
    sids: Vec<Vec<u8>>,
) -> Result<Vec<GroupRef>, Failure> {
    let mut groups = Vec::new();
    let mut unknown = Vec::new();
    for sid in sids {
        match names.get(&sid, life) {
            Some(Known::Group(group)) => groups.push(group),
            Some(Known::Nothing) => {}
            None => unknown.push(sid),
        }
    }
    for batch in unknown.chunks(BATCH) {
        let ids = batch
            .iter()
            .map(|sid| format!("(objectSid={})", octets(sid)));
        let filter = format!("(&(objectCategory=group){})", any(ids));
        let found = find(
            pool,
            &filter,
            &["objectGUID", "sAMAccountName", "objectSid"],
            BATCH,
        )
        .await?;
        let mut by_sid = HashMap::new();
        for entry in &found {
            let sid = entry
                .values("objectSid")
                .first()
                .cloned()
                .unwrap_or_default();
            by_sid.insert(sid, group_of(entry)?);
        }
        for sid in batch {
            let name = by_sid.remove(sid);
            names.put(sid.clone(), name.clone().into());
            groups.extend(name);
        }
    }
    Ok(groups)
}

async fn in_chain(pool: &Pool, account: &Entry) -> Result<Vec<GroupRef>, Failure> {
    const ATTRIBUTES: &[&str] = &["objectGUID", "sAMAccountName"];
    let chain = |dn: &str| format!("(&{SECURITY}(member:{IN_CHAIN}:={}))", escaped(dn));
    let mut found = find(pool, &chain(&account.dn), ATTRIBUTES, MAX_GROUPS).await?;
    // The primary group has no member attribute for it.
    if let Some(sid) = primary_group(account) {
        let filter = format!("(&{SECURITY}(objectSid={}))", octets(&sid));
        for primary in find(pool, &filter, ATTRIBUTES, 1).await? {
            found.extend(find(pool, &chain(&primary.dn), ATTRIBUTES, MAX_GROUPS).await?);
            found.push(primary);
        }
    }
    if found.len() > MAX_GROUPS {
        return Err(too_many());
    }
    Ok(found.iter().map(group_of).collect::<Result<_, _>>()?)
}

/// The account's own security id with its last part replaced ([MS-DTYP] 2.4.2.2).
fn primary_group(account: &Entry) -> Option<Vec<u8>> {
    let rid = u32::try_from(account.number("primaryGroupID")?).ok()?;
    let mut sid = account.values("objectSid").first()?.clone();
    let domain = sid.len().checked_sub(4)?;
    sid.truncate(domain);
    sid.extend(rid.to_le_bytes());
    Some(sid)
}

fn group_of(entry: &Entry) -> Result<GroupRef, Malformed> {
    let id = entry.guid("objectGUID");
    let id = id.ok_or(Malformed("a group without a readable objectGUID"))?;
    let name = entry.text("sAMAccountName");
    let name = name.ok_or(Malformed("a group without a readable sAMAccountName"))?;
    Ok(GroupRef {
        id: id.to_string().into(),
        name: name.into(),
    })
}

/// The groups of an account in OpenLDAP.
pub(super) async fn openldap(pool: &Pool, account: &Entry) -> Result<Vec<GroupRef>, Failure> {
    const ATTRIBUTES: &[&str] = &["entryUUID", "cn", "memberOf"];
    let by_attribute = pool.settings().group_lookup == GroupLookup::MemberOf;
    let mut groups = HashMap::new();
    let mut asked: HashSet<String> = HashSet::new();
    let mut level: Vec<String> = if by_attribute {
        account.texts("memberOf").map(str::to_owned).collect()
    } else {
        vec![account.dn.clone()]
    };
    let mut uid = account.text("uid").filter(|_| !by_attribute);
    for _ in 0..MAX_DEPTH {
        level.retain(|dn| asked.insert(dn.to_lowercase()));
        let mut next = Vec::new();
        for batch in level.chunks(BATCH / 2) {
            let dns = batch.iter().map(|dn| {
                if by_attribute {
                    format!("(entryDN={})", escaped(dn))
                } else {
                    format!("(member={0})(uniqueMember={0})", escaped(dn))
                }
            });
            // Groups of POSIX name their members by uid.
            let posix = uid
                .take()
                .map(|uid| format!("(memberUid={})", escaped(uid)));
            let filter = any(dns.chain(posix));
            for entry in find(pool, &filter, ATTRIBUTES, MAX_GROUPS).await? {
                let group = openldap_group(&entry)?;
                if groups.insert(group.id.clone(), group).is_some() {
                    continue;
                }
                if by_attribute {
                    next.extend(entry.texts("memberOf").map(str::to_owned));
                } else {
                    next.push(entry.dn);
                }
            }
            if groups.len() > MAX_GROUPS {
                return Err(too_many());
            }
        }
        level = next;
        if level.is_empty() {
            break;
        }
    }
    Ok(groups.into_values().collect())
}

fn openldap_group(entry: &Entry) -> Result<GroupRef, Malformed> {
    let id = entry.uuid("entryUUID");
    let id = id.ok_or(Malformed("a group without a readable entryUUID"))?;
    let name = entry.text("cn");
    let name = name.ok_or(Malformed("a group without a readable cn"))?;
    Ok(GroupRef {
        id: id.to_string().into(),
        name: name.into(),
    })
}

/// Groups of this name, or the one with this id: for whoever binds one.
pub(super) async fn named(
    pool: &Pool,
    active_directory: bool,
    name: &str,
) -> Result<Vec<GroupRef>, Failure> {
    /// More than one is too many already; people see some of them.
    const MOST: usize = 20;
    let id = uuid::Uuid::try_parse(name).ok();
    if active_directory {
        let which = match id {
            Some(id) => format!("(objectGUID={})", octets(&id.to_bytes_le())),
            None => format!("(sAMAccountName={})", escaped(name)),
        };
        let filter = format!("(&{SECURITY}{which})");
        let found = find(pool, &filter, &["objectGUID", "sAMAccountName"], MOST).await?;
        return Ok(found.iter().map(group_of).collect::<Result<_, _>>()?);
    }
    let which = match id {
        Some(id) => format!("(entryUUID={id})"),
        None => format!("(cn={})", escaped(name)),
    };
    let classes = ["groupOfNames", "groupOfUniqueNames", "posixGroup"];
    let classes = any(classes.map(|class| format!("(objectClass={class})")));
    let filter = format!("(&{classes}{which})");
    let found = find(pool, &filter, &["entryUUID", "cn"], MOST).await?;
    Ok(found.iter().map(openldap_group).collect::<Result<_, _>>()?)
}

async fn find(
    pool: &Pool,
    filter: &str,
    attributes: &[&str],
    most: usize,
) -> Result<Vec<Entry>, Failure> {
    pool.search(&Query {
        what: "groups",
        base: &pool.settings().group_base_dn,
        scope: Scope::Subtree,
        filter,
        attributes,
        most,
    })
    .await
}

fn too_many() -> Failure {
    Failure::TooMany {
        what: "groups of one account",
        most: MAX_GROUPS,
    }
}
