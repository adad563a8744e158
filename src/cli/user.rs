//! `palisade user`: people and machine users.

use super::{
    output::OutputArgs,
    own::{self, Own},
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::{
    authn::passwords,
    objects::{User, UserSpec},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{net::IpAddr, process::ExitCode};
use zeroize::Zeroizing;

const EXAMPLES: &str = "Examples:
  palisade user add alice --display-name 'Alice Adams'   # prints a password, once
  pass show alice | palisade user add alice --password-stdin
  palisade user add ci --machine                         # then: palisade token create --user ci
  palisade user disable alice                            # from her next request on
  palisade user unlock alice --from 203.0.113.7          # too many wrong passwords of somebody else
  palisade user password                                 # one's own";

/// Arguments of `palisade user`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a user; a person gets a password, a machine user has tokens only
    Add(Add),
    /// List users
    List {
        #[command(flatten)]
        output: OutputArgs,
        #[command(flatten)]
        gateway: GatewayArgs,
    },
    /// Show a user
    Show {
        #[command(flatten)]
        user: Named,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Refuse a user from the next request on; nothing of theirs is removed
    Disable(Named),
    /// Let a disabled user in again
    Enable(Named),
    /// Forget the wrong passwords that were tried for a user, so that logins are looked at again
    Unlock {
        #[command(flatten)]
        user: Named,
        /// The person's address: for an hour their tries there are theirs alone, whoever else is trying
        #[arg(long, value_name = "ADDRESS")]
        from: Option<IpAddr>,
    },
    /// Set a password; one's own takes the current one, and ends one's sessions
    Password(SetPassword),
    /// Remove a user with their tokens and bindings; the handle is never given again
    Remove {
        #[command(flatten)]
        user: Named,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

#[derive(clap::Args)]
struct Named {
    /// The user's handle
    name: String,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(clap::Args)]
struct Add {
    #[command(flatten)]
    user: Named,
    /// For people to read
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    display_name: String,
    /// A machine user: tokens only, never a password
    #[arg(long, conflicts_with = "password_stdin")]
    machine: bool,
    /// Read the password from standard input, in place of making one and printing it
    #[arg(long)]
    password_stdin: bool,
}

#[derive(clap::Args)]
struct SetPassword {
    /// The user's handle; without it, one's own
    name: Option<String>,
    /// Read it from standard input; for one's own, a first line has the current one
    #[arg(long, conflicts_with = "generate")]
    password_stdin: bool,
    /// Make one and print it, once
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Body of `PUT users/NAME/password`.
#[derive(Serialize)]
struct NewPassword<'a> {
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<&'a str>,
}

/// Runs `palisade user`.
pub fn run(args: Args) -> ExitCode {
    run::run(async {
        match args.command {
            Command::Add(args) => add(&args).await,
            Command::List { output, gateway } => {
                let own = Own::connect(&gateway).await?;
                own.list::<User>().await?.print::<User>(output.output)
            }
            Command::Show { user, output } => {
                let own = Own::connect(&user.gateway).await?;
                own.show::<User>(&user.name, output.output).await
            }
            Command::Disable(user) => set_disabled(&user, true).await,
            Command::Enable(user) => set_disabled(&user, false).await,
            Command::Unlock { user, from } => unlock(&user, from).await,
            Command::Password(args) => password(&args).await,
            Command::Remove { user, yes } => remove(&user, yes).await,
        }
    })
}

async fn add(args: &Add) -> Result<(), Failure> {
    let name = &args.user.name;
    // Before anything is made: what is wrong with the password must not leave a user without one.
    let password = match (args.machine, args.password_stdin) {
        (true, _) => None,
        (false, true) => Some(run::read_line()?),
        (false, false) => Some(generated()?),
    };
    if let Some(password) = &password {
        passwords::check_rules(name, password).map_err(|rule| Failure::said(rule.to_string()))?;
    }
    let own = Own::connect(&args.user.gateway).await?;
    let spec = UserSpec {
        display_name: args.display_name.clone(),
        machine: args.machine,
        ..UserSpec::default()
    };
    own.create(&User::new(name, spec)).await?;
    let Some(password) = password else {
        return run::print(&format!("user {name} made; it has no token yet\n"));
    };
    if let Err(failure) = set_password(&own, name, &password, None).await {
        return Err(Failure::said(format!(
            "user {name} was made, but has no password ({failure}); set one: palisade user password {name}"
        )));
    }
    run::print(&format!("user {name} made\n"))?;
    if args.password_stdin {
        return Ok(());
    }
    print_once(&password)
}

async fn set_disabled(user: &Named, disabled: bool) -> Result<(), Failure> {
    let own = Own::connect(&user.gateway).await?;
    let change = |user: &mut User| {
        let changes = user.spec.disabled != disabled;
        user.spec.disabled = disabled;
        Ok(changes)
    };
    let changed = own.change::<User>(&user.name, change).await?;
    let state = if disabled { "disabled" } else { "enabled" };
    let was = if changed { "" } else { " already" };
    run::print(&format!("user {} is{was} {state}\n", user.name))
}

async fn unlock(user: &Named, from: Option<IpAddr>) -> Result<(), Failure> {
    let own = Own::connect(&user.gateway).await?;
    let path = format!("{}/unlock", own::path::<User>(&user.name));
    let body = match from {
        Some(address) => json!({"from": address}),
        None => json!({}),
    };
    own.http().post::<_, Value>(&path, &body).await?;
    let name = &user.name;
    run::print(&format!("user {name} is unlocked\n"))
}

async fn password(args: &SetPassword) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    let me = whoami(&own).await?;
    let name = args.name.as_ref().unwrap_or(&me);
    let current = match (*name == me, args.password_stdin) {
        (false, _) => None,
        (true, true) => Some(run::read_line()?),
        (true, false) => Some(asked("current password: ")?),
    };
    let new = if args.password_stdin {
        run::read_line()?
    } else if args.generate {
        generated()?
    } else {
        let new = asked(&format!("new password of {name}: "))?;
        if new != asked("the same again: ")? {
            return Err(Failure::said(
                "the two are not the same; nothing was changed",
            ));
        }
        new
    };
    passwords::check_rules(name, &new).map_err(|rule| Failure::said(rule.to_string()))?;
    let current = current.as_ref().map(|current| current.as_str());
    set_password(&own, name, &new, current).await?;
    run::print(&format!(
        "password of {name} set; sessions of {name} have ended\n"
    ))?;
    if args.generate {
        return print_once(&new);
    }
    Ok(())
}

async fn remove(user: &Named, yes: bool) -> Result<(), Failure> {
    let own = Own::connect(&user.gateway).await?;
    let name = &user.name;
    // Says "not found" before it asks.
    own.get::<User>(name).await?;
    if !yes {
        if !run::is_interactive() {
            return Err(Failure::said(format!(
                "this removes {name} for ever (to lock {name} out: palisade user disable {name}); say --yes"
            )));
        }
        let question =
            format!("Remove {name} with all tokens and bindings, and never give the handle again?");
        if !run::confirm(&question)? {
            return Err(Failure::said("nothing was removed"));
        }
    }
    own.delete::<User>(name).await?;
    run::print(&format!("user {name} removed\n"))
}

async fn set_password(
    own: &Own,
    name: &str,
    password: &str,
    current: Option<&str>,
) -> Result<(), Failure> {
    let path = format!("{}/password", own::path::<User>(name));
    let body = NewPassword { password, current };
    own.http().put::<_, Value>(&path, &body).await?;
    Ok(())
}

/// The handle of whoever runs the command.
pub(super) async fn whoami(own: &Own) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Review {
        status: ReviewStatus,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct ReviewStatus {
        user_info: UserInfo,
    }
    #[derive(Deserialize)]
    struct UserInfo {
        username: String,
    }
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review: Review = own.http().post(path, &body).await?;
    Ok(review.status.user_info.username)
}

fn generated() -> Result<Zeroizing<String>, Failure> {
    let password = passwords::generate();
    password.ok_or_else(|| Failure::said("this machine gives no random numbers"))
}

fn asked(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    if !run::is_interactive() {
        return Err(Failure::said(
            "there is no terminal to ask on: use --password-stdin or --generate",
        ));
    }
    run::ask_password(prompt)
}

fn print_once(password: &str) -> Result<(), Failure> {
    run::print(&format!("password: {password}\n"))?;
    run::tell("It is kept nowhere and not shown again.");
    Ok(())
}
