//! Our own service: evaluation keys, and batches as streams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hec_ckks::Ciphertext;
use hec_protocol::Fingerprint;
use hec_protocol::encrypted::encrypted_server::Encrypted;
use hec_protocol::encrypted::evaluate_request::Message as Up;
use hec_protocol::encrypted::evaluate_response::Message as Down;
use hec_protocol::encrypted::{
    Ciphertexts, Clear, Done, EvaluateRequest, EvaluateResponse, KeyChunk, KeyState, KeyStatusRequest, Open,
    RefreshRequest, Started,
};
use hec_runtime::SampleBatch;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::cancel::Cancel;
use crate::evaluation::{Batch, Held, Shared, read};
use crate::gate::Caller;
use crate::limits::late;
use crate::model::Model;
use crate::refresh::{Call, Calls};
use crate::store::{Store, missing};

/// The service.
#[derive(Debug)]
pub struct Service(pub Arc<Shared>);

/// Bytes of ciphertexts that are sent in one message, if there is more than one.
const CHUNK: usize = 1 << 20;

/// Messages that wait for a slow reader.
const WAITING: usize = 2;

fn fingerprint(bytes: &[u8]) -> Result<Fingerprint, Status> {
    let found = bytes.len();
    Fingerprint::from_slice(bytes)
        .ok_or_else(|| Status::invalid_argument(format!("a fingerprint of {found} bytes, expected 32")))
}

fn caller<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().map_or_else(String::new, |caller| caller.0.clone())
}

/// The next message, not too long from now.
async fn next<T>(messages: &mut Streaming<T>, idle: Duration) -> Result<Option<T>, Status> {
    let waited = timeout(idle, messages.message()).await;
    waited.map_err(|_| {
        Status::deadline_exceeded(format!("no message within {} s: the request was given up", idle.as_secs()))
    })?
}

#[tonic::async_trait]
impl Encrypted for Service {
    async fn key_status(&self, request: Request<KeyStatusRequest>) -> Result<Response<KeyState>, Status> {
        let (complete, offset) = self.0.keys.status(fingerprint(&request.into_inner().fingerprint)?);
        Ok(Response::new(KeyState { complete, offset }))
    }

    async fn upload_keys(&self, request: Request<Streaming<KeyChunk>>) -> Result<Response<KeyState>, Status> {
        let shared = &self.0;
        let client = caller(&request);
        let _place = shared.admission.enter(&client)?;
        let mut chunks = request.into_inner();
        let idle = shared.admission.limits().idle;
        let first = next(&mut chunks, idle).await?;
        let first = first.ok_or_else(|| Status::invalid_argument("expected keys, found an empty stream"))?;
        let print = fingerprint(&first.fingerprint)?;
        let (complete, offset) = shared.keys.status(print);
        if complete {
            return Ok(Response::new(KeyState { complete, offset }));
        }
        let receiving = receive(&shared.keys, shared, &client, print, first, &mut chunks, idle);
        // What has come by then stays, and another attempt goes on from there.
        let late = |_| Status::aborted("the keys take longer than the server allows: go on with another request");
        let state = timeout(shared.admission.limits().deadline, receiving).await.map_err(late)??;
        tracing::info!(%client, key = %print, bytes = state.offset, complete = state.complete, "keys received");
        Ok(Response::new(state))
    }

    type EvaluateStream = ReceiverStream<Result<EvaluateResponse, Status>>;

    async fn evaluate(
        &self,
        request: Request<Streaming<EvaluateRequest>>,
    ) -> Result<Response<Self::EvaluateStream>, Status> {
        let client = caller(&request);
        let place = Arc::new(self.0.admission.enter(&client)?);
        let (send, receive) = mpsc::channel(WAITING);
        let idle = self.0.admission.limits().idle;
        let deadline = Instant::now() + self.0.admission.limits().deadline;
        let mut session =
            Session { shared: self.0.clone(), client, up: request.into_inner(), down: send.clone(), idle, deadline };
        tokio::spawn(async move {
            let done = tokio::select! {
                done = timeout_at(deadline, session.run(place)) => done.unwrap_or_else(|_| Err(late())),
                // Nobody listens any more: all that goes on for this request ends.
                () = send.closed() => return,
            };
            if let Err(status) = done {
                tracing::info!(client = %session.client, code = ?status.code(), reason = status.message(), "refused");
                session.shared.metrics.request("Evaluate.end", status.code());
                let _ = timeout(idle, send.send(Err(status))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

async fn receive(
    keys: &Store,
    shared: &Shared,
    client: &str,
    print: Fingerprint,
    first: KeyChunk,
    chunks: &mut Streaming<KeyChunk>,
    idle: Duration,
) -> Result<KeyState, Status> {
    let mut upload = tokio::task::block_in_place(|| keys.upload(client, print, first.total))?;
    if first.offset != upload.offset() {
        let (expected, found) = (upload.offset(), first.offset);
        return Err(Status::out_of_range(format!("the keys go on at {expected}, found {found}")));
    }
    let mut chunk = Some(first.data);
    while let Some(data) = chunk {
        shared.metrics.bytes("keys", data.len());
        tokio::task::block_in_place(|| upload.push(&data))?;
        chunk = next(chunks, idle).await?.map(|chunk| chunk.data);
    }
    let offset = upload.offset();
    if offset < upload.total() {
        return Ok(KeyState { complete: false, offset });
    }
    tokio::task::block_in_place(|| upload.finish(&shared.models))?;
    Ok(KeyState { complete: true, offset })
}

/// One request.
struct Session {
    shared: Arc<Shared>,
    client: String,
    up: Streaming<EvaluateRequest>,
    down: mpsc::Sender<Result<EvaluateResponse, Status>>,
    idle: Duration,
    deadline: Instant,
}

/// Private and public inputs by name.
type Named = (BTreeMap<String, Vec<Ciphertext>>, BTreeMap<String, SampleBatch>);

/// What has arrived.
struct Inputs {
    model: Arc<Model>,
    encrypted: Vec<Vec<Ciphertext>>,
    public: Vec<Option<Vec<f64>>>,
    samples: usize,
}

impl Session {
    async fn run(&mut self, place: Arc<crate::limits::Place>) -> Result<(), Status> {
        let Some(Up::Open(open)) = self.next().await? else {
            return Err(Status::invalid_argument("expected the opening of a request first"));
        };
        let Open { model, program, key, samples } = open;
        let key = fingerprint(&key)?;
        let model = self.shared.model(&model, fingerprint(&program)?)?;
        let samples = model.batch_of(samples)?;
        if !self.shared.keys.status(key).0 {
            return Err(missing(key));
        }
        // Until there is memory nothing more is read: the client waits.
        let chunk = 2 * model.largest_ciphertext().max(CHUNK) as u64;
        let memory = self.shared.admission.memory(model.memory() + chunk, self.deadline).await?;
        let (encrypted, public) = self.inputs(&model, samples).await?;

        let (calls, mut asked) = Calls::new();
        let batch =
            Batch { model, key, client: self.client.clone(), encrypted, public, samples, deadline: self.deadline };
        let shared = self.shared.clone();
        let evaluation = shared.evaluate(batch, Cancel::default(), Held { place: place.clone(), memory }, Some(calls));
        tokio::pin!(evaluation);
        let mut request = 0;
        let (outputs, seconds) = loop {
            tokio::select! {
                done = &mut evaluation => break done?,
                Some(call) = asked.recv() => {
                    request += 1;
                    self.refresh(request, call).await?;
                }
            }
        };
        for (array, ciphertexts) in outputs.into_iter().enumerate() {
            self.send_array(array as u32, 0, ciphertexts, Down::Outputs).await?;
        }
        self.send(Down::Done(Done { seconds })).await?;
        // Until the results are read they have a place.
        drop(place);
        Ok(())
    }

    /// Reads all inputs.
    async fn inputs(&mut self, model: &Arc<Model>, samples: usize) -> Result<Named, Status> {
        let mut inputs = Inputs {
            model: model.clone(),
            encrypted: model.inputs.iter().map(|_| Vec::new()).collect(),
            public: vec![None; model.contract.public_inputs().len()],
            samples,
        };
        loop {
            match self.next().await? {
                Some(Up::Inputs(part)) => {
                    self.shared.metrics.bytes("in", part.ciphertexts.iter().map(Bytes::len).sum());
                    inputs.push(part).await?;
                }
                Some(Up::Clear(clear)) => inputs.clear(clear)?,
                Some(Up::End(_)) => break,
                Some(Up::Open(_) | Up::Refreshed(_) | Up::Done(_)) => {
                    return Err(Status::invalid_argument("expected inputs, or their end"));
                }
                None => return Err(Status::invalid_argument("the stream ended before the inputs did")),
            }
        }
        let count = inputs.encrypted.iter().map(|array| array.len() as u64).sum();
        self.send(Down::Started(Started { ciphertexts: count })).await?;
        inputs.finish()
    }

    /// Sends what is to be refreshed, and waits for the answer.
    async fn refresh(&mut self, request: u64, call: Call) -> Result<(), Status> {
        let lengths = call.operands.iter().map(|operand| operand.len() as u32).collect();
        for (array, ciphertexts) in call.operands.into_iter().enumerate() {
            self.send_array(array as u32, request, ciphertexts, Down::Operands).await?;
        }
        self.send(Down::Refresh(RefreshRequest { request, step: call.step, lengths })).await?;
        let mut answer: Vec<Vec<Bytes>> = call.expected.iter().map(|_| Vec::new()).collect();
        loop {
            match self.next().await? {
                Some(Up::Refreshed(part)) if part.request == request => {
                    self.shared.metrics.bytes("in", part.ciphertexts.iter().map(Bytes::len).sum());
                    let Ciphertexts { array, first, ciphertexts, .. } = part;
                    let expected = call.expected.get(array as usize).copied().unwrap_or(0);
                    match answer.get_mut(array as usize).filter(|own| own.len() == first as usize) {
                        Some(own) if ciphertexts.len() <= expected - own.len() => own.extend(ciphertexts),
                        Some(_) | None => {
                            return Err(Status::invalid_argument(format!(
                                "refresh {request}: result {array} has no ciphertexts {first} and on"
                            )));
                        }
                    }
                }
                Some(Up::Done(done)) if done.request == request => break,
                Some(_) => return Err(Status::invalid_argument(format!("expected the answer to refresh {request}"))),
                None => return Err(Status::cancelled("the stream ended before the answer did")),
            }
        }
        if answer.iter().map(Vec::len).ne(call.expected.iter().copied()) {
            return Err(Status::invalid_argument(format!("refresh {request}: the answer is not whole")));
        }
        // If the evaluation does not wait for it any more, it says why itself.
        let _ = call.answer.send(answer);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Up>, Status> {
        match next(&mut self.up, self.idle).await? {
            Some(EvaluateRequest { message: Some(message) }) => Ok(Some(message)),
            Some(EvaluateRequest { message: None }) => Err(Status::invalid_argument("an empty message")),
            None => Ok(None),
        }
    }

    async fn send(&self, message: Down) -> Result<(), Status> {
        let response = Ok(EvaluateResponse { message: Some(message) });
        match timeout(self.idle, self.down.send(response)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Status::cancelled("the client has gone")),
            Err(_elapsed) => {
                Err(Status::deadline_exceeded(format!("nothing was read for {} s: given up", self.idle.as_secs())))
            }
        }
    }

    async fn send_array(
        &self,
        array: u32,
        request: u64,
        ciphertexts: Vec<Bytes>,
        message: impl Fn(Ciphertexts) -> Down,
    ) -> Result<(), Status> {
        let mut first = 0;
        let mut part: Vec<Bytes> = Vec::new();
        let mut size = 0;
        for bytes in ciphertexts {
            if !part.is_empty() && size + bytes.len() > CHUNK {
                let count = part.len() as u32;
                let ciphertexts = std::mem::take(&mut part);
                self.count_and_send(message(Ciphertexts { array, request, first, ciphertexts }), size).await?;
                first += count;
                size = 0;
            }
            size += bytes.len();
            part.push(bytes);
        }
        self.count_and_send(message(Ciphertexts { array, request, first, ciphertexts: part }), size).await
    }

    async fn count_and_send(&self, message: Down, bytes: usize) -> Result<(), Status> {
        self.shared.metrics.bytes("out", bytes);
        self.send(message).await
    }
}

impl Inputs {
    async fn push(&mut self, part: Ciphertexts) -> Result<(), Status> {
        let Ciphertexts { array, first, ciphertexts, .. } = part;
        let index = array as usize;
        let (Some(own), Some(declared)) = (self.encrypted.get(index), self.model.inputs.get(index)) else {
            return Err(Status::invalid_argument(format!("there is no input {array}")));
        };
        let (held, count) = (own.len(), ciphertexts.len());
        if first as usize != held || count > declared.length - held {
            return Err(Status::invalid_argument(format!(
                "input {array}: expected ciphertexts {held} to {}, found {count} from {first}",
                declared.length
            )));
        }
        let read = read(self.model.clone(), index, held, ciphertexts).await?;
        self.encrypted[index].extend(read);
        Ok(())
    }

    fn clear(&mut self, clear: Clear) -> Result<(), Status> {
        let Clear { input, values } = clear;
        let index = input as usize;
        let port = self.model.contract.public_inputs().get(index);
        let port = port.ok_or_else(|| Status::invalid_argument(format!("there is no public input {input}")))?;
        let expected = port.ty.elements().saturating_mul(self.samples);
        let own = self.public[index].get_or_insert_default();
        own.extend(values);
        if own.len() > expected || own.iter().any(|value| !value.is_finite()) {
            return Err(Status::invalid_argument(format!("public input {input}: expected {expected} finite numbers")));
        }
        Ok(())
    }

    fn finish(self) -> Result<Named, Status> {
        let Self { model, encrypted, public, samples } = self;
        let mut arrays = BTreeMap::new();
        for (declared, array) in model.inputs.iter().zip(encrypted) {
            if array.len() != declared.length {
                let (expected, found, name) = (declared.length, array.len(), declared.name.escape_debug());
                return Err(Status::invalid_argument(format!(
                    "input \"{name}\": expected {expected} ciphertexts, found {found}"
                )));
            }
            arrays.insert(declared.name.clone(), array);
        }
        let mut clear = BTreeMap::new();
        for (port, values) in model.contract.public_inputs().iter().zip(public) {
            clear.insert(port.name.clone(), SampleBatch { values: values.unwrap_or_default(), samples });
        }
        Ok((arrays, clear))
    }
}
