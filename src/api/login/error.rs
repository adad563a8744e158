//! Why there is no session, and what the caller is told.

use super::{
    body::{BODY_TIME, MAX_BODY},
    grants::Kind,
};
use crate::{
    authn::{
        AuthnError, passwords,
        providers::{ArrivalError, ldap::Failure, redirect},
        throttle,
    },
    objects::{DecodeError, NameError},
    status::{Details, Reason, Status},
    store::{StoreError, seal::SealError},
};
use std::time::Duration;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// No such path.
    #[error("no such path")]
    NoSuchPath,
    /// The path takes another method.
    #[error("the path takes {0}")]
    Method(&'static str),
    /// The body is not what is expected here.
    #[error("the body is not {0}")]
    Body(&'static str),
    /// The body is too large.
    #[error("the body is larger than {MAX_BODY} bytes")]
    TooLarge,
    /// The body did not come in time.
    #[error("the body took longer than {} s", BODY_TIME.as_secs())]
    BodyTimeout,
    /// No provider of this name.
    #[error("no such provider")]
    Provider,
    /// Wrong name, wrong password, disabled, machine: a stranger is not told which.
    #[error("login refused: {0}")]
    Refused(Refused),
    /// A password for a provider at which people log in with a browser.
    #[error("people log in at this provider with a browser: it takes no password here")]
    ByBrowser,
    /// A browser came back from its provider without an account.
    #[error(transparent)]
    Arrival(Box<ArrivalError>),
    /// What an account is read again with cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The password was right, and the account is not among those who may log in.
    #[error("the account is not among those who may log in at this provider")]
    NotListed,
    /// The password was right, and the account can have no user here.
    #[error("no user can be made: {0}")]
    NoHandle(NoHandle),
    /// The provider gave no answer.
    #[error("the provider gave no answer: {}", .0.chain())]
    ProviderDown(Box<Failure>),
    /// Too many logins there at the same time.
    #[error("too many logins at the provider at the same time")]
    ProviderBusy,
    /// The token of a renewal or logout.
    #[error(transparent)]
    Authn(#[from] AuthnError),
    /// The token is not a session.
    #[error("not a session")]
    NotASession,
    /// The proof of the own password failed.
    #[error("the current password is wrong")]
    WrongCurrent,
    /// The new password is against the rules.
    #[error(transparent)]
    Rule(#[from] passwords::RuleError),
    /// A machine user has no password.
    #[error("a machine user has no password")]
    Machine,
    /// The password of a provider's user is the provider's affair.
    #[error("this user logs in at a provider, and has no password here")]
    Foreign,
    /// The user is not there.
    #[error("no such user")]
    NoUser,
    /// The user was changed at the same time, again and again.
    #[error("the user was changed at the same time")]
    Conflict,
    /// Too many wrong passwords; none was looked at.
    #[error(transparent)]
    Throttled(#[from] throttle::Throttled),
    /// Nobody waits with this user code.
    #[error("no terminal waits with this code; look at the terminal again, or begin anew there")]
    UserCode,
    /// Too many codes that were wrong, or too many terminals or browsers that began.
    #[error("too many logins were begun, or too many wrong codes typed")]
    TooManyCodes(Duration),
    /// No place for another one of these.
    #[error("{}", too_many_of(*.0))]
    TooManyGrants(Kind),
    /// No password could be checked.
    #[error(transparent)]
    Passwords(#[from] passwords::PasswordError),
    /// The client gets nothing to be known by.
    #[error(transparent)]
    Device(#[from] crate::authn::DeviceError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] crate::authn::NoRandomness),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds what cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a login is refused, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has this handle.
    #[error("unknown user")]
    UnknownUser,
    /// Somebody has, with another password.
    #[error("wrong password")]
    WrongPassword,
    /// The user may not log in.
    #[error("disabled user")]
    Disabled,
    /// The user has tokens only.
    #[error("machine user")]
    Machine,
    /// No password was ever set.
    #[error("user without a password")]
    NoPassword,
    /// What was typed is no password: no directory is asked with it (L1).
    #[error("empty password")]
    NoPasswordGiven,
    /// The provider's own reason.
    #[error("{0}")]
    AtProvider(&'static str),
}

/// Why an account can have no user. Its password was right, so its person may know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHandle {
    /// Its name cannot be one.
    #[error("the account's name {0:?} cannot be the name of a user here: {1}")]
    Name(String, #[source] NameError),
    /// Somebody else has it.
    #[error("the name {0:?} belongs to another user here")]
    Taken(String),
    /// Somebody had it.
    #[error("the name {0:?} belonged to a user who was removed here, and is never given again")]
    Removed(String),
}

impl LoginError {
    /// What the caller is told.
    pub fn status(&self) -> Status {
        let failure = |code, reason, message: &str| Status::failure(code, Some(reason), message);
        match self {
            Self::NoSuchPath => failure(404, Reason::NotFound, "no such path under /v1/login/"),
            Self::Method(_) => failure(405, Reason::MethodNotAllowed, &self.to_string()),
            Self::Body(_) | Self::Provider | Self::ByBrowser => {
                failure(400, Reason::BadRequest, &self.to_string())
            }
            Self::TooLarge => failure(413, Reason::RequestEntityTooLarge, &self.to_string()),
            Self::BodyTimeout => Status::failure(408, None, self.to_string()),
            Self::Refused(_) => failure(401, Reason::Unauthorized, "wrong user name or password"),
            Self::Arrival(error) => arrival(error),
            Self::NotListed => failure(
                403,
                Reason::Forbidden,
                "this account may not log in here; ask an administrator to let it in",
            ),
            Self::NoHandle(why) => {
                let message = format!("{why}; ask an administrator");
                failure(403, Reason::Forbidden, &message)
            }
            Self::ProviderDown(_) => failure(
                503,
                Reason::ServiceUnavailable,
                "the directory does not answer at the moment; try again",
            ),
            Self::ProviderBusy => passwords::PasswordError::Busy.status(),
            Self::Authn(error) => error.status(),
            Self::NotASession => failure(
                403,
                Reason::Forbidden,
                "only the session of a login can be renewed or ended here",
            ),
            Self::WrongCurrent => failure(403, Reason::Forbidden, &self.to_string()),
            Self::Rule(_) | Self::Machine | Self::Foreign => {
                failure(422, Reason::Invalid, &self.to_string())
            }
            Self::NoUser | Self::UserCode => failure(404, Reason::NotFound, &self.to_string()),
            Self::Conflict => failure(409, Reason::Conflict, &self.to_string()),
            Self::Throttled(throttled) => too_many(throttled.wait),
            Self::TooManyCodes(wait) => too_often("Too many tries", *wait, ""),
            Self::TooManyGrants(kind) => {
                let wait = match kind {
                    // The time for which it is remembered that they came back.
                    Kind::State => "some minutes",
                    Kind::Device | Kind::Code => "a minute",
                };
                let message = format!("{}; try again in {wait}", too_many_of(*kind));
                failure(503, Reason::ServiceUnavailable, &message)
            }
            Self::Passwords(error) => error.status(),
            Self::Device(_)
            | Self::Randomness(_)
            | Self::Seal(_)
            | Self::Store(_)
            | Self::Decode(_) => failure(
                503,
                Reason::ServiceUnavailable,
                "the gateway's store cannot do this at the moment; try again",
            ),
        }
    }
}

/// What there is no place for.
fn too_many_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Device => "too many terminals wait for an answer at the same time",
        Kind::Code => "too many terminals fetch their logins at the same time",
        Kind::State => "too many browsers come back from their providers at the same time",
    }
}

/// What a person reads who came back from a provider. The provider's own words are for the log.
fn arrival(error: &ArrivalError) -> Status {
    let forbidden = |message: &str| Status::failure(403, Some(Reason::Forbidden), message);
    match error {
        ArrivalError::Callback(_) | ArrivalError::Code(_) => Status::failure(
            400,
            Some(Reason::BadRequest),
            "this login was not begun in this browser, was used already or took too long: begin anew",
        ),
        ArrivalError::Denied { .. } => {
            forbidden("the provider did not let you in, or you did not agree there")
        }
        ArrivalError::Token(_) => forbidden(
            "what the provider says of you does not prove who you are; ask an administrator",
        ),
        ArrivalError::NotMember => {
            forbidden("this account may not log in here; ask an administrator to let it in")
        }
        ArrivalError::Account(why) => {
            let message = format!("this account cannot log in here: {why}; ask an administrator");
            forbidden(&message)
        }
        ArrivalError::Failed(failure) => down(failure),
    }
}

fn down(failure: &redirect::Failure) -> Status {
    let status =
        |message: &str| Status::failure(503, Some(Reason::ServiceUnavailable), message.to_owned());
    match failure {
        redirect::Failure::GroupsUnknown(_) => status(
            "the provider does not say which groups this account is in; ask an administrator",
        ),
        redirect::Failure::Limited { wait, .. } => {
            let details = Details {
                // Not before it is over.
                retry_after_seconds: u32::try_from(wait.as_millis().div_ceil(1000))
                    .unwrap_or(u32::MAX),
                ..Details::default()
            };
            status("the provider takes no more questions at the moment; try again later")
                .with_details(details)
        }
        redirect::Failure::NotByBrowser
        | redirect::Failure::NoDeviceFlow
        | redirect::Failure::File { .. }
        | redirect::Failure::Address { .. }
        | redirect::Failure::Connect { .. }
        | redirect::Failure::Broken { .. }
        | redirect::Failure::Timeout { .. }
        | redirect::Failure::TooSlow(_)
        | redirect::Failure::TooLarge { .. }
        | redirect::Failure::Redirected { .. }
        | redirect::Failure::Answer { .. }
        | redirect::Failure::Refused { .. }
        | redirect::Failure::Malformed { .. }
        | redirect::Failure::Issuer { .. }
        | redirect::Failure::Lacking(_)
        | redirect::Failure::Paused
        | redirect::Failure::Busy
        | redirect::Failure::NoRandomness => {
            status("the provider does not answer at the moment; try again")
        }
    }
}

/// One text, whichever bucket was empty and whether or not there is such an account (G5).
fn too_many(wait: Duration) -> Status {
    let or = ", or ask an administrator to unlock the account";
    too_often("Too many wrong passwords", wait, or)
}

fn too_often(what: &str, wait: Duration, or: &str) -> Status {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX);
    let wait = match seconds {
        0..120 => format!("{seconds} s"),
        120.. => format!("{} minutes", seconds.div_ceil(60)),
    };
    let message = format!("{what}; try again in {wait}{or}");
    let details = Details {
        retry_after_seconds: seconds,
        ..Details::default()
    };
    Status::failure(429, Some(Reason::TooManyRequests), message).with_details(details)
}
