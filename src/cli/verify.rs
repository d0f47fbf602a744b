//! `hec verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hec::Program;
use serde_json::{Value, json};

use super::statement::ProgramStatement;
use super::{Failure, certificate, console, files};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A program.
    file: PathBuf,
    /// Print the statement as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = arguments.file.display();
    let program = match files::read(&arguments.file)?.0 {
        files::Subject::Program(program) => program,
        files::Subject::Model(_) => {
            return Err(format!("{name} is a model, which promises nothing about security: compile it first").into());
        }
    };
    let statement = ProgramStatement::of(&program).map_err(|cause| format!("{name}: {cause}"))?;
    let named = |cause: String| format!("{name}: {cause}");
    let stated = same(&program, files::STATEMENT, "security statement", &statement.json()).map_err(named)?;
    let certificate = program.certificate();
    let recomputed = certificate.as_ref().map_or(Value::Null, certificate::json);
    let promised = same(&program, files::CERTIFICATE, "precision certificate", &recomputed).map_err(named)?;
    let text = if arguments.json {
        let own = json!({
            "kind": "program", "holds": true, "stated": stated, "statement": statement.json(), "precision": recomputed,
        });
        format!("{own:#}")
    } else {
        let mut rows = statement.rows();
        rows.extend(certificate.iter().flat_map(certificate::rows));
        let all = match (stated, promised) {
            (true, true) => "the same",
            (true, false) => "the same of security, nothing of precision",
            (false, true) => "the same of precision, nothing of security",
            (false, false) => "nothing",
        };
        rows.push(("stated in the file", all.to_owned()));
        let rows = rows.iter().map(|(name, value)| format!("  {name:<20}{value}\n"));
        let bits = statement.parameters.security.bits();
        format!(
            "{name}: a program; its {bits} bits of security hold\n{}",
            rows.collect::<String>().trim_end_matches('\n')
        )
    };
    console::print(&text);
    Ok(())
}

/// Whether the file states under `key` what was recomputed; `false` if it states nothing.
fn same(program: &Program, key: &str, what: &str, expected: &Value) -> Result<bool, String> {
    let Some(text) = program.annotation(key) else { return Ok(false) };
    let found: Value = serde_json::from_str(text).map_err(|e| format!("its {what} is no JSON: {e}"))?;
    let (Some(own), Some(others)) = (expected.as_object(), found.as_object()) else {
        return Err(format!("its {what} does not hold: it is no object, or nothing follows from the file"));
    };
    let fields: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
    for field in fields {
        let [expected, found] = [own, others].map(|of| of.get(field));
        if expected != found {
            let [expected, found] = [expected, found].map(|of| of.map_or("nothing".to_owned(), shown));
            return Err(format!(
                "its {what} does not hold: \"{}\" is stated as {found}, and comes to {expected}; do not use the file, \
                 compile the model again",
                field.escape_debug()
            ));
        }
    }
    Ok(true)
}

/// The beginning of a value.
fn shown(value: &Value) -> String {
    const LENGTH: usize = 80;
    value.to_string().escape_debug().take(LENGTH).collect()
}
