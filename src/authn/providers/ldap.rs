//! An LDAP directory: Active Directory or OpenLDAP, by one way through both.
//!
//! An account is found by what was typed, with the search account; then its own password is tried, on a
//! connection of its own; then its groups and state are read. Everything is told apart by immutable ids
//! (`objectGUID`, `entryUUID`); names are for people.
//!
//! What an attacker would try: an empty password, with which many directories let everybody in as nobody (it never
//! gets here: [`is_no_password`]); a name that means something in a filter ([`filter`]); a name that finds somebody
//! else's account (two that are found are nobody); listening in, or sending us elsewhere ([`connect`]); an answer
//! without end (bytes, depth, entries, groups and times are bounded, [`guard`]).
//!
//! Outcomes are three: yes, no, and [`Failure`], which is neither.

mod ber;
mod connect;
mod entry;
mod failure;
mod filter;
mod groups;
mod guard;
mod pool;
mod ppolicy;
mod servers;
mod standing;
mod starttls;

pub use failure::Failure;
pub use groups::{MAX_DEPTH, MAX_GROUPS};

use super::{GroupRef, Standing, files};
use crate::{
    config::{DirectoryKind, Ldap as Settings},
    status::clock,
};
use entry::{Entry, Malformed};
use filter::{any, escaped, octets};
use groups::Names;
use ldap3::Scope;
use pool::{Pool, Query};
use ppolicy::{Above, Policy};
use std::{collections::HashMap, time::Duration};
use tokio::sync::OnceCell;
use uuid::Uuid;

/// The name or the password is wrong, or the account must not log in (RFC 4511, appendix A).
const INVALID_CREDENTIALS: u32 = 49;
/// Characters of a typed name: a UPN has 1,024 at most, and people's have fewer than a hundred.
const MAX_LOGIN: usize = 256;
/// Accounts that are read again by one search.
pub const BATCH: usize = 50;
/// Accounts that a typed name may fit: one by its own name, and one by its form alone.
const MAX_MEANT: usize = 2;
/// People's accounts in Active Directory.
const PERSON: &str = "(objectCategory=person)(objectClass=user)";
/// A DN that is no account's: what a password is tried on where nothing was found.
const NOBODY: &str = "cn=nobody-by-this-name";

/// A directory, with the connections to it.
pub struct Directory {
    pool: Pool,
    names: Names,
    /// The short name of an Active Directory domain, once the directory has said it.
    domain: OnceCell<String>,
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
    /// Its state, and how young its password is.
    state: Result<(Standing, u64), Malformed>,
    entry: Entry,
}

impl Found {
    /// Its distinguished name.
    pub fn dn(&self) -> &str {
        &self.entry.dn
    }

    /// Its state. That it cannot be told is no reason to tell a stranger that there is such an account: it is a failure
    /// for whoever asks.
    pub fn standing(&self) -> Result<Standing, Failure> {
        Ok(self.state.map(|(standing, _)| standing)?)
    }

    /// A number that grows when the account's password is changed; 0 if nobody can tell.
    pub fn password_epoch(&self) -> u64 {
        self.state.map_or(0, |(_, epoch)| epoch)
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
        files::tls(settings.ca_file.as_deref())?;
        connect::password(&settings.bind_password_file)?;
        Ok(())
    }

    /// One text for all spellings of a name that can be told to be one without asking: what tries are counted under
    /// before anybody knows whose name it is, and whether it is anybody's (L3, G5). It puts together at least what
    /// [`Directory::find`] takes for one name; that it does so for some other names too harms nobody.
    pub fn folded(&self, login: &str) -> String {
        let settings = self.settings();
        let by_domain =
            settings.login_filter.is_none() && settings.directory == DirectoryKind::ActiveDirectory;
        let name = match (login.split_once('\\'), login.rsplit_once('@')) {
            (Some((_, name)), _) if by_domain => name,
            (None, Some((name, domain)))
                if by_domain && dns_name(&settings.base_dn).eq_ignore_ascii_case(domain) =>
            {
                name
            }
            _ => login,
        };
        let words: Vec<&str> = name.split_whitespace().collect();
        words.join(" ").to_lowercase()
    }

    /// The account that somebody means who types this. A name that is that of several accounts is a failure that is
    /// of this name alone.
    pub async fn find(&self, login: &str) -> Result<Option<Found>, Failure> {
        let Some(filter) = self.login_filter(login).await? else {
            return Ok(None);
        };
        let settings = self.settings();
        let mut found = self.accounts(&filter, MAX_MEANT).await?;
        // A name may be one account's own and another's by its form alone: the own one counts.
        if found.len() > 1 && settings.login_filter.is_none() {
            found.retain(|entry| {
                let own = entry.text("userPrincipalName");
                own.is_some_and(|own| own.to_lowercase() == login.to_lowercase())
            });
        }
        match (found.pop(), found.pop()) {
            (Some(entry), None) => Ok(Some(self.read(entry).await?)),
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Failure::TooMany {
                what: "accounts of one name",
                most: 1,
            }),
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
        let said = ppolicy::Said::read(&result.ctrls);
        match result.rc {
            0 if account.is_some() => {
                if let Some(left) = said.grace {
                    tracing::warn!(
                        account = dn,
                        left,
                        "an expired password was taken: the directory counts its last logins"
                    );
                }
                Ok(said.refused.map_or(Tried::Right, Tried::Refused))
            }
            INVALID_CREDENTIALS => {
                let why = said.refused;
                let why = why.unwrap_or_else(|| standing::why_refused(&result.text));
                Ok(Tried::Refused(why))
            }
            // Of the server, whoever asks.
            code if failure::is_of_server(code) => Err(Failure::answer("a login", result)),
            // Whatever else is said of an account is a no like any other: a stranger must not see that there is one.
            _ if account.is_none() => Ok(Tried::Refused("unknown user")),
            code => {
                let text = &*result.text;
                tracing::warn!(code, text, "the directory does not let an account log in");
                Ok(Tried::Refused(
                    "the directory does not let the account log in",
                ))
            }
        }
    }

    /// The account's groups, as the directory has them now, but for their names: those may be so old.
    pub async fn groups(&self, account: &Found, names: Duration) -> Result<Vec<GroupRef>, Failure> {
        match self.settings().directory {
            DirectoryKind::ActiveDirectory => {
                let names = (&self.names, names);
                groups::active_directory(&self.pool, names, &account.entry).await
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
        let by_id = any(ids.iter().map(|id| match self.settings().directory {
            DirectoryKind::ActiveDirectory => format!("(objectGUID={})", octets(&id.to_bytes_le())),
            DirectoryKind::Openldap => format!("(entryUUID={id})"),
        }));
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        // Whoever could not log in any more has no session to go on with: the filter is asked with any name.
        let filter = format!("(&{}{by_id})", self.filter_of("*"));
        let mut all = HashMap::new();
        for entry in self.accounts(&filter, BATCH.max(ids.len())).await? {
            let found = self.read(entry).await?;
            all.insert(found.id.clone(), found);
        }
        Ok(all)
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

    async fn read(&self, entry: Entry) -> Result<Found, Failure> {
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
        let policy = match ppolicy::needed(&entry) {
            Above::Any => Policy::STRICT,
            above @ (Above::Default | Above::Named(_)) => self.policy(above).await?,
        };
        Ok(Found {
            id: id.to_string().into(),
            name: entry.text(name).unwrap_or(handle).into(),
            handle: handle.to_lowercase().into(),
            display_name: display_name.unwrap_or_default().to_owned(),
            state: standing::standing(settings.directory, &entry, policy, clock::now()),
            entry,
        })
    }

    /// The password policy with this DN, or the only one that there is: which is a server's default no search says.
    async fn policy(&self, above: Above<'_>) -> Result<Policy, Failure> {
        const ALL: &str = "(objectClass=pwdPolicy)";
        let settings = self.settings();
        let (base, scope) = match above {
            Above::Named(dn) => (dn, Scope::Base),
            Above::Default | Above::Any => (&*settings.base_dn, Scope::Subtree),
        };
        let query = Query {
            what: "password policies",
            base,
            scope,
            filter: ALL,
            attributes: ppolicy::OF_POLICY,
            most: 1,
        };
        match self.pool.search(&query).await {
            Ok(found) => Ok(found.first().map_or(Policy::STRICT, Policy::read)),
            // Several, or none that may be read: whoever searches for people need not see policies, and one locked
            // account must not end the reading of all the others.
            Err(Failure::Answer { .. } | Failure::TooMany { .. } | Failure::Malformed(_)) => {
                Ok(Policy::STRICT)
            }
            Err(failure) => Err(failure),
        }
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
        if settings.login_filter.is_some() || settings.directory == DirectoryKind::Openldap {
            return Ok(Some(self.filter_of(&typed)));
        }
        let of_person = |which: String| Some(format!("(&{PERSON}{which})"));
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
        Ok(Some(self.filter_of(&typed)))
    }

    /// What finds the account that is called so, with this text for the name: escaped, or a star for any.
    fn filter_of(&self, name: &str) -> String {
        let settings = self.settings();
        match (&settings.login_filter, settings.directory) {
            (Some(filter), _) => filter.replace("{login}", name),
            (None, DirectoryKind::Openldap) => format!("(&(objectClass=person)(uid={name}))"),
            (None, DirectoryKind::ActiveDirectory) => {
                format!("(&{PERSON}(sAMAccountName={name}))")
            }
        }
    }

    /// `CORP`, as the directory's own list of its domains has it.
    async fn short_domain(&self) -> Result<Option<&str>, Failure> {
        if let Some(known) = self.domain.get() {
            return Ok(Some(known));
        }
        // That there is none is not kept: it may be a right that the search account is still to get.
        let Some(found) = self.ask_short_domain().await? else {
            return Ok(None);
        };
        Ok(Some(self.domain.get_or_init(async || found).await))
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
