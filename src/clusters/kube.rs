//! What Palisade asks of an API server: apply, delete, list ours, tokens, "who am I", the version.
//!
//! The same functions serve the command (once, with the operator's credential) and the gateway (with its
//! own accounts).

use super::{
    MANAGED_BY, MANAGER, NAMESPACE,
    client::{APPLY, Client, ClientError, JSON, escape},
    object::{Object, ObjectKind, is_ours},
    reconcile::Key,
};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Objects that are asked for at a time: a page stays far below the bound on an answer.
pub(super) const PAGE: usize = 500;

/// A token that an API server made.
pub struct Minted {
    /// The secret text.
    pub token: Zeroizing<String>,
    /// Its end, which may be nearer or farther than what was asked for.
    pub expires_at: Timestamp,
}

/// Writes an object by server-side apply; what others put into the same fields is taken over.
pub async fn apply(client: &Client, object: &Object) -> Result<(), ClientError> {
    let path = format!(
        "{}?fieldManager={MANAGER}&force=true&fieldValidation=Strict",
        object.path()
    );
    let body = client.write(object.body())?;
    client
        .send(Method::PATCH, &path, Some((APPLY, body)))
        .await
        .map(drop)
}

/// Removes the object at `path`; one that is not there is removed.
pub async fn delete(client: &Client, path: &str) -> Result<(), ClientError> {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    });
    let body = client.write(&options)?;
    match client.send(Method::DELETE, path, Some((JSON, body))).await {
        Err(error) if error.code() == Some(StatusCode::NOT_FOUND) => Ok(()),
        other => other.map(drop),
    }
}

/// The bindings and ClusterRoles that carry our label and our prefix, in the order in which they are best
/// removed. Those in our own namespace go with it.
pub async fn list_ours(client: &Client) -> Result<Vec<Key>, ClientError> {
    let mut keys = Vec::new();
    for resource in ["clusterrolebindings", "rolebindings", "clusterroles"] {
        list_page_by_page(client, resource, &mut keys).await?;
    }
    Ok(keys)
}

async fn list_page_by_page(
    client: &Client,
    resource: &str,
    keys: &mut Vec<Key>,
) -> Result<(), ClientError> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Item>,
        metadata: ListMetadata,
    }
    #[derive(Deserialize)]
    struct ListMetadata {
        #[serde(default)]
        r#continue: String,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: Box<str>,
        #[serde(default)]
        namespace: Box<str>,
    }
    let label = MANAGED_BY.replace('/', "%2F");
    let start = format!(
        "/apis/rbac.authorization.k8s.io/v1/{resource}?labelSelector={label}%3D{MANAGER}&limit={PAGE}"
    );
    let mut path = start.clone();
    loop {
        let list: List = client.get(&path).await?;
        let ours = list.items.into_iter().map(|item| item.metadata);
        let ours = ours.filter(|item| is_ours(&item.name) && *item.namespace != *NAMESPACE);
        keys.extend(ours.map(|item| match resource {
            "clusterroles" => Key::Role(item.name),
            "clusterrolebindings" => Key::ClusterBinding(item.name),
            _ => Key::Binding(item.namespace, item.name),
        }));
        if list.metadata.r#continue.is_empty() {
            return Ok(());
        }
        path = format!("{start}&continue={}", escape(&list.metadata.r#continue));
    }
}

/// Asks for a token of one of our accounts (`authentication.k8s.io/v1` TokenRequest), for the API server's
/// own audience.
pub async fn mint(client: &Client, account: &str, seconds: u64) -> Result<Minted, ClientError> {
    #[derive(Deserialize)]
    struct Answer {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        token: String,
        expiration_timestamp: Timestamp,
    }
    let path = format!(
        "{}/{account}/token",
        ObjectKind::ServiceAccount.collection()
    );
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": { "name": account, "namespace": NAMESPACE },
        "spec": { "expirationSeconds": seconds },
    });
    let answer: Answer = client.post(&path, &body).await?;
    Ok(Minted {
        token: Zeroizing::new(answer.status.token),
        expires_at: answer.status.expiration_timestamp,
    })
}

/// The user name that the API server sees. v1 is there from Kubernetes 1.28 on, v1beta1 in 1.27.
pub async fn who_am_i(client: &Client) -> Result<String, ClientError> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        user_info: UserInfo,
    }
    #[derive(Deserialize)]
    struct UserInfo {
        #[serde(default)]
        username: String,
    }
    let ask = async |version: &str| {
        let body = json!({
            "apiVersion": format!("authentication.k8s.io/{version}"),
            "kind": "SelfSubjectReview",
        });
        let path = format!("/apis/authentication.k8s.io/{version}/selfsubjectreviews");
        let review: Review = client.post(&path, &body).await?;
        Ok(review.status.user_info.username)
    };
    match ask("v1").await {
        Err(error) if is_not_found(&error) => ask("v1beta1").await,
        other => other,
    }
}

fn is_not_found(error: &ClientError) -> bool {
    error.code() == Some(StatusCode::NOT_FOUND)
}

/// The API server's `gitVersion`. Also the cheapest question that needs a good credential: every default
/// cluster answers it to `system:authenticated`.
pub async fn version(client: &Client) -> Result<String, ClientError> {
    let version: Value = client.get("/version").await?;
    let text = version.get("gitVersion").and_then(Value::as_str);
    Ok(text.unwrap_or_default().to_owned())
}
