//! `tinysaver pki`: certificates for people who have none.

use std::io::Write;
use std::path::PathBuf;

use jiff::Zoned;
use tinysaver_offload::pki::make_authority;

use crate::failure::Failure;

/// What to do about certificates.
#[derive(clap::Subcommand)]
pub enum PkiCommand {
    /// Make a private authority, a certificate for the server and one for the boards
    Init(InitArgs),
}

/// Arguments of `pki init`.
#[derive(clap::Args)]
pub struct InitArgs {
    /// Where the six files go; existing ones are never overwritten
    #[arg(long, value_name = "FOLDER", default_value = "pki")]
    folder: PathBuf,
    /// A name or address by which boards reach the server; may be repeated
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// How long the certificates are good
    #[arg(long, value_name = "YEARS", default_value_t = 10, value_parser = clap::value_parser!(i16).range(1..=30))]
    years: i16,
}

/// Does it.
pub fn execute(command: &PkiCommand, out: &mut dyn Write) -> Result<(), Failure> {
    let PkiCommand::Init(args) = command;
    let last_year = i32::from(Zoned::now().year()) + i32::from(args.years);
    let made = make_authority(&args.folder, &args.hosts, last_year).map_err(Failure::config)?;
    for path in made {
        writeln!(out, "{}", path.display())?;
    }
    let folder = args.folder.display();
    writeln!(
        out,
        "\nserver: tinysaver serve --tls-cert {folder}/server.pem --tls-key {folder}/server.key --client-ca {folder}/ca.pem\n\
         boards: take ca.pem, board.pem and board.key with them; keep ca.key at home, it makes more certificates\n\
         all are good up to the end of {last_year}"
    )?;
    Ok(())
}
