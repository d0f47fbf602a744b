//! Queries to a server.
//!
//! A [`Client`] sends its evaluation keys once, and goes on where it was interrupted. Batches go as streams, a part of one in memory at a
//! time; while the server evaluates one the next is encrypted. What the server refuses for want of room is tried again, as is what a
//! broken connection or a restarted server cut off: every attempt encrypts anew.

mod batch;
mod keys;
mod retry;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hec_ir::program::Contract;
use hec_protocol::Fingerprint;
use hec_protocol::ciphertexts::{Direction, largest};
use hec_runtime::{Answers, Collector, Flooded, SampleBatch, sample_count};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::error::ClientError;
use crate::key::Key;
use batch::Received;

/// Requests of no more bytes go in one message: a stream has no advantage then.
const ONE_MESSAGE: usize = 4 << 20;

/// How to reach a server, and what to ask it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub server: String,
    /// The model's name there.
    pub model: String,
    /// For `https`.
    pub tls: Tls,
    /// The token that the server asks for.
    pub token: Option<zeroize::Zeroizing<String>>,
    /// The file of evaluation keys, for when the server has not got them.
    pub keys: PathBuf,
    /// How long one batch may take, with all attempts.
    pub timeout: Duration,
    /// Batches under way at a time: while one is evaluated others are encrypted.
    pub in_flight: usize,
    /// Whether to use the Open Inference Protocol's `ModelInfer` [default: for batches of a few megabytes].
    pub one_message: Option<bool>,
    /// Bits of statistical security for answers that others are to see, all samples of one call of [`Client::infer`] together; `None` where
    /// they are for the key's owner alone.
    pub share: Option<u32>,
}

/// Certificates.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Who signs the server's certificate, in PEM [default: whom the system trusts].
    pub ca: Option<PathBuf>,
    /// The client's own certificate and private key, in PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate [default: that of the URL].
    pub domain: Option<String>,
}

/// What a query cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes of evaluation keys that were sent.
    pub keys: u64,
    /// Bytes of messages to the server, without the keys.
    pub up: u64,
    /// Bytes of messages from the server.
    pub down: u64,
    /// Bytes that the server sent in the middle of runs.
    pub rounds_down: u64,
    /// Bytes that were sent back.
    pub rounds_up: u64,
    /// Seconds of the client's work in the middle of runs.
    pub rounds: f64,
    /// Seconds of encryption, on all cores.
    pub encrypt: f64,
    /// Seconds of evaluation, as the server says.
    pub evaluate: f64,
    /// Seconds of decryption, and of what is computed after it.
    pub decrypt: f64,
    /// Seconds from the first byte to the last.
    pub wall: f64,
    /// Batches.
    pub batches: usize,
    /// Attempts that had to be made again.
    pub retries: u64,
}

/// Is told how a query proceeds.
pub trait Progress: Send + Sync {
    /// A batch was answered.
    fn answered(&self, batch: usize, batches: usize) {
        let _ = (batch, batches);
    }
}

impl Progress for () {}

/// A client of one model, with one key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    contract: Arc<Contract>,
    key: Arc<Key>,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    /// Encryption takes all cores: one batch after the other.
    encrypting: Arc<Semaphore>,
    /// Nor are keys sent twice at a time.
    sending: tokio::sync::Mutex<()>,
}

impl Client {
    /// Prepares a connection, which is made when it is first needed, and again when it breaks.
    ///
    /// # Errors
    /// If the address, a certificate or the token cannot be used.
    pub fn new(options: Options, contract: Contract, key: Key) -> Result<Self, ClientError> {
        let refuse = |reason: String| ClientError::Server { server: options.server.clone(), reason };
        let endpoint = Endpoint::from_shared(options.server.clone()).map_err(|e| refuse(format!("no address: {e}")))?;
        let scheme = endpoint.uri().scheme_str().unwrap_or_default().to_owned();
        let mut endpoint = endpoint
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        match scheme.as_str() {
            "https" => endpoint = endpoint.tls_config(tls(&options.tls)?).map_err(|e| refuse(e.to_string()))?,
            "http" if options.tls.identity.is_none() && options.tls.ca.is_none() => {}
            "http" => return Err(refuse("certificates are given, but the address is not https".to_owned())),
            _other => return Err(refuse("expected http://HOST:PORT or https://HOST:PORT".to_owned())),
        }
        let token = match &options.token {
            Some(token) => {
                let value = format!("Bearer {}", token.as_str());
                let value = MetadataValue::try_from(value);
                let mut value =
                    value.map_err(|_| refuse("the token has characters that no header can hold".to_owned()))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self(Arc::new(Inner {
            channel: endpoint.connect_lazy(),
            contract: contract.into(),
            key: key.into(),
            token,
            encrypting: Semaphore::new(1).into(),
            sending: tokio::sync::Mutex::new(()),
            options,
        })))
    }

    /// What the client knows of the model.
    pub fn contract(&self) -> &Contract {
        &self.0.contract
    }

    /// The fingerprint of its key.
    pub fn key(&self) -> Fingerprint {
        self.0.key.fingerprint()
    }

    /// Encrypts all samples of `inputs`, has them evaluated, and decrypts the results.
    ///
    /// # Errors
    /// [`ClientError`]: the inputs are not the contract's, the server refuses for good, or what it sends is not what it should be.
    pub async fn infer(
        &self,
        inputs: BTreeMap<String, SampleBatch>,
        progress: &dyn Progress,
    ) -> Result<(Answers, Traffic), ClientError> {
        let own = &self.0;
        let samples = sample_count(&own.contract.inputs(), &inputs)?;
        let (inputs, capacity) = (Arc::new(inputs), own.contract.capacity());
        let batches = samples.div_ceil(capacity);
        let start = Instant::now();
        let mut traffic = Traffic { batches, ..Traffic::default() };
        let flooded = own.options.share.map(|bits| Flooded::new(&own.contract, bits, samples)).transpose()?;
        let mut collector = Collector::with_noise(&own.contract, flooded);
        let mut under_way: VecDeque<Abort<Result<Received, ClientError>>> = VecDeque::new();
        let mut next = 0;
        for batch in 0..batches {
            while next < batches && under_way.len() < own.options.in_flight.max(1) {
                let range = next * capacity..samples.min((next + 1) * capacity);
                let (client, inputs) = (self.clone(), inputs.clone());
                under_way.push_back(Abort(tokio::spawn(async move { client.batch(inputs, range).await })));
                next += 1;
            }
            let Some(mut first) = under_way.pop_front() else { break };
            let received = (&mut first.0).await.map_err(|_| self.server("the query was interrupted"))??;
            let count = samples.min((batch + 1) * capacity) - batch * capacity;
            let decrypting = Instant::now();
            collector.push(own.key.client(), received.outputs, count)?;
            traffic.decrypt += decrypting.elapsed().as_secs_f64();
            traffic.add(&received.traffic);
            progress.answered(batch, batches);
        }
        let decrypting = Instant::now();
        let answers = collector.finish()?;
        traffic.decrypt += decrypting.elapsed().as_secs_f64();
        traffic.wall = start.elapsed().as_secs_f64();
        Ok((answers, traffic))
    }

    fn server(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Server { server: self.0.options.server.clone(), reason: reason.into() }
    }

    /// What the server said, for the user.
    fn refused(&self, status: &Status) -> ClientError {
        let mut reason = format!("{} ({:?})", status.message(), status.code());
        let mut cause = std::error::Error::source(status);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !reason.contains(&text) {
                reason = format!("{reason}: {text}");
            }
            cause = inner.source();
        }
        if retry::is_mistrust(status) {
            reason.push_str(
                "; --tls-ca is to name who signed the server's certificate, which must not be an authority's own",
            );
        }
        self.server(reason)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.0.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Whether a batch goes in one message.
    fn in_one_message(&self) -> bool {
        let contract = &self.0.contract;
        let count: usize = Direction::Inputs.arrays(contract).iter().map(|array| array.length).sum();
        // Fresh ciphertexts are seeded: one polynomial in the place of five.
        let bytes = count * largest(contract.parameters()) / 5;
        // A client that is needed in the middle needs a stream.
        contract.exchanges().is_empty() && self.0.options.one_message.unwrap_or(bytes <= ONE_MESSAGE)
    }
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.up += other.up;
        self.down += other.down;
        self.rounds_down += other.rounds_down;
        self.rounds_up += other.rounds_up;
        self.rounds += other.rounds;
        self.encrypt += other.encrypt;
        self.evaluate += other.evaluate;
        self.retries += other.retries;
    }
}

/// A task that ends when nobody waits for it.
struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tls(given: &Tls) -> Result<ClientTlsConfig, ClientError> {
    let pem = |path: &PathBuf| std::fs::read(path).map_err(ClientError::io(path, "read"));
    let mut config = ClientTlsConfig::new();
    config = match &given.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(pem(ca)?)),
        None => config.with_native_roots(),
    };
    if let Some((certificate, key)) = &given.identity {
        config = config.identity(Identity::from_pem(pem(certificate)?, pem(key)?));
    }
    if let Some(domain) = &given.domain {
        config = config.domain_name(domain);
    }
    Ok(config)
}
