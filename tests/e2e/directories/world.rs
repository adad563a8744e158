//! A gateway with both directories as its providers, and the people who log in.

use super::{
    samba::{self, Samba},
    slapd::{self, Slapd},
};
use crate::testkit::{
    gateway::GatewayProcess,
    process::{Ran, run_with},
};
use std::{fs, path::PathBuf, thread};

/// One gateway with four providers: each directory over LDAPS and over StartTLS.
pub(super) struct World {
    pub(super) gateway: GatewayProcess,
    pub(super) ad: Samba,
    pub(super) people: Slapd,
    /// The same content as `people`.
    pub(super) twin: Slapd,
}

impl World {
    pub(super) fn start() -> Self {
        let (ad, (people, twin), gateway) = thread::scope(|scope| {
            let ad = scope.spawn(Samba::start);
            let people = scope.spawn(|| {
                let people = Slapd::start();
                let twin = people.twin();
                (people, twin)
            });
            let gateway = GatewayProcess::start();
            (
                ad.join().expect("samba"),
                people.join().expect("slapd"),
                gateway,
            )
        });
        let mut world = Self {
            gateway,
            ad,
            people,
            twin,
        };
        let providers = world.providers();
        // Left to itself `--dev` has no providers.
        world.gateway.restart(|text| format!("{text}{providers}"));
        world.login("local", "admin", &world.gateway.password).ok();
        world
    }

    /// Their configuration: accounts are read again at every look, and count for a quarter of a minute.
    pub(super) fn providers(&self) -> String {
        let ad = |name: &str, transport: &str, lookup: &str| {
            format!(
                "  {name}:
    access: {{groups: [staff], users: [many]}}
    refresh: {{interval: 5s, max_age: 15s}}
    ldap:
      directory: active_directory
      hosts: [{}]
      transport: {transport}
      ca_file: {}
      bind_dn: gate@{}
      bind_password_file: {}
      base_dn: {}
      group_lookup: {lookup}
",
                self.ad.address,
                self.ad.certificate.ca.display(),
                samba::DOMAIN,
                self.ad.secret.display(),
                samba::BASE,
            )
        };
        let people = |name: &str, transport: &str, lookup: &str, more: &str| {
            format!(
                "  {name}:
    {more}access: {{groups: [staff], users: [many]}}
    refresh: {{interval: 5s, max_age: 15s}}
    ldap:
      directory: openldap
      hosts: [{}, {}]
      transport: {transport}
      ca_file: {}
      bind_dn: cn=gate,ou=people,{base}
      bind_password_file: {}
      base_dn: {base}
      group_lookup: {lookup}
      connect_timeout: 1s
      timeout: 2s
",
                self.people.address,
                self.twin.address,
                self.both_authorities().display(),
                self.people.secret.display(),
                base = slapd::BASE,
            )
        };
        [
            "providers:\n".to_owned(),
            ad("corp", "ldaps", "auto"),
            ad("corp-tls", "starttls", "in_chain"),
            people("people", "ldaps", "search", "primary: true\n    "),
            people("people-tls", "starttls", "member_of", "")
                + "      login_filter: (&(objectClass=person)(uid={login})(!(title=left)))\n",
        ]
        .concat()
    }

    /// Of both servers of one directory.
    fn both_authorities(&self) -> PathBuf {
        let path = self.ad.folder().join("both.pem");
        let both = [&self.people, &self.twin].map(|one| one.certificate.ca_pem.as_str());
        fs::write(&path, both.concat()).expect("it can be written");
        path
    }

    /// What the gateway reads again when it changes.
    pub(super) fn edit_config(&self, edit: impl FnOnce(&str) -> String) {
        let path = self.gateway.state_dir().join("edited.yaml");
        let text = fs::read_to_string(&path).expect("the configuration");
        fs::write(&path, edit(&text)).expect("it can be written");
        self.gateway.hang_up();
    }

    /// `palisade login` at this provider, kept under a home of its own.
    pub(super) fn login(&self, provider: &str, name: &str, password: &str) -> Ran {
        let home = home(provider, name);
        self.gateway.login_at((&home, provider), name, password)
    }

    /// `palisade`, as who logged in so.
    pub(super) fn palisade(&self, provider: &str, name: &str, arguments: &[&str]) -> Ran {
        let mut command = self.gateway.cli(&home(provider, name));
        command.args(arguments);
        run_with(&command, "")
    }

    /// `palisade`, with a token in place of a login.
    pub(super) fn with_token(&self, token: &str, arguments: &[&str]) -> Ran {
        let mut command = self.gateway.cli("nobody");
        command.env("PALISADE_TOKEN", token.trim());
        command.args(arguments);
        command.args([
            "--server",
            &self.gateway.url,
            "--ca-sum",
            &self.gateway.ca_sum,
        ]);
        run_with(&command, "")
    }

    /// Writes to both servers of the one directory.
    pub(super) fn modify_people(&self, ldif: &str) {
        self.people.modify(ldif);
        self.twin.modify(ldif);
    }

    #[track_caller]
    pub(super) fn admin(&self, arguments: &[&str]) -> String {
        self.palisade("local", "admin", arguments).ok()
    }

    /// Who the gateway takes them for: handle, and names of groups in order.
    #[track_caller]
    pub(super) fn whoami(&self, provider: &str, name: &str) -> (String, Vec<String>) {
        let said = self
            .palisade(provider, name, &["whoami", "-o", "json"])
            .ok();
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let user = &said["user"];
        let groups = user["groups"].as_array().into_iter().flatten();
        let mut groups: Vec<String> = groups
            .map(|group| group.as_str().expect("a name").to_owned())
            .collect();
        groups.sort();
        (
            user["username"].as_str().expect("a name").to_owned(),
            groups,
        )
    }
}

/// A folder's name for whoever typed this.
pub(super) fn home(provider: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("{provider}-{}", name.chars().map(plain).collect::<String>())
}
