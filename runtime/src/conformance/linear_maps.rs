use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use hec_ir::ckks::{self, Ckks, Op, Transform};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::slots::{Fold, Layout, LinearMap, Packed, Place};
use hec_ir::tensor::{self, Element, TensorType, Tensors};
use hec_ir::{Builder, Program, Scale, Value};

use super::harness::{Random, Setting, TOP, Verdict, input, scale};
use crate::batch::SampleBatch;
use crate::engine::{Client, Engine, Evaluator};
use crate::expand;
use crate::progress::Silent;
use crate::run::run_batches;

type Failure = Box<dyn Error + Send + Sync>;

/// A matrix and a bias.
type Affine = (Arc<BlockMatrix<f64>>, Arc<[f64]>);

/// Random weights of a `rows x cols` matrix, some of them 0, with biases.
fn affine(rows: usize, cols: usize, random: &mut Random) -> Result<Affine, Failure> {
    let weight = |random: &mut Random| if random.real() > 0.8 { 0.0 } else { random.real() / 4.0 };
    let weights = (0..rows * cols).map(|_| weight(random)).collect();
    let all = |n: usize| (0..n as u32).collect();
    let block = Block { rows: all(rows), cols: all(cols), weights };
    Ok((Arc::new(BlockMatrix::new(rows, cols, vec![block])?), random.reals(rows).into()))
}

/// `elements` in a scattered order, `every` so many slots, each repetition turned by `shift`.
fn scattered(elements: usize, period: usize, [every, shift]: [usize; 2]) -> Result<Arc<Packed>, Failure> {
    let mut table = vec![0; every];
    (0..elements).for_each(|element| table[(5 * element + 1) % every] = element as u32 + 1);
    Ok(Arc::new(Packed::new(vec![elements], period, 1, [every, shift], Place::Table(table.into()))?))
}

/// Each element at a multiple of `width`.
fn at_multiples(elements: usize, period: usize, width: usize) -> Result<Arc<Packed>, Failure> {
    let mut table = vec![0; period];
    (0..elements).for_each(|element| table[element * width] = element as u32 + 1);
    Ok(Arc::new(Packed::new(vec![elements], period, 1, [period, 0], Place::Table(table.into()))?))
}

/// Maps of each kind of fold, of vectors with `period` virtual slots.
fn maps(period: usize, random: &mut Random) -> Result<Vec<LinearMap>, Failure> {
    let from = scattered(13, period, [16, 0])?;
    let turned = scattered(13, period, [16, 4])?;
    let (matrix, bias) = affine(6, 13, random)?;
    let to = |every| scattered(6, period, [every, 0]);
    let map = |from: &Arc<Packed>, to, fold| LinearMap::new(matrix.clone(), bias.clone(), from.clone(), to, fold);
    Ok(vec![
        map(&from, to(8)?, Fold::Full { period: 8 })?,
        map(&turned, to(8)?, Fold::Full { period: 8 })?,
        map(&from, at_multiples(6, period, period / 8)?, Fold::Window { width: period / 8 })?,
        map(&turned, to(period)?, Fold::None)?,
    ])
}

/// Adds a map and its fold.
fn push(b: &mut Builder<Ckks>, x: Value, map: LinearMap, baby_steps: usize) -> Result<Value, Failure> {
    let samples = b.context().slots() / map.period();
    let steps: Vec<usize> = map.fold().steps(map.period()).into_iter().map(|step| step * samples).collect();
    let weight_scale = Scale::prime(b.context().moduli()[b.ty(x).level]);
    let y = b.push(
        Op::Transform(Transform { map: Arc::new(map), weight_scale, baby_steps, just_in_time: baby_steps == 8 }),
        &[x],
    )?;
    let y = b.push(Op::Rescale, &[y])?;
    Ok(if steps.is_empty() { y } else { b.push(Op::Fold(ckks::Fold { steps }), &[y])? })
}

/// Sums of rotations.
///
/// # Errors
/// What differs.
pub fn fold<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let slots = setting.parameters()?.slots();
    for steps in [vec![1], vec![1, 2, 4], vec![slots / 2, slots / 4], vec![slots - 1, 3]] {
        let mut b = setting.builder()?;
        let x = input(&mut b, "x", 2, TOP - 3, scale())?;
        let y = b.push(Op::Fold(ckks::Fold { steps }), &[x])?;
        b.output("y", y);
        setting.check(engine, &b.finish())?;
    }
    Ok(())
}

/// Maps with and without folds, for one sample and for several, at two levels and with any number of baby steps.
///
/// # Errors
/// What differs.
pub fn transform<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let slots = setting.parameters()?.slots();
    let mut random = Random::new(20);
    for (period, level) in [(slots, TOP), (slots / 4, TOP - 2), (32, TOP - 4)] {
        for (map, baby_steps) in maps(period, &mut random)?.into_iter().zip([4, 1, period, 8]) {
            let mut b = setting.builder()?;
            let x = input(&mut b, "x", 1, level, scale())?;
            let y = push(&mut b, x, map, baby_steps)?;
            b.output("y", y);
            setting.check(engine, &b.finish())?;
        }
    }
    Ok(())
}

/// A tensor over three vectors, and a result over two.
///
/// # Errors
/// What differs.
pub fn transform_of_several_vectors<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(21);
    let (matrix, bias) = affine(40, 70, &mut random)?;
    let layout = |elements: usize| Packed::dense(&[elements], 32).map(Arc::new);
    let map = LinearMap::new(matrix, bias, layout(70)?, layout(40)?, Fold::None)?;
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 3, TOP - 2, scale())?;
    let y = push(&mut b, x, map, 4)?;
    b.output("y", y);
    setting.check(engine, &b.finish())
}

/// [`Evaluator::transform`] gives what [`expand::transform`] gives.
///
/// # Errors
/// What differs.
pub fn transform_agrees_with_its_expansion<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(22);
    let map = Arc::new(maps(64, &mut random)?.remove(0));
    let transform = Transform { map, weight_scale: Scale::power_of_two(30), baby_steps: 4, just_in_time: false };
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 1, TOP - 3, scale())?;
    let y = b.push(Op::Transform(transform.clone()), &[x])?;
    b.output("y", y);
    let (client, evaluator) = engine.generate(&b.finish())?;
    let x = client.encrypt(&random.reals(evaluator.slots()), TOP - 3, &scale())?;
    let decrypted = |array: Vec<E::Ciphertext>| array.iter().map(|c| client.decrypt(c)).collect::<Result<Vec<_>, _>>();
    let own = decrypted(evaluator.transform(&[&x], &transform)?)?;
    let expanded = decrypted(expand::transform(&evaluator, &[&x], &transform)?)?;
    setting.compare(&[("y".to_owned(), expanded)], &[("y".to_owned(), own)])
}

/// More samples than fit a vector, one map: outputs come back complete and in order.
///
/// # Errors
/// What differs.
pub fn packed_batches<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut random = Random::new(23);
    let (matrix, bias) = affine(6, 13, &mut random)?;
    let period = setting.parameters()?.slots() / 4;
    let from = Arc::new(Packed::new(
        vec![1, 13],
        period,
        1,
        [16, 0],
        Place::Table((0..16).map(|slot| if slot < 13 { slot + 1 } else { 0 }).collect()),
    )?);
    let to = scattered(6, period, [8, 0])?;

    let mut source = Builder::<Tensors>::new(());
    let ty = TensorType::new(Element::F32, [1, 13]);
    let x = source.push(tensor::Input { name: "x".to_owned(), ty }.into(), &[])?;
    let affine = tensor::Affine { matrix: matrix.clone(), bias: bias.clone(), shape: vec![1, 6] };
    let y = source.push(affine.into(), &[x])?;
    source.output("y", y);

    let mut b = setting.builder()?;
    let layout = Layout::Packed(from.clone());
    let x = ckks::Input { name: "x".to_owned(), layout, level: TOP - 3, scale: scale(), public: false };
    let x = b.push(Op::Input(x), &[])?;
    let y = push(&mut b, x, LinearMap::new(matrix.clone(), bias.clone(), from, to, Fold::Full { period: 8 })?, 2)?;
    b.output("y", y);
    let program = Program::new(source.finish(), b.finish())?;

    let samples = 7;
    let values = random.reals(13 * samples);
    let with_bias = |x: &[f64]| matrix.apply(x).into_iter().zip(&*bias).map(|(y, b)| y + b).collect::<Vec<_>>();
    let expected = values.chunks(13).flat_map(with_bias).collect();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values, samples })]);
    let outcome = run_batches(engine, &program, &inputs, &Silent)?;
    if outcome.batches != 2 {
        return Err(format!("expected 2 batches, found {}", outcome.batches).into());
    }
    let found = outcome.outputs.into_iter().map(|(name, values)| (name, vec![values])).collect::<Vec<_>>();
    setting.compare(&[("y".to_owned(), vec![expected])], &found)
}
