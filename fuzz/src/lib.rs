//! What the fuzz targets share: small parameters, files on the way to a reader, and digests put right, so that a checksum in front
//! of a format does not hide its reader.

#[allow(dead_code, reason = "the readers of the command line, which also writes")]
#[path = "../../src/data/mod.rs"]
pub mod data;
pub mod models;
pub mod seeds;
pub mod server;
pub mod weights;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hec_ckks::Context;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Ring, Security};
use hec_protocol::Fingerprint;
use hec_protocol::preamble::Kind;

/// The scale of the ciphertexts in the corpus.
pub const SCALE_BITS: i32 = 25;
/// What tells the formats of samples apart where their first bytes do not.
pub const EXTENSIONS: [&str; 6] = ["idx", "npz", "csv", "tsv", "pb", "png"];
/// Shapes of a sample.
pub const SHAPES: [&[usize]; 5] = [&[2], &[], &[1, 2, 2], &[2, 2, 3], &[28, 28]];

/// Bytes of a program or client file before the digest, and with it.
const BEFORE_DIGEST: usize = 12;
const DIGEST: usize = 32;
/// Bytes of one of the engine's values before its body.
const VALUE_HEADER: usize = 48;

/// A program or client file with the digest of its body.
pub fn with_digest(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    if let Some((head, body)) = file.split_at_mut_checked(BEFORE_DIGEST + DIGEST) {
        head[BEFORE_DIGEST..].copy_from_slice(blake3::hash(body).as_bytes());
    }
    file
}

/// A context of a small ring with two primes and a special one. It is not secure.
pub fn engine() -> Context {
    static CONTEXT: OnceLock<Context> = OnceLock::new();
    let make = || {
        let ring = Ring::standard(4);
        let mut search = PrimeSearch::for_ring(ring);
        let mut take = |bits| search.take(bits).expect("a prime");
        let (moduli, special_primes) = (vec![take(30), take(25)], vec![take(31)]);
        let Ring { ring_type, log_n } = ring;
        let literal = Literal { ring_type, log_n, moduli, special_primes, security: Security::Bits128 };
        Context::new(&Parameters::insecure_for_tests(literal).expect("sound parameters"))
    };
    CONTEXT.get_or_init(make).clone()
}

/// A file of keys, and the number of bytes before the keys. If the preamble can be read it is judged by itself, and those of `context` take the
/// place of its parameters, so that the reader gets behind it.
pub fn with_parameters<const FIELDS: usize>(kind: Kind<FIELDS>, context: &Context, file: &[u8]) -> (Vec<u8>, usize) {
    let mut keys = file;
    let Ok((fields, mut preamble)) = kind.read(&mut keys) else { return (file.to_vec(), file.len()) };
    let _ = preamble.parameters();
    preamble.fingerprint = Fingerprint::of(context.parameters());
    let _ = preamble.check(context.parameters());
    if let Ok(own) = Parameters::new(preamble.literal.clone()) {
        preamble.fingerprint = Fingerprint::of(&own);
        assert_eq!(preamble.parameters().ok(), Some(own));
    }
    let before = kind.bytes(context.parameters(), &fields, &preamble.statement).unwrap_or_default();
    ([&before, keys].concat(), before.len())
}

/// Puts fingerprint, length and checksum of one of the engine's values right.
pub fn with_value_checksum(context: &Context, value: &mut [u8]) {
    let Some(body) = value.len().checked_sub(VALUE_HEADER + DIGEST) else { return };
    value[8..40].copy_from_slice(context.parameters().fingerprint());
    value[40..48].copy_from_slice(&(body as u64).to_le_bytes());
    let (content, checksum) = value.split_at_mut(VALUE_HEADER + body);
    checksum.copy_from_slice(blake3::hash(content).as_bytes());
}

/// Does the same for every ciphertext in a file of them, and puts the digest in the last frame right.
pub fn with_frame_checksums(context: &Context, file: &mut [u8]) {
    const FRAMES: usize = 12;
    let mut at = FRAMES;
    while let Some(head) = file.get(at..at + 5) {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (kind, end) = (head[4], at + 5 + length);
        if file.len() < end {
            return;
        }
        match kind {
            1 => with_value_checksum(context, &mut file[at + 5..end]),
            3 if length == DIGEST => {
                let digest = *blake3::hash(&file[..at]).as_bytes();
                file[at + 5..end].copy_from_slice(&digest);
            }
            _ => {}
        }
        at = end;
    }
}

/// The bytes as a gzip file, as fast as that can be made.
pub fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// A file, in memory where the system has a folder for that, and gone when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A file with this extension.
    pub fn new(extension: &str, bytes: &[u8]) -> Self {
        let path = folder().join(format!("hec-fuzz-{}.{extension}", std::process::id()));
        std::fs::write(&path, bytes).expect("a file");
        Self(path)
    }

    /// One that only its owner can read.
    pub fn private(extension: &str, bytes: &[u8]) -> Self {
        let scratch = Self::new(extension, &[]);
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(scratch.path(), owner).expect("permissions");
        std::fs::write(scratch.path(), bytes).expect("a file");
        scratch
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// For files that are read at once.
pub fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}
