//! Discovery, `/version`, OpenAPI, whoami.

use super::*;

async fn fetch(world: &World, path: &str, accept: &str) -> (String, Value) {
    let request = Request::builder()
        .uri(path)
        .header("accept", accept)
        .body(Full::<Bytes>::default())
        .unwrap();
    let jane = caller("jane", "u-jane", Reach::Own);
    let response = world.api.handle(&jane, request).await.unwrap();
    let kind = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (kind, serde_json::from_slice(&bytes).unwrap())
}

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

#[tokio::test]
async fn discovery_is_plain_or_aggregated_as_asked() {
    let world = World::empty().await;
    for (accept, content, kind) in [
        ("application/json", "application/json", "APIGroupList"),
        ("*/*", "application/json", "APIGroupList"),
        (V2BETA1, V2BETA1, "APIGroupDiscoveryList"),
        (
            &format!("{V2},{V2BETA1},application/json"),
            V2,
            "APIGroupDiscoveryList",
        ),
        (
            &format!("{V2BETA1},application/json"),
            V2BETA1,
            "APIGroupDiscoveryList",
        ),
        (
            "application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList,application/json",
            "application/json",
            "APIGroupList",
        ),
    ] {
        let (found, body) = fetch(&world, "/apis", accept).await;
        assert_eq!(
            (found.as_str(), &body["kind"]),
            (content, &json!(kind)),
            "{accept}"
        );
    }
    let protobuf = Request::builder()
        .uri("/apis")
        .header("accept", "application/vnd.kubernetes.protobuf")
        .body(Full::<Bytes>::default())
        .unwrap();
    let jane = caller("jane", "u-jane", Reach::Own);
    assert_eq!(world.send(&jane, protobuf).await.0, 406);
}

#[tokio::test]
async fn discovery_is_this() {
    let world = World::empty().await;
    let mut all = serde_json::Map::new();
    for path in [
        "/api",
        "/apis",
        "/apis/palisade.dev",
        "/apis/palisade.dev/v1alpha1",
        "/apis/authentication.k8s.io/v1",
        "/apis/authorization.k8s.io/v1",
    ] {
        all.insert(
            path.to_owned(),
            fetch(&world, path, "application/json").await.1,
        );
    }
    all.insert("aggregated".to_owned(), fetch(&world, "/apis", V2).await.1);
    insta::assert_snapshot!(serde_json::to_string_pretty(&all).unwrap());
}

#[tokio::test]
async fn every_advertised_resource_answers() {
    let world = World::new().await;
    let (_, list) = fetch(&world, "/apis/palisade.dev/v1alpha1", "application/json").await;
    for resource in list["resources"].as_array().unwrap() {
        let name = resource["name"].as_str().unwrap();
        let verbs: Vec<&str> = resource["verbs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let path = match name.split_once('/') {
            Some((kind, sub)) => format!("{kind}/x/{sub}"),
            None => name.to_owned(),
        };
        for verb in verbs {
            let (method, path) = match verb {
                "list" => ("GET", path.clone()),
                "get" if path.contains('/') => ("GET", path.clone()),
                "get" => ("GET", format!("{path}/x")),
                "create" => ("POST", path.clone()),
                "update" if path.contains('/') => ("PUT", path.clone()),
                "update" => ("PUT", format!("{path}/x")),
                "patch" => ("PATCH", format!("{path}/x")),
                "delete" => ("DELETE", format!("{path}/x")),
                other => panic!("{other}"),
            };
            let got = if method == "PATCH" {
                let request = Request::builder()
                    .method(method)
                    .uri(format!("{BASE}/{path}"))
                    .header("content-type", "application/merge-patch+json")
                    .body(Full::new(Bytes::from_static(b"{}")));
                let root = caller("root", "u-root", Reach::All);
                world.send(&root, request.unwrap()).await
            } else {
                world.root(method, &path, json!({})).await
            };
            assert!(
                got.0 != 405 && !message(&got).contains("could not find the requested"),
                "{verb} {name}: {}",
                got.1
            );
        }
    }
}

#[tokio::test]
async fn version_and_openapi_say_what_clients_need() {
    let world = World::empty().await;
    let (_, version) = fetch(&world, "/version", "application/json").await;
    assert_eq!(
        version["gitVersion"],
        concat!("v", env!("CARGO_PKG_VERSION"))
    );
    let (_, index) = fetch(&world, "/openapi/v3", "application/json").await;
    let url = index["paths"]["apis/palisade.dev/v1alpha1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let (_, document) = fetch(&world, url, "application/json").await;
    let patch = &document["paths"]["/apis/palisade.dev/v1alpha1/users/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "User");
    let names: Vec<&Value> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert!(names.contains(&&json!("fieldValidation")), "{names:?}");
    for kind in ["Binding", "Cluster", "Group", "Role", "Token", "User"] {
        let schema = &document["components"]["schemas"][format!("dev.palisade.v1alpha1.{kind}")];
        assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], kind);
    }
    // kubectl explains what discovery lists, so each version of each group has a document.
    let (_, groups) = fetch(&world, "/apis", "application/json").await;
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            let (_, list) = fetch(&world, &format!("/apis/{version}"), "application/json").await;
            let url = index["paths"][format!("apis/{version}")]["serverRelativeURL"]
                .as_str()
                .unwrap();
            let (_, document) = fetch(&world, url, "application/json").await;
            let resources = list["resources"].as_array().unwrap();
            for resource in resources.iter().map(|one| one["name"].as_str().unwrap()) {
                let found = &document["paths"][format!("/apis/{version}/{resource}")];
                assert!(
                    resource.contains('/') || found.is_object(),
                    "{version} {resource}"
                );
            }
        }
    }
    let got = world
        .jane("GET", "/openapi/v3/apis/palisade.dev/v9", Value::Null)
        .await;
    assert_eq!(got.0, 404);
}

#[tokio::test]
async fn whoami_tells_the_caller_and_reads_no_body() {
    let world = World::new().await;
    world
        .put(Group::new("ops", GroupSpec::default()), "g-ops")
        .await;
    let mut jane = caller("jane", "u-jane", Reach::Own);
    jane.groups = ["g-ops".into(), "g-gone".into()].into();
    jane.token_clusters = Some(["prod".into()].into());
    let protobuf = Value::String("k8s\0binary".to_owned());
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let path = format!("/apis/authentication.k8s.io/{version}/selfsubjectreviews");
        let got = world.ask(&jane, "POST", &path, &protobuf).await;
        assert_eq!(got.0, 201);
        assert_eq!(
            got.1["apiVersion"],
            format!("authentication.k8s.io/{version}")
        );
        let info = &got.1["status"]["userInfo"];
        assert_eq!(
            (&info["username"], &info["uid"], &info["groups"]),
            (&json!("jane"), &json!("u-jane"), &json!(["ops"]))
        );
        assert_eq!(
            info["extra"]["palisade.dev/token-id"],
            json!(["abcdefgh01234567"])
        );
        assert_eq!(
            info["extra"]["palisade.dev/token-clusters"],
            json!(["prod"])
        );
    }
}
