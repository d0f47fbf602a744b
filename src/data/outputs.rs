//! Writes a model's outputs.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use super::{DataError, npz, numpy, shape::elements, write_atomically};

/// One output of a model for a batch of samples.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Its name in the model.
    pub name: &'a str,
    /// The batch dimension, then the shape for one sample.
    pub shape: &'a [usize],
    /// Row-major.
    pub values: &'a [f64],
}

/// Writes outputs in the format that the extension of `path` names, so that the file appears whole or not at all:
/// - `.npy`: one output, 64-bit floats;
/// - `.npz`: each output under its name;
/// - `.csv`: one row a sample, the columns of all outputs side by side, `name` or `name_0`, `name_1`, ... above;
/// - `.json`: an object of nested arrays.
///
/// Numbers in text are the shortest that read back the same.
///
/// # Errors
/// If the format is none of these or cannot hold the outputs, or if the operating system refuses.
pub fn write_outputs(path: &Path, outputs: &[Output]) -> Result<(), DataError> {
    check(path, outputs)?;
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let refuse = |expected: &str, found: String, advice: &str| {
        let (expected, advice) = (expected.into(), advice.into());
        Err(DataError::Unsupported { path: path.to_owned(), expected, found, advice })
    };
    match (extension.as_str(), outputs) {
        ("npy", [one]) => write_atomically(path, |file| numpy::write(file, one.shape, one.values)),
        ("npy", _) => refuse("one output for an .npy file", outputs.len().to_string(), "write an .npz file"),
        ("npz", _) => {
            let arrays = outputs.iter().map(|output| (output.name, output.shape, output.values));
            write_atomically(path, |file| npz::write(file, arrays))
        }
        ("csv", [first, rest @ ..]) => {
            let batch = |output: &Output| output.shape.first().copied().unwrap_or(1);
            match rest.iter().find(|output| batch(output) != batch(first)) {
                None => write_atomically(path, |file| write_csv(file, batch(first), outputs)),
                Some(other) => {
                    let found = format!("shapes {:?} and {:?}", first.shape, other.shape);
                    refuse("outputs with the same number of rows", found, "write an .npz or .json file")
                }
            }
        }
        ("json", _) => match outputs.iter().find(|output| output.values.iter().any(|value| !value.is_finite())) {
            None => write_atomically(path, |file| write_json(file, outputs)),
            Some(output) => {
                let found = format!("a value in {} that is NaN or infinite", output.name);
                refuse("finite numbers, as JSON has no others", found, "write an .npy or .csv file")
            }
        },
        _ => refuse("a name ending in .npy, .npz, .csv or .json", format!("{extension:?}"), "rename the output"),
    }
}

/// Refuses outputs whose values do not fill their shapes, or that share a name.
fn check(path: &Path, outputs: &[Output]) -> Result<(), DataError> {
    let refuse = |expected: String, found: String, advice: &str| {
        Err(DataError::Unsupported { path: path.to_owned(), expected, found, advice: advice.into() })
    };
    if let Some(bad) = outputs.iter().find(|output| elements(output.shape) != Some(output.values.len())) {
        let expected = format!("output {} of shape {:?}", bad.name, bad.shape);
        return refuse(expected, format!("{} values", bad.values.len()), "run the model again");
    }
    let mut names = BTreeSet::new();
    match outputs.iter().find(|output| !names.insert(output.name)) {
        Some(twice) => refuse("outputs of different names".into(), format!("{} twice", twice.name), "rename one"),
        None if outputs.is_empty() => refuse("at least one output".into(), "none".into(), "give the model outputs"),
        None => Ok(()),
    }
}

fn write_csv(file: &mut dyn Write, rows: usize, outputs: &[Output]) -> io::Result<()> {
    let columns = |output: &Output| output.values.len().checked_div(rows).unwrap_or(0);
    let headings: Vec<String> = outputs
        .iter()
        .flat_map(|output| {
            let single = columns(output) == 1;
            (0..columns(output))
                .map(move |i| if single { quoted(output.name) } else { quoted(&format!("{}_{i}", output.name)) })
        })
        .collect();
    writeln!(file, "{}", headings.join(","))?;
    for row in 0..rows {
        let cells =
            outputs.iter().flat_map(|output| &output.values[row * columns(output)..(row + 1) * columns(output)]);
        for (i, value) in cells.enumerate() {
            write!(file, "{}{value:?}", if i == 0 { "" } else { "," })?;
        }
        writeln!(file)?;
    }
    Ok(())
}

/// A heading that cannot be taken for several, nor for a number.
fn quoted(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    let name = if name.trim().parse::<f64>().is_ok() { format!("output {name}") } else { name };
    if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name }
}

fn write_json(file: &mut dyn Write, outputs: &[Output]) -> io::Result<()> {
    for (i, output) in outputs.iter().enumerate() {
        file.write_all(if i == 0 { b"{\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *file, output.name)?;
        file.write_all(b": ")?;
        write_nested(file, output.shape, output.values)?;
    }
    file.write_all(b"\n}\n")
}

fn write_nested(file: &mut dyn Write, shape: &[usize], values: &[f64]) -> io::Result<()> {
    let [first, rest @ ..] = shape else {
        return values.iter().try_for_each(|value| Ok(serde_json::to_writer(&mut *file, value)?));
    };
    let size = values.len().checked_div(*first).unwrap_or(0);
    file.write_all(b"[")?;
    for i in 0..*first {
        if i > 0 {
            file.write_all(b", ")?;
        }
        write_nested(file, rest, &values[i * size..(i + 1) * size])?;
    }
    file.write_all(b"]")
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{Element, read_samples};
    use super::*;

    const VALUES: [f64; 6] = [0.1, -1e300, 5e-324, 3.0, -0.0, 1.0 / 3.0];

    #[test]
    fn what_is_written_reads_back() {
        let dir = tests_dir("outputs");
        let logits = Output { name: "a,\"b\"/logits", shape: &[2, 3], values: &VALUES };
        for name in ["a.npy", "a.npz", "a.CSV"] {
            write_outputs(&dir.join(name), &[logits]).unwrap();
            let back = read_samples(&dir.join(name), None, &[3], None);
            let back = back.unwrap();
            assert_eq!((back.count, back.element, &back.values[..]), (2, Element::Float, &VALUES[..]));
        }
        let input = Output { name: "input", shape: &[1], values: &[7.0] };
        write_outputs(&dir.join("two.npz"), &[logits, input]).unwrap();
        assert_eq!(read_samples(&dir.join("two.npz"), None, &[1], None).unwrap().values, [7.0]);
        write_outputs(&dir.join("a.json"), &[logits, input]).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("a.json")).unwrap()).unwrap();
        assert_eq!(json["a,\"b\"/logits"][1][2].as_f64(), Some(1.0 / 3.0));
        assert_eq!(json["input"][0].as_f64(), Some(7.0));
    }

    #[test]
    fn tables_stand_side_by_side() {
        let path = tests_dir("outputs-csv").join("a.csv");
        let class = Output { name: "7", shape: &[2], values: &[4.0, f64::NAN] };
        let logits = Output { name: "logits", shape: &[2, 1, 2], values: &VALUES[..4] };
        write_outputs(&path, &[class, logits]).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "output 7,logits_0,logits_1\n4.0,0.1,-1e300\nNaN,5e-324,3.0\n");
    }

    #[test]
    fn what_cannot_be_written_leaves_no_file() {
        let dir = tests_dir("outputs-errors");
        let one = Output { name: "a", shape: &[2], values: &[1.0, f64::INFINITY] };
        let two = Output { name: "b", shape: &[1, 2], values: &[1.0, 2.0] };
        let wrong = Output { name: "c", shape: &[3], values: &[1.0, 2.0] };
        for (name, outputs) in [
            ("a.npy", &[one, two][..]),
            ("a.npy", &[wrong]),
            ("a.csv", &[one, two]),
            ("a.csv", &[]),
            ("a.npz", &[one, one]),
            ("a.json", &[one]),
            ("a.txt", &[one]),
            ("a", &[one]),
            ("absent/a.npy", &[one]),
        ] {
            assert!(write_outputs(&dir.join(name), outputs).is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    }
}
