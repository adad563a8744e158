//! The device grant: the terminal shows a code, a person types it on a page and answers, the terminal asks until then.

use super::{
    super::{Done, Login, LoginError},
    Refusal, by,
    record::{Answer, Kind, Record, What, device_key, hash},
};
use crate::{
    authn::{Identity, NoRandomness},
    observe::metrics::labels::{TerminalStep, TerminalWay},
    status::clock,
    store::{Revision, StoreError, Txn},
};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Letters of a user code: no vowels, so that there are no words, and none that is read as another (RFC 8628,
/// section 6.1).
pub(super) const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many.
pub const USER_CODE: usize = 8;
/// How long a terminal waits for an answer.
pub(super) const DEVICE_LIFE: SignedDuration = SignedDuration::from_mins(10);
/// How often it may ask.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// A timer that runs a little fast is no reason for a rebuke.
const TOLERANCE: Duration = Duration::from_secs(1);
/// Characters of the device code that say which grant it is; what follows is the secret.
const LOCATOR: usize = 32;
/// Characters of the secret: 32 bytes in base64url.
const SECRET: usize = 43;
/// Tries to write an answer that others write at the same time.
const ATTEMPTS: usize = 3;

/// A terminal that asks, as the page shows it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What it calls its machine.
    pub client: String,
    /// The address that it asked from.
    pub from: IpAddr,
    /// When.
    pub at: Timestamp,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It counts.
    Done,
    /// There is no such question any more.
    Gone,
}

/// What a terminal is told that begins.
pub(super) struct Begun {
    pub(super) device_code: Zeroizing<String>,
    pub(super) user_code: String,
}

impl Login {
    /// A terminal asks.
    pub(super) async fn begin_device(
        &self,
        client: &str,
        from: IpAddr,
    ) -> Result<Begun, LoginError> {
        let now = clock::now();
        self.check_room(Kind::Device, now)?;
        let user_code = user_code()?;
        let locator = locator(&user_code);
        let mut bytes = Zeroizing::new([0_u8; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let record = Record {
            client: client.to_owned(),
            from,
            asked_at: now,
            expires_at: now.saturating_add(DEVICE_LIFE).unwrap_or(Timestamp::MAX),
            what: What::Device {
                secret: hash("palisade device", &secret),
                answer: Answer::None,
            },
        };
        let key = device_key(&locator);
        // Two with one code: once in a million times with ten thousand of them; the second may ask again.
        let txn = Txn::new().when(key.clone(), 0).put(key, record.encode());
        let revision = self.store.txn(txn).await?;
        self.applied(revision).await;
        self.count_device(TerminalStep::Begun);
        let mut device_code = Zeroizing::new(locator);
        device_code.push_str(&secret);
        Ok(Begun {
            device_code,
            user_code,
        })
    }

    fn count_device(&self, step: TerminalStep) {
        self.grants.count(TerminalWay::Device, step);
    }

    /// The grant of the terminal that has this device code, whether or not its time is over.
    async fn held_by(
        &self,
        device_code: &str,
        peer: IpAddr,
    ) -> Result<Result<(String, Arc<Record>, Revision), Refusal>, LoginError> {
        let split = device_code.split_at_checked(LOCATOR);
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let split =
            split.filter(|(locator, secret)| secret.len() == SECRET && locator.bytes().all(hex));
        let Some((locator, secret)) = split else {
            return Ok(Err(Refusal::InvalidGrant("the device code is none")));
        };
        let key = device_key(locator);
        // What is swept and what never was are one: nothing is told of codes.
        let (record, revision) = match self.look_up(&key, peer).await? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(Refusal::Expired)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let What::Device { secret: known, .. } = &record.what else {
            return Ok(Err(Refusal::Expired));
        };
        let given = hash("palisade device", secret);
        if !bool::from(known.as_bytes().ct_eq(given.as_bytes())) {
            return Ok(Err(Refusal::Expired));
        }
        Ok(Ok((key, record, revision)))
    }

    /// The terminal gives up: nobody is asked about it any more. Of a code that is nobody's nothing is told.
    pub(super) async fn withdraw_device(
        &self,
        device_code: &str,
        peer: IpAddr,
    ) -> Result<Result<(), Refusal>, LoginError> {
        match self.held_by(device_code, peer).await? {
            Ok((key, _, revision)) => self.take_back(&key, revision).await.map(Ok),
            Err(Refusal::Expired | Refusal::InvalidGrant(_)) => Ok(Ok(())),
            Err(other) => Ok(Err(other)),
        }
    }

    /// Takes away what its terminal has given up, and counts it once.
    async fn take_back(&self, key: &str, mut revision: Revision) -> Result<(), LoginError> {
        for _ in 0..ATTEMPTS {
            let txn = Txn::new().when(key, revision).delete(key);
            match self.store.txn(txn).await {
                Ok(revision) => {
                    self.applied(revision).await;
                    self.count_device(TerminalStep::Withdrawn);
                    return Ok(());
                }
                // It is gone: fetched, swept or taken back before. Or there was an answer: nobody will come for it.
                Err(StoreError::Conflict { .. }) => match self.store.get(key).await? {
                    Some(kv) => revision = kv.mod_revision,
                    None => return Ok(()),
                },
                Err(other) => return Err(other.into()),
            }
        }
        Err(LoginError::Conflict)
    }

    /// The terminal asks whether there is an answer.
    pub(super) async fn poll_device(
        &self,
        device_code: &str,
        peer: IpAddr,
    ) -> Result<Result<Done, Refusal>, LoginError> {
        let (key, record, revision) = match self.held_by(device_code, peer).await? {
            Ok(held) => held,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let What::Device { answer, .. } = &record.what else {
            return Ok(Err(Refusal::Expired));
        };
        if clock::now() >= record.expires_at {
            return Ok(Err(Refusal::Expired));
        }
        if !self
            .grants
            .poll(&key, Instant::now(), INTERVAL.saturating_sub(TOLERANCE))
        {
            return Ok(Err(Refusal::SlowDown));
        }
        match answer {
            Answer::None => Ok(Err(Refusal::Pending)),
            Answer::No => {
                self.withdraw(&key, revision).await?;
                Ok(Err(Refusal::Denied))
            }
            Answer::Yes(by) => {
                let terminal = (&*record.client, peer);
                let done = Box::pin(self.redeem((&key, revision), by, terminal)).await?;
                if done.is_ok() {
                    self.count_device(TerminalStep::Fetched);
                    // It came to something.
                    self.grants.paces.begin.forgive(self.source(record.from));
                }
                Ok(done)
            }
        }
    }

    /// Which terminal has this user code, for somebody who is logged in. Wrong codes are counted, by person and by
    /// source; too many are an error before anything is looked at.
    pub fn asking_device(
        &self,
        user_code: &str,
        (identity, peer): (&Identity, IpAddr),
    ) -> Result<Option<Asked>, LoginError> {
        let grants = &self.grants;
        let paces = &grants.paces;
        let now = Instant::now();
        // The person first: who is over their own limit takes nothing from those who share the address.
        let by_person = paces.wrong_by_person.admit(&identity.user_uid(), now);
        let by_person = by_person.map_err(LoginError::TooManyCodes)?;
        let source = self.source(peer);
        let by_source = source.map(|it| paces.wrong_from_source.admit(&it, now));
        let by_source = by_source.transpose().map_err(|wait| {
            paces.wrong_by_person.forgive(&by_person);
            LoginError::TooManyCodes(wait)
        })?;
        let found = normalised(user_code)
            .and_then(|code| grants.find(&device_key(&locator(&code))))
            .filter(|live| clock::now() < live.record.expires_at && is_open(&live.record));
        if found.is_some() {
            paces.wrong_by_person.forgive(&by_person);
            if let Some(by_source) = &by_source {
                paces.wrong_from_source.forgive(by_source);
            }
        }
        Ok(found.map(|live| Asked {
            client: live.record.client.clone(),
            from: live.record.from,
            at: live.record.asked_at,
        }))
    }

    /// Somebody says yes.
    pub async fn allow_device(
        &self,
        user_code: &str,
        identity: &Identity,
    ) -> Result<Answered, LoginError> {
        let yes = Answer::Yes(by(identity));
        let answered = self.answer_device(user_code, yes).await?;
        if answered == Answered::Done {
            self.count_device(TerminalStep::Given);
        }
        Ok(answered)
    }

    /// Somebody says no.
    pub async fn refuse_device(&self, user_code: &str) -> Result<Answered, LoginError> {
        let answered = self.answer_device(user_code, Answer::No).await?;
        if answered == Answered::Done {
            self.count_device(TerminalStep::Refused);
        }
        Ok(answered)
    }

    /// The first answer counts.
    async fn answer_device(&self, user_code: &str, answer: Answer) -> Result<Answered, LoginError> {
        let Some(code) = normalised(user_code) else {
            return Ok(Answered::Gone);
        };
        let key = device_key(&locator(&code));
        let live = self.grants.find(&key);
        let mut known = live.map(|it| (it.record, it.revision));
        for _ in 0..ATTEMPTS {
            let open = known
                .take()
                .filter(|(it, _)| is_open(it) && clock::now() < it.expires_at);
            let Some((record, seen)) = open else {
                return Ok(Answered::Gone);
            };
            let mut record = (*record).clone();
            if let What::Device { answer: slot, .. } = &mut record.what {
                slot.clone_from(&answer);
            }
            let txn = Txn::new().when(key.clone(), seen);
            match self.store.txn(txn.put(key.clone(), record.encode())).await {
                Ok(revision) => {
                    self.applied(revision).await;
                    return Ok(Answered::Done);
                }
                // As the store has it: what this replica remembers was behind.
                Err(StoreError::Conflict { .. }) => known = self.read(&key).await?,
                Err(other) => return Err(other.into()),
            }
        }
        Err(LoginError::Conflict)
    }
}

/// Whether nobody has answered yet.
fn is_open(record: &Record) -> bool {
    match &record.what {
        What::Device { answer, .. } => *answer == Answer::None,
        What::Code { .. } | What::State => false,
    }
}

/// A user code as it is shown, `BCDF-GHJK`, however it was typed. None: it is not one.
pub fn normalised(typed: &str) -> Option<String> {
    // A code and some blanks or dashes; nobody has a reason to type more.
    const LONGEST: usize = 32;
    if typed.len() > LONGEST {
        return None;
    }
    let letters = typed.chars().filter(|c| !matches!(c, ' ' | '-'));
    let letters: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let good = letters.len() == USER_CODE && letters.bytes().all(|c| LETTERS.contains(&c));
    good.then(|| dashed(&letters))
}

/// `XXXX-XXXX`
pub(super) fn dashed(letters: &str) -> String {
    match letters.split_at_checked(USER_CODE / 2) {
        Some((one, two)) => format!("{one}-{two}"),
        None => letters.to_owned(),
    }
}

/// A random one.
fn user_code() -> Result<String, NoRandomness> {
    let mut code = String::new();
    while code.len() < USER_CODE {
        let mut random = [0_u8; 2 * USER_CODE];
        rand::fill(&mut random).map_err(|_| NoRandomness)?;
        // 240 is the largest multiple of 20 in a byte: what is above would favour the first letters.
        let letters = random
            .iter()
            .filter(|&&byte| byte < 240)
            .filter_map(|byte| LETTERS.get(usize::from(byte % 20)));
        let missing = USER_CODE - code.len();
        code.extend(letters.take(missing).map(|&c| char::from(c)));
    }
    Ok(dashed(&code))
}

/// Which grant a user code belongs to: a part of its hash, as many characters as no two of ten thousand share.
fn locator(user_code: &str) -> String {
    let mut hash = hash("palisade user code", user_code);
    hash.truncate(LOCATOR);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_known_however_it_is_typed() {
        for typed in ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "b-c-d-f-g-h-j-k"] {
            assert_eq!(normalised(typed).as_deref(), Some("BCDF-GHJK"), "{typed}");
        }
        for none in [
            "",
            "BCDF",
            "BCDF-GHJA",
            "BCDF-GHJKL",
            "BCDF-GHJ\u{212a}",
            &"-".repeat(99),
        ] {
            assert_eq!(normalised(none), None, "{none}");
        }
        for _ in 0..100 {
            let code = user_code().unwrap();
            assert_eq!(normalised(&code).as_ref(), Some(&code));
        }
    }
}
