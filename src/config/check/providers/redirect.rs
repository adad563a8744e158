//! `providers.<name>.github` and `providers.<name>.oidc`.

use super::super::Check;
use crate::config::{Client, Github, Link, Oidc, SigningAlgorithm, may_be_asked, raw};
use std::path::PathBuf;
use url::Url;

/// What OpenID providers may be told to ask (OpenID Connect Core 1.0, section 3.1.2.1). `none` is not among them: a
/// person who is not logged in there would get nowhere.
const PROMPTS: [&str; 3] = ["login", "consent", "select_account"];
/// Where GitHub itself is.
const GITHUB: &str = "github.com";
/// Below it are the hosts of GitHub Enterprise Cloud with data residency.
const GHE: &str = ".ghe.com";

impl Check<'_> {
    pub(super) fn github(&mut self, at: &str, raw: &raw::Github) -> Option<Github> {
        let field = |name: &str| format!("{at}.{name}");
        self.is_written(&field("client_id"), &raw.client_id);
        self.is_written(&field("client_secret_file"), &raw.client_secret_file);
        let link = Link {
            ca_file: self.file(&raw.ca_file),
            connect_timeout: self.duration(&field("connect_timeout"), &raw.connect_timeout),
            timeout: self.duration(&field("timeout"), &raw.timeout),
            danger_plain_http: raw.danger_plain_http,
        };
        let url = self.page(&field("url"), &raw.url, &link)?;
        let api_url = match &*raw.api_url {
            "" => api_of(&url),
            text => self.page(&field("api_url"), text, &link)?,
        };
        let without_slash = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        Some(Github {
            url: without_slash(&url),
            api_url: without_slash(&api_url),
            client: self.client(&raw.client_id, &raw.client_secret_file),
            organizations: self.texts(&field("organizations"), &raw.organizations),
            device_flow: raw.device_flow,
            link,
        })
    }

    pub(super) fn oidc(&mut self, at: &str, raw: &raw::Oidc) -> Option<Oidc> {
        let field = |name: &str| format!("{at}.{name}");
        for (name, text) in [
            ("client_id", &raw.client_id),
            ("handle_claim", &raw.handle_claim),
            ("display_name_claim", &raw.display_name_claim),
        ] {
            self.is_written(&field(name), text);
        }
        let link = Link {
            ca_file: self.file(&raw.ca_file),
            connect_timeout: self.duration(&field("connect_timeout"), &raw.connect_timeout),
            timeout: self.duration(&field("timeout"), &raw.timeout),
            danger_plain_http: raw.danger_plain_http,
        };
        if self.is_written(&field("issuer"), &raw.issuer) {
            self.page(&field("issuer"), &raw.issuer, &link)?;
        }
        let scopes = self.texts(&field("scopes"), &raw.scopes);
        for (index, scope) in scopes.iter().enumerate() {
            // RFC 6749, section 3.3
            if !scope.bytes().all(|byte| byte.is_ascii_graphic()) || scope.contains(['"', '\\']) {
                let message = format!("{scope:?} is not a scope; write each by itself");
                self.mistake(&format!("{at}.scopes[{index}]"), message);
            }
        }
        let odd = raw.prompt.split(' ').find(|word| !PROMPTS.contains(word));
        if let (false, Some(odd)) = (raw.prompt.is_empty(), odd) {
            let message = format!("{odd:?} is none of {}", PROMPTS.join(", "));
            self.mistake(&field("prompt"), message);
        }
        let algorithms = self.algorithms(&field("algorithms"), &raw.algorithms);
        Some(Oidc {
            issuer: raw.issuer.clone(),
            client: self.client(&raw.client_id, &raw.client_secret_file),
            scopes,
            prompt: (!raw.prompt.is_empty()).then(|| raw.prompt.clone()),
            handle_claim: raw.handle_claim.clone(),
            display_name_claim: raw.display_name_claim.clone(),
            groups_claim: (!raw.groups_claim.is_empty()).then(|| raw.groups_claim.clone()),
            userinfo: raw.userinfo,
            algorithms,
            link,
        })
    }

    fn algorithms(&mut self, at: &str, texts: &[String]) -> Vec<SigningAlgorithm> {
        if texts.is_empty() {
            self.mistake(at, "is empty: no ID token could be verified");
        }
        let mut algorithms = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            if let Some(algorithm) = SigningAlgorithm::parse(text) {
                algorithms.push(algorithm);
                continue;
            }
            let known = SigningAlgorithm::ALL
                .map(SigningAlgorithm::as_str)
                .join(", ");
            let message = format!("{text:?} is none of {known}");
            self.mistake(&format!("{at}[{index}]"), message);
        }
        algorithms
    }

    fn client(&self, id: &str, secret_file: &str) -> Client {
        Client {
            id: id.to_owned(),
            secret_file: self.file(secret_file),
        }
    }

    fn file(&self, text: &str) -> Option<PathBuf> {
        (!text.is_empty()).then(|| self.folder.join(text))
    }

    /// A URL that secrets are sent to, or that others are found below.
    fn page(&mut self, at: &str, text: &str, link: &Link) -> Option<Url> {
        let checked = match Url::parse(text) {
            Err(_) => Err("is not a URL"),
            Ok(url) if url.query().is_some() => Err("has a query (?…)"),
            Ok(url) => may_be_asked(&url, link.danger_plain_http).map(|()| url),
        };
        match checked {
            Ok(url) => Some(url),
            Err(why) => {
                self.mistake(at, format!("{text:?} {why}"));
                None
            }
        }
    }
}

/// Where the API of the GitHub at `url` is.
fn api_of(url: &Url) -> Url {
    let host = url.host_str().unwrap_or_default();
    let mut api = url.clone();
    if host == GITHUB || host.ends_with(GHE) {
        let host = format!("api.{host}");
        // A host name with a label in front is one.
        let _ = api.set_host(Some(&host));
        api.set_path("");
    } else {
        api.set_path(&format!("{}/api/v3", url.path().trim_end_matches('/')));
    }
    api
}
