//! An LDAP directory: Active Directory or OpenLDAP, by one way through both.
//!
//! An account is found by what was typed, with the search account; then its own password is tried, on a
//! connection of its own; then its groups and state are read. Everything is told apart by immutable ids
//! (`objectGUID`, `entryUUID`); names are for people.
//!
//! What an attacker would try: an empty password, with which many directories let everybody in as nobody (it never
//! gets here: [`is_no_password`]); a name that means something in a filter ([`filter`]); a name that finds somebody
//! else's account (two that are found are nobody); listening in, or sending us elsewhere ([`connect`]); an answer
//! without end (entries, groups and times are bounded).
//!
//! Outcomes are three: yes, no, and [`Failure`], which is neither.

mod connect;
mod entry;
mod failure;
mod filter;
mod groups;
mod pool;
mod servers;
mod standing;
mod starttls;

pub use failure::Failure;
pub use groups::{MAX_DEPTH, MAX_GROUPS};

use super::{GroupRef, Standing};
use crate::{
    config::{DirectoryKind, Ldap as Settings},
    status::clock,
};
use entry::{Entry, Malformed};
use filter::{any, escaped, octets};
use groups::Names;
use ldap3::Scope;
use pool::{Pool, Query};
use std::collections::HashMap;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The name or the password is wrong, or the account must not log in (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
/// Characters of a typed name: a UPN has 1,024 at most, and people's have fewer than a hundred.
const MAX_LOGIN: usize = 256;
/// Accounts that are read again by one search.
pub const BATCH: usize = 50;
/// A DN that is no account's: what a password is tried on where nothing was found.
const NOBODY: &str = "cn=nobody-by-this-name";

/// A directory, with the connections to it.
pub struct Directory {
    pool: Pool,
    names: Names,
    /// The short name of an Active Directory domain, once it was asked for.
    domain: OnceCell<Option<String>>,
}

/// An account as the directory has it.
#[derive(Debug)]
pub struct Found {
    /// Immutable.
    pub id: Box<str>,
    /// What the account is called.
    pub name: Box<str>,
    /// What a new user's handle is made of.
    pub handle: Box<str>,
    /// For people; possibly empty.
    pub display_name: String,
    /// Its state.
    pub standing: Standing,
    entry: Entry,
}

impl Found {
    /// Its distinguished name.
    pub fn dn(&self) -> &str {
        &self.entry.dn
    }
}

/// What a password came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is the account's.
    Right,
    /// It is not, or the account must not log in: in words for the log.
    Refused(&'static str),
}

/// Whether a text is not taken for a password at all. A directory takes a bind with an empty one for an anonymous
/// bind, which succeeds (RFC 4513, section 5.1.2); some cut at a NUL, and some trim (L1 of docs/attacks.md).
pub fn is_no_password(text: &str) -> bool {
    text.contains('\0') || text.trim().is_empty()
}

impl Directory {
    /// A directory with these settings; nothing is dialled yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            pool: Pool::new(settings),
            names: Names::default(),
            domain: OnceCell::new(),
        }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        self.pool.settings()
    }

    /// Reads the files that the settings name: what is wrong with them is better known before they count.
    pub fn check_files(settings: &Settings) -> Result<(), Failure> {
        connect::tls(settings.ca_file.as_deref())?;
        connect::password(&settings.bind_password_file)?;
        Ok(())
    }

    /// The account that somebody means who types this; none also where it could be several.
    pub async fn find(&self, login: &str) -> Result<Option<Found>, Failure> {
        let Some(filter) = self.login_filter(login).await? else {
            return Ok(None);
        };
        let settings = self.settings();
        let mut found = self.accounts(&filter, 2).await?;
        // A name may be one account's own and another's by its form alone: the own one counts.
        if found.len() > 1 && settings.login_filter.is_none() {
            found.retain(|entry| {
                let own = entry.text("userPrincipalName");
                own.is_some_and(|own| own.to_lowercase() == login.to_lowercase())
            });
        }
        match (found.pop(), found.pop()) {
            (Some(entry), None) => Ok(Some(self.read(entry)?)),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => {
                tracing::warn!(
                    "a name was typed that is that of several accounts: nobody logs in by it"
                );
                Ok(None)
            }
        }
    }

    /// Tries an account's password, or, so that it takes the same time, nobody's.
    pub async fn try_password(
        &self,
        account: Option<&Found>,
        password: &str,
    ) -> Result<Tried, Failure> {
        // The caller has asked; here it is what stands between a stranger and an anonymous bind.
        if is_no_password(password) {
            return Ok(Tried::Refused("no password"));
        }
        let nobody = || format!("{NOBODY},{}", self.settings().base_dn);
        let dn = account.map_or_else(nobody, |account| account.entry.dn.clone());
        let result = self.pool.try_password(&dn, password).await?;
        match result.rc {
            0 if account.is_some() => Ok(Tried::Right),
            INVALID_CREDENTIALS => Ok(Tried::Refused(standing::why_refused(&result.text))),
            // Whatever is said to nobody is a no.
            _ if account.is_none() => Ok(Tried::Refused("unknown user")),
            _ => Err(Failure::answer("a login", result)),
        }
    }

    /// The account's groups.
    pub async fn groups(&self, account: &Found) -> Result<Vec<GroupRef>, Failure> {
        match self.settings().directory {
            DirectoryKind::ActiveDirectory => {
                groups::active_directory(&self.pool, &self.names, &account.entry).await
            }
            DirectoryKind::Openldap => groups::openldap(&self.pool, &account.entry).await,
        }
    }

    /// The accounts with these ids, as many as are still there: at most [`BATCH`].
    pub async fn by_ids(&self, ids: &[&str]) -> Result<HashMap<Box<str>, Found>, Failure> {
        let ids: Vec<Uuid> = ids
            .iter()
            .filter_map(|id| Uuid::try_parse(id).ok())
            .collect();
        let filter = any(ids.iter().map(|id| match self.settings().directory {
            DirectoryKind::ActiveDirectory => format!("(objectGUID={})", octets(&id.to_bytes_le())),
            DirectoryKind::Openldap => format!("(entryUUID={id})"),
        }));
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let found = self.accounts(&filter, BATCH.max(ids.len())).await?;
        let found = found.into_iter().map(|entry| {
            let found = self.read(entry)?;
            Ok((found.id.clone(), found))
        });
        found.collect()
    }

    /// Groups with this name, or the one with this id.
    pub async fn groups_named(&self, name: &str) -> Result<Vec<GroupRef>, Failure> {
        let active_directory = self.settings().directory == DirectoryKind::ActiveDirectory;
        groups::named(&self.pool, active_directory, name).await
    }

    async fn accounts(&self, filter: &str, most: usize) -> Result<Vec<Entry>, Failure> {
        let settings = self.settings();
        let mut attributes: Vec<&str> = match settings.directory {
            DirectoryKind::ActiveDirectory => vec![
                "objectGUID",
                "objectSid",
                "primaryGroupID",
                "sAMAccountName",
                "userPrincipalName",
                "displayName",
            ],
            DirectoryKind::Openldap => vec!["entryUUID", "uid", "cn", "displayName", "memberOf"],
        };
        attributes.extend(standing::attributes(settings.directory));
        attributes.push(&settings.handle_attribute);
        let query = Query {
            what: "accounts",
            base: &settings.user_base_dn,
            scope: Scope::Subtree,
            filter,
            attributes: &attributes,
            most,
        };
        self.pool.search(&query).await
    }

    fn read(&self, entry: Entry) -> Result<Found, Malformed> {
        let settings = self.settings();
        let (id, name) = match settings.directory {
            DirectoryKind::ActiveDirectory => (entry.guid("objectGUID"), "sAMAccountName"),
            DirectoryKind::Openldap => (entry.uuid("entryUUID"), "uid"),
        };
        let id = id.ok_or(Malformed(
            "an account without a readable id (objectGUID, entryUUID)",
        ))?;
        let handle = entry.text(&settings.handle_attribute).unwrap_or_default();
        let display_name = entry.text("displayName").or_else(|| entry.text("cn"));
        Ok(Found {
            id: id.to_string().into(),
            name: entry.text(name).unwrap_or(handle).into(),
            handle: handle.to_lowercase().into(),
            display_name: display_name.unwrap_or_default().to_owned(),
            standing: standing::standing(settings.directory, &entry, clock::now())?,
            entry,
        })
    }

    /// What finds the account that is meant; none if no account can be called so.
    async fn login_filter(&self, login: &str) -> Result<Option<String>, Failure> {
        // Blanks at the ends are skipped by a directory's own comparison: one account has one spelling (L3).
        let odd = login.is_empty()
            || login.len() > MAX_LOGIN
            || login.trim() != login
            || login.chars().any(char::is_control);
        if odd {
            return Ok(None);
        }
        let settings = self.settings();
        let typed = escaped(login);
        if let Some(filter) = &settings.login_filter {
            return Ok(Some(filter.replace("{login}", &typed)));
        }
        if settings.directory == DirectoryKind::Openldap {
            return Ok(Some(format!("(&(objectClass=person)(uid={typed}))")));
        }
        let of_person = |which: String| {
            Some(format!(
                "(&(objectCategory=person)(objectClass=user){which})"
            ))
        };
        if let Some((domain, name)) = login.split_once('\\') {
            let own = self.short_domain().await?;
            let is_ours = own.is_some_and(|own| own.eq_ignore_ascii_case(domain));
            let which = format!("(sAMAccountName={})", escaped(name));
            return Ok(is_ours.then(|| of_person(which)).flatten());
        }
        if let Some((name, domain)) = login.rsplit_once('@') {
            // Every account also has the name of its domain behind its own, written down or not.
            let ours = dns_name(&settings.base_dn).eq_ignore_ascii_case(domain);
            let implied = ours.then(|| format!("(sAMAccountName={})", escaped(name)));
            let own = format!("(userPrincipalName={typed})");
            return Ok(of_person(any(std::iter::once(own).chain(implied))));
        }
        Ok(of_person(format!("(sAMAccountName={typed})")))
    }

    /// `CORP`, as the directory's own list of its domains has it.
    async fn short_domain(&self) -> Result<Option<&str>, Failure> {
        let asked = self.domain.get_or_try_init(|| self.ask_short_domain());
        Ok(asked.await?.as_deref())
    }

    async fn ask_short_domain(&self) -> Result<Option<String>, Failure> {
        const CONFIGURATION: &str = "configurationNamingContext";
        let root = self
            .one("", "(objectClass=*)", Scope::Base, &[CONFIGURATION])
            .await?;
        let Some(configuration) = root.as_ref().and_then(|it| it.text(CONFIGURATION)) else {
            return Ok(None);
        };
        let base = format!("CN=Partitions,{configuration}");
        let domain = escaped(domain_dn(&self.settings().base_dn));
        let filter = format!("(&(objectClass=crossRef)(nETBIOSName=*)(nCName={domain}))");
        let found = self
            .one(&base, &filter, Scope::OneLevel, &["nETBIOSName"])
            .await?;
        Ok(found.and_then(|it| it.text("nETBIOSName").map(str::to_owned)))
    }

    async fn one(
        &self,
        base: &str,
        filter: &str,
        scope: Scope,
        attributes: &[&str],
    ) -> Result<Option<Entry>, Failure> {
        let query = Query {
            what: "the directory's domains",
            base,
            scope,
            filter,
            attributes,
            most: 1,
        };
        Ok(self.pool.search(&query).await?.pop())
    }
}

/// The part of a DN that is a domain: `DC=corp,DC=example`.
fn domain_dn(dn: &str) -> &str {
    let parts = dn.char_indices().filter(|(_, c)| *c == ',');
    let starts = std::iter::once(0).chain(parts.map(|(at, _)| at + 1));
    let mut rests = starts.filter_map(|at| dn.get(at..));
    let is_domain = |rest: &&str| {
        rest.get(..3)
            .is_some_and(|it| it.eq_ignore_ascii_case("dc="))
    };
    rests.find(is_domain).unwrap_or(dn)
}

/// `corp.example` of `OU=People,DC=corp,DC=example`.
fn dns_name(dn: &str) -> String {
    let parts = domain_dn(dn).split(',');
    let labels: Vec<&str> = parts.filter_map(|part| part.get(3..)).collect();
    labels.join(".")
}

/// What a server said, for one line of a log.
fn said(text: &str) -> String {
    match text.trim_matches(['\0', ' ']) {
        "" => "invalid credentials".to_owned(),
        text => format!("{} ({text:?})", standing::why_refused(text)),
    }
}

#[cfg(test)]
pub(in crate::authn) mod tests;
