//! Both gRPC services in this process, behind the gate of a real server.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hec::{Activations, LayoutChoice, Program};
use hec_ckks::adapter::CkksClient;
use hec_ir::Scale;
use hec_protocol::Fingerprint;
use hec_protocol::encrypted::encrypted_server::EncryptedServer;
use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::{EvaluateRequest, KeyChunk, KeyStatusRequest};
use hec_protocol::inference::ModelInferRequest;
use hec_protocol::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use hec_protocol::tensors;
use hec_runtime::Client as _;
use hec_server::encrypted::Service as Encrypted;
use hec_server::evaluation::Shared;
use hec_server::gate::{Gate, GateLayer};
use hec_server::inference::Inference;
use hec_server::limits::{Admission, Limits};
use hec_server::metrics::Metrics;
use hec_server::repository::{Repository, Source};
use hec_server::store::Store;
use http_body_util::{BodyExt, Full};
use prost::Message;
use tonic::body::Body;
use tower::{Layer, ServiceExt};

use crate::models;

/// The methods, by the lowest bits of the first byte.
pub const METHODS: [&str; 10] = [
    "/inference.GRPCInferenceService/ModelInfer",
    "/hec.v1.Encrypted/Evaluate",
    "/hec.v1.Encrypted/UploadKeys",
    "/hec.v1.Encrypted/KeyStatus",
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelReady",
    "/inference.GRPCInferenceService/ServerMetadata",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ServerLive",
    "/none/Such",
];
/// In the first byte: the body is taken as it is; else it is messages, each behind its length in two bytes.
pub const RAW: u8 = 0x80;
/// Stands for a ciphertext that fits, so that inputs stay short.
pub const CIPHERTEXT: u8 = 0xc7;
/// Stands for the fingerprint of the program or of the key.
pub const FINGERPRINT: u8 = 0xf0;
const MESSAGE: usize = 4 << 20;

struct Server {
    runtime: tokio::runtime::Runtime,
    inference: Gate<GrpcInferenceServiceServer<Inference>>,
    encrypted: Gate<EncryptedServer<Encrypted>>,
    ciphertext: Bytes,
    program: [Fingerprint; 2],
    key: [Fingerprint; 2],
    /// The files of keys.
    keys: [Vec<u8>; 2],
}

/// The two models: one with a square in the middle, one with a ReLU that the client computes.
pub const NAMES: [&str; 2] = ["square", "aided"];

fn programs() -> [Program; 2] {
    let batch = |function, activations| {
        models::program(&models::small(function), &models::options(LayoutChoice::Batch, activations))
    };
    [batch("Mul", Activations::Polynomial), batch("Relu", Activations::Client)]
}

/// A file of no keys: neither program needs any.
fn keys_of(program: &Program) -> Vec<u8> {
    let mut file = b"HECKEYS\0".to_vec();
    file.extend(1_u32.to_le_bytes());
    file.extend(program.parameters().fingerprint());
    file.extend([0; 32 + 4 + 4]);
    file
}

fn limits() -> Limits {
    Limits {
        message: MESSAGE,
        chunk: MESSAGE,
        memory: 256 << 20,
        key: 1 << 20,
        keys_in_memory: 4 << 20,
        clients: 16,
        deadline: Duration::from_secs(10),
        idle: Duration::from_secs(2),
        ..Limits::default()
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = crate::folder().join(format!("hec-fuzz-models-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let programs = programs();
        for (name, program) in NAMES.iter().zip(&programs) {
            std::fs::write(folder.join(name).with_extension("hec"), program.to_bytes()).expect("a file");
        }
        let models = Repository::new(Source::Folder(folder.clone()), limits().memory);
        models.refresh();
        assert!(models.names().len() == NAMES.len(), "both are served");
        std::fs::remove_dir_all(folder).expect("a folder");
        let keys = Store::new(None, limits()).expect("a store");
        let files = [0, 1].map(|i| keys_of(&programs[i]));
        let prints = [0, 1].map(|i| Fingerprint(*blake3::hash(&files[i]).as_bytes()));
        for (file, print) in files.iter().zip(prints) {
            let mut upload = keys.upload("fuzz", print, file.len() as u64).expect("room");
            upload.push(file).expect("room");
            upload.finish(&models).expect("keys");
        }
        let admission = Admission::new(limits());
        let shared = Arc::new(Shared { models, keys, admission, metrics: Metrics::default() });
        let gate = GateLayer { shared: shared.clone(), tokens: None };
        let inference = GrpcInferenceServiceServer::new(Inference(shared.clone())).max_decoding_message_size(MESSAGE);
        let encrypted = EncryptedServer::new(Encrypted(shared)).max_decoding_message_size(MESSAGE);
        Server {
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("threads"),
            inference: gate.layer(inference),
            encrypted: gate.layer(encrypted),
            ciphertext: ciphertext(&programs[0]),
            program: [0, 1].map(|i| Fingerprint(programs[i].fingerprint())),
            key: prints,
            keys: files,
        }
    })
}

fn ciphertext(program: &Program) -> Bytes {
    let contract = program.contract();
    let input = &contract.private_inputs()[0].input;
    let client = CkksClient::generate(program.parameters()).expect("randomness");
    let scale: &Scale = &input.scale;
    let ciphertext = client.encrypt(&[0.5; 16], input.level, scale).expect("a ciphertext");
    ciphertext.to_bytes(client.context()).expect("bytes").into()
}

impl Server {
    /// Puts what is meant in the place of what stands for it.
    fn expand_bytes(&self, bytes: &mut Bytes, of: &[Fingerprint; 2]) {
        if let [FINGERPRINT, which] = bytes[..] {
            *bytes = Bytes::copy_from_slice(&of[usize::from(which) % 2].0);
        }
    }

    fn expand_text(&self, text: &mut String, of: &[Fingerprint; 2]) {
        for (index, name) in ["0", "1"].iter().enumerate() {
            if text == name {
                *text = of[index].hex();
            }
        }
    }

    fn expand_ciphertext(&self, bytes: &mut Bytes) {
        if let [CIPHERTEXT, damage] = bytes[..] {
            let mut whole = self.ciphertext.to_vec();
            // 0 leaves it as it is.
            whole[usize::from(damage) * 7 % 64] ^= damage;
            *bytes = whole.into();
        }
    }

    fn expand(&self, method: usize, message: &[u8]) -> Vec<u8> {
        match method {
            0 => {
                let Ok(mut infer) = ModelInferRequest::decode(message) else { return message.to_vec() };
                self.expand_text(&mut infer.model_version, &self.program);
                for (name, parameter) in &mut infer.parameters {
                    if let Some(hec_protocol::inference::infer_parameter::ParameterChoice::StringParam(text)) =
                        &mut parameter.parameter_choice
                        && name == tensors::KEY
                    {
                        self.expand_text(text, &self.key);
                    }
                }
                for raw in &mut infer.raw_input_contents {
                    // A number of ciphertexts.
                    if let [CIPHERTEXT, damage, count] = raw[..] {
                        let mut one = Bytes::copy_from_slice(&[CIPHERTEXT, damage]);
                        self.expand_ciphertext(&mut one);
                        let mut all = Vec::new();
                        (0..count % 8).for_each(|_| tensors::append(&mut all, &one));
                        *raw = all.into();
                    }
                }
                infer.encode_to_vec()
            }
            1 => {
                let Ok(mut request) = EvaluateRequest::decode(message) else { return message.to_vec() };
                match &mut request.message {
                    Some(Up::Open(open)) => {
                        self.expand_bytes(&mut open.program, &self.program);
                        self.expand_bytes(&mut open.key, &self.key);
                    }
                    Some(Up::Inputs(part) | Up::Refreshed(part)) => {
                        part.ciphertexts.iter_mut().for_each(|bytes| self.expand_ciphertext(bytes));
                    }
                    Some(Up::Clear(_) | Up::End(_) | Up::Done(_)) | None => {}
                }
                request.encode_to_vec()
            }
            2 => {
                let Ok(mut chunk) = KeyChunk::decode(message) else { return message.to_vec() };
                if let [FINGERPRINT, which] = chunk.fingerprint[..] {
                    // Keys that are not here yet: those of the model with other random bytes.
                    let mut file = self.keys[usize::from(which) % 2].clone();
                    file[44] = which;
                    chunk.fingerprint = Bytes::copy_from_slice(blake3::hash(&file).as_bytes());
                    chunk.total = file.len() as u64;
                    chunk.data = file.into();
                }
                chunk.encode_to_vec()
            }
            3 => {
                let Ok(mut status) = KeyStatusRequest::decode(message) else { return message.to_vec() };
                self.expand_bytes(&mut status.fingerprint, &self.key);
                status.encode_to_vec()
            }
            _ => message.to_vec(),
        }
    }
}

/// Asks the server what `bytes` say, and reads all of its answer.
pub fn ask(bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else { return };
    let server = server();
    let method = usize::from(first & !RAW) % METHODS.len();
    let mut body = BytesMut::new();
    if first & RAW != 0 {
        body.extend_from_slice(rest);
    } else {
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
            let (message, after) = after.split_at(length);
            let message = server.expand(method, message);
            body.put_u8(0);
            body.put_u32(message.len() as u32);
            body.extend_from_slice(&message);
            rest = after;
        }
    }
    let request = http::Request::post(METHODS[method])
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(body.freeze())))
        .expect("a request");
    server.runtime.block_on(async {
        let response = if METHODS[method].starts_with("/hec") {
            server.encrypted.clone().oneshot(request).await
        } else {
            server.inference.clone().oneshot(request).await
        };
        let response = response.expect("an answer");
        let _ = response.into_body().collect().await;
    });
}
