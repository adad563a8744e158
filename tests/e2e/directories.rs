//! Logins at real directories: Samba as an Active Directory domain controller, and slapd. See
//! directories/README.md.

mod lent;
mod load;
mod logins;
mod place;
mod refused;
mod samba;
mod slapd;
mod state;
mod world;

pub(crate) use lent::Directory;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Values of an attribute in LDIF, in order.
fn values(ldif: &str, attribute: &str) -> Vec<String> {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        if !name.eq_ignore_ascii_case(attribute) {
            return None;
        }
        let Some(encoded) = value.strip_prefix(": ") else {
            return Some(value.trim().to_owned());
        };
        let bytes = STANDARD.decode(encoded).expect("base64");
        Some(String::from_utf8(bytes).expect("text"))
    };
    let mut values: Vec<String> = ldif.lines().filter_map(value).collect();
    values.sort();
    values
}
