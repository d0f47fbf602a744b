//! A program with encoded weights, and the cache of them.

use std::path::PathBuf;
use std::sync::OnceLock;

use hec::{Activations, LayoutChoice, Program};
use hec_ckks::adapter::CkksEngine;
use hec_runtime::{Engine, WeightCache};

use crate::models;

const HASH: usize = 32;

struct Cache {
    program: Program,
    cache: WeightCache,
    file: PathBuf,
    /// As it was written.
    good: Vec<u8>,
}

fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let options = models::options(LayoutChoice::Packed, Activations::Polynomial);
        let program = models::program(&models::small("Mul"), &options);
        let directory = crate::folder().join(format!("hec-fuzz-weights-{}", std::process::id()));
        let cache = WeightCache { directory: directory.clone(), program: program.fingerprint() };
        read(&program, &cache);
        let mut files = std::fs::read_dir(&directory).expect("a folder").flatten();
        let file = files.next().expect("a cache").path();
        let good = std::fs::read(&file).expect("a cache");
        Cache { program, cache, file, good }
    })
}

fn read(program: &Program, cache: &WeightCache) {
    CkksEngine.generate_cached(program.circuit(), Some(cache), &mut |_| ()).expect("keys and weights");
}

/// Each four bytes of `changes` change a byte of the cache: three say which. An odd last byte leaves the hash wrong, and cuts the file.
pub fn load(changes: &[u8]) {
    let Cache { program, cache, file, good } = cache();
    let mut bytes = good.clone();
    for change in changes.chunks_exact(4) {
        let at = usize::from(change[0]) << 16 | usize::from(change[1]) << 8 | usize::from(change[2]);
        // The head is what matters, and is short.
        let at = if change[0] & 0x80 == 0 { at % bytes.len() } else { usize::from(change[2]) % 64 };
        bytes[at] ^= change[3];
    }
    match changes.last() {
        Some(last) if last & 1 != 0 => bytes.truncate(good.len() - usize::from(*last)),
        Some(_) | None => rehash(&mut bytes, program),
    }
    std::fs::write(file, bytes).expect("a cache");
    read(program, cache);
}

/// The hash of the head and of each diagonal's hash, at the end.
fn rehash(bytes: &mut [u8], program: &Program) {
    const HEAD: usize = 52;
    let count = bytes.get(44..HEAD).map_or(1, |n| n.iter().rev().fold(0, |v, &b| v << 8 | usize::from(b)));
    let body = bytes.len() - HEAD - HASH;
    // All transforms of this program are at levels of the same number of primes, or the hash is left wrong.
    if count == 0 || body % count != 0 || program.circuit().context().moduli().is_empty() {
        return;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..HEAD]);
    for diagonal in bytes[HEAD..HEAD + body].chunks(body / count) {
        hasher.update(blake3::hash(diagonal).as_bytes());
    }
    let hash = *hasher.finalize().as_bytes();
    bytes[HEAD + body..].copy_from_slice(&hash);
}
