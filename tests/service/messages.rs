//! Messages that no client of ours sends.

use std::collections::BTreeMap;

use hec_client::files::encrypt;
use hec_protocol::ciphertexts::{Reader, largest};
use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::evaluate_response::Message as Down;
use hec_protocol::encrypted::{Ciphertexts, Clear, End, EvaluateRequest, KeyChunk, Open, Refreshed};
use hec_protocol::inference::model_infer_request::InferInputTensor;
use hec_protocol::inference::{InferTensorContents, ModelInferRequest};
use hec_protocol::tensors;
use tonic::{Code, Status};

use crate::harness::{Server, Setup, fingerprint};

type Bytes = Vec<u8>;

/// One encrypted batch.
fn batch(setup: &Setup) -> Vec<Bytes> {
    let (contract, mut file) = (setup.contract(), Vec::new());
    encrypt(&contract, &setup.key("keys"), &setup.samples(), &mut file).unwrap();
    let mut reader = Reader::new(&file[..]).unwrap();
    (0..4).map(|_| reader.ciphertext(largest(contract.parameters())).unwrap()).collect()
}

fn open(setup: &Setup) -> Open {
    Open {
        model: "small".to_owned(),
        program: setup.contract().program().to_vec().into(),
        key: fingerprint(&setup.keys()).0.to_vec().into(),
        samples: 3,
    }
}

fn inputs(array: u32, first: u32, ciphertexts: &[Bytes]) -> Up {
    let ciphertexts = ciphertexts.iter().map(|bytes| bytes.clone().into()).collect();
    Up::Inputs(Ciphertexts { array, request: 0, first, ciphertexts })
}

/// What the server says to a stream: the number of output ciphertexts, or why not.
async fn evaluate(server: &Server, messages: Vec<Up>) -> Result<usize, Status> {
    let requests: Vec<_> = messages.into_iter().map(|message| EvaluateRequest { message: Some(message) }).collect();
    let mut answers = server.encrypted().await.evaluate(tokio_stream::iter(requests)).await?.into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await? {
        match answer.message {
            Some(Down::Outputs(part)) => count += part.ciphertexts.len(),
            Some(Down::Done(_)) => return Ok(count),
            _ => {}
        }
    }
    Err(Status::unknown("no end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_not_as_they_should_be() {
    let setup = Setup::batch();
    let mut server = Server::start(&setup, &["small.hec"]);
    setup.asks(&server.url(), &[]);
    let good = batch(&setup);
    let whole = |more: Vec<Up>| [vec![Up::Open(open(&setup))], more].concat();
    assert_eq!(evaluate(&server, whole(vec![inputs(0, 0, &good), Up::End(End {})])).await.unwrap(), 2);
    // The same again is a request like any other.
    assert_eq!(evaluate(&server, whole(vec![inputs(0, 0, &good), Up::End(End {})])).await.unwrap(), 2);

    let mut cases: Vec<(Vec<Up>, Code)> = Vec::new();
    let mut bad = |messages: Vec<Up>| cases.push((messages, Code::InvalidArgument));
    for at in [0, 4, 6, 8, 40, 50, 100, good[0].len() / 2, good[0].len() - 1] {
        let mut flipped = good.clone();
        flipped[1][at] ^= 1;
        bad(whole(vec![inputs(0, 0, &flipped), Up::End(End {})]));
        let mut short = good.clone();
        short[2].truncate(at);
        bad(whole(vec![inputs(0, 0, &short), Up::End(End {})]));
    }
    let long = [&good[0][..], &vec![0; 1 << 22]].concat();
    bad(whole(vec![inputs(0, 0, &[long])]));
    bad(whole(vec![inputs(0, 0, &good[..3]), Up::End(End {})]));
    bad(whole(vec![inputs(0, 0, &[&good[..], &good[..1]].concat())]));
    bad(whole(vec![inputs(0, 1, &good)]));
    bad(whole(vec![inputs(0, 0, &good), inputs(0, 0, &good)]));
    bad(whole(vec![inputs(1, 0, &good)]));
    bad(whole(vec![inputs(u32::MAX, u32::MAX, &good)]));
    bad(whole(vec![Up::Clear(Clear { input: 0, values: vec![1.0] })]));
    bad(whole(vec![Up::Done(Refreshed { request: 1 })]));
    bad(whole(vec![Up::Open(open(&setup))]));
    bad(vec![Up::End(End {})]);
    bad(vec![]);
    bad(vec![Up::Open(Open { samples: 0, ..open(&setup) })]);
    bad(vec![Up::Open(Open { samples: u64::MAX, ..open(&setup) })]);
    bad(vec![Up::Open(Open { key: vec![1; 31].into(), ..open(&setup) })]);
    cases.push((vec![Up::Open(Open { model: "other".into(), ..open(&setup) })], Code::NotFound));
    cases.push((vec![Up::Open(Open { program: vec![1; 32].into(), ..open(&setup) })], Code::FailedPrecondition));
    cases.push((vec![Up::Open(Open { key: vec![1; 32].into(), ..open(&setup) })], Code::FailedPrecondition));
    for (index, (messages, code)) in cases.into_iter().enumerate() {
        let status = evaluate(&server, messages).await.expect_err("not as it should be");
        assert_eq!(status.code(), code, "case {index}: {status}");
    }
    server.is_idle();
    server.lives();
    setup.asks(&server.url(), &[]);
}

/// Ciphertexts under another key decrypt to noise, and harm nobody; those of other parameters are refused.
#[tokio::test(flavor = "multi_thread")]
async fn ciphertexts_of_other_parameters() {
    let setup = Setup::batch();
    let server = Server::start(&setup, &["small.hec"]);
    setup.asks(&server.url(), &[]);
    let other = Setup::packed();
    let mut file = Vec::new();
    encrypt(&other.contract(), &other.key("keys"), &other.samples(), &mut file).unwrap();
    let foreign = Reader::new(&file[..]).unwrap().ciphertext(1 << 24).unwrap();
    let messages = vec![Up::Open(open(&setup)), inputs(0, 0, &[foreign])];
    assert_eq!(evaluate(&server, messages).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_messages_that_are_not_as_they_should_be() {
    let setup = Setup::batch();
    let limits = ["--max-message", "1MiB", "--memory", "64MiB"];
    let mut server = Server::start(&setup, &[&["small.hec"][..], &limits].concat());
    setup.asks(&server.url(), &[]);
    let mut raw = Vec::new();
    batch(&setup).iter().for_each(|bytes| tensors::append(&mut raw, bytes));
    let tensor = |name: &str, datatype: &str| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![4],
        ..InferInputTensor::default()
    };
    let key = fingerprint(&setup.keys()).hex();
    let good = ModelInferRequest {
        model_name: "small".to_owned(),
        model_version: hec_protocol::Fingerprint(*setup.contract().program()).hex(),
        parameters: BTreeMap::from([
            ("key".to_owned(), tensors::text(key)),
            ("samples".to_owned(), tensors::number(3)),
        ]),
        inputs: vec![tensor("x", "BYTES")],
        raw_input_contents: vec![raw.clone().into()],
        ..ModelInferRequest::default()
    };
    let mut client = server.inference().await;
    let response = client.model_infer(good.clone()).await.unwrap().into_inner();
    assert_eq!((response.outputs.len(), response.outputs[0].shape[0]), (1, 2));
    // Elements may stand in the tensor as well.
    let elements = tensors::split(raw.clone().into(), 4, raw.len()).unwrap();
    let contents = Some(InferTensorContents { bytes_contents: elements, ..InferTensorContents::default() });
    let inside = InferInputTensor { contents, ..tensor("x", "BYTES") };
    client
        .model_infer(ModelInferRequest { inputs: vec![inside], raw_input_contents: vec![], ..good.clone() })
        .await
        .unwrap();

    let mut cases = vec![
        ModelInferRequest { model_version: String::new(), ..good.clone() },
        ModelInferRequest { parameters: BTreeMap::new(), ..good.clone() },
        ModelInferRequest { inputs: vec![], raw_input_contents: vec![], ..good.clone() },
        ModelInferRequest { inputs: vec![tensor("z", "BYTES")], ..good.clone() },
        ModelInferRequest { inputs: vec![tensor("x", "FP32")], ..good.clone() },
        ModelInferRequest { raw_input_contents: vec![raw.clone().into(), raw.clone().into()], ..good.clone() },
        ModelInferRequest { raw_input_contents: vec![[&raw[..], &raw].concat().into()], ..good.clone() },
    ];
    for length in [0, 1, 3, 4, 100, raw.len() - 1] {
        cases.push(ModelInferRequest { raw_input_contents: vec![raw[..length].to_vec().into()], ..good.clone() });
    }
    for (index, case) in cases.into_iter().enumerate() {
        let status = client.model_infer(case).await.expect_err("not as it should be");
        assert_eq!(status.code(), Code::InvalidArgument, "case {index}: {status}");
    }
    let huge = ModelInferRequest { raw_input_contents: vec![vec![0; 2 << 20].into()], ..good.clone() };
    let status = server.inference().await.model_infer(huge).await.expect_err("too large");
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status}");
    server.is_idle();
    server.lives();
    setup.asks(&server.url(), &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_as_they_should_be() {
    let setup = Setup::packed();
    let mut server = Server::start(&setup, &["small.hec", "--keys", "store", "--max-keys", "100MB"]);
    let good = setup.keys();
    let send = async |name: [u8; 32], total: u64, offset: u64, data: &[u8]| {
        let mut first = true;
        let chunk = |data: &[u8]| KeyChunk {
            fingerprint: if std::mem::take(&mut first) { name.to_vec().into() } else { Vec::new().into() },
            total,
            offset,
            data: data.to_vec().into(),
        };
        let chunks: Vec<_> = data.chunks(1 << 20).map(chunk).collect();
        server.encrypted().await.upload_keys(tokio_stream::iter(chunks)).await.map(tonic::Response::into_inner)
    };
    let (print, length) = (fingerprint(&good).0, good.len() as u64);
    let code = |result: Result<_, Status>| {
        let _: &Result<hec_protocol::encrypted::KeyState, Status> = &result;
        result.expect_err("refused").code()
    };
    // Another content than the name says, and no keys at all.
    let mut flipped = good.clone();
    flipped[60] ^= 1;
    assert_eq!(code(send(print, length, 0, &flipped).await), Code::DataLoss);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    assert_eq!(code(send(fingerprint(&flipped).0, length, 0, &flipped).await), Code::InvalidArgument);
    let nothing = vec![7; 5000];
    assert_eq!(code(send(fingerprint(&nothing).0, 5000, 0, &nothing).await), Code::InvalidArgument);
    let secret = std::fs::read(setup.path("keys/secret.heckey")).unwrap();
    assert_eq!(code(send(fingerprint(&secret).0, secret.len() as u64, 0, &secret).await), Code::InvalidArgument);
    // Too long, too much, not where the last attempt ended.
    assert_eq!(code(send(print, length - 1, 0, &good).await), Code::OutOfRange);
    assert_eq!(code(send(print, 1 << 40, 0, &good).await), Code::ResourceExhausted);
    assert_eq!(code(send(print, 3, 0, &good[..3]).await), Code::ResourceExhausted);
    assert_eq!(code(send(print, length, 77_777, &good[77_777..]).await), Code::OutOfRange);
    // Keys of other parameters.
    let other = Setup::batch().keys();
    assert_eq!(code(send(fingerprint(&other).0, other.len() as u64, 0, &other).await), Code::FailedPrecondition);
    // Half now, and half later.
    let half = send(print, length, 0, &good[..good.len() / 2]).await;
    let half = half.unwrap();
    assert!(!half.complete);
    let whole = send(print, length, half.offset, &good[good.len() / 2..]).await.unwrap();
    assert!(whole.complete);
    assert_eq!(setup.asks(&server.url(), &[])["bytes"]["keys"], 0);
    server.is_idle();
    server.lives();
}
