//! The seven kinds: User, Group, Token, Cluster, Project, Role, Binding.

use super::{Kind, Meta, SyncStatus, rules::PolicyRule};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn api_version() -> String {
    super::API_VERSION.to_owned()
}

/// Declares a kind: the object struct and its names. One macro for six near-identical structs: see
/// docs/decisions/0001-kind-macro.md.
macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $plural:literal, $singular:literal, $short:expr, $spec:ty, $status:ty, $private:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// `palisade.dev/v1alpha1`
            #[serde(default = "api_version")]
            pub api_version: String,
            /// The kind's name.
            #[serde(default)]
            pub kind: String,
            /// Name, uid, labels.
            #[serde(default)]
            pub metadata: Meta,
            /// What somebody wants.
            #[serde(default)]
            pub spec: $spec,
            /// What is.
            #[serde(default)]
            pub status: $status,
        }
        impl $name {
            /// A new object with this name and spec; uid and creation time are the caller's to fill.
            pub fn new(name: impl Into<String>, spec: $spec) -> Self {
                Self {
                    api_version: api_version(),
                    kind: <Self as Kind>::KIND.to_owned(),
                    metadata: Meta { name: name.into(), ..Meta::default() },
                    spec,
                    status: Default::default(),
                }
            }
        }
        impl Kind for $name {
            const KIND: &'static str = stringify!($name);
            const PLURAL: &'static str = $plural;
            const SINGULAR: &'static str = $singular;
            const SHORT: &'static [&'static str] = $short;
            type Private = $private;
            fn meta(&self) -> &Meta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.metadata
            }
            fn fill_type(&mut self) {
                self.api_version = api_version();
                Self::KIND.clone_into(&mut self.kind);
            }
        }
    };
}

/// Nothing (`{}`): the status or private part of kinds that have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

kind!(
    /// A person, or a machine user. `metadata.name` is the handle.
    User, "users", "user", &[], UserSpec, UserStatus, UserPrivate
);
kind!(
    /// A local group. Subjects of bindings name it by its uid.
    Group, "groups", "group", &[], GroupSpec, Nothing, Nothing
);
kind!(
    /// A token. `metadata.name` is the public id inside the secret text (16 of `0-9a-z`).
    Token, "tokens", "token", &[], TokenSpec, TokenStatus, TokenPrivate
);
kind!(
    /// A registered API server.
    Cluster, "clusters", "cluster", &[], ClusterSpec, ClusterStatus, ClusterPrivate
);
kind!(
    /// A named set of namespaces of one cluster. Its uid names its grant groups.
    Project, "projects", "project", &[], ProjectSpec, Nothing, Nothing
);
kind!(
    /// Named rules with a scope.
    Role, "roles", "role", &[], RoleSpec, Nothing, Nothing
);
kind!(
    /// Role + subject + scope.
    Binding, "bindings", "binding", &[], BindingSpec, Nothing, Nothing
);

/// The provider of the gateway's own accounts.
pub const LOCAL: &str = "local";

/// One account at a provider, by its immutable id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Principal {
    /// `local`, or the name of a configured provider.
    pub provider: String,
    /// Immutable id there; for `local` the user's own uid.
    pub id: String,
}

/// What is wanted of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UserSpec {
    /// For people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// A disabled user is refused from the next request on.
    #[serde(default)]
    pub disabled: bool,
    /// A machine user has tokens only, never a password.
    #[serde(default)]
    pub machine: bool,
    /// Accounts at providers. Filled by the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<Principal>,
}

/// What is known of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Whether a password is set.
    #[serde(default)]
    pub has_password: bool,
    /// There were too many wrong passwords: until then strangers are refused. From the memory of the
    /// replica that answers, never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_until: Option<Timestamp>,
}

/// Password hash of a local user.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserPrivate {
    /// PHC string, Argon2id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Goes up by one with each change of the password. A session counts only while its own number
    /// ([`TokenPrivate::password_epoch`]) is this one, so that one write ends all of them, also one
    /// that a login makes at the same moment.
    #[serde(default)]
    pub password_epoch: u64,
    /// How often an admin has unlocked the account: from then on its failed logins count anew.
    #[serde(default)]
    pub unlocks: u64,
    /// The address that an unlock named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vouched: Option<VouchedSource>,
}

/// An address from which an admin expects a user's next login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VouchedSource {
    /// IPv4, or IPv6, whose first half counts.
    pub address: std::net::IpAddr,
    /// From then on it counts no more.
    pub until: Timestamp,
}

/// Members of a local group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// For people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Users of the group.
    #[serde(default)]
    pub members: Vec<Member>,
}

/// A user by name, resolved once to a uid when it is written; a later mismatch counts as nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Member {
    /// Handle.
    pub name: String,
    /// Filled by the gateway.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Made by a person or for a machine user.
    #[default]
    Pat,
    /// Made by a login; renewed while it is used.
    Ses,
    /// A browser's session on the gateway's own pages: good there alone, and from a cookie alone.
    Web,
}

impl TokenKind {
    /// As it stands in objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pat => "pat",
            Self::Ses => "ses",
            Self::Web => "web",
        }
    }

    /// Whether a login made it, so that a change of the password ends it.
    pub fn is_session(self) -> bool {
        match self {
            Self::Pat => false,
            Self::Ses | Self::Web => true,
        }
    }
}

/// What is wanted of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSpec {
    /// Whose it is. Empty in a create request means: mine.
    #[serde(default)]
    pub user: Member,
    /// `pat`, `ses` or `web`.
    #[serde(default)]
    pub kind: TokenKind,
    /// For people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Names of clusters that the token is good for; empty: everything that the user may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// The end of its life. Always set in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The latest end that renewing may give (sessions only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewable_until: Option<Timestamp>,
}

/// What is known of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenStatus {
    /// The secret text: in the answer to the create request alone, never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The address that the login came from (sessions only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The minute in which it was last used, as far as the replica that answers knows; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
}

/// Hash of a token's secret part.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenPrivate {
    /// SHA-256 of the secret part's bytes, lower-case hex.
    #[serde(default)]
    pub sha256: String,
    /// Sessions only: the user's [`UserPrivate::password_epoch`] at the login.
    #[serde(default)]
    pub password_epoch: u64,
}

/// What user names start with on a cluster that says nothing else.
pub const USER_PREFIX: &str = "palisade:";

/// How a cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// `https://host:port`, no path.
    #[serde(default)]
    pub server: String,
    /// PEM certificates that the server's certificate must chain to; empty: the public web PKI.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ca: String,
    /// Name to check the server's certificate against, if not the server URL's host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tls_server_name: String,
    /// What user names on this cluster start with; `palisade:` if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_prefix: String,
}

impl ClusterSpec {
    /// [`USER_PREFIX`] unless set.
    pub fn user_prefix(&self) -> &str {
        if self.user_prefix.is_empty() {
            USER_PREFIX
        } else {
            &self.user_prefix
        }
    }
}

/// How a cluster is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Not yet looked at by this replica.
    #[default]
    Unknown,
    /// Registered, but no credential was handed over yet.
    Pending,
    /// Answers.
    Ready,
    /// Cannot be reached.
    Down,
    /// Refuses the gateway's own credential.
    Refused,
}

/// What is known of a cluster. `health`, `version`, `message` and `sync` come from the answering replica's
/// memory; the rest is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// As seen by the replica that answers.
    #[serde(default)]
    pub health: Health,
    /// `gitVersion` of the API server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether it holds what policy says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sync: SyncStatus,
    /// Since when everything of the gateway's is being taken away there. Handing over a credential ends that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaning_since: Option<Timestamp>,
    /// Names of the cluster roles whose grant groups the cluster knew when it was last looked at: what a
    /// replica sends until it has looked for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub synced_roles: Vec<String>,
    /// Which version of the gateway's objects the cluster holds (last sync); 0 from before there were any.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub synced_version: u32,
    /// When `synced_roles` was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<Timestamp>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(version: &u32) -> bool {
    *version == 0
}

fn is_default(sync: &SyncStatus) -> bool {
    *sync == SyncStatus::default()
}

/// The gateway's two accounts in a cluster, sealed.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPrivate {
    /// `Sealed` text (store::seal) of a JSON `ClusterCredential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Which namespaces a project holds, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProjectSpec {
    /// Name of the one cluster.
    pub cluster: String,
    /// Names, and globs with one `*` ([`super::namespaces::Pattern`]). Each namespace of a cluster belongs to at most
    /// one project.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// For people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// Where a role applies.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum RoleScope {
    /// The gateway's own API alone.
    Global,
    /// Clusters alone.
    #[default]
    Cluster,
    /// The namespaces of a project alone.
    Project,
}

/// Rules of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleSpec {
    /// `global`, `cluster` or `project`.
    pub scope: RoleScope,
    /// For people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Names of roles of the same scope whose rules this role has too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherits: Vec<String>,
    /// Exactly Kubernetes' meaning.
    #[serde(default)]
    pub rules: Vec<PolicyRule>,
}

/// User or group.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum SubjectKind {
    /// A user, by handle and uid.
    #[default]
    User,
    /// A local group or a provider's group, by name and immutable id.
    Group,
}

/// Who holds a binding's role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// `User` or `Group`.
    pub kind: SubjectKind,
    /// For people; resolved once, when it is written.
    pub name: String,
    /// What counts. Filled by the gateway; in policy folders that are only checked offline it may be empty,
    /// and the name stands for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// Role + subject + scope. For a role of scope cluster exactly one of `allClusters`, `clusters`,
/// `clusterSelector` is set, for one of scope project `project`, for one of scope global none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BindingSpec {
    /// Name of the role.
    pub role: String,
    /// Who.
    pub subject: Subject,
    /// Every cluster, also those registered later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_clusters: bool,
    /// Clusters by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<String>,
    /// Clusters that carry all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cluster_selector: BTreeMap<String, String>,
    /// The namespaces of this project, by its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// What counts of the project. Filled by the gateway; in policy folders that are only checked offline it may be
    /// empty, and the name stands for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project_uid: String,
    /// From this instant on the binding counts no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}
