//! Why a browser's login ends without an account, and why a provider gave no answer.

use super::super::{files::FileError, github::Whole, oidc::TokenError};
use crate::observe::chain;
use http::StatusCode;
use std::{io, path::PathBuf, time::Duration};

/// Bound on what is quoted of a provider's words.
const MAX_QUOTE: usize = 200;

/// Why there is no arrival.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// What came back is not the end of a login that was begun in this browser.
    #[error("this is not the end of a login that was begun in this browser: {0}")]
    Callback(&'static str),
    /// The provider, or its person, said no.
    #[error("the provider did not let the account in: {error}")]
    Denied {
        /// RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6.
        error: String,
        /// For people; possibly empty.
        description: String,
    },
    /// The provider does not take the code: it was used, or is too old, or of somebody else.
    #[error("the provider does not take the code: {0}")]
    Code(String),
    /// What the provider signed is not what it should be.
    #[error("the provider's ID token is refused: {0}")]
    Token(#[from] TokenError),
    /// The account is in none of the organisations that are configured.
    #[error("the account is in none of the organisations whose members may log in")]
    NotMember,
    /// What the provider says of the account cannot be used.
    #[error("the provider's word on the account cannot be used: {0}")]
    Account(&'static str),
    /// The provider gave no answer.
    #[error("the provider gave no answer: {}", .0.chain())]
    Failed(#[from] Failure),
}

/// Why a provider gave no answer. None of these is a no: whoever asked cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody logs in there with a browser.
    #[error("people log in there with a password")]
    NotByBrowser,
    /// Nobody types codes there.
    #[error("people do not log in there by a code")]
    NoDeviceFlow,
    /// A file that the configuration names.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An address that is not asked.
    #[error("{what} {url:?} {why}")]
    Address {
        /// Whose.
        what: &'static str,
        /// As it came, cut.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection.
    #[error("no connection to {host}")]
    Connect {
        /// `host:port`
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("{host} gave no answer")]
    Broken {
        /// `host:port`
        host: String,
        /// Why.
        source: hyper::Error,
    },
    /// No whole answer in time.
    #[error("{host} gave no answer within {} ms", limit.as_millis())]
    Timeout {
        /// `host:port`
        host: String,
        /// The bound.
        limit: Duration,
    },
    /// All that a login takes took too long.
    #[error("the login took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    /// An answer without an end.
    #[error("the answer of {host} is larger than {most} bytes")]
    TooLarge {
        /// `host:port`
        host: String,
        /// The bound.
        most: usize,
    },
    /// It sends elsewhere. Secrets stay here (CVE-2021-36778).
    #[error("{host} answers with a redirect to {to:?}, which is not followed")]
    Redirected {
        /// `host:port`
        host: String,
        /// As it came, cut.
        to: String,
    },
    /// An answer that is no success.
    #[error("{host} answered {what} with {status}: {said:?}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// `host:port`
        host: String,
        /// The status.
        status: StatusCode,
        /// The provider's words, cut.
        said: String,
    },
    /// It does not do what was asked, in words of its own.
    #[error("{what} refuses: {said:?}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The provider's words, cut.
        said: String,
    },
    /// It wants to be left alone for a while.
    #[error("the provider wants to be asked again in {} s and not before", wait.as_secs())]
    Limited {
        /// For how long.
        wait: Duration,
        /// Whom it is about.
        whole: Whole,
    },
    /// Not the JSON that it should be.
    #[error("the answer to {what} makes no sense: {why}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The discovery document is of somebody else.
    #[error("the discovery document says that the issuer is {found:?}, and not {wanted:?}")]
    Issuer {
        /// What it says, cut.
        found: String,
        /// What is configured.
        wanted: String,
    },
    /// What the provider cannot do, and the gateway needs.
    #[error("the provider cannot do what is needed: {0}")]
    Lacking(&'static str),
    /// The provider does not say which groups an account is in.
    #[error("the provider does not say which groups the account is in: {0}")]
    GroupsUnknown(&'static str),
    /// It was tried a moment ago.
    #[error("it could not be reached a moment ago, and is tried again soon")]
    Paused,
    /// So many are being asked already.
    #[error("too many questions to the provider at the same time")]
    Busy,
    /// No random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Wrong { path, why } => Self::File { path, why },
            FileError::Busy => Self::Busy,
        }
    }
}

impl Failure {
    /// Whether it is about what was asked for, and another account may do better.
    pub fn is_of_one_account(&self) -> bool {
        match self {
            Self::GroupsUnknown(_) | Self::Malformed { .. } | Self::TooLarge { .. } => true,
            Self::Limited { whole, .. } => *whole == Whole::No,
            // What all are told to: who the gateway is (401), how often it asks (429).
            Self::Answer { status, .. } => {
                status.is_client_error() && !matches!(status.as_u16(), 401 | 429)
            }
            Self::NotByBrowser
            | Self::NoDeviceFlow
            | Self::File { .. }
            | Self::Address { .. }
            | Self::Connect { .. }
            | Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::TooSlow(_)
            | Self::Redirected { .. }
            | Self::Refused { .. }
            | Self::Issuer { .. }
            | Self::Lacking(_)
            | Self::Paused
            | Self::Busy
            | Self::NoRandomness => false,
        }
    }

    /// Whether it is certain that a secret which counts once was not spent by the question: it was not sent, or who got
    /// it says that the question was wrong, or one too many (4xx). Any other answer may come from where it was taken
    /// already: an issuer that could not finish (500), or something before it that has lost the issuer (502, 503, 504).
    pub(in crate::authn::providers) fn spends_nothing(&self) -> bool {
        match self {
            Self::NotByBrowser
            | Self::NoDeviceFlow
            | Self::File { .. }
            | Self::Address { .. }
            | Self::Connect { .. }
            | Self::Paused
            | Self::Busy
            | Self::NoRandomness => true,
            Self::Answer { status, .. } => status.is_client_error(),
            Self::Broken { .. }
            | Self::Timeout { .. }
            | Self::TooSlow(_)
            | Self::TooLarge { .. }
            | Self::Redirected { .. }
            | Self::Refused { .. }
            | Self::Limited { .. }
            | Self::Malformed { .. }
            | Self::Issuer { .. }
            | Self::Lacking(_)
            | Self::GroupsUnknown(_) => false,
        }
    }

    /// The failure with what led to it, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// Words from outside, cut and without what moves a cursor.
pub(super) fn quoted(text: &str) -> String {
    let good = text.chars().filter(|c| !c.is_control());
    good.take(MAX_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // G2: a round of reading goes on after what is about one account, and ends with what is about all.
    #[test]
    fn what_one_account_is_told_is_told_from_what_all_are() {
        let wait = Duration::from_secs(1);
        let answer = |code| Failure::Answer {
            what: "the account",
            host: "github.example:443".to_owned(),
            status: StatusCode::from_u16(code).unwrap(),
            said: String::new(),
        };
        let limited = |whole| Failure::Limited { wait, whole };
        for of_one in [
            limited(Whole::No),
            Failure::GroupsUnknown("there are too many of them"),
            answer(403),
            answer(404),
        ] {
            assert!(of_one.is_of_one_account(), "{of_one}");
        }
        let silent = Failure::Timeout {
            host: "github.example:443".to_owned(),
            limit: wait,
        };
        for of_all in [
            limited(Whole::Yes),
            answer(401),
            answer(429),
            answer(500),
            answer(503),
            silent,
        ] {
            assert!(!of_all.is_of_one_account(), "{of_all}");
        }
    }

    // L4
    #[test]
    fn what_was_sent_and_not_answered_may_be_spent() {
        let host = || "sso.example:443".to_owned();
        let answer = |code| Failure::Answer {
            what: "the token endpoint",
            host: host(),
            status: StatusCode::from_u16(code).unwrap(),
            said: "temporarily_unavailable".to_owned(),
        };
        let source = io::Error::other("refused");
        let unsent = Failure::Connect {
            host: host(),
            source,
        };
        for certain in [unsent, Failure::Busy, answer(400), answer(401), answer(429)] {
            assert!(certain.spends_nothing(), "{certain}");
        }
        let malformed = Failure::Malformed {
            what: "the token endpoint",
            why: "it is not JSON".to_owned(),
        };
        let limit = Duration::from_secs(1);
        let silent = Failure::Timeout {
            host: host(),
            limit,
        };
        let all = [500, 502, 503, 504].map(answer);
        for unknown in all.into_iter().chain([silent, malformed]) {
            assert!(!unknown.spends_nothing(), "{unknown}");
        }
    }
}
