//! One batch, from admitted ciphertexts to results: the same for both services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant as Clock;

use hec_ckks::Ciphertext;
use hec_protocol::Fingerprint;
use hec_protocol::ciphertexts::Declared;
use hec_runtime::{RunError, SampleBatch, evaluate_batch};
use prost::bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::cancel::Cancel;
use crate::limits::{Admission, Place, Turn, late};
use crate::metrics::Metrics;
use crate::model::Model;
use crate::refresh::{Calls, Remote};
use crate::repository::Repository;
use crate::store::Store;

/// What both services share.
#[derive(Debug)]
pub struct Shared {
    /// The models.
    pub models: Repository,
    /// The clients' keys.
    pub keys: Store,
    /// Places, memory, turns.
    pub admission: Arc<Admission>,
    /// Counters.
    pub metrics: Metrics,
}

/// What a request holds until its memory is free again.
#[derive(Debug)]
pub struct Held {
    /// Its place.
    pub place: Arc<Place>,
    /// Its memory.
    pub memory: OwnedSemaphorePermit,
}

/// A batch that is ready to be evaluated.
#[derive(Debug)]
pub struct Batch {
    /// The model.
    pub model: Arc<Model>,
    /// The client's keys.
    pub key: Fingerprint,
    /// Who asks, for the log.
    pub client: String,
    /// The private inputs.
    pub encrypted: BTreeMap<String, Vec<Ciphertext>>,
    /// The public inputs.
    pub public: BTreeMap<String, SampleBatch>,
    /// How many.
    pub samples: usize,
    /// Until when.
    pub deadline: Instant,
}

/// For each output its ciphertexts, in bytes, and the seconds of the evaluation.
pub type Results = (Vec<Vec<Bytes>>, f64);

impl Shared {
    /// Whether requests are taken.
    pub fn ready(&self) -> bool {
        !self.admission.is_closed() && !self.models.names().is_empty()
    }

    /// The model of this name and program.
    ///
    /// # Errors
    /// `NOT_FOUND`, or `FAILED_PRECONDITION` if it has another program.
    pub fn model(&self, name: &str, program: Fingerprint) -> Result<Arc<Model>, Status> {
        let model = self.models.get(name);
        let model = model.ok_or_else(|| Status::not_found(format!("there is no model \"{}\"", name.escape_debug())))?;
        if model.fingerprint() != program {
            let found = model.fingerprint();
            return Err(Status::failed_precondition(format!(
                "model \"{}\" is program {found} now, and the request is for {program}: take the client file of {found}",
                name.escape_debug()
            )));
        }
        Ok(model)
    }

    /// Waits for a turn, and evaluates on a thread of its own. If nobody waits for the result any more, the evaluation ends before its next
    /// operation.
    ///
    /// # Errors
    /// Those of the keys, `DEADLINE_EXCEEDED`, `INVALID_ARGUMENT` if the program refuses the inputs.
    pub async fn evaluate(
        self: &Arc<Self>,
        batch: Batch,
        cancel: Cancel,
        held: Held,
        calls: Option<Calls>,
    ) -> Result<Results, Status> {
        let _stop = cancel.on_drop();
        let Batch { model, key, client, encrypted, public, samples, deadline } = batch;
        let turn = Turn::wait(self.admission.clone(), deadline).await?;
        let (shared, own, flag) = (self.clone(), model.clone(), cancel.clone());
        let work = tokio::task::spawn_blocking(move || {
            // All of it is given back when the work is done, and not when nobody waits for it any more.
            let _held = held;
            let evaluator = own.evaluator(shared.keys.get(&own, key)?);
            let remote = Remote { model: own.clone(), calls, turn };
            let start = Clock::now();
            let outputs = evaluate_batch(&own.program, &evaluator, encrypted, &public, samples, &remote, &flag);
            let outputs = outputs.map_err(refused)?;
            let seconds = start.elapsed().as_secs_f64();
            let write = |ciphertext: Arc<Ciphertext>| {
                ciphertext.to_bytes(own.context()).map(Bytes::from).map_err(|e| Status::internal(e.to_string()))
            };
            let array = |(_, array): (String, Vec<Arc<Ciphertext>>)| array.into_iter().map(write).collect();
            Ok((outputs.into_iter().map(array).collect::<Result<Vec<_>, Status>>()?, seconds))
        });
        let done = match timeout_at(deadline, work).await {
            // What fails after the deadline fails because of it.
            Ok(Ok(Err(_))) if Instant::now() >= deadline => Err(late()),
            Ok(Ok(done)) => done,
            Ok(Err(_panicked)) => Err(Status::internal("the evaluation failed")),
            Err(_elapsed) => Err(late()),
        };
        let name = &model.name;
        match &done {
            Ok((_, seconds)) => {
                self.metrics.evaluation(name, samples, *seconds);
                tracing::info!(model = %name, %client, %key, samples, seconds, "evaluated");
            }
            Err(status) => {
                tracing::warn!(model = %name, %client, %key, samples, code = ?status.code(), "not evaluated");
            }
        }
        done
    }
}

/// Reads the ciphertexts of an array, on a thread of its own: `first` is the index of the first.
///
/// # Errors
/// `INVALID_ARGUMENT`: damaged, of other parameters, or not what the program takes.
pub async fn read(model: Arc<Model>, array: usize, first: usize, bytes: Vec<Bytes>) -> Result<Vec<Ciphertext>, Status> {
    let work = tokio::task::spawn_blocking(move || {
        let declared: &Declared =
            model.inputs.get(array).ok_or_else(|| Status::invalid_argument(format!("there is no input {array}")))?;
        let read = |(index, bytes): (usize, &Bytes)| declared.read(model.context(), first + index, bytes);
        let all: Result<Vec<_>, _> = bytes.iter().enumerate().map(read).collect();
        all.map_err(|e| Status::invalid_argument(e.to_string()))
    });
    work.await.map_err(|_panicked| Status::internal("ciphertexts could not be read"))?
}

fn refused(error: RunError) -> Status {
    match error {
        other @ RunError::NoClient => Status::failed_precondition(other.to_string()),
        RunError::Cancelled => Status::cancelled("nobody waits for the results any more"),
        other @ (RunError::MissingInput { .. }
        | RunError::UnknownInput { .. }
        | RunError::InputLength { .. }
        | RunError::SampleSize { .. }
        | RunError::SampleCount { .. }
        | RunError::Layout { .. }
        | RunError::Encode { .. }
        | RunError::Round { .. }) => Status::invalid_argument(other.to_string()),
        other @ (RunError::Memory { .. }
        | RunError::Checkpoint { .. }
        | RunError::OutputLength { .. }
        | RunError::Keys(_)
        | RunError::Encrypt { .. }
        | RunError::Decrypt { .. }
        | RunError::Sharing { .. }
        | RunError::Node { .. }
        | RunError::Clear(_)
        | RunError::NoCertificate
        | RunError::NothingToCheck { .. }
        | RunError::Declared { .. }) => {
            // The nodes are the model's, and none of the client's business.
            tracing::error!(error = %other, "evaluation failed");
            Status::internal("the evaluation failed; the server's log says where")
        }
    }
}
