//! The Open Inference Protocol, version 2.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_protocol::inference::grpc_inference_service_server::GrpcInferenceService;
use hec_protocol::inference::model_infer_request::InferInputTensor;
use hec_protocol::inference::model_infer_response::InferOutputTensor;
use hec_protocol::inference::model_metadata_response::TensorMetadata;
use hec_protocol::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest, ServerMetadataResponse,
    ServerReadyRequest, ServerReadyResponse,
};
use hec_protocol::{FormatError, tensors};
use hec_runtime::SampleBatch;
use prost::Message;
use prost::bytes::Bytes;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::cancel::Cancel;
use crate::evaluation::{Batch, Shared, read};
use crate::gate::{Admitted, Caller};
use crate::limits::shrink;
use crate::model::Model;

/// The service.
#[derive(Debug)]
pub struct Inference(pub Arc<Shared>);

/// The server's metadata.
pub fn server_metadata() -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: "hec".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: vec!["hec.v1.Encrypted".to_owned()],
    }
}

/// The metadata of a model: its version is the program's fingerprint.
pub fn model_metadata(model: &Model) -> ModelMetadataResponse {
    let tensor = |name: &str, datatype: &str, shape: Vec<i64>| {
        let (name, datatype) = (name.to_owned(), datatype.to_owned());
        TensorMetadata { name, datatype, shape }
    };
    let arrays = |arrays: &[hec_protocol::ciphertexts::Declared]| {
        let array = |own: &hec_protocol::ciphertexts::Declared| {
            tensor(&own.name, tensors::CIPHERTEXTS, vec![own.length as i64])
        };
        arrays.iter().map(array).collect::<Vec<_>>()
    };
    let clear = model.contract.public_inputs().iter().map(|port| {
        let shape = port.ty.shape.iter().skip(1).map(|&n| n as i64);
        tensor(&port.name, tensors::CLEAR, std::iter::once(-1).chain(shape).collect())
    });
    let mut inputs = arrays(&model.inputs);
    inputs.extend(clear);
    ModelMetadataResponse {
        name: model.name.clone(),
        versions: vec![model.fingerprint().hex()],
        platform: tensors::PLATFORM.to_owned(),
        inputs,
        outputs: arrays(&model.outputs),
    }
}

fn invalid(error: FormatError) -> Status {
    Status::invalid_argument(error.to_string())
}

impl Inference {
    fn find(&self, name: &str, version: &str) -> Option<Arc<Model>> {
        let model = self.0.models.get(name)?;
        (version.is_empty() || model.fingerprint().hex() == version).then_some(model)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.into_inner();
        Ok(Response::new(ModelReadyResponse { ready: self.0.ready() && self.find(&name, &version).is_some() }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(server_metadata()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.into_inner();
        let model = self.find(&name, &version);
        let model = model.ok_or_else(|| Status::not_found(format!("there is no model \"{}\"", name.escape_debug())))?;
        Ok(Response::new(model_metadata(&model)))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        let shared = &self.0;
        let deadline = Instant::now() + shared.admission.limits().deadline;
        let held = request
            .extensions()
            .get::<Admitted>()
            .and_then(|admitted| admitted.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
        let mut held = held.ok_or_else(|| Status::internal("the request was not admitted"))?;
        let client = request.extensions().get::<Caller>().map_or_else(String::new, |caller| caller.0.clone());
        let mut request = request.into_inner();
        let bytes = request.encoded_len();
        shared.metrics.bytes("in", bytes);
        let program = request
            .model_version
            .parse()
            .map_err(|e: String| Status::invalid_argument(format!("the version is the program's fingerprint: {e}")))?;
        let model = shared.model(&request.model_name, program)?;
        if !model.contract.exchanges().is_empty() {
            return Err(Status::failed_precondition(
                "this model needs its client in the middle of a run: ask hec.v1.Encrypted/Evaluate",
            ));
        }
        let key = tensors::read_fingerprint(request.parameters.get(tensors::KEY)).map_err(invalid)?;
        let samples = tensors::read_number(request.parameters.get(tensors::SAMPLES)).map_err(invalid)?;
        let samples = model.batch_of(samples)?;
        // The message, and beside it what its evaluation takes.
        let needed = bytes as u64 + model.memory();
        if needed > held.memory.num_permits() as u64 * 4096 {
            let more = needed - held.memory.num_permits() as u64 * 4096;
            held.memory.merge(shared.admission.memory(more, deadline).await?);
        } else {
            shrink(&mut held.memory, needed);
        }
        let (encrypted, public) = inputs(&model, &mut request, samples).await?;
        let id = std::mem::take(&mut request.id);
        drop(request);
        let batch = Batch { model: model.clone(), key, client, encrypted, public, samples, deadline };
        let (outputs, seconds) = shared.evaluate(batch, Cancel::default(), held, None).await?;
        let mut response = ModelInferResponse {
            model_name: model.name.clone(),
            model_version: model.fingerprint().hex(),
            id,
            parameters: BTreeMap::from([(tensors::MICROSECONDS.to_owned(), tensors::number((seconds * 1e6) as i64))]),
            outputs: Vec::new(),
            raw_output_contents: Vec::new(),
        };
        for (declared, array) in model.outputs.iter().zip(outputs) {
            let mut raw = Vec::with_capacity(array.iter().map(|bytes| bytes.len() + 4).sum());
            array.iter().for_each(|bytes| tensors::append(&mut raw, bytes));
            shared.metrics.bytes("out", raw.len());
            response.raw_output_contents.push(raw.into());
            response.outputs.push(InferOutputTensor {
                name: declared.name.clone(),
                datatype: tensors::CIPHERTEXTS.to_owned(),
                shape: vec![declared.length as i64],
                ..InferOutputTensor::default()
            });
        }
        Ok(Response::new(response))
    }
}

type Inputs = (BTreeMap<String, Vec<hec_ckks::Ciphertext>>, BTreeMap<String, SampleBatch>);

/// The inputs of a request, each once.
async fn inputs(model: &Arc<Model>, request: &mut ModelInferRequest, samples: usize) -> Result<Inputs, Status> {
    let raw = std::mem::take(&mut request.raw_input_contents);
    let given = std::mem::take(&mut request.inputs);
    if !raw.is_empty() && raw.len() != given.len() {
        let (expected, found) = (given.len(), raw.len());
        return Err(Status::invalid_argument(format!("expected raw contents of {expected} inputs, found {found}")));
    }
    let mut raw = raw.into_iter();
    let (mut encrypted, mut public) = (BTreeMap::new(), BTreeMap::new());
    for tensor in given {
        let raw = raw.next();
        let name = tensor.name.clone();
        if let Some(array) = model.inputs.iter().position(|own| own.name == name) {
            let bytes = elements(model, array, tensor, raw)?;
            let read = read(model.clone(), array, 0, bytes).await?;
            encrypted.insert(name, read);
        } else if let Some(port) = model.contract.public_inputs().iter().find(|own| own.name == name) {
            let expected = port.ty.elements().saturating_mul(samples);
            let values = clear(tensor, raw);
            if values.len() != expected || values.iter().any(|value| !value.is_finite()) {
                let name = name.escape_debug();
                return Err(Status::invalid_argument(format!("input \"{name}\": expected {expected} finite numbers")));
            }
            public.insert(name, SampleBatch { values, samples });
        } else {
            return Err(Status::invalid_argument(format!("there is no input \"{}\"", name.escape_debug())));
        }
    }
    Ok((encrypted, public))
}

fn elements(model: &Model, array: usize, tensor: InferInputTensor, raw: Option<Bytes>) -> Result<Vec<Bytes>, Status> {
    let count = model.inputs[array].length;
    if tensor.datatype != tensors::CIPHERTEXTS {
        return Err(Status::invalid_argument(format!(
            "input \"{}\" has datatype {}, expected {} with ciphertexts",
            tensor.name.escape_debug(),
            tensor.datatype.escape_debug(),
            tensors::CIPHERTEXTS
        )));
    }
    match raw {
        Some(raw) => tensors::split(raw, count, model.largest_ciphertext()).map_err(invalid),
        None => Ok(tensor.contents.map(|contents| contents.bytes_contents).unwrap_or_default()),
    }
}

fn clear(tensor: InferInputTensor, raw: Option<Bytes>) -> Vec<f64> {
    match raw {
        Some(raw) => raw.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word)).collect(),
        None => tensor.contents.map(|contents| contents.fp64_contents).unwrap_or_default(),
    }
}
