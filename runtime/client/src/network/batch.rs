//! One batch to the server and back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use hec_ckks::Ciphertext;
use hec_protocol::ciphertexts::{Declared, Direction};
use hec_protocol::encrypted::encrypted_client::EncryptedClient;
use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::evaluate_response::Message as Down;
use hec_protocol::encrypted::{Ciphertexts, Clear, End, EvaluateRequest, Open, Refreshed};
use hec_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use hec_protocol::inference::model_infer_request::InferInputTensor;
use hec_protocol::inference::{ModelInferRequest, ModelInferResponse};
use hec_protocol::{Fingerprint, FormatError, tensors};
use hec_runtime::{RunError, SampleBatch};
use prost::Message;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::retry::{Backoff, Verdict, verdict};
use super::{Client, Traffic};
use crate::error::ClientError;
use crate::files::each_ciphertext;

/// Bytes of ciphertexts in one message, if there is more than one.
const CHUNK: usize = 1 << 20;
/// Values of public inputs in one message.
const VALUES: usize = 1 << 16;

/// What came back.
pub(super) struct Received {
    pub(super) outputs: Vec<Vec<Arc<Ciphertext>>>,
    pub(super) traffic: Traffic,
}

enum Refusal {
    Here(ClientError),
    There(Status),
}

impl<E: Into<ClientError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Here(error.into())
    }
}

type Samples = Arc<BTreeMap<String, SampleBatch>>;

impl Client {
    /// The samples `range`, with as many attempts as it takes and the time allows.
    pub(super) async fn batch(&self, inputs: Samples, range: Range<usize>) -> Result<Received, ClientError> {
        let mut backoff = Backoff::new(self.0.options.timeout);
        let mut traffic = Traffic::default();
        loop {
            let attempt = async {
                if self.in_one_message() {
                    self.unary(&inputs, &range, &mut traffic).await
                } else {
                    self.stream(&inputs, &range, &mut traffic).await
                }
            };
            let refused = match timeout_at(backoff.end(), attempt).await {
                Ok(Ok(arrays)) => {
                    let outputs = self.read(arrays).await?;
                    traffic.retries = backoff.retries;
                    return Ok(Received { outputs, traffic });
                }
                Ok(Err(Refusal::Here(error))) => return Err(error),
                Ok(Err(Refusal::There(status))) => status,
                Err(_elapsed) => Status::deadline_exceeded("no answer in time"),
            };
            match verdict(&refused) {
                Verdict::SendKeys => traffic.keys += self.send_keys().await?,
                Verdict::Again => {}
                Verdict::Final => return Err(self.explained(&refused).await),
            }
            if !backoff.wait().await {
                return Err(self.refused(&refused));
            }
        }
    }

    /// A refusal for good. If the server has another program, it is named.
    async fn explained(&self, refused: &Status) -> ClientError {
        if refused.code() == Code::FailedPrecondition {
            let mut client = GrpcInferenceServiceClient::new(self.0.channel.clone());
            let name = self.0.options.model.clone();
            let asked = hec_protocol::inference::ModelMetadataRequest { name: name.clone(), version: String::new() };
            let wanted = Fingerprint(*self.0.contract.program());
            if let Ok(metadata) = client.model_metadata(self.request(asked)).await {
                let versions = metadata.into_inner().versions;
                if !versions.contains(&wanted.hex()) {
                    let found = versions.iter().map(|version| version.chars().take(12).collect::<String>());
                    let found = found.collect::<Vec<_>>().join(", ");
                    return ClientError::Program { model: name, wanted, found };
                }
            }
        }
        self.refused(refused)
    }

    async fn stream(
        &self,
        inputs: &Samples,
        range: &Range<usize>,
        traffic: &mut Traffic,
    ) -> Result<Vec<Vec<Bytes>>, Refusal> {
        let (send, receive) = mpsc::channel(4);
        let (client, own, samples) = (self.clone(), inputs.clone(), range.clone());
        let turn = self.0.encrypting.clone().acquire_owned().await.map_err(|_| self.server("closed"))?;
        let up = send.clone();
        let encrypting = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            client.encrypt(&own, &samples, &up)
        });
        let mut evaluator =
            EncryptedClient::new(self.0.channel.clone()).max_decoding_message_size(2 * CHUNK + self.longest(1));
        let response = evaluator.evaluate(self.request(ReceiverStream::new(receive))).await;
        let mut down = match response {
            Ok(response) => response.into_inner(),
            Err(status) => {
                drop(send);
                // It ends as its messages are not taken any more.
                let _ = encrypting.await;
                return Err(Refusal::There(status));
            }
        };
        let declared = Direction::Outputs.arrays(&self.0.contract);
        let mut outputs: Vec<Vec<Bytes>> = declared.iter().map(|_| Vec::new()).collect();
        let mut operands: Vec<Vec<Bytes>> = Vec::new();
        let answered = loop {
            let message = match down.message().await {
                Ok(Some(message)) => message,
                Ok(None) => break Err(Refusal::There(Status::unavailable("the stream ended before the results did"))),
                Err(status) => break Err(Refusal::There(status)),
            };
            let bytes = message.encoded_len() as u64;
            match &message.message {
                Some(Down::Operands(_)) => traffic.rounds_down += bytes,
                Some(Down::Started(_) | Down::Refresh(_) | Down::Outputs(_) | Down::Done(_)) | None => {
                    traffic.down += bytes
                }
            }
            match message.message {
                Some(Down::Started(_)) => {}
                Some(Down::Outputs(part)) => {
                    let Ciphertexts { array, first, ciphertexts, .. } = part;
                    let own = outputs.get_mut(array as usize).filter(|own| own.len() == first as usize);
                    let length = declared.get(array as usize).map_or(0, |declared| declared.length);
                    match own {
                        Some(own) if ciphertexts.len() <= length - own.len() => own.extend(ciphertexts),
                        Some(_) | None => {
                            let found = format!("{} from {first} of output {array}", ciphertexts.len());
                            break Err(FormatError::damaged("ciphertexts in order", found).into());
                        }
                    }
                }
                Some(Down::Done(done)) => {
                    traffic.evaluate += done.seconds;
                    break Ok(());
                }
                Some(Down::Operands(part)) => {
                    let Ciphertexts { array, first, ciphertexts, .. } = part;
                    let (array, count) = (array as usize, ciphertexts.len());
                    let most = self.most_operands();
                    if array >= most.0 || operands.iter().map(Vec::len).sum::<usize>() + count > most.1 {
                        break Err(FormatError::damaged("the operands of a round", "more").into());
                    }
                    if operands.len() <= array {
                        operands.resize(array + 1, Vec::new());
                    }
                    if operands[array].len() != first as usize {
                        break Err(FormatError::damaged("ciphertexts in order", format!("number {first}")).into());
                    }
                    operands[array].extend(ciphertexts);
                }
                Some(Down::Refresh(asked)) => {
                    let start = Instant::now();
                    let operands = std::mem::take(&mut operands);
                    match self.round(asked.request, asked.step as usize, operands, &send).await {
                        Ok(bytes) => {
                            traffic.rounds_up += bytes;
                            traffic.rounds += start.elapsed().as_secs_f64();
                        }
                        Err(refusal) => break Err(refusal),
                    }
                }
                None => break Err(FormatError::damaged("a message", "an empty one").into()),
            }
        };
        drop((send, down));
        let encrypted = encrypting.await.map_err(|_| self.server("encryption was interrupted"))?;
        match (answered, encrypted) {
            (Ok(()), Ok((bytes, seconds))) => {
                traffic.up += bytes;
                traffic.encrypt += seconds;
                Ok(outputs)
            }
            // It was cut off, and why is what the server said.
            (Err(refusal), Err(ClientError::Run(RunError::Cancelled)) | Ok(_)) => Err(refusal),
            (_, Err(error)) => Err(error.into()),
        }
    }

    /// How many operands any round has, and how many ciphertexts.
    fn most_operands(&self) -> (usize, usize) {
        let exchanges = self.0.contract.exchanges().iter();
        let sizes = exchanges.map(|own| (own.operands.len(), own.operands.iter().map(|x| x.ty.length).sum::<usize>()));
        sizes.fold((0, 0), |most, own| (most.0.max(own.0), most.1.max(own.1)))
    }

    /// Answers one round: decrypts, computes, encrypts. Returns the bytes of the answer.
    async fn round(
        &self,
        request: u64,
        round: usize,
        operands: Vec<Vec<Bytes>>,
        send: &mpsc::Sender<EvaluateRequest>,
    ) -> Result<u64, Refusal> {
        let own = self.clone();
        let work = tokio::task::spawn_blocking(move || -> Result<Vec<Vec<Bytes>>, ClientError> {
            let (contract, client) = (&own.0.contract, own.0.key.client());
            let exchange = contract.exchanges().get(round);
            let exchange = exchange.ok_or_else(|| FormatError::damaged("a round of the client file", round))?;
            let mut read = Vec::new();
            for (operand, bytes) in exchange.operands.iter().zip(operands) {
                let declared = Declared::of_output(operand);
                let each =
                    |(index, bytes): (usize, &Bytes)| Ok(Arc::new(declared.read(client.context(), index, bytes)?));
                read.push(bytes.iter().enumerate().map(each).collect::<Result<Vec<_>, FormatError>>()?);
            }
            let write = |ciphertext: Ciphertext| {
                let bytes = ciphertext.to_bytes(client.context()).map(Bytes::from);
                bytes.map_err(|e| RunError::Round { round, cause: e.to_string() })
            };
            let array = |array: Vec<Ciphertext>| array.into_iter().map(write).collect::<Result<Vec<_>, _>>();
            let answer = hec_runtime::client::answer(client, contract, round, read)?;
            Ok(answer.into_iter().map(array).collect::<Result<Vec<_>, _>>()?)
        });
        let answer = work.await.map_err(|_| self.server("a round was interrupted"))??;
        let gone = || Refusal::There(Status::unavailable("the stream ended within a round"));
        let mut sent = 0;
        for (array, ciphertexts) in answer.into_iter().enumerate() {
            let mut first = 0;
            for part in chunks(ciphertexts) {
                let count = part.len() as u32;
                let part = Ciphertexts { array: array as u32, request, first, ciphertexts: part };
                let message = EvaluateRequest { message: Some(Up::Refreshed(part)) };
                sent += message.encoded_len() as u64;
                send.send(message).await.map_err(|_| gone())?;
                first += count;
            }
        }
        let done = EvaluateRequest { message: Some(Up::Done(Refreshed { request })) };
        send.send(done).await.map_err(|_| gone())?;
        Ok(sent)
    }

    /// Encrypts a batch into messages, as fast as they are taken. Returns their bytes, and the seconds of work.
    fn encrypt(
        &self,
        inputs: &Samples,
        range: &Range<usize>,
        send: &mpsc::Sender<EvaluateRequest>,
    ) -> Result<(u64, f64), ClientError> {
        let contract = &self.0.contract;
        let (mut bytes, start, mut waited) = (0, Instant::now(), 0.0);
        let mut give = |message: Up| {
            let message = EvaluateRequest { message: Some(message) };
            bytes += message.encoded_len() as u64;
            let waiting = Instant::now();
            let sent = send.blocking_send(message).map_err(|_| RunError::Cancelled);
            waited += waiting.elapsed().as_secs_f64();
            sent.map_err(ClientError::from)
        };
        give(Up::Open(Open {
            model: self.0.options.model.clone(),
            program: Bytes::copy_from_slice(contract.program()),
            key: Bytes::copy_from_slice(&self.key().0),
            samples: range.len() as u64,
        }))?;
        for (input, values) in self.clear(inputs, range).into_iter().enumerate() {
            for values in values.chunks(VALUES) {
                give(Up::Clear(Clear { input: input as u32, values: values.to_vec() }))?;
            }
        }
        let (mut part, mut size, mut at) = (Vec::new(), 0, (0, 0));
        let mut flush = |part: &mut Vec<Bytes>, (array, first): (usize, usize)| {
            let ciphertexts = std::mem::take(part);
            if ciphertexts.is_empty() {
                return Ok(());
            }
            give(Up::Inputs(Ciphertexts { array: array as u32, request: 0, first: first as u32, ciphertexts }))
        };
        each_ciphertext(contract, &self.0.key, inputs, range, |array, index, bytes| {
            if !part.is_empty() && (array != at.0 || size + bytes.len() > CHUNK) {
                flush(&mut part, at)?;
                size = 0;
            }
            if part.is_empty() {
                at = (array, index);
            }
            size += bytes.len();
            part.push(Bytes::from(bytes));
            Ok(())
        })?;
        flush(&mut part, at)?;
        give(Up::End(End {}))?;
        Ok((bytes, start.elapsed().as_secs_f64() - waited))
    }

    /// The values of the public inputs, in the contract's order.
    fn clear<'i>(&self, inputs: &'i Samples, range: &Range<usize>) -> Vec<&'i [f64]> {
        let values = |port: &hec_ir::program::Port| {
            let elements = port.ty.elements();
            let own = inputs.get(&port.name);
            own.map_or(&[][..], |batch| &batch.values[range.start * elements..range.end * elements])
        };
        self.0.contract.public_inputs().iter().map(values).collect()
    }

    /// The same in one message of the Open Inference Protocol.
    async fn unary(
        &self,
        inputs: &Samples,
        range: &Range<usize>,
        traffic: &mut Traffic,
    ) -> Result<Vec<Vec<Bytes>>, Refusal> {
        let turn = self.0.encrypting.clone().acquire_owned().await.map_err(|_| self.server("closed"))?;
        let (client, own, samples) = (self.clone(), inputs.clone(), range.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let start = Instant::now();
            client.message(&own, &samples).map(|message| (message, start.elapsed().as_secs_f64()))
        });
        let (message, seconds) = work.await.map_err(|_| self.server("encryption was interrupted"))??;
        traffic.encrypt += seconds;
        let up = message.encoded_len() as u64;
        let count = Direction::Outputs.arrays(&self.0.contract).iter().map(|array| array.length).sum();
        let mut client = GrpcInferenceServiceClient::new(self.0.channel.clone())
            .max_decoding_message_size(CHUNK + self.longest(count))
            .max_encoding_message_size(usize::MAX);
        let response = client.model_infer(self.request(message)).await.map_err(Refusal::There)?.into_inner();
        traffic.up += up;
        traffic.down += response.encoded_len() as u64;
        let microseconds = tensors::read_number(response.parameters.get(tensors::MICROSECONDS)).unwrap_or(0);
        traffic.evaluate += microseconds as f64 * 1e-6;
        Ok(self.arrays(response)?)
    }

    /// So many ciphertexts have no more bytes.
    fn longest(&self, count: usize) -> usize {
        count.saturating_mul(hec_protocol::ciphertexts::largest(self.0.contract.parameters()))
    }

    fn message(&self, inputs: &Samples, range: &Range<usize>) -> Result<ModelInferRequest, ClientError> {
        let contract = &self.0.contract;
        let mut request = ModelInferRequest {
            model_name: self.0.options.model.clone(),
            model_version: Fingerprint(*contract.program()).hex(),
            parameters: BTreeMap::from([
                (tensors::KEY.to_owned(), tensors::text(self.key().hex())),
                (tensors::SAMPLES.to_owned(), tensors::number(range.len() as i64)),
            ]),
            ..ModelInferRequest::default()
        };
        let declared = Direction::Inputs.arrays(contract);
        let mut raw: Vec<Vec<u8>> = declared.iter().map(|_| Vec::new()).collect();
        each_ciphertext(contract, &self.0.key, inputs, range, |array, _, bytes| {
            tensors::append(&mut raw[array], &bytes);
            Ok(())
        })?;
        for declared in &declared {
            request.inputs.push(InferInputTensor {
                name: declared.name.clone(),
                datatype: tensors::CIPHERTEXTS.to_owned(),
                shape: vec![declared.length as i64],
                ..InferInputTensor::default()
            });
        }
        for (port, values) in contract.public_inputs().iter().zip(self.clear(inputs, range)) {
            let shape = port.ty.shape.iter().skip(1).map(|&n| n as i64);
            request.inputs.push(InferInputTensor {
                name: port.name.clone(),
                datatype: tensors::CLEAR.to_owned(),
                shape: std::iter::once(range.len() as i64).chain(shape).collect(),
                ..InferInputTensor::default()
            });
            raw.push(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        }
        request.raw_input_contents = raw.into_iter().map(Bytes::from).collect();
        Ok(request)
    }

    /// The outputs of a response, in the contract's order.
    fn arrays(&self, response: ModelInferResponse) -> Result<Vec<Vec<Bytes>>, FormatError> {
        let contract = &self.0.contract;
        let limit = hec_protocol::ciphertexts::largest(contract.parameters());
        let declared = Direction::Outputs.arrays(contract);
        let (names, raw) = (&response.outputs, response.raw_output_contents);
        if names.len() != declared.len() || raw.len() != declared.len() {
            return Err(FormatError::damaged(format!("{} outputs", declared.len()), raw.len()));
        }
        let array = |((declared, given), raw): ((&Declared, _), Bytes)| {
            let given: &hec_protocol::inference::model_infer_response::InferOutputTensor = given;
            if given.name != declared.name {
                return Err(FormatError::damaged(format!("output \"{}\"", declared.name), &given.name));
            }
            tensors::split(raw, declared.length, limit)
        };
        declared.iter().zip(names).zip(raw).map(array).collect()
    }

    /// Reads and checks what came back.
    async fn read(&self, arrays: Vec<Vec<Bytes>>) -> Result<Vec<Vec<Arc<Ciphertext>>>, ClientError> {
        let own = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let context = own.0.key.client().context();
            let declared = Direction::Outputs.arrays(&own.0.contract);
            let read = |(declared, bytes): (&Declared, Vec<Bytes>)| {
                let each = |(index, bytes): (usize, &Bytes)| Ok(Arc::new(declared.read(context, index, bytes)?));
                bytes.iter().enumerate().map(each).collect::<Result<Vec<_>, FormatError>>()
            };
            declared.iter().zip(arrays).map(read).collect::<Result<Vec<_>, _>>()
        });
        Ok(work.await.map_err(|_| self.server("results could not be read"))??)
    }
}

/// Parts of an array, each of a message's size.
fn chunks(ciphertexts: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut parts: Vec<Vec<Bytes>> = Vec::new();
    let mut size = CHUNK;
    for bytes in ciphertexts {
        size += bytes.len();
        match parts.last_mut() {
            Some(part) if size <= CHUNK => part.push(bytes),
            Some(_) | None => {
                size = bytes.len();
                parts.push(vec![bytes]);
            }
        }
    }
    parts
}
