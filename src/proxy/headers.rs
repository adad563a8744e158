//! Which headers cross the gateway, in both directions.
//!
//! Towards a cluster the map is built from an allowlist, never copied and pruned: a header that Kubernetes
//! invents tomorrow does not cross until somebody has thought about it (H2, H3). Under a `proxy`
//! subresource the addressee is somebody's web application, so end-to-end headers pass there, less those
//! that carry identity, that belong to one hop, or that only the gateway may set (H6, H15).
//!
//! Hop-by-hop headers, and those that `Connection` names, are dropped *before* the gateway writes its own:
//! `Connection: Impersonate-User` therefore removes nothing of ours (H4, H5; CVE-2022-23652,
//! CVE-2021-31999).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What an API call may carry to a cluster. All lower-case, here and below; a `match` compares lengths first,
/// so a name costs a few nanoseconds however long the list.
fn is_allowed(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "accept-encoding"
            | "accept-language"
            | "cache-control"
            | "content-encoding"
            | "content-type"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "kubectl-command"
            | "kubectl-session"
            | "range"
            | "traceparent"
            | "tracestate"
            | "user-agent"
    )
}

/// What an upgrade may carry besides (SPDY: client-go `remotecommand`; WebSocket: RFC 6455).
const ALLOWED_UPGRADE: &[&str] = &[
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "x-stream-protocol-version",
];

/// One hop's own headers (RFC 9110 §7.6.1, and the older ones that clients still send).
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Names under which an application behind the cluster, or the cluster itself, would read an identity, an
/// address or a trust of ours. Exact names.
fn is_never_sent(name: &str) -> bool {
    matches!(
        name,
        "audit-id"
            | "authorization"
            | "content-length"
            | "cookie"
            | "expect"
            | "forwarded"
            | "host"
            | "x-real-ip"
    )
}

/// The same by beginning.
const NEVER_PREFIX: &[&str] = &[
    "impersonate",
    "x-remote-",
    "x-forwarded-",
    "palisade-",
    "sec-websocket-",
];

/// What an answer of a cluster never carries to a client: the gateway's origin is not the cluster's to
/// configure.
fn is_never_returned(name: &str) -> bool {
    matches!(
        name,
        "accept-ch"
            | "alt-svc"
            | "clear-site-data"
            | "expect-ct"
            | "nel"
            | "public-key-pins"
            | "report-to"
            | "reporting-endpoints"
            | "service-worker-allowed"
            | "set-cookie"
            | "strict-transport-security"
    )
}

/// Entries that the map of a request is made for: what clients send (at most ten) and what the gateway adds
/// (nine, and a grant group or two). A map of this size grows at 24.
const USUAL: usize = 20;

/// The client's headers that go on with an API call. One pass over what there is: clients send fewer headers
/// than the allowlist has.
pub(super) fn for_api(client: &HeaderMap, upgrade: bool) -> HeaderMap {
    // Room for what the gateway adds, so that the map is allocated once.
    let mut out = HeaderMap::with_capacity(USUAL);
    let named = ConnectionNames::of(client);
    for (name, value) in client {
        let text = name.as_str();
        let allowed = is_allowed(text) || (upgrade && ALLOWED_UPGRADE.contains(&text));
        if allowed && !named.contains(text) {
            out.append(name, value.clone());
        }
    }
    if upgrade {
        drop_bearer_protocol(&mut out);
    }
    out
}

/// The client's headers that go on under a `proxy` subresource.
pub(super) fn for_proxied_app(client: &HeaderMap, upgrade: bool) -> HeaderMap {
    let named = ConnectionNames::of(client);
    let mut out = HeaderMap::with_capacity(client.len() + 16);
    for (name, value) in client {
        let text = name.as_str();
        if is_hop_by_hop(text)
            || is_never_sent(text)
            || NEVER_PREFIX.iter().any(|prefix| text.starts_with(prefix))
            || text.contains('_')
            || named.contains(text)
        {
            continue;
        }
        out.append(name.clone(), value.clone());
    }
    if upgrade {
        copy(client, ALLOWED_UPGRADE, &named, &mut out);
        drop_bearer_protocol(&mut out);
    }
    out
}

/// Prunes an answer of a cluster. `proxied`: it comes from an application under a `proxy` subresource, and
/// a browser must not run it with the gateway's origin.
pub(super) fn prune_answer(headers: &mut HeaderMap, proxied: bool) {
    let named = ConnectionNames::of(headers);
    let goes = |name: &HeaderName| {
        let text = name.as_str();
        is_hop_by_hop(text)
            || is_never_returned(text)
            || text.starts_with("access-control-")
            || named.contains(text)
    };
    // Nearly every answer of an API server has none of them, and then nothing is allocated.
    let going: Vec<HeaderName> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in going {
        headers.remove(name);
    }
    if proxied {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("sandbox"),
        );
    }
}

fn copy(from: &HeaderMap, names: &[&'static str], dropped: &ConnectionNames, to: &mut HeaderMap) {
    for &name in names {
        if dropped.contains(name) {
            continue;
        }
        for value in from.get_all(name) {
            to.append(HeaderName::from_static(name), value.clone());
        }
    }
}

/// The gateway consumes a token in the WebSocket subprotocol list; the rest goes on as one line (S8).
fn drop_bearer_protocol(headers: &mut HeaderMap) {
    let Some(value) = headers.get(header::SEC_WEBSOCKET_PROTOCOL) else {
        return;
    };
    let Ok(text) = value.to_str() else {
        // No protocol is spelt so; what another reader would find in it nobody knows.
        headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        return;
    };
    if !text.contains("base64url.bearer.authorization.k8s.io.") {
        return;
    }
    let rest: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|protocol| !protocol.starts_with("base64url.bearer.authorization.k8s.io."))
        .collect();
    match HeaderValue::from_str(&rest.join(", ")) {
        Ok(value) if !rest.is_empty() => {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        _ => {
            headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
        }
    }
}

/// The header names that a message's `Connection` lists, as tokens (RFC 9110 §7.6.1). Empty for nearly
/// every request, and then it holds no memory.
struct ConnectionNames(Vec<Box<str>>);

impl ConnectionNames {
    fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for value in headers.get_all(header::CONNECTION) {
            for token in value.as_bytes().split(|&b| b == b',') {
                let token = token.trim_ascii();
                let known = [&b"upgrade"[..], b"keep-alive", b"close", b""];
                if !known.iter().any(|k| token.eq_ignore_ascii_case(k)) {
                    names.push(
                        String::from_utf8_lossy(token)
                            .to_ascii_lowercase()
                            .into_boxed_str(),
                    );
                }
            }
        }
        Self(names)
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|listed| **listed == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    value.parse::<HeaderValue>().unwrap(),
                )
            })
            .collect()
    }

    proptest! {
        // H2, H3, H6: whatever the name, nothing that starts like an identity header crosses.
        #[test]
        fn no_identity_header_crosses(
            prefix in "(?i)(impersonate[-_]?|x-remote-|x_remote_|x-forwarded-|x_forwarded_|palisade-)",
            tail in "[a-zA-Z0-9_-]{0,12}",
        ) {
            let name = format!("{prefix}{tail}");
            let Ok(name) = name.parse::<HeaderName>() else { return Ok(()) };
            let client: HeaderMap =
                [(name.clone(), HeaderValue::from_static("x"))].into_iter().collect();
            for upgrade in [false, true] {
                prop_assert!(for_api(&client, upgrade).is_empty());
                prop_assert!(for_proxied_app(&client, upgrade).is_empty());
            }
        }
    }

    #[test]
    fn api_calls_carry_the_allowlist_with_all_values() {
        let client = map(&[
            ("accept", "application/json"),
            ("accept", "application/yaml"),
            ("cookie", "s=1"),
            ("authorization", "Bearer x"),
            ("x-anything", "1"),
            ("sec-websocket-key", "k"),
            ("audit-id", "mine"),
        ]);
        let out = for_api(&client, false);
        assert_eq!(out.get_all("accept").iter().count(), 2);
        assert_eq!(out.len(), 2);
    }

    #[test]
    fn proxied_apps_get_end_to_end_headers_less_identity() {
        let client = map(&[
            ("x-app", "1"),
            ("x_app", "1"),
            ("cookie", "s=1"),
            ("authorization", "Bearer x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("te", "trailers"),
            ("connection", "x-hop, close"),
            ("x-hop", "1"),
            ("audit-id", "mine"),
        ]);
        let out = for_proxied_app(&client, false);
        assert_eq!(
            out.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-app"]
        );
    }

    // S8: the token in the subprotocol list is consumed, the rest is one line.
    #[test]
    fn bearer_subprotocol_is_consumed() {
        let client = map(&[(
            "sec-websocket-protocol",
            "base64url.bearer.authorization.k8s.io.dG9r, v5.channel.k8s.io, v4.channel.k8s.io",
        )]);
        let out = for_api(&client, true);
        assert_eq!(
            out["sec-websocket-protocol"],
            "v5.channel.k8s.io, v4.channel.k8s.io"
        );
    }

    #[test]
    fn answers_lose_what_would_configure_our_origin() {
        let mut answer = map(&[
            ("set-cookie", "a=b"),
            ("access-control-allow-origin", "*"),
            ("alt-svc", "h3"),
            ("clear-site-data", "*"),
            ("strict-transport-security", "max-age=1"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("warning", "299 - \"x\""),
            ("warning", "299 - \"y\""),
            ("content-type", "text/html"),
        ]);
        prune_answer(&mut answer, false);
        assert_eq!(answer.len(), 3);
        assert_eq!(answer.get_all("warning").iter().count(), 2);
        prune_answer(&mut answer, true);
        assert_eq!(answer["content-security-policy"], "sandbox");
    }
}
