//! Whether a cluster answers, as this replica sees it.
//!
//! The question is `GET /version` with the impersonator's token: it needs a connection, a certificate
//! that is trusted, a credential that is taken and an API server that serves, and costs the cluster
//! nothing. What could go wrong: a kept connection that is dead without knowing it (a failure over a kept
//! connection is tried again over a fresh one before it counts).

use super::{
    client::{Client, ClientError},
    kube,
};
use crate::{objects::Health, proxy::endpoint::Endpoint};
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// Bound on one probe: an API server that needs longer for its version serves nobody.
pub const PROBE_LIMIT: Duration = Duration::from_secs(4);

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In a word.
    pub health: Health,
    /// The API server's version, as last heard.
    pub version: String,
    /// Why it is not ready; empty if it is.
    pub message: String,
}

impl Report {
    /// A cluster that was not asked yet, or cannot be.
    pub(super) fn of(health: Health, message: impl Into<String>) -> Self {
        Self {
            health,
            version: String::new(),
            message: message.into(),
        }
    }
}

/// Asks one cluster, over one kept connection.
pub(super) struct Prober {
    endpoint: Endpoint,
    client: Client,
}

impl Prober {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        Self {
            client: client(endpoint),
            endpoint: endpoint.clone(),
        }
    }

    /// Whether it still speaks to the right place with the right credential.
    pub(super) fn speaks_for(&self, endpoint: &Endpoint) -> bool {
        self.endpoint.same_target(endpoint)
            && self.endpoint.authorization() == endpoint.authorization()
    }

    /// Asks, and asks once more over a fresh connection before it says no.
    pub(super) async fn probe(&mut self) -> Report {
        let first = ask(&self.client).await;
        if first.health == Health::Ready {
            return first;
        }
        self.client = client(&self.endpoint);
        ask(&self.client).await
    }
}

fn client(endpoint: &Endpoint) -> Client {
    Client::new(
        Arc::clone(endpoint.target()),
        Some(endpoint.authorization().clone()),
    )
}

async fn ask(client: &Client) -> Report {
    match timeout(PROBE_LIMIT, kube::version(client)).await {
        Ok(Ok(version)) => Report {
            health: Health::Ready,
            version,
            message: String::new(),
        },
        Ok(Err(error)) => judge(&error),
        Err(_) => Report::of(
            Health::Down,
            format!(
                "{} does not answer within {} s",
                client.address(),
                PROBE_LIMIT.as_secs()
            ),
        ),
    }
}

fn judge(error: &ClientError) -> Report {
    match error.code() {
        Some(StatusCode::UNAUTHORIZED) => Report::of(
            Health::Refused,
            "the cluster refuses the gateway's credential: hand over a new one by `palisade cluster add`",
        ),
        // It answers and knows us; that it hides its version is its own affair.
        Some(code) if code.is_client_error() => Report::of(Health::Ready, ""),
        // Something in front of a dead API server, or something that is none.
        Some(_) | None => Report::of(Health::Down, error.chain()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clusters::{client::Refusal, registry},
        objects::{Cluster, ClusterSpec},
        proxy::dial::Reach,
    };
    use std::future::Future as _;

    #[test]
    fn an_answer_says_how_a_cluster_is() {
        let table = [
            (StatusCode::UNAUTHORIZED, Health::Refused),
            (StatusCode::FORBIDDEN, Health::Ready),
            (StatusCode::TOO_MANY_REQUESTS, Health::Ready),
            (StatusCode::FOUND, Health::Down),
            (StatusCode::BAD_GATEWAY, Health::Down),
            (StatusCode::SERVICE_UNAVAILABLE, Health::Down),
        ];
        for (code, health) in table {
            let refusal = Refusal {
                code,
                message: "why".to_owned(),
                reason: None,
                error: None,
                request_id: None,
            };
            let report = judge(&ClientError::Refused(Box::new(refusal)));
            assert_eq!(report.health, health, "{code}");
            assert_eq!(report.message.is_empty(), health == Health::Ready, "{code}");
        }
    }

    // P11: a registered name that turns out to be loopback is not dialled, whatever it was when it was
    // registered.
    #[tokio::test]
    async fn a_cluster_on_loopback_is_down_and_never_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "2130706433", "[::ffff:127.0.0.1]"] {
            let spec = ClusterSpec {
                server: format!("https://{host}:{port}"),
                tls_server_name: "prod.example".to_owned(),
                ..ClusterSpec::default()
            };
            let cluster = Cluster::new("prod", spec);
            let target = registry::target(&cluster, Reach::Clusters).unwrap();
            let endpoint = Endpoint::new(Arc::new(target), "token").unwrap();
            let report = Prober::new(&endpoint).probe().await;
            assert_eq!(report.health, Health::Down, "{host}");
            assert!(report.message.contains("loopback"), "{host}: {report:?}");
        }
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        let accept = std::pin::pin!(listener.accept());
        assert!(accept.poll(&mut context).is_pending(), "somebody connected");
    }
}
