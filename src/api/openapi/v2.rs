//! `/openapi/v2` in protobuf: what kubectl 1.27 and 1.28 read before they create anything.
//!
//! They look for one thing: the PATCH of a kind with a query parameter `fieldValidation`, which tells them
//! that the server checks fields itself. The document holds that and no more. Messages and numbers are of
//! gnostic's `OpenAPIv2.proto`; every field used here is text or a message, which protobuf writes alike.

use crate::objects::{GROUP, Kind, VERSION};

/// What those clients send in `Accept`.
pub(super) const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What they get as `Content-Type`: an `@` is not allowed in it, and they parse it.
pub(super) const SENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The document of these paths.
pub(super) fn document(paths: &[Vec<u8>]) -> Vec<u8> {
    let info = [
        field(1, b"Palisade"),
        field(2, env!("CARGO_PKG_VERSION").as_bytes()),
    ]
    .concat();
    let paths: Vec<u8> = paths.iter().flat_map(|path| field(2, path)).collect();
    [field(1, b"2.0"), field(2, &info), field(8, &paths)].concat()
}

/// `NamedPathItem` of one object of a kind, with its PATCH.
pub(super) fn path<K: Kind>() -> Vec<u8> {
    let parameter = [
        field(2, b"query"),
        field(4, b"fieldValidation"),
        field(6, b"string"),
    ];
    // ParametersItem → Parameter → NonBodyParameter → QueryParameterSubSchema
    let parameter = field(1, &field(2, &field(3, &parameter.concat())));
    let kind = format!("group: {GROUP}\nkind: {}\nversion: {VERSION}\n", K::KIND);
    let extension = [
        field(1, b"x-kubernetes-group-version-kind"),
        field(2, &field(2, kind.as_bytes())),
    ];
    let patch = [field(8, &parameter), field(13, &extension.concat())].concat();
    let name = format!("/apis/{GROUP}/{VERSION}/{}/{{name}}", K::PLURAL);
    [field(1, name.as_bytes()), field(2, &field(8, &patch))].concat()
}

/// One length-delimited field: key, length, bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    /// Wire type of text and messages.
    const DELIMITED: u8 = 2;
    let mut out = vec![number << 3 | DELIMITED];
    let mut length = bytes.len();
    // A varint: seven bits a byte, the lowest first, the highest bit says that more follow.
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap_or(0));
    out.extend_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_protobuf_writes_them() {
        assert_eq!(
            field(2, b"testing"),
            [b"\x12\x07".as_slice(), b"testing"].concat()
        );
        assert_eq!(field(13, b""), [0x6a, 0]);
        let long = field(1, &[0; 300]);
        assert_eq!(
            (long.len(), long.get(..3)),
            (303, Some([0x0a, 0xac, 0x02].as_slice()))
        );
    }
}
