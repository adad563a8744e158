//! What a request came to, for those who record it and those who count.

use super::{Done, Login, LoginError};
use crate::{
    authn::{Identity, TokenId, UserEntry, throttle::Limit},
    observe::metrics::labels::LoginEnd,
};
use std::{net::IpAddr, sync::Arc};

/// What a request came to, for those who record it.
#[derive(Clone, Default)]
pub struct Seen {
    /// What was done, or tried with a password.
    pub deed: Option<Deed>,
    /// What a deed on a page was about. Boxed: most requests have none.
    pub about: Option<Box<About>>,
    /// Who was identified, and by which session.
    pub who: Option<(Arc<UserEntry>, TokenId)>,
    /// Whose password was tried and got no session, if there is such a user: people type passwords where names belong.
    pub tried: Option<Arc<UserEntry>>,
}

/// What is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A session begins.
    Login,
    /// A session is lengthened.
    Renewal,
    /// A session ends.
    Logout,
    /// Its user ends a session or token on the page that lists them.
    SessionEnd,
    /// Somebody lets a terminal log in as them.
    GrantGiven,
    /// Somebody does not.
    GrantRefused,
}

/// What a deed on a page was about.
#[derive(Clone, Debug)]
pub enum About {
    /// Sessions or tokens, by their ids, with blanks between them.
    Tokens(String),
    /// A terminal.
    Terminal {
        /// What it calls its machine.
        client: String,
        /// From where it asked; none: it waits beside the browser.
        address: Option<String>,
    },
}

impl Seen {
    /// Sessions or tokens are ended. A person has not so many that their ids would not be one line.
    pub(crate) fn ends<'i>(&mut self, ids: impl IntoIterator<Item = &'i TokenId>) {
        let ids: Vec<&str> = ids.into_iter().map(TokenId::as_str).collect();
        self.deed = Some(Deed::SessionEnd);
        self.about = Some(Box::new(About::Tokens(ids.join(" "))));
    }

    /// Somebody has answered a terminal.
    pub(crate) fn answered(&mut self, deed: Deed, client: &str, from: Option<IpAddr>) {
        self.deed = Some(deed);
        self.about = Some(Box::new(About::Terminal {
            client: client.to_owned(),
            address: from.map(|it| it.to_canonical().to_string()),
        }));
    }

    pub(super) fn session(&mut self, deed: Deed, identity: &Identity) {
        self.deed = Some(deed);
        self.who = Some((Arc::clone(identity.user()), identity.token_id()));
    }
}

impl Login {
    /// The one place that is told how each login with a password ended.
    pub(super) fn note(
        &self,
        known: Option<Arc<UserEntry>>,
        done: &Result<Done, LoginError>,
        seen: &mut Seen,
    ) {
        match done {
            Ok(Done { session, user, .. }) => {
                self.logins.inc(LoginEnd::Done);
                seen.tried = None;
                seen.who = Some((Arc::clone(user), session.text.id()));
                tracing::info!(user = &*user.handle, token = %session.text.id(), "login");
            }
            Err(error) => {
                self.logins.inc(end(error));
                // An unknown name is not logged: people type passwords there.
                let user = known.as_ref().map_or("", |user| &user.handle);
                tracing::info!(user, %error, "login failed");
                if matches!(error, LoginError::Refused(_)) {
                    seen.deed = Some(Deed::Login);
                    seen.tried = known;
                }
            }
        }
    }

    /// Tells of a login that came to nothing before anybody was known.
    pub fn note_failure(&self, error: &LoginError) {
        self.logins.inc(end(error));
        tracing::info!(%error, "login failed");
    }
}

/// What is counted.
pub(super) fn end(error: &LoginError) -> LoginEnd {
    if let LoginError::Throttled(throttled) = error {
        return match throttled.limit {
            Limit::Account => LoginEnd::ThrottledAccount,
            Limit::Source => LoginEnd::ThrottledSource,
            Limit::Known => LoginEnd::ThrottledKnown,
        };
    }
    match error.status().code {
        401 => LoginEnd::Refused,
        429 => LoginEnd::Busy,
        400..500 => LoginEnd::Invalid,
        _ => LoginEnd::Unavailable,
    }
}
