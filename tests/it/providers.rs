//! Logins by a browser at providers that behave, and at those that do not.

mod commands;
mod github;
mod oidc;
mod refresh;

use crate::testkit::site::Site;
use palisade::authn::providers::{Arrival, ArrivalError, Callback, Pending, Provider};
use std::{collections::BTreeMap, path::Path};
use url::Url;

/// Where providers send browsers back to.
const BACK: &str = "https://gate.example/login/sso/callback";

/// The provider that is configured by these lines, below `providers`.
fn provider(name: &str, lines: &str, folder: &Path) -> Provider {
    let text = format!(
        "external_url: https://gate.example\ntls: {{cert_file: cert.pem, key_file: key.pem}}\n\
         state: {{store: state.db, key_file: keys}}\nproviders:\n{lines}"
    );
    let config = palisade::config::read(&text, folder);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    Provider::new(name, &config.providers[name])
}

/// A browser goes to the provider and comes back.
async fn log_in(provider: &Provider, site: &Site) -> Result<Arrival, ArrivalError> {
    let begun = provider.begin(BACK).await?;
    let back = site.visit(&begun.url).await;
    finish(provider, &begun.pending, &back).await
}

async fn finish(
    provider: &Provider,
    pending: &Pending,
    back: &Url,
) -> Result<Arrival, ArrivalError> {
    let query: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
    let get = |name| query.get(name).map(String::as_str);
    let callback = Callback {
        code: get("code"),
        state: get("state"),
        iss: get("iss"),
        error: get("error"),
        error_description: get("error_description"),
    };
    provider.finish(pending, &callback, BACK).await
}

fn told(outcome: Result<Arrival, ArrivalError>) -> String {
    match outcome {
        Ok(arrival) => format!("let in: {}", arrival.name),
        Err(error) => error.to_string(),
    }
}

/// `back` with another value of a parameter.
fn with(back: &Url, name: &str, value: &str) -> Url {
    let mut pairs: BTreeMap<String, String> = back.query_pairs().into_owned().collect();
    pairs.insert(name.to_owned(), value.to_owned());
    let mut back = back.clone();
    back.query_pairs_mut().clear().extend_pairs(pairs);
    back
}

fn without(back: &Url, name: &str) -> Url {
    let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
    let mut back = back.clone();
    let others = pairs.iter().filter(|(other, _)| other != name);
    back.query_pairs_mut().clear().extend_pairs(others);
    back
}
