//! Whether an account may log in: what its entry says, and what a refused bind says.

use super::{
    entry::{Entry, Malformed},
    ppolicy::{self, Policy},
};
use crate::{authn::providers::Standing, config::DirectoryKind};
use jiff::Timestamp;

/// `ADS_UF_ACCOUNTDISABLE` ([MS-ADTS] 2.2.16).
const DISABLED: i64 = 0x2;
/// `ADS_UF_LOCKOUT`, in `msDS-User-Account-Control-Computed` alone.
const LOCKED: i64 = 0x10;
/// `ADS_UF_DONT_EXPIRE_PASSWD`: such a password is never asked to be changed either.
const PASSWORD_STAYS: i64 = 0x1_0000;
/// Between 1601, where Windows counts from, and 1970: seconds.
const EPOCH_1601: i64 = 11_644_473_600;
/// Intervals of 100 ns in a second.
const TICKS: i64 = 10_000_000;
const DAY: i64 = 24 * 3600;

/// Attributes that say it.
pub(super) fn attributes(kind: DirectoryKind) -> Vec<&'static str> {
    let (own, more): (&[_], &[_]) = match kind {
        DirectoryKind::ActiveDirectory => (
            &[
                "userAccountControl",
                "msDS-User-Account-Control-Computed",
                "accountExpires",
                "lockoutTime",
                "pwdLastSet",
            ],
            &[],
        ),
        DirectoryKind::Openldap => (&["shadowExpire"], ppolicy::OF_ACCOUNT),
    };
    own.iter().chain(more).copied().collect()
}

/// What the entry says, and how young its password is: a number that grows when it is changed.
pub(super) fn standing(
    kind: DirectoryKind,
    entry: &Entry,
    policy: Policy,
    now: Timestamp,
) -> Result<(Standing, u64), Malformed> {
    match kind {
        DirectoryKind::ActiveDirectory => active_directory(entry, now),
        DirectoryKind::Openldap => {
            let standing = openldap(entry, policy, now)?;
            Ok((standing, ppolicy::password_epoch(entry)?))
        }
    }
}

fn active_directory(entry: &Entry, now: Timestamp) -> Result<(Standing, u64), Malformed> {
    // Every account has these: who may not read them must not take everybody for active.
    let flags = entry.number("userAccountControl").ok_or(Malformed(
        "the search account cannot read userAccountControl",
    ))?;
    let expires = entry
        .number("accountExpires")
        .ok_or(Malformed("the search account cannot read accountExpires"))?;
    let password = entry
        .number("pwdLastSet")
        .ok_or(Malformed("the search account cannot read pwdLastSet"))?;
    let computed = entry.number("msDS-User-Account-Control-Computed");
    let locked = match (computed, entry.number("lockoutTime")) {
        (Some(flags), _) => flags & LOCKED != 0,
        // Set until the next good login, also when the lock itself is over.
        (None, Some(at)) => at > 0,
        (None, None) => {
            return Err(Malformed(
                "the search account cannot read msDS-User-Account-Control-Computed or lockoutTime",
            ));
        }
    };
    let end = expires / TICKS - EPOCH_1601;
    let standing = if flags & DISABLED != 0 {
        Standing::Disabled
    } else if locked {
        Standing::Locked
    // 0 and the largest number: never ([MS-ADA1] 2.2).
    } else if expires != 0 && expires != i64::MAX && end <= now.as_second() {
        Standing::Expired
    // "User must change password at next logon" ([MS-ADA3] 2.175).
    } else if password == 0 && flags & PASSWORD_STAYS == 0 {
        Standing::MustChange
    } else {
        Standing::Active
    };
    Ok((standing, u64::try_from(password).unwrap_or(0)))
}

fn openldap(entry: &Entry, policy: Policy, now: Timestamp) -> Result<Standing, Malformed> {
    let standing = ppolicy::standing(entry, policy, now)?;
    // Days since 1970; -1 or nothing: never (shadow(5)).
    let expires = match (entry.values("shadowExpire"), entry.number("shadowExpire")) {
        ([], _) => -1,
        (_, Some(day)) => day,
        (_, None) => return Err(Malformed("a shadowExpire that is no number")),
    };
    let is_over = expires >= 0 && expires.saturating_mul(DAY) <= now.as_second();
    if standing == Standing::Active && is_over {
        return Ok(Standing::Expired);
    }
    Ok(standing)
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
    use super::{super::entry::tests::entry, *};

    fn now() -> Timestamp {
        "2026-11-26T12:00:00Z".parse().unwrap()
    }

    const CONTROL: &str = "userAccountControl";
    const COMPUTED: &str = "msDS-User-Account-Control-Computed";

    // L4
    #[test]
    fn active_directory_says_who_is_disabled_locked_or_expired() {
        let ticks = |at: i64| ((at + EPOCH_1601) * TICKS).to_string();
        let (past, next) = (ticks(now().as_second()), ticks(now().as_second() + 1));
        let normal = [
            (CONTROL, "512"),
            (COMPUTED, "0"),
            ("accountExpires", "0"),
            ("pwdLastSet", "133"),
        ];
        // As the normal one, but for these; an empty text: without it.
        let of = |changes: &[(&'static str, &str)]| {
            let mut all: Vec<(&str, &str)> = normal.to_vec();
            all.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
            all.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
            standing(
                DirectoryKind::ActiveDirectory,
                &entry(&all),
                Policy::STRICT,
                now(),
            )
        };
        for (changes, expected) in [
            (&[][..], Standing::Active),
            (&[(CONTROL, "514")], Standing::Disabled),
            (
                &[("accountExpires", "9223372036854775807")],
                Standing::Active,
            ),
            (&[("accountExpires", &past)], Standing::Expired),
            (&[("accountExpires", &next)], Standing::Active),
            (&[(COMPUTED, "16")], Standing::Locked),
            (&[(COMPUTED, "8388608")], Standing::Active),
            (&[(COMPUTED, ""), ("lockoutTime", "133")], Standing::Locked),
            (&[(COMPUTED, ""), ("lockoutTime", "0")], Standing::Active),
            (&[("lockoutTime", "133")], Standing::Active),
        ] {
            assert_eq!(of(changes), Ok((expected, 133)), "{changes:?}");
        }
        let must_change = of(&[("pwdLastSet", "0")]);
        assert_eq!(must_change, Ok((Standing::MustChange, 0)));
        let stays = of(&[("pwdLastSet", "0"), (CONTROL, "66048")]);
        assert_eq!(stays, Ok((Standing::Active, 0)));
        for name in [CONTROL, COMPUTED, "accountExpires", "pwdLastSet"] {
            for value in ["", "odd"] {
                assert!(
                    of(&[(name, value)]).is_err(),
                    "{name} {value:?}: nobody can tell"
                );
            }
        }
    }

    // L4
    #[test]
    fn openldap_says_who_is_locked_or_expired() {
        let of = |name, value| {
            let entry = entry(&[(name, value)]);
            standing(DirectoryKind::Openldap, &entry, Policy::STRICT, now())
        };
        let today = (now().as_second() / DAY).to_string();
        let tomorrow = (now().as_second() / DAY + 1).to_string();
        for (name, value, expected) in [
            ("cn", "x", Standing::Active),
            ("pwdAccountLockedTime", "000001010000Z", Standing::Locked),
            ("shadowExpire", &today, Standing::Expired),
            ("shadowExpire", &tomorrow, Standing::Active),
            ("shadowExpire", "-1", Standing::Active),
        ] {
            assert_eq!(of(name, value), Ok((expected, 0)), "{name} {value}");
        }
        assert_eq!(
            of("pwdChangedTime", "19700101000100Z"),
            Ok((Standing::Active, 60))
        );
        assert!(of("shadowExpire", "soon").is_err());
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
