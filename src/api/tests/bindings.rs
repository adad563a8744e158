//! Bindings.

use super::*;

#[tokio::test]
async fn a_binding_names_its_subject_by_uid() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!(got.0, 201, "{}", got.1);
    assert_eq!(
        got.1["spec"]["subject"],
        json!({"kind": "User", "name": "jane", "uid": "u-jane"})
    );
    grant["metadata"]["name"] = "y".into();
    grant["spec"]["subject"] = json!({"kind": "User", "name": "jane", "uid": "u-before"});
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.subject.uid"]));
    for (subject, field) in [
        (
            json!({"kind": "User", "name": "nobody"}),
            "spec.subject.name",
        ),
        (
            json!({"kind": "Group", "name": "jane"}),
            "spec.subject.name",
        ),
        (json!({"kind": "User", "name": ""}), "spec.subject.name"),
    ] {
        grant["spec"]["subject"] = subject;
        let got = world.root("POST", "bindings", grant.clone()).await;
        assert_eq!((got.0, fields(&got)), (422, vec![field]));
    }
}

#[tokio::test]
async fn the_scope_fits_the_roles() {
    let world = World::new().await;
    world.root("POST", "clusters", cluster("prod")).await;
    for (role, place, expected) in [
        ("admin", json!({}), None),
        (
            "admin",
            json!({"allClusters": true}),
            Some("spec.allClusters"),
        ),
        (
            "admin",
            json!({"clusters": ["prod"]}),
            Some("spec.clusters"),
        ),
        ("viewer", json!({}), Some("spec.clusters")),
        ("viewer", json!({"allClusters": true}), None),
        ("viewer", json!({"clusters": ["prod"]}), None),
        ("viewer", json!({"clusterSelector": {"env": "prod"}}), None),
        (
            "viewer",
            json!({"clusters": ["prod"], "allClusters": true}),
            Some("spec.clusters"),
        ),
        (
            "viewer",
            json!({"clusters": ["prod", "prod"]}),
            Some("spec.clusters[1]"),
        ),
        // A grant never waits for a name to be taken.
        (
            "viewer",
            json!({"clusters": ["later"]}),
            Some("spec.clusters[0]"),
        ),
        (
            "viewer",
            json!({"clusterSelector": {"-": "x"}}),
            Some("spec.clusterSelector"),
        ),
        ("none", json!({"allClusters": true}), Some("spec.role")),
        ("authenticated", json!({}), Some("spec.role")),
        ("", json!({}), Some("spec.role")),
    ] {
        let mut grant = binding("x", role, "jane");
        grant["spec"]
            .as_object_mut()
            .unwrap()
            .extend(place.as_object().unwrap().clone());
        let got = world.root("POST", "bindings?dryRun=All", grant).await;
        match expected {
            None => assert_eq!(got.0, 201, "{role} {place}: {}", got.1),
            Some(field) => assert_eq!(
                (got.0, fields(&got)),
                (422, vec![field]),
                "{role} {place}: {}",
                got.1
            ),
        }
    }
}

#[tokio::test]
async fn a_binding_ends_in_the_future() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    grant["spec"]["expiresAt"] = in_hours(-1).to_string().into();
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.expiresAt"]));
    grant["spec"]["expiresAt"] = in_hours(1).to_string().into();
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
}

// CVE-2019-14436: what a binding gives is settled when it is made.
#[tokio::test]
async fn the_role_of_a_binding_stays() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    let mut made = world.root("POST", "bindings", grant).await.1;
    made["spec"]["role"] = "admin".into();
    made["spec"]["allClusters"] = false.into();
    let got = world.root("PUT", "bindings/x", made).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.role"]));
}

#[tokio::test]
async fn a_binding_to_somebody_gone_can_still_be_changed() {
    let world = World::new().await;
    let spec = BindingSpec {
        role: "viewer".to_owned(),
        subject: Subject {
            kind: SubjectKind::User,
            name: "ghost".to_owned(),
            uid: "u-ghost".to_owned(),
        },
        all_clusters: true,
        ..BindingSpec::default()
    };
    world.put(Binding::new("old", spec), "b-old").await;
    let mut old = world.root("GET", "bindings/old", Value::Null).await.1;
    old["metadata"]["labels"] = json!({"seen": "yes"});
    let got = world.root("PUT", "bindings/old", old.clone()).await;
    assert_eq!(got.0, 200, "{}", got.1);
    old = got.1;
    old["spec"]["subject"] = json!({"kind": "User", "name": "jane"});
    let got = world.root("PUT", "bindings/old", old).await;
    assert_eq!(
        (got.0, &got.1["spec"]["subject"]["uid"]),
        (200, &json!("u-jane"))
    );
}

/// A GitHub and an OpenID provider, of which nobody is asked.
const PROVIDERS: &str = "
external_url: https://gate.example
tls: {cert_file: c, key_file: k}
state: {store: s, key_file: k}
providers:
  hub: {github: {client_id: a, client_secret_file: b, organizations: [acme]}}
  sso: {access: {mode: danger_anyone}, oidc: {issuer: 'https://sso.example', client_id: a}}
";

#[tokio::test]
async fn groups_at_github_are_named_once_somebody_is_in_them_and_those_of_an_issuer_at_once() {
    let world = World::new().await;
    let config = crate::config::read(PROVIDERS, std::path::Path::new("/")).unwrap();
    world.api.login.providers.replace(&config.providers);
    let mut number = 0;
    let mut bind = async |group: &str| {
        number += 1;
        let mut grant = binding(&format!("x{number}"), "viewer", "jane");
        grant["spec"]["allClusters"] = true.into();
        grant["spec"]["subject"] = json!({"kind": "Group", "name": group});
        let (code, body) = world.root("POST", "bindings", grant).await;
        let subject = &body["spec"]["subject"];
        match code {
            201 => format!(
                "{}={}",
                subject["name"].as_str().unwrap(),
                subject["uid"].as_str().unwrap()
            ),
            _ => body["message"].as_str().unwrap().to_owned(),
        }
    };
    let unknown =
        "nobody who is in it has logged in yet: write its id, org-<number> or team-<number>";
    let told = bind("hub:acme/ops").await;
    assert!(told.contains(unknown), "{told}");
    assert_eq!(bind("hub:team-7").await, "hub:team-7=hub:team-7");
    for odd in ["hub:team-07", "hub:team-", "hub:org-x", "hub:"] {
        let told = bind(odd).await;
        assert!(told.contains(unknown), "{odd}: {told}");
    }
    let group = |id: &str, name: &str| crate::authn::providers::GroupRef {
        id: id.into(),
        name: name.into(),
    };
    let groups = vec![group("org-1", "acme"), group("team-7", "acme/ops")];
    let user = Member {
        name: "hub:jane".to_owned(),
        uid: "u-hub-jane".to_owned(),
    };
    let record = crate::authn::providers::Record::new(user, "jane", groups, clock::now());
    let key = crate::authn::providers::record_key("hub", "583231");
    let txn = Txn::new().put(key, record.encode());
    let revision = world.store.txn(txn).await.unwrap();
    world.api.follower.wait_for(revision, SOON).await.unwrap();
    assert_eq!(bind("hub:acme/ops").await, "hub:acme/ops=hub:team-7");
    assert_eq!(bind("hub:org-1").await, "hub:acme=hub:org-1");
    assert_eq!(bind("sso:devs").await, "sso:devs=sso:devs");
    let told = bind("sso:").await;
    assert!(told.contains("spec.subject.name"), "{told}");
}
