//! `/authorize`: a terminal on the person's own machine has opened this browser, and waits on loopback for its answer
//! (RFC 8252).
//!
//! Guarantees: whatever is wrong with the address is told on a page and never by a redirect; an answer goes to the
//! loopback address that was shown the person and nowhere else (G3); no code without a challenge by S256 (G1).

use super::{
    Body, Web, WebError,
    device::Confirm,
    form::Form,
    page::{allow_forms_to, render},
    visit::{Visit, see_other},
};
use crate::{
    api::login::{
        Deed,
        grants::{CHALLENGE, Callback, client_name, compare_code},
    },
    request::form::encoded,
};
use http::{Response, StatusCode};

/// The only client there is.
const CLIENT_ID: &str = "palisade-cli";
/// Longest state that is sent back: a random text of the terminal's.
const MAX_STATE: usize = 256;

/// What a terminal wants.
struct Wanted {
    callback: Callback,
    challenge: String,
    state: String,
    client: String,
    provider: String,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, WebError> {
        let form = Form::parse(query.as_bytes())?;
        let is = |name: &'static str, value: &str| match form.find(name) {
            Some(found) if found == value => Ok(()),
            Some(_) | None => Err(WebError::Authorize(name)),
        };
        // First of all where an answer would go.
        let callback = Callback::parse(form.get("redirect_uri"));
        let callback = callback.ok_or(WebError::Authorize("redirect_uri"))?;
        is("response_type", "code")?;
        is("client_id", CLIENT_ID)?;
        is("code_challenge_method", "S256")?;
        let base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let challenge = form.get("code_challenge");
        if challenge.len() != CHALLENGE || !challenge.bytes().all(base64) {
            return Err(WebError::Authorize("code_challenge"));
        }
        let state = form.get("state");
        let visible = state.bytes().all(|c| c.is_ascii_graphic());
        if state.is_empty() || state.len() > MAX_STATE || !visible {
            return Err(WebError::Authorize("state"));
        }
        let client = client_name(form.get("client")).ok_or(WebError::Authorize("client"))?;
        Ok(Self {
            callback,
            challenge: challenge.to_owned(),
            state: state.to_owned(),
            client: client.to_owned(),
            provider: form.get("provider").to_owned(),
        })
    }

    /// This page's address again.
    fn action(&self) -> String {
        let query = encoded(&[
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("redirect_uri", self.callback.as_str()),
            ("code_challenge", &self.challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
            ("client", &self.client),
        ]);
        format!("/authorize?{query}")
    }

    /// Who waits for the answer.
    fn program(&self) -> String {
        let port = self.callback.origin().rsplit(':').next();
        let port = port.unwrap_or_default();
        format!("a program on this machine, port {port}")
    }

    /// Where the browser brings an answer.
    fn answer(&self, name: &str, value: &str) -> String {
        let query = encoded(&[(name, value), ("state", &self.state)]);
        format!("{}?{query}", self.callback.as_str())
    }
}

impl Web {
    /// The question.
    pub(super) fn authorize(&self, visit: &mut Visit<'_>) -> Result<Response<Body>, WebError> {
        let wanted = Wanted::read(visit.head.uri.query().unwrap_or_default())?;
        let identity = match visit.identified_at(self.known(&wanted.provider)) {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        let action = wanted.action();
        let page = Confirm {
            frame: self.frame(visit),
            name: identity.handle(),
            code: &compare_code(&wanted.challenge),
            client: &wanted.client,
            // Whoever asked opened this very page: its address and its time would say nothing.
            from: wanted.program(),
            asked: None,
            action: &action,
            token: visit.token(&action),
            user_code: None,
        };
        let mut page = render(StatusCode::OK, &page)?;
        self.login.ask_for_code();
        allow_forms_to(page.headers_mut(), wanted.callback.origin());
        Ok(visit.answer(page))
    }

    /// The answer.
    pub(super) async fn answer_authorize(
        &self,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        let wanted = Wanted::read(visit.head.uri.query().unwrap_or_default())?;
        let identity = match visit.identified_at(self.known(&wanted.provider)) {
            Ok(identity) => identity.clone(),
            Err(login) => return Ok(visit.answer(*login)),
        };
        visit.check(form, &wanted.action())?;
        let yes = form.get("answer") == "yes";
        let (user, client) = (identity.handle(), &*wanted.client);
        let to = if yes {
            let asked = (&*wanted.challenge, &wanted.callback);
            let terminal = (client, visit.peer);
            let code = self.login.grant_code(&identity, asked, terminal).await?;
            visit.seen.answered(Deed::GrantGiven, client, None);
            wanted.answer("code", &code)
        } else {
            self.login.refuse_code();
            visit.seen.answered(Deed::GrantRefused, client, None);
            wanted.answer("error", "access_denied")
        };
        let from = visit.peer;
        tracing::info!(user, %from, yes, "answer to a terminal that asked for a login");
        Ok(visit.answer(see_other(&to)))
    }
}
