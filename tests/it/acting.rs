//! Acting as somebody else (`kubectl --as`): what reaches a cluster, and every refusal.

use crate::testkit::{
    client::{Answer, empty, get, h1, h2, origin_form},
    fake_api::FakeApi,
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Request, StatusCode, request::Builder};
use http_body_util::Full;
use jiff::SignedDuration;
use palisade::objects::{
    Cluster, Kind as _, RoleScope, User, UserPrivate, UserSpec, rules::PolicyRule,
};
use serde_json::json;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const SECRETS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/secrets";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const TOKENS: &str = "/apis/palisade.dev/v1alpha1/tokens";

/// A rule with the verb `impersonate`.
fn may(group: &str, resource: &str, names: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    PolicyRule {
        verbs: owned(&["impersonate"]),
        api_groups: owned(&[group]),
        resources: owned(&[resource]),
        resource_names: owned(names),
        ..PolicyRule::default()
    }
}

/// The world, and beside jane (a member) olga, who owns the cluster, and vic, who only looks. The token is
/// olga's.
async fn owned() -> (Gate, FakeApi, String) {
    let (gate, fake, _) = world().await;
    let olga = gate.user("olga").await;
    gate.bind("cluster-owner", "olga", "fake").await;
    gate.user("vic").await;
    gate.bind("cluster-viewer", "vic", "fake").await;
    (gate, fake, olga)
}

/// GET as somebody.
async fn acting(gate: &Gate, path: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
    h2(gate, empty(with(get(gate, path, token), headers))).await
}

fn with(request: Builder, headers: &[(&str, &str)]) -> Builder {
    headers.iter().fold(request, |request, (name, value)| {
        request.header(*name, value.as_bytes())
    })
}

fn post(gate: &Gate, path: &str, token: &str, body: &str) -> Request<Full<Bytes>> {
    Request::post(format!("{}{path}", gate.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(body.to_owned().into()))
        .unwrap()
}

#[track_caller]
fn forbidden(answer: &Answer, said: &str) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.text());
    assert!(answer.message().contains(said), "{}", answer.message());
}

#[tokio::test]
async fn a_request_arrives_as_the_other_with_the_others_grants() {
    let (gate, fake, olga) = owned().await;
    gate.group("operators", &["vic"]).await;
    gate.bind_group("cluster-member", "operators", "fake").await;
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "vic")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let request = fake.received().pop().unwrap();
    assert_eq!(request.all("impersonate-user"), ["palisade:vic"]);
    assert_eq!(request.all("impersonate-uid"), [gate.uid("vic").await]);
    let mut groups = request.all("impersonate-group");
    groups.sort();
    // Not the owner's.
    assert_eq!(
        groups,
        [
            "palisade:cluster:cluster-member",
            "palisade:cluster:cluster-viewer"
        ]
    );
    assert_eq!(
        request.all("impersonate-extra-palisade.dev%2facting-user"),
        ["olga"]
    );
    let token = request.all("impersonate-extra-palisade.dev%2ftoken-id");
    assert_eq!(token.len(), 1);
    assert!(olga.contains(&token[0]), "the token of whoever asks");
    assert_eq!(request.all("authorization"), ["Bearer impersonator-token"]);
    gate.stop().await;
}

#[tokio::test]
async fn the_others_rights_count_and_not_ones_own() {
    let (gate, fake, olga) = owned().await;
    assert_eq!(
        acting(&gate, SECRETS, &olga, &[]).await.status,
        StatusCode::OK
    );
    let answer = acting(&gate, SECRETS, &olga, &[("Impersonate-User", "vic")]).await;
    forbidden(&answer, "User \"vic\" cannot list resource \"secrets\"");
    forbidden(&answer, "no role of \"vic\" on cluster \"fake\" allows it");
    gate.user("zoe").await;
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "zoe")]).await;
    forbidden(&answer, "user \"zoe\" holds no role on cluster \"fake\"");
    assert_eq!(fake.received().len(), 1);
    gate.stop().await;
}

// H11, H12: groups that are given count instead of one's own, each by its name.
#[tokio::test]
async fn given_groups_replace_the_others_own() {
    let (gate, fake, olga) = owned().await;
    gate.group("operators", &["vic"]).await;
    gate.bind_group("cluster-member", "operators", "fake").await;
    gate.group("owners", &[]).await;
    gate.bind_group("cluster-owner", "owners", "fake").await;
    let headers = [("Impersonate-User", "vic"), ("Impersonate-Group", "owners")];
    let answer = acting(&gate, SECRETS, &olga, &headers).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let mut groups = fake.received().pop().unwrap().all("impersonate-group");
    groups.sort();
    assert_eq!(
        groups,
        [
            "palisade:cluster:cluster-owner",
            "palisade:cluster:cluster-viewer"
        ]
    );
    let headers = [("Impersonate-User", "vic"), ("Impersonate-Group", "none")];
    let answer = acting(&gate, PODS, &olga, &headers).await;
    forbidden(&answer, "there is no group \"none\" to act in");
    gate.stop().await;
}

/// The world, with somebody who may act as some by name; their token.
async fn helped() -> (Gate, FakeApi, String) {
    let (gate, fake, _) = owned().await;
    let helper = gate.user("helper").await;
    let (jane, vic) = (gate.uid("jane").await, gate.uid("vic").await);
    gate.group("devs", &[]).await;
    gate.group("ops", &[]).await;
    let rules = vec![
        may("", "users", &["jane", "ghost"]),
        may("", "groups", &["devs"]),
        may("authentication.k8s.io", "uids", &[&jane, &vic]),
        may("authentication.k8s.io", "userextras/scopes", &["view"]),
    ];
    gate.role_of("helper", RoleScope::Cluster, rules).await;
    gate.bind("helper", "helper", "fake").await;
    (gate, fake, helper)
}

// H12: each right by itself, of the right group, by name.
#[tokio::test]
async fn each_value_is_allowed_by_a_right_of_its_own() {
    let (gate, fake, helper) = helped().await;
    let jane = gate.uid("jane").await;
    let user = ("Impersonate-User", "jane");
    for headers in [
        &[user][..],
        &[user, ("Impersonate-Group", "devs")],
        &[user, ("Impersonate-Uid", &jane)],
        &[user, ("Impersonate-Extra-Scopes", "view")],
    ] {
        let answer = acting(&gate, PODS, &helper, headers).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{headers:?}: {}",
            answer.text()
        );
    }
    assert_eq!(fake.received().len(), 4);
    gate.stop().await;
}

#[tokio::test]
async fn each_value_is_refused_without_a_right_of_its_own() {
    let (gate, fake, helper) = helped().await;
    let vic = gate.uid("vic").await;
    let user = ("Impersonate-User", "jane");
    let extra =
        "cannot impersonate resource \"userextras/scopes\" in API group \"authentication.k8s.io\"";
    let table: [(&[(&str, &str)], &str); 8] = [
        (
            &[("Impersonate-User", "vic")],
            "User \"helper\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope: no role of yours on cluster \"fake\" allows it",
        ),
        (
            &[
                user,
                ("Impersonate-Group", "devs"),
                ("Impersonate-Group", "ops"),
            ],
            "groups \"ops\" is forbidden: User \"helper\" cannot impersonate resource \"groups\"",
        ),
        (
            &[user, ("Impersonate-Uid", "else")],
            "cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\"",
        ),
        (
            &[user, ("Impersonate-Uid", &vic)],
            "user \"jane\" has another uid",
        ),
        (
            &[
                user,
                ("Impersonate-Extra-Scopes", "view"),
                ("Impersonate-Extra-Scopes", "edit"),
            ],
            extra,
        ),
        (
            &[user, ("Impersonate-Extra-Other", "view")],
            "\"userextras/other\"",
        ),
        // Only to whoever may act as that name.
        (
            &[("Impersonate-User", "ghost")],
            "there is no user \"ghost\"",
        ),
        (
            &[("Impersonate-User", "helper")],
            "cannot impersonate resource \"users\"",
        ),
    ];
    for (headers, said) in table {
        let answer = acting(&gate, PODS, &helper, headers).await;
        forbidden(&answer, said);
        assert!(!answer.text().contains("edit"), "{}", answer.text());
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

#[tokio::test]
async fn who_may_not_cannot_tell_a_user_from_none() {
    let (gate, _, _) = owned().await;
    let mut said = Vec::new();
    let token = gate.token("vic", &[], SignedDuration::from_hours(1)).await;
    for name in ["jane", "nobody"] {
        let answer = acting(&gate, PODS, &token, &[("Impersonate-User", name)]).await;
        forbidden(&answer, "cannot impersonate");
        said.push(answer.message().replace(name, "them"));
    }
    assert_eq!(said[0], said[1]);
    // Nor a cluster from none.
    let stranger = gate.user("stranger").await;
    for cluster in ["fake", "none"] {
        let path = PODS.replace("fake", cluster);
        let answer = acting(&gate, &path, &stranger, &[("Impersonate-User", "jane")]).await;
        forbidden(
            &answer,
            &format!(
                "user \"stranger\" holds no role on cluster {cluster:?}, or there is no such cluster"
            ),
        );
    }
    gate.stop().await;
}

// H1, H10: names that a cluster gives a meaning, and the gateway's own extras.
#[tokio::test]
async fn names_of_clusters_are_refused_with_a_sentence() {
    let (gate, fake, olga) = owned().await;
    let user = ("Impersonate-User", "jane");
    let table: [(&[(&str, &str)], &str); 9] = [
        (
            &[("Impersonate-User", "palisade:jane")],
            "a name that clusters see",
        ),
        (
            &[("Impersonate-User", "system:admin")],
            "Kubernetes keeps for itself",
        ),
        (
            &[("Impersonate-User", "system:anonymous")],
            "Kubernetes keeps for itself",
        ),
        (
            &[(
                "Impersonate-User",
                "system:serviceaccount:kube-system:default",
            )],
            "is a service account",
        ),
        (
            &[user, ("Impersonate-Group", "system:masters")],
            "Kubernetes keeps for itself",
        ),
        (
            &[user, ("Impersonate-Group", "system:authenticated")],
            "Kubernetes keeps for itself",
        ),
        (
            &[
                user,
                ("Impersonate-Group", "palisade:cluster:cluster-owner"),
            ],
            "a name that clusters see",
        ),
        (
            &[
                user,
                ("Impersonate-Extra-palisade.dev%2Facting-user", "jane"),
            ],
            "the extra \"palisade.dev/acting-user\" is written by the gateway",
        ),
        (
            &[user, ("Impersonate-Extra-%50alisade.DEV%2fx", "jane")],
            "is written by the gateway",
        ),
    ];
    for (headers, said) in table {
        forbidden(&acting(&gate, PODS, &olga, headers).await, said);
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// H9: an extra reaches the cluster as it came, beside the gateway's own.
#[tokio::test]
async fn extras_reach_the_cluster_as_they_came() {
    let (gate, fake, olga) = owned().await;
    let headers = [
        ("Impersonate-User", "jane"),
        ("Impersonate-Extra-Scopes", "View"),
        ("Impersonate-Extra-Scopes", "a, b"),
        ("Impersonate-Extra-example.com%2Fk%C3%A9y", "käse"),
        ("Impersonate-Extra-almost%zz", ""),
    ];
    let answer = acting(&gate, PODS, &olga, &headers).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let request = fake.received().pop().unwrap();
    let bytes = |name: &str| -> Vec<Vec<u8>> {
        let values = request.headers.get_all(name).iter();
        values.map(|value| value.as_bytes().to_vec()).collect()
    };
    assert_eq!(
        bytes("impersonate-extra-scopes"),
        [b"View".to_vec(), b"a, b".to_vec()]
    );
    assert_eq!(
        bytes("impersonate-extra-example.com%2fk%c3%a9y"),
        ["käse".as_bytes().to_vec()]
    );
    assert_eq!(bytes("impersonate-extra-almost%zz"), [b"".to_vec()]);
    assert_eq!(
        bytes("impersonate-extra-palisade.dev%2facting-user").len(),
        1
    );
    gate.stop().await;
}

// H11: a thousand groups are one clear refusal, whoever asks.
#[tokio::test]
async fn very_many_groups_are_refused_with_the_bound() {
    let (gate, fake, olga) = owned().await;
    let mut headers = vec![("Impersonate-User", "jane")];
    headers.extend(std::iter::repeat_n(("Impersonate-Group", "devs"), 1000));
    let answer = acting(&gate, PODS, &olga, &headers).await;
    forbidden(&answer, "more than 32 groups");
    let mut headers = vec![("Impersonate-User", "jane")];
    headers.extend(std::iter::repeat_n(("Impersonate-Extra-a", "x"), 1000));
    let answer = acting(&gate, PODS, &olga, &headers).await;
    forbidden(&answer, "more than 32 values");
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// P12: whoever one acts as, one's own token says where.
#[tokio::test]
async fn acting_does_not_widen_a_token() {
    let (gate, fake, _) = owned().await;
    gate.cluster("other", &fake).await;
    gate.bind("cluster-owner", "olga", "other").await;
    gate.bind_global("admin", "olga").await;
    let hour = SignedDuration::from_hours(1);
    let scoped = gate.token("olga", &["other"], hour).await;
    let headers = [("Impersonate-User", "jane")];
    let answer = acting(&gate, PODS, &scoped, &headers).await;
    forbidden(&answer, "not valid for cluster \"fake\"");
    let mut request = post(&gate, WHOAMI, &scoped, "{}");
    request
        .headers_mut()
        .insert("impersonate-user", "jane".parse().unwrap());
    forbidden(&h2(&gate, request).await, "valid for clusters only");
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

#[tokio::test]
async fn disabling_either_ends_it() {
    let (gate, fake, olga) = owned().await;
    let headers = [("Impersonate-User", "jane")];
    assert_eq!(
        acting(&gate, PODS, &olga, &headers).await.status,
        StatusCode::OK
    );
    disable(&gate, "jane").await;
    let answer = acting(&gate, PODS, &olga, &headers).await;
    forbidden(&answer, "user \"jane\" is disabled");
    disable(&gate, "olga").await;
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "vic")]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(fake.received().len(), 1);
    gate.stop().await;
}

async fn disable(gate: &Gate, user: &str) {
    let mut stored = gate.get::<User>(user).await;
    stored.object.spec.disabled = true;
    gate.put(stored.object, stored.private).await;
}

#[tokio::test]
async fn a_machine_user_can_be_acted_as() {
    let (gate, fake, olga) = owned().await;
    let spec = UserSpec {
        machine: true,
        ..UserSpec::default()
    };
    gate.put(User::new("robot", spec), UserPrivate::default())
        .await;
    gate.bind("cluster-viewer", "robot", "fake").await;
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "robot")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let request = fake.received().pop().unwrap();
    assert_eq!(request.all("impersonate-user"), ["palisade:robot"]);
    gate.stop().await;
}

#[tokio::test]
async fn an_unreadable_user_is_could_not_tell() {
    let (gate, fake, olga) = owned().await;
    let key = User::key("jane");
    let txn = palisade::store::Txn::new().put(&key, b"no user".to_vec());
    let revision = gate.store.txn(txn).await.unwrap();
    let wait = std::time::Duration::from_secs(20);
    gate.app.follower().wait_for(revision, wait).await.unwrap();
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "jane")]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.message().contains("cannot tell who \"jane\" is"));
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

#[tokio::test]
async fn on_a_cluster_that_does_not_hold_what_it_takes_a_refusal_says_where_to_look() {
    let (gate, fake, olga) = owned().await;
    let mut stored = gate.get::<Cluster>("fake").await;
    stored.object.status.synced_version = 0;
    gate.put(stored.object, stored.private).await;
    let answer = acting(&gate, PODS, &olga, &[("Impersonate-User", "jane")]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.message().contains("`palisade cluster show fake`"),
        "{}",
        answer.message()
    );
    assert_eq!(fake.received().len(), 0);
    // Everybody else goes on.
    assert_eq!(acting(&gate, PODS, &olga, &[]).await.status, StatusCode::OK);
    gate.stop().await;
}

#[tokio::test]
async fn on_the_own_api_an_admin_acts_as_anybody_and_an_owner_as_nobody() {
    let (gate, _, olga) = owned().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    gate.group("devs", &["jane"]).await;
    let as_jane = |request: &mut Request<Full<Bytes>>| {
        let headers = request.headers_mut();
        headers.insert("impersonate-user", "jane".parse().unwrap());
    };
    let mut request = post(&gate, WHOAMI, &root, "{}");
    as_jane(&mut request);
    let answer = h2(&gate, request).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let user = &answer.json()["status"]["userInfo"];
    assert_eq!(user["username"], "jane");
    assert_eq!(user["uid"], *gate.uid("jane").await);
    assert_eq!(user["groups"], json!(["devs"]));
    assert_eq!(user["extra"]["palisade.dev/acting-user"], json!(["root"]));

    let mut request = post(&gate, WHOAMI, &olga, "{}");
    as_jane(&mut request);
    let answer = h2(&gate, request).await;
    forbidden(&answer, "cannot impersonate resource \"users\"");
    forbidden(
        &answer,
        "no role of yours on the gateway's own API allows it",
    );

    // As jane an admin is none.
    let users = "/apis/palisade.dev/v1alpha1/users";
    assert_eq!(
        acting(&gate, users, &root, &[]).await.status,
        StatusCode::OK
    );
    let answer = acting(&gate, users, &root, &[("Impersonate-User", "jane")]).await;
    forbidden(
        &answer,
        "no role of \"jane\" on the gateway's own API allows it",
    );
    // Jane's tokens, and not root's.
    let answer = acting(&gate, TOKENS, &root, &[("Impersonate-User", "jane")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    assert!(!items.is_empty());
    assert!(
        items
            .iter()
            .all(|item| item["spec"]["user"]["name"] == "jane")
    );
    gate.stop().await;
}

#[tokio::test]
async fn nothing_that_outlives_the_request_is_given_out_while_acting() {
    let (gate, _, _) = owned().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let body =
        json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Token", "spec": {}}).to_string();
    let password = "/apis/palisade.dev/v1alpha1/users/jane/password";
    for (method, path) in [("POST", TOKENS), ("PUT", password)] {
        let mut request = post(&gate, path, &root, &body);
        *request.method_mut() = method.parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("impersonate-user", "jane".parse().unwrap());
        let answer = h2(&gate, request).await;
        forbidden(&answer, "while acting as somebody else (--as)");
    }
    gate.stop().await;
}

#[tokio::test]
async fn a_login_is_nobody_elses() {
    let (gate, _, token) = owned().await;
    for path in ["/", "/v1/login/password"] {
        let request = with(get(&gate, path, &token), &[("Impersonate-User", "jane")]);
        let answer = h1(&gate, origin_form(empty(request))).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text().contains("logs in as somebody else"));
    }
    gate.stop().await;
}
