//! `palisade login` and `palisade logout`.
//!
//! A password is read from the terminal without showing it, or from standard input if that is asked for;
//! never from an argument or the environment, where other processes could read it. Without a terminal the
//! command says what is missing; it never waits for an answer that nobody can give.

use super::{
    http::{HttpClient, Options, Trust},
    output::printable,
    run::{self, Failure, is_interactive},
    session::{Folder, GatewayArgs, Saved, Session, trust},
};
use crate::status::clock;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, process::ExitCode, time::Duration};
use zeroize::Zeroizing;

/// For ending the session that a login replaces: nobody should wait long for a courtesy.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Arguments of `palisade login`.
#[derive(clap::Args)]
pub struct LoginArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The user to log in as; asked for on a terminal
    #[arg(long, short, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input (its first line)
    #[arg(long)]
    password_stdin: bool,
    /// Where the account is: a provider of the gateway; asked for on a terminal if there are several
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// Arguments of `palisade logout`.
#[derive(clap::Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// What the gateway says about logging in (`GET /v1/login/providers`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Providers {
    #[serde(default)]
    providers: Vec<Provider>,
    /// Clusters have host names under it.
    #[serde(default)]
    pub(super) base_domain: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provider {
    name: String,
    flow: String,
    #[serde(default)]
    display_name: String,
}

/// Body of `POST /v1/login/password`.
#[derive(Serialize)]
struct PasswordLogin<'a> {
    provider: &'a str,
    username: &'a str,
    password: &'a str,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
}

/// The answer to a login.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn {
    token: String,
    expires_at: Timestamp,
    renewable_until: Timestamp,
    user: Who,
    /// An older gateway gives none.
    #[serde(default)]
    device: Option<String>,
}

#[derive(Deserialize)]
struct Who {
    name: String,
}

/// Runs `palisade login`.
pub fn login(args: &LoginArgs) -> ExitCode {
    run::run(log_in(args))
}

/// Runs `palisade logout`.
pub fn logout(args: &LogoutArgs) -> ExitCode {
    run::run(log_out(args))
}

async fn log_in(args: &LoginArgs) -> Result<(), Failure> {
    let folder = Folder::open(args.gateway.config_dir.as_deref())?;
    let server = folder.server(args.gateway.server.as_deref())?;
    let before = folder.load(&server)?;
    let (known, devices) = match before {
        Some(saved) => (saved.ca, saved.devices),
        None => Default::default(),
    };
    let (trust, ca) = trust(&args.gateway, known)?;
    let options = Options {
        trust,
        ..Options::default()
    };
    let http = HttpClient::new(&server, options)?;
    let providers: Providers = http.get("/v1/login/providers").await?;
    // From now on this gateway is trusted by the certificate that the sum named.
    let ca = http.found_ca().map(str::to_owned).or(ca);
    let provider = choose(&providers, args)?;
    let answer = match provider.flow.as_str() {
        "password" => by_password(args, &http, &provider.name, &devices).await?,
        other => {
            return Err(Failure::said(format!(
                "this palisade cannot log in at {}: it asks for the flow {other:?}",
                provider.name
            )));
        }
    };
    let said = format!(
        "logged in to {server} as {}; good until {}, renewed while it is used until {}\n",
        answer.user.name, answer.expires_at, answer.renewable_until
    );
    let replaced = keep(&folder, Saved::new(server.clone(), ca.clone()), answer).await?;
    folder.set_current(&server)?;
    if let Some(replaced) = replaced.filter(|session| session.is_good(clock::now())) {
        end(&server, ca, &replaced.token).await;
    }
    run::print(&said)
}

/// Writes a login down, and gives the session that it replaces.
async fn keep(
    folder: &Folder,
    mut saved: Saved,
    answer: LoggedIn,
) -> Result<Option<Session>, Failure> {
    let lock = folder.lock(&saved.server).await?;
    let mut replaced = None;
    if let Some(before) = folder.load(&saved.server)? {
        (replaced, saved.devices) = (before.session, before.devices);
    }
    if let Some(device) = answer.device {
        saved.keep_device(&answer.user.name, device);
    }
    saved.session = Some(Session {
        user: answer.user.name,
        token: answer.token,
        obtained_at: clock::now(),
        expires_at: answer.expires_at,
        renewable_until: answer.renewable_until,
        renewal_failed_at: None,
    });
    lock.save(&saved)?;
    Ok(replaced)
}

/// Ends a session that nothing knows any more. If the gateway does not hear of it, it ends by itself.
async fn end(server: &str, ca: Option<String>, token: &str) {
    let options = Options {
        trust: ca.map_or(Trust::WebPki, Trust::Ca),
        token: Some(token),
        limit: Some(END_LIMIT),
        ..Options::default()
    };
    if let Ok(http) = HttpClient::new(server, options) {
        let body = ("application/json", "{}".into());
        let _ = http
            .send(http::Method::POST, "/v1/login/logout", Some(body))
            .await;
    }
}

fn choose<'a>(providers: &'a Providers, args: &LoginArgs) -> Result<&'a Provider, Failure> {
    let wanted = args.provider.as_deref();
    let may_ask = !args.password_stdin && is_interactive();
    let names = || {
        let names: Vec<&str> = providers
            .providers
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        names.join(", ")
    };
    match (wanted, providers.providers.as_slice()) {
        (None, [only]) => Ok(only),
        (None, all) if may_ask => ask_provider(all),
        (None, _) => Err(Failure::said(format!(
            "several providers: give --provider with one of {}",
            names()
        ))),
        (Some(wanted), all) => all
            .iter()
            .find(|it| it.name == wanted)
            .ok_or_else(|| Failure::said(format!("no provider {wanted:?}; there is {}", names()))),
    }
}

/// By number or by name, on a terminal.
fn ask_provider(all: &[Provider]) -> Result<&Provider, Failure> {
    run::tell("Where is the account?");
    for (index, provider) in all.iter().enumerate() {
        let (name, shown) = (printable(&provider.name), printable(&provider.display_name));
        run::tell(&format!("  {}  {name}  {shown}", index + 1));
    }
    run::tell("Number or name:");
    let answer = run::read_line()?;
    let answer = answer.trim();
    let number = answer.parse::<usize>().ok();
    let by_number = number.and_then(|number| all.get(number.checked_sub(1)?));
    let found = by_number.or_else(|| all.iter().find(|it| it.name == answer));
    found.ok_or_else(|| Failure::said("that is none of them"))
}

async fn by_password(
    args: &LoginArgs,
    http: &HttpClient,
    provider: &str,
    devices: &BTreeMap<String, String>,
) -> Result<LoggedIn, Failure> {
    let username = match &args.username {
        Some(name) => name.clone(),
        None => ask_username(args.password_stdin)?,
    };
    let password = if args.password_stdin {
        read_password()?
    } else {
        ask_password(&username)?
    };
    let body = PasswordLogin {
        provider,
        username: &username,
        password: &password,
        client: &client(),
        device: device(devices, provider, &username),
    };
    match http.post("/v1/login/password", &body).await {
        Ok(answer) => Ok(answer),
        // The usual advice on a 401, to log in, is no help here.
        Err(error) if error.code() == Some(http::StatusCode::UNAUTHORIZED) => {
            Err(Failure::said(format!("login failed: {error}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// What an earlier login gave, by the handle that it was for.
fn device<'a>(
    devices: &'a BTreeMap<String, String>,
    provider: &str,
    username: &str,
) -> Option<&'a str> {
    let handle = format!("{provider}:{}", username.to_lowercase());
    let found = devices.get(&handle).or_else(|| devices.get(username));
    found.map(String::as_str)
}

fn ask_username(password_stdin: bool) -> Result<String, Failure> {
    if password_stdin || !is_interactive() {
        return Err(Failure::said("no terminal to ask on: give --username NAME"));
    }
    run::tell("User name:");
    Ok(run::read_line()?.trim().to_owned())
}

fn ask_password(username: &str) -> Result<Zeroizing<String>, Failure> {
    if !is_interactive() {
        return Err(Failure::said(
            "no terminal to ask for the password on: give --password-stdin",
        ));
    }
    run::ask_password(&format!("Password of {}: ", printable(username)))
}

fn read_password() -> Result<Zeroizing<String>, Failure> {
    let password = run::read_line()?;
    if password.is_empty() {
        return Err(Failure::said("no password on standard input"));
    }
    Ok(password)
}

/// What this program calls itself in the person's list of sessions.
pub(super) fn client() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("palisade {version} on {}", host.trim()),
        Err(_) => format!("palisade {version}"),
    }
}

async fn log_out(args: &LogoutArgs) -> Result<(), Failure> {
    let folder = Folder::open(args.gateway.config_dir.as_deref())?;
    let server = folder.server(args.gateway.server.as_deref())?;
    let lock = folder.lock(&server).await?;
    let Some(mut saved) = folder.load(&server)? else {
        return run::print(&format!("not logged in to {server}\n"));
    };
    let Some(session) = saved.session.take() else {
        return run::print(&format!("not logged in to {server}\n"));
    };
    // The own copy first: whatever the gateway answers, this machine is logged out.
    lock.save(&saved)?;
    let (trust, _) = trust(&args.gateway, saved.ca)?;
    let options = Options {
        trust,
        token: Some(&session.token),
        ..Options::default()
    };
    let http = HttpClient::new(&server, options)?;
    let body = ("application/json", "{}".into());
    let told = http
        .send(http::Method::POST, "/v1/login/logout", Some(body))
        .await;
    match told {
        Ok(_) => {}
        // Ended already.
        Err(error) if error.code() == Some(http::StatusCode::UNAUTHORIZED) => {}
        Err(error) => {
            return Err(Failure::said(format!(
                "the session was removed from this machine, but the gateway could not be told and will \
                 accept it until {}: {error}",
                session.expires_at
            )));
        }
    }
    run::print(&format!("logged out of {server}\n"))
}
