//! `hec calibrate`.

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{Failure, console};
use crate::data::write_atomically;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to write the measured costs [default: print them].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut costs = hec::calibrate()?;
    // Three digits: the others are noise.
    let number = |x: f64| Value::from((x * 1e4).round() / 1e4);
    let object: Map<String, Value> =
        costs.constants().into_iter().map(|(name, x)| (name.to_owned(), number(*x))).collect();
    let text = format!("{:#}\n", Value::from(object));
    match &arguments.output {
        Some(path) => {
            write_atomically(path, |file| file.write_all(text.as_bytes()))?;
            console::print(&format!("wrote {}", path.display()));
        }
        None => console::print(text.trim_end()),
    }
    Ok(())
}
