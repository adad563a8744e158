//! Forms: read within bounds, and taken only from the gateway's own pages.
//!
//! Three things must hold before a form changes anything (G7). The browser says that one of this origin's pages sent
//! it (`Sec-Fetch-Site`, or `Origin` of browsers that are older). The session's cookie is there, which browsers leave
//! out of forms of other sites (`SameSite`). And the form holds a token that only a page of this very browser could
//! have: a hash over a secret in a cookie that no other site can read or plant, and over where the form goes.

use super::WebError;
pub(super) use crate::request::form::Form;
use crate::{config::ExternalUrl, store::seal::associated};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The longest form is a login, whose way back has two thousand characters.
pub(super) const MAX_FORM: usize = 16 * 1024;
/// How long a browser may take to send one.
pub(super) const FORM_TIME: Duration = Duration::from_secs(10);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether the token is there that a page of this browser had for a form that goes to `action`.
pub(super) fn check_token(form: &Form, secret: &str, action: &str) -> Result<(), WebError> {
    let given = form.get("token").as_bytes();
    if bool::from(given.ct_eq(token(secret, action).as_bytes())) {
        Ok(())
    } else {
        Err(WebError::Stale)
    }
}

/// What a form that goes to `action` holds in a browser with this secret.
pub(super) fn token(secret: &str, action: &str) -> String {
    let text = Zeroizing::new(associated(&["palisade form", secret, action]));
    URL_SAFE_NO_PAD.encode(digest(&SHA256, &text))
}

/// Refuses what another site's page has sent.
pub(super) fn check_origin(headers: &HeaderMap, own: &ExternalUrl) -> Result<(), WebError> {
    if let Some(site) = headers.get(FETCH_SITE) {
        // `none`: the person themselves, by a reload or a restored tab. Never a page.
        return match site.as_bytes() {
            b"same-origin" | b"none" => Ok(()),
            _ => Err(WebError::CrossSite),
        };
    }
    let origin = headers.get(header::ORIGIN).and_then(|it| it.to_str().ok());
    let host = headers.get(header::HOST).and_then(|it| it.to_str().ok());
    let of_host = |origin: &str| {
        origin
            .strip_prefix("https://")
            .is_some_and(|it| Some(it) == host)
    };
    match origin {
        Some(origin) if origin == own.as_str() || of_host(origin) => Ok(()),
        Some(_) | None => Err(WebError::CrossSite),
    }
}

/// Reads a whole form.
pub(super) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Form, WebError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    Form::check_type(headers)?;
    match tokio::time::timeout(FORM_TIME, Limited::new(body, MAX_FORM).collect()).await {
        Err(_) => Err(WebError::Timeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(WebError::TooLarge),
        Ok(Err(_)) => Err(WebError::Broken),
        Ok(Ok(whole)) => {
            let whole = Zeroizing::new(whole.to_bytes().to_vec());
            Ok(Form::parse(&whole)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(pairs: &[(&'static str, &str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let own = ExternalUrl::parse("https://gate.example").unwrap();
        check_origin(&headers.collect(), &own).is_ok()
    }

    // G7: a form that another site's page sends.
    #[test]
    fn only_this_origins_pages_may_send_a_form() {
        for site in ["same-origin", "none"] {
            assert!(origin(&[("sec-fetch-site", site)]), "{site}");
        }
        for site in [
            "cross-site",
            "same-site",
            "",
            "SAME-ORIGIN",
            "same-origin, none",
        ] {
            let headers = [("sec-fetch-site", site), ("origin", "https://gate.example")];
            assert!(!origin(&headers), "{site}");
        }
        assert!(origin(&[("origin", "https://gate.example")]));
        let behind = [
            ("origin", "https://10.0.0.1:8443"),
            ("host", "10.0.0.1:8443"),
        ];
        assert!(origin(&behind));
        assert!(!origin(&[]), "nobody says where it comes from");
        for other in [
            "null",
            "",
            "http://gate.example",
            "https://gate.example:444",
            "https://gate.example.evil",
            "https://evil.example",
            "https://gate.example/",
        ] {
            assert!(
                !origin(&[("origin", other), ("host", "gate.example")]),
                "{other}"
            );
        }
    }

    // CVE-2024-58259: a form that does not end.
    #[tokio::test(start_paused = true)]
    async fn a_form_that_does_not_come_is_given_up() {
        struct Never;
        impl http_body::Body for Never {
            type Data = Bytes;
            type Error = std::io::Error;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
                std::task::Poll::Pending
            }
        }
        let mime = (
            header::CONTENT_TYPE,
            crate::request::form::MIME.parse().unwrap(),
        );
        let began = tokio::time::Instant::now();
        let error = read(&HeaderMap::from_iter([mime]), Never).await.err();
        assert!(matches!(error, Some(WebError::Timeout)), "{error:?}");
        assert_eq!(began.elapsed().as_secs(), FORM_TIME.as_secs());
    }

    #[test]
    fn a_token_is_good_for_one_browser_and_one_form() {
        let form = |token: &str| Form::parse(format!("token={token}").as_bytes()).unwrap();
        let good = token("secret", "/logout");
        assert!(check_token(&form(&good), "secret", "/logout").is_ok());
        assert!(check_token(&form(&good), "secret", "/sessions").is_err());
        assert!(check_token(&form(&good), "other", "/logout").is_err());
        assert!(check_token(&form(""), "secret", "/logout").is_err());
        let none = Form::parse(b"").unwrap();
        assert!(check_token(&none, "secret", "/logout").is_err());
        // T4: parts that run into each other.
        assert_ne!(token("a", "b/c"), token("ab", "/c"));
    }
}
