use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::ckks::{Combine, Op};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::tensor::{self, Element, TensorType, Tensors};
use hec_ir::{Builder, Program, Scale};

use super::harness::{Random, Setting, TOP, Verdict, input, scale};
use crate::batch::SampleBatch;
use crate::engine::Engine;
use crate::progress::Silent;
use crate::run::run_batches;

/// More samples than slots: outputs come back complete and in order, from keys that were made once.
///
/// # Errors
/// What differs.
pub fn batches<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let program = sum_and_difference(setting)?;
    let samples = 2 * program.parameters().slots() + 3;
    let values = Random::new(10).reals(2 * samples);
    let expected = values.chunks(2).flat_map(|pair| [pair[0] + pair[1], pair[0] - pair[1] + 0.25]).collect();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values, samples })]);
    let outcome = run_batches(engine, &program, &inputs, &Silent)?;
    if outcome.batches != 3 {
        return Err(format!("expected 3 batches, found {}", outcome.batches).into());
    }
    let found = outcome.outputs.into_iter().map(|(name, values)| (name, vec![values])).collect::<Vec<_>>();
    setting.compare(&[("y".to_owned(), vec![expected])], &found)
}

/// `y = (x0 + x1, x0 - x1 + 1/4)`.
fn sum_and_difference(setting: &Setting) -> Result<Program, Box<dyn std::error::Error + Send + Sync>> {
    let pair: Arc<[u32]> = [0, 1].into();
    let block = Block { rows: pair.clone(), cols: pair.clone(), weights: [1.0, 1.0, 1.0, -1.0].into() };
    let matrix = Arc::new(BlockMatrix::new(2, 2, vec![block])?);
    let bias: Arc<[f64]> = [0.0, 0.25].into();

    let mut source = Builder::<Tensors>::new(());
    let ty = TensorType::new(Element::F32, [1, 2]);
    let x = source.push(tensor::Input { name: "x".to_owned(), ty }.into(), &[])?;
    let affine = tensor::Affine { matrix: matrix.clone(), bias: bias.clone(), shape: vec![1, 2] };
    let y = source.push(affine.into(), &[x])?;
    source.output("y", y);

    let mut circuit = setting.builder()?;
    let x = input(&mut circuit, "x", 2, TOP, scale())?;
    let weight_scale = Scale::power_of_two(4);
    let matrix = Arc::new(matrix.map(|weight| (weight * weight_scale.to_f64()) as i32));
    let y = circuit.push(Op::Combine(Combine { matrix, weight_scale, bias }), &[x])?;
    circuit.output("y", y);
    Ok(Program::new(source.finish(), circuit.finish())?)
}
