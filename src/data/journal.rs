//! Finished batches beside an output that is not there yet: what `--resume` goes on from.
//!
//! `HECBATCH`, the format's version (u32), 32 bytes that say of what run the batches are; then batch after batch its length (u64), its bytes,
//! and the BLAKE3 hash of the 32 bytes, the batch's number and its bytes. Numbers are little-endian. A batch that is not whole (the process ended
//! while it was written) is no batch, and the next is written in its place. Only the owner can read the file, and it is removed when the output is
//! there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hec::Checkpoint;

use super::DataError;

const MAGIC: &[u8; 8] = b"HECBATCH";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 32;
const HASH: usize = 32;
/// Bytes that are hashed at a time.
const CHUNK: usize = 1 << 16;

/// The finished batches of one run.
pub struct Journal {
    path: PathBuf,
    run: [u8; 32],
    state: Mutex<State>,
}

struct State {
    file: File,
    /// Where each batch lies, without its length and hash.
    batches: Vec<(u64, usize)>,
    end: u64,
}

impl Journal {
    /// What is kept beside `output` of the run that `run` is the digest of; empty if there is nothing.
    ///
    /// # Errors
    /// If what is there is of another run, in use, readable by others, or no such file: it is left as it is.
    pub fn open(output: &Path, run: [u8; 32]) -> Result<Self, DataError> {
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(".resume");
        let path = output.with_file_name(name);
        let failed = |source| DataError::Io { path: path.clone(), action: "be used", source };
        if fs::symlink_metadata(&path).is_ok_and(|there| !there.is_file()) {
            return Err(refused(&path, "finished batches", "something else of that name", "give another --output"));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        if file.try_lock().is_err() {
            return Err(refused(&path, "finished batches", "a run that goes on with them", "wait until it has ended"));
        }
        check_owner(&path, &file)?;
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend(run);
        let mut found = Vec::new();
        (&mut file).take(HEADER as u64).read_to_end(&mut found).map_err(failed)?;
        if found.len() < HEADER && header.starts_with(&found) {
            // New, or its process ended in its first moment.
            file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(failed)?;
            file.write_all(&header).and_then(|()| file.sync_all()).map_err(failed)?;
        } else if found != header {
            let found = "those of another program, input or backend, or another file";
            return Err(refused(
                &path,
                "the finished batches of this run",
                found,
                "remove it to begin anew, or repeat the command that it is of",
            ));
        }
        let (batches, end) = whole_batches(&mut file, &run).map_err(failed)?;
        file.set_len(end).map_err(failed)?;
        Ok(Self { path, run, state: Mutex::new(State { file, batches, end }) })
    }

    /// Removes the file: the output is there.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn remove(self) -> Result<(), DataError> {
        fs::remove_file(&self.path).map_err(|source| DataError::Io {
            path: self.path.clone(),
            action: "be removed",
            source,
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", self.path.display()));
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner)).map_err(named)
    }
}

impl Checkpoint for Journal {
    fn batches(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).batches.len()
    }

    fn kept(&self, batch: usize) -> io::Result<Vec<u8>> {
        self.with(|state| {
            let (offset, length) =
                *state.batches.get(batch).ok_or_else(|| io::Error::other(format!("there is no batch {batch}")))?;
            state.file.seek(SeekFrom::Start(offset))?;
            let (mut bytes, mut hash) = (vec![0; length], [0; HASH]);
            state.file.read_exact(&mut bytes)?;
            state.file.read_exact(&mut hash)?;
            let mut hasher = hasher(&self.run, batch);
            if *hasher.update(&bytes).finalize().as_bytes() != hash {
                return Err(io::Error::other(format!("batch {batch} has changed since it was checked")));
            }
            Ok(bytes)
        })
    }

    fn keep(&self, record: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let mut hasher = hasher(&self.run, state.batches.len());
            let hash = *hasher.update(record).finalize().as_bytes();
            let length = record.len() as u64;
            state.file.seek(SeekFrom::Start(state.end))?;
            state.file.write_all(&length.to_le_bytes())?;
            state.file.write_all(record)?;
            state.file.write_all(&hash)?;
            state.file.sync_data()?;
            state.batches.push((state.end + 8, record.len()));
            state.end += 8 + length + HASH as u64;
            Ok(())
        })
    }
}

fn refused(path: &Path, expected: &str, found: &str, advice: &str) -> DataError {
    let text = |text: &str| text.to_owned();
    DataError::Unsupported { path: path.to_owned(), expected: text(expected), found: text(found), advice: text(advice) }
}

#[cfg(unix)]
fn check_owner(path: &Path, file: &File) -> Result<(), DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), action: "be used", source };
    let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().map_err(failed)?.permissions()) & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let found = format!("permissions {mode:o}");
    Err(refused(path, "finished batches that only their owner can read", &found, "remove it to begin anew"))
}

#[cfg(not(unix))]
fn check_owner(_path: &Path, _file: &File) -> Result<(), DataError> {
    Ok(())
}

fn hasher(run: &[u8; 32], batch: usize) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.update(run).update(&(batch as u64).to_le_bytes());
    hasher
}

/// The batches that are whole, and where the last one ends. Nothing is allocated for what a length says.
fn whole_batches(file: &mut File, run: &[u8; 32]) -> io::Result<(Vec<(u64, usize)>, u64)> {
    let total = file.metadata()?.len();
    let mut end = HEADER as u64;
    file.seek(SeekFrom::Start(end))?;
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let mut batches = Vec::new();
    while let Some(left) = total.checked_sub(end + 8 + HASH as u64) {
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        let Some(size) = usize::try_from(length).ok().filter(|_| length <= left) else { break };
        let mut hasher = hasher(run, batches.len());
        let mut chunk = [0; CHUNK];
        let mut unread = size;
        while unread > 0 {
            let part = &mut chunk[..unread.min(CHUNK)];
            reader.read_exact(part)?;
            hasher.update(part);
            unread -= part.len();
        }
        let mut hash = [0; HASH];
        reader.read_exact(&mut hash)?;
        if hash != *hasher.finalize().as_bytes() {
            break;
        }
        batches.push((end + 8, size));
        end += 8 + length + HASH as u64;
    }
    Ok((batches, end))
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::*;

    const RUN: [u8; 32] = [3; 32];

    fn kept(output: &Path) -> Vec<Vec<u8>> {
        let journal = Journal::open(output, RUN).unwrap();
        (0..journal.batches()).map(|batch| journal.kept(batch).unwrap()).collect()
    }

    #[test]
    fn whole_batches_are_kept_wherever_the_file_ends() {
        let output = tests_dir("journal").join("out.csv");
        let path = output.with_file_name("out.csv.resume");
        let batches: [&[u8]; 3] = [b"first", b"", b"third and longer"];
        let journal = Journal::open(&output, RUN).unwrap();
        batches.iter().for_each(|batch| journal.keep(batch).unwrap());
        assert!(Journal::open(&output, RUN).is_err(), "it is in use");
        drop(journal);
        let whole = fs::read(&path).unwrap();
        let ends = [HEADER, HEADER + 8 + 5 + HASH, HEADER + 2 * (8 + HASH) + 5, whole.len()];
        for length in 0..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected = ends.iter().filter(|&&end| end <= length).count().saturating_sub(1);
            assert_eq!(kept(&output), batches[..expected], "{length}");
            // What was cut off is written again in its place.
            let journal = Journal::open(&output, RUN).unwrap();
            batches[expected..].iter().for_each(|batch| journal.keep(batch).unwrap());
            drop(journal);
            assert!(fs::read(&path).unwrap() == whole, "{length}");
        }
        for at in HEADER..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged).unwrap();
            let before = ends.iter().filter(|&&end| end <= at).count().saturating_sub(1);
            assert_eq!(kept(&output), batches[..before], "{at}");
        }
        Journal::open(&output, RUN).unwrap().remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn other_runs_and_other_files_are_left_alone() {
        let output = tests_dir("journal-others").join("out.csv");
        let path = output.with_file_name("out.csv.resume");
        Journal::open(&output, [4; 32]).unwrap().keep(b"x").unwrap();
        let theirs = fs::read(&path).unwrap();
        assert!(Journal::open(&output, RUN).err().unwrap().to_string().contains("remove it to begin anew"));
        assert_eq!(fs::read(&path).unwrap(), theirs);
        fs::write(&path, b"a letter").unwrap();
        assert!(Journal::open(&output, RUN).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"a letter");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Journal::open(&output, RUN).err().unwrap().to_string().contains("give another --output"));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_it() {
        use std::os::unix::fs::PermissionsExt;
        let output = tests_dir("journal-mode").join("out.csv");
        let path = output.with_file_name("out.csv.resume");
        drop(Journal::open(&output, RUN).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Journal::open(&output, RUN).err().unwrap().to_string().contains("644"));
    }
}
