//! Samba as an Active Directory domain controller, of one test run.

use super::place::{Certificate, Place};
use crate::testkit::process::{Ran, Running, eventually, run, run_with};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{fmt::Write as _, fs, net::Ipv4Addr, path::PathBuf, process::Command};

pub(super) const BASE: &str = "DC=corp,DC=example,DC=test";
pub(super) const DOMAIN: &str = "corp.example.test";
/// Everybody's. A log with it in it fails the test.
pub(super) const PASSWORD: &str = "correct horse Pass 1";
const ADMIN: &str = "Passw0rd!23";
const GROUPS: usize = 1_000;

pub(super) struct Samba {
    pub(super) address: Ipv4Addr,
    pub(super) certificate: Certificate,
    pub(super) secret: PathBuf,
    folder: tempfile::TempDir,
    _process: Running,
}

impl Samba {
    pub(super) fn start() -> Self {
        let Place {
            address,
            certificate,
            secret,
            folder,
        } = Place::new();
        provision(folder.path());
        let ldif = folder.path().join("people.ldif");
        fs::write(&ldif, people()).expect("it can be written");
        let sam = folder.path().join("ad/private/sam.ldb");
        run(Command::new("ldbadd").arg("-H").arg(&sam).arg(&ldif)).ok();
        let samba = Self {
            address,
            _process: serve(folder.path(), address, &certificate),
            certificate,
            secret,
            folder,
        };
        let ready = eventually(|| {
            (samba.search("(sAMAccountName=gate)", "cn").code == Some(0)).then_some(())
        });
        assert!(ready.is_some(), "samba does not answer");
        // Only a time shows that somebody is locked; the policy says for how long.
        samba.modify(&format!(
            "dn: {BASE}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 3\n"
        ));
        samba.lock("carol");
        samba
    }

    /// Tries so many wrong passwords that the domain locks an account.
    pub(super) fn lock(&self, name: &str) {
        for _ in 0..3 {
            self.tool("ldapsearch", &format!("{name}@{DOMAIN}"), "wrong")
                .refused(&["Invalid credentials"]);
        }
    }

    /// A password as the directory takes one.
    pub(super) fn password(text: &str) -> String {
        let quoted = format!("\"{text}\"");
        let bytes: Vec<u8> = quoted.encode_utf16().flat_map(u16::to_le_bytes).collect();
        STANDARD.encode(bytes)
    }

    /// What the directory's own tool finds, as the administrator.
    pub(super) fn search(&self, filter: &str, attribute: &str) -> Ran {
        let mut command = self.as_admin("ldapsearch");
        command.args(["-LLL", "-o", "ldif-wrap=no", "-E", "pr=500/noprompt"]);
        command.args(["-b", BASE, filter, attribute]);
        run(&command)
    }

    /// Values of an attribute of all that is found, in order.
    pub(super) fn values(&self, filter: &str, attribute: &str) -> Vec<String> {
        super::values(&self.search(filter, attribute).ok(), attribute)
    }

    /// Writes, as the administrator.
    #[track_caller]
    pub(super) fn modify(&self, ldif: &str) {
        run_with(&self.as_admin("ldapmodify"), ldif).ok();
    }

    /// The DN of a user.
    pub(super) fn dn(name: &str) -> String {
        format!("CN={name},CN=Users,{BASE}")
    }

    fn as_admin(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.args(["-D", &format!("administrator@{DOMAIN}"), "-w", ADMIN]);
        command
    }

    fn tool(&self, program: &str, who: &str, password: &str) -> Ran {
        let mut command = self.command(program);
        command.args(["-D", who, "-w", password, "-b", BASE, "-s", "base"]);
        run(&command)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LDAPTLS_CACERT", &self.certificate.ca);
        command.args(["-x", "-H", &format!("ldaps://{}", self.address)]);
        command
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

fn provision(folder: &std::path::Path) {
    let mut command = Command::new("samba-tool");
    command
        .args([
            "domain",
            "provision",
            "--realm=CORP.EXAMPLE.TEST",
            "--domain=CORP",
        ])
        .args(["--server-role=dc", "--dns-backend=NONE", "--use-rfc2307"])
        .args(["--host-name=dc1", "--host-ip=127.0.0.1"])
        .args([
            "--option=interfaces=lo",
            "--option=bind interfaces only=yes",
        ])
        .arg(format!("--adminpass={ADMIN}"))
        .arg(format!("--targetdir={}", folder.join("ad").display()));
    run(&command).ok();
    for name in ["run", "cache"] {
        fs::create_dir_all(folder.join("ad").join(name)).expect("a folder");
    }
}

fn serve(folder: &std::path::Path, address: Ipv4Addr, certificate: &Certificate) -> Running {
    let ad = folder.join("ad");
    let ad = ad.display();
    let mut command = Command::new("samba");
    command
        .args(["-i", "-M", "single", "--debug-stdout", "-d1", "-s"])
        .arg(format!("{ad}/etc/smb.conf"));
    for option in [
        "server services=ldap,cldap,kdc".to_owned(),
        "dcerpc endpoint servers=".to_owned(),
        format!("pid directory={ad}/run"),
        format!("ncalrpc dir={ad}/run/ncalrpc"),
        format!("log file={ad}/log.%m"),
        format!("winbindd socket directory={ad}/run/winbindd"),
        format!("ntp signd socket directory={ad}/run/ntp"),
        format!("interfaces={address}/8"),
        "bind interfaces only=yes".to_owned(),
        format!("tls keyfile={}", certificate.key.display()),
        format!("tls certfile={}", certificate.cert.display()),
        format!("tls cafile={}", certificate.ca.display()),
    ] {
        command.arg(format!("--option={option}"));
    }
    Running::start(command)
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// Users and groups, as LDIF.
fn people() -> String {
    let mut ldif = String::new();
    let password = Samba::password(PASSWORD);
    let mut user = |cn: &str, name: &str, more: &str| {
        let dn = Samba::dn(cn);
        let (dn64, name64) = (base64(&dn), base64(name));
        let upn = base64(&format!("{name}@{DOMAIN}"));
        writeln!(
            ldif,
            "dn:: {dn64}\nobjectClass: user\nsAMAccountName:: {name64}\nuserPrincipalName:: {upn}\n\
             unicodePwd:: {password}\nuserAccountControl: {more}\n"
        )
        .expect("a string");
        dn
    };
    user("gate", "gate", "512");
    let alice = user("Alice", "alice", "512\ndisplayName: Alice A.");
    let many = user("Many", "many", "512");
    let jurgen = user("Müller\\, Jürgen (Ext)", "jmueller", "512");
    let bob = user("Bob", "bob", "514");
    let carol = user("Carol", "carol", "512");
    let dave = user("Dave", "dave", "512\naccountExpires: 116444736000000001");
    let umit = user("Umit", "ümit", "512");
    user("Zoe", "zoe", "512");
    let leavers: Vec<String> = (1..=7)
        .map(|number| format!("leaver{number}"))
        .map(|name| user(&name, &name, "512"))
        .collect();
    let mut group = |cn: &str, name: &str, members: &[&String]| {
        let dn = Samba::dn(cn);
        let members = members.iter().map(|dn| format!("member:: {}", base64(dn)));
        let members = members.collect::<Vec<_>>().join("\n");
        let (dn64, name64) = (base64(&dn), base64(name));
        writeln!(
            ldif,
            "dn:: {dn64}\nobjectClass: group\nsAMAccountName:: {name64}\n{members}\n"
        )
        .expect("a string");
        dn
    };
    let developers = group("developers", "developers", &[&alice, &many]);
    let ops = group(
        "Ops (EU)\\, night",
        "Ops (EU) night",
        &[&jurgen, &developers],
    );
    let mut staff = vec![&ops, &bob, &carol, &dave, &umit];
    staff.extend(&leavers);
    group("staff", "staff", &staff);
    group("Größe", "Größe", &[&alice]);
    group("reviewers", "reviewers", &[&jurgen]);
    for number in 0..GROUPS {
        let name = format!("g{number:04}");
        group(&name, &name, &[&many]);
    }
    // A list of addressees gives no rights.
    writeln!(
        ldif,
        "dn: {}\nobjectClass: group\nsAMAccountName: addressees\ngroupType: 2\nmember:: {}\n",
        Samba::dn("addressees"),
        base64(&alice)
    )
    .expect("a string");
    ldif
}
