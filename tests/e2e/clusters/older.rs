//! A cluster whose objects an older gateway wrote.

use super::{
    accounts::kubectl_as,
    world::{LIFE, World},
};
use crate::testkit::process::eventually;
use palisade::clusters::{
    IMPERSONATOR, kube,
    manifest::{IMPERSONATOR_ROLE, VERSION},
    object::{Object, ObjectKind},
};
use serde_json::json;
use std::sync::Arc;

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
async fn an_older_cluster_comes_to_take_what_acting_as_others_needs_by_itself() {
    let mut world = World::new(LIFE).await;
    world.connect().await;
    world.until_stored(&["viewer"]).await;
    let token = world.held(IMPERSONATOR).await;
    world.end().await;
    kube::apply(world.operator.client(), &old_rules())
        .await
        .unwrap();
    let mut stored = world.stored().await;
    assert_eq!(stored.object.status.synced_version, VERSION);
    stored.object.status.synced_version = 0;
    world.put(stored.object, stored.private.credential).await;

    world.again();
    let clusters = Arc::clone(&world.clusters);
    let acting = || {
        let upstream = clusters.registry().upstream("prod").ok()?;
        Some(upstream.facts().acting)
    };
    assert!(eventually(|| acting().filter(|acting| !acting)).is_some());
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
    assert_eq!(acting(), Some(false));

    world.keep();
    assert!(eventually(|| acting().filter(|acting| *acting)).is_some());
    assert!(
        kubectl_as(&world, &token, "palisade:jane", &extra)
            .status
            .success(),
        "what the gateway says of a cluster is so"
    );
    assert_eq!(world.stored().await.object.status.synced_version, VERSION);
}
