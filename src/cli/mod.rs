//! The command line.

mod bench;
mod compile;
mod console;
mod files;
mod inspect;
mod report;
mod run;
mod score;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Compiles trained neural networks (ONNX) and runs them on encrypted data.
#[derive(Debug, Parser)]
#[command(name = "hec", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile a model to a program, and say what was decided and why.
    Compile(compile::Arguments),
    /// Run a model or a program on samples, and say how well and how fast.
    Run(run::Arguments),
    /// Time a whole model, on one core and on all.
    Bench(bench::Arguments),
    /// Print the graph of a model or a program, after any stage.
    Inspect(inspect::Arguments),
}

/// What went wrong, for the user: one error with all its causes.
type Failure = Box<dyn Error>;

/// Parses the arguments, does what they say, and reports failure as one message and a non-zero exit.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::say(&format!("error: {failure}"));
            let mut cause = failure.source();
            while let Some(inner) = cause {
                // Many errors say their cause themselves.
                if !failure.to_string().contains(&inner.to_string()) {
                    console::say(&format!("  because: {inner}"));
                }
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Options of every command that compiles.
#[derive(Debug, clap::Args)]
struct CompileOptions {
    /// Bits of security.
    #[arg(long, default_value_t = 128, value_parser = security)]
    security: u32,
    /// The ring of the polynomials: conjugate-invariant has N real slots, standard has N/2 complex ones; auto takes the one that
    /// costs least for each sample of a full batch.
    #[arg(long, value_enum, default_value_t = RingChoice::Auto)]
    ring: RingChoice,
    /// Bits of precision wanted at the outputs: log2 of the largest output over the largest error.
    #[arg(long, default_value_t = 10.0, value_name = "BITS")]
    precision: f64,
    /// A JSON file with explicit parameters: {"poly_modulus_degree": 8192, "coeff_modulus": [49, 40, 40, 49]}; the last prime is
    /// the special one.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Samples that show how large values become inside the model [default: those that the model card names].
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// The smallest and largest value of an input element, after preprocessing [default: what the calibration samples
    /// reach, else 0 1].
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], allow_negative_numbers = true)]
    input_range: Option<Vec<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RingChoice {
    Auto,
    Standard,
    ConjugateInvariant,
}

impl RingChoice {
    /// The ring type asked for, if any.
    fn asked(self) -> Option<hec::RingType> {
        match self {
            Self::Auto => None,
            Self::Standard => Some(hec::RingType::Standard),
            Self::ConjugateInvariant => Some(hec::RingType::ConjugateInvariant),
        }
    }
}

fn security(text: &str) -> Result<u32, String> {
    let bits: u32 = text.parse().map_err(|_| "expected 128, 192 or 256".to_owned())?;
    hec::Security::from_bits(bits).map(hec::Security::bits).ok_or_else(|| "expected 128, 192 or 256".to_owned())
}
