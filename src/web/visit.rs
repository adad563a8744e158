//! A browser's request: whose session it has, and what its forms are signed with.

use super::{Body, Web, WebError, agent, cookies, form, next::Next, route::Route};
use crate::{
    api::login::{Seen, Wanted},
    authn::{AuthnError, Credential, Identity, NoRandomness, ParsedToken, TokenText},
    objects::TokenKind,
    request::cookies::cookie,
    status::clock,
};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use jiff::Timestamp;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Random bytes of a browser's secret.
const SECRET: usize = 32;
/// Characters of it.
const SECRET_TEXT: usize = 43;

/// One request of a browser.
pub(super) struct Visit<'a> {
    pub(super) peer: IpAddr,
    pub(super) head: &'a Parts,
    pub(super) seen: &'a mut Seen,
    pub(super) now: Timestamp,
    /// Whose session it has.
    pub(super) identity: Option<Identity>,
    /// What the session's forms are signed with: the session itself.
    session: Option<Zeroizing<String>>,
    /// A session of which nobody can tell whether it still counts, on a page that does without.
    unjudged: Option<ParsedToken>,
    /// What the forms of a login are signed with.
    browser: Zeroizing<String>,
    /// Cookies to set.
    set: Vec<HeaderValue>,
}

impl<'a> Visit<'a> {
    /// Who is asking. A session that has ended is none, and its cookie is taken away; if nobody can tell, that is the
    /// answer, but where a login begins or ends: a provider that is away keeps nobody from another login, nor in one.
    pub(super) fn begin(
        web: &Web,
        (peer, route): (IpAddr, Route<'_>),
        head: &'a Parts,
        seen: &'a mut Seen,
    ) -> Result<Self, WebError> {
        let now = clock::now();
        let headers = &head.headers;
        let mut set = Vec::new();
        let credential = Credential::from_cookie(headers, cookies::SESSION);
        let identity = credential.and_then(|credential| {
            let credential = credential.as_ref();
            let known = credential.map(|it| web.authn.authenticate(it, now));
            known.transpose()
        });
        let cookie = || cookie(headers, cookies::SESSION).ok().flatten();
        let mut unjudged = None;
        let identity = match identity {
            Ok(identity) => identity,
            Err(AuthnError::Refused(_)) => {
                set.extend(cookies::clear(cookies::SESSION));
                None
            }
            Err(AuthnError::Unavailable(_)) if route.is_of_logins() => {
                unjudged = cookie().and_then(|text| TokenText::parse(text).ok());
                None
            }
            Err(other) => return Err(other.into()),
        };
        let session = cookie().filter(|_| identity.is_some() || unjudged.is_some());
        let session = session.map(|text| Zeroizing::new(text.to_owned()));
        let (browser, new) = browser(headers)?;
        set.extend(new);
        if let Some(identity) = &identity {
            seen.who = Some((identity.user().clone(), identity.token_id()));
        }
        Ok(Self {
            peer,
            head,
            seen,
            now,
            identity,
            session,
            unjudged,
            browser,
            set,
        })
    }

    /// Whose session it is, or the way to a login and back here.
    pub(super) fn identified(&self) -> Result<&Identity, Box<Response<Body>>> {
        self.identified_at("")
    }

    /// The same, by way of a login at this provider, if that is one.
    pub(super) fn identified_at(&self, provider: &str) -> Result<&Identity, Box<Response<Body>>> {
        let here = self.head.uri.path_and_query();
        let here = Next::or_front(here.map(http::uri::PathAndQuery::as_str));
        let page = format!("/login/{provider}");
        let page = match Route::parse(&page) {
            Some(Route::Provider(_)) => &*page,
            Some(_) | None => "/login",
        };
        let login = || Box::new(see_other(&format!("{page}?{}", here.query())));
        self.identity.as_ref().ok_or_else(login)
    }

    /// A session of which nobody can tell whether it still counts, to be ended.
    pub(super) fn take_unjudged(&mut self) -> Option<ParsedToken> {
        self.unjudged.take()
    }

    /// The token of a form for whoever is logged in; for nobody else it is none that is taken.
    pub(super) fn token(&self, action: &str) -> String {
        let secret = self.session.as_ref().unwrap_or(&self.browser);
        form::token(secret, action)
    }

    /// Whether a form is one of the session's.
    pub(super) fn check(&self, form: &form::Form, action: &str) -> Result<(), WebError> {
        let secret = self.session.as_ref().ok_or(WebError::Stale)?;
        form::check_token(form, secret, action)
    }

    /// The token of a form of a login, whoever was logged in before.
    pub(super) fn login_token(&self, action: &str) -> String {
        form::token(&self.browser, action)
    }

    /// Whether a form is one of a login in this browser.
    pub(super) fn check_login(&self, form: &form::Form, action: &str) -> Result<(), WebError> {
        form::check_token(form, &self.browser, action)
    }

    /// The value of a parameter of the query; none if it is there twice.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.head.uri.query().unwrap_or_default();
        let mut values =
            form_urlencoded::parse(query.as_bytes()).filter(|(found, _)| found == name);
        let first = values.next();
        if values.next().is_some() {
            return None;
        }
        first.map(|(_, value)| value.into_owned())
    }

    /// The session that this browser is to get.
    pub(super) fn wanted(&self) -> Wanted {
        let agent = self.head.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|it| it.to_str().ok()).unwrap_or_default();
        Wanted {
            kind: TokenKind::Web,
            client: agent::name(agent),
            from: self.peer,
        }
    }

    /// Sets a cookie with the answer.
    pub(super) fn set(&mut self, cookie: Option<HeaderValue>) {
        self.set.extend(cookie);
    }

    /// The answer, with the cookies.
    pub(super) fn answer(&mut self, mut response: Response<Body>) -> Response<Body> {
        for cookie in self.set.drain(..) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// The browser's secret, and the cookie that makes it one if it has none.
fn browser(headers: &HeaderMap) -> Result<(Zeroizing<String>, Option<HeaderValue>), WebError> {
    let twice = |_| AuthnError::Ambiguous("two cookies of one name");
    let base64 = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let known = cookie(headers, cookies::FORM).map_err(twice)?;
    if let Some(known) = known.filter(|it| it.len() == SECRET_TEXT && it.bytes().all(base64)) {
        return Ok((Zeroizing::new(known.to_owned()), None));
    }
    let mut bytes = Zeroizing::new([0_u8; SECRET]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
    let set = cookies::set(cookies::FORM, &secret, None);
    Ok((secret, set))
}

/// Sends the browser on, with a GET (RFC 9110, section 15.4.4). `to` is made here or was read by [`Next`].
pub(super) fn see_other(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    super::page::guard(headers);
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(header::LOCATION, to);
    }
    response
}
