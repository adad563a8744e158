//! A certificate that is renewed, and a configuration that is changed, while kubectl works.

use super::world::{MEMBER, World, newest};
use crate::testkit::process::{Running, eventually, run, run_with};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    io::Write as _,
    net::TcpStream,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A folder as a kubelet mounts a Secret: the files are links through `..data`, which is swapped.
struct Volume {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// PEM of the authority.
    ca: PathBuf,
}

impl Volume {
    fn mount(state: &Path) -> Self {
        let folder = state.join("volume");
        fs::create_dir(&folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().expect("a key");
        let ca = state.join("volume-ca.pem");
        let signed = params.self_signed(&key).expect("a certificate");
        fs::write(&ca, signed.pem()).expect("it can be written");
        let issuer = Issuer::new(params, key);
        let volume = Self { folder, issuer, ca };
        volume.swap("v1");
        for name in ["tls.crt", "tls.key"] {
            let through = Path::new("..data").join(name);
            symlink(through, volume.folder.join(name)).expect("a link");
        }
        volume
    }

    /// Puts a new pair in place of the old one.
    fn swap(&self, version: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let cert = params.signed_by(&key, &self.issuer);
        let cert = cert.expect("a certificate");
        let there = self.folder.join(version);
        fs::create_dir(&there).expect("a folder");
        fs::write(there.join("tls.crt"), cert.pem()).expect("it can be written");
        fs::write(there.join("tls.key"), key.serialize_pem()).expect("it can be written");
        let beside = self.folder.join("..data_tmp");
        symlink(version, &beside).expect("a link");
        fs::rename(beside, self.folder.join("..data")).expect("it is swapped");
    }
}

/// The configuration with another log level.
fn at_level(config: &str, level: &str) -> String {
    let (before, rest) = config.split_once("log: {level: ").expect("a level");
    let (_, after) = rest.split_once('}').expect("its end");
    format!("{before}log: {{level: {level}}}{after}")
}

#[test]
fn a_watch_goes_on_over_a_new_certificate_and_a_new_configuration() {
    let mut world = World::new(&[]);
    let volume = Volume::mount(&world.gateway.state_dir());
    world.gateway.restart(|config| {
        let own = "cert_file: tls.pem, key_file: tls.key";
        assert!(config.contains(own), "{config}");
        let config = config.replace(own, "cert_file: volume/tls.crt, key_file: volume/tls.key");
        at_level(&config, "info")
    });
    log_in(&world, &volume);

    let kubectl = || world.kubectl(MEMBER, &newest());
    let map = |name: &str| {
        let mut create = kubectl();
        create.args(["create", "configmap", name]);
        run(&create).ok();
    };
    let mut watch = kubectl();
    watch.args(["get", "configmaps", "--watch", "-o", "name"]);
    let watching = Running::start(watch);
    map("before");
    watching.line("configmap/before");

    // By itself, as a kubelet does it.
    volume.swap("v2");
    let taken = || {
        world
            .gateway
            .log()
            .contains("taken=\"certificate\"")
            .then_some(())
    };
    assert!(eventually(taken).is_some(), "{}", world.gateway.log());
    map("between");
    watching.line("configmap/between");

    // A file with a mistake, by SIGHUP: refused, and told where.
    let file = world.gateway.state_dir().join("edited.yaml");
    let good = fs::read_to_string(&file).expect("the configuration");
    fs::write(&file, at_level(&good, "loud")).expect("it can be written");
    world.gateway.hang_up();
    let told = || world.gateway.log().contains("edited.yaml:").then_some(());
    assert!(eventually(told).is_some(), "{}", world.gateway.log());
    let log = world.gateway.log();
    assert!(
        log.contains("log.level: ") && log.contains("refused: what counted before is kept"),
        "{log}"
    );
    let ready = world
        .gateway
        .admin_get("/readyz?verbose")
        .expect("an answer");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("[!]config: "),
        "{ready}"
    );

    // Mended, with another level: lines of that level come.
    fs::write(&file, at_level(&good, "debug")).expect("it can be written");
    world.gateway.hang_up();
    let mended = || {
        let ready = world.gateway.admin_get("/readyz?verbose")?;
        ready.contains("[+]config ok").then_some(())
    };
    assert!(eventually(mended).is_some(), "{}", world.gateway.log());
    map("after");
    watching.line("configmap/after");
    let log = world.gateway.log();
    assert!(log.contains("taken=\"config\" generation=3"), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
    a_stranger_is_worth_a_line(&world);
    world.check_audit();
}

/// Under the authority of the volume.
fn log_in(world: &World, volume: &Volume) {
    let mut login = world.gateway.cli(MEMBER);
    login.args(["login", "--password-stdin", "--username", MEMBER]);
    login.args(["--server", &world.gateway.url, "--ca"]);
    login.arg(&volume.ca);
    run_with(&login, &World::password(MEMBER)).ok();
    world.gateway.kubeconfig(MEMBER, "plugin.yaml", &[]);
}

/// At level debug, and not at level info.
fn a_stranger_is_worth_a_line(world: &World) {
    let address = world.gateway.url.trim_start_matches("https://");
    let mut stranger = TcpStream::connect(address).expect("a connection");
    stranger
        .write_all(b"no TLS at all\r\n")
        .expect("it is taken");
    let line = || {
        world
            .gateway
            .log()
            .contains("DEBUG the TLS handshake failed")
            .then_some(())
    };
    assert!(eventually(line).is_some(), "{}", world.gateway.log());
}
