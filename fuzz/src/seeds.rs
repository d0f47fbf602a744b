//! The first corpora: real files, small ones.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hec::{Activations, LayoutChoice, Program};
use hec_ckks::adapter::{CkksClient, EvaluationKeys};
use hec_ckks::{Automorphism, GaloisKeys, PublicKey, Randomness, RelinearizationKeys, SecretKey};
use hec_ir::Scale;
use hec_protocol::ciphertexts::{Direction, Header, Writer};
use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::{Ciphertexts, Clear, End, EvaluateRequest, KeyChunk, KeyStatusRequest, Open, Refreshed};
use hec_protocol::inference::model_infer_request::InferInputTensor;
use hec_protocol::inference::{ModelInferRequest, ModelMetadataRequest, ModelReadyRequest};
use hec_protocol::preamble::SECRET;
use hec_protocol::{Fingerprint, keys, tensors};
use hec_runtime::Client as _;
use prost::Message;

use crate::server::{CIPHERTEXT, FINGERPRINT, NAMES, RAW};
use crate::{SCALE_BITS, engine, models};

/// Models whose files are short, or whose operators the others do not have.
const MODELS: [&str; 6] =
    ["breast-cancer", "diabetes", "digits", "mobilenet-fashion-mnist", "finetuned-mnist", "classical-mnist"];
/// Inputs beyond this are too slow to fuzz.
const LONGEST: usize = 1 << 17;

/// Writes all of them to the folder `HEC_SEEDS`.
pub fn write_all() {
    let folder: PathBuf = std::env::var_os("HEC_SEEDS").expect("HEC_SEEDS names a folder").into();
    onnx(&folder.join("onnx"));
    programs(&folder);
    engine_values(&folder);
    requests(&folder.join("grpc"));
    samples(&folder.join("samples"));
    cards(&folder.join("card"));
    put(&folder.join("weights"), "head", &[0x80, 0, 3, 1]);
    put(&folder.join("weights"), "residue", &[0, 1, 3, 0x80, 0, 2, 8, 2]);
    put(&folder.join("weights"), "cut", &[0, 0, 0, 0, 9]);
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).expect("a folder");
    if bytes.len() <= LONGEST {
        std::fs::write(folder.join(name), bytes).expect("a file");
    }
}

fn onnx(folder: &Path) {
    MODELS.iter().for_each(|name| put(folder, name, &models::onnx(name)));
    ["Mul", "Relu", "Sigmoid", "Softmax"].iter().for_each(|name| put(folder, name, &models::small(name)));
    for fixtures in ["demos", "exporters"] {
        let folder_of = models::repository().join("tests/fixtures").join(fixtures);
        for entry in std::fs::read_dir(folder_of).expect("the fixtures of tests").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "onnx") {
                put(folder, &entry.file_name().to_string_lossy(), &std::fs::read(entry.path()).expect("a model"));
            }
        }
    }
}

fn programs(folder: &Path) {
    let put_both = |name: &str, program: &Program| {
        put(&folder.join("program"), name, &program.to_bytes());
        put(&folder.join("contract"), name, &program.contract().to_bytes());
    };
    for (layout, what) in [(LayoutChoice::Batch, "batch"), (LayoutChoice::Packed, "packed")] {
        let options = models::options(layout, Activations::Polynomial);
        put_both(&format!("square-{what}"), &models::program(&models::small("Mul"), &options));
        for model in &MODELS[..3] {
            put_both(&format!("{model}-{what}"), &models::program(&models::onnx(model), &options));
        }
        let aided = models::options(layout, Activations::Client);
        put_both(&format!("aided-{what}"), &models::program(&models::small("Relu"), &aided));
    }
}

fn engine_values(folder: &Path) {
    let context = engine();
    let mut randomness = Randomness::from_os().expect("randomness");
    let secret = SecretKey::generate(&context, &mut randomness);
    let level = context.max_level();
    let relinearization =
        RelinearizationKeys::generate(&context, &secret, level, 3, &mut randomness).expect("relinearization keys");
    let steps = [1, 3].map(|steps| (Automorphism::Rotation { steps }, level));
    let rotations = GaloisKeys::generate(&context, &secret, steps, &mut randomness).expect("rotation keys");
    let public = PublicKey::generate(&context, &secret, &mut randomness).expect("a public key");

    let secret_bytes = secret.to_bytes(&context).expect("bytes");
    let statement = r#"{"security":128}"#;
    let file = SECRET.bytes(context.parameters(), &[7; 32], statement).expect("a short statement");
    let (mut plain, mut sealed) = (file.clone(), file);
    plain.push(0);
    plain.extend(&*secret_bytes);
    sealed.push(1);
    [64_u32, 1, 1].iter().for_each(|cost| sealed.extend(cost.to_le_bytes()));
    sealed.extend([3; 16 + 24 + 96]);
    put(&folder.join("secret_key"), "plain", &plain);
    put(&folder.join("secret_key"), "sealed", &sealed);

    let own = folder.join("evaluation_keys");
    put(&own, "secret-value", &secret_bytes);
    put(&own, "public-value", &public.to_bytes(&context).expect("bytes"));
    put(&own, "relinearization-value", &relinearization.to_bytes(&context).expect("bytes"));
    rotations.iter().for_each(|key| put(&own, "galois-value", &key.to_bytes(&context).expect("bytes")));
    let all = [
        ("none", EvaluationKeys::default()),
        ("both", EvaluationKeys { relinearization: Some(relinearization), rotations }),
    ];
    for (name, all) in all {
        let mut file = Vec::new();
        keys::write(&context, &all, statement, &mut file).expect("memory");
        put(&own, name, &file);
    }

    let own = folder.join("ciphertexts");
    let client = CkksClient::new(context.clone(), secret);
    let scale = Scale::power_of_two(SCALE_BITS);
    let fresh = || client.encrypt(&[0.5; 4], level, &scale).expect("a ciphertext").to_bytes(&context).expect("bytes");
    put(&own, "ciphertext", &fresh());
    for samples in [1, 3] {
        let parameters = Fingerprint::of(context.parameters());
        let (program, key) = (Fingerprint([5; 32]), Fingerprint([7; 32]));
        let header = Header { direction: Direction::Inputs, parameters, program, key, samples };
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &header).expect("memory");
        for _ in 0..samples {
            writer.clear(&[0.5, -1.0]).expect("memory");
            (0..2).for_each(|_| writer.ciphertext(&fresh()).expect("memory"));
        }
        writer.finish().expect("memory");
        put(&own, &format!("batches-{samples}"), &file);
    }
}

fn requests(folder: &Path) {
    let request = |name: &str, method: u8, messages: &[Vec<u8>]| {
        let mut bytes = vec![method];
        for message in messages {
            bytes.extend((message.len() as u16).to_le_bytes());
            bytes.extend(message);
        }
        put(folder, name, &bytes);
    };
    for (which, name) in NAMES.iter().enumerate() {
        let mark = Bytes::from(vec![FINGERPRINT, which as u8]);
        let up = |message| EvaluateRequest { message: Some(message) }.encode_to_vec();
        let part = |array, request, count: usize| {
            let ciphertexts = vec![Bytes::from_static(&[CIPHERTEXT, 0]); count];
            Ciphertexts { array, request, first: 0, ciphertexts }
        };
        let open = Open { model: (*name).to_owned(), program: mark.clone(), key: mark.clone(), samples: 3 };
        let messages = [
            up(Up::Open(open)),
            up(Up::Inputs(part(0, 0, 4))),
            up(Up::End(End {})),
            up(Up::Refreshed(part(0, 1, 3))),
            up(Up::Done(Refreshed { request: 1 })),
        ];
        let used = if which == 0 { 3 } else { messages.len() };
        request(&format!("evaluate-{name}"), 1, &messages[..used]);
        let clear = up(Up::Clear(Clear { input: 0, values: vec![0.5, 1.0] }));
        request(&format!("evaluate-clear-{name}"), 1, &[messages[0].clone(), clear]);
        let infer = ModelInferRequest {
            model_name: (*name).to_owned(),
            model_version: which.to_string(),
            id: "1".to_owned(),
            parameters: BTreeMap::from([
                (tensors::KEY.to_owned(), tensors::text(which.to_string())),
                (tensors::SAMPLES.to_owned(), tensors::number(3)),
            ]),
            inputs: vec![InferInputTensor {
                name: "x".to_owned(),
                datatype: tensors::CIPHERTEXTS.to_owned(),
                shape: vec![4],
                ..InferInputTensor::default()
            }],
            raw_input_contents: vec![Bytes::from_static(&[CIPHERTEXT, 0, 4])],
            ..ModelInferRequest::default()
        };
        request(&format!("infer-{name}"), 0, &[infer.encode_to_vec()]);
        let chunk = KeyChunk { fingerprint: mark.clone(), ..KeyChunk::default() };
        request(&format!("upload-{name}"), 2, &[chunk.encode_to_vec()]);
        request(&format!("status-{name}"), 3, &[KeyStatusRequest { fingerprint: mark }.encode_to_vec()]);
        let (own, version) = ((*name).to_owned(), String::new());
        let about = ModelMetadataRequest { name: own.clone(), version: version.clone() };
        request(&format!("metadata-{name}"), 4, &[about.encode_to_vec()]);
        request(&format!("ready-{name}"), 5, &[ModelReadyRequest { name: own, version }.encode_to_vec()]);
    }
    put(folder, "raw", &[RAW | 1, 0, 0, 0, 0, 2, 0x22, 0]);
}

fn samples(folder: &Path) {
    let with = |name: &str, how: [u8; 3], content: &[u8]| put(folder, name, &[&how[..], content].concat());
    let idx = |dims: &[u32], count: u8| {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
        bytes.extend(0..count);
        bytes
    };
    for zipped in [0, 1] {
        with(&format!("idx-{zipped}"), [0, 0, zipped], &idx(&[3, 2], 6));
        with(&format!("idx-labels-{zipped}"), [0, 1, zipped], &idx(&[5], 5));
        with(&format!("csv-{zipped}"), [2, 0, zipped], b"a,b\n1,2\n-0.5,1e3\n");
        with(&format!("csv-labels-{zipped}"), [2, 1, zipped], b"label\n1\n2\n7\n");
        with(&format!("tsv-{zipped}"), [3, 0, zipped], b"1\t2\r\n3\t4\r\n");
    }
    let npy = |header: &str, body: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    };
    let floats: Vec<u8> = [1.0_f32, 2.0, -3.0, 0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
    let array = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", &floats);
    with("npy-floats", [0, 0, 0], &array);
    with("npy-fortran", [0, 0, 0], &npy("{'descr': '>i2', 'fortran_order': True, 'shape': (3, 2), }\n", &[0; 12]));
    with("npy-labels", [0, 1, 0], &npy("{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }\n", &[1, 2, 3, 4]));
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, method) in [("x.npy", zip::CompressionMethod::Deflated), ("y.npy", zip::CompressionMethod::Stored)] {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        archive.start_file(name, options).expect("memory");
        archive.write_all(&array).expect("memory");
    }
    with("npz", [1, 0, 0], &archive.finish().expect("memory").into_inner());
    // TensorProto: dims 2 and 2, float, raw data.
    let tensor = [&[8, 2, 8, 2, 16, 1, 0x4a, 16][..], &floats].concat();
    with("tensor", [4, 0, 0], &tensor);
    for (shape, color) in [(2, png::ColorType::Grayscale), (3, png::ColorType::Rgb)] {
        let mut image = Vec::new();
        let mut encoder = png::Encoder::new(&mut image, 2, 2);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let pixels = vec![100; if shape == 2 { 4 } else { 12 }];
        encoder.write_header().and_then(|mut writer| writer.write_image_data(&pixels)).expect("memory");
        with(&format!("png-{shape}"), [5, shape, 0], &image);
    }
}

fn cards(folder: &Path) {
    let models = models::repository().join("models");
    for entry in std::fs::read_dir(models).expect("the folder of models").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "json") {
            put(folder, &entry.file_name().to_string_lossy(), &std::fs::read(entry.path()).expect("a card"));
        }
    }
    put(folder, "all", br#"{"name": "n", "labels": ["a"], "preprocessing": {"scale": 0.5, "mean": [1], "std": [2]}, "ranges": {"input": [0, 1]}, "accuracy": {"test": 0.5, "images": 3}}"#);
}
