//! Any target is read or refused; what is read has one reading.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade::authz::{Refusal, RequestInfo};

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get",
];

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else {
        return;
    };
    let Ok(target) = std::str::from_utf8(rest) else {
        return;
    };
    let method = METHODS[usize::from(first) % METHODS.len()];
    let upgrade = first & 0x80 != 0;
    let Ok(info) = RequestInfo::parse(method, target, upgrade) else {
        return;
    };
    // Reading is a function of its input, and the absolute form is its path.
    assert_eq!(
        RequestInfo::parse(method, target, upgrade).as_ref(),
        Ok(&info)
    );
    if target.starts_with('/') {
        let absolute = format!("http://host{target}");
        assert_eq!(
            RequestInfo::parse(method, &absolute, upgrade).as_ref(),
            Ok(&info)
        );
    }
    // Cleaning, merging slashes or decoding as separators changes nothing.
    assert!(
        info.path.split('/').all(|part| part != "." && part != ".."),
        "{info:?}"
    );
    if info.subresource != "proxy" {
        assert!(!info.path.contains("//"), "{info:?}");
        assert!(!info.path.contains(['\\', '\0', '\r', '\n']), "{info:?}");
        let raw = target.split('?').next().unwrap_or_default();
        let raw = raw.find("://").map_or(raw, |at| &raw[at + 3..]);
        let raw = raw.find('/').map_or("/", |at| &raw[at..]);
        let slashes = |text: &str| text.matches('/').count();
        assert_eq!(slashes(&info.path), slashes(raw), "{info:?}");
    }
    // A trailing slash changes no resource request.
    if info.is_resource
        && !target.contains('?')
        && !target.ends_with('/')
        && info.subresource != "proxy"
    {
        let slashed = format!("{target}/");
        let again = RequestInfo::parse(method, &slashed, upgrade).expect("a slash more");
        assert_eq!(again.attributes().with_verb(""), {
            let mut attrs = info.attributes().with_verb("");
            attrs.path = &again.path;
            attrs
        });
        assert_eq!(again.verb, info.verb);
    }
    // A shell always needs create.
    if info.is_resource
        && info.api_group.is_empty()
        && info.resource == "pods"
        && info.subresource == "exec"
    {
        assert!(
            info.checks().any(|attrs| attrs.verb == "create"),
            "{info:?}"
        );
    }
    // A refusal's sentence and code exist for each.
    assert!(
        Refusal::ALL
            .iter()
            .all(|refusal| !refusal.code().is_empty())
    );
});
