//! GitHub's own device flow: a person types a code there, and the gateway asks until they have (RFC 8628, as GitHub
//! has it).
//!
//! The app's secret is not sent: GitHub wants the client's id and the device code alone. Strangers can have these
//! questions asked, so they have turns of their own, and when GitHub wants no more of them they alone rest: people
//! are read again all the while.

use super::{
    Github, SCOPE, Tokens,
    limit::{self, Rest, Whole},
    refused,
};
use crate::authn::providers::redirect::{
    ArrivalError, Codes, DeviceCode, Failure, Polled, http::Question,
};
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// Questions of terminals at the same time. Strangers can ask them, and they must not take the turns of those that
/// read people again.
const AT_ONCE: usize = 8;
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

/// What bounds the questions of terminals.
pub(super) struct Devices {
    turns: Semaphore,
    rest: Rest,
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            rest: Rest::default(),
        }
    }
}

/// The answer to a terminal that begins, which is 200 whatever it says.
#[derive(Deserialize)]
struct Begun {
    #[serde(default)]
    device_code: DeviceCode,
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
        let begun: Begun = self.ask_for_device(what, &url, &fields).await?;
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
        if !is_plain(begun.device_code.expose(), MAX_CODES.0)
            || !is_plain(&begun.user_code, MAX_CODES.1)
        {
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
        device_code: &DeviceCode,
    ) -> Result<Polled, ArrivalError> {
        // GitHub's yes uses the code up, and whose it is must be asked with the token then.
        self.rest.check()?;
        let what = "the token endpoint";
        let url = self.page_of_github("/login/oauth/access_token")?;
        let fields = [
            ("client_id", self.config.client.id.as_str()),
            ("device_code", device_code.expose()),
            ("grant_type", GRANT),
        ];
        let tokens: Tokens = self.ask_for_device(what, &url, &fields).await?;
        match &*tokens.error {
            "" => {
                let arrival = self.arrive(tokens.access_token).await?;
                Ok(Polled::Arrived(Box::new(arrival)))
            }
            "authorization_pending" => Ok(Polled::Pending),
            "slow_down" => Ok(Polled::SlowDown),
            "access_denied" => Ok(Polled::Denied),
            "expired_token" => Ok(Polled::Expired),
            // Maybe by this very terminal, if whose token it is could not be told then.
            "incorrect_device_code" | "bad_verification_code" => Ok(Polled::Used),
            error => Err(refused(what, error).into()),
        }
    }

    /// One of the two questions, unless GitHub wants none for now.
    async fn ask_for_device<T: DeserializeOwned>(
        &self,
        what: &'static str,
        url: &Url,
        fields: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let devices = &self.devices;
        devices.rest.check()?;
        let _turn = devices.turns.try_acquire().map_err(|_| Failure::Busy)?;
        let answer = self.http.ask(Question::post(what, url, fields)).await?;
        if matches!(
            answer.status,
            StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        ) && let Some(Failure::Limited { wait, .. }) = limit::of(&answer)
        {
            // No token came with the question: it is about the app or the gateway's address.
            let limited = Failure::Limited {
                wait,
                whole: Whole::Yes,
            };
            devices.rest.note(&limited);
            return Err(limited);
        }
        answer.success()
    }
}
