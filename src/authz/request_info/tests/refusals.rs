//! What is refused, where, and that nothing else is ambiguous.

use super::*;
use proptest::prelude::*;

const REFUSED: &[(Refusal, &[&str])] = &[
    (
        Refusal::TargetForm,
        &[
            "",
            "*",
            "api/v1/pods",
            "host:443",
            "ftp://host/x",
            "http:///x",
            "http://",
            "http://user@host/x",
            "http://a%2eb/x",
            "?x",
        ],
    ),
    (
        Refusal::Fragment,
        &["/api/v1/pods#x", "/api/v1/pods?a=b#c", "/#"],
    ),
    (
        Refusal::ControlByte,
        &[
            "/api/v1/po\0ds",
            "/a%00b",
            "/a%1Fb",
            "/a%7fb",
            "/a b",
            "/a\u{7f}",
            "/a?b\n",
            "/a\tb",
            "/%0d%0aX",
        ],
    ),
    (
        Refusal::BadEscape,
        &["/%zz", "/api/v1/pods/%", "/a%2", "/a%g0"],
    ),
    (
        Refusal::EncodedSlash,
        &[
            "/api/v1/namespaces%2Fdefault%2fsecrets",
            "/a%2fb",
            "/api/v1/nodes/x%2Flog",
        ],
    ),
    (
        Refusal::Backslash,
        &["/api\\v1", "/a%5cb", "/api/v1/nodes/x%5Clog", "/a\\..\\b"],
    ),
    (
        Refusal::DotSegment,
        &[
            "/api/v1/namespaces/a/../default/pods",
            "/healthz/../api/v1/secrets",
            "/./a",
            "/a/.",
            "/a/..",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%2e",
            "http://h/../x",
        ],
    ),
    (
        Refusal::EmptySegment,
        &[
            "//api/v1/pods",
            "//",
            "/api/v1/namespaces//pods",
            "/api/v1//pods",
            "/api/v1/namespaces/default/pods//log",
            "/api/v1/pods//",
            "/healthz//x",
            "http://h//x",
        ],
    ),
    (
        Refusal::NotUtf8,
        &[
            "/a%ff",
            "/api/v1/pods?labelSelector=%ff",
            "/api/v1/pods?fieldSelector=%C3",
        ],
    ),
    (Refusal::NoResource, &["/api/v1/watch"]),
];

#[test]
fn refused_targets_are_refused() {
    for &(refusal, targets) in REFUSED {
        for target in targets {
            assert_eq!(
                RequestInfo::parse("GET", target, false),
                Err(refusal),
                "{target:?}"
            );
        }
    }
}

#[test]
fn too_many_parameters_are_refused_where_they_count() {
    let query = |count: usize| vec!["a"; count].join("&");
    let list = |count| format!("/api/v1/pods?{}", query(count));
    assert!(RequestInfo::parse("GET", &list(10_000), false).is_ok());
    assert_eq!(
        RequestInfo::parse("GET", &list(10_001), false),
        Err(Refusal::TooManyParameters)
    );
    let get = format!("/api/v1/nodes/n?{}", query(10_001));
    assert!(RequestInfo::parse("GET", &get, false).is_ok());
}

#[test]
fn behind_proxy_only_dots_and_control_bytes_are_refused() {
    for (target, expected) in [
        ("/api/v1/nodes/n/proxy/a//b", "get api/-/v1 - nodes/proxy n"),
        ("/api/v1/nodes/n/proxy//", "get api/-/v1 - nodes/proxy n"),
        ("/api/v1/nodes/n/proxy", "get api/-/v1 - nodes/proxy n"),
        (
            "/api/v1/nodes/n/%70roxy/a%2Fb",
            "get api/-/v1 - nodes/proxy n",
        ),
        (
            "/api/v1/namespaces/a/services/https:s:443/proxy/x%5Cy\\z",
            "get api/-/v1 a services/proxy https:s:443",
        ),
        (
            "/api/v1/namespaces/a/pods/p/proxy/%ff/%C3%A4",
            "get api/-/v1 a pods/proxy p",
        ),
        (
            "/api/v1/namespaces/a/pods/p:80/proxy/.../..a",
            "get api/-/v1 a pods/proxy p:80",
        ),
        (
            "/apis/g/v1/namespaces/a/things/t/proxy//x",
            "get apis/g/v1 a things/proxy t",
        ),
        (
            "/api/v1/namespaces/a/pods/p/proxy/%252e%252e/x",
            "get api/-/v1 a pods/proxy p",
        ),
    ] {
        assert_eq!(short(&parse("GET", target)), expected, "{target}");
    }
    for (tail, refusal) in [
        ("..", Refusal::DotSegment),
        ("a/../b", Refusal::DotSegment),
        ("a/./b", Refusal::DotSegment),
        ("%2e%2e/b", Refusal::DotSegment),
        ("a%2f..%2fb", Refusal::DotSegment),
        ("a\\..\\b", Refusal::DotSegment),
        ("a%5c%2e%2e", Refusal::DotSegment),
        ("a%00", Refusal::ControlByte),
        ("a%0d%0ab", Refusal::ControlByte),
        ("%zz", Refusal::BadEscape),
    ] {
        let target = format!("/api/v1/namespaces/a/pods/p/proxy/{tail}");
        assert_eq!(
            RequestInfo::parse("GET", &target, false),
            Err(refusal),
            "{tail}"
        );
    }
    // The tail is free under the subresource alone, not under a name or a namespace called proxy, nor under
    // the deprecated prefix.
    for target in [
        "/api/v1/proxy/nodes/n//x",
        "/api/v1/namespaces/proxy//x",
        "/api/v1/namespaces/a/proxy/x//y",
        "/api/v1/nodes/proxy//x",
        "/api/v1/nodes/n/log/proxy//x",
        "/proxy//x",
        "/healthz/a/proxy//x",
        "/apis/g/v1/proxy/things/t//x",
        "/api/v1/proxy/nodes/n/proxy//x",
        "/apis/g/v1/proxy/namespaces/a/things/t/proxy//x",
    ] {
        assert_eq!(
            RequestInfo::parse("GET", target, false),
            Err(Refusal::EmptySegment),
            "{target}"
        );
    }
    assert!(RequestInfo::parse("GET", "/api/v1/watch/nodes/n/proxy//x", false).is_ok());
}

/// The list in the documentation is the list in the code.
#[test]
fn the_documented_refusals_are_the_refusals() {
    let text = include_str!("../../../../docs/request-targets.md");
    let documented: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.split_once("` | "))
        .filter_map(|(code, rest)| {
            let sentence = rest.split(" | ").next()?;
            Some((code.to_owned(), sentence.to_owned()))
        })
        .collect();
    let ours: Vec<(String, String)> = Refusal::ALL
        .iter()
        .map(|refusal| (refusal.code().to_owned(), refusal.to_string()))
        .collect();
    assert_eq!(documented, ours);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What is not refused has no segment that another reader could see otherwise: cleaning, merging slashes
    /// or decoding again changes nothing that is authorised.
    #[test]
    fn accepted_paths_have_one_reading(
        segments in prop::collection::vec("(api|apis|v1|watch|proxy|namespaces|pods|x|\\.|\\.\\.|%2e|%2F|%41|a;b|)", 0..9),
        trailing in any::<bool>(),
    ) {
        let target = format!("/{}{}", segments.join("/"), if trailing { "/" } else { "" });
        if let Ok(info) = RequestInfo::parse("GET", &target, false) {
            if info.subresource == "proxy" {
                return Ok(());
            }
            prop_assert!(!info.path.contains("//"), "{target}");
            prop_assert!(info.path.split('/').all(|part| part != "." && part != ".."), "{target}");
            // As many slashes as came in: none was decoded.
            let slashes = |text: &str| text.matches('/').count();
            prop_assert_eq!(slashes(&info.path), slashes(&target));
        }
    }

    #[test]
    fn any_target_is_read_or_refused(method in "[A-Za-z]{0,8}", target in "\\PC{0,60}", upgrade in any::<bool>()) {
        let _ = RequestInfo::parse(&method, &target, upgrade);
        let _ = RequestInfo::parse(&method, &format!("/{target}"), upgrade);
        let _ = RequestInfo::parse("GET", &format!("/api/v1/pods?{target}"), upgrade);
    }
}
