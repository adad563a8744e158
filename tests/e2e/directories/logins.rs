//! Who gets in, as whom, with which groups.

use super::{
    samba::{BASE, DOMAIN, PASSWORD, Samba},
    slapd::{self, Slapd},
    state::STATED,
    world::{World, home},
};
use crate::testkit::{
    cluster::{LocalCluster, program},
    gateway::kubectl,
    process::{Ran, eventually, run},
};
use std::{collections::BTreeMap, time::Instant};

fn groups(provider: &str, names: &[&str]) -> Vec<String> {
    let mut groups: Vec<String> = names
        .iter()
        .map(|name| format!("{provider}:{name}"))
        .collect();
    groups.sort();
    groups
}

/// Groups that give rights: no lists of addressees.
const SECURITY: &str = "(groupType:1.2.840.113556.1.4.803:=2147483648)";

/// The groups of an account as Active Directory's own rule of membership in a chain finds them, with the primary
/// group and its own.
fn in_chain(ad: &Samba, cn: &str) -> Vec<String> {
    let chain = |dn: &str| {
        let dn = dn
            .replace('\\', "\\5c")
            .replace('(', "\\28")
            .replace(')', "\\29");
        format!("(&{SECURITY}(member:1.2.840.113556.1.4.1941:={dn}))")
    };
    let mut names = ad.values(&chain(&Samba::dn(cn)), "sAMAccountName");
    names.push("Domain Users".to_owned());
    names.extend(ad.values(
        &chain(&format!("CN=Domain Users,CN=Users,{BASE}")),
        "sAMAccountName",
    ));
    names.sort();
    names
}

/// The groups of an account as the directory's own tool finds them, level by level.
fn by_hand(people: &Slapd, cn: &str) -> Vec<String> {
    let escaped = |dn: &str| {
        dn.replace('\\', "\\5c")
            .replace('(', "\\28")
            .replace(')', "\\29")
    };
    let mut level = vec![format!("cn={cn},ou=people,{}", slapd::BASE)];
    let mut found = BTreeMap::new();
    while let Some(dn) = level.pop() {
        let filter = format!("(member={})", escaped(&dn));
        for group in people.values(&filter, "entryDN") {
            let name = people.values(&format!("(entryDN={})", escaped(&group)), "cn");
            if found.insert(group.clone(), name.concat()).is_none() {
                level.push(group);
            }
        }
    }
    let mut names: Vec<String> = found.into_values().collect();
    names.sort();
    names
}

// L3: one account, however its name is spelt.
#[test]
fn people_log_in_by_each_form_of_their_name_over_ldaps_and_starttls() {
    let world = World::start();
    for provider in ["corp", "corp-tls"] {
        for name in [
            "alice",
            "ALICE",
            "CORP\\alice",
            "corp\\Alice",
            &format!("alice@{DOMAIN}"),
            &format!("Alice@{}", DOMAIN.to_uppercase()),
        ] {
            world.login(provider, name, PASSWORD).ok();
            assert_eq!(
                world.whoami(provider, name).0,
                format!("{provider}:alice"),
                "{name}"
            );
        }
        for name in [
            "OTHER\\alice",
            "alice@other.test",
            " alice",
            "alice ",
            "al*",
            "Alice A.",
        ] {
            world
                .login(provider, name, PASSWORD)
                .refused(&["wrong user name or password"]);
        }
    }
    // The primary provider's people have their bare name.
    for (provider, handle) in [("people", "alice"), ("people-tls", "people-tls:alice")] {
        for name in ["alice", "Alice"] {
            world.login(provider, name, PASSWORD).ok();
            assert_eq!(world.whoami(provider, name).0, handle);
        }
    }
    groups_are_exact(&world);
    a_binding_on_a_group_opens_a_cluster(&world);
    the_command_for_administrators(&world);
}

fn groups_are_exact(world: &World) {
    for (cn, name) in [("Alice", "alice"), ("Müller\\, Jürgen (Ext)", "jmueller")] {
        let expected: Vec<String> = in_chain(&world.ad, cn);
        assert!(expected.contains(&"staff".to_owned()), "{expected:?}");
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        for provider in ["corp", "corp-tls"] {
            world.login(provider, name, PASSWORD).ok();
            assert_eq!(
                world.whoami(provider, name).1,
                groups(provider, &expected),
                "{name}"
            );
        }
    }
    for provider in ["people", "people-tls"] {
        assert_eq!(
            by_hand(&world.people, "Alice"),
            ["Ops (EU), night", "developers", "staff"]
        );
        for name in ["alice", "jmueller"] {
            world.login(provider, name, PASSWORD).ok();
            // By way of the circle, Jürgen is a developer too.
            let all = groups(provider, &["developers", "Ops (EU), night", "staff"]);
            assert_eq!(world.whoami(provider, name).1, all, "{name} at {provider}");
        }
    }
    // developers, Ops (EU) night and staff; Active Directory has Domain Users and Users besides.
    for (provider, more) in [("corp", 5), ("people", 3), ("people-tls", 3)] {
        world.login(provider, "many", PASSWORD).ok();
        let (_, groups) = world.whoami(provider, "many");
        assert_eq!(groups.len(), 1_000 + more, "{provider}");
    }
}

fn a_binding_on_a_group_opens_a_cluster(world: &World) {
    let cluster = LocalCluster::start();
    let kubeconfig = cluster.admin_kubeconfig.to_str().expect("a path");
    world.admin(&[
        "cluster",
        "add",
        "local",
        "--kubeconfig",
        kubeconfig,
        "--yes",
    ]);
    for provider in ["corp", "people"] {
        let group = format!("{provider}:developers");
        let said = world.admin(&[
            "bind",
            "cluster-viewer",
            "--group",
            &group,
            "--cluster",
            "local",
        ]);
        assert!(
            said.contains(&format!("{group} holds cluster-viewer")),
            "{said}"
        );
    }
    let unknown = ["bind", "cluster-viewer", "--all-clusters", "--group"];
    for (group, why) in [
        ("corp:nobodies", "Not found"),
        ("corp:addressees", "Not found"),
        ("nowhere:developers", "there is no such provider"),
    ] {
        let mut arguments = unknown.to_vec();
        arguments.push(group);
        world.palisade("local", "admin", &arguments).refused(&[why]);
    }
    // The same file for everybody: it names no one.
    let sees_namespaces = |provider: &str, name: &str| {
        kubectl_as(
            world,
            (provider, name),
            &["get", "namespaces", "-o", "name"],
        )
    };
    for provider in ["corp", "people"] {
        let said = sees_namespaces(provider, "alice").ok();
        assert!(said.contains("namespace/default"), "{said}");
    }
    // Who is not in the group, and the people of the other providers, hold nothing there.
    for (provider, name) in [("corp", "jmueller"), ("corp-tls", "alice")] {
        sees_namespaces(provider, name).refused(&[]);
        let said = world
            .palisade(provider, name, &["clusters", "-o", "json"])
            .ok();
        assert!(!said.contains("local"), "{said}");
    }
    a_group_holds_a_role_in_a_project(world, &cluster);
}

fn kubectl_as(world: &World, (provider, name): (&str, &str), arguments: &[&str]) -> Ran {
    let person = home(provider, name);
    let file = world.gateway.kubeconfig(&person, "config.yaml", &[]);
    let mut command = kubectl(&program("kubectl"), &file);
    command.env(
        "PALISADE_CONFIG_DIR",
        world.gateway.home(&person).join("palisade"),
    );
    run(command.args(arguments))
}

/// A member of the directory's group works in the project's namespace, and does not any more once taken out of the
/// group, with the login that they have.
fn a_group_holds_a_role_in_a_project(world: &World, cluster: &LocalCluster) {
    for name in ["review-1", "other"] {
        run(cluster.kubectl().args(["create", "namespace", name])).ok();
    }
    world.admin(&[
        "project",
        "add",
        "review",
        "--cluster",
        "local",
        "-n",
        "review-*",
    ]);
    let group = ["--group", "corp:reviewers"];
    let role = ["bind", "project-member", "--project", "review"];
    world.admin(&[&role[..], &group].concat());
    let write = |namespace: &str, name: &str| {
        let map = ["create", "configmap", name, "-n", namespace];
        kubectl_as(world, ("corp", "jmueller"), &map)
    };
    // The cluster comes into step.
    let mut number = 0;
    let made = eventually(|| {
        number += 1;
        (write("review-1", &format!("made-{number}")).code == Some(0)).then_some(())
    });
    assert!(made.is_some(), "{}", write("review-1", "made"));
    write("other", "made").refused(&["is forbidden"]);
    let out = Instant::now();
    world.ad.modify(&format!(
        "dn: {}\nchangetype: modify\ndelete: member\n",
        Samba::dn("reviewers")
    ));
    let refused = eventually(|| {
        number += 1;
        let ran = write("review-1", &format!("made-{number}"));
        (ran.code != Some(0)).then_some(ran)
    });
    let refused = refused.expect("who is out of the group goes on");
    assert!(out.elapsed() < STATED, "{:?}", out.elapsed());
    // The cluster's words or the gateway's, by which of kubectl's requests was the first without the group: the role
    // was all that they held.
    let said = format!("{}{}", refused.stdout, refused.stderr);
    let forbidden = ["is forbidden", "holds no role on cluster \"local\""];
    assert!(forbidden.iter().any(|it| said.contains(it)), "{said}");
    // It is the group's right that is gone, and not the login.
    assert_eq!(world.whoami("corp", "jmueller").0, "corp:jmueller");
}

fn the_command_for_administrators(world: &World) {
    let file = world.gateway.state_dir().join("edited.yaml");
    let file = file.to_str().expect("a path");
    let said = world.admin(&["provider", "list", "--config", file]);
    assert!(
        said.contains("people") && said.contains("enabled, primary"),
        "{said}"
    );
    let check = |name: &str, user: &str| {
        world.palisade(
            "local",
            "admin",
            &["provider", "check", name, "--config", file, "--user", user],
        )
    };
    for provider in ["corp", "people", "people-tls"] {
        let said = check(provider, "many").ok();
        // 1,000 groups in under a second; another test may have the machine for a while.
        let fast = eventually(|| {
            let said = check(provider, "many").ok();
            let line = said.lines().find(|line| line.starts_with("groups"))?;
            let took = line.split(['(', ' ']).rev().nth(1)?;
            (took.parse::<u32>().ok()? < 1_000).then_some(())
        });
        assert!(fast.is_some(), "{provider}: {said}");
        assert!(said.contains("and 95"), "{said}");
    }
    for (name, state) in [
        ("bob", "disabled"),
        ("carol", "locked"),
        ("dave", "expired"),
    ] {
        let ran = check("corp", name);
        assert!(
            ran.stdout.contains(&format!("state               {state}")),
            "{ran}"
        );
        assert_eq!(ran.code, Some(1), "{ran}");
    }
    let ran = check("people", "carol");
    assert!(ran.stdout.contains("state               locked"), "{ran}");
    check("corp", "nobody").refused(&["has no account"]);
    check("nowhere", "x").refused(&["no provider \"nowhere\"; there is corp, corp-tls"]);
}
