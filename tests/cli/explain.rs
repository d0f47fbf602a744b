//! `hec explain`: the page, in itself and in a browser.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Onnx, small};
use crate::process::{Folder, model};

const SECTIONS: [&str; 6] = ["network", "cost", "layers", "fits", "precision", "security"];

fn text(folder: &Folder, name: &str) -> String {
    String::from_utf8(folder.read(name)).unwrap()
}

#[test]
fn a_model_and_its_program_are_explained() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    let said = folder.hec(&["explain", "small.hec", "-o", "program.html"]).ok();
    assert!(said.stdout.starts_with("wrote program.html ("), "{said:?}");
    folder.hec(&["explain", "small.onnx"]).ok();
    for page in [text(&folder, "program.html"), text(&folder, "small.html")] {
        for section in SECTIONS {
            assert_eq!(page.matches(&format!("<section id=\"{section}\">")).count(), 1, "{section}");
        }
        assert!(page.contains("client encrypts") && page.contains("client decrypts"));
        // Nothing is loaded, nothing runs.
        for part in ["http:", "https:", "<script", " src=", "@import", "url(\"", "javascript:"] {
            assert!(!page.contains(part), "{part:?}");
        }
    }
    assert!(text(&folder, "small.html").contains("precision expected"));
    folder.hec(&["explain", "small.onnx", "-o", "again.html"]).ok();
    assert!(folder.read("again.html") == folder.read("small.html"), "two pages of one model differ");
}

/// Its ReLU is replaced by a polynomial on its calibration samples.
#[test]
fn fits_are_drawn_over_histograms() {
    let folder = Folder::new();
    folder.hec(&["explain", &model("breast-cancer"), "-o", "fits.html"]).ok();
    let page = text(&folder, "fits.html");
    for part in ["class=\"exact\"", "class=\"fit\"", "class=\"count\"", "held-back samples", "id=\"decisions\""] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn names_from_a_model_stay_text() {
    let hostile = "<script>alert('1')</script><img src=x onerror=\"alert(2)\">&amp;";
    let folder = Folder::new();
    let onnx = Onnx::new().input(hostile, &[2]).node("Mul", &[hostile, hostile], "squared</title></svg><script>");
    folder.write("hostile.onnx", onnx.output("squared</title></svg><script>").bytes());
    folder.hec(&["explain", "hostile.onnx"]).ok();
    let page = text(&folder, "hostile.html");
    for part in ["<script", "<img", "alert('1')", "\"alert(2)\"", "</title></svg>"] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)"));
    browse(&folder, "hostile.html");
}

#[test]
fn measured_times_stand_beside_the_predicted_ones() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", "0.5,0.25,1,0\n0,1,0,1\n");
    folder.hec(&["compile", "small.onnx"]).ok();
    let run = ["run", "small.hec", "--input", "x.csv", "--measured", "run.json"];
    folder.hec(&run).ok();
    let measured: serde_json::Value = serde_json::from_slice(&folder.read("run.json")).unwrap();
    let nodes = measured["nodes"].as_array().unwrap();
    assert!(
        nodes.iter().all(|node| node["seconds"].as_f64() >= Some(0.0) && node["op"].as_str() != Some("")),
        "{nodes:?}"
    );
    assert!(nodes.iter().any(|node| node["seconds"].as_f64() > Some(0.0)));
    assert_eq!((measured["samples"].as_u64(), measured["backend"].as_str()), (Some(2), Some("he-ckks")));
    folder.hec(&["explain", "small.hec", "--measured", "run.json"]).ok();
    let page = text(&folder, "small.html");
    assert!(page.contains("fill measured") && page.contains("The measured run"));

    folder.hec(&["compile", &model("cryptonets-mnist"), "-o", "other.hec"]).ok();
    let explain = |file: &str| folder.hec(&["explain", "other.hec", "--measured", file, "-o", "never.html"]);
    explain("run.json").error_with(&["run.json", "measured on another program"]);
    folder.write("bad.json", "{\"measured\": 7}");
    explain("bad.json").error_with(&["bad.json", "version 1"]);
    folder.write("bad.json", "{\"measured\": 1, \"nodes\": []}");
    explain("bad.json").error_with(&["bad.json", "\"keygen\" is missing"]);
    explain("absent.json").error_with(&["absent.json", "cannot be read"]);
    let plain = [&run[..], &["--backend", "plain"]].concat();
    folder.hec(&plain).error_with(&["--measured", "another --backend"]);
    assert!(!folder.names().contains(&"never.html".to_owned()));
}

#[test]
fn compiling_ends_with_the_short_form() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    let said = folder.hec(&["compile", "small.onnx"]).ok().stdout;
    let short = said.split_once("in short").unwrap().1;
    for part in ["cost ", "dominated by ", "security ", "precision ", "hec explain"] {
        assert!(short.contains(part), "expected {part:?} in {short}");
    }
    assert!(short.lines().count() <= 8, "{short}");
}

#[test]
fn a_browser_shows_every_section_without_an_error() {
    let folder = Folder::new();
    folder.hec(&["explain", &model("cryptonets-mnist"), "-o", "page.html"]).ok();
    browse(&folder, "page.html");
}

/// Opens a page, if there is a browser; it has every section, and no script has run or failed.
#[track_caller]
fn browse(folder: &Folder, name: &str) {
    let Some(browser) = browser() else {
        skipped("no chromium, chromium-browser or google-chrome in PATH");
        return;
    };
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--enable-logging=stderr", "--window-size=1280,2000", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", folder.path("browser").display()));
    let output = command.arg(format!("file://{}", folder.path(name).display())).output().unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{log}");
    for section in SECTIONS {
        assert_eq!(dom.matches(&format!("<section id=\"{section}\">")).count(), 1, "{section} in {dom}");
    }
    assert!(dom.contains("<svg class=\"network\"") && dom.trim_end().ends_with("</html>"), "{dom}");
    assert!(!dom.contains("<script") && !dom.contains("<img"), "{dom}");
    // What a page says to the console, errors of scripts and of the content policy.
    assert!(!log.contains("CONSOLE"), "{log}");
}

fn browser() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

#[allow(clippy::print_stderr, reason = "whoever runs the tests has to know")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// The circuit is priced as the search priced the plan for it: primes are near their planned sizes, and not at them.
#[test]
fn nodes_cost_together_what_the_plan_was_chosen_for() {
    let bytes = std::fs::read(model("cryptonets-mnist")).unwrap();
    let model = hec::import(&bytes, &hec::ImportOptions::default()).unwrap();
    for layout in [hec::LayoutChoice::Batch, hec::LayoutChoice::Packed] {
        let options = hec::Options { layout, ..hec::Options::default() };
        let compiled = hec::compile(&model, &options).unwrap();
        let price = hec::price::Price::of(compiled.program.circuit(), &options.cost);
        let (found, planned) = (price.total() * 1e-9, compiled.decisions.seconds);
        assert!((found / planned - 1.0).abs() < 0.05, "{layout:?}: {found} s, planned {planned} s");
        // The last layer is the output: what is said of both is the same.
        let worst = compiled.decisions.precisions.last().unwrap().1;
        assert!((worst - compiled.decisions.precision.1).abs() < 0.01, "{layout:?}: {worst} bits");
    }
}
