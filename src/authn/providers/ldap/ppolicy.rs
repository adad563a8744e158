//! OpenLDAP's password policies (draft-behera-ldap-password-policy-10, slapo-ppolicy(5)): what an account's entry and
//! the policy above it say, and what a server says beside the result of a bind.
//!
//! What could go wrong: taking an account for open whose policy cannot be read. A policy that is not found, or of
//! which nothing can be read, locks for ever and wants a password that was reset to be changed.

use super::{
    ber::{SEQUENCE, split},
    entry::{Entry, Malformed},
};
use crate::authn::providers::Standing;
use jiff::{Timestamp, civil::DateTime, tz::Offset};
use ldap3::controls::{Control, RawControl};

/// Attributes of an account.
pub(super) const OF_ACCOUNT: &[&str] = &[
    "pwdAccountLockedTime",
    "pwdStartTime",
    "pwdEndTime",
    "pwdReset",
    CHANGED,
    SUBENTRY,
];
/// When its password was changed.
const CHANGED: &str = "pwdChangedTime";
/// Which policy is above it, if not the server's default.
const SUBENTRY: &str = "pwdPolicySubentry";
/// Attributes of a policy. The first is in every one: who does not see it does not see the others.
pub(super) const OF_POLICY: &[&str] = &[
    "pwdAttribute",
    "pwdLockout",
    "pwdLockoutDuration",
    "pwdMustChange",
];
/// A lock that ends by an administrator's hand alone.
const FOR_EVER: &str = "000001010000Z";
/// Asked for with a bind, and answered beside its result.
const CONTROL: &str = "1.3.6.1.4.1.42.2.27.8.5.1";
/// Tag of the number of logins that are left to an expired password, in a warning.
const GRACE: u8 = 0x81;
const WARNING: u8 = 0xa0;
const ERROR: u8 = 0x81;

/// What a policy says of locks and of passwords that were reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Whether a lock counts.
    locks: bool,
    /// Seconds until a lock is over; none: it is not.
    lockout: Option<i64>,
    /// Whether a password that was reset must be changed first.
    must_change: bool,
}

impl Policy {
    /// What counts where none can be read.
    pub(super) const STRICT: Self = Self {
        locks: true,
        lockout: None,
        must_change: true,
    };

    /// Reads one.
    pub(super) fn read(entry: &Entry) -> Self {
        if entry.values("pwdAttribute").is_empty() {
            return Self::STRICT;
        }
        let is = |name: &str| entry.text(name) == Some("TRUE");
        Self {
            locks: is("pwdLockout"),
            lockout: entry
                .number("pwdLockoutDuration")
                .filter(|seconds| *seconds > 0),
            must_change: is("pwdMustChange"),
        }
    }
}

/// Which policy is above an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Above<'a> {
    /// Whichever it is: the account's state does not depend on it.
    Any,
    /// The server's default.
    Default,
    /// The one with this DN.
    Named(&'a str),
}

/// The policy that must be known before the account's state is.
pub(super) fn needed(account: &Entry) -> Above<'_> {
    let locked = account.text("pwdAccountLockedTime");
    if locked.is_none_or(|at| at == FOR_EVER) && !is_reset(account) {
        return Above::Any;
    }
    account.text(SUBENTRY).map_or(Above::Default, Above::Named)
}

fn is_reset(account: &Entry) -> bool {
    account.text("pwdReset") == Some("TRUE")
}

/// What the account's entry says, under this policy.
pub(super) fn standing(
    account: &Entry,
    policy: Policy,
    now: Timestamp,
) -> Result<Standing, Malformed> {
    if let Some(at) = account.values("pwdAccountLockedTime").first() {
        let at = std::str::from_utf8(at).unwrap_or(FOR_EVER);
        // That year is no time.
        let end = time(at).zip(policy.lockout).filter(|_| at != FOR_EVER);
        let end = end.map(|(at, seconds)| at.as_second().saturating_add(seconds));
        let is_over = end.is_some_and(|end| end <= now.as_second());
        if at == FOR_EVER || (policy.locks && !is_over) {
            return Ok(Standing::Locked);
        }
    }
    let begins = known_time(account, "pwdStartTime")?;
    let ends = known_time(account, "pwdEndTime")?;
    if begins.is_some_and(|at| now < at) || ends.is_some_and(|at| at <= now) {
        return Ok(Standing::Expired);
    }
    if is_reset(account) && policy.must_change {
        return Ok(Standing::MustChange);
    }
    Ok(Standing::Active)
}

/// When the account's password was changed: seconds since 1970, 0 if nobody notes it.
pub(super) fn password_epoch(account: &Entry) -> Result<u64, Malformed> {
    let at = known_time(account, CHANGED)?;
    Ok(at.map_or(0, |at| u64::try_from(at.as_second()).unwrap_or(0)))
}

fn known_time(account: &Entry, name: &str) -> Result<Option<Timestamp>, Malformed> {
    let Some(value) = account.values(name).first() else {
        return Ok(None);
    };
    let read = std::str::from_utf8(value).ok().and_then(time);
    let wrong = Malformed(
        "a time of a password policy (pwdStartTime, pwdEndTime, pwdChangedTime) that is none",
    );
    read.map(Some).ok_or(wrong)
}

/// GeneralizedTime (RFC 4517, section 3.3.13), to the second.
fn time(text: &str) -> Option<Timestamp> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<i8>().ok();
    let later = |from: usize| match digits.len() {
        short if short <= from => Some(0),
        _ => part(from, from + 2),
    };
    if !matches!(digits.len(), 10 | 12 | 14) {
        return None;
    }
    let year = digits.get(..4)?.parse().ok()?;
    let (month, day, hour) = (part(4, 6)?, part(6, 8)?, part(8, 10)?);
    let (minute, second) = (later(10)?, later(12)?.min(59));
    let at = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let zone = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    offset(zone)?.to_timestamp(at).ok()
}

fn offset(zone: &str) -> Option<Offset> {
    if zone == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let part = |from: usize, to: usize| zone.get(from..to)?.parse::<i32>().ok();
    let minutes = match zone.len() {
        3 => 0,
        5 => part(3, 5)?,
        _ => return None,
    };
    Offset::from_seconds(sign * (part(1, 3)? * 3600 + minutes * 60)).ok()
}

/// Asks a server to say more about a bind than its result.
pub(super) fn question() -> RawControl {
    RawControl {
        ctype: CONTROL.to_owned(),
        crit: false,
        val: None,
    }
}

/// What a server says beside the result of a bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Why the account must not log in, in words for the log.
    pub(super) refused: Option<&'static str>,
    /// How often an expired password is still good.
    pub(super) grace: Option<u8>,
}

impl Said {
    /// Reads it; what is no such answer says nothing.
    pub(super) fn read(controls: &[Control]) -> Self {
        let mut controls = controls.iter().map(|Control(_, raw)| raw);
        let answer = controls.find(|raw| raw.ctype == CONTROL);
        let value = answer.and_then(|raw| raw.val.as_deref());
        value.and_then(Self::decode).unwrap_or_default()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (mut rest, _) = split(value, SEQUENCE).ok()?;
        let mut said = Self::default();
        if rest.first() == Some(&WARNING) {
            let (warning, behind) = split(rest, WARNING).ok()?;
            if let Ok((left, _)) = split(warning, GRACE) {
                said.grace = left.first().copied();
            }
            rest = behind;
        }
        if rest.first() == Some(&ERROR) {
            let (error, _) = split(rest, ERROR).ok()?;
            said.refused = Some(match error {
                [0] => "the password has expired in the directory",
                [1] => "the account is locked in the directory",
                [2] => "the directory wants the password to be changed first",
                _ => "the directory's password policy refuses the account",
            });
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::entry::tests::entry, *};

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    const LOCKS_FOR_AN_HOUR: Policy = Policy {
        locks: true,
        lockout: Some(3600),
        must_change: false,
    };

    fn of(attributes: &[(&str, &str)], policy: Policy) -> Result<Standing, Malformed> {
        standing(&entry(attributes), policy, now())
    }

    // L4
    #[test]
    fn a_lock_lasts_as_long_as_the_policy_says() {
        let of = |at, policy| of(&[("pwdAccountLockedTime", at)], policy);
        let (over, lasting) = ("20261126110000Z", "20261126110001Z");
        assert_eq!(of(over, LOCKS_FOR_AN_HOUR), Ok(Standing::Active));
        assert_eq!(of(lasting, LOCKS_FOR_AN_HOUR), Ok(Standing::Locked));
        // Without a duration, or without a policy that can be read, it is not over.
        assert_eq!(of(over, Policy::STRICT), Ok(Standing::Locked));
        assert_eq!(of("odd", LOCKS_FOR_AN_HOUR), Ok(Standing::Locked));
        let lax = Policy {
            locks: false,
            ..LOCKS_FOR_AN_HOUR
        };
        assert_eq!(of(lasting, lax), Ok(Standing::Active));
        assert_eq!(of(FOR_EVER, lax), Ok(Standing::Locked));
    }

    // L4
    #[test]
    fn a_password_has_its_time_and_one_that_was_reset_is_changed_first() {
        let policy = LOCKS_FOR_AN_HOUR;
        for (name, value, expected) in [
            ("pwdEndTime", "20261126120000Z", Standing::Expired),
            ("pwdEndTime", "20261126120001Z", Standing::Active),
            ("pwdStartTime", "20261126120001Z", Standing::Expired),
            ("pwdStartTime", "20261126120000Z", Standing::Active),
            ("pwdReset", "TRUE", Standing::Active),
        ] {
            assert_eq!(of(&[(name, value)], policy), Ok(expected), "{name} {value}");
        }
        let reset = of(&[("pwdReset", "TRUE")], Policy::STRICT);
        assert_eq!(reset, Ok(Standing::MustChange));
        let kept = of(&[("pwdReset", "FALSE")], Policy::STRICT);
        assert_eq!(kept, Ok(Standing::Active));
        for name in ["pwdEndTime", "pwdStartTime"] {
            assert!(of(&[(name, "tomorrow")], policy).is_err(), "{name}");
        }
        let changed = |at| password_epoch(&entry(&[(CHANGED, at)]));
        assert_eq!(changed("19700101000100Z"), Ok(60));
        assert!(changed("x").is_err());
        assert_eq!(password_epoch(&entry(&[])), Ok(0));
    }

    #[test]
    fn a_policy_of_which_nothing_can_be_read_is_strict() {
        assert_eq!(Policy::read(&entry(&[])), Policy::STRICT);
        let attribute = ("pwdAttribute", "userPassword");
        let locks = [
            attribute,
            ("pwdLockout", "TRUE"),
            ("pwdLockoutDuration", "3600"),
        ];
        assert_eq!(Policy::read(&entry(&locks)), LOCKS_FOR_AN_HOUR);
        let forever = [
            attribute,
            ("pwdLockout", "TRUE"),
            ("pwdLockoutDuration", "0"),
        ];
        assert_eq!(Policy::read(&entry(&forever)).lockout, None);
        for (attributes, expected) in [
            (&[][..], Above::Any),
            (&[("pwdAccountLockedTime", FOR_EVER)], Above::Any),
            (
                &[("pwdAccountLockedTime", "20261126110000Z")],
                Above::Default,
            ),
            (
                &[("pwdReset", "TRUE"), (SUBENTRY, "cn=p")],
                Above::Named("cn=p"),
            ),
        ] {
            assert_eq!(needed(&entry(attributes)), expected);
        }
    }

    #[test]
    fn times_are_read_in_every_form_that_directories_write() {
        let read = |text| time(text).map(|at| at.to_string());
        for text in [
            "20261126211530Z",
            "20261126211530.587479Z",
            "20261126221530+0100",
            "20261126161530,5-05",
        ] {
            assert_eq!(
                read(text).as_deref(),
                Some("2026-11-26T21:15:30Z"),
                "{text}"
            );
        }
        assert_eq!(read("2026112621Z").as_deref(), Some("2026-11-26T21:00:00Z"));
        for odd in [
            "",
            "Z",
            "2026",
            "20261126211530",
            "20261326211530Z",
            "2026112621153Z",
        ] {
            assert_eq!(read(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_a_server_says_beside_a_bind_is_read() {
        let said = |value: &[u8]| {
            let raw = RawControl {
                ctype: CONTROL.to_owned(),
                crit: false,
                val: Some(value.to_vec()),
            };
            Said::read(&[Control(None, raw)])
        };
        for (code, word) in [
            (0, "expired"),
            (1, "locked"),
            (2, "changed first"),
            (7, "policy"),
        ] {
            let refused = said(&[0x30, 3, 0x81, 1, code]).refused;
            assert!(refused.is_some_and(|why| why.contains(word)), "{code}");
        }
        let grace = said(&[0x30, 5, 0xa0, 3, 0x81, 1, 4]);
        assert_eq!((grace.grace, grace.refused), (Some(4), None));
        // Time before it expires is no reason.
        assert_eq!(said(&[0x30, 5, 0xa0, 3, 0x80, 1, 4]), Said::default());
        for odd in [&b""[..], b"\x30", b"\x04\x00", b"\x30\x82"] {
            assert_eq!(said(odd), Said::default());
        }
        assert_eq!(Said::read(&[]), Said::default());
    }
}
