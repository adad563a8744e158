//! From a change to its effect, with a large store: from the moment at which the API acknowledged it to the first
//! answer that knows of it.

use crate::{
    load::{Aim, Ask},
    results::Growth,
    stats::Figure,
    suite::Suite,
    world::{Proxy, Side, prefixes},
};
use anyhow::{Context as _, Result, bail};
use http::Method;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Changes of each kind.
const CHANGES: usize = 20;
/// An effect that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// Disables users, takes bindings away, and asks until it shows.
pub(super) async fn run(suite: &Suite, proxy: &Proxy) -> Result<Vec<Growth>> {
    let gateway = proxy.gateway.as_ref().context("a gateway")?;
    let address = proxy.address(Side::H1).context("no address")?;
    let admin = Arc::new(vec![gateway.admin.clone()]);
    let api = suite.world.aim(address, &admin, vec![String::new()])?;
    let mut all = Vec::new();
    for (what, code) in [("a user is disabled", 401), ("a binding is deleted", 403)] {
        suite
            .progress
            .step(&format!("growth: {what}"), super::EFFECTS);
        let mut acknowledged = Vec::new();
        let mut shown = Vec::new();
        for number in 0..CHANGES {
            // Token n is of user n; the first binding of user n is b<n>, which reaches every cluster. The
            // others of these users are not on c0.
            let user = number + if code == 401 { 101 } else { 201 };
            let token = Arc::new(vec![gateway.tokens[user].clone()]);
            let aim = suite.world.aim(address, &token, prefixes(Side::H1, 2))?;
            let change = if code == 401 {
                let path = format!("/apis/palisade.dev/v1alpha1/users/user{user}");
                let body = r#"{"spec":{"disabled":true}}"#;
                Ask::new(Method::PATCH, path, body)
            } else {
                let path = format!("/apis/palisade.dev/v1alpha1/bindings/b{user}");
                Ask::new(Method::DELETE, path, "")
            };
            let (write, effect) = one(&api, &aim, &change, code).await?;
            acknowledged.push(write);
            shown.push(effect);
        }
        for (name, values) in [
            (format!("{what}: until acknowledged"), acknowledged),
            (format!("{what}: from there until it shows"), shown),
        ] {
            all.push(Growth {
                what: name,
                figure: Figure::of(values).context("no changes")?,
                unit: "ms".to_owned(),
            });
        }
    }
    Ok(all)
}

/// Milliseconds of the write, and from its answer to the first request that is answered with `code`.
async fn one(api: &Aim, aim: &Aim, change: &Ask, code: u16) -> Result<(f64, f64)> {
    let mut writer = api.asker().await?;
    let mut reader = aim.asker().await?;
    let get = Ask::new(
        Method::GET,
        "/api/v1/namespaces/default/pods/b1024".to_owned(),
        "",
    );
    let before = reader.ask(&get).await?;
    if before != 200 {
        bail!("answered with {before} before the change");
    }
    let began = Instant::now();
    let answer = writer.ask(change).await?;
    let write = began.elapsed();
    if answer != 200 {
        bail!("the change was answered with {answer}");
    }
    let began = Instant::now();
    // The request's start counts: what was sent after the acknowledgement must know of it.
    loop {
        let asked = began.elapsed();
        let status = reader.ask(&get).await?;
        if status == code {
            return Ok((write.as_secs_f64() * 1e3, asked.as_secs_f64() * 1e3));
        }
        if began.elapsed() > PATIENCE {
            bail!("the change does not show: {status}");
        }
    }
}
