//! Which names an object may have.

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error("must be 1 to 63 of a-z, 0-9 and '-', and start and end with a letter or digit")]
    Label,
    /// Not a handle.
    #[error(
        "must be 1 to 63 of a-z, 0-9, '-', '_' and '.', and start and end with a letter or digit"
    )]
    Handle,
    /// `palisade…`, `system…`.
    #[error("names that start with \"palisade\" or \"system\" are reserved")]
    Reserved,
}

/// A DNS label (RFC 1123): clusters, groups, roles, bindings, projects, providers.
pub fn check_label(name: &str) -> Result<(), NameError> {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    check(name, inner).then_some(()).ok_or(NameError::Label)
}

/// A local user's handle: a DNS label that may also hold `_` and `.`, and is not reserved.
///
/// Handles become `Impersonate-User` values, `palisade:<handle>`; the alphabet keeps every header,
/// path and log unambiguous. `:` is left to `<provider>:<name>`.
pub fn check_handle(name: &str) -> Result<(), NameError> {
    let inner =
        |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_' | b'.');
    if !check(name, inner) {
        return Err(NameError::Handle);
    }
    if name.starts_with("palisade") || name.starts_with("system") {
        return Err(NameError::Reserved);
    }
    Ok(())
}

fn check(name: &str, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    let edge = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|&c| inner(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_rfc_1123() {
        for good in ["a", "prod-1", "0x"] {
            assert_eq!(check_label(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "a/b",
            "ä",
            &"a".repeat(64),
        ] {
            assert_eq!(check_label(bad), Err(NameError::Label), "{bad}");
        }
    }

    // H10: no local user can take a name that a cluster gives a meaning.
    #[test]
    fn reserved_handles_are_refused() {
        for bad in ["system", "system-x", "palisade", "palisadeadmin"] {
            assert_eq!(check_handle(bad), Err(NameError::Reserved), "{bad}");
        }
        for bad in ["system:masters", "a:b", "a\n", "a,b", "Jane", "jané"] {
            assert_eq!(check_handle(bad), Err(NameError::Handle), "{bad}");
        }
        assert_eq!(check_handle("jane.doe_x-1"), Ok(()));
    }
}
