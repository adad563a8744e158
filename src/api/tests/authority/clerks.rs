//! Those who may write some kinds of the gateway's own API, and hold no more.

use super::*;
use crate::authz::PolicyFolder;

/// A clerk: jane, who may write these kinds of the gateway's own API and holds no more.
async fn clerk(world: &World, resources: &[&str]) -> Caller {
    let every = ["get", "list", "create", "update", "patch", "delete"];
    world
        .give(
            "jane",
            "u-jane",
            "clerk",
            vec![rule(GROUP, resources, &every)],
        )
        .await;
    caller("jane", "u-jane", Reach::All)
}

async fn changed(world: &World, path: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut object = world.root("GET", path, Value::Null).await.1;
    change(&mut object);
    object
}

// CVE-2020-10676: a namespace is given to all who are bound in the project, so it is theirs alone to add who hold on
// the cluster what those hold in the project.
#[tokio::test]
async fn namespaces_are_given_by_those_who_hold_them() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["projects"]).await;
    for namespaces in [
        json!(["shop", "shop-*", "bank"]),
        json!(["*"]),
        json!(["sh*"]),
        // To take one away is to decide about it too.
        json!(["shop"]),
    ] {
        let wanted = changed(&world, "projects/shop", |shop| {
            shop["spec"]["namespaces"] = namespaces;
        });
        let got = world
            .ask(&clerk, "PUT", "projects/shop", &wanted.await)
            .await;
        forbidden(
            &got,
            "it gives rights that they do not hold on cluster \"prod\" for good",
        );
    }
    let told = changed(&world, "projects/shop", |shop| {
        shop["spec"]["description"] = "All that is sold.".into();
    });
    let got = world.ask(&clerk, "PUT", "projects/shop", &told.await).await;
    assert_eq!(got.0, 200, "{}", got.1);
    // Who works on the whole cluster as the owners do in the project may: what they add is theirs.
    world
        .bind_on_prod("pods", "pods", subject(SubjectKind::User, "jane"))
        .await;
    world
        .put(binding_of("janes", "worker", "mia", "shop"), "b-janes")
        .await;
    let wanted = changed(&world, "projects/shop", |shop| {
        shop["spec"]["namespaces"] = json!(["shop", "shop-*", "bank"]);
    });
    let got = world
        .ask(&clerk, "PUT", "projects/shop", &wanted.await)
        .await;
    assert_eq!(got.0, 200, "{}", got.1);
    // Of an empty project nobody holds anything yet.
    let empty =
        json!({"metadata": {"name": "new"}, "spec": {"cluster": "prod", "namespaces": ["new"]}});
    assert_eq!(world.ask(&clerk, "POST", "projects", &empty).await.0, 201);
}

#[tokio::test]
async fn a_group_is_joined_by_those_who_hold_what_it_holds() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["groups", "users", "users/password", "tokens"]).await;
    world
        .put(Group::new("team", GroupSpec::default()), "u-team")
        .await;
    world
        .bind_on_prod("team", "pods", subject(SubjectKind::Group, "team"))
        .await;
    let joined = changed(&world, "groups/team", |team| {
        team["spec"]["members"] = json!([{"name": "jane"}]);
    })
    .await;
    let more = "it gives rights that they do not hold on cluster \"prod\" for good";
    forbidden(
        &world.ask(&clerk, "PUT", "groups/team", &joined).await,
        more,
    );
    assert_eq!(
        world.root("PUT", "groups/team", joined.clone()).await.0,
        200
    );
    let mut with_mia = joined;
    with_mia["metadata"] =
        world.root("GET", "groups/team", Value::Null).await.1["metadata"].clone();
    with_mia["spec"]["members"] = json!([{"name": "jane"}, {"name": "mia"}]);
    assert_eq!(world.root("PUT", "groups/team", with_mia).await.0, 200);
    // Mia holds it by the group: whoever becomes her would too.
    let outsider = {
        let every = ["get", "create", "update", "delete"];
        let rules = vec![rule(GROUP, &["users", "users/password", "tokens"], &every)];
        world.put_user("bob", "u-bob").await;
        world.give("bob", "u-bob", "desk", rules).await;
        caller("bob", "u-bob", Reach::All)
    };
    let token = json!({"metadata": {}, "spec": {"user": {"name": "mia"}}});
    for (method, path, body) in [
        (
            "PUT",
            "users/mia/password",
            json!({"password": "correct horse battery"}),
        ),
        ("DELETE", "users/mia", Value::Null),
        ("POST", "tokens", token),
    ] {
        forbidden(&world.ask(&outsider, method, path, &body).await, more);
    }
}

// CVE-2021-36784: a role that others hold is widened by nobody who does not hold what it says, everywhere.
#[tokio::test]
async fn a_role_grows_by_those_who_hold_what_it_says() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["roles"]).await;
    world
        .bind_on_prod("pods", "pods", subject(SubjectKind::User, "jane"))
        .await;
    // Held on one cluster is not held wherever the role can be bound.
    let more = "it gives rights that they do not hold on every cluster for good";
    for (path, rules) in [
        (
            "roles/worker",
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]),
        ),
        (
            "roles/worker",
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]),
        ),
        (
            "roles/pods",
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
        ),
        // What jane herself holds in her project, by a role that inherits.
        (
            "roles/owner",
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["nodes"]}]),
        ),
    ] {
        let wanted = changed(&world, path, |role| {
            role["spec"]["rules"] = rules;
        })
        .await;
        forbidden(&world.ask(&clerk, "PUT", path, &wanted).await, more);
    }
    // By inheritance, also through two roles.
    world
        .role("far", RoleScope::Project, &["reader"], vec![])
        .await;
    let heir = changed(&world, "roles/worker", |role| {
        role["spec"]["rules"] = json!([]);
        role["spec"]["inherits"] = json!(["far"]);
    })
    .await;
    forbidden(
        &world.ask(&clerk, "PUT", "roles/worker", &heir).await,
        "secrets",
    );
    // A role that shrinks gives nothing.
    let none = changed(&world, "roles/worker", |role| {
        role["spec"]["rules"] = json!([]);
    })
    .await;
    assert_eq!(world.ask(&clerk, "PUT", "roles/worker", &none).await.0, 200);
    // Too much to compare is refused, whatever it is.
    let many: Vec<String> = (0..200).map(|n| format!("r{n}")).collect();
    let huge = json!({"metadata": {"name": "huge"}, "spec": {"scope": "cluster",
        "rules": [{"verbs": many, "apiGroups": many, "resources": many}]}});
    let got = world.ask(&clerk, "POST", "roles", &huge).await;
    forbidden(&got, "too many to compare");
}

#[tokio::test]
async fn a_clusters_labels_and_address_are_set_by_those_who_hold_everything_there() {
    let world = World::with_projects().await;
    let clerk = clerk(
        &world,
        &["clusters", "clusters/credential", "clusters/sync"],
    )
    .await;
    let labelled = changed(&world, "clusters/prod", |prod| {
        prod["metadata"]["labels"] = json!({"env": "dev"});
    })
    .await;
    let moved = changed(&world, "clusters/prod", |prod| {
        prod["spec"]["server"] = "https://elsewhere.example:6443".into();
    })
    .await;
    let there = "it gives rights that they do not hold on cluster \"prod\" for good";
    for (method, path, body) in [
        ("PUT", "clusters/prod", labelled),
        ("PUT", "clusters/prod", moved),
        ("DELETE", "clusters/prod", Value::Null),
        (
            "PUT",
            "clusters/prod/credential",
            json!({"reconciler": "x"}),
        ),
        ("POST", "clusters/prod/sync", Value::Null),
    ] {
        forbidden(&world.ask(&clerk, method, path, &body).await, there);
    }
    let new = world.ask(&clerk, "POST", "clusters", &cluster("new")).await;
    forbidden(&new, "on every cluster for good");
}

// What the policy folder gives is held, and given, as what the store has.
#[tokio::test]
async fn what_a_folder_binds_counts_as_held_and_as_given() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["groups", "bindings"]).await;
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: boss}
spec: {role: admin, subject: {kind: Group, name: bosses}}
---
apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {name: watcher}
spec: {scope: global, rules: [{apiGroups: [palisade.dev], resources: [users], verbs: [get]}]}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: watcher}
spec: {role: watcher, subject: {kind: User, name: jane}}
";
    std::fs::write(folder.path().join("p.yaml"), text).unwrap();
    let load = |text: &str| {
        std::fs::write(folder.path().join("p.yaml"), text).unwrap();
        let loaded = PolicyFolder::load(folder.path()).unwrap();
        world.api.authz.set_folder(loaded, &world.api.index);
    };
    load(text);
    let more = "it gives rights that they do not hold on the gateway's own API for good";
    // Nobody is in the group yet, which is not there: whoever makes it makes admins.
    let got = world
        .ask(&clerk, "POST", "groups", &group("bosses", &["jane"]))
        .await;
    forbidden(&got, more);
    assert_eq!(
        world
            .ask(&clerk, "POST", "groups", &group("bosses", &[]))
            .await
            .0,
        201
    );
    let joined = changed(&world, "groups/bosses", |bosses| {
        bosses["spec"]["members"] = json!([{"name": "jane"}]);
    })
    .await;
    forbidden(
        &world.ask(&clerk, "PUT", "groups/bosses", &joined).await,
        more,
    );
    // What jane holds by the folder she gives, as long as it stands there.
    let given = binding("mia", "watcher", "mia");
    let got = world.ask(&clerk, "POST", "bindings", &given).await;
    assert_eq!(got.0, 201, "{}", got.1);
    let (kept, _) = text.split_at(text.rfind("---").unwrap());
    load(kept);
    let again = binding("again", "watcher", "mia");
    forbidden(&world.ask(&clerk, "POST", "bindings", &again).await, more);
}

#[tokio::test]
async fn what_hangs_on_a_project_or_its_cluster_goes_with_it() {
    let world = World::with_projects().await;
    world.bind_in("other", "worker", "mia", "store", None).await;
    for n in 0..150 {
        world
            .bind_in(&format!("many-{n}"), "worker", "mia", "shop", None)
            .await;
    }
    assert_eq!(
        world.root("DELETE", "projects/shop", Value::Null).await.0,
        200
    );
    let left = world.root("GET", "bindings", Value::Null).await;
    assert_eq!(names(&left), ["other", "root"]);
    assert_eq!(
        world.root("DELETE", "clusters/prod", Value::Null).await.0,
        200
    );
    let left = world.root("GET", "bindings", Value::Null).await;
    assert_eq!(names(&left), ["root"]);
    let left = world.root("GET", "projects", Value::Null).await;
    assert_eq!(names(&left), Vec::<&str>::new());
}

// The number of bindings must not be what the last admin's guard costs: somebody is being shut out.
#[tokio::test]
async fn who_is_disabled_does_not_wait_for_all_bindings_to_be_read() {
    let world = World::with_projects().await;
    for n in 0..600 {
        world
            .bind_in(&format!("many-{n}"), "worker", "mia", "shop", None)
            .await;
    }
    let disabled = changed(&world, "users/jane", |jane| {
        jane["spec"]["disabled"] = true.into();
    })
    .await;
    let Store::Memory(memory) = &world.store else {
        panic!("another store");
    };
    let before = memory.reads();
    assert_eq!(world.root("PUT", "users/jane", disabled).await.0, 200);
    let reads = memory.reads() - before;
    assert!(reads < 30, "{reads} keys were read");
}

#[tokio::test]
async fn a_user_of_very_many_groups_is_for_those_who_may_bind_every_role() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["users", "users/password"]).await;
    let members = vec![Member {
        name: "mia".to_owned(),
        uid: "u-mia".to_owned(),
    }];
    for n in 0..65 {
        let spec = GroupSpec {
            members: members.clone(),
            ..GroupSpec::default()
        };
        let name = format!("g{n}");
        world
            .put(Group::new(&name, spec), &format!("u-{name}"))
            .await;
    }
    let password = json!({"password": "correct horse battery"});
    let got = world
        .ask(&clerk, "PUT", "users/mia/password", &password)
        .await;
    forbidden(&got, "in more than 64 groups");
    let got = world
        .root("PUT", "users/mia/password", password.clone())
        .await;
    assert_eq!(got.0, 200, "{}", got.1);
    world.root("DELETE", "groups/g64", Value::Null).await;
    let got = world
        .ask(&clerk, "PUT", "users/mia/password", &password)
        .await;
    assert_eq!(got.0, 200, "{}", got.1);
}

// Whoever holds everything for two hours gives nothing for longer, and takes away what they like.
#[tokio::test]
async fn an_hour_of_the_verbs_bind_and_escalate_gives_nothing_for_good() {
    let world = World::with_projects().await;
    let end = in_hours(2);
    let spec = BindingSpec {
        role: "admin".to_owned(),
        subject: subject(SubjectKind::User, "jane"),
        expires_at: Some(end),
        ..BindingSpec::default()
    };
    world
        .put(Binding::new("for-a-while", spec), "b-while")
        .await;
    let jane = caller("jane", "u-jane", Reach::All);
    let ask =
        async |method: &str, path: &str, body: Value| world.ask(&jane, method, path, &body).await;
    let admin = |name: &str, until: Option<Timestamp>| {
        let mut wanted = binding(name, "admin", "jane");
        if let Some(until) = until {
            wanted["spec"]["expiresAt"] = until.to_string().into();
        }
        wanted
    };
    forbidden(
        &ask("POST", "bindings", admin("more", None)).await,
        "for good",
    );
    let later = ask("POST", "bindings", admin("more", Some(in_hours(3)))).await;
    forbidden(&later, "that they do not hold");
    let as_long = ask("POST", "bindings", admin("more", Some(end))).await;
    assert_eq!(as_long.0, 201, "{}", as_long.1);
    let role = json!({"metadata": {"name": "wide"}, "spec": {"scope": "cluster", "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}});
    forbidden(&ask("POST", "roles", role).await, "for good");
    // What only takes away needs the right now.
    let got = ask("DELETE", "bindings/janes", Value::Null).await;
    assert_eq!(got.0, 200, "{}", got.1);
    let mut mia = world.root("GET", "users/mia", Value::Null).await.1;
    mia["spec"]["disabled"] = true.into();
    let got = ask("PUT", "users/mia", mia).await;
    assert_eq!(got.0, 200, "{}", got.1);
}

// A binding in a project that is not the one of that name now counts again when that one goes: it is nobody's to give.
#[tokio::test]
async fn what_counts_in_no_project_now_is_not_free_to_take() {
    let world = World::with_projects().await;
    let clerk = clerk(&world, &["bindings"]).await;
    let spec = BindingSpec {
        role: "owner".to_owned(),
        subject: subject(SubjectKind::User, "mia"),
        project: "shop".to_owned(),
        project_uid: "u-another-shop".to_owned(),
        ..BindingSpec::default()
    };
    world.put(Binding::new("old", spec), "b-old").await;
    let mut old = world.root("GET", "bindings/old", Value::Null).await.1;
    old["spec"]["subject"] = json!({"kind": "User", "name": "jane"});
    let got = world.ask(&clerk, "PUT", "bindings/old", &old).await;
    forbidden(
        &got,
        "it gives rights that they do not hold in project \"shop\"",
    );
}
