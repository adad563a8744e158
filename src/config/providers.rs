//! `providers`: what it means once it is checked.

mod redirect;

pub use redirect::{Client, Github, Link, Oidc, SigningAlgorithm, may_be_asked};

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// All of them, by name: a DNS label, and not `local`.
pub type Providers = BTreeMap<String, Provider>;

/// A source of logins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provider {
    /// For people to read.
    pub display_name: String,
    /// Its users have their bare name as handle; at most one provider is.
    pub primary: bool,
    /// Nobody logs in there, and who did is refused.
    pub disabled: bool,
    /// Who may log in.
    pub access: Access,
    /// Age of what it said from which on it is asked again.
    pub refresh_interval: Duration,
    /// Age from which on what it said counts no more.
    pub refresh_max_age: Duration,
    /// What is behind it.
    pub source: Source,
}

/// What is behind a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A directory, which is told passwords.
    Ldap(Ldap),
    /// GitHub, to which browsers are sent.
    Github(Github),
    /// An OpenID provider, to which browsers are sent.
    Oidc(Oidc),
}

impl Source {
    /// The section that it is written in.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ldap(_) => "ldap",
            Self::Github(_) => "github",
            Self::Oidc(_) => "oidc",
        }
    }
}

/// Who may log in at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Listed ones, or anybody.
    pub mode: AccessMode,
    /// Names or immutable ids of accounts.
    pub users: Vec<String>,
    /// Names or immutable ids of groups.
    pub groups: Vec<String>,
}

/// Listed accounts, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// Listed users and members of listed groups.
    Restricted,
    /// Every account that the provider has.
    DangerAnyone,
}

/// An LDAP directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ldap {
    /// What it is.
    pub directory: DirectoryKind,
    /// Tried in this order; empty: DNS says which.
    pub hosts: Vec<Host>,
    /// The domain whose servers DNS names.
    pub srv_domain: Option<String>,
    /// Asked in place of the system's name servers.
    pub name_server: Option<SocketAddr>,
    /// How connections are protected.
    pub transport: Transport,
    /// PEM file with the authorities of its certificates; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// The account that searches.
    pub bind_dn: String,
    /// Its password.
    pub bind_password_file: PathBuf,
    /// Where everything is below.
    pub base_dn: String,
    /// Where accounts are below.
    pub user_base_dn: String,
    /// Where groups are below.
    pub group_base_dn: String,
    /// How an account is found, with `{login}` where the typed name goes; `None`: as the kind has it.
    pub login_filter: Option<String>,
    /// What a handle is made of.
    pub handle_attribute: String,
    /// How groups are found.
    pub group_lookup: GroupLookup,
    /// To a protected connection.
    pub connect_timeout: Duration,
    /// Of one operation.
    pub timeout: Duration,
}

/// Which directory: what its attributes are called, and how it says what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryKind {
    /// Active Directory, Samba.
    ActiveDirectory,
    /// OpenLDAP and its like.
    Openldap,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TLS from the first byte.
    Ldaps,
    /// TLS before anything else is said.
    Starttls,
    /// Not at all.
    DangerPlaintext,
}

impl Transport {
    /// Port if none is written.
    pub fn port(self) -> u16 {
        match self {
            Self::Ldaps => 636,
            Self::Starttls | Self::DangerPlaintext => 389,
        }
    }
}

/// How the groups of an account are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupLookup {
    /// As the kind of the directory does it best.
    Auto,
    /// By the attribute `memberOf` of the account, and of its groups.
    MemberOf,
    /// By looking for groups that name the account, and for groups that name those.
    Search,
    /// By Active Directory's rule of membership in a chain.
    InChain,
}

/// One server of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Host {
    /// Name or address, without brackets: what its certificate must be for.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl Host {
    /// Reads `host` or `host:port`, an IPv6 address in brackets; the sentence says what is wrong.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a host name, an IPv4 address or an IPv6 address in brackets, with or without a port \
                 behind a colon"
            )
        };
        let bracketed = text.strip_prefix('[').map(|rest| rest.split_once(']'));
        let (name, port) = match bracketed {
            Some(Some((name, rest))) if name.parse::<Ipv6Addr>().is_ok() => {
                let port = match rest {
                    "" => None,
                    rest => Some(rest.strip_prefix(':').ok_or_else(wrong)?),
                };
                (name, port)
            }
            Some(_) => return Err(wrong()),
            None => {
                let (name, port) = match text.split_once(':') {
                    Some((name, port)) => (name, Some(port)),
                    None => (text, None),
                };
                let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
                if name.is_empty() || !name.chars().all(good) {
                    return Err(wrong());
                }
                (name, port)
            }
        };
        let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| wrong()))?;
        if port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            return write!(f, "[{}]:{}", self.name, self.port);
        }
        write!(f, "{}:{}", self.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_of_its_own_or_that_of_the_transport() {
        let read = |text| Host::parse(text, 636).map(|host| host.to_string());
        assert_eq!(read("DC1.corp.example"), Ok("dc1.corp.example:636".into()));
        assert_eq!(read("127.0.0.10:3269"), Ok("127.0.0.10:3269".into()));
        assert_eq!(read("[::1]"), Ok("[::1]:636".into()));
        assert_eq!(read("[2001:DB8::1]:389"), Ok("[2001:db8::1]:389".into()));
        for bad in [
            "",
            ":636",
            "a:",
            "a:0",
            "a:x",
            "ldaps://a",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1]:0",
            "[dc1]:636",
            "[127.0.0.1]",
            "a b",
        ] {
            assert!(read(bad).unwrap_err().contains("is not a host"), "{bad}");
        }
    }
}
