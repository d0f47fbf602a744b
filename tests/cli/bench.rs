//! `hec bench`: what it prints.

use crate::common::small;
use crate::process::Folder;

/// Its lines.
fn bench(arguments: &[&str]) -> Vec<String> {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", "0.5,0.25,0,1\n0.5,0.25,0,1\n");
    let common = ["bench", "small.onnx", "--input", "x.csv", "--runs", "1", "--cold"];
    let said = folder.hec(&[&common[..], arguments].concat()).ok();
    said.stdout.lines().map(str::to_owned).collect()
}

/// The numbers before percent signs.
fn percents(line: &str) -> Vec<f64> {
    let parts: Vec<&str> = line.split(" %").collect();
    let number = |part: &&str| part.rsplit(' ').next().unwrap().parse().unwrap();
    parts[..parts.len() - 1].iter().map(number).collect()
}

#[test]
fn shares_of_phases_and_memory() {
    let lines = bench(&["--threads", "1"]);
    assert!(lines[0].starts_with("compiled in ") && lines[0].ends_with(" s"), "{lines:?}");
    assert!(lines[1].contains("2 samples a run"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.trim_start().starts_with("share")).count(), 1, "{lines:?}");
    let shares = percents(&lines[4]);
    assert_eq!(shares.len(), 3, "{lines:?}");
    assert!((shares.iter().sum::<f64>() - 100.0).abs() < 0.2, "{lines:?}");
    let memory = lines.last().unwrap();
    for part in ["memory stated: ciphertexts ", "evaluation keys ", "measured: process ", " MB"] {
        assert!(memory.contains(part), "expected {part:?} in {lines:?}");
    }
}

#[test]
fn layers_when_asked_for() {
    let lines = bench(&["--layers"]);
    let head = lines.iter().position(|line| line.contains("operation")).unwrap();
    let rows = &lines[head + 1..];
    for part in ["combine      /hidden", "square       /squared", "combine      /y"] {
        assert_eq!(rows.iter().filter(|row| row.ends_with(part)).count(), 1, "expected {part:?} once in {rows:?}");
    }
    let total: f64 = rows.iter().flat_map(|row| percents(row)).sum();
    assert!((total - 100.0).abs() < 0.1 * rows.len() as f64, "{rows:?}");
    assert!(!bench(&["--threads", "1"]).iter().any(|line| line.contains("operation")));
}
