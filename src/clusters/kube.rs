//! What Palisade asks of an API server: apply, delete, list ours, tokens, "who am I", the version.
//!
//! The same functions serve the command (once, with the operator's credential) and the gateway (with its
//! own accounts).

use super::{
    MANAGED_BY, MANAGER, NAMESPACE,
    client::{APPLY, Client, ClientError, JSON},
    object::{Object, ObjectKind, is_ours},
};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

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

/// Removes an object of ours; one that is not there is removed.
pub async fn delete(client: &Client, kind: ObjectKind, name: &str) -> Result<(), ClientError> {
    let path = format!("{}/{name}", kind.collection());
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    });
    let body = client.write(&options)?;
    match client.send(Method::DELETE, &path, Some((JSON, body))).await {
        Err(error) if error.code() == Some(StatusCode::NOT_FOUND) => Ok(()),
        other => other.map(drop),
    }
}

/// Names of the objects of a kind that carry our label and our prefix.
pub async fn list_ours(client: &Client, kind: ObjectKind) -> Result<Vec<String>, ClientError> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let label = MANAGED_BY.replace('/', "%2F");
    let path = format!("{}?labelSelector={label}%3D{MANAGER}", kind.collection());
    let list: List = client.get(&path).await?;
    let names = list.items.into_iter().map(|item| item.metadata.name);
    Ok(names.filter(|name| is_ours(name)).collect())
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
