//! Whether an account may log in: what its entry says, and what a refused bind says.

use super::entry::{Entry, Malformed};
use crate::{authn::providers::Standing, config::DirectoryKind};
use jiff::Timestamp;

/// `ADS_UF_ACCOUNTDISABLE` ([MS-ADTS] 2.2.16).
const DISABLED: i64 = 0x2;
/// `ADS_UF_LOCKOUT`, in `msDS-User-Account-Control-Computed` alone.
const LOCKED: i64 = 0x10;
/// Between 1601, where Windows counts from, and 1970: seconds.
const EPOCH_1601: i64 = 11_644_473_600;
/// Intervals of 100 ns in a second.
const TICKS: i64 = 10_000_000;
const DAY: i64 = 24 * 3600;

/// Attributes that say it.
pub(super) fn attributes(kind: DirectoryKind) -> &'static [&'static str] {
    match kind {
        DirectoryKind::ActiveDirectory => &[
            "userAccountControl",
            "msDS-User-Account-Control-Computed",
            "accountExpires",
            "lockoutTime",
        ],
        DirectoryKind::Openldap => &["pwdAccountLockedTime", "shadowExpire"],
    }
}

/// What the entry says.
pub(super) fn standing(
    kind: DirectoryKind,
    entry: &Entry,
    now: Timestamp,
) -> Result<Standing, Malformed> {
    match kind {
        DirectoryKind::ActiveDirectory => active_directory(entry, now),
        DirectoryKind::Openldap => Ok(openldap(entry, now)),
    }
}

fn active_directory(entry: &Entry, now: Timestamp) -> Result<Standing, Malformed> {
    // Every account has it: who may not read it must not take everybody for active.
    let flags = entry.number("userAccountControl").ok_or(Malformed(
        "the search account cannot read userAccountControl",
    ))?;
    if flags & DISABLED != 0 {
        return Ok(Standing::Disabled);
    }
    let locked = match entry.number("msDS-User-Account-Control-Computed") {
        Some(flags) => flags & LOCKED != 0,
        // Set until the next good login, also when the lock itself is over.
        None => entry.number("lockoutTime").is_some_and(|at| at > 0),
    };
    if locked {
        return Ok(Standing::Locked);
    }
    // 0 and the largest number: never ([MS-ADA1] 2.2).
    let expires = entry.number("accountExpires").unwrap_or(0);
    let end = expires / TICKS - EPOCH_1601;
    if expires != 0 && expires != i64::MAX && end <= now.as_second() {
        return Ok(Standing::Expired);
    }
    Ok(Standing::Active)
}

fn openldap(entry: &Entry, now: Timestamp) -> Standing {
    if !entry.values("pwdAccountLockedTime").is_empty() {
        return Standing::Locked;
    }
    // Days since 1970; -1 or nothing: never (shadow(5)).
    let expires = entry.number("shadowExpire").filter(|day| *day >= 0);
    if expires.is_some_and(|day| day.saturating_mul(DAY) <= now.as_second()) {
        return Standing::Expired;
    }
    Standing::Active
}

/// Why a bind was refused, in words for the log; nobody who types a password is told.
pub(super) fn why_refused(text: &str) -> &'static str {
    // `80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data 52e, v4563`
    let code = text.split("data ").nth(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit());
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    });
    match code.unwrap_or_default() {
        "525" => "no such account in the directory",
        "530" => "the directory does not let the account log in at this hour",
        "531" => "the directory does not let the account log in from here",
        "532" => "the password has expired in the directory",
        "533" => "the account is disabled in the directory",
        "701" => "the account has expired in the directory",
        "773" => "the directory wants the password to be changed first",
        "775" => "the account is locked in the directory",
        _ => "wrong password",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ldap3::{
        ResultEntry,
        asn1::{PL, StructureTag, TagClass},
    };

    fn tag(id: u64, payload: PL) -> StructureTag {
        StructureTag {
            class: TagClass::Universal,
            id,
            payload,
        }
    }

    fn entry(attributes: &[(&str, &str)]) -> Entry {
        let octets = |text: &str| tag(4, PL::P(text.as_bytes().to_vec()));
        let attribute = |(name, value): &(&str, &str)| {
            let values = tag(17, PL::C(vec![octets(value)]));
            tag(16, PL::C(vec![octets(name), values]))
        };
        let attributes = attributes.iter().map(attribute).collect();
        let parts = vec![octets("cn=x"), tag(16, PL::C(attributes))];
        Entry::read(ResultEntry::new(tag(4, PL::C(parts)))).unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    // L4
    #[test]
    fn active_directory_says_who_is_disabled_locked_or_expired() {
        let kind = DirectoryKind::ActiveDirectory;
        let of = |attributes: &[(&str, &str)]| standing(kind, &entry(attributes), now());
        let normal = ("userAccountControl", "512");
        let ticks = |at: i64| ((at + EPOCH_1601) * TICKS).to_string();
        let (past, next) = (ticks(now().as_second()), ticks(now().as_second() + 1));
        for (attributes, expected) in [
            (&[normal][..], Standing::Active),
            (&[("userAccountControl", "514")], Standing::Disabled),
            (&[normal, ("accountExpires", "0")], Standing::Active),
            (
                &[normal, ("accountExpires", "9223372036854775807")],
                Standing::Active,
            ),
            (&[normal, ("accountExpires", &past)], Standing::Expired),
            (&[normal, ("accountExpires", &next)], Standing::Active),
            (
                &[normal, ("msDS-User-Account-Control-Computed", "16")],
                Standing::Locked,
            ),
            (
                &[normal, ("msDS-User-Account-Control-Computed", "8388608")],
                Standing::Active,
            ),
            (&[normal, ("lockoutTime", "133")], Standing::Locked),
            (
                &[
                    normal,
                    ("lockoutTime", "133"),
                    ("msDS-User-Account-Control-Computed", "0"),
                ],
                Standing::Active,
            ),
        ] {
            assert_eq!(of(attributes), Ok(expected), "{attributes:?}");
        }
        assert!(of(&[]).is_err(), "who cannot read it cannot tell");
    }

    #[test]
    fn openldap_says_who_is_locked_or_expired() {
        let of = |name, value| standing(DirectoryKind::Openldap, &entry(&[(name, value)]), now());
        let today = (now().as_second() / DAY).to_string();
        let tomorrow = (now().as_second() / DAY + 1).to_string();
        assert_eq!(of("cn", "x"), Ok(Standing::Active));
        assert_eq!(
            of("pwdAccountLockedTime", "000001010000Z"),
            Ok(Standing::Locked)
        );
        assert_eq!(of("shadowExpire", &today), Ok(Standing::Expired));
        assert_eq!(of("shadowExpire", &tomorrow), Ok(Standing::Active));
        assert_eq!(of("shadowExpire", "-1"), Ok(Standing::Active));
    }

    #[test]
    fn the_sub_codes_of_error_49_are_words() {
        let text = |code| {
            format!(
                "80090308: LdapErr: DSID-0C090446, comment: AcceptSecurityContext error, data {code}, v4563"
            )
        };
        for (code, word) in [
            ("525", "no such account"),
            ("52e", "wrong password"),
            ("530", "at this hour"),
            ("531", "from here"),
            ("532", "password has expired"),
            ("533", "disabled"),
            ("701", "account has expired"),
            ("773", "changed first"),
            ("775", "locked"),
        ] {
            assert!(why_refused(&text(code)).contains(word), "{code}");
        }
        assert_eq!(why_refused(""), "wrong password");
    }
}
