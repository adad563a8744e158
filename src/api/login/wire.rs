//! What clients send as JSON, and what they are told.

use super::{Done, LoginError, PasswordLogin, Wanted, attempt::Zeroized};
use crate::{
    api::{Body, answer},
    authn::providers::Providers,
    config::BaseDomain,
    objects::{LOCAL, TokenKind},
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The ways to log in.
pub(super) fn ways(providers: &Providers, base_domain: Option<&BaseDomain>) -> Response<Body> {
    let of = |name, flow, display_name| Provider {
        name,
        flow,
        display_name,
        device_flow: false,
    };
    let all = providers.all();
    let others = all.values().map(|it| {
        let flow = if it.is_by_browser() {
            "browser"
        } else {
            "password"
        };
        Provider {
            device_flow: it.has_device_flow(),
            ..of(&it.name, flow, it.config.display_name.as_str())
        }
    });
    answer::ok(&Ways {
        providers: std::iter::once(of(LOCAL, "password", "Local account"))
            .chain(others)
            .collect(),
        grants: ["device", "authorization_code"],
        base_domain: base_domain.map(BaseDomain::as_str),
    })
}

/// Reads a login with a password from a client at `peer`.
pub(super) fn password_login(body: &[u8], peer: IpAddr) -> Result<PasswordLogin, LoginError> {
    // The parser's own words could hold the password.
    let body = serde_json::from_slice::<PasswordBody>(body).map_err(|_| {
        LoginError::Body("JSON with provider, username, password and, if wanted, client and device")
    })?;
    Ok(PasswordLogin {
        provider: body.provider,
        username: body.username,
        password: body.password,
        device: body.device,
        wanted: Wanted {
            kind: TokenKind::Ses,
            client: body.client,
            from: peer,
        },
    })
}

/// What a terminal is told that is logged in.
pub(super) fn logged_in(done: &Done) -> Response<Body> {
    let Done {
        session,
        user,
        device,
    } = done;
    let body = LoggedIn {
        token: session.text.expose(),
        expires_at: session.expires_at,
        renewable_until: session.renewable_until,
        user: Who {
            name: &user.handle,
            uid: &user.uid,
        },
        device,
    };
    answer::json(StatusCode::CREATED, answer::JSON, &body)
}

/// What a terminal is told whose session was lengthened.
pub(super) fn renewed(expires_at: Timestamp) -> Response<Body> {
    answer::ok(&Renewed { expires_at })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordBody {
    provider: String,
    username: String,
    password: Zeroized,
    #[serde(default)]
    client: String,
    #[serde(default)]
    device: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ways<'a> {
    providers: Vec<Provider<'a>>,
    /// How a terminal logs in by way of a browser. A gateway that says nothing has no pages.
    grants: [&'static str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    base_domain: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Provider<'a> {
    name: &'a str,
    /// How to log in there: `password`, or `browser` with one.
    flow: &'static str,
    display_name: &'a str,
    /// Whether a terminal's person may type a code there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    device_flow: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn<'a> {
    token: &'a str,
    expires_at: Timestamp,
    renewable_until: Timestamp,
    user: Who<'a>,
    device: &'a str,
}

#[derive(Serialize)]
struct Who<'a> {
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    expires_at: Timestamp,
}
