//! By the browser of this machine, which brings the answer back to this program (RFC 8252).

use super::{
    client, desktop,
    listener::{Brought, Listener},
    proof::Proof,
    waiting::Waiting,
    wire::{LoggedIn, form, post_form, refused},
};
use crate::cli::{
    http::HttpClient,
    output::printable,
    run::{self, Failure},
};
use std::time::Duration;

/// What this program is called in the request; there is no other client.
const CLIENT_ID: &str = "palisade-cli";
/// Longest that the person is waited for, as long as a page of the gateway waits for its form.
const LIMIT: Duration = Duration::from_mins(10);
/// Characters of a reason that are shown.
const MAX_WHY: usize = 100;

/// Logs in; `provider` is shown to the person first, if it is named.
pub(super) async fn log_in(
    http: &HttpClient,
    server: &str,
    provider: Option<&str>,
) -> Result<LoggedIn, Failure> {
    let begun = Begun::new(server, provider).await?;
    run::tell(&format!(
        "Log in in the browser. If none opens, open this address on this machine:\n\n  {}\n\n\
         Before you say yes there, see that the page shows this code:\n\n  {}\n",
        begun.url,
        begun.proof.compare()
    ));
    desktop::open(&begun.url);
    begun.finish(http).await
}

/// A login that waits for its browser.
pub(super) struct Begun {
    listener: Listener,
    proof: Proof,
    redirect_uri: String,
    /// Where the browser is to go.
    pub(super) url: String,
}

impl Begun {
    pub(super) async fn new(server: &str, provider: Option<&str>) -> Result<Self, Failure> {
        let listener = Listener::bind().await?;
        let proof = Proof::new()?;
        let redirect_uri = listener.redirect_uri();
        let url = address(server, &redirect_uri, &proof, provider);
        Ok(Self {
            listener,
            proof,
            redirect_uri,
            url,
        })
    }

    /// Waits for the browser, and exchanges the code that it brings.
    pub(super) async fn finish(self, http: &HttpClient) -> Result<LoggedIn, Failure> {
        let mut waiting = Waiting::begin(LIMIT)?;
        let brought = waiting.until(self.listener.answer(&self.proof.state));
        let code = match brought.await?? {
            Brought::Code(code) => code,
            Brought::Refused(why) => return Err(no(&why)),
        };
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("code_verifier", self.proof.verifier.as_str()),
            ("redirect_uri", self.redirect_uri.as_str()),
        ];
        // Not a part of the wait: an answer that holds a session is never thrown away.
        let answer = post_form(http, "/v1/login/token", &fields).await;
        answer.map_err(refused)
    }
}

fn no(why: &str) -> Failure {
    if why == "access_denied" {
        return Failure::said("the login was refused in the browser");
    }
    let why: String = why.chars().take(MAX_WHY).collect();
    Failure::said(format!(
        "the gateway refuses the login: {}",
        printable(&why)
    ))
}

fn address(server: &str, redirect_uri: &str, proof: &Proof, provider: Option<&str>) -> String {
    let client = client();
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", CLIENT_ID),
        ("redirect_uri", redirect_uri),
        ("code_challenge", proof.challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("state", proof.state.as_str()),
        ("client", client.as_str()),
    ];
    fields.extend(provider.map(|name| ("provider", name)));
    format!("{server}/authorize?{}", form(&fields))
}
