//! `palisade serve`: the gateway, in the foreground, until SIGTERM or Ctrl-C.

use super::{
    kubeconfig,
    run::{Failure, print, tell},
};
use crate::{
    config::{Config, File, LogFormat, LogLevel},
    observe::log,
    serve::{
        admins::{self, Existing, Grants},
        app::{App, Sockets},
        dev::{self, Dev},
        lifecycle::{self, Drained, Hangups, Signals},
        reload,
        state::State,
    },
};
use std::{
    error::Error,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::runtime::Runtime;

/// User of the development gateway.
const DEV_ADMIN: &str = "admin";
/// Where the development gateway listens if nobody says.
const DEV_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);
/// Its admin listener.
const DEV_ADMIN_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8444);

/// Arguments of `palisade serve`.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file (docs/config.md)
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "dev",
        conflicts_with = "dev"
    )]
    config: Option<PathBuf>,
    /// Serve for development: certificates, store and an admin are made in the state folder
    #[arg(long)]
    dev: bool,
    /// The state folder of --dev
    #[arg(long, value_name = "DIR", requires = "dev", default_value = dev::DEFAULT_FOLDER)]
    state_dir: PathBuf,
    /// Where --dev listens
    #[arg(long, value_name = "ADDRESS:PORT", requires = "dev", default_value_t = DEV_LISTEN)]
    listen: SocketAddr,
    /// Where --dev has /livez, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS:PORT", requires = "dev", default_value_t = DEV_ADMIN_LISTEN)]
    admin_listen: SocketAddr,
    /// The least severe lines that --dev logs
    #[arg(long, value_name = "LEVEL", requires = "dev", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
}

/// Runs `palisade serve`.
pub fn run(args: &Args) -> ExitCode {
    let config = match &args.config {
        None => None,
        Some(path) => match File::read(path) {
            Ok(file) => Some((file.config, path)),
            Err(lines) => {
                for line in lines {
                    tell(&line);
                }
                return ExitCode::FAILURE;
            }
        },
    };
    let ended = match runtime() {
        Ok(runtime) => {
            let ended = match config {
                Some((config, file)) => runtime.block_on(serve(&config, file)),
                None => runtime.block_on(serve_dev(args)),
            };
            // Cuts what the drain left: streams whose other end does not move.
            runtime.shutdown_background();
            log::finish();
            ended
        }
        Err(error) => Err(said(&error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// A worker for each core that this process may use. With one core the thread itself is the worker: a
/// request is then never handed from one thread to another, which saves a tenth of its cost.
fn runtime() -> io::Result<Runtime> {
    let cores = std::thread::available_parallelism();
    let mut builder = if cores.is_ok_and(|cores| cores.get() == 1) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

async fn serve(config: &Config, file: &Path) -> Result<(), Failure> {
    begin(config);
    let signals = Signals::take().map_err(|error| said(&error))?;
    let hangups = Hangups::take().map_err(|error| said(&error))?;
    let sockets = Sockets::bind(config.listen, config.admin_listen).await;
    let sockets = sockets.map_err(|error| said(&error))?;
    let state = State::open(&config.state)
        .await
        .map_err(|error| said(&error))?;
    if admins::find_admin(&state.store)
        .await
        .map_err(|error| said(&error))?
        .is_none()
    {
        tracing::warn!(
            "there is no admin: stop the gateway and run palisade admin init on this host"
        );
    }
    let (address, admin) = (sockets.address(), sockets.admin_address());
    let app = App::start(config, sockets, state)
        .await
        .map_err(|error| said(&error))?;
    let reloader = app.reloader(file.to_owned());
    app.beside(|stop| reloader.run(Some(hangups), stop));
    tracing::info!(%address, %admin, url = config.external_url.as_str(), "serving");
    until_signal(app, signals).await;
    Ok(())
}

async fn serve_dev(args: &Args) -> Result<(), Failure> {
    let signals = Signals::take().map_err(|error| said(&error))?;
    let sockets = Sockets::bind(args.listen, args.admin_listen).await;
    let sockets = sockets.map_err(|error| said(&error))?;
    let dev = dev::prepare(
        &args.state_dir,
        sockets.address(),
        sockets.admin_address(),
        args.log_level,
    )
    .map_err(|error| said(&error))?;
    begin(&dev.config);
    let state = State::open(&dev.config.state)
        .await
        .map_err(|error| said(&error))?;
    let admin = make_dev_admin(&state, &dev).await?;
    let admin_address = sockets.admin_address();
    let app = App::start(&dev.config, sockets, state)
        .await
        .map_err(|error| said(&error))?;
    // SIGHUP is left as it is: whoever closes the terminal wants it to end.
    let reloader = app.reloader(dev.config_file.clone());
    app.beside(|stop| reloader.run(None, stop));
    write_kubeconfig(&dev, &app)?;
    print(&welcome(&dev, admin_address, &admin))?;
    until_signal(app, signals).await;
    Ok(())
}

/// For all clusters of this moment; `palisade kubeconfig` writes it anew.
fn write_kubeconfig(dev: &Dev, app: &App) -> Result<(), Failure> {
    let ca = std::fs::read_to_string(&dev.ca_file).map_err(|error| said(&error))?;
    let url = dev.config.external_url.as_str();
    kubeconfig::write_for(url, ca, app.clusters(), &dev.kubeconfig)
}

/// Makes the admin at the first start; returns what to say about the password.
async fn make_dev_admin(state: &State, dev: &Dev) -> Result<String, Failure> {
    let store = &state.store;
    if !admins::is_first_start(store)
        .await
        .map_err(|error| said(&error))?
    {
        return Ok(format!(
            "The password of {DEV_ADMIN:?} was shown at the first start. For a new one stop this gateway and run:\n\n  \
             {} admin init --config {} --username {DEV_ADMIN} --reset\n",
            program(),
            quoted(&dev.config_file)
        ));
    }
    let password = admins::generate_password().map_err(|error| said(&error))?;
    let (grants, existing) = (Grants::AdminAndClusters, Existing::Refuse);
    admins::make_admin(store, DEV_ADMIN, password.clone(), grants, existing)
        .await
        .map_err(|error| said(&error))?;
    Ok(format!(
        "Admin user {DEV_ADMIN:?}, password (shown this once):\n\n  {}\n",
        password.as_str()
    ))
}

fn welcome(dev: &Dev, admin_address: SocketAddr, admin: &str) -> String {
    let url = dev.config.external_url.as_str();
    let program = program();
    format!(
        "\
Palisade for development at {url}

The same address is a page for browsers; {ca} is its authority.

{admin}
Log in, in another terminal:

  {program} login --server {url} --ca-sum {sum} --username {DEV_ADMIN}
  export KUBECONFIG={kubeconfig}
  kubectl --context palisade get users

After adding clusters: {program} kubeconfig --output {kubeconfig}
State is in {folder}, health and metrics at http://{admin_address}. Ctrl-C ends it.
",
        ca = quoted(&dev.ca_file),
        sum = dev.ca_sum,
        kubeconfig = quoted(&dev.kubeconfig),
        folder = dev.config_file.parent().unwrap_or(Path::new(".")).display(),
    )
}

/// This program as a shell finds it, whatever the folder.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "palisade".to_owned(), |path| quoted(&path))
}

/// A path as one word of a shell's line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

async fn until_signal(app: App, mut signals: Signals) {
    let signal = signals.next().await;
    tracing::info!(signal, "stopping; a second signal stops at once");
    let hurry = async {
        signals.next().await;
    };
    match app.stop(hurry).await {
        Drained::Clean => tracing::info!("stopped"),
        Drained::Cut(connections) => {
            tracing::warn!(
                connections,
                "stopped; connections with open requests were cut"
            );
        }
    }
}

/// What comes before anything else, once there is a log to speak to.
fn begin(config: &Config) {
    log::start(log::Settings {
        json: config.log.format == LogFormat::Json,
        level: reload::level(config.log.level),
    });
    lifecycle::raise_descriptor_limit();
}

/// An error with all that lies under it, in one line.
pub(super) fn said(error: &dyn Error) -> Failure {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let further = error.to_string();
        // A transparent wrapper says the same as what it wraps.
        if !text.ends_with(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        source = error.source();
    }
    Failure::said(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_word() {
        assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
