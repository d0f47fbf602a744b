use super::assignment::{Assignment, Ids, distinct_choices};
use super::*;
use crate::matrix::Block;
use crate::slots::{Digit, Place};

fn dense(rows: usize, cols: usize) -> (Arc<BlockMatrix<f64>>, Arc<[f64]>) {
    let weights = (0..rows * cols).map(|i| 1.0 + (i * 37 % 19) as f64).collect();
    let bias = (0..rows).map(|row| row as f64).collect();
    (Arc::new(BlockMatrix::dense(rows, cols, weights).unwrap()), bias)
}

fn line(elements: usize, period: usize, stride: usize, repetition: [usize; 2]) -> Arc<Packed> {
    let place = Place::Strided(vec![Digit { size: elements, stride }]);
    Arc::new(Packed::new(vec![elements], period, 1, repetition, place).unwrap())
}

/// The map on a sample, read where the result lies; and the number of its diagonals.
fn checked(map: &LinearMap) -> usize {
    let x: Vec<f64> = (0..map.from.elements()).map(|i| (i as f64).sin()).collect();
    let steps: usize = map.steps().values().map(BTreeSet::len).sum();
    let spread = map.from.spread(&x);
    let (y, directly) = (map.apply_folded(&spread), map.apply(&spread));
    assert!(y.iter().zip(&directly).all(|(a, b)| (a - b).abs() < 1e-9), "{map:?}");
    let expected = map.matrix.apply(&x);
    for (slot, entry) in map.to.table().into_iter().enumerate().filter(|(_, entry)| *entry > 0) {
        let row = entry as usize - 1;
        assert!((y[slot] - expected[row] - map.bias[row]).abs() < 1e-9, "slot {slot} of {map:?}");
    }
    let keys = map.diagonals().weights.keys().copied();
    assert!(keys.eq(map.steps().iter().flat_map(|([to, from], steps)| steps.iter().map(|step| [*to, *from, *step]))));
    steps
}

#[test]
fn blocks_that_do_the_same_elsewhere_are_looked_at_once() {
    // A convolution of one row of 16 elements, padded, two channels in and three out: a block for each place.
    let weights: Arc<[f64]> = (0..3 * 2 * 3).map(|i| f64::from(i % 5)).collect();
    let edge: Arc<[f64]> = (0..3 * 2 * 2).map(|i| f64::from(i % 3) + 1.0).collect();
    let block = |at: u32| {
        let taps: Vec<u32> = (at.saturating_sub(1)..=(at + 1).min(15)).collect();
        let cols: Vec<u32> = (0..2).flat_map(|channel| taps.iter().map(move |tap| channel * 16 + tap)).collect();
        let weights = if taps.len() == 3 { weights.clone() } else { edge.clone() };
        Block { rows: (0..3).map(|channel| channel * 16 + at).collect(), cols: cols.into(), weights }
    };
    let matrix = Arc::new(BlockMatrix::new(48, 32, (0..16).map(block).collect()).unwrap());
    let bias: Arc<[f64]> = vec![0.5; 48].into();
    for (from, to, fold) in [
        (line(32, 128, 1, [128, 0]), line(48, 128, 1, [128, 0]), Fold::None),
        (line(32, 128, 1, [32, 0]), line(48, 128, 1, [128, 0]), Fold::None),
        (line(32, 128, 1, [32, 4]), line(48, 128, 1, [64, 0]), Fold::Full { period: 64 }),
        (line(32, 128, 1, [32, 0]), line(48, 128, 2, [128, 0]), Fold::Window { width: 2 }),
    ] {
        checked(&LinearMap::new(matrix.clone(), bias.clone(), from, to, fold).unwrap());
    }
}

#[test]
fn folds_and_copies_save_diagonals() {
    let (matrix, bias) = dense(16, 100);
    let map = |from: &Arc<Packed>, to: &Arc<Packed>, fold| {
        checked(&LinearMap::new(matrix.clone(), bias.clone(), from.clone(), to.clone(), fold).unwrap())
    };
    let (once, copies) = (line(100, 1024, 1, [1024, 0]), line(100, 1024, 1, [128, 0]));
    let turned = line(100, 1024, 1, [128, 2]);
    let (repeated, apart) = (line(16, 1024, 1, [16, 0]), line(16, 1024, 64, [1024, 0]));
    assert_eq!(map(&once, &line(16, 1024, 1, [1024, 0]), Fold::None), 115);
    assert_eq!(map(&once, &repeated, Fold::Full { period: 16 }), 16);
    assert_eq!(map(&copies, &repeated, Fold::Full { period: 16 }), 16);
    assert_eq!(map(&turned, &repeated, Fold::Full { period: 16 }), 2);
    assert_eq!(map(&copies, &apart, Fold::Window { width: 64 }), 2);
    let (matrix, bias) = dense(10, 16);
    let last = LinearMap::new(matrix, bias, apart, line(10, 1024, 1, [16, 0]), Fold::Full { period: 16 }).unwrap();
    assert_eq!(checked(&last), 10);
}

#[test]
fn folds_take_as_many_rotations_as_their_terms_have_bits() {
    assert_eq!(Fold::Full { period: 16 }.steps(128), [16, 32, 64]);
    assert_eq!(Fold::Window { width: 8 }.steps(128), [1, 2, 4]);
    assert_eq!(Fold::Full { period: 128 }.steps(128), [0; 0]);
    assert_eq!(Fold::None.steps(128), [0; 0]);
}

#[test]
fn what_is_no_map_is_refused() {
    let (matrix, bias) = dense(4, 8);
    let new = |from: Arc<Packed>, to: Arc<Packed>, fold| {
        LinearMap::new(matrix.clone(), bias.clone(), from, to, fold).unwrap_err().0
    };
    let (from, to) = (line(8, 32, 1, [8, 0]), line(4, 32, 1, [4, 0]));
    let refused = [
        (new(to.clone(), from.clone(), Fold::None), "a 4x8 matrix with 4 biases does not map 4 elements to 8"),
        (new(from.clone(), line(4, 64, 1, [4, 0]), Fold::None), "vectors of 32 and 64 virtual slots"),
        (new(from.clone(), to.clone(), Fold::Full { period: 3 }), "fold full 3 of vectors of 32 virtual slots"),
        (new(from.clone(), to.clone(), Fold::Full { period: 64 }), "fold full 64"),
        (new(from.clone(), to.clone(), Fold::Full { period: 2 }), "does not leave its sums where"),
        (new(from.clone(), to, Fold::Window { width: 2 }), "does not leave its sums where"),
    ];
    for (found, expected) in refused {
        assert!(found.contains(expected), "{found}\n{expected}");
    }
    let infinite = LinearMap::new(matrix.clone(), [f64::NAN; 4].into(), from.clone(), from.clone(), Fold::None);
    assert!(infinite.is_err());
    // Many weights for many slots each, in few bytes of a file.
    let weights: Arc<[f64]> = vec![1.0; 1 << 12].into();
    let all = |n: u32| -> Arc<[u32]> { (0..n).collect() };
    let block = |_| Block { rows: all(1), cols: all(1 << 12), weights: weights.clone() };
    let huge = Arc::new(BlockMatrix::new(1, 1 << 12, (0..16).map(block).collect()).unwrap());
    let everywhere = Packed::new(vec![1], 1 << 17, 1, [1, 0], Place::Strided(Vec::new())).unwrap();
    let from = line(1 << 12, 1 << 17, 1, [1 << 12, 0]);
    let error = LinearMap::new(huge, [0.0].into(), from, Arc::new(everywhere), Fold::None).unwrap_err().0;
    assert!(error.contains("weights for 131072 slots each"), "{error}");
}

#[test]
fn too_many_slots_to_tell_blocks_apart_are_not_kept() {
    // Every block another column: no two are alike, and each names all copies of its elements.
    let block = |at: u32| Block { rows: [at].into(), cols: [at].into(), weights: [f64::from(at) + 1.0].into() };
    let matrix = Arc::new(BlockMatrix::new(8, 8, (0..8).map(block).collect()).unwrap());
    let (from, to) = (line(8, 64, 1, [8, 0]), line(8, 64, 3, [64, 0]));
    let map = LinearMap::new(matrix, vec![0.0; 8].into(), from, to, Fold::None).unwrap();
    let ids = Ids { operands: 1, period: 64 };
    // Five numbers and two lengths, one target, eight copies of the column.
    const NUMBERS: usize = 5 + 2 + 1 + 8;
    assert!(distinct_choices(&map, ids, NUMBERS - 1).is_none());
    assert!(distinct_choices(&map, ids, NUMBERS).is_none(), "the second block is one too many");
    let steps = |chosen: Vec<u32>| chosen.into_iter().collect::<BTreeSet<u32>>();
    let found = distinct_choices(&map, ids, 8 * NUMBERS).map(steps);
    assert_eq!(found, Some(steps(Assignment::new(&map).chosen)));
    checked(&map);
}
