//! `hec query`.

use std::path::PathBuf;
use std::time::Duration;

use hec::{Phases, Traffic};
use hec_client::{Client, Options, Tls};

use super::decrypt::ResultArguments;
use super::secret::{self, SecretArguments};
use super::{Failure, files};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The server, such as https://models.example:8001.
    #[arg(long, value_name = "URL")]
    server: String,
    /// The model's name there [default: that of the client file].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The client file of the program (.hecclient).
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    #[command(flatten)]
    secret: SecretArguments,
    /// The evaluation keys, which are sent if the server has not got them [default: evaluation.heckeys beside the secret key].
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Samples: IDX, .npy, .npz, .csv, TensorProto .pb, PNG or a folder of PNGs.
    #[arg(long, value_name = "[NAME=]FILE")]
    input: Vec<String>,
    /// Only the first N samples.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Who signs the server's certificate, PEM [default: whom the system trusts].
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The client's own certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name in the server's certificate [default: that of the URL].
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
    /// A file with the token that the server asks for.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Seconds that one batch may take, with all attempts.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Batches under way at a time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    in_flight: usize,
    /// How a batch travels: in one message of the Open Inference Protocol, as a stream, or in one message if it is small.
    #[arg(long, value_enum, default_value_t = Way::Auto)]
    way: Way,
    #[command(flatten)]
    results: ResultArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    Auto,
    Message,
    Stream,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (contract, card) = files::contract(&arguments.client)?;
    let limit = arguments.limit.and_then(|n| usize::try_from(n).ok());
    let inputs = files::inputs(&contract.inputs(), &arguments.input, card.as_ref(), limit)?;
    let samples = inputs.values().next().map_or(0, |batch| batch.samples);
    let key = arguments.secret.read(&contract)?;
    let stem = arguments.client.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let options = Options {
        server: arguments.server.clone(),
        model: arguments.model.clone().or(stem).ok_or("give --model NAME")?,
        tls: Tls {
            ca: arguments.tls_ca.clone(),
            identity: arguments.tls_cert.clone().zip(arguments.tls_key.clone()),
            domain: arguments.tls_name.clone(),
        },
        token: arguments.token_file.as_deref().map(secret::from_file).transpose()?,
        keys: arguments.keys.clone().unwrap_or_else(|| arguments.secret.beside("evaluation.heckeys")),
        timeout: Duration::from_secs(arguments.timeout),
        in_flight: arguments.in_flight,
        share: arguments.results.share_decryptions,
        one_message: match arguments.way {
            Way::Auto => None,
            Way::Message => Some(true),
            Way::Stream => Some(false),
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let own = contract.clone();
    let (answers, traffic) = runtime.block_on(async move {
        let client = Client::new(options, own, key)?;
        client.infer(inputs, &()).await
    })?;
    let seconds = Phases {
        keygen: f64::NAN,
        encrypt: traffic.encrypt,
        evaluate: (traffic.evaluate - traffic.rounds).max(0.0),
        rounds: traffic.rounds,
        decrypt: traffic.decrypt,
    };
    let bytes = Traffic {
        keys: traffic.keys,
        input: traffic.up,
        output: traffic.down,
        rounds_down: traffic.rounds_down,
        rounds_up: traffic.rounds_up,
    };
    let (model, wall) = (&arguments.client, Some(traffic.wall));
    arguments.results.report(model, &contract, &answers, samples, (seconds, wall), bytes)
}
