//! Encoded weights in a file, so that a program that is loaded again does not encode them again.
//!
//! `HECWGHTS`, the format's version (u32), the key (32 bytes), the number of diagonals (u64); then the diagonals, transform by transform as
//! in the circuit, each as in [`places`]: residues of 8 bytes, limb by limb; then the BLAKE3 hash of the head and of each diagonal's BLAKE3
//! hash. All numbers are little-endian. What is of another length, another key or another hash is no cache of this program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hec_ir::Origin;
use hec_ir::ckks::{Circuit, Op, Transform, Type};
use hec_runtime::engine::{EngineError, WeightCache};
use rayon::prelude::*;

use super::transform::{Prepared, Source, diagonal, places, steps};
use crate::Context;
use crate::poly::Poly;

const MAGIC: &[u8; 8] = b"HECWGHTS";
/// Of the format, and of how this engine encodes diagonals.
const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 32 + 8;
const HASH: usize = 32;
/// Of reading and writing.
const BUFFER: usize = 1 << 20;
/// Diagonals that are encoded at once for the file.
const AT_ONCE: usize = 16;

/// The diagonals of one transform in a file that was checked, for reading them one by one.
#[derive(Debug)]
pub(super) struct Stored {
    file: Mutex<File>,
    /// Where each lies, and its hash.
    places: BTreeMap<[usize; 3], (u64, [u8; HASH])>,
}

impl Stored {
    /// `None` if the file has changed or cannot be read.
    pub(super) fn read(&self, context: &Context, level: usize, place: [usize; 3]) -> Option<Poly> {
        let (offset, hash) = self.places.get(&place)?;
        let mut bytes = vec![0; diagonal_bytes(context, level)];
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(*offset)).ok()?;
            file.read_exact(&mut bytes).ok()?;
        }
        if blake3::hash(&bytes).as_bytes() != hash {
            return None;
        }
        poly(context, level, &bytes)
    }
}

/// The transforms of `circuit` with their weights from the cache; where there is none, they are encoded, and the cache is written. `say` is
/// told what was done.
///
/// # Errors
/// If weights cannot be encoded. A cache that cannot be read or written is no error.
pub(super) fn prepared(
    context: &Context,
    circuit: &Circuit,
    cache: &WeightCache,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Prepared>, EngineError> {
    let layers = layers(circuit);
    let key = key(cache);
    let path = cache.directory.join(format!("{}.weights", key.to_hex()));
    let shown = path.display();
    let refused = match load(context, &layers, &path, key.as_bytes()) {
        Ok(Some(prepared)) => {
            say(&format!("weights: read from {shown}"));
            return Ok(prepared);
        }
        Ok(None) => None,
        Err(reason) => Some(reason),
    };
    let own = layers.iter().map(|layer| layer.prepare(context, Source::Encode));
    let prepared = own.collect::<Result<Vec<_>, _>>()?;
    let saved = save(context, &layers, &prepared, &path, key.as_bytes());
    say(&match (saved, refused) {
        (Ok(()), None) => format!("weights: encoded, and kept in {shown}"),
        (Ok(()), Some(reason)) => format!("weights: {shown} is no cache of this program ({reason}): it was made again"),
        (Err(reason), _) => format!("weights: encoded; {shown} cannot be written: {reason}"),
    });
    Ok(prepared)
}

/// A transform of the circuit.
pub(super) struct Layer<'a> {
    origin: &'a Origin,
    transform: &'a Transform,
    operand: &'a Type,
}

impl Layer<'_> {
    /// # Errors
    /// As [`Prepared::new`], with the model's node.
    pub(super) fn prepare(&self, context: &Context, source: Source) -> Result<Prepared, EngineError> {
        let prepared = Prepared::new(context, self.transform, self.operand.level, &self.operand.scale, source);
        prepared.map_err(|cause| EngineError(format!("node \"{}\" (transform): {cause}", self.origin)))
    }
}

/// The transforms, in order.
pub(super) fn layers(circuit: &Circuit) -> Vec<Layer<'_>> {
    let mut layers = Vec::new();
    for (_, node) in circuit.nodes() {
        if let Op::Transform(transform) = node.op() {
            layers.push(Layer { origin: node.origin(), transform, operand: circuit.ty(node.operands()[0]) });
        }
    }
    layers
}

/// Of the program, the format and the engine.
fn key(cache: &WeightCache) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(MAGIC).update(&VERSION.to_le_bytes()).update(&cache.program);
    hasher.finalize()
}

fn head(key: &[u8; 32], diagonals: usize) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), key, &(diagonals as u64).to_le_bytes()].concat()
}

/// Bytes of a diagonal for ciphertexts of a level.
fn diagonal_bytes(context: &Context, level: usize) -> usize {
    8 * context.n() * (level + 1 + context.special().len())
}

/// `None` for residues that are not canonical. There are as many bytes as [`diagonal_bytes`].
fn poly(context: &Context, level: usize, bytes: &[u8]) -> Option<Poly> {
    let mut poly = Poly::zero(context.n(), level + 1 + context.special().len());
    for (i, (limb, bytes)) in poly.iter_mut().zip(bytes.chunks_exact(8 * context.n())).enumerate() {
        let q = context.modulus(context.row(level, i)).value();
        for (residue, bytes) in limb.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *residue = u64::from_le_bytes(*bytes);
            if *residue >= q {
                return None;
            }
        }
    }
    Some(poly)
}

/// `None` if there is no file.
///
/// # Errors
/// Why what is there cannot be used.
fn load(context: &Context, layers: &[Layer<'_>], path: &Path, key: &[u8; 32]) -> Result<Option<Vec<Prepared>>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause.to_string()),
    };
    let placed: Vec<Vec<Vec<BTreeSet<usize>>>> = layers.iter().map(|layer| steps(layer.transform)).collect();
    let count: usize = placed.iter().map(|steps| places(steps).count()).sum();
    let bodies = layers.iter().zip(&placed);
    let body: u64 = bodies
        .map(|(layer, steps)| places(steps).count() as u64 * diagonal_bytes(context, layer.operand.level) as u64)
        .sum();
    let (expected, found) = ((HEAD + HASH) as u64 + body, file.metadata().map_err(|e| e.to_string())?.len());
    if found != expected {
        return Err(format!("expected {expected} bytes, found {found}"));
    }
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let mut found = [0; HEAD];
    reader.read_exact(&mut found).map_err(|e| e.to_string())?;
    let head = head(key, count);
    if found[..] != head[..] {
        return Err("it was made of another program, or by another version".to_owned());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    let mut offset = HEAD as u64;
    let mut prepared = Vec::with_capacity(layers.len());
    for (layer, steps) in layers.iter().zip(&placed) {
        let level = layer.operand.level;
        let mut bytes = vec![0; diagonal_bytes(context, level)];
        let (mut made, mut stored) = (BTreeMap::new(), BTreeMap::new());
        for place in places(steps) {
            reader.read_exact(&mut bytes).map_err(|e| e.to_string())?;
            let hash = *blake3::hash(&bytes).as_bytes();
            hasher.update(&hash);
            if layer.transform.just_in_time {
                stored.insert(place, (offset, hash));
            } else {
                let poly = poly(context, level, &bytes).ok_or("a number in it is out of range")?;
                made.insert(place, poly);
            }
            offset += bytes.len() as u64;
        }
        let source = if layer.transform.just_in_time {
            let file = Mutex::new(File::open(path).map_err(|e| e.to_string())?);
            Source::Stored(Stored { file, places: stored })
        } else {
            Source::Made(made)
        };
        prepared.push(layer.prepare(context, source).map_err(|e| e.to_string())?);
    }
    let mut hash = [0; HASH];
    reader.read_exact(&mut hash).map_err(|e| e.to_string())?;
    if hash != *hasher.finalize().as_bytes() {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(Some(prepared))
}

/// Writes another file first, so that there is never half a cache.
fn save(
    context: &Context,
    layers: &[Layer<'_>],
    prepared: &[Prepared],
    path: &Path,
    key: &[u8; 32],
) -> Result<(), String> {
    let text = |cause: std::io::Error| cause.to_string();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(text)?;
    }
    // Of a name that no other process and no other thread has.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{count}.partial", std::process::id()));
    let written =
        write(context, layers, prepared, &partial, key).and_then(|()| std::fs::rename(&partial, path).map_err(text));
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed either is no further news.
        drop(std::fs::remove_file(&partial));
    }
    written
}

fn write(
    context: &Context,
    layers: &[Layer<'_>],
    prepared: &[Prepared],
    path: &Path,
    key: &[u8; 32],
) -> Result<(), String> {
    let text = |cause: std::io::Error| cause.to_string();
    let all: Vec<Vec<[usize; 3]>> = layers.iter().map(|l| places(&steps(l.transform)).collect()).collect();
    let head = head(key, all.iter().map(Vec::len).sum());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&head);
    let mut writer = BufWriter::with_capacity(BUFFER, File::create(path).map_err(text)?);
    writer.write_all(&head).map_err(text)?;
    let bytes = |poly: &Poly| poly.iter().flatten().flat_map(|residue| residue.to_le_bytes()).collect::<Vec<u8>>();
    for ((layer, prepared), places) in layers.iter().zip(prepared).zip(&all) {
        let one = |&place: &[usize; 3]| match prepared.encoded(context, place) {
            Some(poly) => Ok(bytes(poly)),
            None => diagonal(context, layer.transform, layer.operand.level, place).map(|poly| bytes(&poly)),
        };
        for places in places.chunks(AT_ONCE) {
            let diagonals = places.par_iter().map(one).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
            for bytes in diagonals {
                hasher.update(blake3::hash(&bytes).as_bytes());
                writer.write_all(&bytes).map_err(text)?;
            }
        }
    }
    writer.write_all(hasher.finalize().as_bytes()).map_err(text)?;
    let file = writer.into_inner().map_err(|cause| cause.to_string())?;
    file.sync_all().map_err(text)
}
