//! Providers to which browsers are sent: `github` and `oidc`.

use serde::Serialize;
use std::{net::IpAddr, path::PathBuf, time::Duration};
use url::{Host, Url};

/// GitHub, or a GitHub Enterprise Server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Github {
    /// Where people log in, without a slash at the end.
    pub url: String,
    /// Where its REST API is, without a slash at the end.
    pub api_url: String,
    /// The OAuth app.
    pub client: Client,
    /// Those that count, by name or `org-<id>`; empty: all.
    pub organizations: Vec<String>,
    /// Whether a terminal's person may type a code there, past the gateway's own page.
    pub device_flow: bool,
    /// How it is reached.
    pub link: Link,
}

/// An OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oidc {
    /// Its name, to the letter.
    pub issuer: String,
    /// What the gateway is there.
    pub client: Client,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// What the provider is told to ask its person.
    pub prompt: Option<String>,
    /// The claim that a new user's handle is made of.
    pub handle_claim: String,
    /// The claim with the name for people.
    pub display_name_claim: String,
    /// The claim with the groups; `None`: nobody has any.
    pub groups_claim: Option<String>,
    /// Whether the userinfo endpoint is asked for what the ID token does not say.
    pub userinfo: bool,
    /// What ID tokens may be signed with.
    pub algorithms: Vec<SigningAlgorithm>,
    /// How it is reached.
    pub link: Link,
}

/// What the gateway is at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Client {
    /// Public.
    pub id: String,
    /// `None`: the client has no secret, and PKCE alone protects its codes.
    pub secret_file: Option<PathBuf>,
}

/// How a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// PEM file with the authorities of its certificates; `None`: the public ones.
    pub ca_file: Option<PathBuf>,
    /// To a protected connection.
    pub connect_timeout: Duration,
    /// Of one question and its answer, connecting included.
    pub timeout: Duration,
    /// Whether what is on this very machine may be asked without TLS.
    pub danger_plain_http: bool,
}

/// What an ID token may be signed with. Neither `none` nor a shared secret (`HS256`) is among them: what cannot be
/// written cannot be let in (T1 of docs/attacks.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, what every OpenID provider can.
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// With SHA-384.
    Ps384,
    /// With SHA-512.
    Ps512,
    /// ECDSA over P-256.
    Es256,
    /// ECDSA over P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// As it is written (RFC 7518, section 3.1; RFC 8037).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Reads it.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == text)
    }
}

/// Whether secrets may go to this address: by https, or on this very machine and where that was allowed. The
/// sentence says why not.
pub fn may_be_asked(url: &Url, danger_plain_http: bool) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a name or a password in it");
    }
    if url.fragment().is_some() {
        return Err("has a fragment (#…)");
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(()),
        ("http", Some(host)) if danger_plain_http && is_this_machine(&host) => Ok(()),
        ("http", Some(_)) if danger_plain_http => {
            Err("is http and not on this machine: danger_plain_http is for loopback alone")
        }
        (_, _) => Err("is not an https:// URL"),
    }
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_by_https_or_stay_on_this_machine() {
        let may = |text: &str, danger| may_be_asked(&Url::parse(text).unwrap(), danger);
        for good in [
            "https://a.example",
            "https://10.0.0.1:8443/x",
            "https://[::1]/",
        ] {
            assert_eq!(may(good, false), Ok(()), "{good}");
        }
        for local in [
            "http://localhost:1/x",
            "http://127.0.0.2:1",
            "http://[::1]:1",
        ] {
            assert_eq!(may(local, true), Ok(()), "{local}");
            assert!(may(local, false).is_err(), "{local}");
        }
        for bad in [
            "http://a.example",
            "http://localhost.a.example",
            "http://10.0.0.1",
            "http://2130706434.example",
            "ftp://localhost",
            "https://jane@a.example",
            "https://jane:secret@a.example",
            "https://a.example/#x",
        ] {
            assert!(may(bad, true).is_err(), "{bad}");
        }
    }
}
