//! Where the account is, and which way to take there.

use super::{
    LoginArgs, desktop,
    wire::{DEVICE, Flow, LOOPBACK, Provider, Providers},
};
use crate::cli::{
    output::printable,
    run::{self, Failure, is_interactive},
};

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A password, from this terminal.
    Password,
    /// A browser on this machine, which comes back to this program.
    Loopback,
    /// A browser anywhere, in which a code is typed at the gateway.
    Device,
    /// The same at the provider.
    DeviceAtProvider,
}

/// The way, and the provider; without one the person chooses in the browser.
pub(super) fn choose<'a>(
    providers: &'a Providers,
    args: &LoginArgs,
) -> Result<(Way, Option<&'a str>), Failure> {
    let in_browser = args.ways.browser || args.ways.device;
    let provider = match args.provider.as_deref() {
        Some(wanted) => Some(find(providers, wanted)?),
        None if args.ways.device_at_provider => Some(only_with_codes(providers)?),
        None if in_browser => None,
        None => only_or_asked(providers, args)?,
    };
    let way = way(provider, args)?;
    let grant = match way {
        Way::Password => None,
        Way::Loopback => Some(LOOPBACK),
        Way::Device | Way::DeviceAtProvider => Some(DEVICE),
    };
    if grant.is_some_and(|grant| !providers.grants.iter().any(|it| it == grant)) {
        return Err(Failure::said(
            "this gateway does not know this way to log in: is it older than this palisade?",
        ));
    }
    Ok((way, provider.map(|it| it.name.as_str())))
}

fn way(provider: Option<&Provider>, args: &LoginArgs) -> Result<Way, Failure> {
    let with_password = args.password_stdin || args.username.is_some();
    match provider.map(|it| (&it.name, &it.flow)) {
        Some((name, Flow::Other(flow))) => Err(Failure::said(format!(
            "this palisade cannot log in at {name}: it asks for the flow {flow:?}"
        ))),
        Some((name, Flow::Browser)) if with_password => Err(Failure::said(format!(
            "{name} has no passwords to give here, people log in there by a browser: leave out \
             --username and --password-stdin"
        ))),
        Some((name, _)) if args.ways.device_at_provider => {
            if provider.is_some_and(|it| it.device_flow) {
                Ok(Way::DeviceAtProvider)
            } else {
                Err(Failure::said(format!(
                    "no code can be typed at {name} itself: its administrator has not switched that on, or it has no \
                     such flow; --device has one typed at the gateway"
                )))
            }
        }
        _ if args.ways.device => Ok(Way::Device),
        _ if args.ways.browser => Ok(Way::Loopback),
        Some((_, Flow::Password)) => Ok(Way::Password),
        Some((_, Flow::Browser)) | None => Ok(if desktop::is_there() {
            Way::Loopback
        } else {
            Way::Device
        }),
    }
}

fn find<'a>(providers: &'a Providers, wanted: &str) -> Result<&'a Provider, Failure> {
    let found = providers.all.iter().find(|it| it.name == wanted);
    found.ok_or_else(|| {
        let names = names(providers.all.iter());
        Failure::said(format!("no provider {wanted:?}; there is {names}"))
    })
}

/// For who names no provider and wants to type a code there.
fn only_with_codes(providers: &Providers) -> Result<&Provider, Failure> {
    let all = providers.all.iter().filter(|it| it.device_flow);
    match *all.collect::<Vec<_>>() {
        [only] => Ok(only),
        [] => Err(Failure::said(
            "no provider of this gateway lets a code be typed there: --device has one typed at the gateway",
        )),
        ref several => Err(Failure::said(format!(
            "several providers: give --provider with one of {}",
            names(several.iter().copied())
        ))),
    }
}

fn names<'a>(providers: impl Iterator<Item = &'a Provider>) -> String {
    let names: Vec<&str> = providers.map(|it| it.name.as_str()).collect();
    names.join(", ")
}

/// None: all that there are are chosen from in the browser.
fn only_or_asked<'a>(
    providers: &'a Providers,
    args: &LoginArgs,
) -> Result<Option<&'a Provider>, Failure> {
    let all = providers.all.as_slice();
    let with_password = args.password_stdin || args.username.is_some();
    if let [only] = all {
        return Ok(Some(only));
    }
    if all.iter().all(|it| it.flow == Flow::Browser) && !all.is_empty() {
        return Ok(None);
    }
    // Who gives a name or a password means a place where these count.
    let fitting = |it: &&Provider| !with_password || it.flow == Flow::Password;
    let fitting: Vec<&Provider> = all.iter().filter(fitting).collect();
    match fitting.as_slice() {
        [only] => Ok(Some(only)),
        several if !args.password_stdin && is_interactive() => ask(several).map(Some),
        several => Err(Failure::said(format!(
            "several providers: give --provider with one of {}",
            names(several.iter().copied())
        ))),
    }
}

/// By number or by name, on a terminal.
fn ask<'a>(all: &[&'a Provider]) -> Result<&'a Provider, Failure> {
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
    found
        .copied()
        .ok_or_else(|| Failure::said("that is none of them"))
}
