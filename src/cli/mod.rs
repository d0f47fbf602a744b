//! The command line.

mod bench;
mod calibrate;
mod certificate;
mod compile;
mod console;
mod decrypt;
mod encrypt;
mod evaluate;
mod explain;
mod files;
mod inspect;
mod keygen;
mod profile;
mod query;
mod report;
mod run;
mod score;
mod secret;
mod serve;
mod statement;
mod verify;

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
    /// Make a secret key, which stays with its owner, and the evaluation keys for the server.
    Keygen(keygen::Arguments),
    /// Encrypt samples to a file for the server.
    Encrypt(encrypt::Arguments),
    /// Evaluate a program on a file of encrypted samples, without any secret.
    Evaluate(evaluate::Arguments),
    /// Decrypt the server's results, and say how good they are.
    Decrypt(decrypt::Arguments),
    /// Serve programs to clients over the network, without any secret.
    Serve(serve::Arguments),
    /// Encrypt samples, have a server evaluate them, and decrypt the results.
    Query(query::Arguments),
    /// Time a whole model, on one core and on all.
    Bench(bench::Arguments),
    /// Measure what operations cost on this machine, for --costs of the other commands.
    Calibrate(calibrate::Arguments),
    /// Print the graph of a model or a program, after any stage.
    Inspect(inspect::Arguments),
    /// Write a page that shows what a program does: layers, levels, cost, precision, security.
    Explain(explain::Arguments),
    /// Recompute what a program promises about security, and refuse what does not hold.
    Verify(verify::Arguments),
}

/// What went wrong, for the user: one error with all its causes.
type Failure = Box<dyn Error>;

/// Parses the arguments, does what they say, and reports failure as one message and a non-zero exit.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Compile(arguments) => compile::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Encrypt(arguments) => encrypt::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Decrypt(arguments) => decrypt::run(&arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Query(arguments) => query::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
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
#[derive(Clone, Debug, clap::Args)]
struct CompileOptions {
    /// Bits of security.
    #[arg(long, default_value_t = 128, value_parser = security)]
    security: u32,
    /// The ring of the polynomials: conjugate-invariant has N real slots, standard has N/2 complex ones; auto takes the one that
    /// costs least for each sample of a full batch.
    #[arg(long, value_enum, default_value_t = RingChoice::Auto)]
    ring: RingChoice,
    /// Bits of precision at the outputs, with high probability: log2 of the largest output over the bound that the certificate gives of
    /// errors [default: as much as 99 % of the calibration samples need to be answered alike, and 10 bits expected in the batch layout,
    /// 12.5 in the packed one].
    #[arg(long, value_name = "BITS")]
    precision: Option<f64>,
    /// The largest error that an output may have, with high probability, before what the client computes after decryption.
    #[arg(long, value_name = "EPS", value_parser = positive, conflicts_with = "precision")]
    output_error: Option<f64>,
    /// How samples lie in the slots: batch has one ciphertext for each element of a tensor and thousands of samples in its slots;
    /// packed spreads one sample, or as many as --batch says, over few ciphertexts, for an answer at once; auto takes the one that
    /// answers --batch samples (one, if that is not said) sooner.
    #[arg(long, value_enum, default_value_t = LayoutArgument::Batch)]
    layout: LayoutArgument,
    /// A JSON file with explicit parameters: {"poly_modulus_degree": 8192, "coeff_modulus": [49, 40, 40, 49]}; the last prime is
    /// the special one.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Samples that show how large values become inside the model [default: those that the model card names].
    #[arg(long, value_name = "[NAME=]FILE")]
    calibrate: Vec<String>,
    /// The smallest and largest value of an input element, after preprocessing [default: what the calibration samples
    /// reach, else 0 1].
    #[arg(long, num_args = 2, value_names = ["LOW", "HIGH"], allow_negative_numbers = true)]
    input_range: Option<Vec<f64>>,
    /// The classes of the calibration samples: what replaces an activation is then judged by them, else by the model's own
    /// answers [default: those that the model card names, with its samples].
    #[arg(long, value_name = "FILE")]
    calibrate_labels: Option<PathBuf>,
    /// How many of the answers on held-back calibration samples may be lost to polynomials in place of activations and
    /// maximum pooling, such as 0.5%.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_accuracy_drop: Option<f64>,
    /// How far outputs may be off on held-back calibration samples (root mean square, as a share of their standard deviation), such
    /// as 5%: for models that answer with numbers.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_output_error: Option<f64>,
    /// Lets the client see, sample by sample, that values left the range on which a polynomial was fitted: one more encrypted number
    /// for each replacement.
    #[arg(long)]
    guard: bool,
    /// Who computes what encrypted arithmetic cannot (ReLU, maximum pooling, ...): polynomial has the server compute polynomials that come
    /// near; client has the client decrypt, compute exactly and encrypt again, in the middle of the run; mixed has the client compute those
    /// only without which --max-accuracy-drop is not kept.
    #[arg(long, value_enum, default_value_t = ActivationsArgument::Polynomial)]
    activations: ActivationsArgument,
    /// Sends the client values as they are in the middle of a run, not multiplied by random factors.
    #[arg(long)]
    no_blind: bool,
    /// What replaces maximum pooling: auto takes a polynomial in the moments of each window; a tournament comes closer and
    /// costs far more; the average is another function, for models that bear it.
    #[arg(long, value_name = "HOW", value_parser = clap::builder::PossibleValuesParser::new(hec::MaxPooling::NAMES))]
    maxpool: Option<String>,
    /// Results will be shown to others: reserves precision for the noise with which that is safe, with so many bits of statistical
    /// security for the samples of a batch together; `hec run` adds the noise as well [default without BITS: 30].
    #[arg(long, value_name = "BITS", num_args = 0..=1, require_equals = true, default_missing_value = SHARE_BY_DEFAULT, value_parser = sharing)]
    share_decryptions: Option<u32>,
    /// Samples that a batch will have: a ring for more of them is then no cheaper [default: full batches].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    /// Memory that a run may take, such as 4GiB: larger layers are computed in tiles.
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    memory: Option<u64>,
    /// An input that the server may see: it is not encrypted, and what depends on such inputs alone is computed in the clear.
    #[arg(long, value_name = "NAME")]
    public: Vec<String>,
    /// What operations cost, as `hec calibrate` writes it [default: a 2 to 3 GHz x86-64 core with AVX2].
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
}

impl CompileOptions {
    /// The options that decide what a program is, other than the level of security.
    fn given(&self) -> Option<&'static str> {
        let given = [
            ("--output-error", self.output_error.is_some()),
            ("--params", self.params.is_some()),
            ("--layout", self.layout != LayoutArgument::Batch),
            ("--calibrate", !self.calibrate.is_empty()),
            ("--input-range", self.input_range.is_some()),
            ("--calibrate-labels", self.calibrate_labels.is_some()),
            ("--max-accuracy-drop", self.max_accuracy_drop.is_some()),
            ("--max-output-error", self.max_output_error.is_some()),
            ("--guard", self.guard),
            ("--activations", self.activations != ActivationsArgument::Polynomial),
            ("--no-blind", self.no_blind),
            ("--maxpool", self.maxpool.is_some()),
            ("--batch", self.batch.is_some()),
            ("--memory", self.memory.is_some()),
            ("--public", !self.public.is_empty()),
            ("--costs", self.costs.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }
}

/// [`hec::ir::program::DEFAULT_SHARING_BITS`], for the help.
const SHARE_BY_DEFAULT: &str = "30";
const _: () = assert!(hec::ir::program::DEFAULT_SHARING_BITS == 30);

/// Bits of statistical security.
fn sharing(text: &str) -> Result<u32, String> {
    let (least, most) = (hec::ir::program::SHARING_BITS.start(), hec::ir::program::SHARING_BITS.end());
    let number = text.parse().ok().filter(|bits| hec::ir::program::SHARING_BITS.contains(bits));
    number.ok_or_else(|| format!("expected bits of statistical security, {least} to {most}"))
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    number.ok_or_else(|| "expected a number above 0, such as 0.01".to_owned())
}

/// `0.5%`, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse().ok().filter(|x| (0.0..=100.0).contains(x));
    number.map(|percent: f64| percent / 100.0).ok_or_else(|| "expected a percentage such as 0.5%".to_owned())
}

/// `4GiB`, `500MB`, `123456`.
fn memory_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 7] =
        [("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("", 1.0)];
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = UNITS.iter().find(|(name, _)| *name == &text[digits.len()..]);
    let number: Option<f64> = digits.trim().parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0);
    match (number, unit) {
        (Some(number), Some((_, unit))) => Ok((number * unit) as u64),
        _ => Err("expected a size such as 4GiB, 500MB or 123456".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ActivationsArgument {
    Polynomial,
    Client,
    Mixed,
}

impl ActivationsArgument {
    fn choice(self) -> hec::Activations {
        match self {
            Self::Polynomial => hec::Activations::Polynomial,
            Self::Client => hec::Activations::Client,
            Self::Mixed => hec::Activations::Mixed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LayoutArgument {
    Batch,
    Packed,
    Auto,
}

impl LayoutArgument {
    fn choice(self) -> hec::LayoutChoice {
        match self {
            Self::Batch => hec::LayoutChoice::Batch,
            Self::Packed => hec::LayoutChoice::Packed,
            Self::Auto => hec::LayoutChoice::Auto,
        }
    }

    /// Bits of expected precision where none are asked for.
    fn precision(self) -> f64 {
        match self {
            Self::Batch => hec::Options::default().precision,
            Self::Packed | Self::Auto => 12.5,
        }
    }
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
