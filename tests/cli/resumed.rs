//! A run that was killed goes on after its finished batches, and answers as one that was not.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use hec::Program;

use crate::process::{Folder, Said};

/// Header of the file of finished batches.
const HEADER: u64 = 44;
const BATCHES: usize = 8;

/// `small.hec`, and samples for several batches of it.
fn prepared() -> Folder {
    let folder = Folder::new();
    folder.write("small.onnx", crate::common::small().bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    let capacity = Program::from_bytes(&folder.read("small.hec")).unwrap().capacity();
    let row = |i: usize| format!("0.{},0.25,0.{},1\n", i % 7, 2 * (i % 5));
    folder.write("x.csv", (0..capacity * (BATCHES - 1) + 5).map(row).collect::<String>());
    folder
}

fn kept(folder: &Folder, name: &str) -> u64 {
    std::fs::metadata(folder.path(name)).map_or(0, |there| there.len())
}

/// Kills the command when it has kept a batch; whether it was killed before it was done.
fn kill_after_a_batch(folder: &Folder, arguments: &[&str], resume: &str) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hec"));
    command.current_dir(folder.path("")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let before = kept(folder, resume).max(HEADER);
    let mut child = command.spawn().unwrap();
    while child.try_wait().unwrap().is_none() && kept(folder, resume) <= before {
        sleep(Duration::from_millis(1));
    }
    let running = child.try_wait().unwrap().is_none();
    // SIGKILL on Unix.
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

/// The number of batches that the process says were finished before.
fn finished(said: &Said) -> usize {
    let line = said.stderr.lines().find_map(|line| line.strip_prefix("resuming: "));
    let line = line.unwrap_or_else(|| panic!("nothing was resumed: {said:?}"));
    line.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_killed_run_goes_on_after_its_batches() {
    let folder = prepared();
    let run = |output: &str, more: &[&str]| {
        let own = ["run", "small.hec", "--backend", "plain-circuit", "--input", "x.csv", "--json", "--output", output];
        folder.hec(&[&own[..], more].concat())
    };
    run("whole.csv", &[]).ok();
    assert!(!folder.path("whole.csv.resume").exists(), "nothing is kept unless it is asked for");
    // On real ciphertexts, so that there is time; their results are those of the same inputs.
    let slow = ["run", "small.hec", "--input", "x.csv", "--output", "out.csv", "--resume"];
    assert!(kill_after_a_batch(&folder, &slow, "out.csv.resume"), "the run ended before it was killed");
    assert!(!folder.path("out.csv").exists());

    // Another backend, other samples: refused, and left as it is.
    let before = folder.read("out.csv.resume");
    let other =
        folder.hec(&["run", "small.hec", "--input", "x.csv", "--limit", "9", "--output", "out.csv", "--resume"]);
    other.error_with(&["out.csv.resume", "of another program, input or backend", "remove it"]);
    run("out.csv", &["--resume"]).error_with(&["out.csv.resume"]);
    assert!(folder.read("out.csv.resume") == before);

    let said = folder.hec(&[&slow[..], &["--json"]].concat());
    let earlier = finished(&said);
    let report = said.json();
    assert!((1..BATCHES).contains(&earlier), "{earlier}");
    assert_eq!(report["resumed_batches"], earlier);
    assert_eq!(report["batches"], BATCHES - earlier, "only those that were missing are run");
    assert!(!folder.path("out.csv.resume").exists(), "it is removed in the end");
    let numbers = |name: &str| -> Vec<f64> {
        let text = String::from_utf8(folder.read(name)).unwrap();
        text.lines().skip(1).flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect()
    };
    let (found, expected) = (numbers("out.csv"), numbers("whole.csv"));
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.05), "the results are others");
}

/// Without noise the file is the same byte for byte, wherever the run was interrupted.
#[test]
fn what_is_resumed_is_the_same_file() {
    let folder = prepared();
    let arguments = ["run", "small.hec", "--backend", "plain-circuit", "--input", "x.csv", "--output"];
    folder.hec(&[&arguments[..], &["whole.csv"]].concat()).ok();
    let resumed = [&arguments[..], &["out.csv", "--resume"]].concat();
    kill_after_a_batch(&folder, &resumed, "out.csv.resume");
    folder.hec(&resumed).ok();
    assert!(folder.read("out.csv") == folder.read("whole.csv"));
    assert_eq!(folder.names().iter().filter(|name| name.ends_with(".resume")).count(), 0);
    folder
        .hec(&["run", "small.hec", "--backend", "plain", "--input", "x.csv", "--output", "o.csv", "--resume"])
        .error_with(&["--resume", "no batches"]);
    folder.hec(&["run", "small.hec", "--input", "x.csv", "--resume"]).usage_with("--output");
}

#[test]
fn a_killed_evaluation_goes_on_after_its_batches() {
    let folder = prepared();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]).ok();
    let secret = ["--client", "small.hecclient", "--key", "keys/secret.heckey"];
    folder.hec(&[&["encrypt"], &secret[..], &["--input", "x.csv", "-o", "x.hecct"]].concat()).ok();
    let evaluate = ["evaluate", "small.hec", "--keys", "keys/evaluation.heckeys", "--input", "x.hecct", "-o"];
    folder.hec(&[&evaluate[..], &["whole.hecct"]].concat()).ok();
    let resumed = [&evaluate[..], &["out.hecct", "--resume"]].concat();
    assert!(kill_after_a_batch(&folder, &resumed, "out.hecct.resume"), "it ended before it was killed");
    assert!(!folder.path("out.hecct").exists());
    // The end of what is kept is lost: that batch is evaluated again.
    let mut state = folder.read("out.hecct.resume");
    state.truncate(state.len() - 1);
    folder.write("out.hecct.resume", state);
    // A second interruption, further on.
    assert!(kill_after_a_batch(&folder, &resumed, "out.hecct.resume"), "it ended before it was killed");
    let said = folder.hec(&resumed).ok();
    let earlier = finished(&said);
    assert!((1..BATCHES).contains(&earlier), "{earlier}");
    assert!(said.stdout.contains(&format!("{} were evaluated", BATCHES - earlier)), "{said:?}");
    // An evaluation has no randomness: the ciphertexts are the same, and with them the plaintexts.
    assert!(folder.read("out.hecct") == folder.read("whole.hecct"));
    assert!(!folder.path("out.hecct.resume").exists());
    folder.hec(&[&["decrypt"], &secret[..], &["--input", "out.hecct", "--output", "y.csv"]].concat()).ok();

    // Other ciphertexts of the same samples are another input.
    assert!(kill_after_a_batch(&folder, &resumed, "out.hecct.resume"));
    folder.hec(&[&["encrypt"], &secret[..], &["--input", "x.csv", "-o", "x.hecct"]].concat()).ok();
    folder.hec(&resumed).error_with(&["out.hecct.resume", "remove it"]);
}
