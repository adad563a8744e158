//! A cluster whose objects an older gateway wrote.

use super::{LIFE, World, kubectl_as};
use crate::testkit::process::eventually;
use palisade::clusters::{
    IMPERSONATOR, kube,
    manifest::{IMPERSONATOR_ROLE, VERSION},
    object::{Object, ObjectKind},
};
use serde_json::json;

/// The account's rules as they were before anybody could act as another.
fn old_rules() -> Object {
    let rules = json!([
        {"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]},
        {
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["uids", "userextras/palisade.dev/token-id"],
            "verbs": ["impersonate"],
        },
        {
            "apiGroups": [""], "resources": ["groups"],
            "resourceNames": ["palisade:cluster:viewer"], "verbs": ["impersonate"],
        },
    ]);
    Object::new(
        ObjectKind::ClusterRole,
        IMPERSONATOR_ROLE,
        json!({"rules": rules}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_lets_an_older_cluster_take_what_acting_as_others_needs() {
    let world = World::new(LIFE).await;
    world.connect().await;
    kube::apply(world.operator.client(), &old_rules())
        .await
        .unwrap();
    let mut stored = world.stored().await;
    assert_eq!(stored.object.status.synced_version, VERSION);
    stored.object.status.synced_version = 0;
    world.put(stored.object, stored.private.credential).await;
    let acting = || {
        let upstream = world.clusters.registry().upstream("prod").ok()?;
        Some(upstream.facts().acting)
    };
    assert!(eventually(|| acting().filter(|acting| !acting)).is_some());

    let token = world.held(IMPERSONATOR).await;
    let extra = ["--as-user-extra=palisade.dev/acting-user=olga"];
    let allowed = || {
        kubectl_as(&world, &token, "palisade:jane", &extra)
            .status
            .success()
    };
    let refused = eventually(|| (!allowed()).then_some(()));
    assert!(
        refused.is_some(),
        "what an older gateway wrote is too little"
    );

    world.clusters.sync("prod").await.unwrap();
    assert!(eventually(|| allowed().then_some(())).is_some());
    assert_eq!(world.stored().await.object.status.synced_version, VERSION);
    assert!(eventually(|| acting().filter(|acting| *acting)).is_some());
}
