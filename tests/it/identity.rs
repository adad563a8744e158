//! Nobody but the gateway says who a request comes from.

use crate::testkit::{
    client::{empty, get, h1, h2, origin_form, raw},
    gate::world,
};
use http::{Request, StatusCode};

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const MAPS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_request_arrives_as_its_person_with_the_gateways_credential() {
    let (gate, fake, token) = world().await;
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let request = fake.received().pop().unwrap();
    assert_eq!(request.target, "/api/v1/namespaces/default/pods");
    assert_eq!(request.all("impersonate-user"), ["palisade:jane"]);
    assert_eq!(request.all("impersonate-uid"), [gate.uid("jane").await]);
    assert_eq!(
        request.all("impersonate-group"),
        ["palisade:cluster:cluster-member"]
    );
    assert_eq!(
        request
            .all("impersonate-extra-palisade.dev%2ftoken-id")
            .len(),
        1
    );
    assert_eq!(request.all("authorization"), ["Bearer impersonator-token"]);
    let id = answer.headers["palisade-request-id"].to_str().unwrap();
    assert_eq!(request.all("audit-id"), [id]);
    assert!(
        !format!("{:?}", request.headers).contains(&token),
        "the client's token went on"
    );
    gate.stop().await;
}

// H1, H2, H3: whatever starts with Impersonate is obeyed as policy lets one, or refused with a sentence; it
// reaches no cluster. What policy lets is in `acting`.
#[tokio::test]
async fn client_sent_impersonation_is_refused() {
    let (gate, fake, token) = world().await;
    for (name, status, said) in [
        (
            "Impersonate-User",
            StatusCode::FORBIDDEN,
            "Kubernetes keeps",
        ),
        (
            "impersonate-user",
            StatusCode::FORBIDDEN,
            "Kubernetes keeps",
        ),
        (
            "Impersonate-Group",
            StatusCode::BAD_REQUEST,
            "without impersonating a user",
        ),
        (
            "Impersonate-Uid",
            StatusCode::BAD_REQUEST,
            "without impersonating a user",
        ),
        (
            "Impersonate-Extra-scopes",
            StatusCode::BAD_REQUEST,
            "without impersonating a user",
        ),
        (
            "Impersonate-Foo",
            StatusCode::BAD_REQUEST,
            "not known to this gateway",
        ),
        (
            "Impersonate_User",
            StatusCode::BAD_REQUEST,
            "not known to this gateway",
        ),
        (
            "Impersonate",
            StatusCode::BAD_REQUEST,
            "not known to this gateway",
        ),
    ] {
        let request = empty(get(&gate, PODS, &token).header(name, "system:masters"));
        let answer = h1(&gate, origin_form(request)).await;
        assert_eq!(answer.status, status, "{name}");
        assert!(answer.message().contains(said), "{}", answer.message());
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// H4, H5 (CVE-2021-31999, CVE-2022-23652, CVE-2026-29054): naming our headers in Connection removes
// nothing of ours.
#[tokio::test]
async fn connection_tokens_cannot_remove_our_headers() {
    let (gate, fake, token) = world().await;
    let names = [
        "Impersonate-User, Impersonate-Group, Impersonate-Uid, Authorization",
        "impersonate-user",
        " ,IMPERSONATE-USER ,\t impersonate-group,,authorization",
        "close, Impersonate-Extra-palisade.dev%2ftoken-id, audit-id, host",
    ];
    for names in names {
        for lines in [
            format!("Connection: {names}\r\n"),
            format!("Connection: \r\nConnection: {names}\r\n"),
            format!("connection: keep-alive\r\ncoNNection: {names}\r\n"),
        ] {
            let before = fake.received().len();
            let bytes = format!(
                "GET {PODS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{lines}\r\n"
            );
            let answer = raw(&gate, bytes.as_bytes(), "Fake").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{lines}: {answer}");
            let request = fake.received().pop().unwrap();
            assert_eq!(fake.received().len(), before + 1);
            assert_eq!(
                request.all("impersonate-user"),
                ["palisade:jane"],
                "{lines}"
            );
            assert_eq!(
                request.all("impersonate-group"),
                ["palisade:cluster:cluster-member"]
            );
            assert_eq!(request.all("impersonate-uid").len(), 1);
            assert_eq!(request.all("authorization"), ["Bearer impersonator-token"]);
            assert_eq!(request.all("audit-id").len(), 1);
        }
    }
    gate.stop().await;
}

// H6, H15: odd spellings and headers that others trust are dropped.
#[tokio::test]
async fn odd_spellings_and_trust_headers_do_not_cross() {
    let (gate, fake, token) = world().await;
    let request = get(&gate, PODS, &token)
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters")
        .header("X-Remote-Extra-Foo", "x")
        .header("X_Remote_User", "admin")
        .header("X-Forwarded-For", "8.8.8.8")
        .header("Forwarded", "for=8.8.8.8")
        .header("X-Real-Ip", "8.8.8.8")
        .header("Audit-Id", "mine")
        .header("Palisade-Request-Id", "mine")
        .header("Cookie", "a=b")
        .header("X-Anything", "1");
    let answer = h1(&gate, origin_form(empty(request))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let request = fake.received().pop().unwrap();
    for name in [
        "x-remote-user",
        "x-remote-group",
        "x-remote-extra-foo",
        "x_remote_user",
        "forwarded",
        "x-real-ip",
        "cookie",
        "x-anything",
        "palisade-request-id",
    ] {
        assert_eq!(request.all(name), Vec::<String>::new(), "{name}");
    }
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_ne!(request.all("audit-id"), ["mine"]);
    gate.stop().await;
}

// H7: two of what means one thing.
#[tokio::test]
async fn doubled_identity_headers_are_400() {
    let (gate, fake, token) = world().await;
    for lines in [
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer x\r\n"),
        format!("Authorization: Bearer {token}\r\nImpersonate-User: a\r\nImpersonate-User: b\r\n"),
    ] {
        let bytes = format!("GET {PODS} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        let answer = raw(&gate, bytes.as_bytes(), "\"code\"").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// H13: trailers named like identity headers.
#[tokio::test]
async fn trailers_do_not_cross() {
    let (gate, fake, token) = world().await;
    let bytes = format!(
        "POST {MAPS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: Impersonate-User\r\n\r\n\
         2\r\n{{}}\r\n0\r\nImpersonate-User: system:admin\r\nImpersonate-Group: system:masters\r\n\r\n"
    );
    let answer = raw(&gate, bytes.as_bytes(), "Fake").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let request = fake.received().pop().unwrap();
    assert_eq!(request.body, "{}");
    assert_eq!(request.trailers, None);
    assert_eq!(request.all("impersonate-user"), ["palisade:jane"]);
    gate.stop().await;
}

// H8, H10: group names of the outside never become headers; what is sent is made of role names.
#[tokio::test]
async fn only_grant_groups_are_sent() {
    let (gate, fake, token) = world().await;
    gate.group("masters", &["jane"]).await;
    gate.bind_group("cluster-viewer", "masters", "fake").await;
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let mut groups = fake.received().pop().unwrap().all("impersonate-group");
    groups.sort();
    assert_eq!(
        groups,
        [
            "palisade:cluster:cluster-member",
            "palisade:cluster:cluster-viewer"
        ]
    );
    gate.stop().await;
}

// H8: too many roles on one cluster is a clear refusal, never a cut list.
#[tokio::test]
async fn too_many_roles_are_refused_with_the_bound() {
    let (gate, fake, token) = world().await;
    let roles: Vec<String> = (0..129).map(|i| format!("role-{i}")).collect();
    for role in &roles {
        gate.role(role).await;
        gate.bind(role, "jane", "fake").await;
    }
    gate.synced("fake", &roles).await;
    let answer = h2(&gate, empty(get(&gate, PODS, &token))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.message().contains("128"), "{}", answer.message());
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// H14, T9: a stage that fails ends the request: nothing reaches the cluster.
#[tokio::test]
async fn every_refusal_means_no_upstream_request() {
    let (gate, fake, token) = world().await;
    let stranger = gate.user("stranger").await;
    let cases = [
        (get(&gate, PODS, "pal_pat_x"), StatusCode::UNAUTHORIZED),
        (
            Request::get(format!("{}{PODS}", gate.url)),
            StatusCode::UNAUTHORIZED,
        ),
        (get(&gate, PODS, &stranger), StatusCode::FORBIDDEN),
        (
            get(&gate, &PODS.replace("pods", "secrets"), &token),
            StatusCode::FORBIDDEN,
        ),
        (
            get(&gate, &PODS.replace("fake", "none"), &token),
            StatusCode::FORBIDDEN,
        ),
        (
            get(&gate, &PODS.replace("default", ".."), &token),
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (request, status) in cases {
        let answer = h2(&gate, empty(request)).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}
