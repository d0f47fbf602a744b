//! Evaluation keys: received in pieces, kept in memory or in a folder, found by fingerprint, and given up when room is needed.
//!
//! In a folder (which several servers may share) a set of keys is `HEX.heckeys`, and one that is not whole yet `HEX.part`: an upload goes
//! on where the last one ended, after a broken connection and after a restart, on any of the servers. A file gets its name when it is whole, its
//! digest is the name, and its content has been checked. Without a folder all of this is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use hec_ckks::adapter::EvaluationKeys;
use hec_protocol::preamble::EVALUATION;
use hec_protocol::{Fingerprint, FormatError, keys};
use tonic::Status;

use crate::limits::Limits;
use crate::model::Model;
use crate::repository::Repository;

/// Keys are in memory as whole residues of 64 bits and with the halves that their seeds stand for.
const EXPANSION: u64 = 3;

/// The keys of all clients.
#[derive(Debug)]
pub struct Store {
    folder: Option<PathBuf>,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Read and checked.
    loaded: BTreeMap<Fingerprint, Loaded>,
    /// What has arrived of keys that are not whole, where there is no folder.
    partial: BTreeMap<Fingerprint, Partial>,
    /// Uploads that go on: bytes that they will have on disk, and in memory.
    busy: BTreeMap<Fingerprint, [u64; 2]>,
    /// Which keys a client has brought.
    owned: BTreeMap<String, BTreeSet<Fingerprint>>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Loaded {
    keys: Arc<EvaluationKeys>,
    bytes: u64,
    used: u64,
}

#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    used: u64,
}

/// One upload, which nobody else can go on with until it is dropped.
#[derive(Debug)]
pub struct Upload<'s> {
    store: &'s Store,
    fingerprint: Fingerprint,
    total: u64,
    offset: u64,
    file: Option<File>,
}

impl Store {
    /// An empty store in memory, or what a folder holds.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn new(folder: Option<PathBuf>, limits: Limits) -> std::io::Result<Self> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
        }
        Ok(Self { folder, limits, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, fingerprint: Fingerprint, extension: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(fingerprint.hex()).with_extension(extension))
    }

    /// Whether the keys are here, and how many bytes of them.
    pub fn status(&self, fingerprint: Fingerprint) -> (bool, u64) {
        if let Some(path) = self.path(fingerprint, "heckeys")
            && let Ok(there) = fs::metadata(path)
        {
            return (true, there.len());
        }
        let state = self.state();
        match (state.loaded.get(&fingerprint), state.partial.get(&fingerprint), self.path(fingerprint, "part")) {
            (Some(loaded), _, None) => (true, loaded.bytes / EXPANSION),
            (_, _, Some(path)) => (false, fs::metadata(path).map(|there| there.len()).unwrap_or(0)),
            (None, Some(partial), None) => (false, partial.bytes.len() as u64),
            (None, None, None) => (false, 0),
        }
    }

    /// Number and bytes of the keys in memory.
    pub fn in_memory(&self) -> (usize, u64) {
        let state = self.state();
        (state.loaded.len(), state.memory())
    }

    /// Goes on with an upload where its last one ended.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` beyond the limits, `ABORTED` while another upload of the same keys goes on.
    pub fn upload(&self, client: &str, fingerprint: Fingerprint, total: u64) -> Result<Upload<'_>, Status> {
        let limit = self.limits.key;
        if total > limit || total < EVALUATION.header() as u64 {
            return Err(Status::resource_exhausted(format!(
                "a file of {total} bytes of keys: expected at most {limit}"
            )));
        }
        self.forget_lost(client);
        {
            let mut state = self.state();
            let State { owned, busy, .. } = &mut *state;
            if owned.len() >= self.limits.clients && !owned.contains_key(client) {
                // The oldest name is as good as any: nothing but the count of its keys is forgotten.
                owned.pop_first();
            }
            let own = owned.entry(client.to_owned()).or_default();
            let most = self.limits.keys_per_client;
            if own.len() >= most && !own.contains(&fingerprint) {
                return Err(Status::resource_exhausted(format!(
                    "this client has brought {most} sets of keys already, and no more are taken"
                )));
            }
            if busy.contains_key(&fingerprint) {
                return Err(Status::aborted("another upload of these keys goes on: try again later"));
            }
            busy.insert(fingerprint, if self.folder.is_some() { [total, 0] } else { [0, total * EXPANSION] });
            own.insert(fingerprint);
        }
        // From here on the guard gives the place back.
        let mut upload = Upload { store: self, fingerprint, total, offset: 0, file: None };
        match self.path(fingerprint, "part") {
            Some(path) => {
                self.make_room(total, fingerprint)?;
                upload.open(&path).map_err(|e| full(&e))?;
            }
            None => {
                let mut state = self.state();
                state.make_room(total * EXPANSION, self.limits.keys_in_memory, fingerprint)?;
                state.clock += 1;
                let used = state.clock;
                let partial = state.partial.entry(fingerprint).or_default();
                partial.used = used;
                upload.offset = partial.bytes.len() as u64;
            }
        }
        if upload.offset > total {
            // Another length than the last time: one of the two is wrong, and the digest will tell.
            upload.discard();
            upload.restart().map_err(|e| full(&e))?;
        }
        Ok(upload)
    }

    /// Keys that were given up are not counted as the client's any more.
    fn forget_lost(&self, client: &str) {
        let own = self.state().owned.get(client).cloned().unwrap_or_default();
        let lost: Vec<_> = own.into_iter().filter(|print| self.status(*print) == (false, 0)).collect();
        if let Some(own) = self.state().owned.get_mut(client) {
            own.retain(|print| !lost.contains(print));
        }
    }

    /// The keys of this fingerprint, if they are here and serve the model.
    ///
    /// # Errors
    /// `FAILED_PRECONDITION` with the reason `keys-missing`, or that they do not serve the model; `INTERNAL` if the folder cannot be read.
    pub fn get(&self, model: &Model, fingerprint: Fingerprint) -> Result<Arc<EvaluationKeys>, Status> {
        let keys = match self.cached(fingerprint) {
            Some(keys) => keys,
            None => self.read(model, fingerprint)?,
        };
        let needs = model.contract.keys();
        keys.serve(model.context(), needs).map_err(|e| Status::failed_precondition(e.0))?;
        Ok(keys)
    }

    fn cached(&self, fingerprint: Fingerprint) -> Option<Arc<EvaluationKeys>> {
        let mut state = self.state();
        state.clock += 1;
        let used = state.clock;
        let loaded = state.loaded.get_mut(&fingerprint)?;
        loaded.used = used;
        Some(loaded.keys.clone())
    }

    fn read(&self, model: &Model, fingerprint: Fingerprint) -> Result<Arc<EvaluationKeys>, Status> {
        let Some(path) = self.path(fingerprint, "heckeys") else { return Err(missing(fingerprint)) };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(missing(fingerprint)),
            Err(e) => return Err(Status::internal(format!("the folder of keys cannot be read: {}", e.kind()))),
        };
        let bytes = file.metadata().map(|there| there.len()).unwrap_or(0);
        // Used now: what is used least goes first.
        let _ = file.set_modified(SystemTime::now());
        let read = keys::read(model.context(), BufReader::with_capacity(1 << 20, file));
        let (keys, found) = read.map_err(|e| Status::failed_precondition(format!("the keys: {e}")))?;
        if found != fingerprint {
            let _ = fs::remove_file(&path);
            return Err(missing(fingerprint));
        }
        self.keep(fingerprint, keys, bytes)
    }

    /// Keeps keys in memory, in place of others if need be.
    fn keep(&self, fingerprint: Fingerprint, keys: EvaluationKeys, bytes: u64) -> Result<Arc<EvaluationKeys>, Status> {
        let (keys, bytes) = (Arc::new(keys), bytes * EXPANSION);
        let mut state = self.state();
        state.partial.remove(&fingerprint);
        state.make_room(bytes, self.limits.keys_in_memory, fingerprint)?;
        state.clock += 1;
        let used = state.clock;
        state.loaded.insert(fingerprint, Loaded { keys: keys.clone(), bytes, used });
        Ok(keys)
    }

    /// Removes files of keys, those that were used longest ago first, until there is room for `bytes` more.
    fn make_room(&self, bytes: u64, but: Fingerprint) -> Result<(), Status> {
        let (Some(folder), limit) = (&self.folder, self.limits.keys_on_disk) else { return Ok(()) };
        if bytes > limit {
            return Err(Status::resource_exhausted(format!(
                "{bytes} bytes of keys, and all together may have {limit}"
            )));
        }
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let entries = fs::read_dir(folder).map_err(|e| full(&e))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let own = path.file_stem().is_some_and(|stem| stem.to_string_lossy() == but.hex());
            let ours = path.extension().is_some_and(|extension| extension == "heckeys" || extension == "part");
            if let Ok(there) = entry.metadata()
                && ours
                && !own
            {
                files.push((there.modified().unwrap_or(SystemTime::UNIX_EPOCH), there.len(), path));
            }
        }
        files.sort();
        files.retain(|(_, _, path)| !self.in_use(path));
        let others: u64 = self.state().busy.iter().filter(|(print, _)| **print != but).map(|(_, [disk, _])| disk).sum();
        let mut held: u64 = others + files.iter().map(|(_, length, _)| length).sum::<u64>();
        for (_, length, path) in files {
            if held + bytes <= limit {
                break;
            }
            // Another server may have removed it.
            let _ = fs::remove_file(&path);
            held -= length;
        }
        if held + bytes > limit {
            return Err(Status::resource_exhausted("no room for keys: those that are here are being uploaded"));
        }
        Ok(())
    }

    /// Whether an upload to this file goes on here.
    fn in_use(&self, path: &Path) -> bool {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        stem.parse().is_ok_and(|fingerprint| self.state().busy.contains_key(&fingerprint))
    }
}

impl State {
    fn memory(&self) -> u64 {
        let loaded: u64 = self.loaded.values().map(|loaded| loaded.bytes).sum();
        let idle = self.partial.iter().filter(|(print, _)| !self.busy.contains_key(print));
        let idle: u64 = idle.map(|(_, partial)| partial.bytes.capacity() as u64).sum();
        loaded + idle + self.busy.values().map(|[_, memory]| memory).sum::<u64>()
    }

    /// What of that is for these keys.
    fn own(&self, fingerprint: Fingerprint) -> u64 {
        let loaded = self.loaded.get(&fingerprint).map_or(0, |loaded| loaded.bytes);
        let partial = self.partial.get(&fingerprint).map_or(0, |partial| partial.bytes.capacity() as u64);
        loaded + self.busy.get(&fingerprint).map_or(partial, |[_, memory]| *memory)
    }

    /// Gives up keys in memory until `bytes` more fit. Evaluations that run keep theirs.
    fn make_room(&mut self, bytes: u64, limit: u64, but: Fingerprint) -> Result<(), Status> {
        if bytes > limit {
            return Err(Status::resource_exhausted(format!(
                "the keys take about {bytes} bytes of memory, and all together may have {limit}"
            )));
        }
        while self.memory() - self.own(but) + bytes > limit {
            let loaded = self.loaded.iter().map(|(print, loaded)| (loaded.used, *print));
            let idle = self.partial.iter().filter(|(print, _)| !self.busy.contains_key(print));
            let partial = idle.map(|(print, partial)| (partial.used, *print));
            let oldest = loaded.chain(partial).filter(|(_, print)| *print != but).min();
            let Some((_, oldest)) = oldest else {
                return Err(Status::resource_exhausted(
                    "no memory for keys: others are being uploaded; try again later",
                ));
            };
            self.loaded.remove(&oldest);
            if !self.busy.contains_key(&oldest) {
                self.partial.remove(&oldest);
            }
        }
        Ok(())
    }
}

impl Upload<'_> {
    fn open(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        // Against other servers on the same folder.
        file.try_lock().map_err(|_| std::io::Error::from(std::io::ErrorKind::WouldBlock))?;
        self.offset = file.seek(SeekFrom::End(0))?;
        self.file = Some(file);
        Ok(())
    }

    /// Bytes that there are in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Where the next bytes belong.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// `OUT_OF_RANGE` beyond the length that was said; `RESOURCE_EXHAUSTED` if the disk is full: what had arrived is given up.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Status> {
        if bytes.len() as u64 > self.total - self.offset {
            let (total, found) = (self.total, self.offset + bytes.len() as u64);
            self.discard();
            return Err(Status::out_of_range(format!("expected {total} bytes of keys, found {found}")));
        }
        match &mut self.file {
            Some(file) => {
                if let Err(e) = file.write_all(bytes) {
                    self.discard();
                    return Err(full(&e));
                }
            }
            None => {
                let mut state = self.store.state();
                let partial = state.partial.entry(self.fingerprint).or_default();
                if partial.bytes.len() as u64 != self.offset {
                    return Err(Status::aborted("the upload was given up for others: begin again"));
                }
                partial.bytes.extend_from_slice(bytes);
            }
        }
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Checks keys that are whole, and keeps them.
    ///
    /// # Errors
    /// `DATA_LOSS` if they are not what the fingerprint says: they are given up; `FAILED_PRECONDITION` if no model here has their
    /// parameters; `INVALID_ARGUMENT` if they are no keys.
    pub fn finish(&mut self, models: &Repository) -> Result<(), Status> {
        let done = self.check(models);
        if done.is_err() {
            self.discard();
        }
        done
    }

    fn check(&mut self, models: &Repository) -> Result<(), Status> {
        let fingerprint = self.fingerprint;
        if let Some(mut file) = self.file.take() {
            let io = |e: std::io::Error| full(&e);
            file.sync_all().map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            let mut reader = BufReader::with_capacity(1 << 20, &file);
            let parameters = EVALUATION.read(&mut reader).map_err(refused)?.1.fingerprint;
            let context = models.context(parameters).ok_or_else(|| unknown_parameters(parameters))?;
            reader.seek(SeekFrom::Start(0)).map_err(io)?;
            let (keys, found) = keys::read(&context, reader).map_err(refused)?;
            same(fingerprint, found)?;
            if let (Some(part), Some(whole)) =
                (self.store.path(fingerprint, "part"), self.store.path(fingerprint, "heckeys"))
            {
                fs::rename(part, whole).map_err(io)?;
            }
            // If memory is short they are read again when they are needed.
            let _ = self.store.keep(fingerprint, keys, self.total);
        } else {
            let bytes =
                self.store.state().partial.get_mut(&fingerprint).map(|partial| std::mem::take(&mut partial.bytes));
            let bytes = bytes.unwrap_or_default();
            let parameters = EVALUATION.read(&mut &*bytes).map_err(refused)?.1.fingerprint;
            let context = models.context(parameters).ok_or_else(|| unknown_parameters(parameters))?;
            let (keys, found) = keys::read(&context, &*bytes).map_err(refused)?;
            same(fingerprint, found)?;
            self.store.keep(fingerprint, keys, self.total)?;
        }
        Ok(())
    }

    /// Forgets what has arrived.
    fn discard(&mut self) {
        self.file = None;
        self.offset = 0;
        if let Some(path) = self.store.path(self.fingerprint, "part") {
            let _ = fs::remove_file(path);
        }
        self.store.state().partial.remove(&self.fingerprint);
    }

    fn restart(&mut self) -> std::io::Result<()> {
        match self.store.path(self.fingerprint, "part") {
            Some(path) => self.open(&path),
            None => Ok(()),
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        self.store.state().busy.remove(&self.fingerprint);
    }
}

/// The reason that a client can act on: it sends its keys and tries again.
pub const KEYS_MISSING: &str = "keys-missing";

/// Where a status has its reason.
pub const REASON: &str = "hec-reason";

pub(crate) fn missing(fingerprint: Fingerprint) -> Status {
    let mut status =
        Status::failed_precondition(format!("there are no evaluation keys {fingerprint} here: upload them"));
    status.metadata_mut().insert(REASON, tonic::metadata::MetadataValue::from_static(KEYS_MISSING));
    status
}

fn unknown_parameters(found: Fingerprint) -> Status {
    Status::failed_precondition(format!("no model here has the parameters of these keys (fingerprint {found})"))
}

fn same(expected: Fingerprint, found: Fingerprint) -> Result<(), Status> {
    if expected == found {
        return Ok(());
    }
    Err(Status::data_loss(format!("the keys have the fingerprint {found}, expected {expected}: send them again")))
}

fn refused(error: FormatError) -> Status {
    if let FormatError::Io(error) = &error {
        return full(error);
    }
    Status::invalid_argument(format!("the keys: {error}"))
}

/// The disk is full, or does not work.
fn full(error: &std::io::Error) -> Status {
    use std::io::ErrorKind;
    let kind = error.kind();
    if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge].contains(&kind) {
        Status::resource_exhausted("the disk for keys is full: try again later")
    } else if kind == ErrorKind::WouldBlock {
        Status::aborted("another upload of these keys goes on: try again later")
    } else {
        Status::internal(format!("keys cannot be written: {kind}"))
    }
}
