//! One provider, as it is written.

use crate::config::{AccessMode, DirectoryKind, GroupLookup, SigningAlgorithm, Transport};
use serde::{Deserialize, Serialize};

/// `providers.<name>`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    /// Text, or empty.
    pub display_name: String,
    /// Switch.
    pub primary: bool,
    /// Switch.
    pub disabled: bool,
    /// See [`Access`].
    pub access: Access,
    /// See [`Refresh`].
    pub refresh: Refresh,
    /// See [`Ldap`]; one of the three is required.
    pub ldap: Option<Ldap>,
    /// See [`Github`].
    pub github: Option<Github>,
    /// See [`Oidc`].
    pub oidc: Option<Oidc>,
}

impl Provider {
    /// The defaults of every option, those of the sections too that are not there unless they are written.
    pub fn written() -> Self {
        Self {
            ldap: Some(Ldap::default()),
            github: Some(Github::default()),
            oidc: Some(Oidc::default()),
            ..Self::default()
        }
    }
}

/// `providers.<name>.access`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Word.
    pub mode: AccessMode,
    /// Texts.
    pub users: Vec<String>,
    /// Texts.
    pub groups: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: AccessMode::Restricted,
            users: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// `providers.<name>.refresh`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// Duration.
    pub interval: String,
    /// Duration.
    pub max_age: String,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            interval: "5m".to_owned(),
            max_age: "1h".to_owned(),
        }
    }
}

/// `providers.<name>.ldap`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ldap {
    /// Word; required.
    pub directory: Option<DirectoryKind>,
    /// Texts: `host` or `host:port`.
    pub hosts: Vec<String>,
    /// DNS name, or empty.
    pub srv_domain: String,
    /// Address and port, or empty.
    pub name_server: String,
    /// Word.
    pub transport: Transport,
    /// Path, or empty.
    pub ca_file: String,
    /// Text; required.
    pub bind_dn: String,
    /// Path; required.
    pub bind_password_file: String,
    /// Text; required.
    pub base_dn: String,
    /// Text, or empty.
    pub user_base_dn: String,
    /// Text, or empty.
    pub group_base_dn: String,
    /// Text, or empty.
    pub login_filter: String,
    /// Text, or empty.
    pub handle_attribute: String,
    /// Word.
    pub group_lookup: GroupLookup,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
}

impl Default for Ldap {
    fn default() -> Self {
        Self {
            directory: None,
            hosts: Vec::new(),
            srv_domain: String::new(),
            name_server: String::new(),
            transport: Transport::Ldaps,
            ca_file: String::new(),
            bind_dn: String::new(),
            bind_password_file: String::new(),
            base_dn: String::new(),
            user_base_dn: String::new(),
            group_base_dn: String::new(),
            login_filter: String::new(),
            handle_attribute: String::new(),
            group_lookup: GroupLookup::Auto,
            connect_timeout: "3s".to_owned(),
            timeout: "5s".to_owned(),
        }
    }
}

/// `providers.<name>.github`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Github {
    /// URL.
    pub url: String,
    /// URL, or empty.
    pub api_url: String,
    /// Text; required.
    pub client_id: String,
    /// Path; required.
    pub client_secret_file: String,
    /// Texts.
    pub organizations: Vec<String>,
    /// Switch.
    pub device_flow: bool,
    /// Path, or empty.
    pub ca_file: String,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
    /// Switch.
    pub danger_plain_http: bool,
}

impl Default for Github {
    fn default() -> Self {
        Self {
            url: "https://github.com".to_owned(),
            api_url: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            organizations: Vec::new(),
            device_flow: false,
            ca_file: String::new(),
            connect_timeout: "3s".to_owned(),
            timeout: "10s".to_owned(),
            danger_plain_http: false,
        }
    }
}

/// `providers.<name>.oidc`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oidc {
    /// URL; required.
    pub issuer: String,
    /// Text; required.
    pub client_id: String,
    /// Path, or empty.
    pub client_secret_file: String,
    /// Texts.
    pub scopes: Vec<String>,
    /// Text, or empty.
    pub prompt: String,
    /// Text.
    pub handle_claim: String,
    /// Text.
    pub display_name_claim: String,
    /// Text, or empty.
    pub groups_claim: String,
    /// Switch.
    pub userinfo: bool,
    /// Texts.
    pub algorithms: Vec<String>,
    /// Path, or empty.
    pub ca_file: String,
    /// Duration.
    pub connect_timeout: String,
    /// Duration.
    pub timeout: String,
    /// Switch.
    pub danger_plain_http: bool,
}

impl Default for Oidc {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: String::new(),
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            prompt: String::new(),
            handle_claim: "preferred_username".to_owned(),
            display_name_claim: "name".to_owned(),
            groups_claim: "groups".to_owned(),
            userinfo: false,
            algorithms: SigningAlgorithm::ALL
                .map(SigningAlgorithm::as_str)
                .map(str::to_owned)
                .to_vec(),
            ca_file: String::new(),
            connect_timeout: "3s".to_owned(),
            timeout: "10s".to_owned(),
            danger_plain_http: false,
        }
    }
}
