//! Who may act as whom: the gateway's answer and a real API server's, on the same rules (H12).
//!
//! Each set of rules is a cluster role of the gateway that one user holds, and a ClusterRole of the cluster
//! that one of its accounts holds. Each asks for the same with the same headers: the user through the
//! gateway, the account straight. Both must be let through, or neither.

use crate::testkit::{
    client::{h2, h2_past},
    cluster::LocalCluster,
    fake_api::FakeApi,
    gate::Gate,
    process::{eventually, run, run_with},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use palisade::objects::{RoleScope, rules::PolicyRule};
use serde_json::json;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const AUTHENTICATION: &str = "authentication.k8s.io";

fn rule(verb: &str, group: &str, resources: &[&str], names: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    PolicyRule {
        verbs: owned(&[verb]),
        api_groups: owned(&[group]),
        resources: owned(resources),
        resource_names: owned(names),
        ..PolicyRule::default()
    }
}

/// Sets of rules; most let one act as anybody, and are about the rest.
fn sets(uid: &str) -> Vec<Vec<PolicyRule>> {
    let may = |group: &str, resource: &str, names: &[&str]| {
        rule("impersonate", group, &[resource], names)
    };
    let users = || may("", "users", &[]);
    vec![
        vec![],
        vec![may("", "users", &["jane"])],
        vec![users()],
        vec![users(), may("", "groups", &["devs"])],
        vec![users(), may("", "groups", &[])],
        vec![users(), may(AUTHENTICATION, "groups", &[])],
        vec![may(AUTHENTICATION, "users", &[])],
        vec![may("", "serviceaccounts", &[])],
        vec![users(), may(AUTHENTICATION, "uids", &[uid])],
        vec![users(), may(AUTHENTICATION, "uids", &["other"])],
        vec![users(), may("", "uids", &[])],
        vec![users(), may(AUTHENTICATION, "userextras", &[])],
        vec![users(), may(AUTHENTICATION, "userextras/*", &[])],
        vec![users(), may(AUTHENTICATION, "*/scopes", &[])],
        vec![users(), may(AUTHENTICATION, "userextras/scopes", &[])],
        vec![users(), may(AUTHENTICATION, "userextras/scopes", &["view"])],
        vec![
            users(),
            may(AUTHENTICATION, "userextras/example.com/key", &[]),
        ],
        vec![users(), may("", "userextras/scopes", &[])],
        vec![users(), may(AUTHENTICATION, "*", &[])],
        vec![rule("impersonate", "*", &["*"], &[])],
        vec![rule(
            "impersonate",
            "*",
            &["users", "groups"],
            &["jane", "devs"],
        )],
        vec![rule("*", "", &["users", "groups"], &[])],
        vec![rule("get", "", &["users"], &[])],
        vec![rule("impersonate:user-info", "", &["users"], &[])],
    ]
}

type Headers<'a> = Vec<(&'static str, &'a str)>;

fn requests(uid: &str) -> Vec<Headers<'_>> {
    let jane = ("impersonate-user", "jane");
    let (devs, ops) = (("impersonate-group", "devs"), ("impersonate-group", "ops"));
    let uid = ("impersonate-uid", uid);
    let scopes = |value| ("impersonate-extra-scopes", value);
    vec![
        vec![jane],
        vec![("impersonate-user", "vic")],
        vec![jane, devs],
        vec![jane, ops],
        vec![jane, devs, ops],
        vec![jane, uid],
        vec![jane, scopes("view")],
        vec![jane, scopes("edit")],
        vec![jane, scopes("view"), scopes("edit")],
        vec![jane, ("impersonate-extra-example.com%2fkey", "view")],
        vec![jane, ("impersonate-extra-other", "view")],
        vec![jane, devs, uid, scopes("view")],
    ]
}

/// A review, with these headers.
fn review(url: &str, token: &str, headers: &Headers<'_>) -> Request<Full<Bytes>> {
    let mut request = Request::post(format!("{url}{REVIEWS}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    request.body(Full::new(body.to_string().into())).unwrap()
}

/// Writes the rules to the cluster; gives the tokens of their holders, in order.
fn direct_side(local: &LocalCluster, sets: &[Vec<PolicyRule>]) -> Vec<String> {
    let rbac = "rbac.authorization.k8s.io";
    let mut items = Vec::new();
    for (number, rules) in sets.iter().enumerate() {
        let name = format!("actor-{number}");
        items.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": "default"},
        }));
        items.push(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        }));
        items.push(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        }));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    run_with(
        local.kubectl().args(["apply", "-f", "-"]),
        &list.to_string(),
    )
    .ok();
    // The authoriser has heard of the last of them, and so of all.
    let newest = format!(
        "--as=system:serviceaccount:default:actor-{}",
        sets.len() - 1
    );
    let heard = eventually(|| {
        let mut ask = local.kubectl();
        ask.args(["auth", "can-i", "impersonate:user-info", "users", &newest]);
        (run(&ask).stdout == "yes\n").then_some(())
    });
    assert!(heard.is_some(), "the cluster does not know the rules");
    let token = |number| {
        let mut create = local.kubectl();
        create.args(["create", "token", &format!("actor-{number}")]);
        run(&create).ok().trim().to_owned()
    };
    (0..sets.len()).map(token).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_act_on_a_cluster_may_through_the_gateway_and_nobody_else() {
    let local = tokio::task::spawn_blocking(LocalCluster::start)
        .await
        .unwrap();
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    for user in ["jane", "vic"] {
        gate.user(user).await;
        gate.bind("cluster-viewer", user, "fake").await;
    }
    gate.group("devs", &[]).await;
    gate.group("ops", &[]).await;
    let uid = gate.uid("jane").await;
    let sets = sets(&uid);
    let direct = direct_side(&local, &sets);
    let (mut yes, mut no) = (0, 0);
    for (number, (rules, account)) in sets.iter().zip(&direct).enumerate() {
        let name = format!("actor-{number}");
        let token = gate.user(&name).await;
        gate.role_of(&name, RoleScope::Cluster, rules.clone()).await;
        gate.bind(&name, &name, "fake").await;
        for headers in requests(&uid) {
            let straight = review(&local.server, account, &headers);
            let straight = h2_past(&local.ca_pem, straight).await;
            let cluster = format!("{}/k8s/clusters/fake", gate.url);
            let through = h2(&gate, review(&cluster, &token, &headers)).await;
            let ours = match through.status {
                StatusCode::OK => true,
                StatusCode::FORBIDDEN => {
                    let said = through.message();
                    assert!(said.contains(" cannot impersonate resource "), "{said}");
                    false
                }
                other => panic!("{other}: {}", through.text()),
            };
            let theirs = match straight.status {
                StatusCode::CREATED => true,
                StatusCode::FORBIDDEN => false,
                other => panic!("the API server: {other}"),
            };
            assert_eq!(ours, theirs, "{headers:?} with {rules:?}");
            *if ours { &mut yes } else { &mut no } += 1;
        }
    }
    assert!(yes >= 40 && no >= 100, "{yes} let through, {no} not");
    gate.stop().await;
}
