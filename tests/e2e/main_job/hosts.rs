//! A gateway that is started again with host names for its clusters, and a cluster that goes down behind
//! it. Each in a world of its own, since it changes what others stand on.

use super::world::{MEMBER, VIEWER, World, newest, oldest_and_newest, with_each};
use crate::testkit::{
    cluster::kubectls,
    process::{Running, eventually, run, run_with},
    tunnel,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{fs, path::Path, process::Command};

/// Clusters are below it. No resolver knows it.
const BASE: &str = "palisade.test";

/// Writes a certificate for the gateway and its clusters; returns the file of its authority.
fn certificates(folder: &Path) -> std::path::PathBuf {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().expect("a key");
    let signed = authority.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(authority, key);
    let names = vec!["localhost".to_owned(), format!("*.{BASE}")];
    let server_key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(names).expect("parameters");
    let server = server
        .signed_by(&server_key, &issuer)
        .expect("a certificate");
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("it can be written");
        folder.join(name)
    };
    write("hosts.pem", server.pem());
    write("hosts.key", server_key.serialize_pem());
    write("hosts-ca.pem", signed.pem())
}

#[test]
fn clusters_have_host_names_after_a_restart_with_a_base_domain() {
    let mut world = World::new(&[]);
    let ca = certificates(&world.gateway.state_dir());
    world.gateway.restart(|config| {
        let own = "cert_file: tls.pem, key_file: tls.key";
        assert!(config.contains(own), "{config}");
        let config = config.replace(own, "cert_file: hosts.pem, key_file: hosts.key");
        format!("{config}base_domain: {BASE}\n")
    });
    let mut login = world.gateway.cli(MEMBER);
    login.args(["login", "--password-stdin", "--username", MEMBER]);
    login.args(["--server", &world.gateway.url, "--ca"]).arg(ca);
    run_with(&login, &World::password(MEMBER)).ok();
    let file = world.gateway.kubeconfig(MEMBER, "plugin.yaml", &[]);
    let config = fs::read_to_string(file).expect("a kubeconfig");
    let (_, port) = world.gateway.url.rsplit_once(':').expect("a port");
    let server = format!("server: https://local.{BASE}:{port}\n");
    assert!(config.contains(&server), "{config}");

    let proxy = tunnel::start(&format!("127.0.0.1:{port}"));
    with_each(&kubectls(), |version, program| {
        let kubectl = || {
            let mut command = world.kubectl(MEMBER, program);
            command.env("HTTPS_PROXY", &proxy).env_remove("NO_PROXY");
            command
        };
        // What paths cannot give to every kubectl: these two know nothing of a server's path.
        let about = run(kubectl().args(["get", "--raw", "/version"])).ok();
        assert!(about.contains("\"minor\": \"36\""), "{version}: {about}");
        let mut proxying = kubectl();
        proxying.args(["proxy", "--port=0"]);
        let proxying = Running::start(proxying);
        let line = proxying.line("Starting to serve on ");
        let (_, address) = line.split_once(" on ").expect("an address");
        let answer = super::streams::get(address, "/api/v1/namespaces/default/pods/shell");
        assert!(answer.starts_with("HTTP/1.1 200"), "{version}: {answer}");

        let ran = run(kubectl().args(["exec", "shell", "--", "sh", "-c", "echo out; exit 3"]));
        assert_eq!(ran.code, Some(3), "{version}: {ran}");
        assert_eq!(ran.stdout, "out\n", "{version}: {ran}");
        // Such a host is the cluster's alone.
        for path in ["/v1/login/providers", "/k8s/clusters/local/version"] {
            run(kubectl().args(["get", "--raw", path])).refused(&["Error from server"]);
        }
    });
    assert!(world.check_audit() > 0);
    world.gateway.stop();
}

#[test]
fn a_cluster_that_is_down_is_told_at_once() {
    let mut world = World::new(&[]);
    // Discovery is in the cache of one of them, and not of the other.
    let cold = world.kubectl_static(VIEWER, &newest());
    for (_, program) in oldest_and_newest() {
        run(world.kubectl(MEMBER, &program).args(["get", "pods"])).ok();
    }
    let mut follow = world.kubectl(MEMBER, &newest());
    follow.args(["logs", "-f", "ticker"]);
    let mut following = Running::start(follow);
    following.line("tick ");
    world.check_audit();

    world.local.stop();
    // The stream ends with its cluster, and nobody waits for ever.
    following.wait();
    let known = eventually(|| {
        let listed = world.palisade(VIEWER, &["clusters"]).ok();
        (!listed.contains("Ready")).then_some(listed)
    });
    let known = known.expect("the gateway notices");
    assert!(known.contains("local"), "{known}");
    for (_, program) in oldest_and_newest() {
        let wanted = "the cluster cannot be reached from the gateway (request ";
        let get = run(world.kubectl(MEMBER, &program).args(["get", "pods"]));
        world.is_quick(
            &get.refused(&["Error from server (ServiceUnavailable)", wanted]),
            503,
        );
        let exec = run(world
            .kubectl(MEMBER, &program)
            .args(["exec", "shell", "--", "true"]));
        world.is_quick(&exec.refused(&[wanted]), 503);
    }
    let cold = run(&command_with(cold, &["get", "pods"]));
    world.is_quick(
        &cold.refused(&["the cluster cannot be reached from the gateway"]),
        502,
    );
    world.gateway.stop();
}

fn command_with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

impl World {
    /// The request that this refusal names was answered within a second, by the gateway's own clock:
    /// kubectl itself may take longer on a busy machine.
    #[track_caller]
    fn is_quick(&self, said: &str, code: u16) {
        let (_, rest) = said.rsplit_once("(request ").expect("an id");
        let (id, _) = rest.split_once(')').expect("an id");
        let line = eventually(|| {
            let log = self.gateway.log();
            let line = log.lines().find(|line| line.contains(id))?;
            Some(line.to_owned())
        });
        let line = line.expect("it is in the log");
        let field = |name: &str| {
            let (_, rest) = line.split_once(name)?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        };
        assert_eq!(field(" code="), Some(u64::from(code)), "{line}");
        assert!(field(" ms=").is_some_and(|ms| ms < 1000), "{line}");
    }
}
