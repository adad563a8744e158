//! Checks that cannot fail are no checks: the browser finds what is wrong with a page of our own.

use super::driver::Browser;

#[test]
fn the_browser_finds_what_is_wrong_with_a_page() {
    let browser = Browser::start(&[]);
    let page = browser.person();
    let html = "<title>t</title><main><h1>Pale</h1><p style='color:%23bbb'>pale</p><img src=x>\
                <label for=n>Name</label><input id=n><button>Go</button>\
                <script>console.error('a complaint')</script></main>";
    page.goto(&format!("data:text/html,{html}"));
    let found = page.axe().join("\n");
    for wrong in ["color-contrast", "image-alt", "html-has-lang"] {
        assert!(found.contains(wrong), "{wrong}: {found}");
    }
    assert_eq!(page.complaints("data:").len(), 1);
    page.fill("Name", "jane");
    page.tab_to("button Go", "Enter");
    // Nothing outside of this machine is asked for.
    let refused = page.try_goto("https://example.com/").unwrap_err();
    assert!(refused.contains("ERR_NAME_NOT_RESOLVED"), "{refused}");
}
