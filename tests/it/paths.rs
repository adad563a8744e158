//! What is authorised is what the cluster sees; where it goes is what the request says, read once.

use crate::testkit::{
    client::{empty, get, h1, h2, origin_form, raw},
    fake_api::{FakeApi, Reply},
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use jiff::SignedDuration;

const FAKE: &str = "/k8s/clusters/fake";

/// Sends a target that no HTTP library would send, and returns the status line's code.
async fn code_of(gate: &Gate, method: &str, target: &str, token: &str) -> u16 {
    let bytes = format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(gate, bytes.as_bytes(), "").await;
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

// P1 (CVE-2026-33494): a target with two readings is a 400 and reaches no cluster.
#[tokio::test]
async fn targets_with_two_readings_are_400() {
    let (gate, fake, token) = world().await;
    for rest in [
        "/api/v1/namespaces/a/../b/pods",
        "/api/v1/namespaces/a/%2e%2e/b/pods",
        "/api/v1/namespaces/a/./pods",
        "//api/v1/namespaces/default/pods",
        "/api/v1/namespaces//pods",
        "/api/v1/namespaces/default%2fpods",
        "/api/v1/namespaces/default/pods\\x",
        "/api/v1/namespaces/default/pods%5cx",
        "/api/v1/namespaces/default/pods/%00",
        "/api/v1/namespaces/default/pods/%0a",
        "/api/v1/namespaces/default/pods/%zz",
        "/api/v1/namespaces/default/services/x/proxy/../../secrets",
        "/api/v1/namespaces/default/services/x/proxy/%2e%2e/a",
    ] {
        assert_eq!(
            code_of(&gate, "GET", &format!("{FAKE}{rest}"), &token).await,
            400,
            "{rest}"
        );
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// P1: what is forwarded is the raw target, byte for byte.
#[tokio::test]
async fn the_raw_target_is_forwarded_untouched() {
    let (gate, fake, token) = world().await;
    for rest in [
        "/api/v1/namespaces/default/pods?labelSelector=a%3Db,c%20in%20(d)&limit=5",
        "/api/v1/namespaces/default/pods?watch=false&x=%2F&&y",
        "/%61pi/v1/namespaces/default/pods",
        "/api/v1/namespaces/default/pods/",
        "/api/v1/namespaces/default/services/http:x:80/proxy/a//b%2Fc;d=e?f=g/../h",
        "/api/v1/namespaces/default/pods?x=%7B%22a%22%7D",
    ] {
        let target = format!("{FAKE}{rest}");
        assert_eq!(code_of(&gate, "GET", &target, &token).await, 200, "{rest}");
        assert_eq!(fake.received().pop().unwrap().target, rest);
    }
    gate.stop().await;
}

// P2, P3, P4 (CVE-2018-1002105, kubernetes#78741): every way to a shell is asked of the policy as what it is.
#[tokio::test]
async fn every_way_to_a_shell_is_refused_to_a_viewer() {
    let (gate, fake, _) = world().await;
    let viewer = gate.user("vera").await;
    gate.bind("cluster-viewer", "vera", "fake").await;
    for rest in [
        "/api/v1/namespaces/default/pods/x/exec?command=sh",
        "/api/v1/namespaces/default/pods/x/attach",
        "/api/v1/namespaces/default/pods/x/portforward",
        "/api/v1/namespaces/default/pods/x/proxy/",
        "/api/v1/namespaces/default/pods/x/ephemeralcontainers",
        "/api/v1/namespaces/default/services/x/proxy/a",
        "/api/v1/nodes/n/proxy/exec/default/x/c?command=sh",
        "/api/v1/proxy/nodes/n",
        "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/x/console",
        "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachineinstances/x/vnc",
    ] {
        for method in ["GET", "POST"] {
            let code = code_of(&gate, method, &format!("{FAKE}{rest}"), &viewer).await;
            assert_eq!(code, 403, "{method} {rest}");
        }
        let upgrade = get(&gate, &format!("{FAKE}{rest}"), &viewer)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
            .header("sec-websocket-protocol", "v5.channel.k8s.io");
        let answer = h1(&gate, origin_form(empty(upgrade))).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{rest}");
    }
    assert_eq!(fake.received().len(), 0);
    gate.stop().await;
}

// P3: `get pods/exec` alone gives no shell, whatever the cluster's version; `create` as well does.
#[tokio::test]
async fn exec_by_get_needs_create_too() {
    let (gate, fake, _) = world().await;
    let reader = gate.user("rita").await;
    gate.role_with("exec-reader", "pods/exec", &["get"]).await;
    gate.bind("exec-reader", "rita", "fake").await;
    let target = format!("{FAKE}/api/v1/namespaces/default/pods/x/exec?command=sh");
    let answer = h2(&gate, empty(get(&gate, &target, &reader))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer
            .message()
            .contains("cannot create resource \"pods/exec\""),
        "{}",
        answer.message()
    );
    assert_eq!(fake.received().len(), 0);
    gate.role_with("exec-creator", "pods/exec", &["create"])
        .await;
    gate.bind("exec-creator", "rita", "fake").await;
    let answer = h2(&gate, empty(get(&gate, &target, &reader))).await;
    assert_eq!(answer.status, StatusCode::OK);
    gate.stop().await;
}

// P5: the query is read as the API server reads it.
#[tokio::test]
async fn query_tricks_mean_what_they_mean_upstream() {
    let (gate, _fake, _) = world().await;
    let lister = gate.user("lisa").await;
    gate.role_with("lister", "pods", &["list"]).await;
    gate.bind("lister", "lisa", "fake").await;
    for (query, code) in [
        ("", 200),
        ("?watch=0", 200),
        ("?watch=FALSE", 200),
        ("?watch=false&watch=true", 200),
        ("?watch=true;x=1", 200),
        ("??watch=true", 200),
        ("?Watch=true", 200),
        ("?watch=true", 403),
        ("?watch=", 403),
        ("?watch", 403),
        ("?watch=no", 403),
        ("?%77atch=1", 403),
        ("?watch=true&watch=false", 403),
        ("?x=%zz&watch=1", 403),
    ] {
        let target = format!("{FAKE}/api/v1/namespaces/default/pods{query}");
        assert_eq!(
            code_of(&gate, "GET", &target, &lister).await,
            code,
            "{query}"
        );
    }
    gate.stop().await;
}

// P6: methods and forms.
#[tokio::test]
async fn odd_methods_and_forms() {
    let (gate, fake, token) = world().await;
    let pods = format!("{FAKE}/api/v1/namespaces/default/pods");
    assert_eq!(code_of(&gate, "TRACE", &pods, &token).await, 405);
    assert_eq!(
        code_of(&gate, "CONNECT", "localhost:443", &token).await,
        405
    );
    assert_eq!(code_of(&gate, "OPTIONS", "*", &token).await, 400);
    // No verb of the API: only a rule with `*` would allow it.
    assert_eq!(code_of(&gate, "BREW", &pods, &token).await, 403);
    assert_eq!(fake.received().len(), 0);
    // The absolute form is its path, if its authority is the Host.
    assert_eq!(
        code_of(&gate, "GET", &format!("https://localhost{pods}"), &token).await,
        200
    );
    assert_eq!(
        fake.received().pop().unwrap().target,
        "/api/v1/namespaces/default/pods"
    );
    assert_eq!(
        code_of(&gate, "GET", &format!("https://other{pods}"), &token).await,
        400
    );
    // Overrides of the method mean nothing.
    let request = get(&gate, &pods, &token).header("x-http-method-override", "DELETE");
    let answer = h2(&gate, empty(request)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let request = fake.received().pop().unwrap();
    assert_eq!(
        (
            request.method,
            request.headers.get("x-http-method-override")
        ),
        (Method::GET, None)
    );
    // HEAD is a get, and its answer has no body: not the cluster's, not the gateway's own.
    for target in [&pods, "/k8s/clusters/none/api/v1/pods", "/nothing"] {
        for old in [false, true] {
            let mut request = empty(get(&gate, target, &token));
            *request.method_mut() = Method::HEAD;
            let answer = if old {
                h1(&gate, origin_form(request)).await
            } else {
                h2(&gate, request).await
            };
            assert_eq!(answer.body.len(), 0, "{target}");
            let want = if target == pods {
                StatusCode::OK
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(answer.status, want, "{target}");
        }
    }
    gate.stop().await;
}

// P10 (CVE-2020-8559): a redirect is the client's to see, nobody follows it with a credential.
#[tokio::test]
async fn redirects_are_relayed_and_not_followed() {
    let (gate, fake, token) = world().await;
    let elsewhere = FakeApi::start(&["h2", "http/1.1"]).await;
    let location = format!("{}/stolen", elsewhere.server());
    fake.script([Reply::Answer(
        StatusCode::FOUND,
        vec![("location", location.clone())],
        Bytes::new(),
    )]);
    let target = format!("{FAKE}/api/v1/namespaces/default/pods");
    let answer = h2(&gate, empty(get(&gate, &target, &token))).await;
    assert_eq!(answer.status, StatusCode::FOUND);
    assert_eq!(answer.headers["location"], location);
    assert_eq!(fake.received().len(), 1);
    assert_eq!(elsewhere.everything().len(), 0);
    gate.stop().await;
}

// P12: a token is good for its clusters and nowhere else, by path and by host name.
#[tokio::test]
async fn a_cluster_scoped_token_stays_in_its_scope() {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start_with(Some("gate.test")).await;
    gate.cluster("a", &fake).await;
    gate.cluster("b", &fake).await;
    gate.user("jane").await;
    gate.bind("cluster-viewer", "jane", "a").await;
    gate.bind("cluster-viewer", "jane", "b").await;
    let scoped = gate
        .token("jane", &["a"], SignedDuration::from_hours(1))
        .await;
    let pods = "/api/v1/namespaces/default/pods";
    let ask = |authority: String, target: String| {
        let uri = format!("https://{authority}{target}");
        empty(Request::get(uri).header("authorization", format!("Bearer {scoped}")))
    };
    let port = gate.address.port();
    let by_path = |cluster: &str| {
        ask(
            format!("localhost:{port}"),
            format!("/k8s/clusters/{cluster}{pods}"),
        )
    };
    let by_host = |cluster: &str| ask(format!("{cluster}.gate.test:{port}"), pods.to_owned());
    assert_eq!(h2(&gate, by_path("a")).await.status, StatusCode::OK);
    assert_eq!(h2(&gate, by_host("a")).await.status, StatusCode::OK);
    for request in [by_path("b"), by_host("b")] {
        let answer = h2(&gate, request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(
            answer.message().contains("not valid for cluster"),
            "{}",
            answer.message()
        );
    }
    // On the own API it is nobody.
    let own = ask(
        format!("localhost:{port}"),
        "/apis/palisade.dev/v1alpha1/users".to_owned(),
    );
    assert_eq!(h2(&gate, own).await.status, StatusCode::FORBIDDEN);
    // A cluster's host serves that cluster alone: another cluster's path there is that cluster's 403 or 404.
    let crossed = ask(
        format!("a.gate.test:{port}"),
        format!("/k8s/clusters/b{pods}"),
    );
    assert_eq!(h2(&gate, crossed).await.status, StatusCode::FORBIDDEN);
    // Host and :authority that disagree.
    let mut request = by_host("a");
    request
        .headers_mut()
        .insert("host", "b.gate.test".parse().unwrap());
    assert_eq!(h2(&gate, request).await.status, StatusCode::BAD_REQUEST);
    gate.stop().await;
}

// A stranger to a cluster learns nothing of it: unknown and foreign clusters answer alike.
#[tokio::test]
async fn an_unknown_cluster_answers_like_a_foreign_one() {
    let (gate, _fake, _) = world().await;
    let stranger = gate.user("stranger").await;
    for rest in [
        "/api",
        "/version",
        "/api/v1/namespaces/default/pods",
        "/healthz",
    ] {
        let of = async |cluster: &str| {
            let target = format!("/k8s/clusters/{cluster}{rest}");
            let answer = h2(&gate, empty(get(&gate, &target, &stranger))).await;
            let text = answer
                .text()
                .replace(&format!("{cluster:?}"), "X")
                .replace(&format!("\\\"{cluster}\\\""), "X");
            let id = answer.headers["palisade-request-id"]
                .to_str()
                .unwrap()
                .to_owned();
            (
                answer.status,
                answer.headers["content-type"].clone(),
                text.replace(&id, "ID"),
            )
        };
        let (foreign, unknown) = (of("fake").await, of("nope").await);
        assert_eq!(foreign, unknown, "{rest}");
        assert_eq!(foreign.0, StatusCode::FORBIDDEN);
    }
    // Without a credential every cluster is a 401.
    for cluster in ["fake", "nope"] {
        let request = Request::get(format!("{}/k8s/clusters/{cluster}/api", gate.url));
        assert_eq!(
            h2(&gate, empty(request)).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    gate.stop().await;
}
