//! Does one action on a cluster.

use super::{
    book::Action,
    content::{Content, Key, Seen, Wire},
};
use crate::clusters::{
    MANAGER,
    client::{APPLY, Answer, Client, ClientError, JSON},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// Merge patch (RFC 7396).
const MERGE: &str = "application/merge-patch+json";

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// Nothing can be written at the moment.
    Cluster,
    /// Others can.
    Object,
}

/// Says whether others can be written where one could not.
pub(super) fn blame(error: &ClientError) -> Blame {
    match error.code() {
        // No answer, or one of something in front.
        None
        | Some(
            StatusCode::UNAUTHORIZED
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT,
        ) => Blame::Cluster,
        // A 500 also: an admission webhook of one namespace that is broken.
        Some(_) => Blame::Object,
    }
}

/// Does it. What the object is then; `None` if it is gone.
pub(super) async fn perform(
    client: &Client,
    key: &Key,
    action: &Action,
) -> Result<Option<Seen>, ClientError> {
    match action {
        Action::Apply(content) => {
            let path = format!(
                "{}?fieldManager={MANAGER}&force=true&fieldValidation=Strict",
                key.path()
            );
            write(client, key, &path, (APPLY, key.body(content))).await
        }
        Action::Overwrite(content) => {
            let path = format!("{}?fieldManager={MANAGER}", key.path());
            write(client, key, &path, (MERGE, unaggregated(key, content))).await
        }
        Action::Remove(uid, version) => {
            let options = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                // What was seen, and nothing that came in its place.
                "preconditions": { "uid": uid, "resourceVersion": version.0 },
            });
            let body = client.write(&options)?;
            let path = key.path();
            match client.send(Method::DELETE, &path, Some((JSON, body))).await {
                Err(error) if error.code() == Some(StatusCode::NOT_FOUND) => Ok(None),
                // One with finalizers stays for now: it tells of its end by the watch.
                other => other.map(|_| None),
            }
        }
    }
}

/// The object without an aggregation rule. Server-side apply would leave one that is somebody else's.
fn unaggregated(key: &Key, content: &Content) -> Value {
    let mut body = key.body(content);
    if let Some(map) = body.as_object_mut() {
        map.insert("aggregationRule".to_owned(), Value::Null);
    }
    body
}

async fn write(
    client: &Client,
    key: &Key,
    path: &str,
    (kind, body): (&'static str, Value),
) -> Result<Option<Seen>, ClientError> {
    let body = client.write(&body)?;
    let answer = client.send(Method::PATCH, path, Some((kind, body))).await?;
    read(client, key, &answer).map(Some)
}

fn read(client: &Client, key: &Key, answer: &Answer) -> Result<Seen, ClientError> {
    let wire: Wire = client.read(answer)?;
    let (_, seen) = match key {
        Key::Role(_) => wire.role(),
        Key::ClusterBinding(_) | Key::Binding(..) => wire.binding(),
    };
    Ok(seen)
}
