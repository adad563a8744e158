//! A user's handle and uid, as texts and as they are sent to clusters.
//!
//! All of it is one piece of memory, with the count of those who hold it: a request needs each of them, and with many
//! users every further piece is one that no cache holds.

use crate::objects::USER_PREFIX;
use bytes::Bytes;
use bytestring::ByteString;
use http::HeaderValue;
use smallvec::SmallVec;

/// Room beside the count for the prefix, a handle of 60 and a uid of 36 characters. What is longer is apart from it.
const ROOM: usize = 112;

/// The names of one user.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) handle: ByteString,
    pub(super) uid: ByteString,
    /// The name under which most clusters see the user. `None`: no header can hold it.
    pub(super) sent_name: Option<HeaderValue>,
    /// The uid. `None`: no header can hold it.
    pub(super) sent_uid: Option<HeaderValue>,
}

impl Names {
    pub(super) fn new(handle: &str, uid: &str) -> Self {
        let mut text = SmallVec::<[u8; ROOM]>::new();
        for part in [USER_PREFIX, handle, uid] {
            text.extend_from_slice(part.as_bytes());
        }
        let whole = Bytes::from_owner(text);
        let (begin, end) = (USER_PREFIX.len(), USER_PREFIX.len() + handle.len());
        // Cut where texts end: it is UTF-8.
        let cut = |bytes: Bytes| ByteString::try_from(bytes).unwrap_or_default();
        // From bytes: a name may be any UTF-8.
        let sent = |bytes: Bytes| HeaderValue::from_maybe_shared(bytes).ok();
        Self {
            handle: cut(whole.slice(begin..end)),
            uid: cut(whole.slice(end..)),
            sent_name: sent(whole.slice(..end)),
            sent_uid: sent(whole.slice(end..)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_they_were_made_of_however_long() {
        let long = "x".repeat(3 * ROOM);
        for (handle, uid) in [
            ("jane", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ("corp:j\u{e9}r\u{f4}me", "u"),
            ("", ""),
            (&long, "u"),
        ] {
            let names = Names::new(handle, uid);
            assert_eq!((&*names.handle, &*names.uid), (handle, uid));
            let sent = names.sent_name.unwrap();
            assert_eq!(sent.as_bytes(), format!("{USER_PREFIX}{handle}").as_bytes());
            assert_eq!(names.sent_uid.unwrap().as_bytes(), uid.as_bytes());
        }
        let names = Names::new("a\nb", "u");
        assert!(names.sent_name.is_none() && names.sent_uid.is_some());
        assert_eq!(&*names.handle, "a\nb");
    }

    #[test]
    fn they_are_one_piece() {
        let names = Names::new("jane", "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        let sent = names.sent_name.unwrap();
        let begin = sent.as_bytes().as_ptr().addr();
        let within = |bytes: &[u8]| bytes.as_ptr().addr().wrapping_sub(begin);
        assert_eq!(within(names.handle.as_bytes()), USER_PREFIX.len());
        assert_eq!(within(names.uid.as_bytes()), USER_PREFIX.len() + 4);
        assert_eq!(
            within(names.sent_uid.unwrap().as_bytes()),
            USER_PREFIX.len() + 4
        );
    }
}
