//! The values that labels may have. Text of a request is never one.

use strum::{IntoStaticStr, VariantArray};

/// How a TLS handshake with a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HandshakeEnd {
    /// HTTP may begin.
    Done,
    /// The two could not agree, or the client broke it off.
    Failed,
    /// `tls.handshake_timeout` was over.
    TimedOut,
}

/// What a request does, in classes of similar cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Verb {
    /// One object, also a log.
    Get,
    /// Many objects.
    List,
    /// A watch.
    Watch,
    /// A new object.
    Create,
    /// A whole object replaced.
    Update,
    /// A part of an object replaced.
    Patch,
    /// One object or a collection.
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
    /// A path that is no resource: discovery, version, health.
    Path,
    /// A call under `/v1/login/`.
    Login,
    /// Refused before it was known what it asks for, or one of the gateway's own pages.
    None,
}

/// Whose fault an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Blame {
    /// Nobody's, or the cluster said so itself and the gateway passed it on.
    None,
    /// The client's.
    Client,
    /// The gateway's own, or its store's.
    Gateway,
    /// The cluster could not be reached or did not answer properly.
    Upstream,
}

/// What stays open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum StreamKind {
    /// A watch.
    Watch,
    /// `logs -f`.
    Log,
    /// `exec`.
    Exec,
    /// `attach`.
    Attach,
    /// `port-forward`.
    Portforward,
    /// Under a `proxy` subresource.
    Proxy,
    /// Another subresource that switched protocols.
    Other,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// What the cluster said.
    ToClient,
    /// What the client said, of upgraded streams.
    ToCluster,
}

/// What a connection to a cluster is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LinkKind {
    /// Shared by requests that end by themselves.
    Short,
    /// Shared by plain logs and proxied applications.
    Bulk,
    /// Shared by watches and followed logs.
    Stream,
    /// One upgraded stream's own.
    Upgrade,
}

/// How an attempt to connect to a cluster ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DialEnd {
    /// TLS stands.
    Done,
    /// The name has no address, or no resolver answered.
    Unresolved,
    /// Every address of the name is one that the gateway does not dial.
    Forbidden,
    /// Nobody answers there.
    Refused,
    /// Another certificate than expected, or no TLS.
    Tls,
    /// A bound passed.
    TimedOut,
    /// HTTP did not begin on it.
    Lost,
}

/// Why a permitted request got no answer from its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum UpstreamFailure {
    /// Known to be away: nothing was tried.
    Down,
    /// No connection could be made.
    Unreachable,
    /// Every connection was taken.
    Busy,
    /// The connection ended before the answer.
    Lost,
    /// No answer in time.
    TimedOut,
    /// The cluster answered 401 to the gateway itself.
    CredentialRefused,
    /// A protocol that was not asked for.
    OtherProtocol,
    /// The cluster has no usable registration or credential, or was not read yet.
    NotReady,
    /// The gateway could not build the request.
    NotSent,
}

/// What part of the gateway answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Route {
    /// A cluster, or the refusal of a request to one.
    Cluster,
    /// The gateway's own API.
    OwnApi,
    /// Logging in.
    Login,
    /// One of the gateway's own pages.
    Web,
    /// Messages that could not be read.
    Other,
}

/// What became of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Authentication {
    /// It is somebody's.
    Accepted,
    /// There was none.
    Missing,
    /// Not a bearer token; or a browser's session, which is none.
    Scheme,
    /// Not the text of a token.
    Malformed,
    /// More than one.
    Ambiguous,
    /// No token has this id: revoked, or never made.
    UnknownToken,
    /// The id exists, the rest does not fit.
    WrongSecret,
    /// Its time is over.
    Expired,
    /// Its user was removed.
    NoUser,
    /// Its user is disabled.
    Disabled,
    /// A session from before the password was changed.
    PasswordChanged,
    /// Its user's provider is gone or disabled.
    NoProvider,
    /// Its user's account is disabled, locked, expired or gone at the provider, or its login has ended there.
    Account,
    /// Its user is not among those who may log in at the provider.
    NotListed,
    /// It could not be told: users and tokens are not loaded yet.
    Loading,
    /// It could not be told: a stored token or user cannot be read.
    Unreadable,
    /// It could not be told: the user's provider has not answered for too long.
    Stale,
}

/// What came of reading an account again at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RefreshEnd {
    /// The provider said what it had said before.
    Same,
    /// It said something else.
    Changed,
    /// It did not answer for a batch of accounts, or what it said of one could not be read.
    Failed,
}

/// How a login ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LoginEnd {
    /// There is a session.
    Done,
    /// Wrong name or password, or a user who may not log in.
    Refused,
    /// Too many wrong passwords of strangers for the account.
    ThrottledAccount,
    /// Too many wrong passwords from the source.
    ThrottledSource,
    /// Too many wrong passwords from a device or place that was known.
    ThrottledKnown,
    /// Too many at the same moment.
    Busy,
    /// The request was none, or the user was changed at the same time.
    Invalid,
    /// Nobody could tell.
    Unavailable,
}

/// How a terminal is logged in by way of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TerminalWay {
    /// A code that is typed in a browser.
    Device,
    /// The browser of its own machine.
    Browser,
    /// A code that is typed at the provider.
    Provider,
}

/// A step of such a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TerminalStep {
    /// A code was made; or, of a browser on the same machine, somebody was asked.
    Begun,
    /// Somebody said yes.
    Given,
    /// Somebody said no.
    Refused,
    /// The terminal has its session.
    Fetched,
    /// Nobody answered in time, or the terminal did not come for what it was given.
    Expired,
    /// The terminal gave up and said so.
    Withdrawn,
}

/// What the policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Authorization {
    /// It may go on.
    Allowed,
    /// No role that the user holds there allows it.
    Denied,
    /// The user holds nothing there, or there is no such cluster.
    NoGrant,
    /// The user holds more roles there than a request can carry.
    TooManyGrants,
    /// The token is good for other clusters, or for clusters only.
    TokenScope,
    /// The user may not act as somebody else, or not so.
    Acting,
}

/// What is read again while the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReloadSource {
    /// The configuration file.
    Config,
    /// `tls.cert_file` and `tls.key_file`.
    Certificate,
    /// The folder `policies`.
    Policy,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReloadOutcome {
    /// It counts.
    Taken,
    /// What was there before counts on.
    Refused,
}

/// Whether a cluster answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ClusterHealth {
    /// It answers.
    Ready,
    /// It cannot be reached or used.
    Down,
    /// It refuses the gateway's credential.
    Refused,
    /// It has no credential yet.
    Pending,
    /// It was not asked yet.
    Unknown,
}

/// Whether a cluster holds what policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ClusterStep {
    /// It does.
    InStep,
    /// Something is still to be written, or cannot be.
    Behind,
    /// It was not read yet, or cannot be read.
    Unknown,
}

/// What became of a write to a cluster's roles and bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ClusterWrite {
    /// An object was written.
    Written,
    /// An object was removed.
    Removed,
    /// The cluster did not take it, or did not answer.
    Failed,
}

/// What became of a line of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AuditEnd {
    /// It was written.
    Written,
    /// It was owed and lost.
    Dropped,
    /// About a stranger's request, one of too many.
    LeftOut,
}

/// What became of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SpanEnd {
    /// The collector took it.
    Exported,
    /// Too many waited.
    QueueFull,
    /// The collector could not be reached, or did not take it in time.
    NotSent,
    /// The collector would not have it.
    Refused,
}
