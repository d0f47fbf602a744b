//! How an evaluation asks the client to refresh ciphertexts: calls from its thread to the task that has the stream.

use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// A request to the client.
#[derive(Debug)]
pub struct Call {
    /// Which of the contract's refreshes.
    pub step: u32,
    /// The ciphertexts of each operand.
    pub operands: Vec<Vec<Bytes>>,
    /// How many ciphertexts the answer has.
    pub expected: usize,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Vec<Bytes>>,
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
    pub fn ask(&self, step: u32, operands: Vec<Vec<Bytes>>, expected: usize) -> Option<Vec<Bytes>> {
        let (answer, answered) = oneshot::channel();
        self.0.blocking_send(Call { step, operands, expected, answer }).ok()?;
        answered.blocking_recv().ok()
    }
}
