//! Being told to wait.
//!
//! GitHub counts questions for each token (the primary limit), and bursts for the app and the address as a whole (the
//! secondary one). Who goes on asking is shut out for longer, so nobody does: of the first kind the one account waits,
//! of the second everybody.

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
            *self.until() = Some(Instant::now() + *wait);
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
    let (wait, whole) = if let Some(seconds) = number("retry-after") {
        (Duration::from_secs(seconds), Whole::Yes)
    } else if used_up {
        let now = u64::try_from(clock::now().as_second()).unwrap_or(0);
        let reset = number("x-ratelimit-reset").map(|at| at.saturating_sub(now));
        (reset.map_or(WAIT, Duration::from_secs), Whole::No)
    } else if answer.status == StatusCode::TOO_MANY_REQUESTS
        || super::said(answer).contains("secondary rate limit")
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
