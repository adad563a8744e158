//! Ways out of a project, each of them closed: what somebody who owns a project tries, and that no attempt reaches the
//! cluster.

use crate::testkit::{
    client::{Answer, empty, get, h2},
    fake_api::FakeApi,
    gate::Gate,
};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use palisade::objects::{Binding, Project, ProjectSpec, Role, RoleScope, rules::PolicyRule};
use serde_json::{Value, json};

const OWN: &str = "/apis/palisade.dev/v1alpha1";

/// A cluster with the projects `shop` (shop, shop-*) and `store` (store). Ann owns the shop.
async fn world() -> (Gate, FakeApi, String) {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    gate.observed("fake", &[]);
    gate.project("shop", "fake", &["shop", "shop-*"]).await;
    gate.project("store", "fake", &["store"]).await;
    let token = gate.user("ann").await;
    gate.bind_project("project-owner", "ann", "shop").await;
    (gate, fake, token)
}

async fn send(gate: &Gate, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(format!("{}{path}", gate.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let bytes = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body).unwrap()
    };
    h2(gate, request.body(Full::new(bytes.into())).unwrap()).await
}

/// Each attempt (a method, and a path in the cluster) is a 403 of the gateway's, and the cluster hears of none.
async fn all_refused(attempts: &[(&str, &str)]) {
    let (gate, fake, token) = world().await;
    let path = "/k8s/clusters/fake/api/v1/namespaces/shop/pods";
    let answer = h2(&gate, empty(get(&gate, path, &token))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let reached = fake.received().len();
    for (method, path) in attempts {
        let path = format!("/k8s/clusters/fake{path}");
        let answer = send(&gate, &token, method, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let message = answer.text();
        assert!(
            message.contains("no role of yours"),
            "{method} {path}: {message}"
        );
    }
    let heard: Vec<String> = (fake.received().iter().skip(reached))
        .map(|request| format!("{} {}", request.method, request.target))
        .collect();
    assert_eq!(heard, Vec::<String>::new());
    gate.stop().await;
}

// CVE-2026-41052: the labels of a namespace say which Pods may run in it. CVE-2020-10676: and whose it is.
#[tokio::test]
async fn a_namespace_is_neither_made_nor_changed_by_whoever_is_in_it() {
    all_refused(&[
        ("POST", "/api/v1/namespaces"),
        ("PUT", "/api/v1/namespaces/shop"),
        ("PATCH", "/api/v1/namespaces/shop"),
        (
            "PATCH",
            "/api/v1/namespaces/shop?fieldManager=kubectl-label",
        ),
        ("DELETE", "/api/v1/namespaces/shop"),
        ("DELETE", "/api/v1/namespaces"),
        ("PUT", "/api/v1/namespaces/shop/status"),
        ("PATCH", "/api/v1/namespaces/shop/status"),
        ("PUT", "/api/v1/namespaces/shop/finalize"),
        ("PATCH", "/api/v1/namespaces/store"),
        // The fences of the namespace are others' to set.
        ("POST", "/api/v1/namespaces/shop/resourcequotas"),
        ("PATCH", "/api/v1/namespaces/shop/resourcequotas/all"),
        ("DELETE", "/api/v1/namespaces/shop/limitranges/all"),
    ])
    .await;
}

// CVE-2021-36784: neither RBAC objects nor the rights to go round them.
#[tokio::test]
async fn rbac_in_the_cluster_is_not_theirs_to_write() {
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let paths = [
        ("POST", "/namespaces/shop/roles"),
        ("PUT", "/namespaces/shop/roles/x"),
        ("PATCH", "/namespaces/shop/roles/x"),
        ("DELETE", "/namespaces/shop/roles/x"),
        ("POST", "/namespaces/shop/rolebindings"),
        (
            "PATCH",
            "/namespaces/shop/rolebindings/palisade:project:x:project-owner",
        ),
        ("DELETE", "/namespaces/shop/rolebindings"),
        ("GET", "/clusterroles"),
        ("POST", "/clusterroles"),
        ("PATCH", "/clusterroles/cluster-admin"),
        ("POST", "/clusterrolebindings"),
        ("DELETE", "/clusterrolebindings/cluster-admin"),
    ];
    let whole: Vec<(&str, String)> = paths
        .iter()
        .map(|(method, path)| (*method, format!("{RBAC}{path}")))
        .collect();
    let whole: Vec<(&str, &str)> = whole.iter().map(|(m, path)| (*m, path.as_str())).collect();
    all_refused(&whole).await;
}

// P2, P4: a token outlives a membership, and the kubelet asks nobody.
#[tokio::test]
async fn tokens_nodes_and_other_namespaces_are_out_of_reach() {
    all_refused(&[
        (
            "POST",
            "/api/v1/namespaces/shop/serviceaccounts/default/token",
        ),
        (
            "POST",
            "/api/v1/namespaces/palisade-system/serviceaccounts/impersonator/token",
        ),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/nodes/n1/proxy/exec/shop/web/app?command=id"),
        ("POST", "/api/v1/nodes/n1/proxy/run/kube-system/x/y"),
        ("GET", "/api/v1/proxy/nodes/n1/pods"),
        ("PATCH", "/api/v1/nodes/n1"),
        ("GET", "/api/v1/namespaces/store/pods/web/exec?command=id"),
        ("POST", "/api/v1/namespaces/store/pods/web/exec?command=id"),
        ("POST", "/api/v1/namespaces/store/pods/web/attach"),
        ("POST", "/api/v1/namespaces/store/pods/web/portforward"),
        ("GET", "/api/v1/namespaces/store/services/web/proxy/"),
        (
            "PATCH",
            "/api/v1/namespaces/store/pods/web/ephemeralcontainers",
        ),
        ("GET", "/api/v1/namespaces/store/pods/web/log"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        ("GET", "/api/v1/namespaces/palisade-system/secrets"),
        // A Pod is put on a node by the scheduler alone.
        ("POST", "/api/v1/namespaces/shop/bindings"),
        ("POST", "/api/v1/namespaces/shop/pods/web/binding"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_in_no_namespace_is_nobodys_by_a_project() {
    all_refused(&[
        ("GET", "/api/v1/persistentvolumes"),
        ("POST", "/api/v1/persistentvolumes"),
        ("POST", "/apis/storage.k8s.io/v1/storageclasses"),
        (
            "POST",
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        ),
        (
            "PATCH",
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/x",
        ),
        (
            "POST",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        ),
        (
            "POST",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
        ),
        (
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        ),
        (
            "PATCH",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x",
        ),
        ("POST", "/apis/apiregistration.k8s.io/v1/apiservices"),
        (
            "POST",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests",
        ),
        (
            "PUT",
            "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
        ),
        ("POST", "/apis/scheduling.k8s.io/v1/priorityclasses"),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/namespaces/shop/localsubjectaccessreviews",
        ),
        ("GET", "/metrics"),
        ("GET", "/logs/kube-apiserver.log"),
        ("GET", "/debug/pprof/heap"),
        ("GET", "/configz"),
    ])
    .await;
}

// F1: a list over all namespaces is refused whole, however it is asked for.
#[tokio::test]
async fn no_list_reaches_over_all_namespaces() {
    all_refused(&[
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/pods?watch=1"),
        (
            "GET",
            "/api/v1/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ),
        ("GET", "/api/v1/watch/pods"),
        ("GET", "/api/v1/watch/namespaces/store/pods"),
        (
            "GET",
            "/api/v1/pods?fieldSelector=metadata.namespace%3Dshop",
        ),
        (
            "GET",
            "/api/v1/secrets?fieldSelector=metadata.name%3Dx,metadata.namespace%3Dshop",
        ),
        ("GET", "/api/v1/pods?labelSelector=project%3Dshop&limit=1"),
        ("GET", "/api/v1/pods?namespace=shop"),
        ("GET", "/apis/apps/v1/deployments"),
        ("GET", "/apis/metrics.k8s.io/v1beta1/pods"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/api/v1/namespaces?watch=1"),
        (
            "GET",
            "/api/v1/namespaces?fieldSelector=metadata.name%3Dshop",
        ),
        ("GET", "/api/v1/watch/namespaces"),
        ("DELETE", "/api/v1/pods"),
        ("DELETE", "/api/v1/namespaces/store/pods"),
    ])
    .await;
}

// H1, H10, H12: no value of an impersonation is theirs to say, in any spelling.
#[tokio::test]
async fn nobody_is_impersonated() {
    let (gate, fake, token) = world().await;
    gate.user("olga").await;
    gate.bind("cluster-owner", "olga", "fake").await;
    for headers in [
        &[("impersonate-user", "olga")][..],
        &[
            ("impersonate-user", "ann"),
            ("impersonate-group", "system:masters"),
        ],
        &[("impersonate-user", "palisade:olga")],
        &[("impersonate-user", "system:admin")],
        &[(
            "impersonate-user",
            "system:serviceaccount:kube-system:default",
        )],
        &[("impersonate-user", "ann"), ("impersonate-uid", "1")],
        &[
            ("impersonate-user", "ann"),
            ("impersonate-extra-scopes", "all"),
        ],
        &[("impersonate-group", "palisade:cluster:cluster-owner")],
        &[("impersonate-uid", "1")],
    ] {
        let path = "/k8s/clusters/fake/api/v1/namespaces/shop/pods";
        let request = headers
            .iter()
            .fold(get(&gate, path, &token), |request, header| {
                request.header(header.0, header.1)
            });
        let answer = h2(&gate, empty(request)).await;
        let code = answer.status.as_u16();
        assert!([400, 403].contains(&code), "{headers:?}: {code}");
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

fn everything_on(group: &str, resource: &str) -> PolicyRule {
    PolicyRule {
        verbs: vec!["*".to_owned()],
        api_groups: vec![group.to_owned()],
        resources: vec![resource.to_owned()],
        ..PolicyRule::default()
    }
}

// CVE-2023-32194, CVE-2021-25318: a rule is for the API group that it names. A role that makes something else's
// "namespaces" makes none of the core's.
#[tokio::test]
async fn a_name_in_another_group_is_another_thing() {
    let (gate, fake, _) = world().await;
    let rules = vec![
        everything_on("crew.example", "namespaces"),
        everything_on("crew.example", "secrets"),
    ];
    gate.role_of("crew", RoleScope::Project, rules).await;
    let bob = gate.user("bob").await;
    gate.bind_project("crew", "bob", "shop").await;
    let ask = async |method: &str, path: &str| {
        let path = format!("/k8s/clusters/fake{path}");
        send(&gate, &bob, method, &path, &Value::Null).await.status
    };
    let own = "/apis/crew.example/v1/namespaces/shop/secrets";
    assert_eq!(ask("GET", own).await, StatusCode::OK);
    let reached = fake.received().len();
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/shop/secrets"] {
        assert_eq!(ask("POST", path).await, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(fake.received().len(), reached);
    gate.stop().await;
}

// A role of scope project as wide as it can be written stays in the project.
#[tokio::test]
async fn a_role_with_every_right_has_them_in_its_project_alone() {
    let (gate, fake, _) = world().await;
    gate.role_of("all", RoleScope::Project, vec![everything_on("*", "*")])
        .await;
    let zoe = gate.user("zoe").await;
    gate.bind_project("all", "zoe", "shop").await;
    gate.user("olga").await;
    gate.bind("cluster-owner", "olga", "fake").await;
    for (method, path) in [
        ("POST", "/api/v1/namespaces"),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/nodes/n1/proxy/"),
        ("GET", "/api/v1/namespaces/store/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/secrets"),
        (
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        ),
        ("GET", "/metrics"),
    ] {
        let path = format!("/k8s/clusters/fake{path}");
        let answer = send(&gate, &zoe, method, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    // Acting as others takes a role of scope cluster.
    let path = "/k8s/clusters/fake/api/v1/namespaces/shop/pods";
    let as_olga = get(&gate, path, &zoe).header("impersonate-user", "olga");
    let answer = h2(&gate, empty(as_olga)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert_eq!(fake.received().len(), 0);
    // Nor does it open the gateway's own API beyond the bindings of the project.
    for (method, path) in [
        ("GET", "/users"),
        ("POST", "/users"),
        ("PUT", "/users/ann/password"),
        ("GET", "/groups"),
        ("POST", "/roles"),
        ("DELETE", "/projects/shop"),
        ("GET", "/projects/store"),
        ("POST", "/clusters"),
        ("GET", "/clusters/fake/manifest"),
        ("GET", "/bindings/cluster-owner-olga-fake"),
    ] {
        let answer = send(&gate, &zoe, method, &format!("{OWN}{path}"), &json!({})).await;
        let text = answer.text();
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{method} {path}: {text}"
        );
    }
    gate.stop().await;
}

// F6: a glob holds no namespace of the cluster's own, and what belongs to a project is what it holds at that moment.
#[tokio::test]
async fn a_glob_holds_none_of_the_clusters_own_namespaces() {
    let (gate, fake, token) = world().await;
    gate.cluster("wide", &fake).await;
    gate.observed("wide", &[]);
    gate.project("everything", "wide", &["*"]).await;
    gate.bind_project("project-owner", "ann", "everything")
        .await;
    let ask = async |namespace: &str| {
        let path = format!("/k8s/clusters/wide/api/v1/namespaces/{namespace}/secrets");
        h2(&gate, empty(get(&gate, &path, &token))).await.status
    };
    for namespace in ["default", "shop", "store"] {
        assert_eq!(ask(namespace).await, StatusCode::OK, "{namespace}");
    }
    for namespace in [
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "palisade-system",
    ] {
        assert_eq!(ask(namespace).await, StatusCode::FORBIDDEN, "{namespace}");
    }
    // The store becomes another project's: no glob keeps it, and nobody has it twice.
    let mut spec: ProjectSpec = gate.get::<Project>("everything").await.object.spec;
    spec.namespaces = vec!["shop-*".to_owned()];
    let mut changed = gate.get::<Project>("everything").await.object;
    changed.spec = spec;
    gate.put(changed, palisade::objects::Nothing::default())
        .await;
    for (namespace, code) in [
        ("store", StatusCode::FORBIDDEN),
        ("shop", StatusCode::FORBIDDEN),
        ("shop-eu", StatusCode::OK),
    ] {
        assert_eq!(ask(namespace).await, code, "{namespace}");
    }
    // Two that claim one namespace, written past the API: it is in neither.
    gate.project("rival", "wide", &["shop-eu"]).await;
    assert_eq!(ask("shop-eu").await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

// CVE-2025-22031: a project called as another one's namespace, or made anew under an old name, is another project.
#[tokio::test]
async fn names_of_projects_give_nothing() {
    let (gate, _fake, token) = world().await;
    let ask = async |namespace: &str| {
        let path = format!("/k8s/clusters/fake/api/v1/namespaces/{namespace}/pods");
        h2(&gate, empty(get(&gate, &path, &token))).await.status
    };
    // A project called as ann's namespace, with a role of another's, is not where hers is held.
    gate.project("shop-eu", "fake", &["elsewhere"]).await;
    assert_eq!(ask("elsewhere").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("shop-eu").await, StatusCode::OK);
    // The binding says `shop` by its uid: another project of that name is not meant.
    gate.delete::<Project>("shop").await;
    gate.project("shop", "fake", &["shop", "elsewhere-2"]).await;
    for namespace in ["shop", "shop-eu", "elsewhere-2"] {
        assert_eq!(ask(namespace).await, StatusCode::FORBIDDEN, "{namespace}");
    }
    gate.stop().await;
}

// CVE-2026-44947, CVE-2021-36775: a role that shrinks, and a binding that goes, are gone with the next request.
#[tokio::test]
async fn what_shrinks_is_gone_at_once() {
    let (gate, _fake, token) = world().await;
    let rule = |verbs: &[&str]| PolicyRule {
        verbs: verbs.iter().map(ToString::to_string).collect(),
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        ..PolicyRule::default()
    };
    let bob = gate.user("bob").await;
    gate.role_of("pods", RoleScope::Project, vec![rule(&["get", "list"])])
        .await;
    gate.bind_project("pods", "bob", "shop").await;
    let ask = async |token: &str| {
        let path = "/k8s/clusters/fake/api/v1/namespaces/shop/pods";
        h2(&gate, empty(get(&gate, path, token))).await.status
    };
    assert_eq!(ask(&bob).await, StatusCode::OK);
    gate.role_of("pods", RoleScope::Project, vec![rule(&["get"])])
        .await;
    assert_eq!(ask(&bob).await, StatusCode::FORBIDDEN);
    gate.role_of("pods", RoleScope::Project, vec![rule(&["list"])])
        .await;
    assert_eq!(ask(&bob).await, StatusCode::OK);
    gate.delete::<Role>("pods").await;
    assert_eq!(ask(&bob).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&token).await, StatusCode::OK);
    gate.delete::<Binding>("project-owner-ann-shop").await;
    assert_eq!(ask(&token).await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

// F7, and names that only the gateway or Kubernetes makes.
#[tokio::test]
async fn a_binding_is_what_it_says_and_for_whom_it_can_name() {
    let (gate, _fake, token) = world().await;
    let binding = |subject: Value, more: Value| {
        let mut spec = json!({"role": "project-member", "subject": subject, "project": "shop"});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": "x"}, "spec": spec})
    };
    let ann = json!({"kind": "User", "name": "ann"});
    let post =
        async |body: Value| send(&gate, &token, "POST", &format!("{OWN}/bindings"), &body).await;
    for (subject, more, codes) in [
        (
            json!({"kind": "Group", "name": "system:masters"}),
            json!({}),
            [403, 422],
        ),
        (
            json!({"kind": "Group", "name": "palisade:cluster:cluster-owner"}),
            json!({}),
            [403, 422],
        ),
        (
            json!({"kind": "User", "name": "system:admin"}),
            json!({}),
            [403, 422],
        ),
        (
            json!({"kind": "User", "name": "palisade:ann"}),
            json!({}),
            [403, 422],
        ),
        (
            json!({"kind": "ServiceAccount", "name": "default"}),
            json!({}),
            [422, 422],
        ),
        (
            json!({"kind": "User", "name": "ann", "uid": "another"}),
            json!({}),
            [422, 422],
        ),
        (ann.clone(), json!({"proyect": "store"}), [400, 400]),
        (
            ann.clone(),
            json!({"expireAt": "2030-01-01T00:00:00Z"}),
            [400, 400],
        ),
        (
            ann.clone(),
            json!({"expiresAt": "2001-01-01T00:00:00Z"}),
            [422, 422],
        ),
        (ann.clone(), json!({"role": "cluster-owner"}), [403, 422]),
        (ann.clone(), json!({"role": "authenticated"}), [403, 422]),
        (
            ann.clone(),
            json!({"role": "admin", "project": ""}),
            [403, 422],
        ),
        (ann.clone(), json!({"projectUid": "another"}), [403, 422]),
    ] {
        let body = binding(subject, more);
        let answer = post(body.clone()).await;
        let code = answer.status.as_u16();
        assert!(codes.contains(&code), "{body}: {code} {}", answer.text());
    }
    let fine = post(binding(ann, json!({}))).await;
    assert_eq!(fine.status, StatusCode::CREATED, "{}", fine.text());
    gate.stop().await;
}
