//! The end of the server's certificate, told in time.

use crate::serve::tls::Validity;
use jiff::{SignedDuration, Timestamp};

/// Longest warning: who renews by hand needs weeks.
const EARLIEST: SignedDuration = SignedDuration::from_hours(21 * 24);
/// Part of its life before which nothing is said: what renews by itself does so at two thirds, or at half of
/// a life of days.
const LAST_PART: i32 = 5;
/// Between two warnings.
const AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// Says when a warning is due.
#[derive(Default)]
pub(super) struct Expiry {
    told: Option<(Validity, Timestamp)>,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warning {
    /// It ends soon.
    Ends,
    /// It has ended: clients refuse it.
    Ended,
}

impl Expiry {
    /// The warning that is due now: once a day in the last fifth of a certificate's life.
    pub(super) fn due(&mut self, validity: Validity, now: Timestamp) -> Option<Warning> {
        let life = validity.not_before.duration_until(validity.not_after);
        let soon = (life / LAST_PART).min(EARLIEST);
        let left = now.duration_until(validity.not_after);
        if left > soon {
            return None;
        }
        let told_today = self
            .told
            .is_some_and(|(of, at)| of == validity && at.duration_until(now) < AGAIN);
        if told_today {
            return None;
        }
        self.told = Some((validity, now));
        Some(if left.is_negative() {
            Warning::Ended
        } else {
            Warning::Ends
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_warning_comes_once_a_day_in_the_last_fifth() {
        let validity = Validity {
            not_before: at("2026-01-01T00:00:00Z"),
            not_after: at("2026-04-01T00:00:00Z"),
        };
        let mut expiry = Expiry::default();
        let mut due = |now| expiry.due(validity, at(now));
        assert_eq!(due("2026-03-13T23:00:00Z"), None);
        assert_eq!(due("2026-03-14T01:00:00Z"), Some(Warning::Ends));
        assert_eq!(due("2026-03-14T23:00:00Z"), None);
        assert_eq!(due("2026-03-15T01:00:00Z"), Some(Warning::Ends));
        assert_eq!(due("2026-04-01T02:00:00Z"), Some(Warning::Ended));
        let next = Validity {
            not_before: at("2026-04-01T00:00:00Z"),
            not_after: at("2028-04-01T00:00:00Z"),
        };
        assert_eq!(expiry.due(next, at("2026-04-01T03:00:00Z")), None);
        assert_eq!(expiry.due(next, at("2028-03-01T00:00:00Z")), None);
        assert_eq!(
            expiry.due(next, at("2028-03-12T00:00:00Z")),
            Some(Warning::Ends)
        );
    }
}
