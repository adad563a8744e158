//! With a name and a password, asked for on the terminal or read from standard input.

use super::{
    LoginArgs, client,
    wire::{LoggedIn, PasswordLogin},
};
use crate::cli::{
    http::HttpClient,
    output::printable,
    run::{self, Failure, is_interactive},
};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Logs in at a provider that takes passwords.
pub(super) async fn log_in(
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
        return Err(Failure::said(
            "no terminal to ask on: give --username NAME, or --device to log in by a browser",
        ));
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
