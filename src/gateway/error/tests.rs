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

fn hyper_error() -> hyper::Error {
    // A body that breaks its own promise is the only hyper error that can be had without a peer.
    let request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
    let io = hyper_util::rt::TokioIo::new(tokio::io::empty());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        let (sent, _) = tokio::join!(sender.send_request(request), connection);
        sent.unwrap_err()
    })
}

fn gateway_errors() -> Vec<(&'static str, Error)> {
    let head = [
        ("a method that is no API call", HeadError::Method),
        ("`OPTIONS *`, an authority alone", HeadError::NoPath),
        ("a very long target", HeadError::TargetTooLong),
        (
            "two hosts, or Host and `:authority` that disagree",
            HeadError::Host,
        ),
        (
            "a header that means one thing, twice",
            HeadError::Duplicate("authorization"),
        ),
        ("an upgrade that cannot be read", HeadError::Upgrade),
    ];
    let mut all: Vec<_> = head
        .into_iter()
        .map(|(when, error)| (when, error.into()))
        .collect();
    let target = request_info::Refusal::EncodedSlash;
    all.push((
        "a target with two readings (docs/request-targets.md)",
        target.into(),
    ));
    let refused = [
        (
            "no token, a malformed, unknown or revoked one",
            Refusal::UnknownToken,
        ),
        ("the right token, expired", Refusal::Expired),
        (
            "the right session, password changed since",
            Refusal::PasswordChanged,
        ),
        ("the right token of a disabled user", Refusal::Disabled),
        (
            "the right token, the account disabled, locked, expired or gone at its provider",
            Refusal::AccountDisabled,
        ),
        (
            "the right token, what its login left to ask the provider with withdrawn there, or too old",
            Refusal::LoginEnded,
        ),
        (
            "the right token, the password to be changed first at the account's provider",
            Refusal::AccountMustChange,
        ),
        (
            "the right token, the provider gone or the account not listed any more",
            Refusal::NotListed,
        ),
    ];
    all.extend(refused.map(|(when, why)| (when, AuthnError::Refused(why).into())));
    all.push((
        "two credentials",
        AuthnError::Ambiguous("more than one Authorization header").into(),
    ));
    all.push((
        "it cannot be told who asks",
        AuthnError::Unavailable(Unknowable::Loading).into(),
    ));
    all.extend(impersonation_errors());
    all.push((
        "what cannot be recorded is not begun (docs/audit.md)",
        NotAudited::Full.into(),
    ));
    all.extend(authz_errors());
    all.extend(acting_errors());
    all.extend(cluster_errors());
    all
}

fn authz_errors() -> Vec<(&'static str, Error)> {
    let (user, cluster) = ("jane".to_owned(), "prod".to_owned());
    let message = "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the \
        namespace \"default\": no role of yours on cluster \"prod\" allows it";
    let details = Box::new(Details {
        kind: "pods".to_owned(),
        ..Details::default()
    });
    vec![
        (
            "no such cluster, or nothing held on it",
            AuthzError::NoGrant {
                user,
                cluster: cluster.clone(),
            }
            .into(),
        ),
        (
            "no role allows it",
            AuthzError::Denied {
                message: message.to_owned(),
                details,
            }
            .into(),
        ),
        (
            "only in projects, and asked for all namespaces",
            AuthzError::Denied {
                message: format!(
                    "{} in all namespaces{}",
                    message.replace("in the namespace \"default\"", "at the cluster scope"),
                    "; in these it is allowed: shop, shop-*. Ask for one of them, with -n NAMESPACE"
                ),
                details: Box::default(),
            }
            .into(),
        ),
        (
            "more roles than a request can carry",
            AuthzError::TooManyGrants {
                user: "jane".to_owned(),
                cluster: cluster.clone(),
            }
            .into(),
        ),
        (
            "a token of other clusters",
            AuthzError::TokenScope { cluster }.into(),
        ),
        (
            "a cluster-scoped token on the own API",
            AuthzError::TokenNotForOwn.into(),
        ),
    ]
}

fn impersonation_errors() -> Vec<(&'static str, Error)> {
    let name = |name: &'static str| (&http::HeaderName::from_static(name)).into();
    let all = [
        (
            "a header named `Impersonate…` that is none of Kubernetes' four",
            ImpersonationError::Unknown(name("impersonate-foo")),
        ),
        (
            "`--as-group`, `--as-uid` or `--as-user-extra` without `--as`",
            ImpersonationError::NoUser,
        ),
        (
            "two users to act as",
            ImpersonationError::Twice(name("impersonate-user")),
        ),
        (
            "an empty name to act as, an extra without a key",
            ImpersonationError::Empty(name("impersonate-user")),
        ),
        (
            "a name, uid, key or value that is no clean text",
            ImpersonationError::Text(name("impersonate-user")),
        ),
        (
            "a very long one",
            ImpersonationError::TooLong(name("impersonate-user")),
        ),
        ("many `--as-group`", ImpersonationError::TooManyGroups),
        ("many `--as-user-extra`", ImpersonationError::TooManyExtras),
        ("`--as` on login or on a page", ImpersonationError::NotHere),
    ];
    all.map(|(when, error)| (when, error.into())).into()
}

fn acting_errors() -> Vec<(&'static str, Error)> {
    let jane = || "jane".to_owned();
    let denied = AuthzError::Denied {
        message: "users \"jane\" is forbidden: User \"mia\" cannot impersonate resource \"users\" in API group \
            \"\" at the cluster scope: no role of yours on cluster \"prod\" allows it"
            .to_owned(),
        details: Box::new(Details {
            kind: "users".to_owned(),
            ..Details::default()
        }),
    };
    let mut all = vec![(
        "`--as` somebody whom no role lets one act as, whether or not they exist",
        denied.into(),
    )];
    let acting = [
        (
            "`--as` a service account",
            ActingError::ServiceAccount("system:serviceaccount:a:b".to_owned()),
        ),
        (
            "`--as`, `--as-group` with a name of Kubernetes' own",
            ActingError::System("system:masters".to_owned()),
        ),
        (
            "the same with a name that clusters see",
            ActingError::ClusterSide("palisade:jane".to_owned()),
        ),
        (
            "`--as-user-extra` with a key of the gateway's",
            ActingError::OwnExtra("palisade.dev/token-id".to_owned()),
        ),
        (
            "no such user, told to whoever may act as that name",
            ActingError::NoUser(jane()),
        ),
        (
            "no such group, told to whoever may act in that name",
            ActingError::NoGroup("devs".to_owned()),
        ),
        ("`--as` a disabled user", ActingError::Disabled(jane())),
        ("`--as-uid` of somebody else", ActingError::WrongUid(jane())),
        (
            "it cannot be told whom one acts as",
            ActingError::Unknown(jane(), Unknowable::Unreadable),
        ),
    ];
    all.extend(acting.map(|(when, error)| (when, AuthzError::Acting(error).into())));
    all
}

fn cluster_errors() -> Vec<(&'static str, Error)> {
    let name = || "prod".to_owned();
    let dial = DialError::Connect {
        address: "10.0.0.1:6443".to_owned(),
        source: std::io::ErrorKind::ConnectionRefused.into(),
    };
    vec![
        (
            "removed while the request was judged",
            NotReady::Unknown(name()).into(),
        ),
        (
            "registered without a credential",
            NotReady::Pending(name()).into(),
        ),
        (
            "the last probe was refused",
            NotReady::Refused(name()).into(),
        ),
        (
            "settings that cannot be used",
            NotReady::Unusable(name()).into(),
        ),
        (
            "known to be down",
            ProxyError::Down(Arc::new("no route".to_owned())).into(),
        ),
        ("cannot be reached", ProxyError::Dial(dial).into()),
        ("no connection in time", ProxyError::DialTimeout.into()),
        ("every connection is taken", ProxyError::Busy.into()),
        (
            "the connection was lost before the answer",
            ProxyError::Lost(hyper_error()).into(),
        ),
        ("no answer in time", ProxyError::Timeout.into()),
        (
            "401 to the gateway itself",
            ProxyError::CredentialRefused.into(),
        ),
        ("101 to another protocol", ProxyError::OtherProtocol.into()),
        (
            "`--as` on a cluster that does not hold yet what it takes",
            ProxyError::ActingNotSynced("prod".into()).into(),
        ),
        (
            "a project's member on a cluster that was not read yet, right after a start",
            ProxyError::NotRead("prod".into()).into(),
        ),
        (
            "an identity that fits no header",
            ProxyError::Identity.into(),
        ),
        (
            "a target that cannot be forwarded",
            ProxyError::Target.into(),
        ),
    ]
}

fn api_errors() -> Vec<(&'static str, Error)> {
    let user = || ObjectRef::of::<User>("jane");
    let all = vec![
        ("no such path", ApiError::NoSuchPath),
        ("no such object", ApiError::NotFound(user())),
        (
            "the name is taken",
            ApiError::AlreadyExists(user(), "".into()),
        ),
        (
            "written by somebody else in between",
            ApiError::Conflict(user(), "the object has been modified".to_owned()),
        ),
        (
            "wrong fields",
            ApiError::Invalid(user(), vec![Mistake::required("spec.x", "must be set")]),
        ),
        (
            "a body that cannot be read",
            ApiError::BadRequest("invalid JSON".to_owned()),
        ),
        ("a body that broke off", ApiError::BodyBroken),
        (
            "others' objects",
            ApiError::Forbidden("only an admin may do this".to_owned()),
        ),
        (
            "another method",
            ApiError::MethodNotAllowed("the path does not take PATCH".to_owned()),
        ),
        ("a large body", ApiError::TooLarge(1 << 20)),
        (
            "another content type",
            ApiError::UnsupportedMediaType("application/json"),
        ),
        (
            "no form that the client takes",
            ApiError::NotAcceptable("application/json"),
        ),
        ("a slow body", ApiError::BodyTimeout(10)),
        ("the store's queue is full", ApiError::Busy),
        (
            "a write while this replica cannot follow the store",
            ApiError::Behind,
        ),
        (
            "an object that the store does not take",
            ApiError::TooLargeToStore("more than 1,400,000 bytes at once"),
        ),
        (
            "the store does not answer",
            ApiError::Store(StoreError::Closed),
        ),
        (
            "the store failed in the middle of a write",
            ApiError::Uncertain(StoreError::Uncertain(Arc::new(std::fmt::Error))),
        ),
        ("no random bytes for a token", ApiError::NoRandomness),
        (
            "changing one's own password with a wrong current one",
            ApiError::Password(login::LoginError::WrongCurrent),
        ),
        (
            "syncing a cluster that has no credential",
            ApiError::Cluster(NotReady::Pending("prod".to_owned()).into()),
        ),
    ];
    let all = all.into_iter().chain(list_errors());
    all.map(|(when, error)| (when, error.into())).collect()
}

fn list_errors() -> Vec<(&'static str, ApiError)> {
    vec![
        (
            "a list of exactly an older state (`resourceVersionMatch=Exact`)",
            ApiError::Expired(12),
        ),
        (
            "a revision that the store has not reached",
            ApiError::TooNew {
                wanted: 90,
                current: 12,
            },
        ),
        (
            "a list without a limit over too many objects",
            ApiError::TooMany(10_000),
        ),
    ]
}

fn login_errors() -> Vec<(&'static str, Error)> {
    use login::{LoginError as E, Refused};
    let all = vec![
        ("no such path", E::NoSuchPath),
        ("another method", E::Method("POST")),
        ("a body that cannot be read", E::Body("a login")),
        ("a large body", E::TooLarge),
        ("a slow body", E::BodyTimeout),
        ("an unknown provider", E::Provider),
        (
            "a wrong name, a wrong password, a disabled or machine user",
            E::Refused(Refused::WrongPassword),
        ),
        (
            "the right password of an account that is not listed",
            E::NotListed,
        ),
        (
            "the right password of an account whose name is somebody else's here",
            E::NoHandle(login::NoHandle::Taken("corp:jane".to_owned())),
        ),
        (
            "a directory does not answer",
            E::ProviderDown(Box::new(silent())),
        ),
        (
            "too many logins at a directory at the same time",
            E::ProviderBusy,
        ),
        ("a password for a provider of the browser's", E::ByBrowser),
        ("a password for a user of a provider", E::Foreign),
        ("renewing what is no session", E::NotASession),
        ("a wrong current password", E::WrongCurrent),
        (
            "a password against the rules",
            E::Rule(passwords::RuleError::Short),
        ),
        ("a password for a machine user", E::Machine),
        ("no such user", E::NoUser),
        ("changed by others again and again", E::Conflict),
        (
            "too many wrong passwords, for the account or from the address",
            E::Throttled(throttle::Throttled {
                limit: throttle::Limit::Account,
                wait: std::time::Duration::from_mins(5),
            }),
        ),
        (
            "too many logins at the same time",
            E::Passwords(passwords::PasswordError::Busy),
        ),
        ("the store does not answer", E::Store(uncertain())),
    ];
    let arrivals = arrivals().into_iter();
    let arrivals = arrivals.map(|(when, error)| (when, E::from(error)));
    all.into_iter()
        .chain(terminals())
        .chain(arrivals)
        .map(|(when, error)| (when, error.into()))
        .collect()
}

fn web_errors() -> Vec<(&'static str, Error)> {
    use web::WebError as E;
    let all = vec![
        ("no such page", E::NoSuchPage),
        ("another method", E::Method("GET, HEAD")),
        (
            "a form that is none",
            E::Form(crate::request::form::FormError::Type),
        ),
        ("a form that breaks off", E::Broken),
        (
            "a login of a terminal that sends its code elsewhere",
            E::Authorize("redirect_uri"),
        ),
        ("a large form", E::TooLarge),
        ("a slow form", E::Timeout),
        ("a form that another site sent", E::CrossSite),
        ("a form of another browser or session", E::Stale),
        (
            "a login at a provider, begun at another host than `external_url`",
            E::Elsewhere("https://gate.example.com".to_owned()),
        ),
        (
            "two cookies of one name",
            E::Authn(AuthnError::Ambiguous("two cookies of one name")),
        ),
        (
            "whose session it is cannot be told",
            E::Authn(AuthnError::Unavailable(Unknowable::Loading)),
        ),
        (
            "the store does not answer",
            E::Login(login::LoginError::Store(uncertain())),
        ),
        ("a page cannot be written", E::Render(askama::Error::Fmt)),
        (
            "no random numbers",
            E::Randomness(crate::authn::NoRandomness),
        ),
    ];
    all.into_iter()
        .map(|(when, error)| (when, error.into()))
        .collect()
}

/// What logins by way of a browser meet.
fn terminals() -> Vec<(&'static str, login::LoginError)> {
    use login::LoginError as E;
    vec![
        (
            "too many wrong codes, or terminals or browsers that begin",
            E::TooManyCodes(std::time::Duration::from_secs(12)),
        ),
        (
            "too many terminals wait for an answer",
            E::TooManyGrants(Kind::Device),
        ),
        (
            "too many terminals were let in and have not come yet",
            E::TooManyGrants(Kind::Code),
        ),
        (
            "too many browsers come back from providers",
            E::TooManyGrants(Kind::State),
        ),
        ("a user code that is nobody's", E::UserCode),
    ]
}

/// Browsers that come back from a provider without an account.
fn arrivals() -> Vec<(&'static str, ArrivalError)> {
    let denied = ArrivalError::Denied {
        error: "access_denied".to_owned(),
        description: String::new(),
    };
    vec![
        (
            "a browser that comes back from a login that it did not begin, or twice",
            ArrivalError::Callback("its state is of another login"),
        ),
        ("a browser that comes back with a no", denied),
        (
            "an ID token that is not what it should be",
            ArrivalError::Token(TokenError::Signature),
        ),
        (
            "an account that cannot be used",
            ArrivalError::Account("its e-mail address is not verified"),
        ),
        (
            "a browser's provider does not answer",
            ArrivalError::Failed(redirect::Failure::Paused),
        ),
        (
            "a browser's provider wants to be left alone",
            ArrivalError::Failed(redirect::Failure::Limited {
                wait: std::time::Duration::from_mins(5),
                whole: Whole::Yes,
            }),
        ),
        (
            "a provider does not say which groups an account is in",
            ArrivalError::Failed(redirect::Failure::GroupsUnknown("there are too many")),
        ),
    ]
}

fn silent() -> Failure {
    Failure::SearchAccount("invalid credentials".to_owned())
}

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
