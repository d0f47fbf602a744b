//! The `hec` command: arguments, files, progress. The work is done in the library.

mod cli;
mod data;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
