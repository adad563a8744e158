//! `/openapi/v3`: as much of it as kubectl reads, for `kubectl explain` and for the check before
//! `kubectl create`. The server refuses unknown fields itself, whatever `fieldValidation` says.

use super::answer;
use super::error::ApiError;
use super::route::{GROUPS, versions_of};
use super::{Body, answer::JSON};
use crate::objects::{Binding, Cluster, GROUP, Group, Kind, Project, Role, Token, User, VERSION};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use schemas::META;
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

mod reviews;
mod schemas;
mod v2;

/// The documents by the path of their group and version; they change with the program alone.
static DOCUMENTS: LazyLock<BTreeMap<String, Document>> = LazyLock::new(|| {
    let versions = |group: &'static str| versions_of(group).iter().map(move |v| (group, *v));
    let document = |(group, version)| {
        let content = match group {
            GROUP => build(),
            _ => reviews::document(group, version),
        };
        let hash = format!("{:08X}", crc32fast::hash(content.to_string().as_bytes()));
        (path(group, version), Document { content, hash })
    };
    GROUPS
        .into_iter()
        .flat_map(versions)
        .map(document)
        .collect()
});

struct Document {
    content: Value,
    /// Tells versions of the document apart, so that clients may keep one for ever.
    hash: String,
}

fn path(group: &str, version: &str) -> String {
    format!("apis/{group}/{version}")
}

/// `/openapi/v3`
pub(super) fn index() -> Response<Body> {
    let one = |(path, document): (&String, &Document)| {
        let url = format!("/openapi/v3/{path}?hash={}", document.hash);
        (path.clone(), json!({"serverRelativeURL": url}))
    };
    let paths: Map<String, Value> = DOCUMENTS.iter().map(one).collect();
    answer::ok(&json!({"paths": paths}))
}

/// `/openapi/v3/apis/GROUP/VERSION`
pub(super) fn document(group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let found = DOCUMENTS.get(&path(group, version));
    let found = found.ok_or(ApiError::NoSuchPath)?;
    let mut response = answer::json(StatusCode::OK, JSON, &found.content);
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", found.hash)) {
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
        v2::path::<Project>(),
        v2::path::<Role>(),
        v2::path::<Token>(),
        v2::path::<User>(),
    ];
    let mut response = Response::new(Body::new(Bytes::from(v2::document(&paths))));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(v2::SENT));
    Ok(response)
}

/// The schema of a kind of ours.
pub(super) fn schema(kind: &str) -> Option<&'static Value> {
    ours(&format!(
        "/components/schemas/dev.palisade.{VERSION}.{kind}"
    ))
}

/// What a schema of ours refers to, or the schema itself.
pub(super) fn resolved(schema: &Value) -> &Value {
    let target = schema.pointer("/allOf/0/$ref").and_then(Value::as_str);
    let found = target.and_then(|target| ours(target.strip_prefix('#')?));
    found.unwrap_or(schema)
}

fn ours(pointer: &str) -> Option<&'static Value> {
    let document = DOCUMENTS.get(&path(GROUP, VERSION))?;
    document.content.pointer(pointer)
}

fn build() -> Value {
    let mut paths = Map::new();
    let mut components = Map::new();
    components.insert(META.to_owned(), schemas::object_meta());
    add::<Binding>(&mut paths, &mut components, schemas::binding());
    add::<Cluster>(&mut paths, &mut components, schemas::cluster());
    add::<Group>(&mut paths, &mut components, schemas::group());
    add::<Project>(&mut paths, &mut components, schemas::project());
    add::<Role>(&mut paths, &mut components, schemas::role());
    add::<Token>(&mut paths, &mut components, schemas::token());
    add::<User>(&mut paths, &mut components, schemas::user());
    whole(&Value::Object(paths), &Value::Object(components))
}

fn whole(paths: &Value, schemas: &Value) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Palisade", "version": concat!("v", env!("CARGO_PKG_VERSION"))},
        "paths": paths,
        "components": {"schemas": schemas},
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
