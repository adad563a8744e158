//! What a query says: watch or list, the one name, the selectors (P5).

use super::*;

#[test]
fn the_watch_parameter_is_true_unless_it_is_false() {
    for (query, verb) in [
        ("", "list"),
        ("watch=true", "watch"),
        ("watch=1", "watch"),
        ("watch", "watch"),
        ("watch=", "watch"),
        ("watch=no", "watch"),
        ("watch=f", "watch"),
        ("watch=00", "watch"),
        ("watch=false", "list"),
        ("watch=FaLsE", "list"),
        ("watch=0", "list"),
        ("watch=%30", "list"),
        ("w%61tch=true", "watch"),
        ("Watch=true", "list"),
        // The first value wins; pairs with a semicolon or a bad escape are dropped.
        ("watch=false&watch=true", "list"),
        ("watch=true&watch=false", "watch"),
        ("watch=true;x=1", "list"),
        ("x=1;watch=true", "list"),
        ("watch=false;&watch=true", "watch"),
        ("watch=%zz&watch=true", "watch"),
        ("watch=true&x=%zz", "watch"),
        ("%zz=1&watch=true", "watch"),
        ("?watch=true", "list"),
        ("&&watch=true&", "watch"),
        ("watch=+", "watch"),
        ("=watch", "list"),
        ("watch=falſe", "list"),
        ("watch=fal%C5%BFe", "list"),
        // Where decoding fails, the other reading of the same parameter is in force.
        ("watch=fal%C5%BFe&limit=x", "watch"),
        ("watch=true&limit=x", "watch"),
        ("watch=false&limit=x", "list"),
        ("watch=0&labelSelector=!", "list"),
        ("watch=%ff", "watch"),
    ] {
        let target = format!("/api/v1/pods?{query}");
        assert_eq!(parse("GET", &target).verb, verb, "{query}");
    }
    // Not on a request with a name, nor with another method.
    assert_eq!(parse("GET", "/api/v1/nodes/n?watch=true").verb, "get");
    assert_eq!(parse("POST", "/api/v1/pods?watch=true").verb, "create");
}

#[test]
fn a_field_selector_can_fix_the_name() {
    for (query, name) in [
        ("fieldSelector=metadata.name%3Dx", "x"),
        ("fieldSelector=metadata.name=x", "x"),
        ("watch=1&fieldSelector=metadata.name=x", "x"),
        ("fieldSelector=metadata.name==x,spec.nodeName=n", "x"),
        ("fieldSelector=metadata.name%3D+x", " x"),
        ("fieldSelector=metadata.name=y,metadata.name=x", "x"),
        ("fieldSelector=a=b&fieldSelector=metadata.name=x", ""),
        ("fieldSelector=metadata.name!=x", ""),
        ("fieldSelector=metadata.name=.", ""),
        ("fieldSelector=metadata.name=..", ""),
        ("fieldSelector=metadata.name=a/b", ""),
        ("fieldSelector=metadata.name=a%2525b", ""),
        ("fieldSelector=metadata.name=...", "..."),
        ("fieldselector=metadata.name=x", ""),
        // Any parameter that fails to decode takes the name away.
        ("fieldSelector=metadata.name=x&limit=x", ""),
        ("fieldSelector=metadata.name=x&limit=", ""),
        ("fieldSelector=metadata.name=x&limit=500", "x"),
        ("fieldSelector=metadata.name=x&limit=-5", "x"),
        ("fieldSelector=metadata.name=x&limit=%2B5", "x"),
        (
            "fieldSelector=metadata.name=x&limit=9223372036854775808",
            "",
        ),
        ("fieldSelector=metadata.name=x&timeoutSeconds=1.5", ""),
        ("fieldSelector=metadata.name=x&timeoutSeconds=30", "x"),
        (
            "fieldSelector=metadata.name=x&labelSelector=a%3D%3D%3Db",
            "",
        ),
        ("fieldSelector=metadata.name=x&labelSelector=a%3Db", "x"),
        ("fieldSelector=metadata.name=x,y", ""),
        // These take any value.
        (
            "fieldSelector=metadata.name=x&sendInitialEvents=maybe&allowWatchBookmarks=7",
            "x",
        ),
        (
            "fieldSelector=metadata.name=x&resourceVersion=x&resourceVersionMatch=x",
            "x",
        ),
    ] {
        let target = format!("/api/v1/pods?{query}");
        assert_eq!(parse("GET", &target).name, name, "{query}");
    }
    // A delete of many keeps no name, but its selectors.
    let info = parse(
        "DELETE",
        "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&labelSelector=a%3Db",
    );
    assert_eq!((&*info.verb, &*info.name), ("deletecollection", ""));
    assert_eq!(
        (&*info.field_selector, &*info.label_selector),
        ("metadata.name=x", "a=b")
    );
}

#[test]
fn selectors_are_kept_even_where_decoding_fails() {
    let info = parse(
        "GET",
        "/api/v1/pods?fieldSelector=!&labelSelector=a+in+(b)&limit=x",
    );
    assert_eq!(
        (&*info.field_selector, &*info.label_selector),
        ("!", "a in (b)")
    );
    let info = parse("GET", "/api/v1/nodes/n?labelSelector=a");
    assert_eq!(info.label_selector, "");
}
