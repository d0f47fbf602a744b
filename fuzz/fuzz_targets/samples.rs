//! Samples and labels in every format that the command line reads. Three bytes say how the rest is read.
#![no_main]

use hec_fuzz::data::{read_labels, read_samples};
use hec_fuzz::{EXTENSIONS, SHAPES, Scratch, gzipped};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(([name, shape, how], content)) = bytes.split_first_chunk::<3>() else { return };
    let extension = EXTENSIONS[usize::from(*name) % EXTENSIONS.len()];
    let shape = SHAPES[usize::from(*shape) % SHAPES.len()];
    let zipped = how & 1 != 0;
    let extension = if zipped { format!("{extension}.gz") } else { extension.to_owned() };
    let scratch = Scratch::new(&extension, &if zipped { gzipped(content) } else { content.to_vec() });
    let limit = (how & 2 != 0).then_some(2);
    if let Ok(samples) = read_samples(scratch.path(), Some("x"), shape, limit) {
        let elements: usize = shape.iter().product();
        assert!(samples.values.len() == samples.count * elements && samples.values.iter().all(|v| v.is_finite()));
    }
    let _ = read_labels(scratch.path(), limit);
});
