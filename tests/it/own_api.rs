//! The gateway's own API through the front door: reviews that tell the truth, lists that tell nothing of
//! others, and what is sent in the hope that something gives.

use crate::testkit::{
    client::{Answer, empty, get, h2},
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use jiff::SignedDuration;
use palisade::objects::{Kind as _, RoleScope, User, rules::PolicyRule};
use serde_json::{Value, json};

const BASE: &str = "/apis/palisade.dev/v1alpha1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// A request with a JSON body, or with none.
async fn ask(gate: &Gate, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let bytes = body.map(|body| Bytes::from(body.to_string()));
    let request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", gate.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", kind)
        .body(Full::new(bytes.unwrap_or_default()))
        .unwrap();
    h2(gate, request).await
}

fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    PolicyRule {
        verbs: owned(verbs),
        api_groups: owned(&["palisade.dev"]),
        resources: owned(resources),
        ..PolicyRule::default()
    }
}

/// What one may ask for: the verb, the resource, the name, the subresource.
const QUESTIONS: [(&str, &str, &str, &str); 33] = [
    ("list", "users", "", ""),
    ("get", "users", "jane", ""),
    ("create", "users", "", ""),
    ("update", "users", "jane", ""),
    ("patch", "users", "jane", ""),
    ("delete", "users", "jane", ""),
    ("update", "users", "jane", "password"),
    ("update", "users", "root", "password"),
    ("create", "users", "jane", "unlock"),
    ("list", "groups", "", ""),
    ("create", "groups", "", ""),
    ("list", "roles", "", ""),
    ("get", "roles", "cluster-viewer", ""),
    ("create", "roles", "", ""),
    ("list", "bindings", "", ""),
    ("create", "bindings", "", ""),
    ("delete", "bindings", "admin-root", ""),
    ("list", "clusters", "", ""),
    ("get", "clusters", "fake", ""),
    ("get", "clusters", "none", ""),
    ("create", "clusters", "", ""),
    ("update", "clusters", "fake", ""),
    ("delete", "clusters", "fake", ""),
    ("get", "clusters", "fake", "manifest"),
    ("update", "clusters", "fake", "credential"),
    ("list", "tokens", "", ""),
    ("create", "tokens", "", ""),
    ("get", "tokens", "JANES", ""),
    ("get", "tokens", "ROOTS", ""),
    ("delete", "tokens", "JANES", ""),
    ("delete", "tokens", "ROOTS", ""),
    ("delete", "tokens", "0000000000000000", ""),
    ("patch", "tokens", "JANES", ""),
];

/// The request that a question is about, tried only.
fn request((verb, resource, name, subresource): (&str, &str, &str, &str)) -> (Method, String) {
    let method = match verb {
        "list" | "get" => Method::GET,
        "create" => Method::POST,
        "update" => Method::PUT,
        "patch" => Method::PATCH,
        _ => Method::DELETE,
    };
    let path = [BASE, resource, name, subresource].map(str::to_owned);
    let path: Vec<String> = path.into_iter().filter(|part| !part.is_empty()).collect();
    (method, format!("{}?dryRun=All", path.join("/")))
}

/// The same question in protobuf, as `k8s.io/api` writes it.
fn protobuf((verb, resource, name, subresource): (&str, &str, &str, &str)) -> Vec<u8> {
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).unwrap();
        [&[number << 3 | 2, length], bytes].concat()
    }
    let attributes = [
        field(2, verb.as_bytes()),
        field(3, b"palisade.dev"),
        field(5, resource.as_bytes()),
        field(6, subresource.as_bytes()),
        field(7, name.as_bytes()),
    ];
    let review = field(2, &field(1, &attributes.concat()));
    [b"k8s\0".to_vec(), field(2, &review)].concat()
}

/// Somebody whose one role of scope global has these verbs on these resources.
async fn holder(gate: &Gate, name: &str, verbs: &[&str], resources: &[&str]) -> String {
    let token = gate.user(name).await;
    let rules = vec![rule(verbs, resources)];
    gate.role_of(name, RoleScope::Global, rules).await;
    gate.bind_global(name, name).await;
    token
}

/// What the review of a question says, which is the same in JSON and in protobuf.
async fn review(gate: &Gate, token: &str, question: (&str, &str, &str, &str)) -> Value {
    let (verb, resource, name, subresource) = question;
    let attributes = json!({
        "group": "palisade.dev", "verb": verb, "resource": resource, "name": name,
        "subresource": subresource,
    });
    let body = json!({"spec": {"resourceAttributes": attributes}});
    let answer = ask(gate, token, "POST", REVIEWS, Some(&body)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let binary = Request::post(format!("{}{REVIEWS}", gate.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(Full::new(protobuf(question).into()))
        .unwrap();
    let binary = h2(gate, binary).await.json();
    assert_eq!(binary["status"], answer.json()["status"], "{question:?}");
    binary["status"].clone()
}

// F3: a review says yes if and only if the request itself is not refused, for whoever asks.
#[tokio::test]
async fn reviews_say_what_requests_are_answered() {
    let (gate, _, jane) = world().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let reader = holder(&gate, "reader", &["get", "list"], &["*"]).await;
    // Every verb that there is, but no admin: what hands out more than the clerk holds stays closed.
    let every = ["get", "list", "create", "update", "patch", "delete"];
    let clerk = holder(&gate, "clerk", &every, &["*"]).await;
    let desk = holder(&gate, "desk", &["create"], &["users/unlock"]).await;
    let id = |token: &str| token.split('_').nth(2).unwrap()[..16].to_owned();
    let (janes, roots) = (id(&jane), id(&root));

    let mut counts = Vec::new();
    let mut guarded_of_clerk = 0;
    for (who, token) in [
        ("desk", &desk),
        ("jane", &jane),
        ("reader", &reader),
        ("clerk", &clerk),
        ("root", &root),
    ] {
        let mut allowed = 0;
        for (verb, resource, name, subresource) in QUESTIONS {
            let name = match name {
                "JANES" => &janes,
                "ROOTS" => &roots,
                name => name,
            };
            let question = (verb, resource, name, subresource);
            let status = review(&gate, token, question).await;
            let said = status["allowed"].as_bool().unwrap();
            let (method, path) = request(question);
            let body = (method != Method::GET && method != Method::DELETE).then(|| json!({}));
            let answer = ask(&gate, token, method.as_str(), &path, body.as_ref()).await;
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED);
            // What a write gives shows with its object: of this alone a review cannot speak, and says so.
            let gives = "it gives rights that they do not hold";
            let guarded = answer.status == StatusCode::FORBIDDEN && answer.text().contains(gives);
            let as_far = status["reason"]
                .as_str()
                .is_some_and(|why| why.contains("as far as"));
            assert!(
                !guarded || (who == "clerk" && as_far),
                "{who} {question:?}: {status}"
            );
            guarded_of_clerk += usize::from(guarded);
            assert_eq!(
                said,
                guarded || answer.status != StatusCode::FORBIDDEN,
                "{who} {question:?}: {status} but {}: {}",
                answer.status,
                answer.text()
            );
            allowed += usize::from(said && !guarded);
        }
        counts.push(allowed);
    }
    assert!(guarded_of_clerk > 0);
    // The questions tell the five from each other.
    assert!(counts.is_sorted_by(|less, more| less < more), "{counts:?}");
    assert_eq!(counts.last(), Some(&QUESTIONS.len()));
    gate.stop().await;
}

#[tokio::test]
async fn rules_of_ones_own_are_listed_and_reviews_of_nothing_are_400() {
    let gate = Gate::start().await;
    let jane = gate.user("jane").await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let body = json!({"spec": {"namespace": "default"}});
    let rules = ask(&gate, &jane, "POST", path, Some(&body)).await.json();
    let status = &rules["status"];
    assert_eq!(status["incomplete"], true);
    let resources = status["resourceRules"].as_array().unwrap();
    assert!(
        resources
            .iter()
            .any(|rule| rule["resources"] == json!(["tokens"])),
        "{status}"
    );
    let paths = status["nonResourceRules"].as_array().unwrap();
    assert!(
        paths.iter().all(|rule| rule["nonResourceURLs"].is_array()),
        "{status}"
    );
    gate.bind_global("admin", "jane").await;
    let rules = ask(&gate, &jane, "POST", path, Some(&body)).await.json();
    assert_eq!(rules["status"]["incomplete"], false);

    let attributes = json!({"verb": "get", "path": "/version"});
    for bad in [
        json!({}),
        json!({"spec": {}}),
        json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": attributes}}),
        // F7
        json!({"spec": {"resourceAttributes": {"verb": "get", "resorce": "users"}}}),
    ] {
        let answer = ask(&gate, &jane, "POST", REVIEWS, Some(&bad)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let good = json!({"spec": {"nonResourceAttributes": attributes}});
    let answer = ask(&gate, &jane, "POST", REVIEWS, Some(&good)).await;
    assert_eq!(answer.json()["status"]["allowed"], true);
    // A token of clusters reaches whoami here and nothing else, this included.
    let hour = SignedDuration::from_hours(1);
    let scoped = gate.token("jane", &["fake"], hour).await;
    for path in [path, REVIEWS] {
        let answer = ask(&gate, &scoped, "POST", path, Some(&good)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    gate.stop().await;
}

// F1: whether others have objects, jane's answers are the same, in every form and to every probe.
#[tokio::test]
async fn lists_tell_nothing_of_what_others_have() {
    let (gate, fake, jane) = world().await;
    let before = everything(&gate, &jane).await;
    for other in ["mia", "olga", "zoe"] {
        gate.user(other).await;
        let name = format!("of-{other}");
        gate.cluster(&name, &fake).await;
        gate.bind("cluster-owner", other, &format!("of-{other}"))
            .await;
    }
    let after = everything(&gate, &jane).await;
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert!(
        before
            .iter()
            .any(|(path, answer)| path.contains("clusters") && answer.contains("fake"))
    );
    gate.stop().await;
}

/// What somebody finds out of tokens and clusters, by path. Revisions are the store's and move for everybody.
async fn everything(gate: &Gate, token: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for plural in ["clusters", "tokens"] {
        for query in [
            "",
            "?limit=1",
            "?limit=1&resourceVersion=0",
            "?labelSelector=!x",
            "?fieldSelector=metadata.name%3Dof-mia",
            "?fieldSelector=spec.server!%3D",
            "?fieldSelector=spec.user.name%3Dmia",
            "?fieldSelector=status.health%3DDown",
            "?resourceVersionMatch=Exact&resourceVersion=1",
            "?watch=1&sendInitialEvents=true",
            "/of-mia",
            "/of-nobody",
        ] {
            for accept in [
                "application/json",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json",
            ] {
                let path = format!("{BASE}/{plural}{query}");
                let request = get(gate, &path, token).header("accept", accept);
                let answer = h2(gate, empty(request)).await;
                let mut body = answer.json();
                still(&mut body);
                body["message"] = body["message"].as_str().map(without_ids).into();
                found.push((
                    format!("{path} {accept}"),
                    format!("{} {body}", answer.status),
                ));
            }
        }
    }
    found
}

/// Takes out what moves by itself: revisions, ages, and what the probes of clusters find.
fn still(body: &mut Value) {
    if let Some(meta) = body["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
        // Whether there is more is no revision.
        let more = meta.remove("continue").is_some_and(|next| next != "");
        meta.insert("more".to_owned(), more.into());
    }
    for item in body["items"].as_array_mut().into_iter().flatten() {
        item["status"] = Value::Null;
    }
    for row in body["rows"].as_array_mut().into_iter().flatten() {
        for cell in row["cells"].as_array_mut().into_iter().flatten() {
            let text = cell.as_str().unwrap();
            let age = text.starts_with(|c: char| c.is_ascii_digit()) && text.len() < 8;
            if age || ["Unknown", "Ready", "<none>"].contains(&text) || text.starts_with("v1.") {
                *cell = Value::Null;
            }
        }
    }
}

fn without_ids(message: &str) -> String {
    let text = message.split(" (request ").next().unwrap_or_default();
    text.replace("of-mia", "of-X").replace("of-nobody", "of-X")
}

// CVE-2026-88804, P6: the method is the method.
#[tokio::test]
async fn no_method_overrides_another() {
    let gate = Gate::start().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    gate.user("mia").await;
    let path = format!("{BASE}/users/mia");
    for query in [
        "?_method=DELETE",
        "?method=DELETE",
        "?_method=PUT&x-http-method=DELETE",
    ] {
        for header in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
        ] {
            let request = get(&gate, &format!("{path}{query}"), &root).header(header, "DELETE");
            assert_eq!(h2(&gate, empty(request)).await.status, StatusCode::OK);
            let request = Request::post(format!("{}{path}{query}", gate.url))
                .header("authorization", format!("Bearer {root}"))
                .header(header, "DELETE")
                .body(Full::default())
                .unwrap();
            assert_eq!(
                h2(&gate, request).await.status,
                StatusCode::METHOD_NOT_ALLOWED
            );
        }
    }
    let mia = gate.get::<User>("mia").await;
    assert_eq!(mia.object.meta().name, "mia");
    gate.stop().await;
}

// CVE-2024-58259, CVE-2025-23388, P13: huge and deep bodies are refused, with or without a credential, and the
// gateway lives.
#[tokio::test]
async fn huge_and_deep_bodies_are_refused() {
    let gate = Gate::start().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let huge = format!("{{\"metadata\":{{\"name\":\"{}\"}}}}", "a".repeat(4 << 20));
    let deep = format!("{}1{}", "{\"metadata\":".repeat(20_000), "}".repeat(20_000));
    let mut members = "{\"name\":\"a\"},".repeat(100_000);
    members.pop();
    let wide = format!("{{\"metadata\":{{\"name\":\"x\"}},\"spec\":{{\"members\":[{members}]}}}}");
    let long = format!("{{\"metadata\":{{\"name\":\"{}\"}}}}", "é".repeat(1 << 20));
    for (token, body, code) in [
        (&*root, &huge, StatusCode::PAYLOAD_TOO_LARGE),
        (&root, &long, StatusCode::UNPROCESSABLE_ENTITY),
        (&root, &deep, StatusCode::BAD_REQUEST),
        (&root, &wide, StatusCode::UNPROCESSABLE_ENTITY),
        ("", &deep, StatusCode::UNAUTHORIZED),
    ] {
        let request = Request::post(format!("{}{BASE}/groups", gate.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.clone())))
            .unwrap();
        let answer = h2(&gate, request).await;
        assert_eq!(answer.status, code, "{:.300}", answer.text());
        assert!(
            answer.text().len() < 64 << 10,
            "a small answer to a large body"
        );
    }
    let answer = ask(&gate, &root, "GET", &format!("{BASE}/groups"), None).await;
    assert_eq!(answer.json()["items"], json!([]));
    gate.stop().await;
}

// CVE-2024-52281: what people write comes back as data.
#[tokio::test]
async fn what_people_write_is_never_a_page() {
    let gate = Gate::start().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let text = "<script>alert(1)</script>";
    let spec = json!({"scope": "cluster", "description": text});
    let role = json!({"metadata": {"name": "x", "annotations": {"a": text}}, "spec": spec});
    let path = format!("{BASE}/roles");
    let made = ask(&gate, &root, "POST", &path, Some(&role)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let path = format!("{BASE}/roles/x");
    for (accept, code) in [
        ("text/html,application/xhtml+xml,*/*;q=0.8", StatusCode::OK),
        ("text/html", StatusCode::NOT_ACCEPTABLE),
    ] {
        let request = get(&gate, &path, &root)
            .header("accept", accept)
            .header("user-agent", "Mozilla/5.0");
        let answer = h2(&gate, empty(request)).await;
        assert_eq!(answer.status, code, "{}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    gate.stop().await;
}

#[tokio::test]
async fn what_a_list_cannot_show_has_its_status() {
    let gate = Gate::start().await;
    let root = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    for (query, code, reason, said) in [
        (
            "?watch=true",
            405,
            "MethodNotAllowed",
            "does not serve watches",
        ),
        (
            "?resourceVersion=1&resourceVersionMatch=Exact",
            410,
            "Expired",
            "too old",
        ),
        (
            "?resourceVersion=999999",
            504,
            "Timeout",
            "Too large resource version: 999999",
        ),
        (
            "?continue=x",
            400,
            "BadRequest",
            "continue key is not valid",
        ),
        (
            "?fieldSelector=spec.x%3D1",
            400,
            "BadRequest",
            "selected by metadata.name, spec.disabled",
        ),
    ] {
        let answer = ask(&gate, &root, "GET", &format!("{BASE}/users{query}"), None).await;
        let status = answer.json();
        assert_eq!(
            (&status["code"], &status["reason"]),
            (&json!(code), &json!(reason)),
            "{query}"
        );
        assert!(
            answer.message().contains(said),
            "{query}: {}",
            answer.message()
        );
        let cause = &status["details"]["causes"][0]["reason"];
        assert_eq!(code == 504, cause == "ResourceVersionTooLarge", "{status}");
        assert_eq!(
            code == 504,
            answer.headers.contains_key("retry-after"),
            "{status}"
        );
    }
    gate.stop().await;
}
