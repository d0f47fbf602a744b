//! What is tried again, and when.

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server has lost the keys, or never had them.
    SendKeys,
    /// Later it may work.
    Again,
    /// It never will.
    Final,
}

pub(super) fn verdict(status: &Status) -> Verdict {
    if is_mistrust(status) {
        return Verdict::Final;
    }
    let reason = status.metadata().get("hec-reason").and_then(|value| value.to_str().ok());
    match status.code() {
        Code::FailedPrecondition if reason == Some("keys-missing") => Verdict::SendKeys,
        // A server that says this itself, or a gateway before it.
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::DataLoss => Verdict::Again,
        // A connection that broke: the status was made on this side.
        Code::Unknown | Code::Internal | Code::Cancelled if std::error::Error::source(status).is_some() => {
            Verdict::Again
        }
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unauthenticated => Verdict::Final,
    }
}

/// Whether one side did not accept the other's certificate: it will not the next time either. `rustls` says so in an [`io::Error`] of
/// damaged data.
pub(super) fn is_mistrust(status: &Status) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = status.source();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::InvalidData
            && error.to_string().to_lowercase().contains("certificate")
        {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Waits between attempts: longer each time, and not all clients alike.
pub(super) struct Backoff {
    end: Instant,
    next: Duration,
    pub(super) retries: u64,
}

impl Backoff {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { end: Instant::now() + timeout, next: Duration::from_millis(100), retries: 0 }
    }

    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// Waits; `false` if there is no time left.
    pub(super) async fn wait(&mut self) -> bool {
        let mut random = [0];
        // Without randomness all wait alike.
        let _ = getrandom::fill(&mut random);
        let until = Instant::now() + self.next.mul_f64(0.5 + f64::from(random[0]) / 255.0);
        if until >= self.end {
            return false;
        }
        sleep_until(until).await;
        self.next = (self.next * 2).min(Duration::from_secs(3));
        self.retries += 1;
        true
    }
}
