//! What a provider publishes of itself (OpenID Connect Discovery 1.0).

use super::super::redirect::{
    Failure,
    http::{Http, Question},
};
use crate::config;
use serde::Deserialize;
use url::Url;

/// Where the document is, below the issuer (section 4).
const WELL_KNOWN: &str = ".well-known/openid-configuration";

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What of it is used. Every address may be asked.
pub struct Discovered {
    /// Where browsers are sent.
    pub authorization_endpoint: Url,
    /// Where codes and refresh tokens go.
    pub token_endpoint: Url,
    /// Where its keys are.
    pub jwks_uri: Url,
    /// Where more is said about an account.
    pub userinfo_endpoint: Option<Url>,
    /// What it says it signs ID tokens with.
    pub signs_with: Vec<String>,
    /// Whether a client's secret goes into a header (`client_secret_basic`, the default), and not into the form.
    pub(super) takes_basic: bool,
    /// Whether it says who it is when it sends a browser back (RFC 9207).
    pub(super) names_itself: bool,
}

/// Reads the document of the configured issuer.
pub(super) async fn read(http: &Http, config: &config::Oidc) -> Result<Discovered, Failure> {
    const WHAT: &str = "discovery";
    // Section 4.1: a slash at the end of the issuer is not doubled.
    let text = format!("{}/{WELL_KNOWN}", config.issuer.trim_end_matches('/'));
    let url = http.check("the issuer", &text)?;
    let document: Document = http.ask(Question::get(WHAT, &url)).await?.success()?;
    // Section 4.3: to the letter. Who publishes another's name would have its tokens taken for that one's.
    if document.issuer != config.issuer {
        return Err(Failure::Issuer {
            found: document.issuer.chars().take(200).collect(),
            wanted: config.issuer.clone(),
        });
    }
    let methods = document.code_challenge_methods_supported;
    if methods.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
        return Err(Failure::Lacking("it does not know PKCE with S256"));
    }
    let auth = document.token_endpoint_auth_methods_supported;
    Ok(Discovered {
        authorization_endpoint: http.check(
            "the authorization endpoint",
            &document.authorization_endpoint,
        )?,
        token_endpoint: http.check("the token endpoint", &document.token_endpoint)?,
        jwks_uri: http.check("the address of the keys", &document.jwks_uri)?,
        userinfo_endpoint: document
            .userinfo_endpoint
            .map(|text| http.check("the userinfo endpoint", &text))
            .transpose()?,
        signs_with: document.id_token_signing_alg_values_supported,
        takes_basic: auth
            .is_none_or(|methods| methods.iter().any(|it| it == "client_secret_basic")),
        names_itself: document.authorization_response_iss_parameter_supported,
    })
}
