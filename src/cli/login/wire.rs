//! What is said between this program and a gateway when somebody logs in (docs/login.md).

use crate::cli::{
    http::{HttpClient, HttpError},
    run::Failure,
};
use crate::clusters::client::escape;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Body of a grant's requests (RFC 6749, section 4).
const FORM: &str = "application/x-www-form-urlencoded";
/// Names of the ways by way of a browser, in [`Providers::grants`].
pub(super) const LOOPBACK: &str = "authorization_code";
pub(super) const DEVICE: &str = "device";

/// What the gateway says about logging in (`GET /v1/login/providers`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Providers {
    #[serde(default, rename = "providers")]
    pub(super) all: Vec<Provider>,
    /// Ways by way of a browser; an older gateway names none.
    #[serde(default)]
    pub(super) grants: Vec<String>,
    /// Clusters have host names under it.
    #[serde(default)]
    pub(in crate::cli) base_domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) flow: Flow,
    #[serde(default)]
    pub(super) display_name: String,
    /// Whether a code can be typed at the provider itself.
    #[serde(default)]
    pub(super) device_flow: bool,
}

/// How people prove themselves at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Flow {
    /// A name and a password, which this program may ask for.
    Password,
    /// In a browser alone.
    Browser,
    /// One that a newer gateway has.
    #[serde(untagged)]
    Other(String),
}

/// Body of `POST /v1/login/password`.
#[derive(Serialize)]
pub(super) struct PasswordLogin<'a> {
    pub(super) provider: &'a str,
    pub(super) username: &'a str,
    pub(super) password: &'a str,
    pub(super) client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<&'a str>,
}

/// The answer to a login of either kind. No `Debug`: it holds the token.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedIn {
    pub(super) token: String,
    pub(super) expires_at: Timestamp,
    pub(super) renewable_until: Timestamp,
    pub(super) user: Who,
    /// A login without a password gives none, nor does an older gateway.
    #[serde(default)]
    pub(super) device: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Who {
    pub(super) name: String,
}

/// POST of a form, answered with JSON.
pub(super) async fn post_form<T: DeserializeOwned>(
    http: &HttpClient,
    path: &str,
    fields: &[(&str, &str)],
) -> Result<T, HttpError> {
    let body = form(fields);
    let answer = http.send(Method::POST, path, Some((FORM, body.into())));
    let answer = answer.await?;
    Ok(http.client().read(&answer)?)
}

/// `a=b&c=d`, for a form or a query.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| {
        let value = escape(value);
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Why a grant came to nothing, in words for a person.
pub(super) fn refused(error: HttpError) -> Failure {
    let code = error.refusal().and_then(|refusal| refusal.error.as_deref());
    let said = match code {
        Some("access_denied") => "the login was refused in the browser".to_owned(),
        Some("expired_token") => {
            "nobody confirmed the login in time: run palisade login again".to_owned()
        }
        // The code was used, or is older than a minute.
        Some("invalid_grant") => {
            format!(
                "the gateway does not take the login any more ({error}): run palisade login again"
            )
        }
        Some(_) => format!("the gateway refuses the login: {error}"),
        None => return error.into(),
    };
    Failure::said(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_stays_in_its_field() {
        assert_eq!(
            form(&[("client", "a&b=c d\u{e9}"), ("code", "x-_.~")]),
            "client=a%26b%3Dc%20d%C3%A9&code=x-_.~"
        );
    }

    #[test]
    fn a_newer_gateway_may_have_other_flows() {
        let text = r#"{"providers":[
            {"name":"local","flow":"password","displayName":"Here"},
            {"name":"hub","flow":"browser"},
            {"name":"x","flow":"passkey"}
        ],"grants":["device","authorization_code"]}"#;
        let said: Providers = serde_json::from_str(text).unwrap();
        let flows = said.all.iter().map(|it| it.flow.clone());
        let expected = [
            Flow::Password,
            Flow::Browser,
            Flow::Other("passkey".to_owned()),
        ];
        assert_eq!(flows.collect::<Vec<_>>(), expected);
        let older: Providers = serde_json::from_str(r#"{"providers":[]}"#).unwrap();
        assert_eq!(older.grants, [""; 0]);
    }
}
