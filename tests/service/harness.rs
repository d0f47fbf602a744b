//! Servers and clients as processes, and messages by hand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hec::ir::program::Contract;
use hec_client::{Client, Key, Options, SampleBatch, Tls};
use hec_protocol::Fingerprint;
use hec_protocol::encrypted::encrypted_client::EncryptedClient;
use hec_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::common::{Onnx, small};

pub const SAMPLES: &str = "0.5,0.25,1,0\n0,1,0,1\n-0.5,0.75,0.25,-1\n";

/// A folder with a compiled model, its client file, keys and samples.
pub struct Setup {
    pub folder: TempDir,
}

impl Setup {
    /// `small.hec`, in the batch layout: no evaluation keys are needed.
    pub fn batch() -> Self {
        Self::new(&[])
    }

    /// In the packed layout: keys for rotations and relinearization.
    pub fn packed() -> Self {
        Self::new(&["--layout", "packed"])
    }

    /// With a function in the middle that the client computes.
    pub fn aided(layout: &str) -> Self {
        let weights = |count: u16| (0..count).map(|i| f32::from(i % 5) * 0.25 - 0.5).collect::<Vec<_>>();
        let model = Onnx::new()
            .input("x", &[4])
            .weights("w1", &[4, 3], &weights(12))
            .weights("w2", &[3, 2], &weights(6))
            .node("MatMul", &["x", "w1"], "hidden")
            .node("Relu", &["hidden"], "positive")
            .node("MatMul", &["positive", "w2"], "y")
            .output("y");
        Self::of(&model, &["--activations", "client", "--layout", layout, "--calibrate", "x.csv"])
    }

    fn new(options: &[&str]) -> Self {
        Self::of(&small(), options)
    }

    fn of(model: &Onnx, options: &[&str]) -> Self {
        let setup = Self { folder: TempDir::new().unwrap() };
        fs::write(setup.path("small.onnx"), model.bytes()).unwrap();
        fs::write(setup.path("x.csv"), SAMPLES).unwrap();
        setup.hec(&[&["compile", "small.onnx"], options].concat());
        setup.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]);
        setup.hec(&["run", "small.hec", "--input", "x.csv", "--output", "run.csv"]);
        setup
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hec"));
        command.current_dir(self.folder.path()).args(arguments).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
        command
    }

    /// Runs `hec`, which has to succeed, and returns what it printed.
    #[track_caller]
    pub fn hec(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {} {}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs `hec`, which has to fail, and returns its error.
    #[track_caller]
    pub fn error(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(status.code(), Some(1), "{arguments:?}: {} {}", text(&stdout), text(&stderr));
        text(&stderr)
    }

    /// The arguments of a query.
    pub fn query<'a>(&self, server: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let own = ["query", "--server", server, "--client", "small.hecclient", "--key", "keys/secret.heckey"];
        [&own[..], &["--input", "x.csv", "--output", "y.csv", "--json"], more].concat()
    }

    /// Queries, and compares with the run in one process.
    #[track_caller]
    pub fn asks(&self, server: &str, more: &[&str]) -> serde_json::Value {
        let said = self.hec(&self.query(server, more));
        self.compare();
        serde_json::from_str(&said).unwrap()
    }

    /// What a query wrote is what the run did.
    #[track_caller]
    pub fn compare(&self) {
        let numbers = |name: &str| -> Vec<f64> {
            let text = fs::read_to_string(self.path(name)).unwrap();
            text.lines().skip(1).flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect()
        };
        let (found, expected) = (numbers("y.csv"), numbers("run.csv"));
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.01), "{found:?} {expected:?}");
        fs::remove_file(self.path("y.csv")).unwrap();
    }

    pub fn contract(&self) -> Contract {
        Contract::from_bytes(&fs::read(self.path("small.hecclient")).unwrap()).unwrap()
    }

    pub fn key(&self, folder: &str) -> Key {
        let path = self.path(folder).join("secret.heckey");
        Key::read::<hec_client::ClientError>(&path, self.contract().parameters(), || {
            Err(hec_client::ClientError::NoPassphrase)
        })
        .unwrap()
    }

    pub fn keys(&self) -> Vec<u8> {
        fs::read(self.path("keys/evaluation.heckeys")).unwrap()
    }

    /// A client within this process.
    pub fn client(&self, server: &str, key: Key, keys: PathBuf) -> Client {
        let options = Options {
            server: server.to_owned(),
            model: "small".to_owned(),
            tls: Tls::default(),
            token: None,
            keys,
            timeout: Duration::from_secs(300),
            in_flight: 2,
            one_message: None,
            share: None,
        };
        Client::new(options, self.contract(), key).unwrap()
    }

    pub fn samples(&self) -> std::collections::BTreeMap<String, SampleBatch> {
        let values = SAMPLES.lines().flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect();
        [("x".to_owned(), SampleBatch { values, samples: 3 })].into()
    }
}

/// A running `hec serve`; killed when it is dropped.
pub struct Server {
    pub child: Child,
    pub address: SocketAddr,
    pub http: SocketAddr,
}

impl Server {
    pub fn start(setup: &Setup, arguments: &[&str]) -> Self {
        Self::at(setup, "127.0.0.1:0", arguments)
    }

    pub fn at(setup: &Setup, address: &str, arguments: &[&str]) -> Self {
        let own = ["serve", "--listen", address, "--http", "127.0.0.1:0", "--poll", "1"];
        let mut command = setup.command(&[&own, arguments].concat());
        let log = fs::OpenOptions::new().create(true).append(true).open(setup.path("server.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim().strip_prefix("listening on ");
        let rest =
            rest.unwrap_or_else(|| panic!("{line:?}: {}", fs::read_to_string(setup.path("server.log")).unwrap()));
        let (address, http) = rest.split_once(", http ").unwrap();
        Self { child, address: address.parse().unwrap(), http: http.parse().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Status and body of an HTTP request.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        (status, text.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The value of a counter without labels.
    pub fn counter(&self, name: &str) -> u64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until no request is inside.
    #[track_caller]
    pub fn is_idle(&self) {
        wait_for("no request", || self.counter("hec_requests_inside") == 0);
    }

    /// The largest resident size so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    /// It is still there.
    #[track_caller]
    pub fn lives(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server has ended");
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub async fn encrypted(&self) -> EncryptedClient<Channel> {
        EncryptedClient::new(self.channel().await).max_decoding_message_size(1 << 30)
    }

    pub async fn inference(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel().await).max_encoding_message_size(1 << 30)
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fingerprint of a file of evaluation keys.
pub fn fingerprint(keys: &[u8]) -> Fingerprint {
    Fingerprint(*blake3::hash(keys).as_bytes())
}
