//! Tokens that count no longer, or not here, and what kubectl says then.

use super::world::{
    LEAVER, MEMBER, ROBOT, VIEWER, World, at_cluster, oldest_and_newest, with_each,
};
use crate::testkit::{
    gateway::kubectl,
    process::{Ran, eventually, run, run_with},
};
use serde_json::Value;
use std::path::Path;

/// A token as `palisade token create` prints it.
struct Token {
    name: String,
    text: String,
}

impl World {
    #[track_caller]
    fn make_token(&self, person: &str, arguments: &[&str]) -> Token {
        let command = [&["token", "create", "-o", "json"], arguments].concat();
        let made: Value =
            serde_json::from_str(&self.palisade(person, &command).ok()).expect("JSON");
        let field = |name: &str| made[name].as_str().expect("a text").to_owned();
        Token {
            name: field("name"),
            text: field("token"),
        }
    }

    /// `kubectl get pods` with this token, in the file of a person.
    fn get_pods(&self, program: &Path, token: &str) -> Ran {
        let file = self.token_config(VIEWER, token);
        run(kubectl(program, &file).args(["get", "pods"]))
    }
}

/// What kubectl prints for a 401 of a stranger.
const STRANGER: &str = "You must be logged in to the server (Unauthorized)";
/// What it makes of the same on discovery, where every text is thrown away.
const STRANGER_AT_DISCOVERY: &str = "the server has asked for the client to provide credentials";

#[track_caller]
fn is_unauthorized(ran: Ran) {
    let said = ran.refused(&[]);
    assert!(
        said.contains(STRANGER) || said.contains(STRANGER_AT_DISCOVERY),
        "{said}"
    );
}

#[test]
fn wrong_and_revoked_tokens_are_nobodys() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |_, program| {
        is_unauthorized(world.get_pods(program, "nonsense"));
        let token = world.make_token(VIEWER, &["--name", "row"]);
        // Right in every way but for its secret.
        let (head, secret) = token.text.rsplit_once('_').expect("a secret");
        let swapped: String = secret.chars().rev().collect();
        is_unauthorized(world.get_pods(program, &format!("{head}_{swapped}")));
        world.get_pods(program, &token.text).ok();
        world
            .palisade(VIEWER, &["token", "revoke", &token.name])
            .ok();
        // From the next request on: nothing is kept.
        is_unauthorized(world.get_pods(program, &token.text));
    });
    world.check_audit();
}

#[test]
fn an_expired_token_is_told_so() {
    let world = World::shared();
    with_each(&oldest_and_newest(), |_, program| {
        // Discovery is in the cache from now on: its answers show no text.
        let token = world.make_token(VIEWER, &["--name", "row"]);
        world.get_pods(program, &token.text).ok();
        let token = world.make_token(VIEWER, &["--ttl", "3s"]);
        let get = || world.get_pods(program, &token.text);
        let refused = eventually(|| Some(get()).filter(|ran| ran.code != Some(0)));
        refused
            .expect("it ends")
            .refused(&["your login has expired: run `palisade login`"]);
    });
    world.check_audit();
}

#[test]
fn a_token_of_one_cluster_is_good_for_that_cluster_alone() {
    let world = World::shared();
    world.register_other();
    with_each(&oldest_and_newest(), |version, program| {
        let here = world.make_token(VIEWER, &["--cluster", "local"]);
        world.get_pods(program, &here.text).ok();
        let mut list = world.gateway.cli(VIEWER);
        list.env("PALISADE_TOKEN", &here.text)
            .args(["token", "list"]);
        run(&list)
            .refused(&["this token is valid for clusters only, not for the gateway's own API"]);

        // P12.
        let elsewhere = world.make_token(VIEWER, &["--cluster", "other"]);
        let wanted = "this token is not valid for cluster \"local\" (request ";
        world.get_pods(program, &elsewhere.text).refused(&[wanted]);
        // And the right one, which no operator has connected: the user is not to blame.
        let file = world.token_config(VIEWER, &elsewhere.text);
        let other = at_cluster(&file, "other", version);
        let wanted = "is registered, but not connected yet: an operator has to run";
        run(kubectl(program, &other).args(["get", "pods"])).refused(&[wanted]);
    });
    world.check_audit();
}

#[test]
fn a_machine_user_works_with_its_token() {
    let world = World::shared();
    let token = world.make_token("admin", &["--user", ROBOT]);
    with_each(&oldest_and_newest(), |_, program| {
        assert!(world.get_pods(program, &token.text).ok().contains("shell"));
        let file = world.token_config(VIEWER, &token.text);
        let refused = run(kubectl(program, &file).args(["delete", "pod", "shell"]));
        refused.refused(&["User \"robot\" cannot delete resource \"pods\""]);
    });
    let password = run_with(
        world
            .gateway
            .cli("admin")
            .args(["user", "password", ROBOT, "--password-stdin"]),
        "long enough, this one\n",
    );
    password.refused(&["a machine user has no password"]);
    world.check_audit();
}

#[test]
fn a_disabled_user_is_out_from_the_next_request_on() {
    let world = World::shared();
    world.add_person(LEAVER);
    world.admin(&[
        "bind",
        "cluster-viewer",
        "--user",
        LEAVER,
        "--cluster",
        "local",
    ]);
    world.gateway.kubeconfig(LEAVER, "plugin.yaml", &[]);
    world
        .gateway
        .kubeconfig(LEAVER, "static.yaml", &["--static"]);
    let pods = ["get", "pods"];
    with_each(&oldest_and_newest()[..1], |_, program| {
        let plugin = || run(world.kubectl(LEAVER, program).args(pods));
        let fixed = || run(world.kubectl_static(LEAVER, program).args(pods));
        plugin().ok();
        fixed().ok();
        world.admin(&["user", "disable", LEAVER]);
        fixed().refused(&["this account is disabled"]);
        plugin().refused(&["run palisade login"]);
        world.admin(&["user", "enable", LEAVER]);
        plugin().ok();
        fixed().ok();
        // Whoever loses the role keeps the account, and nothing else.
        let bindings = world.admin(&["bindings", "--user", LEAVER, "-o", "json"]);
        let bindings: Value = serde_json::from_str(&bindings).expect("JSON");
        let name = bindings["items"][0]["metadata"]["name"]
            .as_str()
            .expect("a binding");
        world.admin(&["unbind", name]);
        plugin().refused(&["user \"dora\" holds no role on cluster \"local\""]);
        world.palisade(LEAVER, &["logout"]).ok();
        plugin().refused(&["run palisade login"]);
    });
    world.check_audit();
}

#[test]
fn a_token_never_reaches_a_log_or_the_cluster() {
    let world = World::shared();
    let token = world.make_token(MEMBER, &[]);
    let (_, secret) = token.text.rsplit_once('_').expect("a secret");
    world.get_pods(&super::world::newest(), &token.text).ok();
    world.check_audit();
    let log = world.gateway.log();
    assert!(log.contains(&token.name) && !log.contains(secret));
    let audit = std::fs::read_to_string(&world.local.audit_log).expect("the audit log");
    assert!(audit.contains(&token.name) && !audit.contains(secret));
}
