//! `hec verify`.

mod material;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hec::Program;
use hec::ir::ckks::precision::Certificate;
use hec::ir::program::Contract;
use serde_json::{Value, json};

use super::statement::ProgramStatement;
use super::{Failure, certificate, console, files};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A program, a client file, a file of keys or of ciphertexts.
    file: PathBuf,
    /// The client file or the program that keys have to serve, and without which ciphertexts cannot be verified.
    #[arg(long, value_name = "FILE")]
    client: Option<PathBuf>,
    /// A file that holds the passphrase of a secret key [default: it is asked for].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Print the statement as JSON.
    #[arg(long)]
    json: bool,
}

/// What was found in a file, all of which holds.
struct Verified {
    /// What the file is.
    kind: &'static str,
    statement: ProgramStatement,
    /// What else it is known by: name and value.
    facts: Vec<(&'static str, String)>,
    /// Whether the file states itself what was recomputed.
    stated: bool,
    /// What a program promises of its precision.
    precision: Option<Precision>,
}

/// A promise of precision.
struct Precision {
    /// Recomputed from the program, if it has what that follows from.
    certificate: Option<Certificate>,
    /// Whether the file states the same.
    stated: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = arguments.file.display();
    let Verified { kind, statement, facts, stated, precision } = verify(arguments)?;
    let text = if arguments.json {
        let mut own = json!({ "kind": kind, "holds": true, "stated": stated, "statement": statement.json() });
        facts.iter().for_each(|(name, value)| own[*name] = json!(value));
        if let Some(Precision { certificate, .. }) = &precision {
            own["precision"] = certificate.as_ref().map_or(Value::Null, certificate::json);
        }
        format!("{own:#}")
    } else {
        let mut rows = statement.rows();
        rows.extend(facts);
        let certificate = precision.as_ref().and_then(|precision| precision.certificate.as_ref());
        rows.extend(certificate.iter().flat_map(|certificate| certificate::rows(certificate)));
        let all = match (stated, precision.as_ref().map(|precision| precision.stated)) {
            (true, Some(true) | None) => "the same",
            (true, Some(false)) => "the same of security, nothing of precision",
            (false, Some(true)) => "the same of precision, nothing of security",
            (false, Some(false) | None) => "nothing",
        };
        rows.push(("stated in the file", all.to_owned()));
        let rows = rows.iter().map(|(name, value)| format!("  {name:<20}{value}\n"));
        let bits = statement.parameters.security.bits();
        format!(
            "{name}: a {kind}; its {bits} bits of security hold\n{}",
            rows.collect::<String>().trim_end_matches('\n')
        )
    };
    console::print(&text);
    Ok(())
}

/// What to do if a program does not hold what it states.
const AGAIN: &str = "compile the model again";

fn verify(arguments: &Arguments) -> Result<Verified, Failure> {
    let path = &arguments.file;
    if let Some(kind) = material::Kind::of(&magic(path)?) {
        return material::verify(kind, arguments);
    }
    let named = |cause: &dyn std::fmt::Display| -> Failure { format!("{}: {cause}", path.display()).into() };
    let stated = |statement: &ProgramStatement, text: Option<&str>| {
        same(text, "security statement", &statement.json(), AGAIN).map_err(|e| named(&e))
    };
    if Contract::recognises(&magic(path)?) {
        let contract = files::contract(path)?.0;
        let statement = ProgramStatement::with_needs(contract.parameters(), contract.keys()).map_err(|e| named(&e))?;
        let stated = stated(&statement, contract.annotation(files::STATEMENT))?;
        return Ok(Verified { kind: "client file", statement, facts: Vec::new(), stated, precision: None });
    }
    let program: Box<Program> = match files::read(path)?.0 {
        files::Subject::Program(program) => program,
        files::Subject::Model(_) => {
            return Err(named(&"it is a model, which promises nothing about security: compile it first"));
        }
    };
    let statement = ProgramStatement::of(&program).map_err(|e| named(&e))?;
    let stated = stated(&statement, program.annotation(files::STATEMENT))?;
    let certificate = program.certificate();
    let recomputed = certificate.as_ref().map_or(Value::Null, certificate::json);
    let promised = same(program.annotation(files::CERTIFICATE), "precision certificate", &recomputed, AGAIN);
    let precision = Some(Precision { certificate, stated: promised.map_err(|e| named(&e))? });
    Ok(Verified { kind: "program", statement, facts: Vec::new(), stated, precision })
}

/// The first bytes of a file; fewer if it is shorter.
fn magic(path: &Path) -> Result<Vec<u8>, Failure> {
    const LENGTH: u64 = 8;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LENGTH).read_to_end(&mut bytes));
    read.map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    Ok(bytes)
}

/// Whether a file states what was recomputed; `false` if it states nothing. If it states something else, `again` says what to do.
fn same(text: Option<&str>, what: &str, expected: &Value, again: &str) -> Result<bool, String> {
    let Some(text) = text else { return Ok(false) };
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
                 {again}",
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
