//! A hand-over, and what the accounts in the cluster may do after it.

use super::world::{LIFE, World};
use palisade::{
    clusters::{ClusterError, HandedOver, IMPERSONATOR, NotReady, RECONCILER},
    objects::Health,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_handed_over_gets_ready_and_its_accounts_can_do_no_more_than_they_must()
{
    let world = World::new(LIFE).await;
    world.until_health(Health::Pending).await;
    let pending = world.clusters.registry().upstream("prod").err();
    assert_eq!(pending, Some(NotReady::Pending("prod".to_owned())));
    let report = world.connect().await;
    assert_eq!(report.roles, ["viewer"]);
    let about = world.until_health(Health::Ready).await;
    assert!(about.starts_with("v1."), "{about}");
    world.until_stored(&["viewer"]).await;

    impersonator_rules(&world).await;
    reconciler_rules(&world).await;
    wrong_tokens_are_refused(&world).await;
}

/// What the account on the data path may and may not do, as the cluster judges it.
async fn impersonator_rules(world: &World) {
    let token = world.held(IMPERSONATOR).await;
    let client = world.speak(&token);
    for path in [
        "/api/v1/secrets",
        "/api/v1/pods",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    ] {
        let refused = client.get::<Value>(path).await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.as_u16()),
            Some(403),
            "{path}"
        );
    }
    let table: [(&str, &[&str], bool); 9] = [
        (
            "palisade:jane",
            &["--as-group=palisade:cluster:viewer"],
            true,
        ),
        ("palisade:jane", &["--as-uid=u-1"], true),
        (
            "palisade:jane",
            &["--as-user-extra=palisade.dev/token-id=t"],
            true,
        ),
        ("palisade:jane", &["--as-group=system:masters"], false),
        (
            "palisade:jane",
            &["--as-group=palisade:cluster:other"],
            false,
        ),
        ("palisade:jane", &["--as-group=system:nodes"], false),
        // `kubectl --as-user-extra` through the gateway: which keys a person may set is its policy's affair.
        ("palisade:jane", &["--as-user-extra=other.dev/key=t"], true),
        ("system:serviceaccount:kube-system:default", &[], false),
        (
            "system:serviceaccount:palisade-system:reconciler",
            &[],
            false,
        ),
    ];
    for (user, more, allowed) in table {
        let output = kubectl_as(world, &token, user, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.success(),
            allowed,
            "{user} {more:?}: {stderr}"
        );
        if !allowed {
            // kubectl's own words for a 403 to `auth whoami`.
            assert!(
                stderr.contains("do not have permission"),
                "{user} {more:?}: {stderr}"
            );
        }
    }
}

/// `kubectl auth whoami` with the gateway's token, as somebody.
pub(super) fn kubectl_as(
    world: &World,
    token: &str,
    user: &str,
    more: &[&str],
) -> std::process::Output {
    let mut command = world.local.kubectl();
    let kubeconfig = world
        .local
        .admin_kubeconfig
        .with_file_name("bare.kubeconfig");
    let ca = world
        .local
        .admin_kubeconfig
        .with_file_name("ca-for-test.pem");
    std::fs::write(&ca, &world.local.ca_pem).expect("the CA is written");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": world.local.server, "certificate-authority": ca}}],
        "users": [{"name": "u", "user": {"token": token}}],
    });
    std::fs::write(&kubeconfig, config.to_string()).expect("the kubeconfig is written");
    command.arg("--kubeconfig").arg(&kubeconfig);
    command.args(["auth", "whoami", "--as", user]).args(more);
    command.output().expect("kubectl runs")
}

/// What the account that writes may and may not do.
async fn reconciler_rules(world: &World) {
    let client = world.speak(&world.held(RECONCILER).await);
    for path in [
        "/api/v1/secrets",
        "/api/v1/namespaces/palisade-system/secrets",
        "/api/v1/pods",
    ] {
        let refused = client.get::<Value>(path).await.unwrap_err();
        assert_eq!(
            refused.code().map(|code| code.as_u16()),
            Some(403),
            "{path}"
        );
    }
    // Nobody else's role, not even to read more than its rules, and nobody else's token.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let mine = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "mine"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    });
    let refused = client
        .post::<_, Value>(&format!("{rbac}/clusterroles"), &mine)
        .await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
    let refused = client.delete(&format!("{rbac}/clusterroles/view")).await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
    let tokens = "/api/v1/namespaces/kube-system/serviceaccounts/default/token";
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600}});
    let refused = client.post::<_, Value>(tokens, &request).await;
    assert_eq!(
        refused.unwrap_err().code().map(|code| code.as_u16()),
        Some(403)
    );
}

/// A token is taken only if the cluster says that it is of the right account.
async fn wrong_tokens_are_refused(world: &World) {
    let swapped = HandedOver {
        reconciler: world.mint(IMPERSONATOR).await,
        impersonator: None,
    };
    let refused = world.clusters.hand_over("prod", swapped).await.unwrap_err();
    assert!(
        matches!(refused, ClusterError::WrongAccount { .. }),
        "{refused}"
    );
    let invented = HandedOver {
        reconciler: Zeroizing::new("invented".to_owned()),
        impersonator: None,
    };
    let refused = world
        .clusters
        .hand_over("prod", invented)
        .await
        .unwrap_err();
    assert!(matches!(refused, ClusterError::Token { .. }), "{refused}");
}
