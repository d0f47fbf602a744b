//! PNG images, one or a folder of them.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use png::{BitDepth, ColorType, Decoder, DecodingError, Transformations};

use super::shape::{MOST_NUMBERS, elements};
use super::source::{Source, broken};
use super::{DataError, Element, Purpose, Samples, Wanted};

const FORMAT: &str = "PNG image";
/// The largest image file read.
const LARGEST: u64 = 1 << 28;
/// Images that would be left out in silence if they were passed over.
const OTHER_IMAGES: [&str; 9] = ["jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm"];

/// Reads one image as one sample. 16-bit images are scaled to 0 to 255, so that the same preprocessing fits them.
pub(super) fn read_file(source: Source, wanted: &Wanted) -> Result<Samples, DataError> {
    let path = source.path;
    refuse_labels(path, wanted)?;
    let pixels = decode(path, source.read_all(FORMAT, LARGEST)?, wanted)?;
    Samples::collect(path, wanted, pixels, Element::U8)
}

/// Reads the `.png` files in a folder, in the byte order of their names. Hidden files and files that are not images are
/// passed over.
pub(super) fn read_folder(folder: &Path, wanted: &Wanted) -> Result<Samples, DataError> {
    refuse_labels(folder, wanted)?;
    let failed = |source| DataError::Io { path: folder.to_owned(), action: "be listed", source };
    let mut images: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if OTHER_IMAGES.contains(&extension.as_str()) {
            let advice = "convert it to PNG, or move it elsewhere".into();
            return Err(DataError::Unsupported {
                path,
                expected: "only PNG images in the folder".into(),
                found: format!("a .{extension} image"),
                advice,
            });
        }
        if extension == "png" {
            images.push(path);
        }
    }
    if images.is_empty() {
        let found = "a folder without .png files".into();
        return Err(DataError::Empty { path: folder.to_owned(), found, advice: "give a folder of PNG images" });
    }
    images.sort();
    images.truncate(wanted.limit.unwrap_or(usize::MAX));
    let total = elements(wanted.shape).and_then(|size| size.checked_mul(images.len()));
    if total.is_none_or(|total| total > MOST_NUMBERS) {
        let found = format!("{} images", images.len());
        return Err(DataError::TooLarge { path: folder.to_owned(), limit: MOST_NUMBERS, found });
    }
    let mut values = Vec::new();
    for path in &images {
        values.extend(decode(path, Source::open(path)?.read_all(FORMAT, LARGEST)?, wanted)?);
    }
    Samples::collect(folder, wanted, values, Element::U8)
}

fn refuse_labels(path: &Path, wanted: &Wanted) -> Result<(), DataError> {
    match wanted.purpose {
        Purpose::Samples => Ok(()),
        Purpose::Labels => Err(DataError::Unsupported {
            path: path.to_owned(),
            expected: "a file of labels".into(),
            found: "images".into(),
            advice: "store the labels as .npy, or as .csv with one label a row, in the order of the images".into(),
        }),
    }
}

/// The pixels in the order of the wanted shape.
fn decode(path: &Path, bytes: Vec<u8>, wanted: &Wanted) -> Result<Vec<f64>, DataError> {
    let failed = |error| match error {
        DecodingError::IoError(error) => broken(path, FORMAT, &error),
        DecodingError::Format(_) | DecodingError::Parameter(_) | DecodingError::LimitsExceeded => DataError::Damaged {
            path: path.to_owned(),
            format: FORMAT,
            expected: "a PNG image of reasonable size".into(),
            found: error.to_string(),
        },
    };
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = (header.width as usize, header.height as usize);
    // Before any memory is taken for the pixels.
    if width.checked_mul(height).is_none_or(|pixels| Some(pixels) > elements(wanted.shape)) {
        return Err(mismatch(path, wanted, &format!("an image {height} high and {width} wide")));
    }
    let mut reader = decoder.read_info().map_err(failed)?;
    let refuse = |found: &str, advice: &str| {
        let expected = "a still image without transparency".into();
        Err(DataError::Unsupported { path: path.to_owned(), expected, found: found.into(), advice: advice.into() })
    };
    if reader.info().animation_control.is_some() {
        return refuse("an animation", "store each frame as an image");
    }
    let (colour, depth) = reader.output_color_type();
    let (channels, kind) = match colour {
        ColorType::Grayscale => (1, "grey"),
        ColorType::Rgb => (3, "RGB"),
        ColorType::GrayscaleAlpha | ColorType::Rgba | ColorType::Indexed => {
            let advice = "what is behind it would be guessed: flatten it (convert IN.png -background white -alpha \
                          remove -alpha off OUT.png)";
            return refuse("an image with transparency", advice);
        }
    };
    let Some(order) = order(wanted.shape, height, width, channels) else {
        return Err(mismatch(path, wanted, &format!("a {kind} image {height} high and {width} wide")));
    };
    let mut buffer = vec![0; reader.output_buffer_size().unwrap_or(0)];
    reader.next_frame(&mut buffer).map_err(failed)?;
    reader.finish().map_err(failed)?;
    let values: Vec<f64> = if depth == BitDepth::Sixteen {
        // 65535 / 257 = 255.
        buffer.chunks_exact(2).map(|b| f64::from(u16::from(b[0]) << 8 | u16::from(b[1])) / 257.0).collect()
    } else {
        buffer.iter().map(|&byte| f64::from(byte)).collect()
    };
    Ok(match order {
        Order::ChannelsLast => values,
        Order::ChannelsFirst => (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels)).copied().collect(),
    })
}

enum Order {
    ChannelsFirst,
    ChannelsLast,
}

/// How an image lies in a sample of this shape; channels first, as ONNX has them, if both ways fit.
fn order(mut shape: &[usize], height: usize, width: usize, channels: usize) -> Option<Order> {
    while let [1, rest @ ..] = shape
        && shape.len() > 3
    {
        shape = rest;
    }
    match shape {
        [h, w] if [*h, *w, 1] == [height, width, channels] => Some(Order::ChannelsLast),
        [c, h, w] if [*c, *h, *w] == [channels, height, width] => Some(Order::ChannelsFirst),
        [h, w, c] if [*h, *w, *c] == [height, width, channels] => Some(Order::ChannelsLast),
        _ => None,
    }
}

fn mismatch(path: &Path, wanted: &Wanted, found: &str) -> DataError {
    DataError::Shape {
        path: path.to_owned(),
        expected: format!("images for samples of shape {:?}", wanted.shape),
        found: found.into(),
        advice: "scale the image, or convert it to grey (1 channel) or RGB (3 channels), to fit".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{read_labels, read_samples};
    use super::*;

    /// `extra` is appended to the encoder's settings: palette or transparency.
    fn png(
        size: (u32, u32),
        colour: ColorType,
        depth: BitDepth,
        data: &[u8],
        extra: fn(&mut png::Encoder<&mut Vec<u8>>),
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        extra(&mut encoder);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn grey_and_its_prefixes() {
        let path = tests_dir("png").join("a.png");
        let bytes = png((3, 2), ColorType::Grayscale, BitDepth::Eight, &[0, 1, 2, 3, 4, 255], |_| {});
        std::fs::write(&path, &bytes).unwrap();
        for shape in [&[2, 3][..], &[1, 2, 3], &[2, 3, 1], &[1, 1, 2, 3]] {
            let samples = read_samples(&path, None, shape, None).unwrap();
            assert_eq!((samples.values, samples.element), (vec![0.0, 1.0, 2.0, 3.0, 4.0, 255.0], Element::U8));
        }
        for shape in [&[3, 2][..], &[6], &[3, 2, 3], &[1, 3, 2], &[1]] {
            let error = read_samples(&path, None, shape, None).unwrap_err().to_string();
            assert!(error.contains("2 high and 3 wide"), "{error}");
        }
        assert!(read_labels(&path, None).unwrap_err().to_string().contains("found images"));
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(read_samples(&path, None, &[2, 3], None).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x55;
            std::fs::write(&path, garbled).unwrap();
            let _ = read_samples(&path, None, &[2, 3], None);
        }
    }

    #[test]
    fn colour_depth_and_palette() {
        let path = tests_dir("png-colour").join("a.png");
        let write = |bytes: Vec<u8>| std::fs::write(&path, bytes).unwrap();
        write(png((2, 1), ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6], |_| {}));
        assert_eq!(read_samples(&path, None, &[3, 1, 2], None).unwrap().values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(read_samples(&path, None, &[1, 2, 3], None).unwrap().values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert!(read_samples(&path, None, &[1, 1, 2], None).unwrap_err().to_string().contains("RGB image"));
        write(png((2, 1), ColorType::Grayscale, BitDepth::Sixteen, &[255, 255, 1, 1], |_| {}));
        assert_eq!(read_samples(&path, None, &[1, 2], None).unwrap().values, [255.0, 1.0]);
        write(png((2, 1), ColorType::Grayscale, BitDepth::One, &[0b0100_0000], |_| {}));
        assert_eq!(read_samples(&path, None, &[1, 2], None).unwrap().values, [0.0, 255.0]);
        let palette: fn(&mut png::Encoder<&mut Vec<u8>>) = |e| e.set_palette(vec![9, 8, 7, 1, 2, 3]);
        write(png((2, 1), ColorType::Indexed, BitDepth::Eight, &[1, 0], palette));
        assert_eq!(read_samples(&path, None, &[1, 2, 3], None).unwrap().values, [1.0, 2.0, 3.0, 9.0, 8.0, 7.0]);
        let transparent: fn(&mut png::Encoder<&mut Vec<u8>>) = |e| {
            e.set_palette(vec![9, 8, 7, 1, 2, 3]);
            e.set_trns(vec![0]);
        };
        write(png((2, 1), ColorType::Indexed, BitDepth::Eight, &[1, 0], transparent));
        assert!(read_samples(&path, None, &[1, 2, 3], None).unwrap_err().to_string().contains("transparency"));
        write(png((1, 1), ColorType::Rgba, BitDepth::Eight, &[1, 0, 0, 255], |_| {}));
        assert!(read_samples(&path, None, &[1, 1, 3], None).unwrap_err().to_string().contains("transparency"));
    }

    #[test]
    fn huge_sizes_are_errors() {
        let path = tests_dir("png-huge").join("a.png");
        let mut bytes = png((1, 1), ColorType::Grayscale, BitDepth::Eight, &[0], |_| {});
        bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        let mut checksum = flate2::Crc::new();
        checksum.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = read_samples(&path, None, &[1, 1], None).unwrap_err().to_string();
        assert!(error.contains("2147483647 high"), "{error}");
    }

    #[test]
    fn folders_are_read_in_order_of_names() {
        let dir = tests_dir("png-folder");
        assert!(read_samples(&dir, None, &[1, 1], None).unwrap_err().to_string().contains("without .png"));
        for (name, value) in [("b.png", 2), ("a.PNG", 1), ("c.png", 3)] {
            let bytes = png((1, 1), ColorType::Grayscale, BitDepth::Eight, &[value], |_| {});
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        std::fs::write(dir.join(".hidden.png"), b"").unwrap();
        std::fs::write(dir.join("labels.csv"), b"1\n2\n3\n").unwrap();
        assert_eq!(read_samples(&dir, None, &[1, 1], None).unwrap().values, [1.0, 2.0, 3.0]);
        std::fs::write(dir.join("c.png"), b"damaged").unwrap();
        assert_eq!(read_samples(&dir, None, &[1, 1], Some(2)).unwrap().values, [1.0, 2.0]);
        assert!(read_samples(&dir, None, &[1, 1], None).unwrap_err().to_string().contains("c.png"));
        std::fs::write(dir.join("d.jpg"), b"").unwrap();
        assert!(read_samples(&dir, None, &[1, 1], None).unwrap_err().to_string().contains("d.jpg"));
    }
}
