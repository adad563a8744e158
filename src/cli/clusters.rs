//! `palisade clusters`: the clusters that the caller holds anything on, and how they are.

use super::{
    output::OutputArgs,
    own::Own,
    run::{self, Failure},
    session::GatewayArgs,
};
use crate::objects::Cluster;
use std::process::ExitCode;

/// Arguments of `palisade clusters`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    gateway: GatewayArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `palisade clusters`.
pub fn run(args: &Args) -> ExitCode {
    run::run(show(args))
}

async fn show(args: &Args) -> Result<(), Failure> {
    let own = Own::connect(&args.gateway).await?;
    own.list::<Cluster>()
        .await?
        .print::<Cluster>(args.output.output)
}
