//! Why there is no such page, or why a form is not taken.

use super::form::{FORM_TIME, MAX_FORM};
use crate::{
    api::login::LoginError,
    authn::AuthnError,
    request::form::FormError,
    status::{Reason, Status},
};

/// Why a page is not shown, or a form not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// No such page.
    #[error("no such page")]
    NoSuchPage,
    /// The page takes other methods.
    #[error("the page takes {0}")]
    Method(&'static str),
    /// The form is not one.
    #[error("the form is not {0}")]
    Form(#[from] FormError),
    /// The form broke off.
    #[error("the form did not come whole")]
    Broken,
    /// What a terminal wants is not what one of ours would want.
    #[error("the address that the terminal opened is wrong: {0}")]
    Authorize(&'static str),
    /// The form is too large.
    #[error("the form is larger than {MAX_FORM} bytes")]
    TooLarge,
    /// The form did not come in time.
    #[error("the form took longer than {} s", FORM_TIME.as_secs())]
    Timeout,
    /// The form was sent by a page of somebody else.
    #[error("the form was sent from another place than the gateway's own pages")]
    CrossSite,
    /// The form does not have the token that was put into it.
    #[error("the form does not have this browser's token")]
    Stale,
    /// Providers send browsers back to another host than this one, where the login's cookie would be missing.
    #[error("log in at {0}: providers send browsers back there")]
    Elsewhere(String),
    /// Cookies that contradict each other, or nobody can tell whose session it is.
    #[error(transparent)]
    Authn(#[from] AuthnError),
    /// The login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// A page could not be written.
    #[error("a page could not be written")]
    Render(#[from] askama::Error),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] crate::authn::NoRandomness),
}

impl WebError {
    /// The methods that the page takes, if that is what is wrong.
    pub fn allowed(&self) -> Option<&'static str> {
        if let Self::Method(allowed) = self {
            Some(allowed)
        } else {
            None
        }
    }

    /// What the browser's person is told.
    pub fn status(&self) -> Status {
        let failure = |code, reason, message: &str| Status::failure(code, Some(reason), message);
        match self {
            Self::NoSuchPage => failure(404, Reason::NotFound, "there is no such page"),
            Self::Method(_) => failure(405, Reason::MethodNotAllowed, &self.to_string()),
            Self::Form(_) | Self::Broken | Self::Authorize(_) | Self::Elsewhere(_) => {
                failure(400, Reason::BadRequest, &self.to_string())
            }
            Self::TooLarge => failure(413, Reason::RequestEntityTooLarge, &self.to_string()),
            Self::Timeout => Status::failure(408, None, self.to_string()),
            Self::CrossSite => failure(403, Reason::Forbidden, &self.to_string()),
            Self::Stale => failure(
                403,
                Reason::Forbidden,
                "this form is too old; go back, load the page again and repeat what you did (the browser \
                 must take cookies)",
            ),
            Self::Authn(error) => error.status(),
            Self::Login(error) => error.status(),
            Self::Render(_) => failure(
                500,
                Reason::InternalError,
                "the gateway could not write this page",
            ),
            Self::Randomness(_) => failure(
                503,
                Reason::ServiceUnavailable,
                "the gateway has no random numbers at the moment; try again",
            ),
        }
    }
}
