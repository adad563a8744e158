//! `palisade credential`: the exec plugin of kubectl and every client-go program
//! (`client.authentication.k8s.io/v1`; upstream: `client-go/plugin/pkg/client/auth/exec`).
//!
//! It prints the session's token, renewed if half of its life is over. It never asks anything. kubectl
//! does not repeat a request that was answered 401, so a token that the gateway would refuse must not be
//! handed out: the plugin asks the gateway first, and a session that was revoked ends here, with the
//! advice to log in. If the gateway gives no answer the token goes out as it is: then kubectl's own
//! request says what is wrong.

use super::{
    http::{HttpClient, Options},
    output,
    run::{self, Failure},
    session::{Folder, GatewayArgs, SessionError, current, trust},
};
use crate::{config::env, status::clock};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{process::ExitCode, time::Duration};

/// What the versions that are spoken here are called.
const VERSIONS: [&str; 2] = [
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
];
/// The end that kubectl is told lies this much before the real one: it asks again by the time, and a
/// request on its way does not meet a token that has just ended.
const EARLY: SignedDuration = SignedDuration::from_secs(60);
/// How long the gateway may take to say that the session still counts.
const CHECK_LIMIT: Duration = Duration::from_secs(5);
/// A review that names the caller and needs no grant.
const WHO_AM_I: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Arguments of `palisade credential`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecCredential<'a> {
    api_version: &'a str,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_timestamp: Option<Timestamp>,
}

/// Runs `palisade credential`.
pub fn run(args: &Args) -> ExitCode {
    run::run(give(args))
}

async fn give(args: &Args) -> Result<(), Failure> {
    let version = version(env::var("KUBERNETES_EXEC_INFO").as_deref())?;
    let (token, end) = match &args.gateway.token {
        Some(token) => (token.clone(), None),
        None => session(args).await?,
    };
    let credential = ExecCredential {
        api_version: version,
        kind: "ExecCredential",
        status: Status {
            token: &token,
            expiration_timestamp: end.map(|end| clock::whole_seconds(end - EARLY)),
        },
    };
    let credential = serde_json::to_value(&credential);
    run::print(&output::json(&credential.unwrap_or_default()))
}

async fn session(args: &Args) -> Result<(String, Option<Timestamp>), Failure> {
    let folder = Folder::open(args.gateway.config_dir.as_deref())?;
    let server = folder.server(args.gateway.server.as_deref())?;
    let now = clock::now();
    let saved = current(&folder, &server, now).await?;
    let ended = || SessionError::Ended(server.clone());
    let session = saved.session.ok_or_else(ended)?;
    let renewed_just_now = session.obtained_at == now;
    if !renewed_just_now {
        let (trust, _) = trust(&args.gateway, saved.ca)?;
        let options = Options {
            trust,
            token: Some(&session.token),
            limit: Some(CHECK_LIMIT),
            ..Options::default()
        };
        let http = HttpClient::new(&server, options)?;
        let answer = http.post::<_, serde_json::Value>(WHO_AM_I, &review()).await;
        if answer.is_err_and(|error| error.code() == Some(StatusCode::UNAUTHORIZED)) {
            return Err(ended().into());
        }
    }
    Ok((session.token, Some(session.expires_at)))
}

/// The body of a self review.
pub(super) fn review() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
    })
}

/// The version to answer in: that of the question. By hand, without a question, the newest.
fn version(info: Option<&str>) -> Result<&'static str, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Info {
        #[serde(default)]
        api_version: String,
    }
    let [newest, ..] = VERSIONS;
    let Some(info) = info else {
        return Ok(newest);
    };
    let info: Info = serde_json::from_str(info)
        .map_err(|error| Failure::said(format!("KUBERNETES_EXEC_INFO cannot be read: {error}")))?;
    let known = VERSIONS
        .into_iter()
        .find(|&version| version == info.api_version);
    known.ok_or_else(|| {
        Failure::said(format!(
            "KUBERNETES_EXEC_INFO asks for {:?}; this palisade speaks {}",
            info.api_version,
            VERSIONS.join(" and ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_version_of_the_question() {
        let asked = |version: &str| {
            format!(r#"{{"apiVersion":"{version}","spec":{{"interactive":false}}}}"#)
        };
        for known in VERSIONS {
            assert_eq!(version(Some(&asked(known))).unwrap(), known);
        }
        assert_eq!(version(None).unwrap(), VERSIONS[0]);
        let alpha = version(Some(&asked("client.authentication.k8s.io/v1alpha1"))).unwrap_err();
        assert!(alpha.to_string().contains("v1alpha1"), "{alpha}");
        assert!(version(Some("{")).is_err());
    }

    #[test]
    fn kubectl_reads_a_token_and_its_end() {
        let credential = ExecCredential {
            api_version: VERSIONS[0],
            kind: "ExecCredential",
            status: Status {
                token: "t",
                expiration_timestamp: Some("2026-11-22T12:00:00Z".parse().unwrap()),
            },
        };
        assert_eq!(
            serde_json::to_value(&credential).unwrap(),
            serde_json::json!({
                "apiVersion": "client.authentication.k8s.io/v1",
                "kind": "ExecCredential",
                "status": {"token": "t", "expirationTimestamp": "2026-11-22T12:00:00Z"},
            })
        );
    }
}
