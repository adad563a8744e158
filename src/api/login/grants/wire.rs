//! The three paths that a terminal calls, in the words of OAuth 2.0.

use super::{
    super::{Body, Deed, Login, LoginError, Seen, answer, body, seen, wire::logged_in},
    Refusal,
    at_provider::MARK,
    device::{DEVICE_LIFE, INTERVAL},
};
use crate::{
    authn::{TOKEN_PREFIX, providers::Provider},
    objects::LOCAL,
    observe::metrics::labels::LoginEnd,
    request::form::{Form, encoded},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use std::{net::IpAddr, sync::Arc, time::Instant};
use zeroize::Zeroizing;

/// Characters of what a terminal calls its machine: a host name has 64 at most.
const MAX_CLIENT: usize = 100;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CODE_GRANT: &str = "authorization_code";

/// What a terminal is told that begins (RFC 8628, section 3.2).
#[derive(Serialize)]
pub(super) struct Begun<'a> {
    pub(super) device_code: &'a str,
    pub(super) user_code: &'a str,
    pub(super) verification_uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verification_uri_complete: Option<&'a str>,
    /// Seconds.
    pub(super) expires_in: u64,
    /// Seconds.
    pub(super) interval: u64,
}

/// What a terminal asks with a form.
#[derive(Clone, Copy, Debug)]
pub(in crate::api::login) enum Ask {
    /// A code that somebody types.
    Device,
    /// The session that was agreed to.
    Token,
    /// That its login ends before it began.
    Revoke,
}

impl Login {
    /// Answers a terminal that asks with a form.
    pub(in crate::api::login) async fn by_form<B>(
        &self,
        (ask, peer): (Ask, IpAddr),
        (headers, body): (&HeaderMap, B),
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let form = match form(headers, body).await {
            Ok(form) => form,
            Err(refusal) => return Ok(refused(refusal?)),
        };
        match ask {
            Ask::Device => self.device_begins(peer, &form).await,
            Ask::Token => self.token(peer, &form, seen).await,
            Ask::Revoke => self.revoke(peer, &form).await,
        }
    }

    /// `POST /v1/login/device`
    async fn device_begins(&self, peer: IpAddr, form: &Form) -> Result<Response<Body>, LoginError> {
        let Some(client) = client_name(form.get("client")) else {
            return Ok(refused(NO_CLIENT));
        };
        let at = match self.typed_at(form) {
            Ok(at) => at,
            Err(refusal) => return Ok(refused(refusal)),
        };
        self.admit_device(peer)?;
        if let Some(provider) = at {
            return Box::pin(self.device_begins_at(&provider, (client, peer))).await;
        }
        let begun = Box::pin(self.begin_device(client, peer)).await?;
        let page = format!("{}/device", self.external_url.get().as_str());
        let mut query = vec![("user_code", &*begun.user_code)];
        let provider = form.get("provider");
        if !provider.is_empty() {
            query.push(("provider", provider));
        }
        let answer = Begun {
            device_code: &begun.device_code,
            user_code: &begun.user_code,
            verification_uri: &page,
            verification_uri_complete: Some(&format!("{page}?{}", encoded(&query))),
            expires_in: DEVICE_LIFE.as_secs().unsigned_abs(),
            interval: INTERVAL.as_secs(),
        };
        Ok(no_store(answer::ok(&answer)))
    }

    /// The provider at which the person is to type the code; none: they type it here.
    fn typed_at(&self, form: &Form) -> Result<Option<Arc<Provider>>, Refusal> {
        let name = form.get("provider");
        let provider = self.providers.get(name);
        if provider.is_none() && !matches!(name, "" | LOCAL) {
            return Err(Refusal::InvalidRequest("no such provider"));
        }
        match form.get("at") {
            "" => Ok(None),
            "provider" => {
                let provider = provider.filter(|it| it.has_device_flow());
                let none = "the provider has no device flow of its own here";
                provider.map(Some).ok_or(Refusal::InvalidRequest(none))
            }
            _ => Err(Refusal::InvalidRequest("at: `provider`, or nothing")),
        }
    }

    /// Charges a terminal that begins.
    pub(super) fn admit_device(&self, peer: IpAddr) -> Result<(), LoginError> {
        let admitted = self
            .grants
            .paces
            .begin
            .admit(self.source(peer), Instant::now());
        admitted.map_err(LoginError::TooManyCodes)
    }

    /// `POST /v1/login/token`
    async fn token(
        &self,
        peer: IpAddr,
        form: &Form,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError> {
        let device_code = form.get("device_code");
        let done = match form.get("grant_type") {
            DEVICE_GRANT if let Some(at) = self.device_code_at(device_code) => {
                return Box::pin(self.poll_device_at(at, peer, seen)).await;
            }
            DEVICE_GRANT => Box::pin(self.poll_device(device_code, peer)).await,
            CODE_GRANT => {
                let presented = ["code", "code_verifier", "redirect_uri"].map(|it| form.get(it));
                let [code, verifier, redirect_uri] = presented;
                Box::pin(self.fetch_code((code, verifier, redirect_uri), peer)).await
            }
            _ => Ok(Err(Refusal::Unsupported)),
        };
        match done {
            Ok(Ok(done)) => {
                self.logins.inc(LoginEnd::Done);
                seen.deed = Some(Deed::Login);
                seen.who = Some((Arc::clone(&done.user), done.session.text.id()));
                let (user, token) = (&*done.user.handle, done.session.text.id());
                tracing::info!(user, %token, "login of a terminal");
                Ok(no_store(logged_in(&done)))
            }
            Ok(Err(refusal)) => {
                self.count(refusal);
                Ok(refused(refusal))
            }
            Err(error) => {
                self.logins.inc(seen::end(&error));
                Err(error)
            }
        }
    }

    /// `POST /v1/login/revoke` (RFC 7009): a terminal takes its own login back, with its device code. Of other things that
    /// are good for something it says that they are not revoked here (section 2.2.1).
    async fn revoke(&self, peer: IpAddr, form: &Form) -> Result<Response<Body>, LoginError> {
        let token = form.get("token");
        if let Some(refusal) = no_device_code(token) {
            return Ok(refused(refusal));
        }
        match self.withdraw_device(token, peer).await? {
            // Also of what is none: section 2.2 wants it so, and nothing is told.
            Ok(()) => Ok(no_store(answer::ok(&json!({})))),
            Err(refusal) => Ok(refused(refusal)),
        }
    }

    /// Counts how a login of a terminal ended, if it did.
    pub(super) fn count(&self, refusal: Refusal) {
        match refusal {
            // No end yet.
            Refusal::Pending | Refusal::SlowDown => {}
            Refusal::TooOften(_) => self.logins.inc(LoginEnd::Busy),
            Refusal::Denied => self.logins.inc(LoginEnd::Refused),
            Refusal::Expired
            | Refusal::InvalidGrant(_)
            | Refusal::Unsupported
            | Refusal::UnsupportedToken(_)
            | Refusal::InvalidRequest(_) => self.logins.inc(LoginEnd::Invalid),
        }
    }
}

const NO_CLIENT: Refusal = Refusal::InvalidRequest(
    "client: at most 100 letters and digits of ASCII, blanks and .-_@:/+#,'()",
);

/// Why this is nothing that is revoked here. Who believes that it was goes away from what is still good.
fn no_device_code(token: &str) -> Option<Refusal> {
    if token.is_empty() {
        return Some(Refusal::InvalidRequest("token: the device code"));
    }
    let why = if token.starts_with(TOKEN_PREFIX) {
        "a session is ended at /v1/login/logout, a token at its own path"
    } else if token.starts_with(MARK) {
        "the code is the provider's, and ends there by itself"
    } else {
        return None;
    };
    Some(Refusal::UnsupportedToken(why))
}

/// What a terminal calls its machine, if a person can read it as it is: nothing that is invisible, turns the
/// direction of what follows, or looks like something else.
pub fn client_name(text: &str) -> Option<&str> {
    let good = |c: u8| c.is_ascii_alphanumeric() || b" .-_@:/+#,'()".contains(&c);
    let text = text.trim_matches(' ');
    let good = text.len() <= MAX_CLIENT && text.bytes().all(good);
    good.then_some(if text.is_empty() { "a terminal" } else { text })
}

/// Reads the form. What is wrong with the form itself is told in OAuth's words; what is wrong with the message, as
/// everywhere under `/v1/login/`.
async fn form<B>(headers: &HeaderMap, body: B) -> Result<Form, Result<Refusal, LoginError>>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let wrong = |_| {
        Ok(Refusal::InvalidRequest(
            "the body is not a form with each field once",
        ))
    };
    Form::check_type(headers).map_err(wrong)?;
    let bytes: Zeroizing<Vec<u8>> = body::collect(body).await.map_err(Err)?;
    Form::parse(&bytes).map_err(wrong)
}

pub(super) fn refused(refusal: Refusal) -> Response<Body> {
    let (error, description) = match refusal {
        Refusal::Pending => ("authorization_pending", "nobody has answered yet"),
        Refusal::SlowDown => ("slow_down", "ask less often"),
        Refusal::TooOften(_) => ("slow_down", "too many codes that are nobody's; ask later"),
        Refusal::Expired => (
            "expired_token",
            "the time for an answer is over: begin anew",
        ),
        Refusal::Denied => ("access_denied", "the login was refused"),
        Refusal::InvalidGrant(why) => ("invalid_grant", why),
        Refusal::Unsupported => ("unsupported_grant_type", "no such grant_type here"),
        Refusal::UnsupportedToken(why) => ("unsupported_token_type", why),
        Refusal::InvalidRequest(why) => ("invalid_request", why),
    };
    let body = json!({"error": error, "error_description": description});
    // Whether the code is anybody's was not looked at: that is no refusal of it.
    let wait = if let Refusal::TooOften(wait) = refusal {
        Some(wait)
    } else {
        None
    };
    let code = wait.map_or(StatusCode::BAD_REQUEST, |_| StatusCode::TOO_MANY_REQUESTS);
    let mut response = no_store(answer::json(code, answer::JSON, &body));
    if let Some(wait) = wait {
        let seconds = HeaderValue::from(wait.as_secs());
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// RFC 6749, section 5.1.
pub(super) fn no_store(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    // CVE-2024-52281: nothing that is not seen, or that turns or looks like something else.
    #[test]
    fn what_a_terminal_calls_itself_is_plain() {
        for good in [
            "palisade 1.2.3+abc on build-7.example.com",
            "jane@desk",
            "Jane's laptop (old)",
            &"x".repeat(100),
        ] {
            assert_eq!(client_name(good), Some(good));
        }
        assert_eq!(client_name("  "), Some("a terminal"));
        for bad in [
            "\u{3164}",
            "a\u{115f}",
            "\u{5d0}\u{5d1}",
            "\u{627}",
            "\u{430}dmin",
            "\u{202e}a",
            "a\nb",
            "a\u{a0}b",
            "<b>",
            "a\u{0}",
            &"x".repeat(101),
        ] {
            assert_eq!(client_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn too_often_is_told_as_such() {
        let answer = refused(Refusal::TooOften(std::time::Duration::from_secs(7)));
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()[header::RETRY_AFTER], "7");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    }
}
