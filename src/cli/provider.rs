//! `palisade provider`: what the configuration says about providers, and whether it works, on the gateway's host.
//!
//! It reads the same file as the gateway and dials as the gateway does, without one: an administrator tries a
//! provider before a gateway has it.

mod by_browser;

use super::{
    output::printable,
    run::{self, Failure},
};
use crate::{
    authn::providers::{
        self, Ids, Provider, Record, Standing, check_files_of,
        ldap::{Directory, Found, Tried, is_no_password},
    },
    config::{AccessMode, File, Ldap, Source},
    objects::{Member, check_handle},
    status::clock,
};
use std::{
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// Groups that are shown by name; the rest is counted.
const MAX_SHOWN: usize = 50;

const EXAMPLES: &str = "Examples:
  palisade provider list --config /etc/palisade/palisade.yaml
  palisade provider check corp --config /etc/palisade/palisade.yaml
  palisade provider check corp --config /etc/palisade/palisade.yaml --user jane
  palisade provider check corp --config /etc/palisade/palisade.yaml --user jane --password-stdin";

/// Arguments of `palisade provider`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the providers of a configuration file
    List {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Connect to a provider, look somebody up where it is a directory, and say what is wrong
    Check(CheckArgs),
}

#[derive(clap::Args)]
struct ConfigArg {
    /// The gateway's configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct CheckArgs {
    /// The provider's name
    name: String,
    #[command(flatten)]
    config: ConfigArg,
    /// Somebody to look up, as they would type their name at a login; with `oidc` a subject, to be told its id here
    #[arg(long, short, value_name = "NAME")]
    user: Option<String>,
    /// Try the password on standard input (its first line) too
    #[arg(long, requires = "user")]
    password_stdin: bool,
}

/// Runs `palisade provider`.
pub fn run(args: &Args) -> ExitCode {
    run::run(async {
        match &args.command {
            Command::List { config } => list(config),
            Command::Check(args) => check(args).await,
        }
    })
}

fn read(config: &ConfigArg) -> Result<File, Failure> {
    File::read(&config.config).map_err(|lines| Failure::said(lines.join("\n")))
}

fn list(config: &ConfigArg) -> Result<(), Failure> {
    let file = read(config)?;
    let mut text = "NAME\tKIND\tACCESS\tSTATE\tSERVERS\n".to_owned();
    text.push_str("local\tlocal\t-\tenabled\t-\n");
    for (name, provider) in &file.config.providers {
        let access = match provider.access.mode {
            AccessMode::Restricted => "restricted",
            AccessMode::DangerAnyone => "danger_anyone",
        };
        let state = match (provider.disabled, provider.primary) {
            (true, _) => "disabled",
            (false, true) => "enabled, primary",
            (false, false) => "enabled",
        };
        let (kind, servers) = source(&provider.source);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}\t{kind}\t{access}\t{state}\t{servers}");
    }
    run::print(&columns(&text))
}

/// What it is, and where.
fn source(source: &Source) -> (&'static str, String) {
    match source {
        Source::Ldap(ldap) => {
            let hosts = ldap.hosts.iter().map(ToString::to_string);
            let found = ldap.srv_domain.iter();
            let hosts = hosts.chain(found.map(|domain| format!("SRV of {domain}")));
            let hosts: Vec<String> = hosts.collect();
            (kind(ldap.directory), hosts.join(" "))
        }
        Source::Github(github) => ("github", github.url.clone()),
        Source::Oidc(oidc) => ("oidc", oidc.issuer.clone()),
    }
}

fn kind(directory: crate::config::DirectoryKind) -> &'static str {
    match directory {
        crate::config::DirectoryKind::ActiveDirectory => "active_directory",
        crate::config::DirectoryKind::Openldap => "openldap",
    }
}

/// Cells between tabs, one under the other.
fn columns(text: &str) -> String {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().enumerate();
        let cells: Vec<String> = cells
            .map(|(at, cell)| format!("{cell:<width$}", width = width(at)))
            .collect();
        out.push_str(cells.join("   ").trim_end());
        out.push('\n');
    }
    out
}

async fn check(args: &CheckArgs) -> Result<(), Failure> {
    let file = read(&args.config)?;
    let Some(config) = file.config.providers.get(&args.name) else {
        let names: Vec<&str> = file.config.providers.keys().map(String::as_str).collect();
        let known = match names.as_slice() {
            [] => "there is none in the file".to_owned(),
            names => format!("there is {}", names.join(", ")),
        };
        return Err(Failure::said(format!(
            "no provider {:?}; {known}",
            args.name
        )));
    };
    if config.disabled {
        run::tell("note: the provider is disabled: nobody can log in there");
    }
    check_files_of(&config.source).map_err(Failure::said)?;
    run::print("files               good\n")?;
    let provider = Provider::new(&args.name, config);
    match (&provider.source, &config.source) {
        (providers::Source::Ldap(directory), Source::Ldap(ldap)) => {
            check_directory(&provider, directory, ldap, args).await
        }
        (_, _) => {
            by_browser::check(&provider, &file.config.external_url, args.user.as_deref()).await
        }
    }
}

async fn check_directory(
    provider: &Provider,
    directory: &Directory,
    ldap: &Ldap,
    args: &CheckArgs,
) -> Result<(), Failure> {
    let began = Instant::now();
    // Dials and binds as a side effect: a name that nobody has.
    let nobody = "palisade-provider-check";
    let typed = args.user.as_deref().unwrap_or(nobody);
    let found = directory.find(typed).await;
    let found = found.map_err(|failure| Failure::said(failure.chain()))?;
    run::print(&format!(
        "connection          good: {} under {} ({} ms)\nsearch account      good: {}\n",
        kind(ldap.directory),
        match ldap.transport {
            crate::config::Transport::Ldaps => "TLS",
            crate::config::Transport::Starttls => "StartTLS",
            crate::config::Transport::DangerPlaintext =>
                "no protection: passwords can be read on the way",
        },
        began.elapsed().as_millis(),
        ldap.bind_dn
    ))?;
    listed_groups(provider, directory).await?;
    let Some(user) = &args.user else {
        return run::print("nobody was looked up; --user NAME does\n");
    };
    match found {
        Some(found) => tell(provider, directory, &found, args).await,
        None => Err(Failure::said(format!(
            "the directory has no account for {:?} below {}: is the name right, is \
             user_base_dn, may the search account read it?",
            printable(user),
            ldap.user_base_dn
        ))),
    }
}

/// Listed groups that are not there let nobody in.
async fn listed_groups(provider: &Provider, directory: &Directory) -> Result<(), Failure> {
    for group in &provider.config.access.groups {
        let found = directory.groups_named(group).await;
        let found = found.map_err(|failure| Failure::said(failure.chain()))?;
        let line = match found.as_slice() {
            [] => format!("no group {group:?} is found (access.groups)"),
            [one] => format!("good: {} has the id {}", one.name, one.id),
            several => format!(
                "{} groups are called {group:?}: each lets its members in; write the id of one",
                several.len()
            ),
        };
        run::print(&format!("listed group        {line}\n"))?;
    }
    Ok(())
}

async fn tell(
    provider: &Provider,
    directory: &Directory,
    found: &Found,
    args: &CheckArgs,
) -> Result<(), Failure> {
    let standing = found.standing();
    let standing = standing.map_err(|failure| Failure::said(failure.chain()))?;
    let state = match standing {
        Standing::Active => "active",
        Standing::Disabled => "disabled",
        Standing::Locked => "locked",
        Standing::Expired => "expired",
        Standing::MustChange => "its password must be changed first",
        Standing::Gone => "gone",
        Standing::Ended => "logged out",
    };
    let handle = match check_handle(&found.handle) {
        Ok(()) => provider.handle(&found.handle),
        Err(error) => format!(
            "none: {:?}: {error}; see ldap.handle_attribute",
            found.handle
        ),
    };
    run::print(&format!(
        "account             {}\nid                  {}\nstate               {state}\nhandle              {handle}\n",
        printable(found.dn()),
        found.id
    ))?;
    let began = Instant::now();
    let groups = directory.groups(found, Duration::ZERO).await;
    let groups = groups.map_err(|failure| Failure::said(failure.chain()))?;
    let took = began.elapsed().as_millis();
    let record = Record::new(Member::default(), &found.name, groups, clock::now());
    let mut text = format!("groups              {} ({took} ms)\n", record.groups.len());
    for group in record.groups.iter().take(MAX_SHOWN) {
        let name = printable(&group.name);
        let _ = writeln!(
            text,
            "                    {}:{name} ({})",
            provider.name, group.id
        );
    }
    if let Some(more @ 1..) = record.groups.len().checked_sub(MAX_SHOWN) {
        let _ = writeln!(text, "                    and {more} more");
    }
    let ids = Ids::of(&provider.config.source);
    let listed = record.is_listed(&found.id, &provider.config.access, &ids);
    let access = if listed {
        "may log in"
    } else {
        "not listed: may not log in"
    };
    let _ = writeln!(text, "access              {access}");
    run::print(&text)?;
    if args.password_stdin {
        try_password(directory, found).await?;
    }
    if listed && standing == Standing::Active {
        Ok(())
    } else {
        Err(Failure::said("this account cannot log in: see above"))
    }
}

async fn try_password(directory: &Directory, found: &Found) -> Result<(), Failure> {
    let password = run::read_line()?;
    if is_no_password(&password) {
        return Err(Failure::said("no password on standard input"));
    }
    let tried = directory.try_password(Some(found), &password).await;
    match tried.map_err(|failure| Failure::said(failure.chain()))? {
        Tried::Right => run::print("password            right\n"),
        Tried::Refused(why) => Err(Failure::said(format!("the password is refused: {why}"))),
    }
}
