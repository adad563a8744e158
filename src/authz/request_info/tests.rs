//! The published rules and traps of RequestInfo (reference rules 1 to 13).

use super::*;

fn parse<'a>(method: &'a str, target: &'a str) -> RequestInfo<'a> {
    RequestInfo::parse(method, target, false)
        .unwrap_or_else(|refusal| panic!("{target}: {refusal}"))
}

#[test]
fn a_list_of_pods_is_read() {
    let info = parse("GET", "/api/v1/namespaces/default/pods?limit=500");
    assert_eq!(
        (
            info.verb.as_ref(),
            info.namespace.as_ref(),
            info.resource.as_ref()
        ),
        ("list", "default", "pods")
    );
}
