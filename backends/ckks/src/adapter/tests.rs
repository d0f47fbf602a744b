//! Weights that are encoded on load, just in time or read from a file: the same bits.

use std::path::PathBuf;
use std::sync::Arc;

use hec_ir::ckks::{Circuit, Ckks, Input, Op, Transform};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::parameters::Ring;
use hec_ir::slots::{Fold, Layout, LinearMap, Packed};
use hec_ir::{Builder, Scale};
use hec_runtime::engine::WeightCache;

use super::transform::{Prepared, Source};
use super::weight_cache::{layers, prepared};
use crate::tests::{bits, context_of, parameters, randomness, rings, values};
use crate::{Automorphism, Ciphertext, Context, GaloisKeys, SecretKey};

const CHAIN: [u32; 4] = [50, 40, 40, 41];
const SPECIAL: [u32; 2] = [50, 49];
const LEVEL: usize = 2;

/// A folder that goes when the test does.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hec-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Self(path)
    }

    /// The only file in it.
    fn file(&self) -> PathBuf {
        let mut files: Vec<_> = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A map of three vectors to two, and one without any rotation, each with its weights on load or just in time.
fn circuit(ring: Ring, just_in_time: bool) -> Circuit {
    let mut b = Builder::<Ckks>::new(parameters(ring, &CHAIN, &SPECIAL));
    let period = b.context().slots() / 2;
    let layout = |elements: usize| Arc::new(Packed::dense(&[elements], period).unwrap());
    let dense = |rows: u32, cols: u32| {
        let weights = values((rows * cols) as usize, 5).into();
        let block = Block { rows: (0..rows).collect(), cols: (0..cols).collect(), weights };
        Arc::new(BlockMatrix::new(rows as usize, cols as usize, vec![block]).unwrap())
    };
    let own = |i: u32| Block { rows: [i].into(), cols: [i].into(), weights: [0.5 + f64::from(i)].into() };
    let scaling = Arc::new(BlockMatrix::new(9, 9, (0..9).map(own).collect()).unwrap());
    let maps = [(dense(period as u32 + 3, 2 * period as u32 + 7), 8), (dense(9, 9), 1), (scaling, 4)];
    for (at, (matrix, baby_steps)) in maps.into_iter().enumerate() {
        let (from, to) = (layout(matrix.cols()), layout(matrix.rows()));
        let input = Input {
            name: format!("x{at}"),
            layout: Layout::Packed(from.clone()),
            level: LEVEL,
            scale: bits(35),
            public: false,
        };
        let x = b.push(Op::Input(input), &[]).unwrap();
        let bias = values(matrix.rows(), 2).into();
        let map = Arc::new(LinearMap::new(matrix, bias, from, to, Fold::None).unwrap());
        let op = Op::Transform(Transform { map, weight_scale: Scale::power_of_two(30), baby_steps, just_in_time });
        let y = b.push(op, &[x]).unwrap();
        b.output(&format!("y{at}"), y);
    }
    b.finish()
}

struct Lab {
    context: Context,
    operands: Vec<Ciphertext>,
    keys: GaloisKeys,
}

impl Lab {
    fn new(ring: Ring) -> Self {
        let context = context_of(ring, &CHAIN, &SPECIAL);
        let mut randomness = randomness(1);
        let secret = SecretKey::generate(&context, &mut randomness);
        let slots = context.parameters().slots();
        let operand = |seed: usize, randomness: &mut _| {
            let plaintext = context.encode(&values(slots, seed), LEVEL, &bits(35)).unwrap();
            secret.encrypt(&context, &plaintext, randomness).unwrap()
        };
        let operands = (0..3).map(|seed| operand(seed, &mut randomness)).collect();
        let steps = (1..slots).map(|steps| (Automorphism::Rotation { steps: steps as i64 }, LEVEL));
        let keys = GaloisKeys::generate(&context, &secret, steps, &mut randomness).unwrap();
        Self { context, operands, keys }
    }

    fn results(&self, transforms: &[Prepared]) -> Vec<Vec<Ciphertext>> {
        let all: Vec<&Ciphertext> = self.operands.iter().collect();
        let operands = [&all[..], &all[..1], &all[..1]];
        let apply = |(prepared, operands): (&Prepared, &[&Ciphertext])| {
            prepared.apply(&self.context, operands, &self.keys).unwrap()
        };
        transforms.iter().zip(operands).map(apply).collect()
    }

    /// Results with the cache, and what it said.
    fn cached(&self, circuit: &Circuit, cache: &WeightCache) -> (Vec<Vec<Ciphertext>>, String) {
        let mut said = String::new();
        let own = prepared(&self.context, circuit, cache, &mut |line| said.push_str(line)).unwrap();
        (self.results(&own), said)
    }
}

#[test]
fn weights_are_the_same_bits_however_they_come() {
    for ring in rings(6) {
        let lab = Lab::new(ring);
        let [on_load, waiting] = [false, true].map(|just_in_time| circuit(ring, just_in_time));
        let plain = |circuit: &Circuit| -> Vec<Prepared> {
            layers(circuit).iter().map(|layer| layer.prepare(&lab.context, Source::Encode).unwrap()).collect()
        };
        let expected = lab.results(&plain(&on_load));
        assert!(expected == lab.results(&plain(&waiting)), "just in time");
        for (circuit, name) in [(&on_load, "on-load"), (&waiting, "just-in-time")] {
            let folder = Folder::new(&format!("weights-{name}-{:?}", ring.ring_type));
            let cache = WeightCache { directory: folder.0.clone(), program: [7; 32] };
            for said in ["encoded, and kept in", "read from"] {
                let (found, line) = lab.cached(circuit, &cache);
                assert!(expected == found && line.contains(said), "{name}: {line}");
            }
        }
    }
}

#[test]
fn caches_that_are_damaged_or_of_others_are_made_again() {
    let ring = Ring::conjugate_invariant(6);
    let lab = Lab::new(ring);
    for just_in_time in [false, true] {
        let circuit = circuit(ring, just_in_time);
        let folder = Folder::new(&format!("damaged-weights-{just_in_time}"));
        let cache = WeightCache { directory: folder.0.clone(), program: [7; 32] };
        let (expected, _) = lab.cached(&circuit, &cache);
        let (path, good) = (folder.file(), std::fs::read(folder.file()).unwrap());
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] ^= value;
            bytes
        };
        // The first byte of a residue: the head is 52 bytes long.
        let middle = 52 + good.len() / 2 / 8 * 8;
        let cases = [
            (good[..good.len() - 1].to_vec(), "expected"),
            (Vec::new(), "found 0"),
            (changed(0, 1), "another program"),
            (changed(20, 1), "another program"),
            (changed(middle, 1), if just_in_time { "checksum" } else { "" }),
            (changed(middle + 7, 0x80), if just_in_time { "checksum" } else { "out of range" }),
            (changed(good.len() - 1, 1), "checksum"),
        ];
        for (bytes, reason) in cases {
            std::fs::write(&path, bytes).unwrap();
            let (found, line) = lab.cached(&circuit, &cache);
            assert!(line.contains("made again") && line.contains(reason) && !line.contains('\n'), "{reason}: {line}");
            assert!(found == expected && std::fs::read(folder.file()).unwrap() == good, "{reason}");
        }
    }
}

/// A file that changes while a program runs costs time, and no answer.
#[test]
fn what_cannot_be_read_any_more_is_encoded() {
    let ring = Ring::standard(6);
    let (lab, circuit) = (Lab::new(ring), circuit(ring, true));
    let folder = Folder::new("changing-weights");
    let cache = WeightCache { directory: folder.0.clone(), program: [7; 32] };
    let (expected, _) = lab.cached(&circuit, &cache);
    let own = prepared(&lab.context, &circuit, &cache, &mut |line| assert!(line.contains("read from"))).unwrap();
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes.iter_mut().skip(64).step_by(5).for_each(|byte| *byte ^= 0x55);
    std::fs::write(folder.file(), bytes).unwrap();
    assert!(lab.results(&own) == expected);
}
