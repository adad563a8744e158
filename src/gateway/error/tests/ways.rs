//! The errors on the way to a cluster or to the gateway's own API.

use super::*;

pub(super) fn gateway_errors() -> Vec<(&'static str, Error)> {
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
