//! `plant`: a copy of the source tree with every bug planted, to be built and caught.

use super::{CliError, Verdict};
use clap::Args;
use message_queue_sim::planted;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct PlantArgs {
    /// The root of the source tree.
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    from: PathBuf,
    /// Where the copy goes. What is there and needs no change is left alone.
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "target/planted/source"
    )]
    into: PathBuf,
}

pub(super) fn plant(args: &PlantArgs) -> Result<Verdict, CliError> {
    planted::plant(&args.from, &args.into)?;
    Ok(Verdict::Kept)
}
