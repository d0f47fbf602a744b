//! `hec verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hec::Program;
use serde_json::{Value, json};

use super::statement::ProgramStatement;
use super::{Failure, console, files};

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
    let stated = stated(&program, &statement).map_err(|cause| format!("{name}: {cause}"))?;
    let text = if arguments.json {
        let own = json!({ "kind": "program", "holds": true, "stated": stated, "statement": statement.json() });
        format!("{own:#}")
    } else {
        let mut rows = statement.rows();
        rows.push(("stated in the file", if stated { "the same" } else { "nothing" }.to_owned()));
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

/// Whether the file states what was recomputed; `false` if it states nothing.
fn stated(program: &Program, recomputed: &ProgramStatement) -> Result<bool, String> {
    let Some(text) = program.annotation(files::STATEMENT) else { return Ok(false) };
    let found: Value = serde_json::from_str(text).map_err(|e| format!("its security statement is no JSON: {e}"))?;
    let expected = recomputed.json();
    let (Some(own), Some(others)) = (expected.as_object(), found.as_object()) else {
        return Err("its security statement does not hold: it is no object".to_owned());
    };
    let fields: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
    for field in fields {
        let [expected, found] = [own, others].map(|of| of.get(field));
        if expected != found {
            let [expected, found] = [expected, found].map(|of| of.map_or("nothing".to_owned(), shown));
            return Err(format!(
                "its security statement does not hold: \"{}\" is stated as {found}, and comes to {expected}; do not use the file, \
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
