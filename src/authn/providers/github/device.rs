//! GitHub's own device flow: a person types a code there, and the gateway asks until they have (RFC 8628, as GitHub
//! has it).
//!
//! The app's secret is not sent: GitHub wants the client's id and the device code alone.

use super::{Github, SCOPE, Tokens, refused};
use crate::authn::providers::redirect::{ArrivalError, Codes, Failure, Polled, http::Question};
use serde::Deserialize;
use std::time::Duration;

/// Questions of terminals at the same time. Strangers can ask them, and they must not take the turns of those that
/// read people again.
pub(super) const AT_ONCE: usize = 8;
/// Named by RFC 8628, section 3.4.
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Between two questions, if GitHub says nothing (section 3.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// What an interval is taken to be at least and at most.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How long a code is good at most: GitHub's are for a quarter of an hour.
const LONGEST: Duration = Duration::from_mins(30);
/// Characters of a device code, and of the code that a person types.
const MAX_CODES: (usize, usize) = (256, 32);

/// The answer to a terminal that begins, which is 200 whatever it says.
#[derive(Deserialize)]
struct Begun {
    #[serde(default)]
    device_code: String,
    #[serde(default)]
    user_code: String,
    #[serde(default)]
    verification_uri: String,
    #[serde(default)]
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
    #[serde(default)]
    error: String,
}

impl Github {
    /// A code for a person to type.
    pub(in crate::authn::providers) async fn begin_device(&self) -> Result<Codes, Failure> {
        let what = "the device endpoint";
        let url = self.page_of_github("/login/device/code")?;
        let fields = [
            ("client_id", self.config.client.id.as_str()),
            ("scope", SCOPE),
        ];
        let begun: Begun = {
            let _turn = self.devices.try_acquire().map_err(|_| Failure::Busy)?;
            let question = Question::post(what, &url, &fields);
            self.http.ask(question).await?.success()?
        };
        if !begun.error.is_empty() {
            return Err(refused(what, &begun.error));
        }
        let odd = |why: &str| Failure::Malformed {
            what,
            why: why.to_owned(),
        };
        let is_plain = |text: &str, most| {
            (1..=most).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic())
        };
        if !is_plain(&begun.device_code, MAX_CODES.0) || !is_plain(&begun.user_code, MAX_CODES.1) {
            return Err(odd("a code in it is none"));
        }
        // People type the code there: it is a page of this very server.
        let page = self
            .http
            .check("the page for the code", &begun.verification_uri)?;
        if page.origin() != self.page_of_github("/")?.origin() {
            return Err(odd("the page for the code is at another server"));
        }
        let life = Duration::from_secs(begun.expires_in).min(LONGEST);
        if life.is_zero() {
            return Err(odd("the code is good for no time"));
        }
        let interval = begun.interval.map_or(INTERVAL, Duration::from_secs);
        Ok(Codes {
            device_code: begun.device_code,
            user_code: begun.user_code,
            verification_uri: page.into(),
            life,
            interval: interval.clamp(INTERVALS.0, INTERVALS.1),
        })
    }

    /// Whether the code was typed, and by whom.
    pub(in crate::authn::providers) async fn poll_device(
        &self,
        device_code: &str,
    ) -> Result<Polled, ArrivalError> {
        let what = "the token endpoint";
        let url = self.page_of_github("/login/oauth/access_token")?;
        let fields = [
            ("client_id", self.config.client.id.as_str()),
            ("device_code", device_code),
            ("grant_type", GRANT),
        ];
        let tokens: Tokens = {
            let _turn = self.devices.try_acquire().map_err(|_| Failure::Busy)?;
            let question = Question::post(what, &url, &fields);
            self.http.ask(question).await?.success()?
        };
        match &*tokens.error {
            "" => {
                let arrival = self.arrive(tokens.access_token).await?;
                Ok(Polled::Arrived(Box::new(arrival)))
            }
            "authorization_pending" => Ok(Polled::Pending),
            "slow_down" => Ok(Polled::SlowDown),
            "access_denied" => Ok(Polled::Denied),
            // It was used, or its time is over there.
            "expired_token" | "incorrect_device_code" | "bad_verification_code" => {
                Ok(Polled::Expired)
            }
            error => Err(refused(what, error).into()),
        }
    }
}
