//! Waits until a cluster's authoriser knows what was just written.
//!
//! A rule that is written is not yet one that is obeyed: the API server's authoriser hears of it by a watch
//! of its own, milliseconds later. A request that names a group before that is refused as a whole. So the
//! account on the data path asks the authoriser itself (SelfSubjectAccessReview, which every cluster grants
//! to everybody who is logged in) before a group is sent.

use crate::clusters::client::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two questions.
const POLL: Duration = Duration::from_millis(10);
/// Longest wait; then the group is sent all the same: it stands in the cluster's rule.
const LONGEST: Duration = Duration::from_secs(5);
/// Wait instead of asking, on a cluster that does not answer the question.
const BLIND: Duration = Duration::from_millis(250);

/// What the account on the data path wants to be allowed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    /// To act in a grant group.
    Group(&'a str),
    /// To say any extra of a user ([`crate::clusters::manifest::ACTING`]).
    Extras,
}

impl Wish<'_> {
    fn attributes(self) -> Value {
        match self {
            Self::Group(group) => json!({
                "verb": "impersonate", "group": "", "resource": "groups", "name": group,
            }),
            // The key stands where a subresource does, its value where a name does (apiserver,
            // `filters/impersonation`). One that no gateway sends: it is allowed by no rule but the wildcard.
            Self::Extras => json!({
                "verb": "impersonate", "group": "authentication.k8s.io", "resource": "userextras",
                "subresource": "palisade.dev/any", "name": "any",
            }),
        }
    }
}

/// Waits until `client`, the account on the data path, is allowed what it wants.
pub(super) async fn heard(client: &Client, wish: Wish<'_>) {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        allowed: bool,
    }
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": wish.attributes() },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        match client.post::<_, Review>(path, &question).await {
            Ok(review) if review.status.allowed => return,
            Ok(_) => sleep(POLL).await,
            Err(_) => return sleep(BLIND).await,
        }
    }
}
