//! Every page: for people who see, hear or type, with and without scripts, in light and dark.

use super::{
    driver::{Page, Seat},
    world::{PASSWORD, World, give_password},
};
use std::{fs, path::PathBuf};

/// As narrow as WCAG 2.1 (1.4.10) wants pages to be usable without scrolling sideways.
const NARROW: u32 = 320;

/// Where the pictures of this run are.
pub(super) fn pictures() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// What every page must be; leaves a picture of it.
#[track_caller]
pub(super) fn is_for_everybody(world: &World, page: &Page<'_>, name: &str) {
    assert_eq!(page.axe(), [""; 0], "{name} at {}", page.url());
    assert_eq!(page.complaints(&world.gateway.url), [""; 0], "{name}");
    let title = page.evaluate("document.title");
    let title = title.as_str().expect("a title");
    assert!(title.ends_with("Palisade") && title.len() > 10, "{title}");
    let headings = page.evaluate("document.querySelectorAll('h1').length");
    assert_eq!(headings, 1, "{name}");
    page.screenshot(&pictures().join(format!("{name}.png")));
    page.size(NARROW, 640);
    let width = page.evaluate("document.documentElement.scrollWidth");
    page.screenshot(&pictures().join(format!("{name}-narrow.png")));
    page.size(1000, 720);
    assert!(
        width.as_u64().expect("a width") <= u64::from(NARROW),
        "{name} is {width} wide"
    );
}

#[test]
fn the_pages_are_for_everybody() {
    let world = World::start();
    before_and_after_a_login(&world);
    by_keyboard_alone(&world);
    without_scripts(&world);
}

fn before_and_after_a_login(world: &World) {
    let page = world.browser.person();
    assert_eq!(page.goto(&world.address("/")), 200);
    is_for_everybody(world, &page, "front-stranger");
    page.click("link", "Log in");
    page.see("Where is your account?");
    is_for_everybody(world, &page, "providers");
    page.goto(&world.address("/login/local"));
    is_for_everybody(world, &page, "password");
    give_password(&page, "jane", "not the password");
    page.see("You are not logged in");
    is_for_everybody(world, &page, "password-wrong");
    give_password(&page, "jane", PASSWORD);
    page.see("You are logged in");
    is_for_everybody(world, &page, "front");
    page.click("link", "Sessions");
    page.see("this browser");
    is_for_everybody(world, &page, "sessions");
    for (path, status, name) in [
        ("/login/nowhere", 404, "not-found"),
        ("/logout", 405, "method"),
        // Not the API's answer: nobody reads JSON.
        ("/nothing", 401, "no-page"),
    ] {
        let quiet = world.browser.person();
        assert_eq!(quiet.goto(&world.address(path)), status);
        // The browser itself notes the status in its console.
        assert_eq!(quiet.axe(), [""; 0]);
        quiet.see("Go to the front page");
        quiet.screenshot(&pictures().join(format!("{name}.png")));
    }
}

/// A whole visit without a mouse: every step is reached by the Tab key, in the order of reading.
fn by_keyboard_alone(world: &World) {
    let page = world.browser.person();
    page.goto(&world.address("/login/local"));
    // The first field has the focus already.
    assert_eq!(page.focused(), "input User name");
    page.type_text("jane");
    page.press("Tab");
    assert_eq!(page.focused(), "input Password");
    page.type_text("wrong");
    page.press("Enter");
    page.see("You are not logged in");
    // A screen reader is at the error, which leads to the field.
    assert!(page.focused().contains("You are not logged in"));
    page.press("Tab");
    page.press("Enter");
    assert_eq!(page.focused(), "input User name");
    page.press("Tab");
    page.type_text(PASSWORD);
    page.press("Tab");
    assert_eq!(page.focused(), "button Log in");
    page.press("Enter");
    page.see("You are logged in");
    // The first stop leads past the header.
    page.press("Tab");
    assert_eq!(page.focused(), "a Skip to content");
    page.tab_to("a Sessions", "Enter");
    page.see("Sessions and tokens");
    page.tab_to("button Log out", "Enter");
    page.see("Log in");
    assert!(
        page.cookies()
            .iter()
            .all(|it| it["name"] != "__Host-palisade")
    );
}

fn without_scripts(world: &World) {
    for dark in [false, true] {
        let seat = Seat {
            scripts: false,
            dark,
        };
        let pages = [world.browser.seat(seat), world.browser.seat(seat)];
        for page in &pages {
            page.goto(&world.address("/login/local"));
            give_password(page, "jane", PASSWORD);
            page.see("You are logged in");
        }
        let [page, other] = &pages;
        page.click("link", "Sessions");
        page.see("this browser");
        page.click("button", "End all other sessions");
        page.see("this browser");
        other.goto(&world.address("/"));
        assert!(!other.text().contains("You are logged in"));
        page.click("button", "Log out");
        page.see("Log in");
        assert_eq!(page.complaints(&world.gateway.url), [""; 0]);
    }
}
