//! One login for terminal and browser: every provider, both ways, one kubeconfig, the cluster behind it.

use super::{
    driver::{Page, Seat},
    pages::is_for_everybody,
    terminal::Terminal,
    world::{Account, OCTO, World, octo},
};
use crate::testkit::{
    cluster::{LocalCluster, program},
    gateway::kubectl,
    github::{Person, Typed},
    process::{Ran, eventually, run},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

#[test]
fn one_login_serves_terminal_and_browser_at_every_provider() {
    let world = World::start();
    let cluster = LocalCluster::start();
    by_a_code_at_github_itself(&world);
    for account in Account::ALL {
        by_the_browser_of_this_machine(&world, account);
        by_a_code_on_another_machine(&world, account);
    }
    the_way_fits_the_machine(&world);
    open_the_cluster(&world, &cluster);
    // The same file for everybody: it names no one.
    let file = kubeconfig_of(&world, Account::Local);
    for account in Account::ALL {
        let said = get_pods(&world, account, &file).ok();
        assert!(said.contains("pod/shown"), "{said}");
        let name = [
            "auth",
            "whoami",
            "-o",
            "jsonpath={.status.userInfo.username}",
        ];
        let said = kubectl_of(&world, account, &file, &name).ok();
        assert_eq!(said, format!("palisade:{}", account.handle()));
    }
    once_logged_in_the_browser_asks_for_a_yes_alone(&world);
    by_keyboard_and_without_scripts(&world);
    who_leaves_the_group_loses_the_cluster(&world, &file);
    whose_account_is_removed_is_refused(&world, &file);
}

fn open_the_cluster(world: &World, cluster: &LocalCluster) {
    let file = cluster.admin_kubeconfig.to_str().expect("a path");
    let admin = |arguments: &[&str]| world.palisade("admin", arguments).ok();
    admin(&["cluster", "add", "local", "--kubeconfig", file, "--yes"]);
    for subject in [
        ["--user", "jane"],
        ["--group", "idp:devs"],
        ["--group", "hub:acme/site-ops"],
    ] {
        let [kind, name] = subject;
        let bind = ["bind", "cluster-viewer", kind, name, "--cluster", "local"];
        admin(&bind);
    }
    // Something to see: a namespace has a pod once its service account is there.
    let made = eventually(|| {
        let mut command = cluster.kubectl();
        command.args([
            "run",
            "shown",
            "--image=registry.example/none",
            "--restart=Never",
        ]);
        let ran = run(&command);
        (ran.code == Some(0) || ran.stderr.contains("already exists")).then_some(())
    });
    assert!(made.is_some(), "no pod can be made");
}

/// Where sessions are is not in the file: it is the same wherever the person's own folder is.
fn kubeconfig_of(world: &World, account: Account) -> PathBuf {
    let home = world.gateway.home(account.person());
    let file = home.join("config.yaml");
    let mut command = world.gateway.cli(account.person());
    command
        .env_remove("PALISADE_CONFIG_DIR")
        .env("XDG_CONFIG_HOME", home)
        .args(["kubeconfig", "--output"])
        .arg(&file);
    run(&command).ok();
    file
}

fn kubectl_of(world: &World, account: Account, file: &Path, arguments: &[&str]) -> Ran {
    let mut command = kubectl(&program("kubectl"), file);
    command
        .env_remove("PALISADE_CONFIG_DIR")
        .env("XDG_CONFIG_HOME", world.gateway.home(account.person()))
        .args(arguments);
    run(&command)
}

fn get_pods(world: &World, account: Account, file: &Path) -> Ran {
    let arguments = ["get", "pods", "--namespace", "default", "-o", "name"];
    kubectl_of(world, account, file, &arguments)
}

fn whoami(world: &World, account: Account) -> String {
    world.palisade(account.person(), &["whoami"]).ok()
}

fn by_the_browser_of_this_machine(world: &World, account: Account) {
    let arguments = ["--browser", "--provider", account.provider()];
    let terminal = world.terminal(account.person(), &arguments);
    let page = world.browser.person();
    page.goto(&terminal.address("/authorize?"));
    account.prove(&page);
    let shown = page.see("Yes, log it in");
    assert!(shown.contains(&terminal.code()), "{shown}");
    assert!(shown.contains(account.handle()), "{shown}");
    assert!(shown.contains("a program on this machine"), "{shown}");
    is_for_everybody(world, &page, "confirm");
    page.click("button", "Yes, log it in");
    page.see("You can close this window");
    assert_eq!(page.axe(), [""; 0]);
    let said = terminal.gets_in();
    assert!(said.contains(account.handle()), "{said}");
    assert!(whoami(world, account).contains(account.handle()));
    world.palisade(account.person(), &["logout"]).ok();
}

/// Nobody comes to a page of the gateway's; what is in the way is said before.
fn by_a_code_at_github_itself(world: &World) {
    let account = Account::Hub;
    let arguments = ["--device-at-provider"];
    let terminal = world.terminal(account.person(), &arguments);
    let page = format!("{}/login/device", world.github.site.url());
    assert_eq!(terminal.address("/login/device"), page);
    world.github.typed(&terminal.code(), Typed::Refused);
    terminal.fails_with("the login was refused in the browser");
    let terminal = world.terminal(account.person(), &arguments);
    let code = terminal.code();
    assert!(terminal.is_waiting());
    world.github.typed(&code, Typed::By(OCTO));
    assert!(terminal.gets_in().contains(account.handle()));
    assert!(whoami(world, account).contains(account.handle()));
    world.palisade(account.person(), &["logout"]).ok();
    world
        .terminal("nobody", &["--device-at-provider", "--provider", "idp"])
        .fails_with("no code can be typed at idp itself");
}

fn by_a_code_on_another_machine(world: &World, account: Account) {
    let arguments = ["--device", "--provider", account.provider()];
    let terminal = world.terminal(account.person(), &arguments);
    let page = world.browser.person();
    page.goto(&terminal.address("/device"));
    account.choose_and_prove(&page);
    page.see("Code that the terminal shows");
    is_for_everybody(world, &page, "device");
    // As people type: small letters, and a blank.
    let code = terminal.code();
    let typed = code.to_lowercase().replace('-', " ");
    page.fill("Code that the terminal shows", &typed);
    page.click("button", "Go on");
    let shown = page.see("Yes, log it in");
    assert!(shown.contains(&code), "{shown}");
    page.click("button", "Yes, log it in");
    page.see("You can close this window");
    is_for_everybody(world, &page, "device-done");
    terminal.gets_in();
    assert!(whoami(world, account).contains(account.handle()));
}

/// Without a word about the way: a provider without passwords wants a browser, and a desktop has one. Where there is
/// neither a browser nor a terminal nobody would see a code, unless it is asked for.
fn the_way_fits_the_machine(world: &World) {
    let terminal = world.terminal("desk", &["--provider", "idp"]);
    terminal.fails_with("give --device");
    let terminal = world.terminal("desk", &["--provider", "idp", "--device"]);
    terminal.address("user_code=");
    terminal.interrupt();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, opened) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    let script = format!("#!/bin/sh\nprintf %s \"$1\" > {}\n", opened.display());
    fs::write(&program, script).expect("it can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its mode");
    let desk = Terminal::at_a_desktop(&world.gateway, folder.path(), &["--provider", "idp"]);
    let address = desk.address("/authorize?");
    let found = eventually(|| fs::read_to_string(&opened).ok().filter(|it| *it == address));
    assert!(found.is_some(), "the browser is opened at {address}");
    let page = world.browser.person();
    page.goto(&address);
    Account::Idp.prove(&page);
    page.click("button", "Yes, log it in");
    assert!(desk.gets_in().contains("idp:ada"));
}

/// A person who is logged in in the browser types no password again, and is asked all the same.
fn once_logged_in_the_browser_asks_for_a_yes_alone(world: &World) {
    let page = world.browser.person();
    page.goto(&world.address("/login"));
    Account::Local.choose_and_prove(&page);
    page.see("You are logged in");
    for way in ["--browser", "--device"] {
        let terminal = world.terminal("another", &[way]);
        let address = match way {
            "--browser" => terminal.address("/authorize?"),
            _ => terminal.address("user_code="),
        };
        page.goto(&address);
        let shown = page.see("Yes, log it in");
        assert!(shown.contains(&terminal.code()), "{shown}");
        page.click("button", "Yes, log it in");
        page.see("You can close this window");
        assert!(terminal.gets_in().contains("jane"));
    }
    sessions_are_listed_and_ended(world, &page);
}

fn sessions_are_listed_and_ended(world: &World, page: &Page<'_>) {
    let listed = world.palisade("another", &["sessions"]).ok();
    let own = listed.lines().find(|line| line.ends_with("this one"));
    let own = own.expect("the own session").split_whitespace().next();
    let own = own.expect("an id").to_owned();
    for text in ["ses", "web", "Chrome", "127.0.0.1"] {
        assert!(listed.contains(text), "{text}: {listed}");
    }
    // The page shows the same, and ends the terminal's.
    page.goto(&world.address("/sessions"));
    is_for_everybody(world, page, "sessions-of-both");
    page.click_on(&format!("button[value='{own}']"));
    page.see("Sessions and tokens");
    let said = world.palisade("another", &["whoami"]).refused(&[]);
    assert!(said.contains("run palisade login"), "{said}");
    // And a terminal ends the page's.
    let all = ["sessions", "end", "--others"];
    world.palisade("jane", &all).ok();
    page.goto(&world.address("/"));
    assert!(!page.text().contains("You are logged in"));
    // Of others by an administrator alone.
    let of_jane = ["sessions", "end", "--user", "jane", "--others"];
    let said = world.palisade("ada", &of_jane).ok();
    assert_eq!(said, "", "nothing of jane's is ada's to see");
    let said = world.palisade("admin", &of_jane).ok();
    assert!(said.contains("ended "), "{said}");
    world
        .palisade("jane", &["whoami"])
        .refused(&["run palisade login"]);
    world
        .palisade("jane", &["sessions", "end", "x"])
        .refused(&[]);
    world.gateway_login("jane");
    let said = world
        .palisade("jane", &["sessions", "end", "x"])
        .refused(&[]);
    assert!(said.contains("x is no session"), "{said}");
}

fn by_keyboard_and_without_scripts(world: &World) {
    let terminal = world.terminal("keys", &["--device", "--provider", "local"]);
    let page = world.browser.person();
    page.goto(&terminal.address("/device"));
    page.tab_to("a Local account", "Enter");
    page.see("User name");
    Account::Local.type_password(&page);
    page.see("Code that the terminal shows");
    assert_eq!(page.focus(), "input Code that the terminal shows");
    page.type_text(&terminal.code());
    page.press("Enter");
    page.see("Yes, log it in");
    page.tab_to("button Yes, log it in", "Space");
    page.see("You can close this window");
    terminal.gets_in();

    let dark = Seat {
        scripts: false,
        dark: true,
    };
    for account in Account::ALL {
        let terminal = world.terminal("plain", &["--browser", "--provider", account.provider()]);
        let page = world.browser.seat(dark);
        page.goto(&terminal.address("/authorize?"));
        account.prove(&page);
        page.click("button", "Yes, log it in");
        page.see("You can close this window");
        terminal.gets_in();
    }
}

/// G2: within the interval of the provider's refresh, with the same file and the same session.
fn who_leaves_the_group_loses_the_cluster(world: &World, file: &Path) {
    for (account, group, change) in [
        (Account::Idp, "idp:devs", leave_devs as fn(&World)),
        (Account::Hub, "hub:acme/site-ops", leave_the_team),
    ] {
        change(world);
        let refused = eventually(|| {
            let ran = get_pods(world, account, file);
            (ran.code != Some(0)).then_some(ran)
        });
        let refused = refused.unwrap_or_else(|| {
            panic!(
                "{} still has the cluster: {}",
                account.handle(),
                world.gateway.log()
            )
        });
        refused.refused(&["Forbidden"]);
        let who = whoami(world, account);
        assert!(!who.contains(group), "{who}");
    }
    world.issuer.account("sub-1", "ada", &["devs", "staff"]);
    let back = eventually(|| (get_pods(world, Account::Idp, file).code == Some(0)).then_some(()));
    assert!(back.is_some(), "a member again has the cluster again");
    assert!(world.issuer.refreshes() > 1, "the account was read again");
}

fn leave_devs(world: &World) {
    world.issuer.account("sub-1", "ada", &["staff"]);
}

fn leave_the_team(world: &World) {
    world.github.change(OCTO, |octo| octo.teams.clear());
}

// L6, G2: the session ends within the interval, and whoever gets the name gets nothing else.
fn whose_account_is_removed_is_refused(world: &World, file: &Path) {
    world.issuer.remove("sub-1");
    world.github.suspend(OCTO);
    world.issuer.account("sub-2", "ada", &["devs", "staff"]);
    let recycled = Person {
        name: "Somebody Else".to_owned(),
        ..octo()
    };
    for account in [Account::Idp, Account::Hub] {
        let refused = eventually(|| {
            let ran = world.palisade(account.person(), &["whoami"]);
            (ran.code != Some(0)).then_some(ran)
        });
        refused.expect("the session ends").refused(&[]);
        get_pods(world, account, file).refused(&[]);
        world.github.person(OCTO + 1, recycled.clone());
        let terminal = world.terminal("newcomer", &["--browser", "--provider", account.provider()]);
        let page = world.browser.person();
        page.goto(&terminal.address("/authorize?"));
        match account {
            Account::Idp => account.prove_as(&page, "sub-2"),
            Account::Local | Account::Hub => account.go(&page),
        }
        page.arrive("/callback");
        let shown = page.text();
        assert!(!shown.contains("Yes, log it in"), "{shown}");
        assert!(shown.contains(account.handle()), "{shown}");
        is_for_everybody(world, &page, "name-taken");
        assert!(
            page.cookies()
                .iter()
                .all(|it| it["name"] != "__Host-palisade")
        );
        terminal.interrupt();
    }
}
