use std::collections::BTreeMap;

use hec_ir::ckks::{Circuit, Op, Transform};

/// An array of slot vectors.
pub type Vectors = Vec<Vec<f64>>;

/// What `circuit` computes, in real numbers: scales, levels and degrees do nothing.
pub fn meaning(circuit: &Circuit, inputs: &BTreeMap<String, Vectors>) -> Vec<(String, Vectors)> {
    let slots = circuit.context().slots();
    let mut values: Vec<Vectors> = Vec::with_capacity(circuit.len());
    for (_, node) in circuit.nodes() {
        let operand = |index: usize| &values[node.operands()[index].index()];
        let value = match node.op() {
            Op::Input(input) => {
                let given = inputs.get(&input.name).cloned().unwrap_or_default();
                given.into_iter().map(|vector| padded(vector, slots)).collect()
            }
            Op::Combine(combine) => {
                let weights = combine.matrix.map(|&weight| f64::from(weight) / combine.weight_scale.to_f64());
                let mut rows: Vectors = combine.bias.iter().map(|&bias| vec![bias; slots]).collect();
                weights.for_each(|row, col, weight| {
                    rows[row].iter_mut().zip(&operand(0)[col]).for_each(|(y, x)| *y += weight * x);
                });
                rows
            }
            Op::Multiply => pairs(operand(0), operand(1), |a, b| a * b),
            Op::Square => pairs(operand(0), operand(0), |a, b| a * b),
            Op::Add => pairs(operand(0), operand(1), |a, b| a + b),
            Op::Subtract => pairs(operand(0), operand(1), |a, b| a - b),
            Op::Concat => (0..node.operands().len()).flat_map(|index| operand(index).clone()).collect(),
            Op::Gather(gather) => gather.indices.iter().map(|&index| operand(0)[index as usize].clone()).collect(),
            Op::Transform(transform) => transformed(transform, operand(0), slots),
            Op::Fold(fold) => {
                let twice = |x: Vec<f64>, &step: &usize| (0..slots).map(|j| x[j] + x[(j + step) % slots]).collect();
                operand(0).iter().map(|x| fold.steps.iter().fold(x.clone(), twice)).collect()
            }
            // What a client computes is not the engine's.
            Op::Refresh(_) => vec![vec![0.0; slots]; node.ty().length],
            Op::Blind(_) | Op::Relinearize | Op::Rescale | Op::DropLevel(_) => operand(0).clone(),
        };
        values.push(value);
    }
    circuit.outputs().iter().map(|output| (output.name.clone(), values[output.value.index()].clone())).collect()
}

/// Diagonal by diagonal, sample by sample.
fn transformed(transform: &Transform, x: &Vectors, slots: usize) -> Vectors {
    let map = &transform.map;
    let samples = slots / map.period();
    let diagonals = map.diagonals();
    let mut y: Vectors = vec![vec![0.0; slots]; map.to().vectors()];
    for (&[to, from, step], weights) in &diagonals.weights {
        for (&(slot, weight), sample) in weights.iter().flat_map(|entry| (0..samples).map(move |j| (entry, j))) {
            let source = (slot as usize + step) % map.period();
            y[to][slot as usize * samples + sample] += weight * x[from][source * samples + sample];
        }
    }
    for (y, bias) in y.iter_mut().zip(&diagonals.bias) {
        bias.iter().for_each(|&(slot, b)| y[slot as usize * samples..][..samples].iter_mut().for_each(|y| *y += b));
    }
    y
}

fn padded(mut vector: Vec<f64>, slots: usize) -> Vec<f64> {
    vector.resize(slots, 0.0);
    vector
}

fn pairs(a: &Vectors, b: &Vectors, f: impl Fn(f64, f64) -> f64) -> Vectors {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
}
