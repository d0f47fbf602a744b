//! IDX, the format of MNIST: `0 0 type rank`, `rank` big-endian `u32` dimensions, big-endian numbers.
//! Source: <http://yann.lecun.com/exdb/mnist/>.

use std::io::Read;

use super::source::{Source, broken};
use super::stream::{Encoding, Stream};
use super::{DataError, Samples, Wanted, shape};

const FORMAT: &str = "IDX file";

pub(super) fn read(mut source: Source, wanted: &Wanted) -> Result<Samples, DataError> {
    let path = source.path;
    let mut head = [0; 4];
    source.reader.read_exact(&mut head).map_err(|error| broken(path, FORMAT, &error))?;
    let [_, _, kind, rank] = head;
    let encoding = match kind {
        0x08 => Encoding::U8,
        0x09 => Encoding::I8,
        0x0b => Encoding::I16,
        0x0c => Encoding::I32,
        0x0d => Encoding::F32,
        0x0e => Encoding::F64,
        _ => {
            return Err(DataError::Damaged {
                path: path.to_owned(),
                format: FORMAT,
                expected: "a type of 08, 09, 0b, 0c, 0d or 0e in its third byte".into(),
                found: format!("{kind:02x}"),
            });
        }
    };
    let mut dimensions = vec![0; 4 * usize::from(rank)];
    source.reader.read_exact(&mut dimensions).map_err(|error| broken(path, FORMAT, &error))?;
    // Lossless: decoded from 32 bits.
    let dimensions: Vec<usize> = dimensions.chunks_exact(4).map(|b| Encoding::U32.decode(b, true) as usize).collect();
    let plan = shape::plan(path, &dimensions, wanted, true)?;
    let header = 4 + 4 * u64::from(rank);
    let stream = Stream {
        path,
        format: FORMAT,
        encoding,
        big_endian: true,
        fortran: false,
        left: source.length.map(|length| length.saturating_sub(header)),
        reader: &mut source.reader,
    };
    Samples::collect(path, wanted, stream.read(&plan)?, encoding.element())
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{Element, read_labels, read_samples};
    use super::*;
    use std::io::Write;

    fn idx(kind: u8, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, kind, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_gzipped_read_alike_and_prefixes_fail() {
        let path = tests_dir("idx").join("images-idx3-ubyte");
        let plain = idx(8, &[3, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]);
        for bytes in [plain.clone(), gz(&plain)] {
            std::fs::write(&path, &bytes).unwrap();
            let samples = read_samples(&path, None, &[1, 2, 2], None).unwrap();
            assert_eq!((samples.count, samples.element), (3, Element::U8));
            assert_eq!(samples.values[..4], [0.0, 1.0, 2.0, 3.0]);
            assert_eq!(samples.values[11], 255.0);
            assert_eq!(read_samples(&path, None, &[4], Some(2)).unwrap().values.len(), 8);
            assert_eq!(read_samples(&path, None, &[2, 2, 1], Some(9)).unwrap().count, 3);
            for end in 0..bytes.len() {
                std::fs::write(&path, &bytes[..end]).unwrap();
                assert!(read_samples(&path, None, &[1, 2, 2], None).is_err(), "{end}");
            }
            let mut longer = bytes.clone();
            longer.push(0);
            std::fs::write(&path, &longer).unwrap();
            assert!(read_samples(&path, None, &[1, 2, 2], None).is_err());
        }
    }

    #[test]
    fn a_limit_does_not_unpack_the_rest() {
        let path = tests_dir("idx-limit").join("a.gz");
        let whole = gz(&idx(8, &[100_000, 4], &(0..400_000_u64).map(|i| (i * i / 7) as u8).collect::<Vec<_>>()));
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(read_samples(&path, None, &[4], Some(1)).unwrap().count, 1);
        assert!(read_samples(&path, None, &[4], None).is_err());
    }

    #[test]
    fn huge_headers_are_errors() {
        let path = tests_dir("idx-huge").join("a");
        for dimensions in [&[u32::MAX, 1024][..], &[1 << 20, 1024], &[u32::MAX; 255], &[1 << 31, 1 << 31, 1 << 31]] {
            for bytes in [idx(8, dimensions, &[0; 100]), gz(&idx(8, dimensions, &[0; 100]))] {
                std::fs::write(&path, bytes).unwrap();
                assert!(read_samples(&path, None, &[1024], None).is_err());
            }
        }
        std::fs::write(&path, idx(0x0a, &[1], &[0])).unwrap();
        assert!(read_samples(&path, None, &[1], None).unwrap_err().to_string().contains("third byte"));
    }

    #[test]
    fn numbers_that_are_not_finite_name_their_sample() {
        let path = tests_dir("idx-nan").join("a");
        let data: Vec<u8> = [0.0, 1.0, f32::NAN, 0.0].iter().flat_map(|v: &f32| v.to_be_bytes()).collect();
        std::fs::write(&path, idx(0x0d, &[2, 2], &data)).unwrap();
        let error = read_samples(&path, None, &[2], None).unwrap_err();
        assert!(matches!(error, DataError::NotFinite { sample: 1, .. }), "{error}");
        assert_eq!(read_samples(&path, None, &[2], Some(1)).unwrap().values, [0.0, 1.0]);
    }

    #[test]
    fn labels() {
        let path = tests_dir("idx-labels").join("labels-idx1-ubyte");
        std::fs::write(&path, idx(8, &[3], &[7, 0, 255])).unwrap();
        assert_eq!(read_labels(&path, None).unwrap(), [7, 0, 255]);
        assert_eq!(read_labels(&path, Some(1)).unwrap(), [7]);
        std::fs::write(&path, idx(9, &[3], &[7, 0, 255])).unwrap();
        let error = read_labels(&path, None).unwrap_err();
        assert!(matches!(error, DataError::Label { sample: 2, value: -1.0, .. }), "{error}");
        std::fs::write(&path, idx(8, &[1, 3], &[7, 0, 255])).unwrap();
        assert!(read_labels(&path, None).unwrap_err().to_string().contains("one-hot"));
    }
}
