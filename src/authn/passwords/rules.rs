//! Which passwords are taken, and passwords that the gateway makes.
//!
//! As NIST SP 800-63B has it: a length, no demands on kinds of characters, and none that attackers try first.
//! What those are is decided by zxcvbn (Wheeler, USENIX Security 2016): how many guesses a list of common
//! passwords, names and words takes, with the usual spellings (capitals, `@` for `a`, words put together,
//! years, rows of keys, repeats). Words that its English lists miss are added here.

use zeroize::Zeroizing;
use zxcvbn::{feedback::Warning, zxcvbn};

/// Characters of a new password at least (NIST SP 800-63B allows 8; there is no second factor yet).
pub(super) const MIN_LENGTH: usize = 12;
/// Characters of a password at most: the hash itself would take any length.
pub(super) const MAX_LENGTH: usize = 256;
/// Guesses that a password must be worth, as a power of ten. Whoever has stolen the hashes computes some ten
/// million of them a day on one machine; the throttle leaves others a few hundred. zxcvbn gives three parts
/// in a row (a word, a year, three exclamation marks) more than ten to the eighth whatever they are.
const GUESSES: f64 = 9.0;
/// Characters that are judged: the work grows faster than the length, and whoever types more than this has no
/// common password at its beginning.
const JUDGED: usize = 64;
/// A handle shorter than this stands in many words by chance.
const HANDLE: usize = 4;

/// What people here would try first and English lists do not have: where they are, the time of the year, and
/// what stands for a password that is to be changed.
const WORDS: &[&str] = &[
    "palisade",
    "kubernetes",
    "kubectl",
    "cluster",
    "admin",
    "administrator",
    "password",
    "passwort",
    "kennwort",
    "passord",
    "wachtwoord",
    "motdepasse",
    "contraseña",
    "contrasena",
    "clave",
    "senha",
    "haslo",
    "parola",
    "parool",
    "lozinka",
    "heslo",
    "salasana",
    "changeme",
    "letmein",
    "welcome",
    "willkommen",
    "bienvenue",
    "bienvenido",
    "benvenuto",
    "bemvindo",
    "welkom",
    "company",
    "firma",
    "office",
    "login",
    "secret",
    "geheim",
    "hallo",
    "hello",
    "start",
    "initial",
    "temporary",
    "default",
    "test",
    "spring",
    "summer",
    "autumn",
    "winter",
    "fruehling",
    "frühling",
    "fruhling",
    "sommer",
    "herbst",
    "printemps",
    "été",
    "automne",
    "hiver",
    "primavera",
    "verano",
    "otoño",
    "invierno",
    "estate",
    "autunno",
    "inverno",
    "zomer",
    "herfst",
    "lente",
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "januar",
    "februar",
    "märz",
    "maerz",
    "mai",
    "juni",
    "juli",
    "oktober",
    "dezember",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "montag",
    "dienstag",
    "mittwoch",
    "donnerstag",
    "freitag",
    "samstag",
    "sonntag",
];

/// Why a new password is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Too short.
    #[error("a password must have at least {MIN_LENGTH} characters")]
    Short,
    /// Too long.
    #[error("a password must have at most {MAX_LENGTH} characters")]
    Long,
    /// Some tools cut a text there.
    #[error("a password must not hold a NUL character")]
    Nul,
    /// `handle` in it.
    #[error("a password must not hold the user's own name")]
    Handle,
    /// Among those that are tried first.
    #[error(
        "this password is easy to guess: {0}; four or five words that do not belong together are not"
    )]
    Common(&'static str),
}

/// Whether a new password may be taken.
pub fn check_rules(handle: &str, password: &str) -> Result<(), RuleError> {
    let length = password.chars().count();
    if password.contains('\0') {
        Err(RuleError::Nul)
    } else if length < MIN_LENGTH {
        Err(RuleError::Short)
    } else if length > MAX_LENGTH {
        Err(RuleError::Long)
    } else if holds(password, handle) {
        Err(RuleError::Handle)
    } else {
        common(handle, password).map_or(Ok(()), |why| Err(RuleError::Common(why)))
    }
}

fn holds(password: &str, handle: &str) -> bool {
    handle.chars().count() >= HANDLE && password.to_lowercase().contains(&handle.to_lowercase())
}

/// Why a password is among those that are tried first.
fn common(handle: &str, password: &str) -> Option<&'static str> {
    // Capitals are what people change first: they count for nothing.
    let judged = password.chars().take(JUDGED).flat_map(char::to_lowercase);
    let judged: Zeroizing<String> = Zeroizing::new(judged.collect());
    let mut words: Vec<&str> = vec![handle];
    words.extend(handle.split(['.', '-', '_']));
    words.retain(|word| !word.is_empty());
    words.extend(WORDS);
    let found = zxcvbn(&judged, &words);
    (found.guesses_log10() < GUESSES).then(|| {
        let warning = found
            .feedback()
            .and_then(zxcvbn::feedback::Feedback::warning);
        warning.map_or(AROUND, why)
    })
}

/// Nothing better is known.
const AROUND: &str = "it is a common word or password with a little around it";

fn why(warning: Warning) -> &'static str {
    match warning {
        Warning::StraightRowsOfKeysAreEasyToGuess
        | Warning::ShortKeyboardPatternsAreEasyToGuess => "it is a row of keys",
        Warning::RepeatsLikeAaaAreEasyToGuess
        | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => "it repeats itself",
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword => "many people have it",
        // Of two matches that are worth the same zxcvbn takes either.
        Warning::ThisIsSimilarToACommonlyUsedPassword => AROUND,
        Warning::SequencesLikeAbcAreEasyToGuess => "it is a sequence such as abcdef or 123456",
        Warning::RecentYearsAreEasyToGuess | Warning::DatesAreOftenEasyToGuess => {
            "it is a date with a little around it"
        }
        Warning::AWordByItselfIsEasyToGuess => "it is a single word",
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
        | Warning::CommonNamesAndSurnamesAreEasyToGuess => "it is a name",
    }
}

/// Characters of generated passwords: none that is taken for another when it is read aloud.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Groups of five letters in a generated password: 100 bits.
const GROUPS: usize = 4;

/// A new password of 100 random bits, such as `k3w9d-…`; `None` if the machine gives no randomness.
pub fn generate() -> Option<Zeroizing<String>> {
    let mut random = Zeroizing::new([0_u8; GROUPS * 5]);
    aws_lc_rs::rand::fill(random.as_mut_slice()).ok()?;
    let mut password = Zeroizing::new(String::with_capacity(GROUPS * 6));
    for (place, byte) in random.iter().enumerate() {
        if place > 0 && place % 5 == 0 {
            password.push('-');
        }
        // 32 letters: the low five bits choose one, each as likely as the others.
        let letter = LETTERS.get(usize::from(byte & 31))?;
        password.push(char::from(*letter));
    }
    Some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_password_is_long_readable_and_new() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(check_rules("alice", &one), Ok(()));
        assert_eq!(one.len(), 23);
        let letters = one.bytes().filter(|letter| LETTERS.contains(letter));
        assert_eq!(letters.count(), 20);
    }

    #[test]
    fn a_password_has_a_length_and_does_not_hold_the_handle() {
        let long = "green lamp quiet ".repeat(16);
        let max: String = long.chars().take(MAX_LENGTH).collect();
        for (password, expected) in [
            ("", Err(RuleError::Short)),
            ("elevenchars", Err(RuleError::Short)),
            ("twelve chars", Ok(())),
            ("zwölf Zeiche", Ok(())),
            (max.as_str(), Ok(())),
            (&format!("{max}x"), Err(RuleError::Long)),
            ("with a \0 in it", Err(RuleError::Nul)),
            ("Jane-the-Admin", Err(RuleError::Handle)),
            ("quiet JANE-THE-ADMIN lamp", Err(RuleError::Handle)),
        ] {
            assert_eq!(
                check_rules("jane-the-admin", password),
                expected,
                "{password:?}"
            );
        }
        assert_eq!(check_rules("al", "always a quiet lamp"), Ok(()));
    }

    #[test]
    fn what_attackers_try_first_is_refused_in_any_spelling() {
        for password in [
            "password1234",
            "Password2026!",
            "P@ssw0rd!2026",
            "PASSWORDpassword",
            "drowssap1234",
            "Welcome12345",
            "Willkommen123",
            "Passwort1234!",
            "Kennwort2026",
            "ChangeMe2026!",
            "Sommer2026!!!",
            "Winter2026/27",
            "january2026!!",
            "Company2026!!",
            "Palisade2026!",
            "kubernetes123",
            "letmeinletmein",
            "iloveyou12345",
            "qwertyuiop[]",
            "1qaz2wsx3edc",
            "asdfghjkl;'#",
            "123456789012",
            "abcdefghijkl",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "administrator",
            "dragon123456",
            "Doe2026Doe2026",
        ] {
            let answer = check_rules("jane.doe", password);
            assert!(
                matches!(answer, Err(RuleError::Common(_))),
                "{password}: {answer:?}"
            );
        }
    }

    // No composition rules: length and rarity are enough.
    #[test]
    fn what_nobody_tries_first_is_taken_whatever_it_is_made_of() {
        for password in [
            "correct horse battery",
            "a better password",
            "quiet green lamp table",
            "tlfhsvbwyqnd",
            "mein Hamster frisst gern Zwiebeln",
            "夏の夜の静かな緑のランプ",
            "x7#Qm!2pLw9z",
        ] {
            assert_eq!(check_rules("jane", password), Ok(()), "{password}");
        }
    }

    #[test]
    fn the_message_says_why() {
        let message = |password| check_rules("jane", password).unwrap_err().to_string();
        let mut messages = String::new();
        for password in [
            "aaaaaaaaaaaa",
            "password1234",
            "Passw0rd1234",
            "qwertyuiop[]",
            "abcdefghijkl",
            "Sommer2026!!!",
        ] {
            messages.push_str(&message(password));
            messages.push('\n');
        }
        insta::assert_snapshot!(messages);
    }

    // Whoever is logged in can send passwords as long as they like.
    #[test]
    fn the_beginning_of_a_password_is_judged_and_no_more() {
        let common: String = "password".chars().cycle().take(JUDGED).collect();
        let rest = "quiet green lamp table";
        let answer = |password: &str| check_rules("jane", password);
        assert!(matches!(
            answer(&format!("{common}{rest}")),
            Err(RuleError::Common(_))
        ));
        assert_eq!(answer(&format!("{rest}{common}")), Ok(()));
    }

    /// Seconds that this thread has computed: what else the machine does is not among them.
    fn computed() -> i64 {
        rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec
    }

    #[test]
    fn judging_a_password_takes_bounded_work() {
        let start = computed();
        for unit in [
            "4@8({[<3691!|1i0$5+7%2",
            "password1",
            "aB3$",
            "2026-11-22",
            "qwertzuiop",
        ] {
            let long: String = unit.chars().cycle().take(MAX_LENGTH).collect();
            let _ = check_rules("jane", &long);
        }
        // Some milliseconds each if it is optimised; a runaway takes minutes.
        let took = computed() - start;
        assert!(took < 20, "{took} s");
    }
}
