//! Being told to wait.
//!
//! GitHub counts questions for each token (the primary limit), and bursts for the app and the address as a whole (the
//! secondary one). Who goes on asking is shut out for longer, so nobody does: of the first kind the one account waits,
//! of the second everybody, but not for long: an answer does not say whom it is about.

use super::super::redirect::{Failure, http::Answer};
use crate::status::clock;
use http::StatusCode;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Without a word on how long: GitHub asks for a minute at least.
const WAIT: Duration = Duration::from_mins(1);
/// Limits are counted by the hour; who is told to wait longer asks again then.
const LONGEST: Duration = Duration::from_hours(1);
/// So long everybody waits for what one account was told, which may be about that one alone. It waits itself for all of
/// the time; if it was about everybody, the next one is told again.
const LONGEST_OF_ALL: Duration = Duration::from_mins(1);

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Everybody.
    Yes,
    /// The token's person.
    No,
}

/// Until when nobody asks.
#[derive(Default)]
pub(super) struct Rest {
    until: Mutex<Option<Instant>>,
}

impl Rest {
    pub(super) fn check(&self) -> Result<(), Failure> {
        let until = *self.until();
        let wait = until.map(|until| until.saturating_duration_since(Instant::now()));
        match wait {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(Failure::Limited {
                wait,
                whole: Whole::Yes,
            }),
        }
    }

    pub(super) fn note(&self, failure: &Failure) {
        if let Failure::Limited {
            wait,
            whole: Whole::Yes,
        } = failure
        {
            let until = Instant::now() + (*wait).min(LONGEST_OF_ALL);
            let mut known = self.until();
            *known = (*known).max(Some(until));
        }
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer (403 or 429) says to wait, and how long.
pub(super) fn of(answer: &Answer) -> Option<Failure> {
    let number = |name: &str| -> Option<u64> { answer.text(name)?.trim().parse().ok() };
    let used_up = number("x-ratelimit-remaining") == Some(0);
    let stated = number("retry-after").map(Duration::from_secs);
    // First: what one account has used up says nothing of the others, whatever else it is told.
    let (wait, whole) = if used_up {
        let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
        let reset = number("x-ratelimit-reset").map(|at| at.saturating_sub(now));
        let reset = reset.map(Duration::from_secs);
        (stated.or(reset).unwrap_or(WAIT), Whole::No)
    } else if let Some(stated) = stated {
        (stated, Whole::Yes)
    } else if answer.status == StatusCode::TOO_MANY_REQUESTS
        || super::person::said(answer).contains("secondary rate limit")
    {
        (WAIT, Whole::Yes)
    } else {
        return None;
    };
    Some(Failure::Limited {
        // A second at least: else it would be asked again at once.
        wait: wait.clamp(Duration::from_secs(1), LONGEST),
        whole,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::Github, *};
    use crate::{authn::providers::redirect::Grant, config};
    use tokio::time::advance;

    // G2: one account could keep all others from being read again.
    #[tokio::test(start_paused = true)]
    async fn what_one_account_is_told_stops_the_others_for_a_minute_at_most() {
        let rest = Rest::default();
        let told = |wait, whole| rest.note(&Failure::Limited { wait, whole });
        told(LONGEST, Whole::No);
        assert!(rest.check().is_ok());
        told(LONGEST, Whole::Yes);
        assert!(rest.check().is_err());
        told(Duration::from_secs(1), Whole::Yes);
        advance(LONGEST_OF_ALL.saturating_sub(Duration::from_secs(1))).await;
        assert!(rest.check().is_err(), "the longer time counts");
        advance(Duration::from_secs(1)).await;
        assert!(rest.check().is_ok());
    }

    // G2: who is told to wait is not asked for, whatever time of it everybody else waits.
    #[tokio::test(start_paused = true)]
    async fn an_account_that_is_told_to_wait_waits_for_all_of_it() {
        let github = Github::new(config::Github {
            url: "https://github.example".to_owned(),
            api_url: "https://github.example/api/v3".to_owned(),
            client: config::Client {
                id: "palisade".to_owned(),
                secret_file: None,
            },
            organizations: Vec::new(),
            device_flow: false,
            link: config::Link {
                ca_file: None,
                connect_timeout: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                danger_plain_http: false,
            },
        });
        let grant: Grant = serde_json::from_value("a-token".into()).unwrap();
        let told = async || match github.again("7", &grant).await.outcome {
            Err(Failure::Limited { wait, whole }) => Some((wait, whole)),
            _ => None,
        };
        // As everybody.
        github.rest.note(&Failure::Limited {
            wait: LONGEST_OF_ALL,
            whole: Whole::Yes,
        });
        assert_eq!(told().await, Some((LONGEST_OF_ALL, Whole::Yes)));
        let until = || github.memory.take("7", "a-token");
        assert_eq!(until().must_wait(), Some(LONGEST_OF_ALL));
        // Alone, and for longer; another token of the same account is another one's affair.
        let mut remembered = until();
        remembered.wait(LONGEST);
        github.memory.put("7", remembered);
        advance(LONGEST.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(told().await, Some((Duration::from_secs(1), Whole::No)));
        assert_eq!(github.memory.take("7", "another").must_wait(), None);
    }
}
