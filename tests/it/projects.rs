//! Projects on the request path: who reaches which namespaces, and what the others are told.

use crate::testkit::{
    client::{Answer, empty, get, h2},
    fake_api::FakeApi,
    gate::Gate,
};
use http::{Request, StatusCode};
use jiff::SignedDuration;
use palisade::{
    objects::{Binding, BindingSpec, Nothing, Project, RoleScope, Subject, rules::PolicyRule},
    status::clock,
};

const CLUSTER: &str = "/k8s/clusters/fake";

fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
    let own = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    PolicyRule {
        verbs: own(verbs),
        api_groups: vec![String::new()],
        resources: own(resources),
        ..PolicyRule::default()
    }
}

/// A cluster with the projects `shop` (namespaces shop, shop-*) and `store` (store); ann works in the first, the role
/// reads Pods and their namespace.
async fn world() -> (Gate, FakeApi, String) {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    let read = rule(&["get", "list", "watch"], &["pods", "pods/log"]);
    let rules = vec![read, rule(&["get"], &["namespaces"])];
    gate.role_of("worker", RoleScope::Project, rules).await;
    gate.project("shop", "fake", &["shop", "shop-*"]).await;
    gate.project("store", "fake", &["store"]).await;
    let token = gate.user("ann").await;
    gate.bind_project("worker", "ann", "shop").await;
    let groups = [group(&gate, "shop").await, group(&gate, "store").await];
    gate.observed("fake", &[&groups[0], &groups[1]]);
    (gate, fake, token)
}

/// What a cluster sees of whoever works in a project.
async fn group(gate: &Gate, project: &str) -> String {
    let uid = gate.get::<Project>(project).await.object.metadata.uid;
    format!("palisade:project:{uid}:worker")
}

async fn ask(gate: &Gate, token: &str, path: &str) -> Answer {
    h2(gate, empty(get(gate, &format!("{CLUSTER}{path}"), token))).await
}

#[tokio::test]
async fn a_member_reaches_the_namespaces_of_the_project_and_no_others() {
    let (gate, fake, token) = world().await;
    for path in [
        "/api/v1/namespaces/shop/pods",
        "/api/v1/namespaces/shop/pods/web/log",
        "/api/v1/namespaces/shop-eu/pods?watch=1",
        "/api/v1/namespaces/shop",
        "/api/v1/namespaces/shop-eu",
        // Whoever holds anything on a cluster may look around.
        "/version",
        "/apis",
    ] {
        let answer = ask(&gate, &token, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    }
    let group = group(&gate, "shop").await;
    for sent in fake.received() {
        let in_project = sent.target.contains("/namespaces/shop");
        let groups = sent.all("impersonate-group");
        let wanted: &[&str] = if in_project { &[&group] } else { &[] };
        assert_eq!(groups, wanted, "{}", sent.target);
    }
    let reached = fake.received().len();
    for path in [
        "/api/v1/namespaces/store/pods",
        "/api/v1/namespaces/default/pods",
        "/api/v1/namespaces/kube-system/pods",
        "/api/v1/namespaces/shopping/pods",
        "/api/v1/namespaces/shop-/pods",
        "/api/v1/namespaces/store",
        "/api/v1/namespaces",
        "/api/v1/pods",
        "/api/v1/nodes",
        "/api/v1/namespaces/shop/secrets",
        "/metrics",
    ] {
        let answer = ask(&gate, &token, path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(
        fake.received().len(),
        reached,
        "no refusal reached the cluster"
    );
    gate.stop().await;
}

#[tokio::test]
async fn a_refusal_says_where_the_same_is_allowed() {
    let (gate, _fake, token) = world().await;
    let message = |answer: Answer| answer.message();
    let all = message(ask(&gate, &token, "/api/v1/pods").await);
    assert_eq!(
        all,
        "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \"\" at the cluster scope: \
         no role of yours on cluster \"fake\" allows it in all namespaces; in these it is allowed: shop, shop-*. \
         Ask for one of them, with -n NAMESPACE"
    );
    let watched = message(ask(&gate, &token, "/api/v1/pods?watch=1").await);
    assert!(watched.ends_with("with -n NAMESPACE"), "{watched}");
    // The same words, whether the namespace is another project's, nobody's, or does not exist.
    let named: Vec<String> = [
        ask(&gate, &token, "/api/v1/namespaces/store/pods").await,
        ask(&gate, &token, "/api/v1/namespaces/other/pods").await,
    ]
    .map(|answer| answer.message().replace("other", "store"))
    .into();
    assert_eq!(named[0], named[1]);
    assert!(
        named[0].ends_with("allows it there; in these namespaces it is allowed: shop, shop-*"),
        "{}",
        named[0]
    );
    // What no project can have: it helps to know what one has.
    let nodes = message(ask(&gate, &token, "/api/v1/nodes").await);
    assert!(
        nodes.ends_with("held in the namespaces of projects alone: shop, shop-*"),
        "{nodes}"
    );
    // Bounded, whatever the number of projects.
    for n in 0..40 {
        let project = format!("p{n}");
        gate.project(&project, "fake", &[&*format!("{}-{n}", "n".repeat(40))])
            .await;
        gate.bind_project("worker", "ann", &project).await;
    }
    let many = message(ask(&gate, &token, "/api/v1/pods").await);
    assert!(many.contains(" and 36 more") && many.len() < 800, "{many}");
    gate.stop().await;
}

// CVE-2025-22031, CVE-2019-6287: a project that was removed leaves nothing behind for one of the same name.
#[tokio::test]
async fn a_project_made_anew_under_a_name_is_another() {
    let (gate, _fake, token) = world().await;
    let path = "/api/v1/namespaces/shop/pods";
    assert_eq!(ask(&gate, &token, path).await.status, StatusCode::OK);
    gate.delete::<Project>("shop").await;
    assert_eq!(ask(&gate, &token, path).await.status, StatusCode::FORBIDDEN);
    gate.project("shop", "fake", &["shop"]).await;
    assert_eq!(ask(&gate, &token, path).await.status, StatusCode::FORBIDDEN);
    gate.stop().await;
}

// H8: a review of one's own rights carries all of them, and is refused past the bound, never cut.
#[tokio::test]
async fn a_review_of_more_rights_than_can_be_sent_is_refused() {
    let (gate, fake, token) = world().await;
    for n in 0..128 {
        let project = format!("p{n}");
        gate.project(&project, "fake", &[&*format!("n{n}")]).await;
        gate.bind_project("worker", "ann", &project).await;
    }
    let review = |path: &str| {
        Request::post(format!("{}{CLUSTER}{path}", gate.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
    };
    let before = fake.received().len();
    for path in [
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    ] {
        let answer = h2(&gate, empty(review(path))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(
            answer.message().contains("more than 128"),
            "{}",
            answer.message()
        );
    }
    assert_eq!(fake.received().len(), before);
    // A request in one namespace carries the grants of its project alone.
    let answer = ask(&gate, &token, "/api/v1/namespaces/n7/pods").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    gate.stop().await;
}

// A binding's end is an instant, in a project as on a cluster: nothing is reloaded, nobody writes anything.
#[tokio::test]
async fn a_binding_ends_at_its_instant() {
    let (gate, fake, _) = world().await;
    let token = gate.user("bob").await;
    let end = clock::now() + SignedDuration::from_millis(1500);
    let subject = Subject {
        name: "bob".to_owned(),
        uid: gate.uid("bob").await,
        ..Subject::default()
    };
    let spec = BindingSpec {
        role: "worker".to_owned(),
        subject,
        project: "shop".to_owned(),
        project_uid: gate.get::<Project>("shop").await.object.metadata.uid,
        expires_at: Some(end),
        ..BindingSpec::default()
    };
    gate.put(Binding::new("bobs", spec), Nothing::default())
        .await;
    let mut allowed = 0;
    loop {
        let asked = clock::now();
        let answer = ask(&gate, &token, "/api/v1/namespaces/shop/pods").await;
        if answer.status == StatusCode::FORBIDDEN {
            assert!(clock::now() >= end, "refused before its end");
            break;
        }
        assert_eq!(answer.status, StatusCode::OK);
        assert!(asked < end, "allowed after its end");
        allowed += 1;
    }
    assert!(allowed > 0);
    assert_eq!(fake.received().len(), allowed);
    // Nor is anything else left, as of somebody who never was there.
    let answer = ask(&gate, &token, "/version").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    gate.stop().await;
}

// Which groups of projects a cluster takes is written down nowhere: until somebody has looked nobody knows, and a
// refusal by the cluster would be a wrong answer.
#[tokio::test]
async fn until_a_cluster_was_read_members_of_projects_are_told_to_try_again() {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    let rules = vec![rule(&["get", "list"], &["pods"])];
    gate.role_of("worker", RoleScope::Project, rules).await;
    gate.project("shop", "fake", &["shop"]).await;
    let ann = gate.user("ann").await;
    gate.bind_project("worker", "ann", "shop").await;
    let path = "/api/v1/namespaces/shop/pods";
    let early = ask(&gate, &ann, path).await;
    assert_eq!(early.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(early.headers["retry-after"], "1");
    assert!(
        early.message().contains("was not read yet"),
        "{}",
        early.text()
    );
    assert_eq!(fake.received().len(), 0);
    // Roles of the whole cluster are written down.
    let vic = gate.user("vic").await;
    gate.bind("cluster-viewer", "vic", "fake").await;
    assert_eq!(ask(&gate, &vic, path).await.status, StatusCode::OK);
    // Read: a group that the cluster does not take yet is not sent, and its own authoriser has the last word.
    gate.observed("fake", &[]);
    assert_eq!(ask(&gate, &ann, path).await.status, StatusCode::OK);
    let sent = fake.received().pop().unwrap();
    assert_eq!(sent.all("impersonate-group"), [""; 0]);
    gate.observed("fake", &[&group(&gate, "shop").await]);
    assert_eq!(ask(&gate, &ann, path).await.status, StatusCode::OK);
    let sent = fake.received().pop().unwrap();
    assert_eq!(sent.all("impersonate-group"), [group(&gate, "shop").await]);
    gate.stop().await;
}
