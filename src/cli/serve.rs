//! `hec serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hec_server::{Limits, Settings, Source};

use super::{Failure, console, memory_size};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Programs; each is served under its file's name without .hec.
    #[arg(required_unless_present = "repository", conflicts_with = "repository", value_name = "MODEL.hec")]
    programs: Vec<PathBuf>,
    /// A folder of programs: what is put there is served, what is replaced is exchanged without a pause.
    #[arg(long, value_name = "FOLDER")]
    repository: Option<PathBuf>,
    /// Where to listen for gRPC.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// Where to answer probes (/v2/health/live, /v2/health/ready), metadata (/v2/models/NAME) and Prometheus (/metrics) over HTTP.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// The server's certificate chain, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who signs the certificates of clients, PEM: without one of these a client is not let in.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Who may ask: a line for each client, with its name, its token and when that expires (2027-01-31T00:00:00Z, or never). It is read
    /// again when it changes.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The folder of the clients' evaluation keys; several servers may share it [default: in memory].
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Memory of all requests together, with their evaluation.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, default_value = "4GiB")]
    memory: u64,
    /// The largest message that holds a whole batch.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, default_value = "512MiB")]
    max_message: u64,
    /// The largest set of evaluation keys.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, default_value = "4GiB")]
    max_keys: u64,
    /// Memory for evaluation keys; those that were used longest ago are given up.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, default_value = "2GiB")]
    keys_memory: u64,
    /// Room in the folder of evaluation keys; those that were used longest ago are given up.
    #[arg(long, value_name = "SIZE", value_parser = memory_size, default_value = "64GiB")]
    keys_disk: u64,
    /// Sets of evaluation keys of one client.
    #[arg(long, value_name = "N", default_value_t = 16)]
    keys_per_client: usize,
    /// Clients that are told apart.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = at_least_one)]
    max_clients: usize,
    /// Connections at a time.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = at_least_one)]
    max_connections: usize,
    /// Evaluations at a time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one)]
    concurrent: usize,
    /// Requests that may wait beside those; more are refused.
    #[arg(long, value_name = "N", default_value_t = 64)]
    queue: usize,
    /// Requests of one client at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    per_client: usize,
    /// Seconds that a request may take in all.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    deadline: u64,
    /// Seconds that a client may be silent within a request.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    idle: u64,
    /// Seconds that requests may go on when the server is asked to end.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Seconds between looks for changed programs and tokens; SIGHUP asks for one at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    poll: u64,
    /// Number of threads of all evaluations together [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Log as JSON. RUST_LOG chooses what is logged [default: info].
    #[arg(long)]
    json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number from 1".to_owned())
}

pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    log(arguments.json);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let limits = Limits {
        message: size(arguments.max_message),
        memory: arguments.memory,
        key: arguments.max_keys,
        keys_in_memory: arguments.keys_memory,
        keys_on_disk: arguments.keys_disk,
        keys_per_client: arguments.keys_per_client,
        clients: arguments.max_clients,
        concurrent: arguments.concurrent,
        queue: arguments.queue,
        per_client: arguments.per_client,
        connections: arguments.max_connections,
        deadline: Duration::from_secs(arguments.deadline),
        idle: Duration::from_secs(arguments.idle),
        ..Limits::default()
    };
    let settings = Settings {
        listen: arguments.listen,
        http: arguments.http,
        source: arguments.repository.map_or(Source::Files(arguments.programs), Source::Folder),
        identity: arguments.tls_cert.zip(arguments.tls_key),
        client_ca: arguments.client_ca,
        tokens: arguments.token_file,
        keys: arguments.keys,
        poll: Duration::from_secs(arguments.poll),
        grace: Duration::from_secs(arguments.grace),
        limits,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64 + settings.limits.concurrent)
        .build()?;
    let started = |address: SocketAddr, http: Option<SocketAddr>| {
        // For whoever started it with port 0.
        let http = http.map_or(String::new(), |http| format!(", http {http}"));
        console::print(&format!("listening on {address}{http}"));
    };
    runtime.block_on(hec_server::serve(settings, started, hec_server::asked_to_end()))?;
    // Evaluations that are still running have been asked to stop; nobody waits for them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

fn log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
}
