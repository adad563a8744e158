use super::*;
use crate::{
    clusters::credential::HeldToken,
    objects::{ClusterPrivate, ClusterSpec},
    store::KeyValue,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

fn keyring() -> Arc<Keyring> {
    let folder = tempfile::tempdir().unwrap();
    Arc::new(Keyring::generate(&folder.path().join("keys")).unwrap())
}

fn registry(keyring: &Arc<Keyring>) -> Registry {
    Registry::new(
        Arc::new(Authz::new(BTreeMap::new())),
        Arc::clone(keyring),
        Reach::Clusters,
        Arc::default(),
    )
}

fn cluster(uid: &str, server: &str) -> Cluster {
    let spec = ClusterSpec {
        server: server.to_owned(),
        ..ClusterSpec::default()
    };
    let mut cluster = Cluster::new("prod", spec);
    uid.clone_into(&mut cluster.metadata.uid);
    cluster.status.synced_roles = vec!["viewer".to_owned()];
    cluster
}

fn sealed(keyring: &Keyring, cluster: &Cluster, token: &str) -> String {
    let held = HeldToken {
        token: Zeroizing::new(token.to_owned()),
        issued_at: Timestamp::UNIX_EPOCH,
        expires_at: Timestamp::MAX,
    };
    let credential = ClusterCredential {
        impersonator: held.clone(),
        reconciler: held,
    };
    credential::seal(keyring, cluster, &credential).unwrap()
}

fn put(
    registry: &Registry,
    cluster: Cluster,
    credential: impl Into<Option<String>>,
    revision: u64,
) {
    let credential = credential.into();
    let key = Cluster::key(&cluster.metadata.name);
    let value = Stored::new(cluster, ClusterPrivate { credential }).encode();
    change(registry, put_of(key, value, revision), revision);
}

fn put_of(key: String, value: Vec<u8>, revision: u64) -> Change {
    Change::Put(KeyValue {
        key,
        value: value.into(),
        create_revision: 1,
        mod_revision: revision,
        version: 1,
    })
}

fn change(registry: &Registry, change: Change, revision: u64) {
    registry.apply(&Batch {
        changes: vec![change],
        revision,
        complete: true,
    });
}

fn token(registry: &Registry) -> String {
    let upstream = registry.upstream("prod").unwrap();
    let value = upstream.endpoint().authorization();
    value.to_str().unwrap().to_owned()
}

#[test]
fn a_cluster_without_a_credential_is_pending_and_one_with_is_served() {
    let keyring = keyring();
    let registry = registry(&keyring);
    let unknown = registry.upstream("prod").err();
    assert_eq!(unknown, Some(NotReady::Unknown("prod".to_owned())));
    let cluster = cluster("u-1", "https://prod.example:6443");
    put(&registry, cluster.clone(), None, 1);
    let pending = registry.upstream("prod").err();
    assert_eq!(pending, Some(NotReady::Pending("prod".to_owned())));
    let credential = sealed(&keyring, &cluster, "one");
    put(&registry, cluster, credential, 2);
    assert_eq!(token(&registry), "Bearer one");
    let key = Cluster::key("prod");
    change(&registry, Change::Delete { key, revision: 3 }, 3);
    assert!(matches!(
        registry.upstream("prod"),
        Err(NotReady::Unknown(_))
    ));
}

#[test]
fn a_renewed_token_keeps_connections_and_a_changed_server_does_not() {
    let keyring = keyring();
    let registry = registry(&keyring);
    let here = cluster("u-1", "https://prod.example:6443");
    put(&registry, here.clone(), sealed(&keyring, &here, "one"), 1);
    let first = registry.upstream("prod").unwrap();
    put(&registry, here.clone(), sealed(&keyring, &here, "two"), 2);
    let second = registry.upstream("prod").unwrap();
    assert!(first.endpoint().same_target(second.endpoint()));
    assert_eq!(token(&registry), "Bearer two");
    let elsewhere = cluster("u-1", "https://other.example:6443");
    let credential = sealed(&keyring, &elsewhere, "three");
    put(&registry, elsewhere, credential, 3);
    let third = registry.upstream("prod").unwrap();
    assert!(!first.endpoint().same_target(third.endpoint()));
}

#[test]
fn a_credential_that_does_not_open_leaves_no_data_path() {
    let keyring = keyring();
    let registry = registry(&keyring);
    let here = cluster("u-1", "https://prod.example:6443");
    let elsewhere = cluster("u-1", "https://other.example:6443");
    put(&registry, here, sealed(&keyring, &elsewhere, "one"), 1);
    assert!(matches!(
        registry.upstream("prod"),
        Err(NotReady::Unusable(_))
    ));
    let report = registry.report("prod").unwrap();
    assert!(report.message.contains("cannot be opened"), "{report:?}");
}

#[test]
fn a_refused_credential_is_answered_without_being_sent_again() {
    let keyring = keyring();
    let registry = registry(&keyring);
    let here = cluster("u-1", "https://prod.example:6443");
    put(&registry, here.clone(), sealed(&keyring, &here, "one"), 1);
    let entry = registry.entry("prod").unwrap();
    entry.found(Report::of(Health::Refused, "401"));
    assert!(matches!(
        registry.upstream("prod"),
        Err(NotReady::Refused(_))
    ));
    put(&registry, here.clone(), sealed(&keyring, &here, "two"), 2);
    assert_eq!(token(&registry), "Bearer two");
}

#[test]
fn a_credential_under_an_old_key_is_known_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let old = Keyring::generate(&first).unwrap();
    drop(Keyring::generate(&second).unwrap());
    let [old_line, new_line] = [&first, &second].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&first, format!("{new_line}{old_line}")).unwrap();
    let both = Arc::new(Keyring::load(&first).unwrap());
    let registry = registry(&both);
    let prod = cluster("u-1", "https://prod.example:6443");
    put(&registry, prod.clone(), sealed(&old, &prod, "t"), 1);
    assert!(registry.entry("prod").unwrap().old_key);
    put(&registry, prod.clone(), sealed(&both, &prod, "t"), 2);
    assert!(!registry.entry("prod").unwrap().old_key);
}
