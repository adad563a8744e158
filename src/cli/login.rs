//! `palisade login` and `palisade logout`.
//!
//! Three ways to log in: a password from this terminal; a browser on this machine, which brings the answer back
//! to this program; a browser anywhere, in which a code is typed. Whatever the way, what comes of it is one
//! session, kept for the other commands.
//!
//! A password is read from the terminal without showing it, or from standard input if that is asked for;
//! never from an argument or the environment, where other processes could read it. Without a terminal the
//! command says what is missing; it never waits for an answer that nobody can give.

use super::{
    http::{HttpClient, Options, Trust},
    run::{self, Failure},
    session::{Folder, GatewayArgs, Saved, Session, trust},
};
use crate::status::clock;
use choose::Way;
use device::CodeTypedAt;
use std::{process::ExitCode, time::Duration};
use wire::LoggedIn;

mod choose;
mod desktop;
mod device;
mod listener;
mod loopback;
mod password;
mod proof;
mod waiting;
mod wire;

pub(super) use wire::Providers;

/// For ending the session that a login replaces: nobody should wait long for a courtesy.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Characters of a client's name that the gateway takes.
const MAX_CLIENT: usize = 100;
/// Those that it takes besides letters and digits of ASCII.
const IN_CLIENT: &str = " .-_@:/+#,'()";

/// Arguments of `palisade login`.
#[derive(clap::Args)]
pub struct LoginArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The user to log in as, with a password; asked for on a terminal
    #[arg(long, short, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input (its first line)
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    ways: Ways,
    /// Where the account is: a provider of the gateway; chosen here or in the browser if there are several
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

/// Ways by way of a browser.
#[derive(clap::Args)]
struct Ways {
    /// Log in in a browser on this machine
    #[arg(long, conflicts_with_all = ["device", "device_at_provider", "username", "password_stdin"])]
    browser: bool,
    /// Log in in a browser on any machine, by typing a code there
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    device: bool,
    /// Log in by typing a code at the provider itself, if the gateway's administrator lets that be (GitHub's own device
    /// flow): for browsers that do not reach the gateway
    #[arg(long, conflicts_with_all = ["device", "username", "password_stdin"])]
    device_at_provider: bool,
}

/// Arguments of `palisade logout`.
#[derive(clap::Args)]
pub struct LogoutArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Runs `palisade login`.
pub fn login(args: &LoginArgs) -> ExitCode {
    run::run(log_in(args))
}

/// Runs `palisade logout`.
pub fn logout(args: &LogoutArgs) -> ExitCode {
    run::run(log_out(args))
}

/// A login by a browser that nobody asked for and nobody sees would keep a job waiting for ten minutes.
fn check_seen(way: Way, args: &LoginArgs, terminal: bool) -> Result<(), Failure> {
    // On a desktop a browser opens, and is seen. The last way is taken by who asks for it.
    if way != Way::Device || args.ways.device || terminal {
        return Ok(());
    }
    Err(Failure::said(
        "this login takes a browser, and there is neither one here nor a terminal on which somebody would read \
         where to go: give --device if it is read elsewhere",
    ))
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
    let (way, provider) = choose::choose(&providers, args)?;
    check_seen(way, args, run::is_interactive())?;
    let answer = match way {
        Way::Password => {
            let provider = provider.unwrap_or_default();
            password::log_in(args, &http, provider, &devices).await?
        }
        Way::Loopback => loopback::log_in(&http, &server, provider).await?,
        Way::Device => device::log_in(&http, provider, CodeTypedAt::Gateway).await?,
        Way::DeviceAtProvider => device::log_in(&http, provider, CodeTypedAt::Provider).await?,
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

/// What this program calls itself in the person's list of sessions.
pub(super) fn client() -> String {
    let host = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    client_on(&String::from_utf8_lossy(&host))
}

/// The same on a machine of this name, which may be any bytes: for each character that the gateway refuses stands a `-`.
fn client_on(host: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = match host.trim() {
        "" => format!("palisade {version}"),
        host => format!("palisade {version} on {host}"),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || IN_CLIENT.contains(c);
    let plain = name.chars().map(|c| if plain(c) { c } else { '-' });
    plain.take(MAX_CLIENT).collect()
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

#[cfg(test)]
mod tests;
