//! Logging in at a provider to which the browser is sent, and from which it comes back.
//!
//! Guarantees: what comes back counts in the browser in which the login was begun, once, on whichever replica, and at
//! the provider where it was begun (G1, CVE-2026-44946); whose session it becomes is what the provider says of the
//! account, never what a cookie says (CVE-2025-23389); the provider sends back to the configured address, whatever
//! `Host` says; afterwards the browser is on one of the gateway's own pages (G3).
//!
//! The browser leaves by a page that sends it on, not by an answer to its form: some browsers hold every redirect
//! that follows a form against the page's policy, and nobody knows where a provider sends people on to.

use super::{
    Body, Web, WebError, cookies,
    form::Form,
    next::Next,
    page::{Frame, render},
    password::{Place, action},
    visit::Visit,
};
use crate::{
    api::login::{
        Deed, LoginError,
        grants::{STATE_LIFE, Spent},
    },
    authn::providers::{ArrivalError, Callback, Pending, Provider},
    request::cookies::cookie,
    status::clock,
    store::seal::{SealError, associated},
};
use askama::Template;
use http::{Response, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Names the purpose, so that no other sealed text is taken for a login.
const PURPOSE: &str = "web login";
/// Browsers keep cookies up to 4 KiB, with names and flags.
const MAX_COOKIE: usize = 3800;

/// A login that has begun, as its browser keeps it: sealed.
#[derive(Serialize, Deserialize)]
struct Begun {
    pending: Pending,
    next: String,
}

impl Web {
    /// The browser is sent to the provider.
    pub(super) async fn leave(
        &self,
        provider: &Provider,
        place: &Place,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        #[derive(Template)]
        #[template(path = "leave.html")]
        struct Leave<'a> {
            frame: Frame,
            display_name: &'a str,
            url: &'a str,
        }
        visit.check_login(form, &action(&provider.name))?;
        self.check_host(visit)?;
        self.login.admit_leave(visit.peer)?;
        let next = Next::or_front(Some(form.get("next")));
        let begun = Box::pin(provider.begin(&self.callback(provider))).await;
        let begun = begun.map_err(|failure| self.failed(ArrivalError::Failed(failure)))?;
        let url = begun.url;
        let mut kept = Begun {
            pending: begun.pending,
            next: next.as_str().to_owned(),
        };
        let mut sealed = self.seal(&kept)?;
        if sealed.len() > MAX_COOKIE {
            // An odd way back is not worth the login.
            "/".clone_into(&mut kept.next);
            sealed = self.seal(&kept)?;
        }
        let life = STATE_LIFE.unsigned_abs();
        visit.set(cookies::set(cookies::LOGIN, &sealed, Some(life)));
        let page = Leave {
            frame: self.frame(visit),
            display_name: place.display_name(),
            url: &url,
        };
        let page = render(StatusCode::OK, &page)?;
        Ok(visit.answer(page))
    }

    /// The browser comes back.
    pub(super) async fn arrive(
        &self,
        name: &str,
        visit: &mut Visit<'_>,
    ) -> Result<Response<Body>, WebError> {
        let provider = self.login.providers.get(name);
        let provider: Arc<Provider> = provider
            .filter(|it| it.is_by_browser())
            .ok_or(WebError::NoSuchPage)?;
        // Whoever was logged in here has nothing to do with it.
        visit.seen.who = None;
        let query = visit.head.uri.query().unwrap_or_default();
        let form = Form::parse(query.as_bytes())?;
        let callback = Callback {
            code: form.find("code"),
            state: form.find("state"),
            iss: form.find("iss"),
            error: form.find("error"),
            error_description: form.find("error_description"),
        };
        let strange = |why| self.failed(ArrivalError::Callback(why));
        let begun = self.begun(visit);
        let begun = begun.ok_or_else(|| strange("no login was begun in this browser"))?;
        let state = begun.pending.state();
        // First of all: what a foreign page sends here, or what is too late, uses nobody's login up and writes nothing.
        let fits = begun.pending.check(&provider.name, &callback, clock::now());
        fits.map_err(|error| self.failed(error))?;
        self.login.admit_arrival(visit.peer)?;
        if self.login.spend_state(state, visit.peer).await? == Spent::Before {
            return Err(strange("its state was used"));
        }
        visit.seen.deed = Some(Deed::Login);
        let here = self.callback(&provider);
        let finish = provider.finish(&begun.pending, &callback, &here);
        let arrival = Box::pin(finish).await.map_err(|error| self.failed(error))?;
        let (login, wanted) = (&self.login, visit.wanted());
        let done = login.enter_arrival(&provider, arrival, &wanted, visit.seen);
        let done = Box::pin(done).await?;
        self.login.forgive_browser(visit.peer);
        visit.set(cookies::clear(cookies::LOGIN));
        let next = Next::or_front(Some(&begun.next));
        Ok(self.logged_in(visit, &done, &next).await)
    }

    /// Where a provider sends the browser back to: from the configuration, never from the request.
    fn callback(&self, provider: &Provider) -> String {
        let own = self.external_url.get();
        format!("{}{}/callback", own.as_str(), action(&provider.name))
    }

    /// Whether the browser is at the host to which a provider sends it back: cookies are a host's own.
    fn check_host(&self, visit: &Visit<'_>) -> Result<(), WebError> {
        let own = self.external_url.get();
        let origin = visit.head.headers.get(header::ORIGIN);
        let origin = origin.and_then(|it| it.to_str().ok()?.parse::<Uri>().ok());
        match origin.as_ref().and_then(Uri::host) {
            Some(host) if !host.eq_ignore_ascii_case(own.host()) => {
                Err(WebError::Elsewhere(own.as_str().to_owned()))
            }
            // `null`, or none: nobody says.
            Some(_) | None => Ok(()),
        }
    }

    fn seal(&self, begun: &Begun) -> Result<String, WebError> {
        // Texts and times: this cannot fail.
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(begun).unwrap_or_default());
        let sealed = self.login.keyring.seal(&plain, &associated(&[PURPOSE]));
        sealed.map_err(|error: SealError| WebError::Login(error.into()))
    }

    /// What this browser has begun.
    fn begun(&self, visit: &Visit<'_>) -> Option<Begun> {
        let sealed = cookie(&visit.head.headers, cookies::LOGIN).ok().flatten()?;
        let plain = self.login.keyring.open(sealed, &associated(&[PURPOSE]));
        serde_json::from_slice(&plain.ok()?).ok()
    }

    /// Counts a login that came to nothing before anybody was known.
    fn failed(&self, error: ArrivalError) -> WebError {
        let error = LoginError::from(error);
        self.login.note_failure(&error);
        WebError::Login(error)
    }
}
