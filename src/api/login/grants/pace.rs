//! How often what may be asked for, and by whom it is counted.

use crate::authn::throttle::{Pace, Rate, Source};
use std::time::{Duration, Instant};

/// What one source begins: an office behind one address, each morning. Whoever logs in gives theirs back, so an office
/// of any size pays for what comes to nothing.
const BEGIN: Pace = Pace {
    tries: 50,
    interval: Duration::from_secs(12),
};
/// The same of everybody, where sources are not told apart: in the ten minutes that a grant lives, 7,000, so that
/// there is room for others' in [`super::live`].
const BEGIN_ALL: Pace = Pace {
    tries: 1_000,
    interval: Duration::from_millis(100),
};
/// Browsers of everybody that are sent to providers and come back, where sources are not told apart: in the twelve
/// minutes that a state is remembered, 37,000, below its bound.
const BROWSERS_ALL: Pace = Pace {
    tries: 1_000,
    interval: Duration::from_millis(20),
};
/// Codes that one person has given to terminals: each needs a yes on a page.
const CODES: Pace = Pace {
    tries: 10,
    interval: Duration::from_secs(6),
};
/// Questions of one terminal that its provider is asked: providers want five seconds in between. The second at once is
/// for a timer that runs a little fast.
const POLLS_AT_PROVIDERS: Pace = Pace {
    tries: 2,
    interval: Duration::from_secs(5),
};
/// Questions from one source that providers are asked: ten terminals that wait all the time, and an office's that begin
/// at once. More are told to slow down, and are then within it. A provider takes some tenths of a second for an answer,
/// so a source has one of the turns at most.
const POLLS_FROM_SOURCE: Pace = Pace {
    tries: 60,
    interval: Duration::from_millis(500),
};
/// The same of everybody, where sources are not told apart: fifty terminals that wait.
const POLLS_ALL: Pace = Pace {
    tries: 300,
    interval: Duration::from_millis(100),
};
/// User codes that were wrong, of one person who is logged in.
const WRONG_BY_PERSON: Pace = Pace {
    tries: 10,
    interval: Duration::from_mins(1),
};
/// And from one source.
const WRONG_FROM_SOURCE: Pace = Pace {
    tries: 30,
    interval: Duration::from_secs(20),
};
/// Codes that are nobody's, fetched from one source: each costs the store a read.
const UNKNOWN: Pace = Pace {
    tries: 60,
    interval: Duration::from_secs(1),
};
/// The same from everywhere, where sources are not told apart: a hundred reads a second are nothing to the store.
const UNKNOWN_ALL: Pace = Pace {
    tries: 600,
    interval: Duration::from_millis(10),
};

/// All of them.
pub(super) struct Paces {
    /// Terminals that begin.
    pub(super) begin: BySource,
    /// Browsers that are sent to a provider: not counted with terminals, so that neither keeps the other out.
    pub(super) leave: BySource,
    /// Browsers that come back.
    pub(super) arrive: BySource,
    pub(super) unknown: BySource,
    pub(super) codes: Rate,
    /// By device code.
    pub(super) polls_at_providers: Rate,
    /// By where it is asked from.
    pub(super) polls_from_source: BySource,
    pub(super) wrong_by_person: Rate,
    pub(super) wrong_from_source: Rate,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            begin: BySource::new(BEGIN, BEGIN_ALL),
            leave: BySource::new(BEGIN, BROWSERS_ALL),
            arrive: BySource::new(BEGIN, BROWSERS_ALL),
            unknown: BySource::new(UNKNOWN, UNKNOWN_ALL),
            codes: Rate::new(CODES),
            polls_at_providers: Rate::new(POLLS_AT_PROVIDERS),
            polls_from_source: BySource::new(POLLS_FROM_SOURCE, POLLS_ALL),
            wrong_by_person: Rate::new(WRONG_BY_PERSON),
            wrong_from_source: Rate::new(WRONG_FROM_SOURCE),
        }
    }
}

/// A pace of each source, or one of all together where sources are not told apart.
pub(super) struct BySource {
    each: Rate,
    all: Rate,
}

impl BySource {
    fn new(each: Pace, all: Pace) -> Self {
        Self {
            each: Rate::new(each),
            all: Rate::of_all(all),
        }
    }

    /// Charges one more, or says how long none is taken.
    pub(super) fn admit(&self, source: Option<Source>, now: Instant) -> Result<(), Duration> {
        let charged = match source {
            Some(source) => self.each.admit(&source, now),
            None => self.all.admit(&(), now),
        };
        charged.map(|_charge| ())
    }

    /// Gives one back: somebody has proven who they are.
    pub(super) fn forgive(&self, source: Option<Source>) {
        match source {
            Some(source) => self.each.forgive_one(&source),
            None => self.all.forgive_one(&()),
        }
    }
}
