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

/// The access that lets everybody in who has an account.
const ANYONE: &str = "{mode: danger_anyone}";

/// The configuration of a gateway with these lines below `providers`.
fn config(lines: &str) -> String {
    format!(
        "external_url: https://gate.example\ntls: {{cert_file: cert.pem, key_file: key.pem}}\n\
         state: {{store: state.db, key_file: keys}}\nproviders:\n{lines}"
    )
}

/// The provider that is configured by these lines, below `providers`.
fn provider(name: &str, lines: &str, folder: &Path) -> Provider {
    let config = palisade::config::read(&config(lines), folder);
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

/// Holds that it is this refusal; gives its words.
#[track_caller]
fn refused(
    outcome: Result<Arrival, ArrivalError>,
    is_meant: impl Fn(&ArrivalError) -> bool,
) -> String {
    match outcome {
        Err(error) if is_meant(&error) => error.to_string(),
        other => panic!("{}", told(other)),
    }
}

/// Holds that a code counts once, and for the login that asked for it (G1): `token` is where it is redeemed.
async fn codes_count_once(provider: &Provider, site: &Site, token: &str) {
    let no_code = |error: &ArrivalError| matches!(error, ArrivalError::Code(_));
    let one = provider.begin(BACK).await.unwrap();
    let back = site.visit(&one.url).await;
    assert!(finish(provider, &one.pending, &back).await.is_ok());
    refused(finish(provider, &one.pending, &back).await, no_code);
    // Somebody else's code, brought into this login: its verifier is another one.
    let mine = provider.begin(BACK).await.unwrap();
    let theirs = provider.begin(BACK).await.unwrap();
    let stolen = site.visit(&theirs.url).await;
    let injected = with(&stolen, "state", mine.pending.state());
    refused(finish(provider, &mine.pending, &injected).await, no_code);
    // A state that is missing, or another one.
    let asked = site.asked(token).len();
    for odd in [
        without(&stolen, "state"),
        with(&stolen, "state", "x"),
        stolen,
    ] {
        let outcome = finish(provider, &mine.pending, &odd).await;
        refused(outcome, |it| matches!(it, ArrivalError::Callback(_)));
    }
    assert_eq!(site.asked(token).len(), asked, "no code went anywhere");
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
