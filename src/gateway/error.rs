//! Every error of every stage, and what it looks like to a client.
//!
//! One exhaustive match: a new variant anywhere below does not compile until somebody has decided what a
//! person reads. docs/answers.md is the snapshot of all of them, kept by a test.

use super::answer::{Answer, Fault};
use crate::{
    api::{ApiError, Mistake, login::LoginError},
    authn::{AuthnError, Refusal},
    authz::{ActingError, AuthzError, request_info},
    clusters::NotReady,
    observe::audit::NotAudited,
    proxy::ProxyError,
    request::{HeadError, ImpersonationError},
    status::Reason,
    web::WebError,
};
use http::StatusCode;

/// Why a request got no answer from where it wanted to go.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message itself.
    #[error("bad request")]
    Head(#[from] HeadError),
    /// The target can be read in two ways.
    #[error("bad target")]
    Target(#[from] request_info::Refusal),
    /// As whom it is to be carried out.
    #[error("bad impersonation")]
    Impersonation(#[from] ImpersonationError),
    /// Who it is.
    #[error("authentication")]
    Authn(#[from] AuthnError),
    /// Whether it can be recorded.
    #[error("audit")]
    Audit(#[from] NotAudited),
    /// Whether they may.
    #[error("authorisation")]
    Authz(#[from] AuthzError),
    /// The cluster has no data path at the moment.
    #[error("cluster")]
    Cluster(#[from] NotReady),
    /// The way to the cluster.
    #[error("proxy")]
    Proxy(#[from] ProxyError),
    /// The gateway's own API.
    #[error("api")]
    Api(#[from] ApiError),
    /// Logging in.
    #[error("login")]
    Login(#[from] LoginError),
    /// A page.
    #[error("page")]
    Web(#[from] WebError),
}

impl Error {
    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        if self.answer().code.is_client_error() {
            return Fault::Client;
        }
        match self {
            // Whoever asks has the revision from elsewhere.
            Self::Api(ApiError::TooNew { .. }) => Fault::Client,
            Self::Head(_)
            | Self::Target(_)
            | Self::Impersonation(_)
            | Self::Authn(_)
            | Self::Audit(_)
            | Self::Authz(_)
            | Self::Api(_)
            | Self::Login(_)
            | Self::Web(_)
            | Self::Proxy(ProxyError::Identity | ProxyError::Target) => Fault::Gateway,
            Self::Cluster(_) | Self::Proxy(_) => Fault::Upstream,
        }
    }

    /// What the log says: the error with its causes, without anything that a body held.
    pub(super) fn for_log(&self) -> String {
        if let Self::Api(ApiError::Invalid(object, mistakes)) = self {
            let fields: Vec<&str> = mistakes.iter().map(Mistake::field).collect();
            return format!("api: {object} is invalid in {}", fields.join(", "));
        }
        if let Self::Api(ApiError::BadRequest(_)) = self {
            return "api: the request cannot be read".to_owned();
        }
        let mut chain = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            chain.push_str(": ");
            chain.push_str(&cause.to_string());
            source = cause.source();
        }
        chain
    }

    /// What the client gets.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Head(error) => head(*error),
            Self::Target(refusal) => {
                bad_request(format!("the request target is refused: {refusal}"))
            }
            Self::Impersonation(error) => impersonation(error),
            Self::Authn(error) => authn(error),
            // Nothing was begun: trying again can do no harm.
            Self::Audit(_) => Answer {
                retry_after: Some(1),
                ..unavailable(
                    "the gateway's audit log takes no entries at the moment, so nothing may be done; try again",
                )
            },
            Self::Authz(error) => authz(error),
            Self::Cluster(error) => unavailable(format!("cluster {error}")),
            Self::Proxy(error) => proxy(error),
            Self::Api(error) => error.status().into(),
            Self::Login(error) => error.status().into(),
            Self::Web(error) => Answer {
                allow: error.allowed(),
                ..error.status().into()
            },
        }
    }
}

fn bad_request(message: impl Into<String>) -> Answer {
    Answer::new(StatusCode::BAD_REQUEST, Some(Reason::BadRequest), message)
}

fn unavailable(message: impl Into<String>) -> Answer {
    Answer::new(
        StatusCode::SERVICE_UNAVAILABLE,
        Some(Reason::ServiceUnavailable),
        message,
    )
}

fn head(error: HeadError) -> Answer {
    match error {
        HeadError::Method => Answer::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Some(Reason::MethodNotAllowed),
            error.to_string(),
        ),
        HeadError::TargetTooLong => Answer::new(StatusCode::URI_TOO_LONG, None, error.to_string()),
        HeadError::NoPath | HeadError::Host | HeadError::Duplicate(_) | HeadError::Upgrade => {
            bad_request(error.to_string())
        }
    }
}

/// Too many is a 403, as elsewhere: on discovery paths kubectl throws the text of a 400 away.
fn impersonation(error: &ImpersonationError) -> Answer {
    match error {
        ImpersonationError::TooManyGroups | ImpersonationError::TooManyExtras => Answer::new(
            StatusCode::FORBIDDEN,
            Some(Reason::Forbidden),
            error.to_string(),
        ),
        ImpersonationError::Unknown(_)
        | ImpersonationError::NoUser
        | ImpersonationError::Twice(_)
        | ImpersonationError::Empty(_)
        | ImpersonationError::Text(_)
        | ImpersonationError::TooLong(_)
        | ImpersonationError::NotHere => bad_request(error.to_string()),
    }
}

/// One text for every stranger. Whoever held the right secret is told what became of it.
fn authn(error: &AuthnError) -> Answer {
    let text = match error {
        AuthnError::Refused(Refusal::Expired) => "your login has expired: run `palisade login`",
        AuthnError::Refused(Refusal::PasswordChanged) => {
            "your login was ended by a change of the password: run `palisade login`"
        }
        AuthnError::Refused(Refusal::Disabled) => "this account is disabled",
        AuthnError::Refused(
            Refusal::AccountDisabled
            | Refusal::AccountLocked
            | Refusal::AccountExpired
            | Refusal::AccountGone,
        ) => {
            "your account is disabled, locked or expired where you log in: see that it is open there, then run `palisade login`"
        }
        AuthnError::Refused(Refusal::LoginEnded) => {
            "your login has ended where you log in: run `palisade login`"
        }
        AuthnError::Refused(Refusal::AccountMustChange) => {
            "your password must be changed where you log in: change it there, then run `palisade login`"
        }
        AuthnError::Refused(Refusal::NotListed | Refusal::NoProvider) => {
            "you may not log in here any more: ask an administrator"
        }
        AuthnError::Refused(
            Refusal::Missing
            | Refusal::Scheme
            | Refusal::OfABrowser
            | Refusal::Malformed
            | Refusal::UnknownToken
            | Refusal::WrongSecret
            | Refusal::NoUser,
        )
        | AuthnError::Ambiguous(_)
        | AuthnError::Unavailable(_) => return error.status().into(),
    };
    Answer::new(StatusCode::UNAUTHORIZED, Some(Reason::Unauthorized), text)
}

fn authz(error: &AuthzError) -> Answer {
    let mut answer = Answer::new(
        StatusCode::FORBIDDEN,
        Some(Reason::Forbidden),
        error.to_string(),
    );
    match error {
        AuthzError::Denied { details, .. } => answer.details = Some((**details).clone()),
        AuthzError::Acting(error) => return acting(error),
        AuthzError::NoGrant { .. }
        | AuthzError::TooManyGrants { .. }
        | AuthzError::TokenScope { .. }
        | AuthzError::TokenNotForOwn => {}
    }
    answer
}

fn acting(error: &ActingError) -> Answer {
    match error {
        ActingError::Unknown(..) => unavailable(format!("{error} at the moment; try again")),
        ActingError::ServiceAccount(_)
        | ActingError::System(_)
        | ActingError::ClusterSide(_)
        | ActingError::OwnExtra(_)
        | ActingError::NoUser(_)
        | ActingError::NoGroup(_)
        | ActingError::Disabled(_)
        | ActingError::WrongUid(_) => Answer::new(
            StatusCode::FORBIDDEN,
            Some(Reason::Forbidden),
            error.to_string(),
        ),
    }
}

fn proxy(error: &ProxyError) -> Answer {
    let bad_gateway = |message: &str| Answer::new(StatusCode::BAD_GATEWAY, None, message);
    match error {
        ProxyError::Down(_) | ProxyError::Dial(_) | ProxyError::DialTimeout => {
            unavailable("the cluster cannot be reached from the gateway")
        }
        // Nothing was sent: trying again can do no harm.
        ProxyError::Busy => Answer {
            retry_after: Some(1),
            ..unavailable("every connection to the cluster is taken; try again")
        },
        ProxyError::Lost(_) => {
            bad_gateway("the connection to the cluster was lost before it answered")
        }
        ProxyError::OtherProtocol => {
            bad_gateway("the cluster switched to a protocol that was not asked for")
        }
        ProxyError::CredentialRefused => {
            bad_gateway("the cluster refuses the gateway's own credential; tell your administrator")
        }
        ProxyError::Timeout => Answer::new(
            StatusCode::GATEWAY_TIMEOUT,
            Some(Reason::Timeout),
            "the cluster did not answer in time",
        ),
        ProxyError::ActingNotSynced(_) => unavailable(error.to_string()),
        // It takes a moment, and client-go asks again by itself.
        ProxyError::NotRead(_) => Answer {
            retry_after: Some(1),
            ..unavailable(error.to_string())
        },
        ProxyError::Identity | ProxyError::Target => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Some(Reason::InternalError),
            "the gateway could not build the request",
        ),
    }
}

#[cfg(test)]
mod tests;
