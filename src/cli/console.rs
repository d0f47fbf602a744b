//! The only place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the command line")]

use std::io::{IsTerminal, Write};
use std::time::Duration;

use hec::{Layer, Phase, Progress};
use indicatif::{ProgressBar, ProgressStyle};

/// A line for a person, on standard error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What the command was asked for, on standard output. A closed pipe is not an error.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// From where a run goes on.
pub fn resuming(finished: usize, batches: Option<usize>) {
    if finished > 0 {
        let of = batches.map_or(String::new(), |all| format!(" of {all}"));
        say(&format!("resuming: {finished}{of} batches are finished"));
    }
}

/// Progress layer by layer on a terminal; silent in a pipe.
pub struct Bar {
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Draws on standard error if that is a terminal.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix} [{bar:20}] {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar }
    }

    fn with(&self, draw: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &self.bar {
            draw(bar);
        }
    }

    /// Prints something while the bar stands aside.
    pub fn suspend(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Removes the bar.
    pub fn clear(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Bar {
    fn phase(&self, phase: Phase) {
        let of = |what: &str, batch: usize, batches: usize| format!("{what}, batch {} of {batches}", batch + 1);
        let text = match phase {
            Phase::Keys => "generating keys".to_owned(),
            Phase::Encrypt { batch, batches } => of("encrypting", batch, batches),
            Phase::Evaluate { batch, batches } => of("evaluating", batch, batches),
            Phase::Decrypt { batch, batches } => of("decrypting", batch, batches),
        };
        self.with(|bar| {
            bar.set_prefix(text);
            bar.set_message("");
            bar.set_position(0);
        });
    }

    fn note(&self, line: &str) {
        self.suspend(|| say(line));
    }

    fn started(&self, layer: &Layer<'_>) {
        self.with(|bar| {
            bar.set_length(layer.total as u64);
            bar.set_position(layer.index as u64);
            bar.set_message(format!("{} {} {}", layer.origin, layer.op, layer.ty));
        });
    }

    fn finished(&self, layer: &Layer<'_>, _elapsed: Duration) {
        self.with(|bar| bar.set_position(layer.index as u64 + 1));
    }
}
