//! Choosing where to log in, logging in with a password, logging out.

use super::{
    Body, Web, WebError, cookies,
    form::Form,
    next::Next,
    page::{Frame, render, sentence},
    visit::{Visit, see_other},
};
use crate::{
    api::login::{Deed, Done, LoginError, PasswordLogin},
    authn::{ParsedToken, TokenId},
    objects::LOCAL,
    request::cookies::cookie,
};
use askama::Template;
use http::{HeaderValue, Response, StatusCode, header};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a browser is kept known to an account: as long as the proof is good.
const KNOWN_FOR: Duration = Duration::from_hours(180 * 24);

/// A place to log in.
pub(super) struct Place {
    name: String,
    display_name: String,
    about: &'static str,
    /// Of the form, if choosing it is one.
    token: Option<String>,
}

impl Place {
    pub(super) fn display_name(&self) -> &str {
        &self.display_name
    }
}

const BY_PASSWORD: &str = "With user name and password";
const BY_BROWSER: &str = "You are sent there, and back when it knows you";

#[derive(Template)]
#[template(path = "login.html")]
struct Choose<'a> {
    frame: Frame,
    purpose: Option<&'static str>,
    providers: Vec<Place>,
    next: &'a str,
    query: String,
}

#[derive(Template)]
#[template(path = "password.html")]
struct Ask<'a> {
    frame: Frame,
    purpose: Option<&'static str>,
    provider: Place,
    token: String,
    next: &'a str,
    query: String,
    username: &'a str,
    error: Option<String>,
    others: bool,
}

impl Web {
    /// `/login`: where is your account?
    pub(super) fn choose(&self, visit: &mut Visit<'_>) -> Result<Response<Body>, WebError> {
        let next = Next::or_front(visit.parameter("next").as_deref());
        let providers = self.places(visit);
        if let [only] = providers.as_slice() {
            let to = see_other(&format!("/login/{}?{}", only.name, next.query()));
            return Ok(visit.answer(to));
        }
        self.choices(visit, providers, &next)
    }

    fn choices(
        &self,
        visit: &mut Visit<'_>,
        providers: Vec<Place>,
        next: &Next,
    ) -> Result<Response<Body>, WebError> {
        let page = Choose {
            frame: self.frame(visit),
            purpose: next.purpose(),
            providers,
            next: next.as_str(),
            query: next.query(),
        };
        let page = render(StatusCode::OK, &page)?;
        Ok(visit.answer(page))
    }

    /// `/login/<provider>`: the form for name and password, or the way to the provider.
    pub(super) fn ask(
        &self,
        name: &str,
        visit: &mut Visit<'_>,
    ) -> Result<Response<Body>, WebError> {
        let place = self.place(name, visit).ok_or(WebError::NoSuchPage)?;
        let next = Next::or_front(visit.parameter("next").as_deref());
        if place.token.is_some() {
            return self.choices(visit, vec![place], &next);
        }
        let page = self.password_page(place, visit, &next, ("", None));
        let page = render(StatusCode::OK, &page)?;
        Ok(visit.answer(page))
    }

    /// The form comes back.
    pub(super) async fn log_in(
        &self,
        name: &str,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        let place = self.place(name, visit).ok_or(WebError::NoSuchPage)?;
        if let Some(provider) = self
            .login
            .providers
            .get(name)
            .filter(|it| it.is_by_browser())
        {
            return Box::pin(self.leave(&provider, &place, visit, form)).await;
        }
        // Whoever was logged in here has nothing to do with it.
        visit.seen.who = None;
        visit.check_login(form, &action(name))?;
        let next = Next::or_front(Some(form.get("next")));
        let known = cookie(&visit.head.headers, cookies::KNOWN).ok().flatten();
        let login = PasswordLogin {
            provider: name.to_owned(),
            username: form.get("username").to_owned(),
            password: Zeroizing::new(form.get("password").to_owned()).into(),
            device: known.map(ToOwned::to_owned),
            wanted: visit.wanted(),
        };
        match Box::pin(self.login.by_password(Ok(login), visit.seen)).await {
            Ok(done) => Ok(self.logged_in(visit, &done, &next).await),
            Err(error) => {
                let (status, wait) = refused(&error);
                let said = sentence(&error.status().message);
                let page =
                    self.password_page(place, visit, &next, (form.get("username"), Some(said)));
                let mut page = render(status, &page)?;
                if let Some(wait) = wait {
                    page.headers_mut().insert(header::RETRY_AFTER, wait);
                }
                Ok(visit.answer(page))
            }
        }
    }

    /// Gives the browser its session: always a new one, and the one before is over (G7).
    pub(super) async fn logged_in(
        &self,
        visit: &mut Visit<'_>,
        done: &Done,
        next: &Next,
    ) -> Response<Body> {
        let old = visit.identity.take().map(|identity| identity.token_id());
        if let Some(old) = old {
            self.end_quietly(old).await;
        }
        if let Some(old) = visit.take_unjudged() {
            self.end_unjudged(&old).await;
        }
        let session = done.session.text.expose();
        visit.set(cookies::set(cookies::SESSION, session, None));
        visit.set(cookies::set(cookies::KNOWN, &done.device, Some(KNOWN_FOR)));
        visit.answer(see_other(next.as_str()))
    }

    /// `/logout`
    pub(super) async fn log_out(
        &self,
        visit: &mut Visit<'_>,
        form: &Form,
    ) -> Result<Response<Body>, WebError> {
        let next = Next::or_front(Some(form.get("next")));
        if let Some(identity) = &visit.identity {
            visit.check(form, "/logout")?;
            visit.seen.deed = Some(Deed::Logout);
            self.login.end(identity.token_id()).await?;
            tracing::info!(user = identity.handle(), token = %identity.token_id(), "logout");
            visit.set(cookies::clear(cookies::SESSION));
        } else if let Some(old) = visit.take_unjudged() {
            visit.check(form, "/logout")?;
            visit.seen.deed = Some(Deed::Logout);
            self.end_unjudged(&old).await;
            visit.set(cookies::clear(cookies::SESSION));
        }
        Ok(visit.answer(see_other(next.as_str())))
    }

    async fn end_quietly(&self, old: TokenId) {
        if let Err(error) = self.login.end(old).await {
            tracing::warn!(token = %old, %error, "the session before a login goes on until it ends by itself");
        }
    }

    async fn end_unjudged(&self, old: &ParsedToken) {
        if let Err(error) = self.login.end_held(old).await {
            let token = old.id;
            tracing::warn!(%token, %error, "a browser's session goes on until it ends by itself");
        }
    }

    fn password_page<'p>(
        &self,
        provider: Place,
        visit: &Visit<'_>,
        next: &'p Next,
        (username, error): (&'p str, Option<String>),
    ) -> Ask<'p> {
        Ask {
            frame: self.frame(visit),
            purpose: next.purpose(),
            token: visit.login_token(&action(&provider.name)),
            provider,
            next: next.as_str(),
            query: next.query(),
            username,
            error,
            others: self.places(visit).len() > 1,
        }
    }

    /// Where people log in.
    fn places(&self, visit: &Visit<'_>) -> Vec<Place> {
        let local = Place {
            name: LOCAL.to_owned(),
            display_name: "Local account".to_owned(),
            about: BY_PASSWORD,
            token: None,
        };
        let all = self.login.providers.all();
        let others = all.values().map(|it| Place {
            name: it.name.to_string(),
            display_name: match &*it.config.display_name {
                "" => it.name.to_string(),
                shown => shown.to_owned(),
            },
            about: if it.is_by_browser() {
                BY_BROWSER
            } else {
                BY_PASSWORD
            },
            token: it
                .is_by_browser()
                .then(|| visit.login_token(&action(&it.name))),
        });
        std::iter::once(local).chain(others).collect()
    }

    /// The name, if there is such a provider; else nothing, which lets people choose.
    pub(super) fn known<'n>(&self, name: &'n str) -> &'n str {
        match name {
            LOCAL => name,
            other if self.login.providers.get(other).is_some() => name,
            _ => "",
        }
    }

    fn place(&self, name: &str, visit: &Visit<'_>) -> Option<Place> {
        let mut places = self.places(visit).into_iter();
        places.find(|place| place.name == name)
    }
}

/// Where the form of a provider goes.
pub(super) fn action(provider: &str) -> String {
    format!("/login/{provider}")
}

/// What a refused login is answered with, if the form is shown again: one code for a wrong name and a wrong password
/// (G5).
fn refused(error: &LoginError) -> (StatusCode, Option<HeaderValue>) {
    let status = error.status();
    let wait = status.details.as_ref().map(|it| it.retry_after_seconds);
    let wait = wait.filter(|&seconds| seconds > 0).map(HeaderValue::from);
    match status.code {
        // Not 401: there is no scheme that a browser could ask for the password with.
        401 => (StatusCode::FORBIDDEN, wait),
        code => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (code, wait)
        }
    }
}
