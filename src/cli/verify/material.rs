//! Keys and ciphertexts: they carry the fingerprint of their parameters, from which their statement follows. Every value in them is
//! read and checked.

use std::path::Path;

use hec::Program;
use hec::ir::program::Contract;
use hec_ckks::Context;
use hec_ckks::adapter::EvaluationKeys;
use hec_protocol::ciphertexts::{Direction, Reader, largest};
use hec_protocol::{Fingerprint, FormatError, keys};

use super::{Arguments, Verified};
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
    let Some(client) = &arguments.client else {
        return Err(format!(
            "{}: a {} holds the fingerprint of its parameters: give --client FILE, the client file or the program it was made for",
            path.display(),
            kind.name()
        )
        .into());
    };
    let contract = contract(client)?;
    let parameters = contract.parameters();
    let alone = || ProgramStatement::with_keys(parameters, None, None);
    let refuse = |e: &dyn std::fmt::Display| -> Failure { format!("{}: {e}", path.display()).into() };
    let mut facts = vec![("parameters", Fingerprint(*parameters.fingerprint()).hex())];
    let statement = match kind {
        Kind::SecretKey => {
            let key = secret::read(path, arguments.passphrase_file.as_deref(), parameters)?;
            facts.push(("key", key.fingerprint().hex()));
            alone()
        }
        Kind::EvaluationKeys => {
            let context = Context::new(parameters);
            let (keys, fingerprint) = keys::read(&context, files::open(path)?).map_err(|e| refuse(&e))?;
            keys.serve(&context, contract.keys()).map_err(|e| refuse(&e))?;
            facts.push(("key", fingerprint.hex()));
            of_keys(&keys, &contract)
        }
        Kind::Ciphertexts => {
            facts.extend(ciphertexts(&contract, path).map_err(|e| refuse(&e))?);
            alone()
        }
    };
    Ok(Verified {
        kind: kind.name(),
        statement: statement.map_err(|e| refuse(&e))?,
        facts,
        stated: false,
        precision: None,
    })
}

/// A client file, or what a program says of its client.
fn contract(path: &Path) -> Result<Contract, Failure> {
    if Program::recognises(&super::magic(path)?) {
        return Ok(files::program(path)?.contract());
    }
    Ok(files::contract(path)?.0)
}

/// The keys that are there, which may be more than the program needs.
fn of_keys(
    keys: &EvaluationKeys,
    contract: &Contract,
) -> Result<ProgramStatement, hec::ir::parameters::ParameterError> {
    let relinearization = keys.relinearization.as_ref().map(|own| (own.max_degree().saturating_sub(1), own.level()));
    let rotations = keys.rotations.iter().map(hec_ckks::GaloisKey::level).max();
    let rotations = rotations.map(|level| (keys.rotations.len(), level));
    ProgramStatement::with_keys(contract.parameters(), relinearization, rotations)
}

/// Reads all of a file of ciphertexts, and says whose they are.
fn ciphertexts(contract: &Contract, path: &Path) -> Result<Vec<(&'static str, String)>, FormatError> {
    let file = std::fs::File::open(path)?;
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
