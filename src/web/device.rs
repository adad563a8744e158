//! `/device`: a terminal shows a code, and somebody who is logged in types it here and answers.
//!
//! Also whoever comes by a link that holds the code sees it, to compare, and is asked (RFC 8628, section 5.4): a link
//! in a message is how the terminal of somebody else would be logged in (G4, CVE-2024-58267).

use super::{
    Body, Web, WebError,
    form::Form,
    page::{Frame, render, said, sentence},
    sessions::ago,
    visit::Visit,
};
use crate::api::login::{
    Deed, LoginError,
    grants::{Answered, Asked, normalised},
};
use askama::Template;
use http::{Response, StatusCode, header};
use std::net::IpAddr;

/// Where the answer goes.
const ACTION: &str = "/device";

#[derive(Template)]
#[template(path = "device.html")]
struct Type<'a> {
    frame: Frame,
    typed: &'a str,
    error: Option<String>,
}

/// A terminal that asks.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(super) struct Confirm<'a> {
    pub(super) frame: Frame,
    pub(super) name: &'a str,
    pub(super) code: &'a str,
    pub(super) client: &'a str,
    pub(super) from: String,
    /// When, if the gateway knows.
    pub(super) asked: Option<String>,
    pub(super) action: &'a str,
    pub(super) token: String,
    pub(super) user_code: Option<&'a str>,
}

impl Web {
    /// The field for the code, or the question.
    pub(super) fn device(&self, visit: &mut Visit<'_>) -> Result<Response<Body>, WebError> {
        let provider = visit.parameter("provider").unwrap_or_default();
        let identity = match visit.identified_at(self.known(&provider)) {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        let Some(typed) = visit.parameter("user_code").filter(|it| !it.is_empty()) else {
            return self.type_code(visit, "", None);
        };
        match self.login.asking_device(&typed, (&identity, visit.peer)) {
            Ok(Some(asked)) => {
                let code = normalised(&typed).unwrap_or_default();
                let page = self.question(visit, identity.handle(), (&code, &asked));
                let page = render(StatusCode::OK, &page)?;
                Ok(visit.answer(page))
            }
            Ok(None) => self.type_code(visit, &typed, Some(&unknown())),
            Err(error @ LoginError::TooManyCodes(_)) => self.type_code(visit, &typed, Some(&error)),
            Err(error) => Err(error.into()),
        }
    }

    /// The answer.
    pub(super) async fn answer_device(
        &self,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        let identity = match visit.identified() {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        visit.check(form, ACTION)?;
        let user_code = form.get("user_code");
        // Also here, so that nobody guesses by answering.
        let Some(asked) = self
            .login
            .asking_device(user_code, (&identity, visit.peer))?
        else {
            return self.type_code(visit, user_code, Some(&unknown()));
        };
        // What it calls itself is not logged: strangers choose it.
        let (client, from) = (&*asked.client, asked.from);
        let yes = form.get("answer") == "yes";
        let (deed, answered) = if yes {
            let answered = self.login.allow_device(user_code, &identity).await?;
            (Deed::GrantGiven, answered)
        } else {
            let answered = self.login.refuse_device(user_code).await?;
            (Deed::GrantRefused, answered)
        };
        if answered == Answered::Gone {
            return self.type_code(visit, user_code, Some(&unknown()));
        }
        visit.seen.answered(deed, client, Some(from));
        let user = identity.handle();
        tracing::info!(user, %from, yes, "answer to a terminal that asked for a login");
        let frame = self.frame(visit);
        let page = if yes {
            let text = format!(
                "{client} is logged in as {user} in a few seconds. You can close this window."
            );
            said(frame, "Done", &text)?
        } else {
            let text = format!("{client} gets no login. You can close this window.");
            said(frame, "Refused", &text)?
        };
        Ok(visit.answer(page))
    }

    fn type_code(
        &self,
        visit: &mut Visit<'_>,
        typed: &str,
        error: Option<&LoginError>,
    ) -> Result<Response<Body>, WebError> {
        let status = error.map(LoginError::status);
        let code = status.as_ref().map_or(200, |status| status.code);
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let page = Type {
            frame: self.frame(visit),
            typed,
            error: status.as_ref().map(|status| sentence(&status.message)),
        };
        let mut page = render(code, &page)?;
        let wait = status.and_then(|status| status.details);
        if let Some(wait) = wait.filter(|wait| wait.retry_after_seconds > 0) {
            let wait = wait.retry_after_seconds.into();
            page.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        Ok(visit.answer(page))
    }

    /// From where a terminal asks, and how far that is from the browser `here`. Behind a balancer everybody has its
    /// address: there the terminal of an attacker must not look like one beside the browser (G4).
    fn distance(&self, from: IpAddr, here: IpAddr) -> String {
        if !self.login.tells_sources_apart() {
            return "The gateway cannot tell from where".to_owned();
        }
        let (from, here) = (from.to_canonical(), here.to_canonical());
        if from == here {
            format!("{from} (the address of this browser)")
        } else {
            format!("{from} (this browser is at {here})")
        }
    }

    fn question<'q>(
        &self,
        visit: &Visit<'_>,
        name: &'q str,
        (code, asked): (&'q str, &'q Asked),
    ) -> Confirm<'q> {
        Confirm {
            frame: self.frame(visit),
            name,
            code,
            client: &asked.client,
            from: self.distance(asked.from, visit.peer),
            asked: Some(ago(Some(asked.at), visit.now)),
            action: ACTION,
            token: visit.token(ACTION),
            user_code: Some(code),
        }
    }
}

fn unknown() -> LoginError {
    LoginError::UserCode
}
