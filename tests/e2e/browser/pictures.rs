//! The pictures in docs/images: each is taken here, of the page that the documents speak of, at a gateway that is called
//! the same on every machine. They are left in `target/tmp/screenshots`; `make pictures` puts them into docs/images.

use super::{
    driver::{Browser, Page},
    issuer::Issuer,
    pages,
    world::{OCTO, PASSWORD, at_the_issuer, give_password, octo},
};
use crate::{
    directories::Directory,
    testkit::{
        client::h2_past,
        gateway::GatewayProcess,
        github::{Github, Person},
        process::run_with,
    },
};
use http::Request;
use serde_json::json;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};
use tokio::runtime::Runtime;

/// What the gateway is called in all documents.
const HOST: &str = "gate.example.com";
/// Wide enough for the pages with one column, narrow enough to be read in a document.
const WIDTH: u32 = 760;
/// The table of sessions is wider.
const WIDE: u32 = 1080;
/// A machine's name that is not this one's.
const MACHINE: &str = "palisade on janes-laptop";
/// Where the pictures go, in place of the folder of every run.
const FOLDER: &str = "PALISADE_PICTURES";

/// A gateway with a provider of each kind, called as in docs/providers.
struct Scene {
    browser: Browser,
    gateway: GatewayProcess,
    runtime: Runtime,
    folder: PathBuf,
    taken: RefCell<BTreeSet<String>>,
    _github: Github,
    _issuer: Issuer,
    _directory: Directory,
    _secret: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let mut gateway = GatewayProcess::start();
        let issuer = Issuer::start(&format!("https://{HOST}/login/sso/callback"));
        issuer.account("sub-9", "mallory", &["visitors"]);
        let sso = issuer.config();
        let directory = Directory::start();
        let corp = directory.provider("corp", "Example Corp");
        let people = directory.provider("people", "Example People");
        let secret = tempfile::tempdir().expect("a temporary folder");
        let runtime = Runtime::new().expect("a runtime");
        let github = runtime.block_on(Github::start());
        let stranger = Person {
            organizations: Vec::new(),
            teams: Vec::new(),
            ..octo()
        };
        github.person(OCTO, stranger);
        let hub = github.provider("github", secret.path(), "{groups: [acme]}", "");
        let hub = hub.replacen("    access:", "    display_name: GitHub\n    access:", 1);
        let own = gateway.url.clone();
        gateway.restart(|text| {
            assert!(text.contains(&own), "{text}");
            let text = text.replace(&own, &format!("https://{HOST}"));
            format!(
                "{text}providers:
{corp}{people}  sso:
    display_name: Example Identity
    access: {{groups: [staff]}}
{sso}{hub}"
            )
        });
        let ca = gateway.ca_pem();
        let authorities = [&*ca, &issuer.ca_pem, &github.site.ca_pem];
        let browser = Browser::start_with(&authorities, HOST, gateway.address());
        let scene = Self {
            browser,
            gateway,
            runtime,
            folder: folder(),
            taken: RefCell::default(),
            _github: github,
            _issuer: issuer,
            _directory: directory,
            _secret: secret,
        };
        scene.login("admin", &scene.gateway.password);
        scene.palisade("admin", &["user", "add", "jane", "--password-stdin"]);
        scene
    }

    /// From a terminal, with a password of the gateway's own.
    fn login(&self, person: &str, password: &str) {
        let local = (person, "local");
        self.gateway.login_at(local, person, password).ok();
    }

    fn palisade(&self, person: &str, arguments: &[&str]) {
        let mut command = self.gateway.cli(person);
        command.args(arguments);
        run_with(&command, PASSWORD).ok();
    }

    fn page(&self, path: &str) -> Page<'_> {
        let page = self.browser.person();
        page.goto(&format!("https://{HOST}{path}"));
        page
    }

    /// Takes the whole page, as wide as this.
    fn take(&self, page: &Page<'_>, name: &str, width: u32) {
        let host = page.evaluate("document.querySelector('footer').innerText.trim()");
        // Pages of errors do not say it.
        assert!(host == HOST || host == "", "{host}");
        page.size(width, 200);
        let height = page.evaluate("document.documentElement.scrollHeight");
        let height = height.as_u64().and_then(|it| u32::try_from(it).ok());
        page.size(width, height.expect("a height"));
        // Two frames: the first may be painted in part.
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))");
        let first = self.taken.borrow_mut().insert(name.to_owned());
        assert!(first, "{name} is taken twice");
        page.screenshot(&self.folder.join(format!("{name}.png")));
    }

    /// A terminal of jane's that is called [`MACHINE`].
    fn terminal(&self) {
        let login = json!({
            "provider": "local",
            "username": "jane",
            "password": PASSWORD,
            "client": MACHINE,
        });
        let request = Request::post(format!("{}/v1/login/password", self.gateway.url))
            .header("content-type", "application/json")
            .body(login.to_string().into())
            .expect("a request");
        let ca = self.gateway.ca_pem();
        let answer = self.runtime.block_on(h2_past(&ca, request));
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "where pictures go is whoever takes them to say"
)]
fn folder() -> PathBuf {
    match env::var_os(FOLDER) {
        Some(folder) => Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        None => pages::pictures(),
    }
}

#[test]
fn the_documents_show_the_pages_as_they_are() {
    let scene = Scene::start();
    before_a_login(&scene);
    who_is_not_let_in(&scene);
    after_a_login(&scene);
    are_those_of_the_documents(&scene.taken.borrow());
}

fn before_a_login(scene: &Scene) {
    let page = scene.page("/login");
    page.see("Where is your account?");
    scene.take(&page, "login", WIDTH);
    for (provider, shown) in [
        ("github", "You are sent there"),
        ("sso", "You are sent there"),
        ("corp", "User name"),
        ("people", "User name"),
    ] {
        let page = scene.page(&format!("/login/{provider}"));
        page.see(shown);
        scene.take(&page, provider, WIDTH);
    }
}

/// Whose account is right, and not on the provider's list.
fn who_is_not_let_in(scene: &Scene) {
    const WORDS: &str = "This account may not log in here";
    let page = scene.page("/login/github");
    page.click_on("button:has-text('GitHub')");
    page.see(WORDS);
    scene.take(&page, "refused", WIDTH);
    let page = scene.page("/login/sso");
    page.click_on("button:has-text('Example Identity')");
    at_the_issuer(&page, "sub-9");
    // It is the same page.
    page.see(WORDS);
    for provider in ["corp", "people"] {
        let page = scene.page(&format!("/login/{provider}"));
        give_password(&page, "zoe", Directory::PASSWORD);
        page.see(WORDS);
        scene.take(&page, &format!("{provider}-refused"), WIDTH);
    }
}

fn after_a_login(scene: &Scene) {
    scene.terminal();
    scene.login("jane", PASSWORD);
    let token = [
        "token",
        "create",
        "--name",
        "deploy of shop",
        "--ttl",
        "30d",
    ];
    scene.palisade("jane", &token);
    // It was for making the token; its name is this machine's.
    scene.palisade("jane", &["logout"]);
    let page = scene.page("/login/local");
    give_password(&page, "jane", PASSWORD);
    page.see("You are logged in");
    page.goto(&format!("https://{HOST}/sessions"));
    let shown = page.see("this browser");
    assert!(
        shown.contains(MACHINE) && shown.contains("deploy of shop"),
        "{shown}"
    );
    scene.take(&page, "sessions", WIDE);
    page.goto(&format!("https://{HOST}/device"));
    page.see("Code that the terminal shows");
    scene.take(&page, "device", WIDTH);
    // The challenge of RFC 7636, appendix B, whose code the command's own test knows.
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let client = MACHINE.replace(' ', "%20");
    page.goto(&format!(
        "https://{HOST}/authorize?response_type=code&client_id=palisade-cli&redirect_uri=http%3A%2F%2F127.0.0.1%3A41397%2Fcallback\
         &code_challenge={challenge}&code_challenge_method=S256&state=s&client={client}"
    ));
    page.see("FXFD-BWQB");
    scene.take(&page, "confirm", WIDTH);
}

/// None is left from pages that are no more, and each is shown somewhere.
fn are_those_of_the_documents(taken: &BTreeSet<String>) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let named = |folder: &Path, ending: &str| {
        let entries = fs::read_dir(folder).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let fitting = paths.filter(|path| path.extension().is_some_and(|it| it == ending));
        fitting.collect::<Vec<PathBuf>>()
    };
    let files = named(&docs.join("images"), "png");
    let files: BTreeSet<String> = files
        .iter()
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(files, *taken, "make pictures");
    let texts = [named(&docs, "md"), named(&docs.join("providers"), "md")].concat();
    let texts = texts
        .iter()
        .map(|path| fs::read_to_string(path).expect("a text"));
    let texts = texts.collect::<String>();
    for name in taken {
        let shown = format!("images/{name}.png)");
        assert!(texts.contains(&shown), "{name} is in no document");
    }
}
