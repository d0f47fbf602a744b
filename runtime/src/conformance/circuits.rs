use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::ckks::{Ckks, Combine, DropLevel, MAX_DEGREE, Op};
use hec_ir::graph::GraphError;
use hec_ir::matrix::{Block, BlockMatrix, MatrixError};
use hec_ir::slots::Gather;
use hec_ir::{Builder, Scale, Value};

use super::harness::{Random, SCALE_BITS, Setting, TOP, Verdict, input, public_input, run, scale};
use crate::engine::{Client, Engine, Evaluator};
use crate::expand;

/// Every array length that the elementwise cases run with.
const LENGTHS: std::ops::RangeInclusive<usize> = 1..=7;

/// Fresh ciphertexts decrypt to what was encrypted; slots that were not given are 0.
///
/// # Errors
/// What differs.
pub fn encrypt_and_decrypt<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 3, TOP, scale())?;
    b.output("y", x);
    let circuit = b.finish();
    setting.check(engine, &circuit)?;

    let vectors = vec![vec![], vec![0.5], Random::new(2).reals(setting.parameters()?.slots() / 2 + 1)];
    let inputs = BTreeMap::from([("x".to_owned(), vectors)]);
    setting.compare(&super::meaning(&circuit, &inputs), &run(engine, &circuit, &inputs)?)
}

/// Encryption works at every level and at other scales than the usual.
///
/// # Errors
/// What differs.
pub fn encrypt_at_every_level<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    for level in 0..=TOP {
        for scale in [scale(), Scale::prime(setting.parameters()?.moduli()[1]), Scale::power_of_two(SCALE_BITS + 5)] {
            let mut b = setting.builder()?;
            let x = input(&mut b, "x", 2, level, scale)?;
            b.output("y", x);
            setting.check(engine, &b.finish())?;
        }
    }
    Ok(())
}

fn elementwise_pairs<E: Engine>(engine: &E, setting: &Setting, op: &Op) -> Verdict {
    for length in LENGTHS {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", length, TOP, scale())?;
        let y = input(&mut b, "y", length, TOP, scale())?;
        let z = b.push(op.clone(), &[x, y])?;
        let same = b.push(op.clone(), &[z, z])?;
        b.output("pair", z);
        b.output("with itself", same);
        setting.check(engine, &b.finish())?;
    }
    Ok(())
}

/// Sums.
///
/// # Errors
/// What differs.
pub fn add<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    elementwise_pairs(engine, setting, &Op::Add)
}

/// Differences.
///
/// # Errors
/// What differs.
pub fn subtract<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    elementwise_pairs(engine, setting, &Op::Subtract)
}

/// Sums and differences of degrees 1 and 2, either way round.
///
/// # Errors
/// What differs.
pub fn add_of_unequal_degrees<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 3, TOP, scale())?;
    let y = input(&mut b, "y", 3, TOP, Scale::power_of_two(2 * SCALE_BITS))?;
    let square = b.push(Op::Square, &[x])?;
    for (name, op, operands) in [
        ("high + low", Op::Add, [square, y]),
        ("low + high", Op::Add, [y, square]),
        ("high - low", Op::Subtract, [square, y]),
        ("low - high", Op::Subtract, [y, square]),
    ] {
        let z = b.push(op, &operands)?;
        b.output(name, z);
    }
    setting.check(engine, &b.finish())
}

/// The scale of the weights in these cases.
fn weight_scale() -> Scale {
    Scale::power_of_two(12)
}

fn with_biases(matrix: BlockMatrix<i32>, random: &mut Random) -> Op {
    let bias: Arc<[f64]> = random.reals(matrix.rows()).into();
    Op::Combine(Combine { matrix: Arc::new(matrix), weight_scale: weight_scale(), bias })
}

fn dense(rows: usize, cols: usize, random: &mut Random) -> Result<Op, MatrixError> {
    let all = |n: usize| (0..n as u32).collect();
    let weights = (0..rows * cols).map(|_| random.weight(1 << 12)).collect();
    let matrix = BlockMatrix::new(rows, cols, vec![Block { rows: all(rows), cols: all(cols), weights }])?;
    Ok(with_biases(matrix, random))
}

fn block(rows: &[u32], cols: &[u32], weights: &Arc<[i32]>) -> Block<i32> {
    Block { rows: rows.into(), cols: cols.into(), weights: weights.clone() }
}

/// Blocks that share weights, overlap in rows and columns, leave columns out, and stand out of order; some are empty.
fn blocks(random: &mut Random) -> Result<Op, MatrixError> {
    let shared: Arc<[i32]> = (0..6).map(|_| random.weight(1 << 12)).collect();
    let other: Arc<[i32]> = [4096, 0, -4096, 1].into();
    let none: Arc<[i32]> = [].into();
    let matrix = BlockMatrix::new(
        8,
        7,
        vec![
            block(&[4, 6], &[5, 1, 3], &shared),
            block(&[0, 1], &[0, 1, 2], &shared),
            block(&[1, 4], &[2, 0], &other),
            block(&[0, 1, 7], &[4, 1], &shared),
            block(&[2], &[], &none),
            block(&[], &[6], &none),
        ],
    )?;
    Ok(with_biases(matrix, random))
}

fn one_combine<E: Engine>(engine: &E, setting: &Setting, length: usize, op: Op) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", length, TOP, scale())?;
    let y = b.push(op, &[x])?;
    b.output("y", y);
    setting.check(engine, &b.finish())
}

/// Dense matrices of every small shape, at several levels.
///
/// # Errors
/// What differs.
pub fn combine_dense<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(3);
    for length in LENGTHS {
        for rows in [1, 2, 5] {
            one_combine(engine, setting, length, dense(rows, length, &mut random)?)?;
        }
    }
    for level in 1..TOP {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", 4, level, scale())?;
        let y = b.push(dense(3, 4, &mut random)?, &[x])?;
        b.output("y", y);
        setting.check(engine, &b.finish())?;
    }
    Ok(())
}

/// Overlapping blocks that share weights.
///
/// # Errors
/// What differs.
pub fn combine_blocks<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    one_combine(engine, setting, 7, blocks(&mut Random::new(4))?)
}

/// Rows that only have a bias, zero weights, and the largest weights.
///
/// # Errors
/// What differs.
pub fn combine_rows_without_weights<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(5);
    one_combine(engine, setting, 2, with_biases(BlockMatrix::new(3, 2, vec![])?, &mut random))?;
    let zero = block(&[0, 2], &[1], &[0, 0].into());
    one_combine(engine, setting, 2, with_biases(BlockMatrix::new(3, 2, vec![zero])?, &mut random))?;
    let limit = 1 << hec_ir::ckks::MAX_WEIGHT_BITS;
    let largest = block(&[0, 1], &[0, 1, 2], &[limit, -limit, limit, -limit, -limit, -limit].into());
    one_combine(engine, setting, 3, with_biases(BlockMatrix::new(2, 3, vec![largest])?, &mut random))
}

/// More rows and columns than any kernel has lanes or tiles.
///
/// # Errors
/// What differs.
pub fn combine_wide<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(6);
    one_combine(engine, setting, 150, dense(37, 150, &mut random)?)
}

/// Combines of degrees 2, 3 and 4.
///
/// # Errors
/// What differs.
pub fn combine_of_high_degree<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(7);
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 5, TOP, scale())?;
    let mut power = x;
    for degree in 2..=MAX_DEGREE {
        power = b.push(Op::Multiply, &[power, x])?;
        let y = b.push(dense(3, 5, &mut random)?, &[power])?;
        b.output(&format!("degree {degree}"), y);
    }
    setting.check(engine, &b.finish())
}

/// The engine's combine and its expansion into operations on single ciphertexts give the same.
///
/// # Errors
/// What differs.
pub fn combine_agrees_with_its_expansion<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&setting.builder()?.finish())?;
    let mut random = Random::new(8);
    let Op::Combine(combine) = blocks(&mut random)? else { return Err("not a combine".into()) };
    let mut x = Vec::new();
    for _ in 0..combine.matrix.cols() {
        x.push(client.encrypt(&random.reals(setting.parameters()?.slots()), TOP, &scale())?);
    }
    let x: Vec<&E::Ciphertext> = x.iter().collect();
    let decrypt = |array: Vec<E::Ciphertext>| array.iter().map(|c| client.decrypt(c)).collect::<Result<Vec<_>, _>>();
    let (whole, expanded) = (evaluator.combine(&x, &combine)?, expand::combine(&evaluator, &x, &combine)?);
    for (index, (a, b)) in whole.iter().zip(&expanded).enumerate() {
        let (a, b) = (evaluator.metadata(a), evaluator.metadata(b));
        if a != b {
            return Err(format!("row {index}: the kernel answers {a}, the expansion {b}").into());
        }
    }
    let named = |array| Ok::<_, crate::EngineError>([("expansion against kernel".to_owned(), decrypt(array)?)]);
    setting.compare(&named(expanded)?, &named(whole)?)
}

/// Elements repeated, reordered and left out.
///
/// # Errors
/// What differs.
pub fn gather<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 5, TOP, scale())?;
    let y = b.push(Op::Gather(Gather { indices: [4, 0, 0, 2].into() }), &[x])?;
    let z = b.push(Op::Square, &[y])?;
    b.output("y", y);
    b.output("z", z);
    setting.check(engine, &b.finish())
}

/// Arrays one after the other, one of them twice.
///
/// # Errors
/// What differs.
pub fn concat<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 2, TOP, scale())?;
    let y = input(&mut b, "y", 3, TOP, scale())?;
    let all = b.push(Op::Concat, &[x, y, x])?;
    let sum = b.push(Op::Add, &[all, all])?;
    b.output("all", all);
    b.output("sum", sum);
    setting.check(engine, &b.finish())
}

/// Squares, of degree 1 and of degree 2.
///
/// # Errors
/// What differs.
pub fn square<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    for length in LENGTHS {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", length, TOP, scale())?;
        let y = b.push(Op::Square, &[x])?;
        let z = b.push(Op::Square, &[y])?;
        b.output("square", y);
        b.output("fourth power", z);
        setting.check(engine, &b.finish())?;
    }
    Ok(())
}

/// Products, also with itself.
///
/// # Errors
/// What differs.
pub fn multiply<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    elementwise_pairs(engine, setting, &Op::Multiply)
}

/// Products of degrees 1x1, 2x1, 1x2, 3x1, 1x3 and 2x2.
///
/// # Errors
/// What differs.
pub fn multiply_to_the_highest_degree<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 2, TOP, scale())?;
    let y = input(&mut b, "y", 2, TOP, scale())?;
    let xy = b.push(Op::Multiply, &[x, y])?;
    let yx = b.push(Op::Multiply, &[y, x])?;
    let xyx = b.push(Op::Multiply, &[xy, x])?;
    let yyx = b.push(Op::Multiply, &[y, yx])?;
    for (name, pair) in [("3x1", [xyx, y]), ("1x3", [x, yyx]), ("2x2", [xy, yx])] {
        let z = b.push(Op::Multiply, &pair)?;
        b.output(name, z);
    }
    b.output("2x1", xyx);
    b.output("1x2", yyx);
    setting.check(engine, &b.finish())
}

/// `x`, `x^2`, .. of the input at level `level`, by degree, without relinearization.
fn powers(b: &mut Builder<Ckks>, x: Value) -> Result<Vec<(usize, Value)>, GraphError> {
    let mut powers = vec![(1, x)];
    let mut power = x;
    for degree in 2..=MAX_DEGREE {
        power = b.push(Op::Multiply, &[power, x])?;
        powers.push((degree, power));
    }
    Ok(powers)
}

/// Relinearization from degrees 2, 3 and 4; each alone, so that keys are made for that degree, and all together.
///
/// # Errors
/// What differs.
pub fn relinearize<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    for only in [Some(2), Some(3), Some(4), None] {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", 3, TOP, scale())?;
        for (degree, power) in powers(&mut b, x)?.into_iter().skip(1) {
            if only.is_none_or(|only| only == degree) {
                let y = b.push(Op::Relinearize, &[power])?;
                b.output(&format!("degree {degree}"), y);
            }
        }
        setting.check(engine, &b.finish())?;
    }
    Ok(())
}

/// One key serves ciphertexts at its own level and at lower ones.
///
/// # Errors
/// What differs.
pub fn relinearize_below_the_top_level<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 2, TOP - 1, scale())?;
    let square = b.push(Op::Square, &[x])?;
    for levels in 0..TOP - 2 {
        let at = if levels == 0 { square } else { b.push(Op::DropLevel(DropLevel { levels }), &[square])? };
        let y = b.push(Op::Relinearize, &[at])?;
        b.output(&format!("{levels} levels down"), y);
    }
    setting.check(engine, &b.finish())
}

/// Rescaling at every level and degree.
///
/// # Errors
/// What differs.
pub fn rescale<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    for level in 1..=TOP {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", 3, level, Scale::power_of_two(2 * SCALE_BITS))?;
        let y = b.push(Op::Rescale, &[x])?;
        b.output("y", y);
        setting.check(engine, &b.finish())?;
    }
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 2, TOP, scale())?;
    for (degree, power) in powers(&mut b, x)?.into_iter().skip(1) {
        let y = b.push(Op::Rescale, &[power])?;
        b.output(&format!("degree {degree}"), y);
    }
    setting.check(engine, &b.finish())
}

/// Dropping any number of levels, at any degree that still fits.
///
/// # Errors
/// What differs.
pub fn drop_level<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 2, TOP, scale())?;
    for (degree, power) in powers(&mut b, x)? {
        for levels in 1..=TOP + 1 - degree {
            let y = b.push(Op::DropLevel(DropLevel { levels }), &[power])?;
            b.output(&format!("degree {degree}, {levels} levels"), y);
        }
    }
    setting.check(engine, &b.finish())
}

/// `(x^2 + x)^2`, relinearised and rescaled as a compiler would.
///
/// # Errors
/// What differs.
pub fn polynomial_of_degree_four<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 4, TOP, scale())?;
    let squared = b.push(Op::Square, &[x])?;
    let squared = b.push(Op::Relinearize, &[squared])?;
    // One in two factors, since an integer weight does not reach the scale of x^2.
    let one = Op::Combine(Combine {
        matrix: Arc::new(identity(4, 1 << 20)?),
        weight_scale: Scale::power_of_two(20),
        bias: [0.0; 4].into(),
    });
    let lifted = b.push(one.clone(), &[x])?;
    let lifted = b.push(one, &[lifted])?;
    let sum = b.push(Op::Add, &[squared, lifted])?;
    let sum = b.push(Op::Rescale, &[sum])?;
    let y = b.push(Op::Square, &[sum])?;
    let y = b.push(Op::Relinearize, &[y])?;
    let y = b.push(Op::Rescale, &[y])?;
    b.output("y", y);
    setting.check(engine, &b.finish())
}

fn identity(length: usize, weight: i32) -> Result<BlockMatrix<i32>, MatrixError> {
    let weights: Arc<[i32]> = [weight].into();
    let blocks = (0..length as u32).map(|i| block(&[i], &[i], &weights)).collect();
    BlockMatrix::new(length, length, blocks)
}

/// A small network: combine, square, combine, square, combine. Scales stay above 2^30.
///
/// # Errors
/// What differs.
pub fn network<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(9);
    let mut b = setting.builder()?;
    let mut x = input(&mut b, "x", 7, TOP, scale())?;
    for (rows, cols) in [(8, 7), (4, 8)] {
        let first = if cols == 7 { blocks(&mut random)? } else { dense(rows, cols, &mut random)? };
        x = b.push(first, &[x])?;
        if b.ty(x).scale.log2() > 70.0 {
            x = b.push(Op::Rescale, &[x])?;
        }
        x = b.push(Op::Square, &[x])?;
        x = b.push(Op::Relinearize, &[x])?;
        x = b.push(Op::Rescale, &[x])?;
    }
    let y = b.push(dense(2, 4, &mut random)?, &[x])?;
    b.output("y", y);
    setting.check(engine, &b.finish())
}

/// Inputs at different levels that meet lower down; an output that is also an operand, and an input that is an output.
///
/// # Errors
/// What differs.
pub fn two_inputs_two_outputs<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 3, TOP, scale())?;
    let y = input(&mut b, "y", 3, TOP - 2, scale())?;
    let low = b.push(Op::DropLevel(DropLevel { levels: 2 }), &[x])?;
    let sum = b.push(Op::Add, &[low, y])?;
    let product = b.push(Op::Multiply, &[sum, y])?;
    b.output("sum", sum);
    b.output("product", product);
    b.output("y", y);
    setting.check(engine, &b.finish())
}

/// An input that is encoded and not encrypted, in every operation alone and together with one that is encrypted; what depends on
/// it alone decrypts as well. What cannot be encoded is refused.
///
/// # Errors
/// What differs.
pub fn an_input_in_the_clear<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(10);
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 3, TOP, scale())?;
    let p = public_input(&mut b, "p", 3, TOP, scale())?;
    let sum = b.push(Op::Add, &[x, p])?;
    let difference = b.push(Op::Subtract, &[p, x])?;
    let product = b.push(Op::Multiply, &[p, x])?;
    let higher = b.push(Op::Multiply, &[product, p])?;
    let product = b.push(Op::Relinearize, &[product])?;
    let product = b.push(Op::Rescale, &[product])?;
    let all = b.push(Op::Concat, &[x, p])?;
    let combined = b.push(dense(2, 6, &mut random)?, &[all])?;
    let square = b.push(Op::Square, &[p])?;
    let square = b.push(Op::Relinearize, &[square])?;
    let lower = b.push(Op::DropLevel(DropLevel { levels: 2 }), &[p])?;
    for (name, value) in [
        ("p", p),
        ("x + p", sum),
        ("p - x", difference),
        ("p x", product),
        ("p x p", higher),
        ("combined", combined),
        ("p^2", square),
        ("p, lower", lower),
    ] {
        b.output(name, value);
    }
    let circuit = b.finish();
    setting.check(engine, &circuit)?;

    let (_, evaluator) = engine.generate(&circuit)?;
    let slots = setting.parameters()?.slots();
    for (what, values, level) in [
        ("a value that is not finite", vec![f64::NAN], TOP),
        ("a value that does not fit", vec![1e9; slots], 0),
        ("more values than slots", vec![0.0; slots + 1], TOP),
        ("a level above the chain", vec![0.0], TOP + 1),
    ] {
        if evaluator.encode(&values, level, &scale()).is_ok() {
            return Err(format!("{what} was encoded").into());
        }
    }
    Ok(())
}
