//! `hec keygen`.

use std::fs;
use std::path::{Path, PathBuf};

use hec_client::Key;

use super::report::megabytes;
use super::statement::ProgramStatement;
use super::{Failure, console, files, secret};
use crate::data::AtomicFile;

/// The names in the folder.
const SECRET: &str = "secret.heckey";
const EVALUATION: &str = "evaluation.heckeys";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The client file of the program (.hecclient).
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// The folder for both files of keys; it is made if it is not there.
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,
    /// Encrypt the secret key with a passphrase, which is asked for.
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,
    /// Encrypt the secret key with the passphrase in the first line of this file.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (contract, _) = files::contract(&arguments.client)?;
    let folder = &arguments.output;
    let (secret, evaluation) = (folder.join(SECRET), folder.join(EVALUATION));
    make_folder(folder)?;
    // Before any work is done: writing would refuse as well.
    if fs::symlink_metadata(&secret).is_ok() {
        return Err(hec_client::ClientError::KeyExists { path: secret }.into());
    }
    let passphrase = match &arguments.passphrase_file {
        Some(file) => Some(secret::from_file(file)?),
        None if arguments.passphrase => Some(secret::ask_twice()?),
        None => None,
    };
    let mut file = AtomicFile::create(&evaluation)?;
    let parameters = contract.parameters();
    let key = Key::generate::<Failure>(&contract, &mut file, |made| {
        Ok(ProgramStatement::of_keys(parameters, made)?.json().to_string())
    })?;
    let statement = ProgramStatement::alone(parameters)?.json().to_string();
    key.write(&secret, &statement, passphrase.as_ref().map(|text| text.as_str()))?;
    if let Err(error) = file.commit() {
        // Without its evaluation keys it is of no use, and the next attempt would be refused.
        let _ = fs::remove_file(&secret);
        return Err(error.into());
    }
    let size = |path: &Path| fs::metadata(path).map(|there| there.len()).unwrap_or(0);
    let needs = contract.keys();
    let holds = match needs.relinearization {
        Some(needs) => format!("relinearization to degree {} at level {}", needs.degree, needs.level),
        None => "no relinearization".to_owned(),
    };
    console::print(&format!(
        "wrote {} ({} bytes{}): the secret key, which stays here\n\
         wrote {} ({}; {holds}, {} rotations): for the server\nfingerprint {}",
        secret.display(),
        size(&secret),
        if passphrase.is_some() { ", encrypted" } else { "" },
        evaluation.display(),
        megabytes(size(&evaluation)),
        needs.rotations.keys().filter(|&&steps| steps != 0).count(),
        key.fingerprint().hex(),
    ));
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|e| format!("{} cannot be made: {e}", folder.display()).into())
}
