//! `.npz`: a zip file of `.npy` arrays.

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::source::{Source, broken};
use super::{DataError, Purpose, Samples, Wanted, numpy};

const FORMAT: &str = ".npz archive";

/// Reads the only array, or else the one whose name says that it is wanted.
pub(super) fn read(source: Source, wanted: &Wanted) -> Result<Samples, DataError> {
    let path = source.path;
    // A second handle: the directory of a zip file is at its end.
    let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), action: "be read", source })?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(path, error))?;
    let names: Vec<String> = archive.file_names().filter(|name| !name.ends_with('/')).map(str::to_owned).collect();
    let entry = choose(path, &names, wanted)?.to_owned();
    let mut array = archive.by_name(&entry).map_err(|error| damaged(path, error))?;
    numpy::read_from(path, &mut array, None, wanted)
}

/// Writes arrays of 64-bit floats: names, shapes and row-major values.
pub(super) fn write<'a, W: Write + Seek>(
    out: W,
    arrays: impl Iterator<Item = (&'a str, &'a [usize], &'a [f64])>,
) -> io::Result<()> {
    let mut archive = ZipWriter::new(out);
    for (name, shape, values) in arrays {
        // Stored, as numpy.savez does; sizes above 4 GiB need the larger header.
        let large = values.len() >= 1 << 28;
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        archive.start_file(format!("{name}.npy"), options)?;
        numpy::write(&mut archive, shape, values)?;
    }
    archive.finish()?;
    Ok(())
}

fn choose<'a>(path: &Path, entries: &'a [String], wanted: &Wanted) -> Result<&'a str, DataError> {
    let preferred = match wanted.purpose {
        Purpose::Samples => ["input", "x"],
        Purpose::Labels => ["labels", "y"],
    };
    let name = |entry: &'a str| entry.strip_suffix(".npy").unwrap_or(entry);
    if let Some(own) = entries.iter().find(|entry| wanted.name == Some(name(entry))) {
        return Ok(own);
    }
    if let [only] = entries {
        return Ok(only);
    }
    let chosen = preferred.iter().find_map(|wanted| entries.iter().find(|entry| name(entry) == *wanted));
    chosen.map(String::as_str).ok_or_else(|| {
        let mut there = entries.iter().take(20).map(|entry| name(entry)).collect::<Vec<_>>().join(", ");
        if entries.len() > 20 {
            there += ", ...";
        }
        DataError::Unsupported {
            path: path.to_owned(),
            expected: format!("one array, or one called {} or {}", preferred[0], preferred[1]),
            found: format!("{} arrays: {there}", entries.len()),
            advice: format!("store the array to use under the name {}", preferred[0]),
        }
    })
}

fn damaged(path: &Path, error: ZipError) -> DataError {
    if let ZipError::Io(error) = error {
        return broken(path, FORMAT, &error);
    }
    DataError::Damaged {
        path: path.to_owned(),
        format: FORMAT,
        expected: "a zip file of arrays, stored or deflated".into(),
        found: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{read_labels, read_samples};
    use super::*;
    use std::io::Cursor;

    fn npz(arrays: &[(&str, &[usize], &[f64])]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        write(&mut bytes, arrays.iter().copied()).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn the_named_array_is_chosen() {
        let path = tests_dir("npz").join("a.npz");
        let bytes = npz(&[("y", &[2], &[7.0, 1.0]), ("other", &[1], &[0.0]), ("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_samples(&path, None, &[2], None).unwrap().values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(read_samples(&path, None, &[2], Some(1)).unwrap().values, [1.0, 2.0]);
        assert_eq!(read_labels(&path, None).unwrap(), [7, 1]);
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(read_samples(&path, None, &[2], None).is_err(), "{end}");
        }
    }

    #[test]
    fn one_array_needs_no_name_and_several_are_listed() {
        let path = tests_dir("npz-names").join("a.npz");
        std::fs::write(&path, npz(&[("arr_0", &[1, 2], &[1.0, 2.0])])).unwrap();
        assert_eq!(read_samples(&path, None, &[2], None).unwrap().values, [1.0, 2.0]);
        std::fs::write(&path, npz(&[("a", &[1], &[1.0]), ("b", &[1], &[1.0])])).unwrap();
        assert_eq!(read_samples(&path, Some("b"), &[1], None).unwrap().values, [1.0]);
        let error = read_samples(&path, Some("c"), &[1], None).unwrap_err().to_string();
        assert!(error.contains("2 arrays: a, b") && error.contains("input or x"), "{error}");
        std::fs::write(&path, npz(&[])).unwrap();
        assert!(read_samples(&path, None, &[1], None).unwrap_err().to_string().contains("0 arrays"));
    }

    #[test]
    fn compressed_archives_are_read_and_flipped_bits_found() {
        let path = tests_dir("npz-deflate").join("a.npz");
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        archive.start_file("input.npy", options).unwrap();
        numpy::write(&mut archive, &[4], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let bytes = archive.finish().unwrap().into_inner();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_samples(&path, None, &[4], None).unwrap().values, [1.0, 2.0, 3.0, 4.0]);
        // None may panic; what still reads must be the same numbers.
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            if let Ok(samples) = read_samples(&path, None, &[4], None) {
                assert_eq!(samples.values, [1.0, 2.0, 3.0, 4.0]);
            }
        }
    }
}
