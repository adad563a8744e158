//! By a code that the person types in a browser, on whatever machine (RFC 8628).
//!
//! What could go wrong: a gateway that cannot be reached for a moment (asked again, more slowly), a person who
//! never comes (the code ends), one who says no.

use super::{
    client,
    waiting::Waiting,
    wire::{LoggedIn, post_form, refused},
};
use crate::cli::{
    http::{HttpClient, HttpError},
    output::printable,
    run::{self, Failure},
};
use serde::{Deserialize, de::IgnoredAny};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Named by RFC 8628, section 3.4.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Between two questions, if the gateway says nothing, and what `slow_down` adds (sections 3.2 and 3.5).
const INTERVAL: Duration = Duration::from_secs(5);
/// The quickest that is asked, and the slowest, whatever the gateway wishes.
const BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Longest that a person who gave up waits for the gateway to hear of it.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Longest that a code is waited for, whatever the gateway says.
const LONGEST: Duration = Duration::from_mins(30);

/// Answer to `POST /v1/login/device` (section 3.2). No `Debug`: it holds the device code.
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    #[serde(default)]
    verification_uri_complete: Option<String>,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

/// Where the person types the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CodeTypedAt {
    /// On a page that shows who asks.
    Gateway,
    /// At the provider, whose page does not.
    Provider,
}

/// Logs in; `provider` is shown to the person first, if it is named.
pub(super) async fn log_in(
    http: &HttpClient,
    provider: Option<&str>,
    at: CodeTypedAt,
) -> Result<LoggedIn, Failure> {
    let client = client();
    let mut fields = vec![("client", client.as_str())];
    fields.extend(provider.map(|name| ("provider", name)));
    if at == CodeTypedAt::Provider {
        fields.push(("at", "provider"));
    }
    let begun: Begun = post_form(http, "/v1/login/device", &fields)
        .await
        .map_err(refused)?;
    run::tell(&begun.words());
    let life = Duration::from_secs(begun.expires_in).min(LONGEST);
    let mut waiting = Waiting::begin(life)?;
    let fields = [
        ("grant_type", GRANT),
        ("device_code", begun.device_code.as_str()),
    ];
    let interval = begun.interval.map_or(INTERVAL, Duration::from_secs);
    let ask = || post_form(http, "/v1/login/token", &fields);
    let answer = poll(&mut waiting, interval, ask).await;
    if matches!(answer, Err(Failure::Interrupted)) {
        take_back(http, at, &begun.device_code).await;
    }
    answer
}

/// Has nobody asked any more about a login that was given up. If the gateway does not hear of it, or is older, the code
/// ends by itself; so does a provider's, which the gateway cannot take back.
pub(super) async fn take_back(http: &HttpClient, at: CodeTypedAt, device_code: &str) {
    if at == CodeTypedAt::Provider {
        return;
    }
    let fields = [("token", device_code)];
    let told = post_form::<IgnoredAny>(http, "/v1/login/revoke", &fields);
    let _ = timeout(END_LIMIT, told).await;
}

impl Begun {
    /// What the person is to do.
    fn words(&self) -> String {
        let (address, code) = (
            printable(&self.verification_uri),
            printable(&self.user_code),
        );
        let direct = self.verification_uri_complete.as_deref().map(|complete| {
            let complete = printable(complete);
            format!("\n\nor open this address, and see that the page shows the same code:\n\n  {complete}")
        });
        let minutes = self.expires_in.div_ceil(60);
        format!(
            "Open this address in a browser, on any machine:\n\n  {address}\n\nand type the code\n\n  {code}{}\n\n\
             It is good for {minutes} minutes.",
            direct.unwrap_or_default()
        )
    }
}

/// Asks until there is an answer, at the gateway's pace.
async fn poll<F>(
    waiting: &mut Waiting,
    interval: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<LoggedIn, Failure>
where
    F: Future<Output = Result<LoggedIn, HttpError>>,
{
    let (quickest, slowest) = BOUNDS;
    let mut interval = interval.clamp(quickest, slowest);
    let mut told = false;
    loop {
        waiting.until(sleep(interval)).await?;
        // Not a part of the wait: an answer that holds a session is never thrown away.
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let refusal = error.refusal();
        let longer = match refusal.and_then(|refusal| refusal.error.as_deref()) {
            Some("authorization_pending") => interval,
            Some("slow_down") => interval + INTERVAL,
            // No answer, or none of this request (503, 429): section 3.5 wants it asked more slowly.
            None if refusal.is_none_or(|it| it.code.is_server_error() || it.code == 429) => {
                if !told {
                    run::tell(&format!("no answer for now ({error}); trying on"));
                }
                told = true;
                interval * 2
            }
            Some(_) | None => return Err(refused(error)),
        };
        interval = longer.min(slowest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clusters::client::{ClientError, Refusal};
    use tokio::time::Instant;

    fn error(code: u16, error: Option<&str>) -> HttpError {
        let refusal = Refusal {
            code: http::StatusCode::from_u16(code).unwrap(),
            message: "why".to_owned(),
            reason: None,
            error: error.map(str::to_owned),
            request_id: None,
        };
        HttpError::Request(ClientError::Refused(Box::new(refusal)))
    }

    /// The seconds at which it asks, and what it says in the end.
    async fn asked(answers: Vec<HttpError>) -> (Vec<u64>, String) {
        let began = Instant::now();
        let mut times = Vec::new();
        let mut answers = answers.into_iter();
        let mut waiting = Waiting::begin(Duration::from_secs(100)).unwrap();
        let ask = || {
            times.push(began.elapsed().as_secs());
            let pending = || error(400, Some("authorization_pending"));
            std::future::ready(Err(answers.next().unwrap_or_else(pending)))
        };
        let ended = poll(&mut waiting, Duration::from_secs(5), ask).await;
        (times, ended.err().unwrap().to_string())
    }

    // RFC 8628, section 3.5
    #[tokio::test(start_paused = true)]
    async fn it_asks_at_the_gateways_pace_and_to_the_end_of_the_code() {
        let pending = || error(400, Some("authorization_pending"));
        let slower = || error(400, Some("slow_down"));
        let (times, said) = asked(vec![pending(), slower(), pending(), slower()]).await;
        assert_eq!(times[..6], [5, 10, 20, 30, 45, 60]);
        assert!(said.contains("in time"), "{said}");
        assert!(times.iter().all(|time| *time < 100), "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_is_away_for_a_moment_is_asked_more_slowly() {
        let away = vec![error(503, None), error(429, None)];
        let (times, _) = asked(away).await;
        assert_eq!(times[..4], [5, 15, 35, 55]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_it_at_once() {
        for refusal in [
            error(400, Some("access_denied")),
            error(400, Some("something_new")),
            error(404, None),
        ] {
            let (times, _) = asked(vec![refusal]).await;
            assert_eq!(times, [5]);
        }
    }
}
