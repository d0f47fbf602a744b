//! `kill -9` at any moment leaves the old file or the new one.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::process::{Folder, model};

/// A child that is not left behind.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_compilation_leaves_the_old_program_or_the_new_one() {
    let folder = Folder::new();
    let arguments = ["compile", &model("cryptonets-mnist"), "-o", "out.hec"];
    folder.hec(&arguments).ok();
    let new = folder.read("out.hec");
    let mut killed = 0;
    // From the first moments on to some after a whole compilation.
    for step in 0..12_u64 {
        folder.write("out.hec", b"old");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hec"));
        command.current_dir(folder.path("")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child(command.spawn().unwrap());
        // Either the time is over, or the temporary file is there: then it is killed in the middle of writing.
        for _ in 0..=step * 20 {
            if step % 2 == 1 && folder.names().iter().any(|name| name.ends_with(".tmp")) {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        killed += u32::from(child.0.try_wait().unwrap().is_none());
        drop(child);
        let found = folder.read("out.hec");
        assert!(found == b"old" || found == new, "step {step}: {} bytes that are neither", found.len());
    }
    assert!(killed > 0, "no compilation was killed");
    // What was left behind is in nobody's way.
    folder.hec(&arguments).ok();
    assert!(folder.read("out.hec") == new);
}

/// A large output: a hundred thousand predictions as text take long enough to be hit in the middle.
#[test]
fn killed_while_a_large_output_is_written() {
    let folder = Folder::new();
    folder.write("small.onnx", crate::common::small().bytes());
    let rows = "0.5,0.25,1,0\n0,1,0,1\n".repeat(50_000);
    folder.write("x.csv", rows);
    let arguments = ["run", "small.onnx", "--backend", "plain", "--input", "x.csv", "--output", "out.json"];
    folder.hec(&arguments).ok();
    let new = folder.read("out.json");
    assert!(new.len() > 1_000_000, "{} bytes", new.len());
    let (mut killed, mut writing) = (0, 0);
    for step in 0..8_u64 {
        folder.write("out.json", b"old");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hec"));
        command.current_dir(folder.path("")).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Child(command.spawn().unwrap());
        let temporary = || folder.names().iter().filter(|name| name.ends_with(".tmp")).count();
        let before = temporary();
        while child.0.try_wait().unwrap().is_none() && temporary() == before {
            sleep(Duration::from_micros(200));
        }
        sleep(Duration::from_millis(step));
        let running = child.0.try_wait().unwrap().is_none();
        killed += u32::from(running);
        drop(child);
        writing += u32::from(temporary() > before);
        let found = folder.read("out.json");
        assert!(found == b"old" || found == new, "step {step}: {} bytes that are neither", found.len());
    }
    assert!(killed > 0 && writing > 0, "{killed} runs were killed, {writing} of them while they wrote");
}
