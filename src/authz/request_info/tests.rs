//! The published rules and traps of RequestInfo (its algorithm's rules 1 to 13, P1 to P6).

mod queries;
mod refusals;

use super::*;

fn parse<'a>(method: &'a str, target: &'a str) -> RequestInfo<'a> {
    RequestInfo::parse(method, target, false)
        .unwrap_or_else(|refusal| panic!("{target}: {refusal}"))
}

/// `verb prefix/group/version namespace resource/subresource name`, `-` for empty.
fn short(info: &RequestInfo<'_>) -> String {
    let dash = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            text.to_owned()
        }
    };
    if !info.is_resource {
        return format!("{} path {}", dash(&info.verb), info.path);
    }
    format!(
        "{} {}/{}/{} {} {}/{} {}",
        dash(&info.verb),
        info.api_prefix,
        dash(&info.api_group),
        info.api_version,
        dash(&info.namespace),
        dash(&info.resource),
        dash(&info.subresource),
        dash(&info.name)
    )
}

fn check(rows: &[(&str, &str, &str)]) {
    for (method, target, expected) in rows {
        assert_eq!(
            &short(&parse(method, target)),
            expected,
            "{method} {target}"
        );
    }
}

const POSITIONS: &[(&str, &str, &str)] = &[
    ("GET", "/api/v1/pods", "list api/-/v1 - pods/- -"),
    (
        "GET",
        "/api/v1/namespaces/default/pods",
        "list api/-/v1 default pods/- -",
    ),
    (
        "GET",
        "/api/v1/namespaces/default/pods/x",
        "get api/-/v1 default pods/- x",
    ),
    (
        "GET",
        "/api/v1/namespaces/default/pods/x/log",
        "get api/-/v1 default pods/log x",
    ),
    (
        "GET",
        "/api/v1/namespaces/default/pods/x/log/more/parts",
        "get api/-/v1 default pods/log x",
    ),
    (
        "GET",
        "/apis/apps/v1/deployments",
        "list apis/apps/v1 - deployments/- -",
    ),
    (
        "PUT",
        "/apis/apps/v1/namespaces/a/deployments/d/scale",
        "update apis/apps/v1 a deployments/scale d",
    ),
    (
        "GET",
        "/api/v1/namespaces",
        "list api/-/v1 - namespaces/- -",
    ),
    (
        "GET",
        "/api/v1/namespaces/ns1",
        "get api/-/v1 ns1 namespaces/- ns1",
    ),
    (
        "PUT",
        "/api/v1/namespaces/ns1/status",
        "update api/-/v1 ns1 namespaces/status ns1",
    ),
    (
        "PUT",
        "/api/v1/namespaces/ns1/finalize",
        "update api/-/v1 ns1 namespaces/finalize ns1",
    ),
    (
        "GET",
        "/api/v1/namespaces/ns1/anythingelse",
        "list api/-/v1 ns1 anythingelse/- -",
    ),
    (
        "GET",
        "/api/v1/namespaces/ns1/nodes",
        "list api/-/v1 ns1 nodes/- -",
    ),
    // `namespaces` is special in every group.
    (
        "GET",
        "/apis/g/v1/namespaces/n/things/t",
        "get apis/g/v1 n things/- t",
    ),
    (
        "GET",
        "/api/v1/namespaces/ns1/proxy",
        "list api/-/v1 ns1 proxy/- -",
    ),
    // A trailing slash counts for nothing.
    ("GET", "/api/v1/pods/", "list api/-/v1 - pods/- -"),
    (
        "GET",
        "/api/v1/namespaces/default/pods/x/",
        "get api/-/v1 default pods/- x",
    ),
];

#[test]
fn resources_are_read_by_position() {
    check(POSITIONS);
}

#[test]
fn short_and_foreign_paths_are_plain() {
    check(&[
        ("GET", "/", "get path /"),
        ("GET", "/api", "get path /api"),
        ("GET", "/api/v1", "get path /api/v1"),
        ("GET", "/api/v1/", "get path /api/v1/"),
        ("GET", "/apis", "get path /apis"),
        ("GET", "/apis/apps", "get path /apis/apps"),
        ("GET", "/apis/apps/v1", "get path /apis/apps/v1"),
        ("GET", "/healthz", "get path /healthz"),
        ("GET", "/healthz/", "get path /healthz/"),
        ("GET", "/healthz/log", "get path /healthz/log"),
        (
            "GET",
            "/openapi/v3/apis/apps/v1",
            "get path /openapi/v3/apis/apps/v1",
        ),
        ("POST", "/metrics", "post path /metrics"),
        ("HEAD", "/version", "head path /version"),
        ("OPTIONS", "/version", "options path /version"),
        ("Get", "/version", "get path /version"),
        // Case-sensitive.
        ("GET", "/API/v1/pods", "get path /API/v1/pods"),
    ]);
    // The prefix stays on a path of `apis` that is too short (rule 5), and on no other.
    assert_eq!(parse("GET", "/apis/apps/v1").api_prefix, "apis");
    assert_eq!(parse("GET", "/apis/apps").api_prefix, "");
    assert_eq!(parse("GET", "/api/v1").api_prefix, "");
}

#[test]
fn verbs_come_from_the_method() {
    check(&[
        (
            "POST",
            "/api/v1/namespaces/a/pods",
            "create api/-/v1 a pods/- -",
        ),
        (
            "HEAD",
            "/api/v1/namespaces/a/pods/x",
            "get api/-/v1 a pods/- x",
        ),
        ("HEAD", "/api/v1/pods", "list api/-/v1 - pods/- -"),
        ("HEAD", "/api/v1/pods?watch=1", "watch api/-/v1 - pods/- -"),
        (
            "PUT",
            "/api/v1/namespaces/a/pods/x",
            "update api/-/v1 a pods/- x",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/a/pods/x",
            "patch api/-/v1 a pods/- x",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/a/pods/x",
            "delete api/-/v1 a pods/- x",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/a/pods",
            "deletecollection api/-/v1 a pods/- -",
        ),
        (
            "OPTIONS",
            "/api/v1/namespaces/a/pods/x",
            "- api/-/v1 a pods/- x",
        ),
        ("TRACE", "/api/v1/pods", "- api/-/v1 - pods/- -"),
        ("get", "/api/v1/pods", "- api/-/v1 - pods/- -"),
        ("CONNECT", "/api/v1/pods", "- api/-/v1 - pods/- -"),
    ]);
}

#[test]
fn deprecated_prefixes_are_verbs_in_one_place() {
    check(&[
        ("GET", "/api/v1/watch/pods", "watch api/-/v1 - pods/- -"),
        ("DELETE", "/api/v1/watch/pods", "watch api/-/v1 - pods/- -"),
        (
            "GET",
            "/api/v1/watch/namespaces/a/pods/x",
            "watch api/-/v1 a pods/- x",
        ),
        (
            "GET",
            "/apis/apps/v1/watch/deployments",
            "watch apis/apps/v1 - deployments/- -",
        ),
        (
            "GET",
            "/api/v1/proxy/nodes/n/log",
            "proxy api/-/v1 - nodes/- n",
        ),
        (
            "POST",
            "/api/v1/proxy/namespaces/a/pods/x",
            "proxy api/-/v1 a pods/- x",
        ),
        // Anywhere else they are names.
        (
            "GET",
            "/api/v1/namespaces/a/watch",
            "list api/-/v1 a watch/- -",
        ),
        (
            "GET",
            "/api/v1/namespaces/watch/pods",
            "list api/-/v1 watch pods/- -",
        ),
    ]);
    // No selectors by this way.
    let info = parse(
        "GET",
        "/api/v1/watch/pods?fieldSelector=metadata.name=x&labelSelector=a=b",
    );
    assert_eq!(
        (&*info.name, &*info.field_selector, &*info.label_selector),
        ("", "", "")
    );
    for target in [
        "/api/v1/watch",
        "/api/v1/watch/",
        "/apis/g/v1/proxy",
        "/api/v1/proxy",
    ] {
        assert_eq!(
            RequestInfo::parse("GET", target, false),
            Err(Refusal::NoResource),
            "{target}"
        );
    }
}

#[test]
fn the_path_is_decoded_once() {
    check(&[
        ("GET", "/%61pi/v1/pods", "list api/-/v1 - pods/- -"),
        (
            "GET",
            "/api/v1/namespaces/a/pods/a%252Fb",
            "get api/-/v1 a pods/- a%2Fb",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/a%20b",
            "get api/-/v1 a pods/- a b",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/a+b",
            "get api/-/v1 a pods/- a+b",
        ),
        (
            "GET",
            "/api/v1/pods%3Fwatch=true",
            "list api/-/v1 - pods?watch=true/- -",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/x%23y",
            "get api/-/v1 a pods/- x#y",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/%C3%A4",
            "get api/-/v1 a pods/- ä",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/ä",
            "get api/-/v1 a pods/- ä",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods/x;y=1",
            "get api/-/v1 a pods/- x;y=1",
        ),
        ("GET", "/healthz%2A", "get path /healthz*"),
        ("GET", "/api/v1/nodes/...", "get api/-/v1 - nodes/- ..."),
    ]);
    assert_eq!(parse("GET", "/%61pi/v1/pods").path, "/api/v1/pods");
}

#[test]
fn absolute_form_is_its_path() {
    check(&[
        (
            "GET",
            "http://other/api/v1/pods",
            "list api/-/v1 - pods/- -",
        ),
        (
            "GET",
            "HTTPS://other:6443/api/v1/pods?watch=1",
            "watch api/-/v1 - pods/- -",
        ),
        ("GET", "http://[::1]:80/version", "get path /version"),
        ("GET", "http://other", "get path /"),
        ("GET", "http://other?watch=1", "get path /"),
    ]);
}

// P3, kubernetes#78741: a read-only role gives no shell.
#[test]
fn connecting_to_a_pod_needs_create_too() {
    for (method, path, extra) in [
        ("GET", "/api/v1/namespaces/a/pods/x/exec", Some("create")),
        ("GET", "/api/v1/namespaces/a/pods/x/attach", Some("create")),
        (
            "GET",
            "/api/v1/namespaces/a/pods/x/portforward",
            Some("create"),
        ),
        (
            "OPTIONS",
            "/api/v1/namespaces/a/pods/x/exec",
            Some("create"),
        ),
        ("PUT", "/api/v1/namespaces/a/pods/x/exec", Some("create")),
        ("POST", "/api/v1/namespaces/a/pods/x/exec", None),
        ("GET", "/api/v1/namespaces/a/pods/x/log", None),
        ("GET", "/api/v1/namespaces/a/pods/x/proxy", None),
        ("GET", "/api/v1/namespaces/a/pods/exec", None),
        ("GET", "/api/v1/nodes/x/proxy/exec", None),
        (
            "GET",
            "/apis/subresources.kubevirt.io/v1/namespaces/a/virtualmachineinstances/v/portforward",
            None,
        ),
        ("GET", "/apis/g/v1/namespaces/a/pods/x/exec", None),
    ] {
        for upgrade in [false, true] {
            let info = RequestInfo::parse(method, path, upgrade).unwrap();
            assert_eq!(info.extra_verb, extra, "{method} {path}");
            let verbs: Vec<String> = info.checks().map(|attrs| attrs.verb.to_owned()).collect();
            let expected: Vec<&str> = std::iter::once(&*info.verb).chain(extra).collect();
            assert_eq!(verbs, expected, "{method} {path}");
            assert!(
                info.checks()
                    .all(|attrs| attrs.resource == info.resource && attrs.name == info.name)
            );
        }
    }
}

#[test]
fn requests_that_stay_open_are_known() {
    for (method, target, upgrade, long) in [
        ("GET", "/api/v1/pods?watch=1", false, true),
        ("GET", "/api/v1/watch/pods", false, true),
        ("GET", "/api/v1/proxy/nodes/n", false, true),
        ("GET", "/api/v1/namespaces/a/pods/x/log", false, true),
        ("POST", "/api/v1/namespaces/a/pods/x/exec", false, true),
        ("POST", "/api/v1/namespaces/a/pods/x/attach", false, true),
        ("GET", "/api/v1/nodes/n/proxy/metrics", false, true),
        (
            "GET",
            "/apis/kubevirt.io/v1/namespaces/a/vms/v/portforward",
            false,
            true,
        ),
        (
            "GET",
            "/apis/kubevirt.io/v1/namespaces/a/vms/v/vnc",
            false,
            false,
        ),
        (
            "GET",
            "/apis/kubevirt.io/v1/namespaces/a/vms/v/vnc",
            true,
            true,
        ),
        ("GET", "/debug/pprof/profile", false, true),
        ("GET", "/debug/pprof", false, false),
        ("GET", "/api/v1/pods", false, false),
        ("GET", "/logs/kube-apiserver.log", false, false),
    ] {
        let info = RequestInfo::parse(method, target, upgrade).unwrap();
        assert_eq!(info.is_long_running(), long, "{method} {target}");
    }
}

#[test]
fn usual_requests_borrow() {
    let info = parse("GET", "/api/v1/namespaces/default/pods/x/log?container=c");
    for part in [
        &info.verb,
        &info.namespace,
        &info.resource,
        &info.subresource,
        &info.name,
        &info.path,
    ] {
        assert!(matches!(part, Cow::Borrowed(_)), "{part}");
    }
}
