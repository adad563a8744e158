//! As much of protobuf as it takes to read an access review: newer clients of Go send nothing else.
//!
//! A body is `k8s\0` and a `runtime.Unknown` (apimachinery `pkg/runtime/generated.proto`), whose `raw` is the
//! `SelfSubjectAccessReview` (`authorization/v1/generated.proto`). Fields that are not read are skipped by
//! their length, so nothing here grows with what a client sends.

use super::super::ApiError;
use super::access::{AskedPath, AskedResource, Spec};

/// What every body in Kubernetes' protobuf begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Reads the spec of a review.
pub(super) fn spec(body: &[u8]) -> Result<Spec, ApiError> {
    read(body).map_err(|Malformed| {
        ApiError::BadRequest("SelfSubjectAccessReview in the body cannot be read".to_owned())
    })
}

/// It is no protobuf, or none of a review.
struct Malformed;

fn read(body: &[u8]) -> Result<Spec, Malformed> {
    let unknown = body.strip_prefix(MAGIC).ok_or(Malformed)?;
    let raw = last(unknown, 2)?.unwrap_or_default();
    let spec = last(raw, 2)?.unwrap_or_default();
    let resource = match last(spec, 1)? {
        None => None,
        Some(attributes) => Some(AskedResource {
            namespace: text(attributes, 1)?,
            verb: text(attributes, 2)?,
            group: text(attributes, 3)?,
            version: text(attributes, 4)?,
            resource: text(attributes, 5)?,
            subresource: text(attributes, 6)?,
            name: text(attributes, 7)?,
            ..AskedResource::default()
        }),
    };
    let path = match last(spec, 2)? {
        None => None,
        Some(attributes) => Some(AskedPath {
            path: text(attributes, 1)?,
            verb: text(attributes, 2)?,
        }),
    };
    Ok(Spec {
        resource_attributes: resource,
        non_resource_attributes: path,
    })
}

fn text(message: &[u8], number: u64) -> Result<String, Malformed> {
    let bytes = last(message, number)?.unwrap_or_default();
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
}

/// The last field of this number with text, bytes or a message in it: of several the last one counts.
fn last(message: &[u8], number: u64) -> Result<Option<&[u8]>, Malformed> {
    let mut rest = message;
    let mut found = None;
    while !rest.is_empty() {
        let key;
        (key, rest) = varint(rest).ok_or(Malformed)?;
        // The last three bits are the wire type.
        match key & 7 {
            0 => (_, rest) = varint(rest).ok_or(Malformed)?,
            1 => rest = rest.get(8..).ok_or(Malformed)?,
            5 => rest = rest.get(4..).ok_or(Malformed)?,
            2 => {
                let length;
                (length, rest) = varint(rest).ok_or(Malformed)?;
                let length = usize::try_from(length).map_err(|_| Malformed)?;
                let bytes;
                (bytes, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
                if key >> 3 == number {
                    found = Some(bytes);
                }
            }
            _ => return Err(Malformed),
        }
    }
    Ok(found)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn body(spec: &[u8]) -> Vec<u8> {
        let types = field(1, &field(1, b"authorization.k8s.io/v1"));
        // metadata and status are there too, empty.
        let review = [field(1, b""), field(2, spec), field(3, b"")].concat();
        [
            MAGIC,
            &types,
            &field(2, &review),
            &field(3, b""),
            &field(4, b""),
        ]
        .concat()
    }

    #[test]
    fn reviews_of_both_kinds_are_read() {
        let attributes = [
            field(2, b"get"),
            field(3, b"palisade.dev"),
            field(5, b"users"),
            field(7, b"jane"),
        ];
        let read = spec(&body(&field(1, &attributes.concat()))).unwrap();
        let resource = read.resource_attributes.unwrap();
        assert_eq!(
            (
                &*resource.verb,
                &*resource.group,
                &*resource.resource,
                &*resource.name,
                &*resource.subresource
            ),
            ("get", "palisade.dev", "users", "jane", "")
        );
        assert!(read.non_resource_attributes.is_none());
        let path = [field(1, b"/metrics"), field(2, b"get")].concat();
        let read = spec(&body(&field(2, &path))).unwrap();
        let path = read.non_resource_attributes.unwrap();
        assert_eq!((&*path.path, &*path.verb), ("/metrics", "get"));
        assert!(read.resource_attributes.is_none());
    }

    // P13: every cut and every flipped byte is read or refused, and nothing panics.
    #[test]
    fn broken_bodies_are_refused_or_read() {
        let attributes = [field(2, b"get"), field(5, b"users")].concat();
        let whole = body(&field(1, &attributes));
        for end in 0..MAGIC.len() {
            assert!(spec(&whole[..end]).is_err(), "{end}");
        }
        for end in MAGIC.len()..whole.len() {
            let _ = spec(&whole[..end]);
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x07, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let _ = spec(&bytes);
            }
        }
        for bad in [
            &b"k8s\0\x12\xff"[..],
            b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"k8s\0\x0b",
        ] {
            assert!(spec(bad).is_err());
        }
        let length = [b"k8s\0\x12".as_slice(), &[0xff; 9], &[0x01]].concat();
        assert!(spec(&length).is_err());
    }
}
