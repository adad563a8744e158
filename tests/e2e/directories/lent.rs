//! A directory for tests that are about something else.

use super::slapd::{BASE, PASSWORD, Slapd};

/// A real one, with alice, who is among its staff, and zoe, who is not.
pub(crate) struct Directory {
    slapd: Slapd,
}

impl Directory {
    /// What everybody's password is.
    pub(crate) const PASSWORD: &str = PASSWORD;

    pub(crate) fn start() -> Self {
        Self {
            slapd: Slapd::start(),
        }
    }

    /// Lines of a configuration, below `providers`: its staff may log in.
    pub(crate) fn provider(&self, name: &str, shown: &str) -> String {
        format!(
            "  {name}:
    display_name: {shown}
    access: {{groups: [staff]}}
    ldap:
      directory: openldap
      hosts: [{}]
      ca_file: {}
      bind_dn: cn=gate,ou=people,{BASE}
      bind_password_file: {}
      base_dn: {BASE}
",
            self.slapd.address,
            self.slapd.certificate.ca.display(),
            self.slapd.secret.display(),
        )
    }
}
