//! docs/answers.md is made here: every error, and what a client reads.

use super::*;
use crate::{
    api::{
        ObjectRef,
        login::{self, grants::Kind},
    },
    authn::{
        Unknowable, passwords,
        providers::{ArrivalError, github::Whole, ldap::Failure, oidc::TokenError, redirect},
        throttle,
    },
    gateway::answer::{Fault, Shape},
    objects::User,
    observe::audit::NotAudited,
    proxy::dial::DialError,
    request::RequestId,
    status::Details,
    store::StoreError,
    web,
};
use http_body_util::BodyExt as _;
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

mod own;
mod ways;

use own::{api_errors, login_errors, web_errors};
use ways::gateway_errors;

fn uncertain() -> StoreError {
    StoreError::Uncertain(Arc::new(std::io::Error::other("disk")))
}

fn row(text: &mut String, when: &str, error: &Error) {
    let answer = error.answer();
    let reason = answer
        .reason
        .map_or("–".to_owned(), |reason| format!("{reason:?}"));
    let fault = error.fault().as_str();
    let retry = answer
        .retry_after
        .map_or(String::new(), |seconds| format!(" Retry-After: {seconds}."));
    let code = answer.code.as_u16();
    writeln!(
        text,
        "| {when} | {code} | {reason} | {fault} | {}{retry} |",
        answer.message
    )
    .unwrap();
}

fn markdown() -> String {
    let mut text = include_str!("preface.md").to_owned();
    for (title, errors) in [
        (
            "On the way to a cluster or to the gateway's own API",
            gateway_errors(),
        ),
        ("Of the gateway's own API", api_errors()),
        ("Of `/v1/login/…`", login_errors()),
        ("Of the pages", web_errors()),
    ] {
        write!(
            text,
            "\n## {title}\n\n| when | code | reason | fault | message |\n|---|---|---|---|---|\n"
        )
        .unwrap();
        for (when, error) in errors {
            row(&mut text, when, &error);
        }
    }
    text
}

#[test]
fn answers_are_as_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/answers.md");
    let made = markdown();
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/answers.md is old: UPDATE_DOCS=1 cargo test answers_are_as_documented"
    );
}

// Could not tell is never an allow and never a refusal (rule 3): every such error is 5xx.
#[test]
fn what_could_not_be_told_is_a_server_error() {
    for error in [
        Error::from(AuthnError::Unavailable(Unknowable::Loading)),
        Error::from(login::LoginError::Store(uncertain())),
        Error::from(NotAudited::Failing),
        Error::from(ProxyError::CredentialRefused),
        Error::from(ProxyError::Busy),
    ] {
        assert!(error.answer().code.is_server_error(), "{error}");
        assert_ne!(error.fault(), Fault::Client, "{error}");
    }
}

// A stranger cannot tell an unknown cluster from one that is not theirs.
#[test]
fn an_unknown_cluster_reads_like_a_foreign_one() {
    let answer = |cluster: &str| {
        let (user, cluster) = ("jane".to_owned(), cluster.to_owned());
        Error::from(AuthzError::NoGrant { user, cluster })
            .answer()
            .message
    };
    assert_eq!(
        answer("a").replace("\"a\"", "X"),
        answer("b").replace("\"b\"", "X")
    );
}

// Discovery paths show kubectl text, and only text; a 401 stays a Status everywhere.
#[tokio::test]
async fn discovery_refusals_are_text() {
    let collect = async |error: Error, shape| {
        let response = error.answer().into_response(RequestId::new(), shape);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (
            parts.status.as_u16(),
            parts.headers["content-type"].to_str().unwrap().to_owned(),
            body,
        )
    };
    let down = || Error::from(ProxyError::Down(Arc::default()));
    let (code, kind, body) = collect(down(), Shape::Discovery).await;
    assert_eq!((code, &*kind), (502, "text/plain; charset=utf-8"));
    assert!(body.starts_with(b"the cluster cannot be reached"));
    let (code, kind, _) = collect(down(), Shape::Status).await;
    assert_eq!((code, &*kind), (503, "application/json"));
    let unknown = || Error::from(AuthnError::Refused(Refusal::UnknownToken));
    let (code, kind, body) = collect(unknown(), Shape::Discovery).await;
    assert_eq!((code, &*kind), (401, "application/json"));
    assert!(!String::from_utf8_lossy(&body).contains("request "));
}

#[test]
fn no_two_rows_of_a_table_are_the_same() {
    for errors in [gateway_errors(), api_errors(), login_errors(), web_errors()] {
        let whens: BTreeSet<_> = errors.iter().map(|(when, _)| *when).collect();
        assert_eq!(whens.len(), errors.len());
    }
}

// G8: a body's values are told to whoever sent them, and to no log.
#[test]
fn what_a_body_held_is_not_logged() {
    let wrong = Mistake::invalid("spec.server", "canary-value", "no URL");
    let error = Error::from(ApiError::Invalid(
        ObjectRef::of::<User>("jane"),
        vec![wrong],
    ));
    assert!(error.answer().message.contains("canary-value"));
    assert!(
        error.for_log().contains("spec.server"),
        "{}",
        error.for_log()
    );
    assert!(!error.for_log().contains("canary"), "{}", error.for_log());
    let error = Error::from(ApiError::BadRequest("found \"canary\"".to_owned()));
    assert!(!error.for_log().contains("canary"), "{}", error.for_log());
    // Every other error keeps its causes.
    let lost = Error::from(ProxyError::CredentialRefused);
    assert_eq!(
        lost.for_log(),
        "proxy: the cluster refuses the gateway's own credential"
    );
}
