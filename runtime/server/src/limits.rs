//! What the server takes on, and what it refuses.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

/// Bounds of everything that grows with requests.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one message that holds a whole batch.
    pub message: usize,
    /// Bytes of one message of a stream.
    pub chunk: usize,
    /// Bytes that requests hold in memory together: their ciphertexts, and those of their evaluation.
    pub memory: u64,
    /// Bytes of one file of evaluation keys.
    pub key: u64,
    /// Bytes of evaluation keys in memory.
    pub keys_in_memory: u64,
    /// Bytes of evaluation keys on disk.
    pub keys_on_disk: u64,
    /// Keys that one client may have here.
    pub keys_per_client: usize,
    /// Clients that are told apart at a time.
    pub clients: usize,
    /// Evaluations at a time.
    pub concurrent: usize,
    /// Requests that wait beside those.
    pub queue: usize,
    /// Requests of one client at a time.
    pub per_client: usize,
    /// Connections at a time.
    pub connections: usize,
    /// How long a request may take in all.
    pub deadline: Duration,
    /// How long a message may be awaited within a request.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 512 << 20,
            chunk: 32 << 20,
            memory: 4 << 30,
            key: 4 << 30,
            keys_in_memory: 2 << 30,
            keys_on_disk: 64 << 30,
            keys_per_client: 16,
            clients: 4096,
            concurrent: 2,
            queue: 64,
            per_client: 8,
            connections: 1024,
            deadline: Duration::from_secs(600),
            idle: Duration::from_secs(60),
        }
    }
}

/// Memory is counted in these.
const UNIT: u64 = 4096;

/// Lets requests in, in the order of their arrival.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    memory: Arc<Semaphore>,
    evaluations: Arc<Semaphore>,
    inside: Mutex<BTreeMap<String, usize>>,
    count: AtomicUsize,
    closed: AtomicBool,
}

/// A request's place; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    client: String,
}

impl Admission {
    /// Nobody is inside.
    pub fn new(limits: Limits) -> Arc<Self> {
        let units = usize::try_from(limits.memory / UNIT).unwrap_or(usize::MAX).min(u32::MAX as usize);
        Arc::new(Self {
            memory: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            evaluations: Arc::new(Semaphore::new(limits.concurrent)),
            inside: Mutex::default(),
            count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            limits,
        })
    }

    /// The bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Requests inside.
    pub fn inside(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Evaluations that run.
    pub fn running(&self) -> usize {
        self.limits.concurrent - self.evaluations.available_permits().min(self.limits.concurrent)
    }

    /// Refuses all that come from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether all are refused.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A place for a request, at once or not at all.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if all places or all of this client's are taken; `UNAVAILABLE` if the server is shutting down.
    pub fn enter(self: &Arc<Self>, client: &str) -> Result<Place, Status> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Status::unavailable("the server is shutting down: try again"));
        }
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Limits { concurrent, queue, per_client, .. } = self.limits;
        if self.inside() >= concurrent + queue {
            return Err(Status::resource_exhausted(format!(
                "the queue is full: {concurrent} requests are evaluated and {queue} wait; try again later"
            )));
        }
        let own = inside.get(client).copied().unwrap_or(0);
        if own >= per_client {
            return Err(Status::resource_exhausted(format!(
                "this client has {own} requests here already, and no more are taken; try again later"
            )));
        }
        inside.insert(client.to_owned(), own + 1);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Place { admission: self.clone(), client: client.to_owned() })
    }

    /// Waits until so many bytes are free.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` if there never are as many, `DEADLINE_EXCEEDED`.
    pub async fn memory(&self, bytes: u64, deadline: Instant) -> Result<OwnedSemaphorePermit, Status> {
        let limit = self.limits.memory;
        if bytes > limit {
            return Err(Status::resource_exhausted(format!(
                "the request takes {bytes} bytes of memory, and the server gives {limit} to all together"
            )));
        }
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        permit(timeout_at(deadline, self.memory.clone().acquire_many_owned(units)).await)
    }

    /// So many bytes, if they are free now.
    pub fn memory_now(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
        self.memory.clone().try_acquire_many_owned(units).ok()
    }

    /// Waits for a turn to evaluate.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`.
    pub async fn turn(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, Status> {
        permit(timeout_at(deadline, self.evaluations.clone().acquire_owned()).await)
    }
}

/// A turn to evaluate, which is given back while the evaluation waits for its client.
#[derive(Debug)]
pub struct Turn {
    admission: Arc<Admission>,
    deadline: Instant,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Turn {
    /// Waits for one.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`.
    pub async fn wait(admission: Arc<Admission>, deadline: Instant) -> Result<Self, Status> {
        let permit = Mutex::new(Some(admission.turn(deadline).await?));
        Ok(Self { admission, deadline, permit })
    }

    /// Lets others have it while `waiting` waits, and waits for another one afterwards. From a blocking thread only.
    ///
    /// # Errors
    /// `DEADLINE_EXCEEDED`.
    pub fn without<T>(&self, waiting: impl FnOnce() -> T) -> Result<T, Status> {
        drop(self.permit.lock().unwrap_or_else(PoisonError::into_inner).take());
        let waited = waiting();
        let again = Handle::current().block_on(self.admission.turn(self.deadline))?;
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        Ok(waited)
    }
}

/// Keeps of a permit for memory what `bytes` take.
pub fn shrink(permit: &mut OwnedSemaphorePermit, bytes: u64) {
    let keep = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
    let spare = permit.num_permits().saturating_sub(keep);
    drop(permit.split(spare));
}

fn permit(
    waited: Result<Result<OwnedSemaphorePermit, tokio::sync::AcquireError>, tokio::time::error::Elapsed>,
) -> Result<OwnedSemaphorePermit, Status> {
    match waited {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_closed)) => Err(Status::unavailable("the server is shutting down: try again")),
        Err(_elapsed) => Err(late()),
    }
}

/// The server's deadline has passed.
pub fn late() -> Status {
    Status::deadline_exceeded("the request took longer than the server allows: nothing was evaluated to the end")
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.admission.inside.lock().unwrap_or_else(PoisonError::into_inner);
        match inside.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(inside.remove(&self.client)),
        }
        self.admission.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_and_given_back() {
        let admission = Admission::new(Limits { concurrent: 1, queue: 2, per_client: 2, ..Limits::default() });
        let first = admission.enter("a").expect("a place");
        let second = admission.enter("a").expect("a place");
        assert_eq!(admission.enter("a").expect_err("two at a time").code(), tonic::Code::ResourceExhausted);
        let third = admission.enter("b").expect("a place");
        assert!(admission.enter("c").expect_err("full").message().contains("the queue is full"));
        drop((first, second));
        assert_eq!(admission.inside(), 1);
        drop(third);
        admission.close();
        assert_eq!(admission.enter("a").expect_err("closed").code(), tonic::Code::Unavailable);
    }

    #[tokio::test]
    async fn memory_is_waited_for_and_bounded() {
        let admission = Admission::new(Limits { memory: 1 << 20, ..Limits::default() });
        let soon = || Instant::now() + Duration::from_millis(20);
        let mut half = admission.memory(1 << 20, soon()).await.expect("all");
        assert_eq!(admission.memory(1, soon()).await.expect_err("none").code(), tonic::Code::DeadlineExceeded);
        shrink(&mut half, 1 << 19);
        let other = admission.memory(1 << 19, soon()).await.expect("the other half");
        assert!(admission.memory_now(1).is_none());
        drop((half, other));
        let error = admission.memory(1 << 21, soon()).await.expect_err("too much");
        assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    }
}
