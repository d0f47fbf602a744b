//! Runs the binary.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::repository;

/// A folder of its own for one test.
pub struct Folder(TempDir);

/// What a process said.
#[derive(Debug)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
    code: Option<i32>,
}

/// The path of a committed model.
pub fn model(name: &str) -> String {
    repository("models").join(name).with_extension("onnx").to_str().unwrap().to_owned()
}

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names of everything in it, hidden files too.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    /// Runs `hec` in this folder.
    pub fn hec(&self, arguments: &[&str]) -> Said {
        self.hec_with(arguments, &[])
    }

    /// The same, with environment variables.
    pub fn hec_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
        run(self.0.path(), arguments, variables)
    }
}

fn run(folder: &Path, arguments: &[impl AsRef<OsStr>], variables: &[(&str, &str)]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hec"));
    command.current_dir(folder).args(arguments).env_remove("RAYON_NUM_THREADS").env_remove("RUST_BACKTRACE");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { stdout: text(output.stdout), stderr: text(output.stderr), code: output.status.code() }
}

impl Said {
    /// It succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(!self.stderr.contains("error:") && !self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// It succeeded, and printed one JSON value and nothing else.
    #[track_caller]
    pub fn json(self) -> Value {
        let said = self.ok();
        serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{e} in {said:?}"))
    }

    /// It failed, after it had said something.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.stderr.contains("error: ") && !self.stderr.contains("panicked at"), "{self:?}");
        self
    }

    /// It failed and gave one error, nothing else: the text after `error: `. More lines are indented, and say something new.
    #[track_caller]
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert!(!self.stderr.contains("panicked at"), "{self:?}");
        let text = self.stderr.strip_prefix("error: ").unwrap_or_else(|| panic!("{self:?}"));
        let mut before = String::new();
        for (i, line) in text.lines().enumerate() {
            assert!(i == 0 || line.starts_with("  "), "{self:?}");
            let news = line.trim_start().trim_start_matches("because: ");
            assert!(!news.is_empty() && !before.contains(news), "said twice: {self:?}");
            before.push_str(line);
        }
        text.trim_end().to_owned()
    }

    /// [`Said::error`], which has to contain all of `parts`.
    #[track_caller]
    pub fn error_with(self, parts: &[&str]) {
        let text = self.error();
        for part in parts {
            assert!(text.contains(part), "expected {part:?} in: {text}");
        }
    }

    /// The arguments themselves are wrong: usage is explained.
    #[track_caller]
    pub fn usage_with(self, part: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.stdout.is_empty() && self.stderr.starts_with("error: "), "{self:?}");
        assert!(self.stderr.contains(part), "expected {part:?} in {self:?}");
    }
}
