//! Everything is taken away.

use super::world::{LIFE, PATIENCE, World};
use palisade::{
    clusters::{NotReady, cleanup},
    objects::Health,
};
use std::time::Duration;

async fn ours(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for resource in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
    ] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        let list = world.get(&path).await.expect("a list");
        for item in list["items"].as_array().expect("items") {
            let name = item["metadata"]["name"].as_str().expect("a name");
            if name.starts_with("palisade:") {
                names.push(format!("{resource}/{name}"));
            }
        }
    }
    names
}

async fn until_namespace_is_gone(world: &World) {
    let gone = async {
        while world
            .get("/api/v1/namespaces/palisade-system")
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the namespace goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reconciler_takes_everything_away_and_hangs_its_own_role_on_its_binding() {
    let world = World::new(LIFE).await;
    world.connect().await;
    world.until_health(Health::Ready).await;
    assert_eq!(ours(&world).await.len(), 8);
    let done = world.clusters.clean_up("prod").await.expect("cleaned up");
    assert_eq!((done.left, done.removed.len()), (0, 5), "{done:?}");
    until_namespace_is_gone(&world).await;
    // The one that cannot delete itself: bound to nobody, and owned by the binding that is gone, so the
    // garbage collector of a whole cluster takes it (this control plane has none).
    let left: Vec<String> = ours(&world).await;
    let left: Vec<&String> = left
        .iter()
        .filter(|name| !name.starts_with("role"))
        .collect();
    assert_eq!(left, ["clusterroles/palisade:reconciler"]);
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/palisade:reconciler";
    let role = world.get(path).await.expect("it is there");
    assert_eq!(
        role["metadata"]["ownerReferences"][0]["kind"],
        "ClusterRoleBinding"
    );
    world.until_health(Health::Pending).await;
    assert!(world.stored().await.private.credential.is_none());
    assert!(world.stored().await.object.status.synced_roles.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_takes_everything_away() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let removed = cleanup::clean_up_as_operator(world.operator.client()).await;
    removed.expect("cleaned up");
    until_namespace_is_gone(&world).await;
    assert_eq!(ours(&world).await, Vec::<String>::new());
    // The gateway's tokens are worth nothing from here on.
    world.until_health(Health::Refused).await;
    let refused = world.clusters.registry().upstream("prod").err();
    assert_eq!(refused, Some(NotReady::Refused("prod".to_owned())));
}
