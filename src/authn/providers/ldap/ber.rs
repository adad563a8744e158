//! What little of BER (X.690) is read by hand: what the crate's decoder must not see first.

/// Constructed and universal: a sequence.
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const OCTETS: u8 = 0x04;

/// Why no value was split off.
pub(super) enum Cut {
    /// It is not whole; it has so many bytes at least.
    Short {
        /// With its head.
        needs: usize,
    },
    /// It is no value that is expected there.
    Odd,
}

/// The content of the value at the front, which must have this tag, and what is behind it.
pub(super) fn split(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Cut> {
    match bytes {
        [found, ..] if *found != tag => Err(Cut::Odd),
        _ => {
            let (head, length) = head(bytes)?;
            let needs = head.saturating_add(length);
            let content = bytes.get(head..needs).ok_or(Cut::Short { needs })?;
            Ok((content, bytes.get(needs..).unwrap_or_default()))
        }
    }
}

/// How long the head of the value at the front is, and how long its content. Active Directory says every length in
/// four bytes (X.690, section 8.1.3.5), others in one.
pub(super) fn head(bytes: &[u8]) -> Result<(usize, usize), Cut> {
    match bytes {
        [_, length @ ..=0x7f, ..] => Ok((2, usize::from(*length))),
        [_, size @ 0x81..=0x84, rest @ ..] => {
            let size = usize::from(size & 0x7f);
            let needs = 2 + size;
            let length = rest.get(..size).ok_or(Cut::Short { needs })?;
            let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
            Ok((needs, length.iter().fold(0, add)))
        }
        // Without a length, or with one of more than four bytes.
        [_, _, ..] => Err(Cut::Odd),
        _ => Err(Cut::Short { needs: 2 }),
    }
}
