//! `/openapi/v3`: as much of it as kubectl reads, for `kubectl explain` and for the check before
//! `kubectl create`. The server refuses unknown fields itself, whatever `fieldValidation` says.

use super::answer;
use super::error::ApiError;
use super::{Body, answer::JSON};
use crate::objects::{Binding, Cluster, GROUP, Group, Kind, Role, Token, User, VERSION};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

mod schemas;
mod v2;

/// The one document; it changes with the program alone.
static DOCUMENT: LazyLock<Value> = LazyLock::new(build);

/// Tells versions of the document apart, so that clients may keep one for ever.
static HASH: LazyLock<String> =
    LazyLock::new(|| format!("{:08X}", crc32fast::hash(DOCUMENT.to_string().as_bytes())));

/// `/openapi/v3`
pub(super) fn index() -> Response<Body> {
    let path = format!("apis/{GROUP}/{VERSION}");
    let url = format!("/openapi/v3/{path}?hash={}", *HASH);
    answer::ok(&json!({"paths": {path: {"serverRelativeURL": url}}}))
}

/// `/openapi/v3/apis/GROUP/VERSION`
pub(super) fn document(group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    if (group, version) != (GROUP, VERSION) {
        return Err(ApiError::NoSuchPath);
    }
    let mut response = answer::json(StatusCode::OK, JSON, &*DOCUMENT);
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", *HASH)) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// `/openapi/v2`, for the clients that read nothing newer.
pub(super) fn old(headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let takes = |mime: &str| [v2::ASKED, v2::SENT, "*/*", "application/*"].contains(&mime);
    if !answer::accepted(headers)
        .iter()
        .any(|range| takes(range.mime))
    {
        return Err(ApiError::NotAcceptable(v2::SENT));
    }
    let paths = [
        v2::path::<Binding>(),
        v2::path::<Cluster>(),
        v2::path::<Group>(),
        v2::path::<Role>(),
        v2::path::<Token>(),
        v2::path::<User>(),
    ];
    let mut response = Response::new(Body::new(Bytes::from(v2::document(&paths))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(v2::SENT));
    Ok(response)
}

/// The schema of a kind.
pub(super) fn schema(kind: &str) -> Option<&'static Value> {
    DOCUMENT.pointer(&format!(
        "/components/schemas/dev.palisade.{VERSION}.{kind}"
    ))
}

/// What a schema refers to, or the schema itself.
pub(super) fn resolved(schema: &Value) -> &Value {
    let target = schema.pointer("/allOf/0/$ref").and_then(Value::as_str);
    let found = target.and_then(|target| DOCUMENT.pointer(target.strip_prefix('#')?));
    found.unwrap_or(schema)
}

fn build() -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    components.insert(schemas::META.to_owned(), schemas::object_meta());
    add::<Binding>(&mut paths, &mut components, schemas::binding());
    add::<Cluster>(&mut paths, &mut components, schemas::cluster());
    add::<Group>(&mut paths, &mut components, schemas::group());
    add::<Role>(&mut paths, &mut components, schemas::role());
    add::<Token>(&mut paths, &mut components, schemas::token());
    add::<User>(&mut paths, &mut components, schemas::user());
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Palisade", "version": concat!("v", env!("CARGO_PKG_VERSION"))},
        "paths": paths,
        "components": {"schemas": components},
    })
}

fn add<K: Kind>(
    paths: &mut Map<String, Value>,
    components: &mut Map<String, Value>,
    parts: schemas::Parts,
) {
    let gvk = json!({"group": GROUP, "version": VERSION, "kind": K::KIND});
    let name = format!("dev.palisade.{VERSION}.{}", K::KIND);
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    components.insert(name, schemas::kind(K::KIND, &gvk, parts));
    let one = |action: &str, parameters: Value, body: bool| {
        let content = json!({JSON: {"schema": reference}});
        let mut operation = json!({
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        });
        if let (true, Some(operation)) = (body, operation.as_object_mut()) {
            operation.insert("requestBody".to_owned(), json!({"content": content}));
        }
        operation
    };
    let query = |names: &[&str]| {
        let parameter = |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
        Value::from(names.iter().map(parameter).collect::<Vec<_>>())
    };
    let write = query(&["dryRun", "fieldManager", "fieldValidation"]);
    let base = format!("/apis/{GROUP}/{VERSION}/{}", K::PLURAL);
    let lists = query(&["continue", "fieldSelector", "labelSelector", "limit"]);
    paths.insert(
        base.clone(),
        json!({"get": one("list", lists, false), "post": one("post", write.clone(), true)}),
    );
    paths.insert(
        format!("{base}/{{name}}"),
        json!({
            "get": one("get", query(&[]), false),
            "put": one("put", write.clone(), true),
            "patch": one("patch", write, true),
            "delete": one("delete", query(&["dryRun"]), false),
            "parameters": [{"name": "name", "in": "path", "required": true, "schema": {"type": "string"}}],
        }),
    );
}
