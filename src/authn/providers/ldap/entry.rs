//! Entries of a directory, as bytes.
//!
//! The crate's own reader panics on what is not an entry, and sorts values by whether they happen to be UTF-8; a
//! directory's ids are bytes.

use ldap3::{
    ResultEntry,
    asn1::{PL, StructureTag},
};
use std::collections::HashMap;
use uuid::Uuid;

/// What the answer lacks, or holds in another form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Protocol tag of a SearchResultEntry (RFC 4511, section 4.5.2).
const ENTRY: u64 = 4;

/// An entry.
#[derive(Debug)]
pub(super) struct Entry {
    /// Distinguished name.
    pub(super) dn: String,
    /// By name in lower case, without options.
    values: HashMap<String, Vec<Vec<u8>>>,
    /// Attributes of which there is more: name in lower case, and where to go on.
    ranged: Vec<(String, usize)>,
}

impl Entry {
    /// Reads one.
    pub(super) fn read(entry: ResultEntry) -> Result<Self, Malformed> {
        let wrong = Malformed("not a search entry");
        let [dn, attributes] = children::<2>(entry.0, Some(ENTRY)).ok_or(wrong)?;
        let dn = text(dn).ok_or(Malformed("a DN that is not UTF-8"))?;
        let mut entry = Self {
            dn,
            values: HashMap::new(),
            ranged: Vec::new(),
        };
        let PL::C(attributes) = attributes.payload else {
            return Err(wrong);
        };
        for attribute in attributes {
            let [name, values] = children::<2>(attribute, None).ok_or(wrong)?;
            let name = text(name).ok_or(wrong)?;
            let PL::C(values) = values.payload else {
                return Err(wrong);
            };
            let values: Option<Vec<Vec<u8>>> = values.into_iter().map(bytes).collect();
            entry.take(&name, values.ok_or(wrong)?);
        }
        Ok(entry)
    }

    fn take(&mut self, description: &str, values: Vec<Vec<u8>>) {
        let mut parts = description.split(';');
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        // `member;range=0-1499`: there is more; `member;range=1500-*`: there is not ([MS-ADTS] 3.1.1.3.1.3.3).
        let range = parts.find_map(|option| option.strip_prefix("range="));
        let end = range.and_then(|range| range.split_once('-')?.1.parse::<usize>().ok());
        if let Some(end) = end {
            self.ranged.push((name.clone(), end.saturating_add(1)));
        }
        if range.is_none() || !values.is_empty() {
            self.values.entry(name).or_default().extend(values);
        }
    }

    /// Where to go on with an attribute that is not whole.
    pub(super) fn rest_of(&self, name: &str) -> Option<usize> {
        let ranged = self.ranged.iter();
        let mut ranged = ranged.filter(|(ranged, _)| ranged.eq_ignore_ascii_case(name));
        ranged.next().map(|(_, next)| *next)
    }

    /// The values of an attribute.
    pub(super) fn values(&self, name: &str) -> &[Vec<u8>] {
        let values = self.values.get(&name.to_ascii_lowercase());
        values.map_or(&[], Vec::as_slice)
    }

    /// The values of an attribute that are text.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.values(name).iter();
        values.filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of an attribute, if it is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let first = self.values(name).first()?;
        std::str::from_utf8(first).ok()
    }

    /// The first value of an attribute, if it is a number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// An id of 16 bytes whose first three parts are little-endian (`objectGUID`), as people write it.
    pub(super) fn guid(&self, name: &str) -> Option<Uuid> {
        let bytes: [u8; 16] = self.values(name).first()?.as_slice().try_into().ok()?;
        Some(Uuid::from_bytes_le(bytes))
    }

    /// An id in the text form of RFC 4530 (`entryUUID`).
    pub(super) fn uuid(&self, name: &str) -> Option<Uuid> {
        Uuid::try_parse(self.text(name)?).ok()
    }
}

fn children<const N: usize>(tag: StructureTag, id: Option<u64>) -> Option<[StructureTag; N]> {
    if id.is_some_and(|id| id != tag.id) {
        return None;
    }
    match tag.payload {
        PL::C(children) => children.try_into().ok(),
        PL::P(_) => None,
    }
}

fn bytes(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}

fn text(tag: StructureTag) -> Option<String> {
    String::from_utf8(bytes(tag)?).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ldap3::asn1::TagClass;

    fn tag(id: u64, payload: PL) -> StructureTag {
        StructureTag {
            class: TagClass::Universal,
            id,
            payload,
        }
    }

    fn octets(bytes: &[u8]) -> StructureTag {
        tag(4, PL::P(bytes.to_vec()))
    }

    fn attribute(name: &str, values: &[&[u8]]) -> StructureTag {
        let values = values.iter().map(|value| octets(value)).collect();
        tag(
            16,
            PL::C(vec![octets(name.as_bytes()), tag(17, PL::C(values))]),
        )
    }

    /// An entry with these attributes, each of one value.
    pub(in super::super) fn entry(attributes: &[(&str, &str)]) -> Entry {
        let attributes = attributes.iter();
        let attributes = attributes.map(|(name, value)| attribute(name, &[value.as_bytes()]));
        read(attributes.collect()).unwrap()
    }

    fn read(attributes: Vec<StructureTag>) -> Result<Entry, Malformed> {
        let parts = vec![
            octets("cn=Jürgen,dc=a".as_bytes()),
            tag(16, PL::C(attributes)),
        ];
        Entry::read(ResultEntry::new(tag(ENTRY, PL::C(parts))))
    }

    #[test]
    fn values_are_bytes_whatever_they_look_like() {
        let id = b"0123456789abcdef";
        let found = read(vec![
            attribute("objectGUID", &[id]),
            attribute("CN", &["Jürgen".as_bytes(), b"\xff"]),
            attribute("accountExpires", &[b"17"]),
        ]);
        let found = found.unwrap();
        assert_eq!(found.dn, "cn=Jürgen,dc=a");
        assert_eq!(found.values("OBJECTguid"), [id.to_vec()]);
        let guid = found.guid("objectGUID").unwrap().to_string();
        assert_eq!(guid, "33323130-3534-3736-3839-616263646566");
        assert_eq!(found.texts("cn").collect::<Vec<_>>(), ["Jürgen"]);
        assert_eq!(found.number("accountexpires"), Some(17));
        assert_eq!(found.number("cn"), None);
        assert!(found.values("sn").is_empty());
    }

    #[test]
    fn a_range_says_where_to_go_on() {
        let part = read(vec![attribute("member;range=0-1", &[b"a", b"b"])]).unwrap();
        assert_eq!(
            (part.values("member").len(), part.rest_of("Member")),
            (2, Some(2))
        );
        let last = read(vec![attribute("member;range=2-*", &[b"c"])]).unwrap();
        assert_eq!(
            (last.values("member").len(), last.rest_of("member")),
            (1, None)
        );
    }

    #[test]
    fn what_is_no_entry_is_said_and_is_no_panic() {
        let not_utf8 = vec![octets(b"\xff"), tag(16, PL::C(vec![]))];
        for odd in [
            tag(ENTRY, PL::P(b"x".to_vec())),
            tag(5, PL::C(vec![octets(b"a"), tag(16, PL::C(vec![]))])),
            tag(ENTRY, PL::C(vec![octets(b"a")])),
            tag(ENTRY, PL::C(vec![octets(b"a"), octets(b"b")])),
            tag(ENTRY, PL::C(not_utf8)),
        ] {
            assert!(Entry::read(ResultEntry::new(odd)).is_err());
        }
        assert!(read(vec![octets(b"a")]).is_err());
        assert!(read(vec![tag(16, PL::C(vec![octets(b"a"), octets(b"b")]))]).is_err());
    }
}
