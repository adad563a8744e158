//! `palisade whoami`: who the gateway takes the caller for.

use super::{
    credential::review,
    http::HttpClient,
    output,
    run::{self, Failure},
    session::{GatewayArgs, connect},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, process::ExitCode};

/// Arguments of `palisade whoami`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// Output format
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Indented JSON.
    Json,
}

/// `authentication.k8s.io/v1` UserInfo.
#[derive(Deserialize, Serialize)]
pub(super) struct UserInfo {
    pub(super) username: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// Asks the gateway who the caller is.
pub(super) async fn ask(http: &HttpClient) -> Result<UserInfo, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        user_info: UserInfo,
    }
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review: Review = http.post(path, &review()).await?;
    Ok(review.status.user_info)
}

/// Runs `palisade whoami`.
pub fn run(args: &Args) -> ExitCode {
    run::run(show(args))
}

async fn show(args: &Args) -> Result<(), Failure> {
    let gateway = connect(&args.gateway).await?;
    let user = ask(&gateway.http).await?;
    let server = gateway.server.as_str();
    if args.output == Some(Output::Json) {
        let answer = serde_json::json!({"server": server, "user": user});
        return run::print(&output::json(&answer));
    }
    let groups = match user.groups.as_slice() {
        [] => String::new(),
        groups => format!("groups:   {}\n", groups.join(", ")),
    };
    let UserInfo { username, uid, .. } = &user;
    let extra = |name: &str| {
        let values = user.extra.get(name).map(Vec::as_slice);
        values.unwrap_or_default().join(", ")
    };
    let token = extra("palisade.dev/token-id");
    let (kind, end) = (
        extra("palisade.dev/token-kind"),
        extra("palisade.dev/token-expires-at"),
    );
    let text = format!(
        "user:     {username}\nuid:      {uid}\n{groups}token:    {token} ({kind}, until {end})\ngateway:  {server}\n"
    );
    run::print(&text)
}
