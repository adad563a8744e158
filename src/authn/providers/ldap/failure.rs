//! Why a directory gave no answer. None of these is a no: whoever asked cannot tell.

use super::{super::files::FileError, entry::Malformed};
use crate::{config::Ldap as Settings, observe::chain};
use ldap3::{LdapError, LdapResult};
use std::{io, path::PathBuf, time::Duration};

/// Why a directory gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file that the configuration names.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// DNS does not say which servers there are.
    #[error("DNS does not say what {name} is: {why}")]
    Dns {
        /// What was asked for.
        name: String,
        /// Why.
        why: String,
    },
    /// No server could be reached; this is what the last one said.
    #[error("no connection to {host}")]
    Connect {
        /// `host:port`
        host: String,
        /// Why.
        source: ConnectError,
    },
    /// The directory does not take the account that searches.
    #[error("the directory refuses the search account (bind_dn, bind_password_file): {0}")]
    SearchAccount(String),
    /// A connection broke, or a server was silent.
    #[error("{host} gave no answer")]
    Broken {
        /// `host:port`
        host: String,
        /// Why.
        source: BrokenError,
    },
    /// The server answered that it does not do it.
    #[error("the directory answered {what} with {code}: {text:?}")]
    Answer {
        /// What was asked.
        what: &'static str,
        /// RFC 4511, appendix A.
        code: u32,
        /// Diagnostic text.
        text: String,
    },
    /// More than the gateway takes.
    #[error("the directory has more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// No LDAP, or an attribute in another form than its schema says.
    #[error("the directory's answer makes no sense: {0}")]
    Malformed(#[from] Malformed),
    /// So many are being asked already.
    #[error("too many questions to the directory at the same time")]
    Busy,
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Wrong { path, why } => Self::File { path, why },
            FileError::Busy => Self::Busy,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name, TCP or TLS.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server did not agree to StartTLS.
    #[error(transparent)]
    StartTls(#[from] StartTlsError),
    /// The crate.
    #[error(transparent)]
    Ldap(Box<LdapError>),
    /// It took too long.
    #[error("not within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Why TLS does not come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartTlsError {
    /// RFC 4511, appendix A.
    #[error("the server answered StartTLS with {0}")]
    Refused(u8),
    /// No answer to what was asked.
    #[error("the server's answer to StartTLS makes no sense")]
    Malformed,
    /// Whatever it says.
    #[error("the server's answer to StartTLS has more than {0} bytes")]
    TooLong(usize),
    /// Somebody has put something in before TLS.
    #[error("there is something behind the server's answer to StartTLS")]
    Behind,
}

/// Why a connection gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BrokenError {
    /// It ended, or does not speak LDAP.
    #[error(transparent)]
    Ldap(Box<LdapError>),
    /// It was silent.
    #[error("not within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// Whether the answer to a bind (RFC 4511, appendix A) is about the server and not about who binds:
/// operationsError, protocolError, timeLimitExceeded, authMethodNotSupported, strongerAuthRequired, referral,
/// adminLimitExceeded, confidentialityRequired, saslBindInProgress, busy, unavailable, other.
pub(super) fn is_of_server(code: u32) -> bool {
    matches!(code, 1..=3 | 7 | 8 | 10 | 11 | 13 | 14 | 51 | 52 | 80)
}

impl Failure {
    /// Whether another connection may do better.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Broken { .. } => true,
            // busy, unavailable, unwillingToPerform: of this server
            Self::Answer { code, .. } => matches!(code, 51 | 52),
            Self::File { .. }
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::SearchAccount(_)
            | Self::TooMany { .. }
            | Self::Malformed(_)
            | Self::Busy => false,
        }
    }

    /// Whether it is about what was asked for, and another account may do better. What the connection or the directory
    /// as a whole fails with, it fails with for everybody.
    pub fn is_of_one_account(&self) -> bool {
        match self {
            Self::TooMany { .. } | Self::Malformed(_) => true,
            // operationsError (Active Directory: nobody is bound), protocolError, authMethodNotSupported,
            // strongerAuthRequired, referral, noSuchObject (the base), invalidCredentials,
            // insufficientAccessRights, busy, unavailable, unwillingToPerform
            Self::Answer { code, .. } => !matches!(code, 1 | 2 | 7 | 8 | 10 | 32 | 49..=53),
            Self::File { .. }
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::SearchAccount(_)
            | Self::Broken { .. }
            | Self::Busy => false,
        }
    }

    /// Whether the directory has answered, and what it has under a name is not one account that can be read. What it
    /// answers about itself (a limit, an overload) says nothing of the name.
    pub fn is_of_name(&self) -> bool {
        const SIZE_LIMIT_EXCEEDED: u32 = 4;
        match self {
            Self::TooMany { .. } | Self::Malformed(_) => true,
            Self::Answer { code, .. } => *code == SIZE_LIMIT_EXCEEDED,
            Self::File { .. }
            | Self::Dns { .. }
            | Self::Connect { .. }
            | Self::SearchAccount(_)
            | Self::Broken { .. }
            | Self::Busy => false,
        }
    }

    pub(super) fn dns_timeout(settings: &Settings, limit: Duration) -> Self {
        Self::Dns {
            name: settings.srv_domain.clone().unwrap_or_default(),
            why: format!("not within {} ms", limit.as_millis()),
        }
    }

    pub(super) fn answer(what: &'static str, result: LdapResult) -> Self {
        Self::Answer {
            what,
            code: result.rc,
            text: result.text,
        }
    }

    /// The failure with what led to it, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
