//! Evaluation keys to the server.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use hec_protocol::encrypted::encrypted_client::EncryptedClient;
use hec_protocol::encrypted::{KeyChunk, KeyState, KeyStatusRequest};
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::Client;
use super::retry::{Backoff, Verdict, verdict};
use crate::error::ClientError;

/// Bytes of one message.
const CHUNK: usize = 1 << 18;

impl Client {
    /// Sends the evaluation keys, if the server has not got them, from where an earlier attempt ended. Returns the bytes that were sent.
    ///
    /// # Errors
    /// [`ClientError`]: the file is not that of the key, or the server refuses for good.
    pub async fn send_keys(&self) -> Result<u64, ClientError> {
        let _alone = self.0.sending.lock().await;
        let mut backoff = Backoff::new(self.0.options.timeout);
        let mut sent = 0;
        loop {
            let refused = match self.attempt(&mut sent).await {
                Ok(()) => return Ok(sent),
                Err(Refusal::Here(error)) => return Err(error),
                Err(Refusal::There(status)) => status,
            };
            // The offset has changed since: another attempt begins with asking again.
            let again = verdict(&refused) != Verdict::Final || refused.code() == Code::OutOfRange;
            if !again || !backoff.wait().await {
                return Err(self.refused(&refused));
            }
        }
    }

    async fn attempt(&self, sent: &mut u64) -> Result<(), Refusal> {
        let mut client = EncryptedClient::new(self.0.channel.clone());
        let print = Bytes::copy_from_slice(&self.key().0);
        let status = self.request(KeyStatusRequest { fingerprint: print.clone() });
        let KeyState { complete, offset } = client.key_status(status).await.map_err(Refusal::There)?.into_inner();
        if complete {
            return Ok(());
        }
        let path = &self.0.options.keys;
        let file = File::open(path).map_err(ClientError::io(path, "read"))?;
        let total = file.metadata().map_err(ClientError::io(path, "read"))?.len();
        // What is there may be longer than the keys are: the server finds out.
        let offset = offset.min(total);
        let (send, receive) = mpsc::channel(4);
        let reader = tokio::task::spawn_blocking(move || read(file, print, total, offset, &send));
        let state = client.upload_keys(self.request(ReceiverStream::new(receive))).await;
        let read = reader.await.unwrap_or_else(|_| Err(std::io::Error::other("the file was not read to its end")));
        let read = read.map_err(ClientError::io(path, "read"))?;
        *sent += read;
        let KeyState { complete, .. } = state.map_err(Refusal::There)?.into_inner();
        if complete { Ok(()) } else { Err(Refusal::There(Status::aborted("the server has only a part of the keys"))) }
    }
}

enum Refusal {
    Here(ClientError),
    There(Status),
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self::Here(error)
    }
}

/// Sends the file from `offset` on, and returns how many bytes were.
fn read(mut file: File, print: Bytes, total: u64, offset: u64, send: &mpsc::Sender<KeyChunk>) -> std::io::Result<u64> {
    file.seek(SeekFrom::Start(offset))?;
    let mut at = offset;
    loop {
        let mut data = Vec::with_capacity(CHUNK);
        (&mut file).take(CHUNK as u64).read_to_end(&mut data)?;
        let (length, first) = (data.len() as u64, at == offset);
        if length == 0 && !first {
            return Ok(at - offset);
        }
        let chunk = KeyChunk {
            fingerprint: if first { print.clone() } else { Bytes::new() },
            total: if first { total } else { 0 },
            offset: at,
            data: data.into(),
        };
        if send.blocking_send(chunk).is_err() || length == 0 {
            return Ok(at - offset);
        }
        at += length;
    }
}
