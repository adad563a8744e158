//! slapd, of one test run; a second one can have the same content.

use super::place::{Certificate, Place};
use crate::testkit::process::{Ran, Running, eventually, run, run_with};
use std::{
    fmt::Write as _,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

pub(super) const BASE: &str = "dc=example,dc=test";
pub(super) const PASSWORD: &str = super::samba::PASSWORD;
const ADMIN: &str = "Passw0rd!23";
const GROUPS: usize = 1_000;
/// The password policy of everybody, and the wrong passwords after which it locks an account.
pub(super) const POLICY: &str = "cn=default,ou=policies,dc=example,dc=test";
const FAILURES: usize = 5;

pub(super) struct Slapd {
    pub(super) address: Ipv4Addr,
    pub(super) certificate: Certificate,
    pub(super) secret: PathBuf,
    folder: tempfile::TempDir,
    process: Option<Running>,
}

impl Slapd {
    /// One with people in it.
    pub(super) fn start() -> Self {
        let mut slapd = Self::empty();
        slapd.serve();
        run_with(&slapd.as_admin("ldapadd"), &people()).ok();
        slapd.lock("Carol");
        slapd
    }

    /// Tries so many wrong passwords that the directory locks an account.
    pub(super) fn lock(&self, cn: &str) {
        for _ in 0..FAILURES {
            let mut command = self.command("ldapsearch");
            command.args(["-D", &Self::dn(cn), "-w", "wrong", "-b", "", "-s", "base"]);
            run(&command).refused(&["Invalid credentials"]);
        }
    }

    /// The DN of a user.
    pub(super) fn dn(cn: &str) -> String {
        format!("cn={cn},ou=people,{BASE}")
    }

    /// Another one with the same content, ids included.
    pub(super) fn twin(&self) -> Self {
        let content = run(Command::new(sbin("slapcat")).arg("-f").arg(self.config())).ok();
        let mut twin = Self::empty();
        let file = twin.folder.path().join("content.ldif");
        fs::write(&file, content).expect("it can be written");
        run(Command::new(sbin("slapadd"))
            .args(["-q", "-f"])
            .arg(twin.config())
            .arg("-l")
            .arg(&file))
        .ok();
        twin.serve();
        twin
    }

    fn empty() -> Self {
        let Place {
            address,
            certificate,
            secret,
            folder,
        } = Place::new();
        fs::create_dir(folder.path().join("db")).expect("a folder");
        fs::write(
            folder.path().join("slapd.conf"),
            config(folder.path(), &certificate),
        )
        .expect("it can be written");
        Self {
            address,
            certificate,
            secret,
            folder,
            process: None,
        }
    }

    /// Starts it (again).
    pub(super) fn serve(&mut self) {
        let mut command = Command::new(sbin("slapd"));
        let urls = format!("ldap://{0} ldaps://{0}", self.address);
        command
            .args(["-h", &urls, "-d", "0", "-f"])
            .arg(self.config());
        self.process = Some(Running::start(command));
        let ready = eventually(|| {
            let mut command = self.as_admin("ldapsearch");
            command.args(["-b", "", "-s", "base"]);
            (run(&command).code == Some(0)).then_some(())
        });
        assert!(ready.is_some(), "slapd does not answer");
    }

    /// More people and groups.
    pub(super) fn add(&self, ldif: &str) {
        run_with(&self.as_admin("ldapadd"), ldif).ok();
    }

    /// Searches that it has answered so far.
    pub(super) fn searches(&self) -> u64 {
        let mut command = self.as_admin("ldapsearch");
        command.args(["-LLL", "-b", "cn=Search,cn=Operations,cn=Monitor"]);
        command.args(["-s", "base", "monitorOpCompleted"]);
        let said = run(&command).ok();
        let values = super::values(&said, "monitorOpCompleted");
        let [count] = values.as_slice() else {
            panic!("{said}");
        };
        count.parse().expect("a number")
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("slapd.conf")
    }

    pub(super) fn search(&self, filter: &str, attribute: &str) -> Ran {
        let mut command = self.as_admin("ldapsearch");
        command.args(["-LLL", "-o", "ldif-wrap=no", "-b", BASE, filter, attribute]);
        run(&command)
    }

    pub(super) fn values(&self, filter: &str, attribute: &str) -> Vec<String> {
        super::values(&self.search(filter, attribute).ok(), attribute)
    }

    #[track_caller]
    pub(super) fn modify(&self, ldif: &str) {
        run_with(&self.as_admin("ldapmodify"), ldif).ok();
    }

    fn as_admin(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.args(["-D", &format!("cn=admin,{BASE}"), "-w", ADMIN]);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LDAPTLS_CACERT", &self.certificate.ca);
        command.args(["-x", "-H", &format!("ldaps://{}", self.address)]);
        command
    }
}

/// Servers are not always in a person's PATH.
fn sbin(program: &str) -> PathBuf {
    let path = Path::new("/usr/sbin").join(program);
    if path.exists() { path } else { program.into() }
}

fn config(folder: &Path, certificate: &Certificate) -> String {
    let (ca, cert, key) = (
        certificate.ca.display(),
        certificate.cert.display(),
        certificate.key.display(),
    );
    let folder = folder.display();
    let schema = "/etc/ldap/schema";
    format!(
        "include {schema}/core.schema\ninclude {schema}/cosine.schema\ninclude {schema}/nis.schema\n\
         include {schema}/inetorgperson.schema\n\
         modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload memberof\nmoduleload ppolicy\n\
         moduleload back_monitor\n\
         pidfile {folder}/pid\nargsfile {folder}/args\n\
         TLSCACertificateFile {ca}\nTLSCertificateFile {cert}\nTLSCertificateKeyFile {key}\n\
         # No password without TLS.\n\
         security simple_bind=128\n\
         database monitor\n\
         database mdb\nmaxsize 268435456\nsuffix {BASE}\nrootdn cn=admin,{BASE}\nrootpw {ADMIN}\n\
         directory {folder}/db\nindex objectClass,uid,cn,member,uniqueMember,memberUid,entryUUID eq\n\
         overlay memberof\noverlay ppolicy\nppolicy_default cn=default,ou=policies,{BASE}\n\
         access to attrs=userPassword by anonymous auth by * none\n\
         access to * by users read by anonymous auth\n\
         limits dn.exact=\"cn=gate,ou=people,{BASE}\" size=unlimited\n"
    )
}

/// Users and groups, as LDIF.
fn people() -> String {
    let mut ldif = format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n\
         dn: ou=people,{BASE}\nobjectClass: organizationalUnit\n\n\
         dn: ou=groups,{BASE}\nobjectClass: organizationalUnit\n\n\
         dn: ou=policies,{BASE}\nobjectClass: organizationalUnit\n\n\
         dn: {POLICY}\nobjectClass: device\nobjectClass: pwdPolicy\npwdAttribute: userPassword\n\
         pwdLockout: TRUE\npwdMaxFailure: {FAILURES}\npwdLockoutDuration: 3600\npwdMustChange: FALSE\n\n"
    );
    let mut user = |cn: &str, uid: &str, more: &str| {
        let dn = format!("cn={cn},ou=people,{BASE}");
        writeln!(
            ldif,
            "dn: {dn}\nobjectClass: inetOrgPerson\nobjectClass: shadowAccount\nsn: X\nuid: {uid}\n\
             userPassword: {PASSWORD}\n{more}"
        )
        .expect("a string");
        dn
    };
    user("gate", "gate", "");
    let alice = user("Alice", "alice", "mail: alice@example.test\n");
    let many = user("Many", "many", "");
    let jurgen = user("Müller\\, Jürgen (Ext)", "jmueller", "");
    let carol = user("Carol", "carol", "");
    let dave = user("Dave", "dave", "shadowExpire: 1\n");
    let umit = user("Umit", "ümit", "");
    let leavers: Vec<String> = (1..=5)
        .map(|number| format!("leaver{number}"))
        .map(|name| user(&name, &name, ""))
        .collect();
    user("Zoe", "zoe", "");
    let mut group = |cn: &str, members: &[&String]| {
        let dn = format!("cn={cn},ou=groups,{BASE}");
        let members = members.iter().map(|dn| format!("member: {dn}"));
        let members = members.collect::<Vec<_>>().join("\n");
        writeln!(ldif, "dn: {dn}\nobjectClass: groupOfNames\n{members}\n").expect("a string");
        dn
    };
    let developers = group("developers", &[&alice, &many]);
    let ops = group("Ops (EU)\\, night", &[&jurgen, &developers]);
    let mut staff = vec![&ops, &carol, &dave, &umit];
    staff.extend(&leavers);
    let staff = group("staff", &staff);
    for number in 0..GROUPS {
        group(&format!("g{number:04}"), &[&many]);
    }
    // A circle.
    writeln!(
        ldif,
        "dn: {developers}\nchangetype: modify\nadd: member\nmember: {staff}\n"
    )
    .expect("a string");
    ldif
}
