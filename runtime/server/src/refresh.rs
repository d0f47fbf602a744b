//! How an evaluation asks the client to refresh ciphertexts: calls from its thread to the task that has the stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ckks::Ciphertext;
use hec_protocol::ciphertexts::Declared;
use hec_runtime::executor::Array;
use hec_runtime::run::named;
use hec_runtime::{Refresher, RunError};
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::limits::Turn;
use crate::model::Model;

/// A request to the client.
#[derive(Debug)]
pub struct Call {
    /// Which of the contract's rounds.
    pub step: u32,
    /// The ciphertexts of each operand.
    pub operands: Vec<Vec<Bytes>>,
    /// How many ciphertexts each array of the answer has.
    pub expected: Vec<usize>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Vec<Vec<Bytes>>>,
}

/// Where an evaluation sends its calls.
#[derive(Clone, Debug)]
pub struct Calls(mpsc::Sender<Call>);

impl Calls {
    /// Both ends.
    pub fn new() -> (Self, mpsc::Receiver<Call>) {
        let (send, receive) = mpsc::channel(1);
        (Self(send), receive)
    }

    /// Asks, and waits for the answer; `None` if nobody answers any more. From a blocking thread only.
    pub fn ask(&self, step: u32, operands: Vec<Vec<Bytes>>, expected: Vec<usize>) -> Option<Vec<Vec<Bytes>>> {
        let (answer, answered) = oneshot::channel();
        self.0.blocking_send(Call { step, operands, expected, answer }).ok()?;
        answered.blocking_recv().ok()
    }
}

/// The way to the client of a stream.
#[derive(Debug)]
pub struct Remote {
    /// The model, whose contract says what each round sends.
    pub model: Arc<Model>,
    /// Where calls go; nowhere, if the request is one message.
    pub calls: Option<Calls>,
    /// The turn of the evaluation: others have it while the client computes.
    pub turn: Turn,
}

impl Refresher<Ciphertext> for Remote {
    fn refresh(
        &self,
        round: usize,
        operands: Vec<Array<Ciphertext>>,
    ) -> Result<BTreeMap<String, Vec<Ciphertext>>, RunError> {
        let (context, contract) = (self.model.context(), &self.model.contract);
        let wrong = |cause: String| RunError::Round { round, cause };
        let calls = self.calls.as_ref().ok_or(RunError::NoClient)?;
        let replies = contract.exchanges().get(round).map_or(&[][..], |exchange| &exchange.results);
        let declared: Vec<Declared> = replies.iter().map(Declared::of_reply).collect();
        let bytes = |ciphertext: Arc<Ciphertext>| ciphertext.to_bytes(context).map(Bytes::from);
        let array = |array: Array<Ciphertext>| array.into_iter().map(bytes).collect::<Result<Vec<_>, _>>();
        let operands = operands.into_iter().map(array).collect::<Result<Vec<_>, _>>();
        let operands = operands.map_err(|e| wrong(e.to_string()))?;
        let lengths = declared.iter().map(|own| own.length).collect();
        let answer = self.turn.without(|| calls.ask(round as u32, operands, lengths));
        let answer = answer.map_err(|status| wrong(status.message().to_owned()))?;
        let answer = answer.ok_or_else(|| wrong("the client has gone".to_owned()))?;
        let read = |(own, bytes): (&Declared, Vec<Bytes>)| {
            let each = |(index, bytes): (usize, &Bytes)| own.read(context, index, bytes);
            bytes.iter().enumerate().map(each).collect::<Result<Vec<_>, _>>()
        };
        let results = declared.iter().zip(answer).map(read).collect::<Result<Vec<_>, _>>();
        Ok(named(contract, round, results.map_err(|e| wrong(e.to_string()))?))
    }
}
