//! `palisade provider check` of what browsers are sent to.

use super::super::{
    output::printable,
    run::{self, Failure},
};
use crate::{
    authn::providers::{
        Provider, Source,
        github::{Github, is_group_id},
        oidc::{Oidc, account_id},
    },
    config::ExternalUrl,
};
use std::time::Instant;

/// Says whether people could log in there, as far as that shows without one.
pub(super) async fn check(
    provider: &Provider,
    external_url: &ExternalUrl,
    user: Option<&str>,
) -> Result<(), Failure> {
    let back = format!("{}/login/{}/callback", external_url.as_str(), provider.name);
    match &provider.source {
        Source::Github(github) => check_github(provider, github, &back).await?,
        Source::Oidc(oidc) => check_oidc(oidc, user).await?,
        // It has its own way.
        Source::Ldap(_) => {}
    }
    run::print(&format!(
        "redirect URI        {back} (must be allowed at the provider, to the letter)\n"
    ))
}

async fn check_oidc(oidc: &Oidc, subject: Option<&str>) -> Result<(), Failure> {
    let began = Instant::now();
    let discovered = oidc.discover().await;
    let discovered = discovered.map_err(|failure| Failure::said(failure.chain()))?;
    run::print(&format!(
        "discovery           good: {} ({} ms)\nlogins              {}\ntokens              {}\n",
        oidc.config().issuer,
        began.elapsed().as_millis(),
        discovered.authorization_endpoint,
        discovered.token_endpoint,
    ))?;
    let keys = oidc.count_keys().await;
    let keys = keys.map_err(|failure| Failure::said(failure.chain()))?;
    run::print(&format!(
        "keys                good: {keys} that can be used\n"
    ))?;
    let configured = &oidc.config().algorithms;
    let signs_with = &discovered.signs_with;
    let both = |it: &String| configured.iter().any(|own| own.as_str() == it);
    if !signs_with.is_empty() && !signs_with.iter().any(both) {
        return Err(Failure::said(format!(
            "it signs with {}, and none of these is among oidc.algorithms",
            printable(&signs_with.join(", "))
        )));
    }
    if oidc.config().userinfo && discovered.userinfo_endpoint.is_none() {
        return Err(Failure::said(
            "it has no userinfo endpoint, and oidc.userinfo is switched on",
        ));
    }
    if let Some(subject) = subject {
        let id = account_id(&oidc.config().issuer, subject);
        run::print(&format!(
            "id                  {id} (of the subject {:?}; good for access.users)\n",
            printable(subject)
        ))?;
    }
    Ok(())
}

async fn check_github(
    provider: &Provider,
    github: &Github,
    redirect_uri: &str,
) -> Result<(), Failure> {
    let began = Instant::now();
    let probed = github.probe().await;
    probed.map_err(|failure| Failure::said(failure.chain()))?;
    run::print(&format!(
        "API                 good: {} ({} ms)\n",
        github.config().api_url,
        began.elapsed().as_millis()
    ))?;
    let app = github.check_app(redirect_uri).await;
    let app = app.map_err(|failure| Failure::said(failure.chain()))?;
    app.map_err(|why| {
        Failure::said(format!(
            "GitHub does not take the OAuth app (client_id, client_secret_file, callback URL): {}",
            printable(&why)
        ))
    })?;
    run::print("OAuth app           good: GitHub takes its id and secret\n")?;
    if provider.has_device_flow() {
        let codes = provider.begin_device().await;
        codes.map_err(|failure| {
            Failure::said(format!(
                "GitHub gives no code for a terminal (device_flow; the app needs Enable Device Flow): {}",
                printable(&failure.chain())
            ))
        })?;
        run::print("device flow         good: GitHub gives codes for terminals\n")?;
    }
    let listed = provider.config.access.groups.iter();
    for name in listed.filter(|name| !is_group_id(name)) {
        run::tell(&format!(
            "note: {name:?} is listed by a name, which can change hands; its id (org-<number>, team-<number>) cannot"
        ));
    }
    Ok(())
}
