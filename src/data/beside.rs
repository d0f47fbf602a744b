//! Data of a model that lie in files beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use hec::ExternalData;

/// Reads what a model refers to. Links do not lead out of the model's folder, and nothing is allocated that the file does not
/// hold.
///
/// # Errors
/// Why it cannot be read.
pub fn read_beside(model: &Path, data: &ExternalData) -> Result<Vec<u8>, String> {
    let folder = model.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fail = |e: std::io::Error| format!("its data in \"{}\" cannot be read: {e}", data.location);
    let folder = folder.canonicalize().map_err(fail)?;
    let path = folder.join(&data.location).canonicalize().map_err(fail)?;
    if !path.starts_with(&folder) {
        return Err(format!("its data in \"{}\" lie outside of the folder of the model", data.location));
    }
    let mut file = File::open(&path).map_err(fail)?;
    let found = file.metadata().map_err(fail)?;
    let end = data.offset.saturating_add(data.length);
    if !found.is_file() || end > found.len() {
        let (location, length) = (&data.location, found.len());
        return Err(format!("its data end at byte {end} of \"{location}\", which has {length} bytes"));
    }
    file.seek(SeekFrom::Start(data.offset)).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(data.length).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_what_lies_beside_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("model"), folder.path().join("secret"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, b"secret").unwrap();
        std::fs::write(inside.join("weights"), b"0123456789").unwrap();
        let read = |location: &str, offset, length| {
            let data = ExternalData { location: location.to_owned(), offset, length };
            read_beside(&inside.join("model.onnx"), &data)
        };
        assert_eq!(read("weights", 2, 3), Ok(b"234".to_vec()));
        assert_eq!(read("weights", 8, 3), Err("its data end at byte 11 of \"weights\", which has 10 bytes".to_owned()));
        assert!(read("weights", u64::MAX, u64::MAX).is_err());
        assert!(read("missing", 0, 1).unwrap_err().starts_with("its data in \"missing\" cannot be read"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
            assert!(read("link", 0, 6).unwrap_err().ends_with("lie outside of the folder of the model"));
        }
    }
}
