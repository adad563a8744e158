//! `providers`: each by itself, and what they are to each other.

mod redirect;

use super::Check;
use crate::config::{
    Access, AccessMode, BaseDomain, DirectoryKind, GroupLookup, Host, Ldap, Provider, Providers,
    Source, raw,
};
use std::{collections::BTreeMap, path::PathBuf};

/// The provider of the accounts that the gateway has itself.
const LOCAL: &str = "local";
/// Servers of one directory: each that is down costs a login its connect timeout.
const MAX_HOSTS: usize = 8;
/// What a filter holds where the typed name goes.
const LOGIN: &str = "{login}";

impl Check<'_> {
    pub(super) fn providers(&mut self, raw: &BTreeMap<String, raw::Provider>) -> Providers {
        let mut all = Providers::new();
        for (name, raw) in raw {
            let at = format!("providers.{name}");
            if !is_label(name) {
                let message = "the name must be 1 to 63 of a-z, 0-9 and '-', and start and end with a letter or digit";
                self.mistake(&at, message);
            }
            if name == LOCAL {
                self.mistake(&at, "is the name of the gateway's own accounts");
            }
            // Clusters give such names a meaning, and handles start with the provider's name.
            if name.starts_with("system") || name.starts_with("palisade") {
                let message = "names that start with \"palisade\" or \"system\" are reserved";
                self.mistake(&at, message);
            }
            if let Some(provider) = self.provider(&at, name, raw) {
                all.insert(name.clone(), provider);
            }
        }
        let mut primary = all.iter().filter(|(_, provider)| provider.primary);
        if let (Some((first, _)), Some((second, _))) = (primary.next(), primary.next()) {
            let message =
                format!("{first:?} is the primary provider already: there is one at most");
            self.mistake(&format!("providers.{second}.primary"), message);
        }
        all
    }

    fn provider(&mut self, at: &str, name: &str, raw: &raw::Provider) -> Option<Provider> {
        let mut access = Access {
            mode: raw.access.mode,
            users: self.texts(&format!("{at}.access.users"), &raw.access.users),
            groups: self.texts(&format!("{at}.access.groups"), &raw.access.groups),
        };
        let mut listed = !access.users.is_empty() || !access.groups.is_empty();
        // Organisations that are named let their members in, unless it is said more closely who may come.
        if let (AccessMode::Restricted, false, Some(github)) = (access.mode, listed, &raw.github) {
            access.groups.clone_from(&github.organizations);
            listed = !access.groups.is_empty();
        }
        match access.mode {
            AccessMode::Restricted if !listed && !raw.disabled => self.mistake(
                &format!("{at}.access"),
                "nobody is listed, so nobody could log in: list users or groups, or write mode: danger_anyone",
            ),
            AccessMode::DangerAnyone if listed => self.mistake(
                &format!("{at}.access.mode"),
                "danger_anyone lets in who is not listed too: take the lists out, or write mode: restricted",
            ),
            AccessMode::Restricted | AccessMode::DangerAnyone => {}
        }
        let interval = format!("{at}.refresh.interval");
        let max_age = format!("{at}.refresh.max_age");
        let refresh_interval = self.duration(&interval, &raw.refresh.interval);
        let refresh_max_age = self.duration(&max_age, &raw.refresh.max_age);
        // An answer that is late by one round must not shut everybody out.
        if refresh_max_age < refresh_interval.saturating_mul(2) {
            let message = format!("must be at least twice {interval}");
            self.mistake(&max_age, message);
        }
        let source = self.source(at, raw)?;
        Some(Provider {
            display_name: match &*raw.display_name {
                "" => name.to_owned(),
                text => text.to_owned(),
            },
            primary: raw.primary,
            disabled: raw.disabled,
            access,
            refresh_interval,
            refresh_max_age,
            source,
        })
    }

    /// The one section that says what is behind it.
    fn source(&mut self, at: &str, raw: &raw::Provider) -> Option<Source> {
        let section = |name: &str| format!("{at}.{name}");
        match (&raw.ldap, &raw.github, &raw.oidc) {
            (Some(ldap), None, None) => self.ldap(&section("ldap"), ldap).map(Source::Ldap),
            (None, Some(github), None) => {
                self.github(&section("github"), github).map(Source::Github)
            }
            (None, None, Some(oidc)) => self.oidc(&section("oidc"), oidc).map(Source::Oidc),
            (None, None, None) => {
                let message =
                    "says nothing of where it is: write one of the sections ldap, github and oidc";
                self.mistake(at, message);
                None
            }
            (_, _, _) => {
                let message = "is one thing: write one of the sections ldap, github and oidc, and not several";
                self.mistake(at, message);
                None
            }
        }
    }

    fn ldap(&mut self, at: &str, raw: &raw::Ldap) -> Option<Ldap> {
        let field = |name: &str| format!("{at}.{name}");
        for (name, text) in [
            ("bind_dn", &raw.bind_dn),
            ("bind_password_file", &raw.bind_password_file),
            ("base_dn", &raw.base_dn),
        ] {
            self.is_written(&field(name), text);
        }
        let Some(directory) = raw.directory else {
            self.mistake(
                &field("directory"),
                "is required: active_directory or openldap",
            );
            return None;
        };
        let hosts = self.hosts(&field("hosts"), raw);
        let srv_domain = (!raw.srv_domain.is_empty())
            .then(|| BaseDomain::parse(&raw.srv_domain))
            .transpose();
        let srv_domain = srv_domain.unwrap_or_else(|message| {
            self.mistake(&field("srv_domain"), message);
            None
        });
        let name_server = (!raw.name_server.is_empty())
            .then(|| self.address(&field("name_server"), &raw.name_server));
        if !raw.login_filter.is_empty() {
            self.login_filter(&field("login_filter"), &raw.login_filter);
        }
        let group_lookup = self.group_lookup(&field("group_lookup"), directory, raw.group_lookup);
        let or = |text: &str, default: &str| match text {
            "" => default.to_owned(),
            text => text.to_owned(),
        };
        Some(Ldap {
            directory,
            hosts,
            srv_domain: srv_domain.map(|domain| domain.as_str().to_owned()),
            name_server,
            transport: raw.transport,
            ca_file: (!raw.ca_file.is_empty()).then(|| self.folder.join(&raw.ca_file)),
            bind_dn: raw.bind_dn.clone(),
            bind_password_file: match &*raw.bind_password_file {
                "" => PathBuf::new(),
                path => self.folder.join(path),
            },
            user_base_dn: or(&raw.user_base_dn, &raw.base_dn),
            group_base_dn: or(&raw.group_base_dn, &raw.base_dn),
            base_dn: raw.base_dn.clone(),
            login_filter: (!raw.login_filter.is_empty()).then(|| raw.login_filter.clone()),
            handle_attribute: or(
                &raw.handle_attribute,
                match directory {
                    DirectoryKind::ActiveDirectory => "sAMAccountName",
                    DirectoryKind::Openldap => "uid",
                },
            ),
            group_lookup,
            connect_timeout: self.duration(&field("connect_timeout"), &raw.connect_timeout),
            timeout: self.duration(&field("timeout"), &raw.timeout),
        })
    }

    fn hosts(&mut self, at: &str, raw: &raw::Ldap) -> Vec<Host> {
        match (raw.hosts.is_empty(), raw.srv_domain.is_empty()) {
            (true, true) => self.mistake(
                at,
                "is required: the directory's servers, in the order in which they are tried; or write srv_domain",
            ),
            (false, false) => {
                self.mistake(at, "is written only without srv_domain, which has DNS say the servers");
            }
            (true, false) | (false, true) => {}
        }
        if raw.hosts.len() > MAX_HOSTS {
            self.mistake(
                at,
                format!("{} servers; {MAX_HOSTS} are the limit", raw.hosts.len()),
            );
        }
        let mut hosts = Vec::new();
        for (index, text) in raw.hosts.iter().enumerate() {
            match Host::parse(text, raw.transport.port()) {
                Ok(host) => hosts.push(host),
                Err(message) => self.mistake(&format!("{at}[{index}]"), message),
            }
        }
        hosts
    }

    fn login_filter(&mut self, at: &str, filter: &str) {
        if !filter.contains(LOGIN) {
            self.mistake(
                at,
                "must hold {login}, which the typed name takes the place of",
            );
        } else if ldap3::parse_filter(filter.replace(LOGIN, "name")).is_err() {
            self.mistake(
                at,
                "is not an LDAP filter, such as (&(objectClass=person)(mail={login}))",
            );
        } else if ldap3::parse_filter(filter.replace(LOGIN, "*")).is_err() {
            // So it is asked for those who are logged in.
            self.mistake(
                at,
                "is not an LDAP filter with * in the place of {login}, by which it is seen whether people who are \
                 logged in still fit: {login} must be all that an attribute is compared with, by =",
            );
        }
    }

    fn group_lookup(
        &mut self,
        at: &str,
        directory: DirectoryKind,
        wanted: GroupLookup,
    ) -> GroupLookup {
        use DirectoryKind::{ActiveDirectory, Openldap};
        match (directory, wanted) {
            (ActiveDirectory, GroupLookup::Search | GroupLookup::MemberOf) => {
                self.mistake(at, "is auto or in_chain with directory: active_directory");
            }
            (Openldap, GroupLookup::InChain) => {
                self.mistake(at, "is auto, member_of or search with directory: openldap");
            }
            // Every OpenLDAP can be searched; memberOf takes an overlay.
            (Openldap, GroupLookup::Auto) => return GroupLookup::Search,
            (ActiveDirectory | Openldap, _) => {}
        }
        wanted
    }

    fn texts(&mut self, at: &str, texts: &[String]) -> Vec<String> {
        for (index, text) in texts.iter().enumerate() {
            if text.trim().is_empty() {
                self.mistake(&format!("{at}[{index}]"), "is empty");
            }
        }
        texts.to_vec()
    }
}

/// A DNS label (RFC 1123).
fn is_label(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 63
        && name.chars().all(good)
        && edge(name.chars().next())
        && edge(name.chars().last())
}

#[cfg(test)]
mod tests;
