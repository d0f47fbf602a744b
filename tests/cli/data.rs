//! Samples from every format, outputs to every format, and data that do not fit the model.

use std::fs::{self, File};
use std::io::Read;

use flate2::read::GzDecoder;
use ndarray::{Array1, Array2, Array4, ArrayD, s};
use ndarray_npy::{NpzReader, NpzWriter, read_npy, write_npy};
use onnx_protobuf::{Message, TensorProto};
use serde_json::Value;

use crate::common::{Onnx, repository, tensor};
use crate::process::{Folder, Said, model};

const SAMPLES: usize = 4;

/// The first test images of MNIST.
fn images() -> Array4<u8> {
    let file = File::open(repository("models/data/mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    let mut bytes = vec![0; 16 + SAMPLES * 784];
    GzDecoder::new(file).read_exact(&mut bytes).unwrap();
    Array4::from_shape_vec((SAMPLES, 1, 28, 28), bytes.split_off(16)).unwrap()
}

/// As the model wants them.
fn scaled() -> Array4<f32> {
    images().mapv(|pixel| f32::from(pixel) / 255.0)
}

fn png(width: usize, height: usize, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

fn csv<T: ToString>(rows: &Array2<T>) -> String {
    let row = |row: ndarray::ArrayView1<'_, T>| row.iter().map(T::to_string).collect::<Vec<_>>().join(",");
    rows.rows().into_iter().map(row).collect::<Vec<_>>().join("\n")
}

fn plain(folder: &Folder, arguments: &[&str]) -> Said {
    folder.hec(&[&["run", &model("cryptonets-mnist"), "--backend", "plain", "--json"], arguments].concat())
}

/// What the model answers for this input.
fn logits(folder: &Folder, arguments: &[&str]) -> Vec<f64> {
    plain(folder, &[arguments, &["--output", "logits.npy"]].concat()).ok();
    let logits: Array2<f64> = read_npy(folder.path("logits.npy")).unwrap();
    assert_eq!(logits.dim(), (SAMPLES, 10));
    logits.into_iter().collect()
}

#[test]
fn the_same_images_in_every_format() {
    let folder = Folder::new();
    let (images, scaled) = (images(), scaled());
    let expected = logits(&folder, &["--limit", "4"]);

    let flat = images.to_shape((SAMPLES, 784)).unwrap().to_owned();
    let flat_scaled = scaled.to_shape((SAMPLES, 784)).unwrap().to_owned();
    let idx = [&[0, 0, 8, 3, 0, 0, 0, SAMPLES as u8, 0, 0, 0, 28, 0, 0, 0, 28][..], flat.as_slice().unwrap()].concat();
    folder.write("images.idx", idx);
    write_npy(folder.path("bytes.npy"), &images).unwrap();
    write_npy(folder.path("floats.npy"), &scaled).unwrap();
    write_npy(folder.path("doubles.npy"), &scaled.mapv(f64::from)).unwrap();
    write_npy(folder.path("no_channel.npy"), &images.slice(s![.., 0, .., ..])).unwrap();
    let mut npz = NpzWriter::new_compressed(File::create(folder.path("images.npz")).unwrap());
    npz.add_array("images", &images).unwrap();
    npz.finish().unwrap();
    folder.write("bytes.csv", csv(&flat));
    folder.write("floats.csv", csv(&flat_scaled));
    let dims = [SAMPLES as i64, 1, 28, 28];
    folder.write("floats.pb", tensor("x", &dims, flat_scaled.as_slice().unwrap()).write_to_bytes().unwrap());
    let bytes = TensorProto {
        data_type: 2,
        dims: dims.to_vec(),
        raw_data: flat.iter().copied().collect(),
        ..TensorProto::new()
    };
    folder.write("bytes.pb", bytes.write_to_bytes().unwrap());
    fs::create_dir(folder.path("pngs")).unwrap();
    for (i, pixels) in flat.rows().into_iter().enumerate() {
        folder.write(&format!("pngs/{i}.png"), png(28, 28, &pixels.to_vec()));
    }

    let formats = [
        "images.idx",
        "bytes.npy",
        "floats.npy",
        "doubles.npy",
        "no_channel.npy",
        "images.npz",
        "bytes.csv",
        "floats.csv",
        "floats.pb",
        "bytes.pb",
        "pngs",
    ];
    for format in formats {
        let found = logits(&folder, &["--input", format]);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{format}: {found}, not {expected}");
        }
        assert_eq!(logits(&folder, &["--input", &format!("image={format}")]), found, "{format}");
    }
    let one = folder.path("pngs/2.png");
    let report = plain(&folder, &["--input", one.to_str().unwrap()]).json();
    assert_eq!((&report["samples"], &report["accuracy"]), (&1.into(), &Value::Null));
}

#[test]
fn labels_in_every_format() {
    let folder = Folder::new();
    write_npy(folder.path("x.npy"), &images()).unwrap();
    let labels = Array1::from_vec(vec![7_i64, 2, 1, 0]);
    write_npy(folder.path("y.npy"), &labels).unwrap();
    folder.write("y.csv", "label\n7\n2\n1\n0\n");
    folder.write("y.idx", [0, 0, 8, 1, 0, 0, 0, 4, 7, 2, 1, 0]);
    for file in ["y.npy", "y.csv", "y.idx"] {
        assert_eq!(plain(&folder, &["--input", "x.npy", "--labels", file]).json()["accuracy"], 1.0, "{file}");
    }
    folder.write("half.csv", "7\n2\n5\n5\n");
    assert_eq!(plain(&folder, &["--input", "x.npy", "--labels", "half.csv"]).json()["accuracy"], 0.5);
}

#[test]
fn outputs_in_every_format() {
    let folder = Folder::new();
    let expected = logits(&folder, &["--limit", "4"]);
    for format in ["npz", "csv", "json"] {
        plain(&folder, &["--limit", "4", "--output", &format!("out.{format}")]).ok();
    }
    let mut npz = NpzReader::new(File::open(folder.path("out.npz")).unwrap()).unwrap();
    let array: ArrayD<f64> = npz.by_name("logits").unwrap();
    assert_eq!(array.shape(), [SAMPLES, 10]);
    assert_eq!(array.into_iter().collect::<Vec<_>>(), expected);

    let csv = String::from_utf8(folder.read("out.csv")).unwrap();
    let mut lines = csv.lines();
    let names: Vec<String> = (0..10).map(|i| format!("logits_{i}")).collect();
    assert_eq!(lines.next(), Some(names.join(",").as_str()));
    let cells: Vec<f64> = lines.flat_map(|line| line.split(',').map(|cell| cell.parse::<f64>().unwrap())).collect();
    assert_eq!(cells, expected);

    let json: Value = serde_json::from_slice(&folder.read("out.json")).unwrap();
    let rows = json["logits"].as_array().unwrap();
    assert_eq!(rows.len(), SAMPLES);
    let cells = rows.iter().flat_map(|row| row.as_array().unwrap()).map(|cell| cell.as_f64().unwrap());
    // serde_json reads numbers to within a bit.
    assert!(cells.zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-12));

    plain(&folder, &["--limit", "4", "--output", "out.txt"]).error_with(&["out.txt", ".npy, .npz, .csv or .json"]);
    plain(&folder, &["--limit", "4", "--output", "absent/out.npy"]).error_with(&["absent", "cannot be written"]);
    assert_eq!(folder.names(), ["logits.npy", "out.csv", "out.json", "out.npz"]);
}

#[test]
fn threads_do_not_change_the_answers() {
    let folder = Folder::new();
    let run = |threads: &str| {
        let arguments = ["--limit", "4", "--backend", "plain-circuit", "--threads", threads, "--output", "out.npy"];
        folder.hec(&[&["run", &model("cryptonets-mnist"), "--json"][..], &arguments].concat()).ok();
        folder.read("out.npy")
    };
    assert_eq!(run("1"), run("3"));
    plain(&folder, &["--threads", "0"]).usage_with("--threads");
    plain(&folder, &["--limit", "0"]).usage_with("--limit");
}

#[test]
fn samples_that_do_not_fit() {
    let folder = Folder::new();
    let wrong = |name: &str, parts: &[&str]| {
        plain(&folder, &["--input", name]).error_with(&[&[name, "expected", "found"], parts].concat());
    };
    let scaled = scaled();
    write_npy(folder.path("small.npy"), &scaled.slice(s![.., .., 1.., ..])).unwrap();
    wrong("small.npy", &["[1, 28, 28]", "[4, 1, 27, 28]"]);
    write_npy(folder.path("flat.npy"), &scaled.to_shape((SAMPLES, 784)).unwrap()).unwrap();
    wrong("flat.npy", &["[4, 784]", "reshape"]);
    write_npy(folder.path("large.npy"), &(&scaled * 255.0)).unwrap();
    wrong("large.npy", &["between 0 and 1", "84", "sample 0", "preprocessing"]);
    write_npy(folder.path("negative.npy"), &(&scaled - 0.5)).unwrap();
    wrong("negative.npy", &["between 0 and 1", "-0.5"]);
    let mut nan = scaled.clone();
    nan[[2, 0, 5, 5]] = f32::NAN;
    write_npy(folder.path("nan.npy"), &nan).unwrap();
    wrong("nan.npy", &["finite", "NaN", "sample 2"]);
    write_npy(folder.path("none.npy"), &Array4::<f32>::zeros((0, 1, 28, 28))).unwrap();
    wrong("none.npy", &["at least one sample"]);
    folder.write("short.csv", "1,2,3\n");
    wrong("short.csv", &["784 columns", "3 columns"]);
    folder.write("words.csv", format!("0{}\n{}x\n", ",1".repeat(783), "0,".repeat(783)));
    wrong("words.csv", &["row 2", "\"x\"", "column 784"]);
    folder.write("wide.png", png(30, 28, &[0; 30 * 28]));
    wrong("wide.png", &["28 high and 30 wide"]);
    fs::create_dir(folder.path("folder")).unwrap();
    wrong("folder", &["without .png"]);

    let refused = |name: &str, parts: &[&str]| plain(&folder, &["--input", name]).error_with(parts);
    folder.write("empty.npy", b"");
    refused("empty.npy", &["empty.npy", "empty"]);
    folder.write("photo.jpg", b"\xff\xd8\xff\xe0");
    refused("photo.jpg", &["photo.jpg", "IDX, .npy"]);
    let bytes = fs::read(folder.path("large.npy")).unwrap();
    folder.write("cut.npy", &bytes[..bytes.len() / 2]);
    refused("cut.npy", &["cut.npy", "damaged"]);
    refused("absent.npy", &["absent.npy", "cannot be read"]);
    refused("pixels=large.npy", &["pixels=large.npy", "\"image\"", "NAME=PATH"]);
}

#[test]
fn labels_that_do_not_fit() {
    let folder = Folder::new();
    write_npy(folder.path("x.npy"), &scaled()).unwrap();
    let wrong = |name: &str, parts: &[&str]| {
        plain(&folder, &["--input", "x.npy", "--labels", name])
            .error_with(&[&[name, "expected", "found"], parts].concat());
    };
    folder.write("three.csv", "7\n2\n1\n");
    wrong("three.csv", &["label for each of 4 samples", "found 3"]);
    folder.write("five.csv", "7\n2\n1\n0\n4\n");
    wrong("five.csv", &["label for each of 4 samples", "found 5"]);
    folder.write("fraction.csv", "7\n2.5\n1\n0\n");
    wrong("fraction.csv", &["whole numbers", "2.5"]);
    folder.write("negative.csv", "7\n-2\n1\n0\n");
    wrong("negative.csv", &["whole numbers", "-2"]);
    write_npy(folder.path("onehot.npy"), &Array2::<f32>::zeros((SAMPLES, 10))).unwrap();
    wrong("onehot.npy", &["argmax"]);
}

#[test]
fn an_unknown_backend_lists_the_known() {
    let said = Folder::new().hec(&["run", &model("cryptonets-mnist"), "--backend", "gpu"]);
    said.error_with(&["there is no backend \"gpu\"", "\n  he-ckks ", "\n  plain ", "\n  plain-circuit ", "\n  sim "]);
}

#[test]
fn several_inputs_are_given_by_name() {
    let folder = Folder::new();
    let model = Onnx::new().input("a", &[2]).input("b", &[2]).node("Mul", &["a", "b"], "y").output("y");
    folder.write("two.onnx", model.bytes());
    folder.write("a.csv", "1,2\n3,4\n5,6\n");
    folder.write("b.csv", "0.5,0.25\n1,1\n0,1\n");
    let run =
        |arguments: &[&str]| folder.hec(&[&["run", "two.onnx", "--json", "--output", "y.csv"], arguments].concat());
    for backend in ["plain", "plain-circuit", "he-ckks"] {
        run(&["--backend", backend, "--input", "b=b.csv", "--input", "a=a.csv", "--input-range", "0", "8"]).ok();
        let text = String::from_utf8(folder.read("y.csv")).unwrap();
        let found = text.lines().skip(1).flat_map(|line| line.split(',').map(|cell| cell.parse::<f64>().unwrap()));
        for (found, expected) in found.zip([0.5, 0.5, 3.0, 4.0, 0.0, 6.0]) {
            assert!((found - expected).abs() < 0.02, "{backend}: {found}, not {expected}");
        }
    }
    let plain = |arguments: &[&str]| run(&[&["--backend", "plain"], arguments].concat());
    plain(&["--input", "a.csv"]).error_with(&["\"a\", \"b\"", "NAME=PATH"]);
    plain(&["--input", "a=a.csv"]).error_with(&["no samples for input \"b\""]);
    plain(&["--input", "a=a.csv", "--input", "c=b.csv"]).error_with(&["c=b.csv", "\"a\", \"b\""]);
    folder.write("short.csv", "1,1\n");
    plain(&["--input", "a=a.csv", "--input", "b=short.csv"]).error_with(&["3", "1"]);
}
