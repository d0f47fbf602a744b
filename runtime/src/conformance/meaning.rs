use std::collections::BTreeMap;

use hec_ir::ckks::{Circuit, Op};

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
            Op::Relinearize | Op::Rescale | Op::DropLevel(_) => operand(0).clone(),
        };
        values.push(value);
    }
    circuit.outputs().iter().map(|output| (output.name.clone(), values[output.value.index()].clone())).collect()
}

fn padded(mut vector: Vec<f64>, slots: usize) -> Vec<f64> {
    vector.resize(slots, 0.0);
    vector
}

fn pairs(a: &Vectors, b: &Vectors, f: impl Fn(f64, f64) -> f64) -> Vectors {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()).collect()
}
