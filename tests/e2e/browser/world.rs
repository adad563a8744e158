//! A gateway with people who log in by a browser: with a password of the gateway's own, at an OpenID provider, and
//! at GitHub (a double: the real one cannot be had on loopback).

use super::{
    driver::{Browser, Page},
    issuer::Issuer,
    terminal::Terminal,
};
use crate::testkit::{
    canary::PLANTED,
    gateway::GatewayProcess,
    github::{Github, Person},
    process::{Ran, run_with},
};
use tokio::runtime::Runtime;

/// Password of the user `jane`.
pub(super) const PASSWORD: &str = concat!("correct horse", " on the moon");

/// GitHub's number of the person who is called `octo` there.
pub(super) const OCTO: u64 = 583_231;

/// All of it.
pub(super) struct World {
    pub(super) browser: Browser,
    pub(super) issuer: Issuer,
    pub(super) github: Github,
    pub(super) gateway: GatewayProcess,
    /// What the double runs on, and its secret.
    _runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) fn start() -> Self {
        assert!(PASSWORD.contains(PLANTED));
        let mut gateway = GatewayProcess::start();
        let issuer = Issuer::start(&format!("{}/login/idp/callback", gateway.url));
        issuer.account("sub-1", "ada", &["devs"]);
        let idp = issuer.config();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let runtime = Runtime::new().expect("a runtime");
        let github = runtime.block_on(Github::start());
        github.person(OCTO, octo());
        let hub = github.provider(
            "hub",
            folder.path(),
            "{groups: [acme]}",
            ", device_flow: true",
        );
        let hub = hub.replacen("    access:", "    display_name: GitHub\n    access:", 1);
        gateway.restart(|text| {
            format!(
                "{text}providers:
  idp:
    display_name: Example Identity
    access: {{groups: [devs, staff]}}
    refresh: {{interval: 5s, max_age: 15s}}
{idp}{hub}"
            )
        });
        let browser = Browser::start(&[&gateway.ca_pem(), &issuer.ca_pem, &github.site.ca_pem]);
        let world = Self {
            browser,
            issuer,
            github,
            gateway,
            _runtime: runtime,
            _folder: folder,
        };
        world.gateway.login("admin", &world.gateway.password).ok();
        let add = ["user", "add", "jane", "--password-stdin"];
        world.palisade_reads("admin", &add, PASSWORD).ok();
        world
    }

    pub(super) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url)
    }

    /// `palisade`, as this person.
    pub(super) fn palisade(&self, person: &str, arguments: &[&str]) -> Ran {
        self.palisade_reads(person, arguments, "")
    }

    pub(super) fn palisade_reads(&self, person: &str, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.gateway.cli(person);
        command.args(arguments);
        run_with(&command, input)
    }

    /// With the password, from the terminal.
    #[track_caller]
    pub(super) fn gateway_login(&self, person: &str) {
        self.gateway.login(person, PASSWORD).ok();
    }

    pub(super) fn terminal(&self, person: &str, arguments: &[&str]) -> Terminal {
        Terminal::login(&self.gateway, person, arguments)
    }
}

/// Where somebody has an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// With a password of the gateway's own.
    Local,
    /// At the OpenID provider.
    Idp,
    /// At GitHub.
    Hub,
}

impl Account {
    pub(super) const ALL: [Self; 3] = [Self::Local, Self::Idp, Self::Hub];

    pub(super) fn provider(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Idp => "idp",
            Self::Hub => "hub",
        }
    }

    /// Whose machine it is.
    pub(super) fn person(self) -> &'static str {
        match self {
            Self::Local => "jane",
            Self::Idp => "ada",
            Self::Hub => "octo",
        }
    }

    pub(super) fn handle(self) -> &'static str {
        match self {
            Self::Local => "jane",
            Self::Idp => "idp:ada",
            Self::Hub => "hub:octo",
        }
    }

    /// What the page calls the provider.
    fn shown(self) -> &'static str {
        match self {
            Self::Local => "Local account",
            Self::Idp => "Example Identity",
            Self::Hub => "GitHub",
        }
    }

    /// On a page that knows the provider already.
    #[track_caller]
    pub(super) fn prove(self, page: &Page<'_>) {
        match self {
            Self::Local => give_password(page, "jane", PASSWORD),
            Self::Idp => self.prove_as(page, "sub-1"),
            // Who comes there is known there already.
            Self::Hub => self.go(page),
        }
    }

    /// The same as another account there.
    #[track_caller]
    pub(super) fn prove_as(self, page: &Page<'_>, account: &str) {
        self.go(page);
        at_the_issuer(page, account);
    }

    /// From the gateway's page to the provider's.
    #[track_caller]
    pub(super) fn go(self, page: &Page<'_>) {
        page.see(self.shown());
        page.click_on(&format!("button:has-text('{}')", self.shown()));
    }

    /// On a page that asks where the account is.
    #[track_caller]
    pub(super) fn choose_and_prove(self, page: &Page<'_>) {
        if self == Self::Local {
            page.see("Where is your account?");
            page.click_on(&format!("a:has-text('{}')", self.shown()));
        }
        self.prove(page);
    }

    /// By keyboard alone, from the first field on.
    #[track_caller]
    pub(super) fn type_password(self, page: &Page<'_>) {
        page.type_text(self.person());
        page.press("Tab");
        page.type_text(PASSWORD);
        page.press("Enter");
    }
}

/// Types name and password on the page that asks for them.
pub(super) fn give_password(page: &Page<'_>, name: &str, password: &str) {
    page.fill("User name", name);
    page.fill("Password", password);
    page.click("button", "Log in");
}

/// Logs in at the OpenID provider's own page, and agrees to what it asks.
pub(super) fn at_the_issuer(page: &Page<'_>, account: &str) {
    page.see("Sign-in");
    page.fill_in("input[name=login]", account);
    page.fill_in("input[name=password]", "any");
    page.click_on("button[type=submit]");
    page.see("Authorize");
    page.click_on("button[type=submit]");
}

/// A member of one organisation and one of its teams.
pub(super) fn octo() -> Person {
    Person {
        login: "octo".to_owned(),
        name: "Octo Cat".to_owned(),
        organizations: vec![(11, "acme", "active")],
        teams: vec![(7, "site-ops".to_owned(), 11, "acme")],
    }
}
