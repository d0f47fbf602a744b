//! Files that appear whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::DataError;

/// Writes a file through `write` into a temporary file beside `path`, and renames it to `path` when it is complete and
/// on the disk. Until then, and if anything fails, whatever was at `path` stays as it was.
///
/// # Errors
/// If `path` is there and not a regular file, or if the operating system refuses.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), DataError> {
    let mut file = AtomicFile::create(path)?;
    write(&mut file.file).map_err(failed(path))?;
    file.commit()
}

/// A file that appears under its name when it is committed, and not at all if that is not done.
pub struct AtomicFile {
    path: PathBuf,
    temporary: Temporary,
    file: BufWriter<File>,
}

impl AtomicFile {
    /// A temporary file beside `path`.
    ///
    /// # Errors
    /// As [`write_atomically`].
    pub fn create(path: &Path) -> Result<Self, DataError> {
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(DataError::Unsupported {
                path: path.to_owned(),
                expected: "a file to write".into(),
                found: "a folder, pipe or device of that name".into(),
                advice: "give another name".into(),
            });
        }
        let (temporary, file) = Temporary::create(path).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), temporary, file: BufWriter::new(file) })
    }

    /// Renames it, when all is on the disk.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn commit(self) -> Result<(), DataError> {
        let Self { path, temporary, mut file } = self;
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed(&path))?;
        drop(file);
        temporary.rename(&path).map_err(failed(&path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Io { path: path.clone(), action: "be written", source }
}

/// A file that is removed unless it is renamed.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn create(target: &Path) -> io::Result<(Temporary, File)> {
        let Some(name) = target.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no file name"));
        };
        let mut attempt = 0_u32;
        loop {
            let mut hidden = OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{attempt}.tmp", std::process::id()));
            let path = target.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Temporary(Some(path)), file)),
                // Left behind by an interrupted process, or in use by another thread.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
            self.0 = None;
        }
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The error that led here matters more than one in clearing up.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::*;

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let dir = tests_dir("atomic");
        let path = dir.join("a.json");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failing = write_atomically(&path, |file| {
            file.write_all(&[0; 100_000])?;
            Err(io::Error::other("disk full"))
        });
        assert!(failing.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(write_atomically(&dir, |_| Ok(())).is_err());
        assert!(write_atomically(&dir.join("absent/a"), |_| Ok(())).is_err());
        assert!(write_atomically(Path::new(""), |_| Ok(())).is_err());
    }
}
