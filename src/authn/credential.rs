//! The credential of a request: exactly one bearer token, from the one place where it may stand.
//!
//! Two places are read: `Authorization: Bearer …`, and for browsers, which cannot set headers on a
//! WebSocket, the subprotocol `base64url.bearer.authorization.k8s.io.…` (upstream:
//! `apiserver/pkg/authentication/request/websocket/protocol.go`). A request that has more than one
//! candidate is refused with 400 whatever they hold: another parser behind the gateway might prefer the
//! other one (H7, S8 of docs/attacks.md). Where upstream is lenient (leading blanks before the token) the
//! gateway is not (T3).
//!
//! A browser's session is another kind of token, from another place: [`Credential::from_cookie`] takes it from
//! its cookie alone, for the gateway's pages, and nothing else from there. What a browser sends by itself is
//! therefore never a credential of a path that a foreign page could make it call (S9).

use super::{
    identity::{AuthnError, Refusal},
    token::{ParsedToken, TokenText},
};
use crate::{
    objects::TokenKind,
    request::cookies::{Twice, cookie},
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
};
use zeroize::Zeroizing;

/// A WebSocket subprotocol that starts so is a credential: never forwarded, never logged.
pub const BEARER_PROTOCOL_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Upstream asks for no padding; clients that pad are common enough to be let in.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request carries to say who it is from. Holds the hash of the token's secret, not the secret.
pub struct Credential {
    pub(super) token: ParsedToken,
}

/// Whether a request asks to become a WebSocket: the subprotocol is a credential on such requests alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocket {
    /// `Upgrade: websocket`.
    Asked,
    /// Any other request.
    No,
}

impl Credential {
    /// The browser session in the cookie of this name; none: there is no such cookie.
    ///
    /// [`AuthnError::Ambiguous`] if there are two, [`AuthnError::Refused`] if it is no browser session.
    pub fn from_cookie(headers: &HeaderMap, name: &str) -> Result<Option<Self>, AuthnError> {
        let cookie = cookie(headers, name)
            .map_err(|Twice| AuthnError::Ambiguous("two cookies of one name"))?;
        let Some(text) = cookie else {
            return Ok(None);
        };
        match TokenText::parse(text) {
            Ok(token) if token.kind == TokenKind::Web => Ok(Some(Self { token })),
            Ok(_) | Err(_) => Err(AuthnError::Refused(Refusal::Malformed)),
        }
    }

    /// Finds the one credential of a request to anything but a page.
    ///
    /// [`AuthnError::Ambiguous`] if there is more than one candidate, [`AuthnError::Refused`] if there is
    /// none or it cannot be one of the gateway's tokens.
    pub fn extract(headers: &HeaderMap, websocket: WebSocket) -> Result<Self, AuthnError> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let authorization = lines.next();
        if lines.next().is_some() {
            return Err(AuthnError::Ambiguous("more than one Authorization header"));
        }
        let protocols = Protocols::read(headers)?;
        match (authorization, protocols.bearer) {
            (Some(_), Some(_)) => Err(AuthnError::Ambiguous(
                "a bearer token in Authorization and another in Sec-WebSocket-Protocol",
            )),
            (Some(value), None) => from_authorization(value),
            (None, Some(encoded)) if websocket == WebSocket::Asked => {
                if protocols.others == 0 {
                    // Nothing would be left to answer the handshake with (upstream refuses it too).
                    return Err(AuthnError::Refused(Refusal::Malformed));
                }
                from_protocol(encoded)
            }
            (None, _) => Err(AuthnError::Refused(Refusal::Missing)),
        }
    }
}

fn from_authorization(value: &HeaderValue) -> Result<Credential, AuthnError> {
    let malformed = AuthnError::Refused(Refusal::Malformed);
    let Some((scheme, token)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return Err(malformed);
    };
    // Scheme names have no case (RFC 9110, section 11.1).
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(AuthnError::Refused(Refusal::Scheme));
    }
    parse(token)
}

fn from_protocol(encoded: &str) -> Result<Credential, AuthnError> {
    let malformed = |_| AuthnError::Refused(Refusal::Malformed);
    let decoded = Zeroizing::new(BASE64URL.decode(encoded).map_err(malformed)?);
    let token = std::str::from_utf8(&decoded);
    parse(token.map_err(|_| AuthnError::Refused(Refusal::Malformed))?)
}

fn parse(token: &str) -> Result<Credential, AuthnError> {
    match TokenText::parse(token) {
        Ok(token) if token.kind == TokenKind::Web => Err(AuthnError::Refused(Refusal::OfABrowser)),
        Ok(token) => Ok(Credential { token }),
        Err(_) => Err(AuthnError::Refused(Refusal::Malformed)),
    }
}

/// The subprotocols that a request offers.
struct Protocols<'a> {
    /// What follows [`BEARER_PROTOCOL_PREFIX`].
    bearer: Option<&'a str>,
    others: usize,
}

impl<'a> Protocols<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, AuthnError> {
        let mut found = Self {
            bearer: None,
            others: 0,
        };
        let mut lines = 0_usize;
        for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
            lines += 1;
            // A line that is not visible ASCII holds no token of ours; what it means is not asked here.
            for protocol in value.to_str().unwrap_or_default().split(',') {
                // Blanks around list elements are allowed (RFC 9110, section 5.6.1).
                let protocol = protocol.trim_matches([' ', '\t']);
                match protocol.strip_prefix(BEARER_PROTOCOL_PREFIX) {
                    Some(_) if found.bearer.is_some() => {
                        return Err(AuthnError::Refused(Refusal::Malformed));
                    }
                    Some(token) => found.bearer = Some(token),
                    None => found.others += usize::from(!protocol.is_empty()),
                }
            }
        }
        if found.bearer.is_some() && lines > 1 {
            // Upstream looks at the first line alone.
            return Err(AuthnError::Ambiguous(
                "a bearer token in one of several Sec-WebSocket-Protocol headers",
            ));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
    use http::HeaderName;

    #[derive(Debug, PartialEq)]
    enum Answer {
        Ok,
        BadRequest,
        Unauthorized(Refusal),
    }

    fn extract(headers: &[(HeaderName, &str)], websocket: WebSocket) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect();
        match Credential::extract(&headers, websocket) {
            Ok(_) => Answer::Ok,
            Err(AuthnError::Ambiguous(_)) => Answer::BadRequest,
            Err(AuthnError::Refused(why)) => Answer::Unauthorized(why),
            Err(AuthnError::Unavailable(_)) => panic!("extraction asks nobody"),
        }
    }

    fn token() -> String {
        TokenText::generate(TokenKind::Pat)
            .unwrap()
            .expose()
            .to_owned()
    }

    // T3: what is not exactly `Bearer`, one space and a whole token is a 401.
    #[test]
    fn authorization_is_read_strictly() {
        let t = token();
        let malformed = || Answer::Unauthorized(Refusal::Malformed);
        let scheme = || Answer::Unauthorized(Refusal::Scheme);
        for (value, expected) in [
            (format!("Bearer {t}"), Answer::Ok),
            (format!("bearer {t}"), Answer::Ok),
            (format!("BEARER {t}"), Answer::Ok),
            (String::new(), malformed()),
            ("Bearer".to_owned(), malformed()),
            ("Bearer ".to_owned(), malformed()),
            ("Bearer  ".to_owned(), malformed()),
            (format!("Bearer  {t}"), malformed()),
            (format!("Bearer\t{t}"), malformed()),
            (format!("Bearer \t{t}"), malformed()),
            (format!(" Bearer {t}"), scheme()),
            (format!("Bearer {t} "), malformed()),
            (format!("Bearer {t}\t"), malformed()),
            (format!("Bearer {t},"), malformed()),
            (format!("Bearer {t}, Bearer {t}"), malformed()),
            (format!("Bearer {t}{t}"), malformed()),
            (format!("Bearer \"{t}\""), malformed()),
            (format!("Bearer {}", &t[..73]), malformed()),
            (format!("Bearer {t}x"), malformed()),
            (format!("Bearer: {t}"), scheme()),
            (format!("Bearer{t}"), malformed()),
            (format!("Basic {t}"), scheme()),
            (format!("Token {t}"), scheme()),
            (format!("Bearerx {t}"), scheme()),
            (t.clone(), malformed()),
            ("Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(), malformed()),
        ] {
            let answer = extract(&[(AUTHORIZATION, &value)], WebSocket::No);
            assert_eq!(answer, expected, "{value:?}");
        }
    }

    // S9: what a browser holds is no bearer token, and what is one is nothing in a browser's cookie.
    #[test]
    fn a_browser_session_counts_from_its_cookie_alone_and_nothing_else_does() {
        let text = |kind| TokenText::generate(kind).unwrap().expose().to_owned();
        let web = text(TokenKind::Web);
        let bearer = [(AUTHORIZATION, &*format!("Bearer {web}"))];
        let refused = Answer::Unauthorized(Refusal::OfABrowser);
        assert_eq!(extract(&bearer, WebSocket::No), refused);
        let protocol = format!(
            "{BEARER_PROTOCOL_PREFIX}{}, x",
            URL_SAFE_NO_PAD.encode(&web)
        );
        let protocol = [(SEC_WEBSOCKET_PROTOCOL, &*protocol)];
        assert_eq!(extract(&protocol, WebSocket::Asked), refused);
        let from_cookie = |cookies: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in cookies {
                headers.append(http::header::COOKIE, value.parse().unwrap());
            }
            Credential::from_cookie(&headers, "__Host-palisade")
        };
        let good = format!("a=b; __Host-palisade={web}");
        assert!(from_cookie(&[&good]).unwrap().is_some());
        assert!(
            from_cookie(&["a=b", &good]).unwrap().is_some(),
            "HTTP/2 parts them"
        );
        for none in [
            "",
            "a=b",
            "palisade=x",
            "__host-palisade=x",
            "x__Host-palisade=x",
        ] {
            assert!(from_cookie(&[none]).unwrap().is_none(), "{none}");
        }
        let malformed = AuthnError::Refused(Refusal::Malformed);
        for kind in [TokenKind::Pat, TokenKind::Ses] {
            let cookie = format!("__Host-palisade={}", text(kind));
            assert_eq!(from_cookie(&[&cookie]).err(), Some(malformed), "{kind:?}");
        }
        for odd in ["", "\"x\"", &web[..73], &format!("{web} {web}")] {
            let cookie = format!("__Host-palisade={odd}");
            assert_eq!(from_cookie(&[&cookie]).err(), Some(malformed), "{odd}");
        }
        for two in [
            vec![&*good, &*good],
            vec![&*format!("{good};__Host-palisade=x")],
        ] {
            let answer = from_cookie(&two).err();
            assert!(
                matches!(answer, Some(AuthnError::Ambiguous(_))),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn a_header_that_is_not_text_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            HeaderValue::from_bytes(b"Bearer \xff").unwrap(),
        );
        assert!(matches!(
            Credential::extract(&headers, WebSocket::No),
            Err(AuthnError::Refused(Refusal::Malformed))
        ));
    }

    #[test]
    fn no_credential_is_refused() {
        assert_eq!(
            extract(&[], WebSocket::No),
            Answer::Unauthorized(Refusal::Missing)
        );
    }

    // H7: two of a kind are never resolved by taking the first or the last.
    #[test]
    fn two_authorization_headers_are_400() {
        let bearer = format!("Bearer {}", token());
        for second in [bearer.as_str(), "", "Basic eDp5"] {
            let both = [(AUTHORIZATION, bearer.as_str()), (AUTHORIZATION, second)];
            assert_eq!(
                extract(&both, WebSocket::No),
                Answer::BadRequest,
                "{second}"
            );
        }
    }

    // S8: the subprotocol is a credential on a WebSocket handshake, in both padding forms.
    #[test]
    fn subprotocol_tokens_are_read_strictly() {
        let t = token();
        let plain = format!("{BEARER_PROTOCOL_PREFIX}{}", URL_SAFE_NO_PAD.encode(&t));
        let padded = format!("{BEARER_PROTOCOL_PREFIX}{}", URL_SAFE.encode(&t));
        assert_ne!(plain, padded, "74 bytes need padding");
        let other = "v5.channel.k8s.io";
        let malformed = || Answer::Unauthorized(Refusal::Malformed);
        for (value, expected) in [
            (format!("{plain}, {other}"), Answer::Ok),
            (format!("{padded}, {other}"), Answer::Ok),
            (format!("{other},{plain}"), Answer::Ok),
            (plain.clone(), malformed()),
            (format!("{plain},"), malformed()),
            (format!("{plain}, {plain}, {other}"), malformed()),
            (format!("{plain}, {padded}, {other}"), malformed()),
            (format!("{BEARER_PROTOCOL_PREFIX}, {other}"), malformed()),
            (format!("{BEARER_PROTOCOL_PREFIX}%%%, {other}"), malformed()),
            (format!("{BEARER_PROTOCOL_PREFIX}_w, {other}"), malformed()),
            (format!("{plain}==, {other}"), malformed()),
            (format!("{plain}A, {other}"), malformed()),
            (other.to_owned(), Answer::Unauthorized(Refusal::Missing)),
        ] {
            let answer = extract(&[(SEC_WEBSOCKET_PROTOCOL, &value)], WebSocket::Asked);
            assert_eq!(answer, expected, "{value:?}");
        }
    }

    #[test]
    fn a_subprotocol_is_no_credential_without_a_websocket() {
        let value = format!(
            "{BEARER_PROTOCOL_PREFIX}{}, x",
            URL_SAFE_NO_PAD.encode(token())
        );
        assert_eq!(
            extract(&[(SEC_WEBSOCKET_PROTOCOL, &value)], WebSocket::No),
            Answer::Unauthorized(Refusal::Missing)
        );
    }

    // S8, H7: the same token twice in two places is still two credentials.
    #[test]
    fn header_and_subprotocol_together_are_400() {
        let t = token();
        let bearer = format!("Bearer {t}");
        let protocols = format!("{BEARER_PROTOCOL_PREFIX}{}, x", URL_SAFE_NO_PAD.encode(&t));
        let both = [
            (AUTHORIZATION, bearer.as_str()),
            (SEC_WEBSOCKET_PROTOCOL, protocols.as_str()),
        ];
        for websocket in [WebSocket::Asked, WebSocket::No] {
            assert_eq!(extract(&both, websocket), Answer::BadRequest);
        }
        let lines = [
            (SEC_WEBSOCKET_PROTOCOL, protocols.as_str()),
            (SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io"),
        ];
        assert_eq!(extract(&lines, WebSocket::Asked), Answer::BadRequest);
        let plain = [
            (AUTHORIZATION, bearer.as_str()),
            (SEC_WEBSOCKET_PROTOCOL, "x"),
        ];
        assert_eq!(extract(&plain, WebSocket::Asked), Answer::Ok);
    }
}
