//! Keys and ciphertexts. Keys carry their parameters, ciphertexts the fingerprint of theirs; the statement follows from these. Every value
//! in them is read and checked.

use std::fs::File;
use std::path::Path;

use hec::Program;
use hec::ir::parameters::Parameters;
use hec::ir::program::Contract;
use hec_ckks::Context;
use hec_protocol::ciphertexts::{Direction, Reader, largest};
use hec_protocol::preamble::{self, EVALUATION, SECRET};
use hec_protocol::{Fingerprint, FormatError, keys};

use super::{Arguments, Verified, same};
use crate::cli::statement::ProgramStatement;
use crate::cli::{Failure, files, secret};

/// What a file of keys or ciphertexts holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SecretKey,
    EvaluationKeys,
    Ciphertexts,
}

impl Kind {
    /// By the first bytes.
    pub(super) fn of(magic: &[u8]) -> Option<Self> {
        match magic {
            b"HECSKEY\0" => Some(Self::SecretKey),
            b"HECKEYS\0" => Some(Self::EvaluationKeys),
            b"HECCTXT\0" => Some(Self::Ciphertexts),
            _other => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SecretKey => "secret key",
            Self::EvaluationKeys => "file of evaluation keys",
            Self::Ciphertexts => "file of ciphertexts",
        }
    }
}

pub(super) fn verify(kind: Kind, arguments: &Arguments) -> Result<Verified, Failure> {
    let path = &arguments.file;
    let refuse = |e: &dyn std::fmt::Display| refused(path, e);
    let contract = arguments.client.as_deref().map(contract).transpose()?;
    let print = |parameters: &Parameters| ("parameters", Fingerprint::of(parameters).hex());
    let (statement, facts, stated) = match (kind, &contract) {
        (Kind::SecretKey, contract) => {
            let (parameters, stated) = beginning(SECRET, path, contract.as_ref())?;
            let key = secret::read(path, arguments.passphrase_file.as_deref(), &parameters)?;
            let facts = vec![print(&parameters), ("key", key.fingerprint().hex())];
            (ProgramStatement::alone(&parameters), facts, stated)
        }
        (Kind::EvaluationKeys, contract) => {
            let (parameters, stated) = beginning(EVALUATION, path, contract.as_ref())?;
            let context = Context::new(&parameters);
            let (keys, fingerprint) = keys::read(&context, files::open(path)?).map_err(|e| refuse(&e))?;
            if let Some(contract) = contract {
                keys.serve(&context, contract.keys()).map_err(|e| refuse(&e))?;
            }
            let facts = vec![print(&parameters), ("key", fingerprint.hex())];
            (ProgramStatement::of_keys(&parameters, &keys), facts, stated)
        }
        (Kind::Ciphertexts, Some(contract)) => {
            let mut facts = vec![print(contract.parameters())];
            facts.extend(ciphertexts(contract, path).map_err(|e| refuse(&e))?);
            (ProgramStatement::alone(contract.parameters()), facts, String::new())
        }
        (Kind::Ciphertexts, None) => {
            return Err(refuse(
                &"ciphertexts have only the fingerprint of their parameters: give --client FILE, the client file or the program they are for",
            ));
        }
    };
    let statement = statement.map_err(|e| refuse(&e))?;
    let stated = Some(&*stated).filter(|text| !text.is_empty());
    let stated = same(stated, "security statement", &statement.json(), AGAIN).map_err(|e| refuse(&e))?;
    Ok(Verified { kind: kind.name(), statement, facts, stated, precision: None })
}

fn refused(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    format!("{}: {error}", path.display()).into()
}

/// The parameters of keys, and what their file states. Without a contract they are those of the file, checked; with one they are the
/// contract's, which the keys are compared with when they are read.
fn beginning<const FIELDS: usize>(
    kind: preamble::Kind<FIELDS>,
    path: &Path,
    contract: Option<&Contract>,
) -> Result<(Parameters, String), Failure> {
    // Without a buffer, which would take a part of the key as well.
    let mut file = File::open(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    let (_, preamble) = kind.read(&mut file).map_err(|e| refused(path, &e))?;
    let parameters = match contract {
        Some(contract) => contract.parameters().clone(),
        None => preamble.parameters().map_err(|e| refused(path, &e))?,
    };
    Ok((parameters, preamble.statement))
}

/// What to do if keys do not hold what they state.
const AGAIN: &str = "make the keys again with `hec keygen`";

/// A client file, or what a program says of its client.
fn contract(path: &Path) -> Result<Contract, Failure> {
    if Program::recognises(&super::magic(path)?) {
        return Ok(files::program(path)?.contract());
    }
    Ok(files::contract(path)?.0)
}

/// Reads all of a file of ciphertexts, and says whose they are.
fn ciphertexts(contract: &Contract, path: &Path) -> Result<Vec<(&'static str, String)>, FormatError> {
    let file = File::open(path)?;
    let mut reader = Reader::new(std::io::BufReader::with_capacity(1 << 20, file))?;
    let header = reader.header().clone();
    // Whose key it is cannot be known from here; all else has to fit.
    header.check(header.direction, contract, header.key)?;
    let context = Context::new(contract.parameters());
    let (arrays, limit) = (header.direction.arrays(contract), largest(contract.parameters()));
    let mut count = 0_u64;
    for samples in header.batches(contract) {
        if header.direction == Direction::Inputs {
            for port in contract.public_inputs() {
                reader.clear(port.ty.elements().saturating_mul(samples))?;
            }
        }
        for declared in &arrays {
            for index in 0..declared.length {
                declared.read(&context, index, &reader.ciphertext(limit)?)?;
                count += 1;
            }
        }
    }
    reader.finish()?;
    let direction = match header.direction {
        Direction::Inputs => "encrypted inputs",
        Direction::Outputs => "encrypted outputs",
    };
    Ok(vec![
        ("program", header.program.hex()),
        ("key", header.key.hex()),
        ("content", format!("{direction}: {count} ciphertexts of {} samples", header.samples)),
    ])
}
