//! The device grant of a provider: the person types the code there, and the terminal asks here until then.
//!
//! Nothing of it is in the store: the device code that the terminal holds is the provider's own, sealed. What it costs
//! is questions to the provider, so these are counted: terminals that begin by source, with those of the gateway's own
//! flow, and questions by device code and by source: a few strangers leave turns to everybody else.

use super::{
    super::{Body, Login, LoginError, Seen, Wanted, answer, wire::logged_in},
    Refusal,
    device::INTERVAL,
    wire::{Begun, no_store, refused},
};
use crate::{
    authn::providers::{Polled, Provider, Waiting},
    objects::TokenKind,
    observe::metrics::labels::{TerminalStep, TerminalWay},
    status::clock,
};
use http::Response;
use std::{net::IpAddr, sync::Arc, time::Instant};

/// What such a device code begins with: the gateway's own are hexadecimal.
pub(super) const MARK: &str = "at.";
/// Maybe by this very terminal: a yes is told once, and what follows on it can fail (the provider's API or the store was
/// away, and the terminal was told 503).
const USED: Refusal = Refusal::InvalidGrant("the code was used: begin anew");
/// Longest that is looked at: the provider's code, the client's name and the seal have some 700 characters.
const MAX_CODE: usize = 4096;

impl Login {
    /// Begins at the provider.
    pub(super) async fn device_begins_at(
        &self,
        provider: &Arc<Provider>,
        terminal: (&str, IpAddr),
    ) -> Result<Response<Body>, LoginError> {
        let codes = provider.begin_device().await.map_err(|failure| {
            let error = LoginError::from(failure);
            self.note_failure(&error);
            error
        })?;
        let waiting = Waiting::new(&codes, terminal, clock::now());
        let sealed = waiting.seal(&self.keyring, provider)?;
        self.count_at(TerminalStep::Begun);
        let begun = Begun {
            device_code: &format!("{MARK}{}.{sealed}", provider.name),
            user_code: &codes.user_code,
            verification_uri: &codes.verification_uri,
            verification_uri_complete: None,
            expires_in: codes.life.as_secs(),
            interval: codes.interval.max(INTERVAL).as_secs(),
        };
        Ok(no_store(answer::ok(&begun)))
    }

    /// Which provider a device code is of, if it is not the gateway's own.
    pub(super) fn device_code_at<'c>(&self, code: &'c str) -> Option<AtProvider<'c>> {
        let (name, sealed) = code.strip_prefix(MARK)?.split_once('.')?;
        let provider = self.providers.get(name);
        Some(AtProvider { provider, sealed })
    }

    /// The terminal asks whether there is an answer at the provider.
    pub(super) async fn poll_device_at(
        &self,
        at: AtProvider<'_>,
        peer: IpAddr,
        seen: &mut Seen,
    ) -> Result<Response<Body>, LoginError> {
        let nobodys = Refusal::InvalidGrant("the device code is none, or its provider is another");
        let AtProvider { provider, sealed } = at;
        let provider = provider.filter(|it| it.has_device_flow() && sealed.len() <= MAX_CODE);
        let Some(provider) = provider else {
            return Ok(self.refused_at(nobodys));
        };
        let Some(waiting) = Waiting::open(&self.keyring, sealed, &provider) else {
            return Ok(self.refused_at(nobodys));
        };
        if clock::now() >= waiting.expires_at {
            return Ok(self.refused_at(Refusal::Expired));
        }
        if !self.may_ask_provider(sealed, peer) {
            return Ok(self.refused_at(Refusal::SlowDown));
        }
        let polled = provider.poll_device(&waiting).await;
        let polled = polled.map_err(|error| {
            let error = LoginError::from(error);
            self.note_failure(&error);
            error
        })?;
        let arrival = match polled {
            Polled::Arrived(arrival) => *arrival,
            Polled::Pending => return Ok(self.refused_at(Refusal::Pending)),
            Polled::SlowDown => return Ok(self.refused_at(Refusal::SlowDown)),
            Polled::Expired => {
                self.count_at(TerminalStep::Expired);
                return Ok(self.refused_at(Refusal::Expired));
            }
            // No step of a login: whoever has an old code could count it again and again.
            Polled::Used => return Ok(self.refused_at(USED)),
            Polled::Denied => {
                self.count_at(TerminalStep::Refused);
                return Ok(self.refused_at(Refusal::Denied));
            }
        };
        let wanted = Wanted {
            kind: TokenKind::Ses,
            client: waiting.client,
            from: peer,
        };
        let done = Box::pin(self.enter_arrival(&provider, arrival, &wanted, seen)).await?;
        self.count_at(TerminalStep::Fetched);
        // It came to something: to whoever began, and to whoever asked.
        let paces = &self.grants.paces;
        paces.begin.forgive(self.source(waiting.from));
        paces.polls_from_source.forgive(self.source(peer));
        Ok(no_store(logged_in(&done)))
    }

    /// Charges a question that its provider is asked. The code first: a terminal that asks too often takes nothing from
    /// those who share the address.
    fn may_ask_provider(&self, sealed: &str, peer: IpAddr) -> bool {
        let (paces, now) = (&self.grants.paces, Instant::now());
        let by_code = paces.polls_at_providers.admit(&sealed, now);
        by_code.is_ok()
            && paces
                .polls_from_source
                .admit(self.source(peer), now)
                .is_ok()
    }

    fn count_at(&self, step: TerminalStep) {
        self.grants.count(TerminalWay::Provider, step);
    }

    fn refused_at(&self, refusal: Refusal) -> Response<Body> {
        self.count(refusal);
        refused(refusal)
    }
}

/// A device code of a provider's.
pub(super) struct AtProvider<'c> {
    /// None: it is gone.
    provider: Option<Arc<Provider>>,
    sealed: &'c str,
}
