//! What a model answers, and for how many samples two models answer alike.

use hec_ir::graph::Value;
use hec_ir::tensor::{Op, Tensor, TensorGraph, Unary};
use rayon::prelude::*;

use super::traced::count;
use crate::error::CompileError;
use crate::ranges::Samples;
use crate::tail::Split;

/// A number is answered alike if it is off by no more than this share of its standard deviation over the samples.
pub(crate) const CLOSE: f64 = 0.25;

/// An answer to one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// The class: a whole number, or the position of the largest of several values.
    Class(usize),
    /// A number: what a regressor gives, or the score of one of two classes.
    Number(f64),
}

/// For each output its answers, one a sample.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    outputs: Vec<Vec<Answer>>,
    /// For each output, the number that parts two classes.
    thresholds: Vec<f64>,
    /// For each sample the numbers of all outputs, one after the other; whole numbers are left out.
    numbers: Vec<Vec<f64>>,
}

impl Answers {
    /// Those of `server`, with what the `client` makes of them.
    pub(super) fn of(
        server: &TensorGraph,
        client: Option<&TensorGraph>,
        samples: &Samples,
    ) -> Result<Self, CompileError> {
        let joined = client.map(|client| Split::join(server, client)).transpose()?;
        let graph = joined.as_ref().unwrap_or(server);
        let one = |sample: usize| -> Result<(Vec<Answer>, Vec<f64>), CompileError> {
            let values = evaluate(graph, samples, sample, &mut |_, _| ())?;
            let outputs = || graph.outputs().iter().filter_map(|o| values[o.value.index()].as_ref());
            let numbers = outputs().filter(|output| output.element().is_float()).flat_map(Tensor::values);
            Ok((outputs().map(answer).collect(), numbers.copied().collect()))
        };
        let all: Vec<_> = (0..count(server, samples)).into_par_iter().map(one).collect::<Result<_, CompileError>>()?;
        let (all, numbers): (Vec<Vec<Answer>>, Vec<Vec<f64>>) = all.into_iter().unzip();
        let outputs = (0..graph.outputs().len()).map(|i| all.iter().filter_map(|a| a.get(i).copied()).collect());
        let thresholds = graph.outputs().iter().map(|output| threshold(graph, output.value)).collect();
        Ok(Self { outputs: outputs.collect(), thresholds, numbers })
    }

    /// The same, with `labels` as the classes of the first output.
    pub(super) fn labelled(mut self, labels: &[usize]) -> Self {
        if let Some(first) = self.outputs.first_mut() {
            *first = labels.iter().map(|&label| Answer::Class(label)).collect();
        }
        self
    }

    /// The share of samples whose answers are all `wanted`.
    pub(super) fn share(&self, wanted: &Self) -> f64 {
        let close: Vec<f64> = wanted.outputs.iter().map(|answers| CLOSE * deviation(answers)).collect();
        let alike = |sample: usize| {
            let mut outputs = self.outputs.iter().zip(&wanted.outputs).zip(close.iter().zip(&self.thresholds));
            outputs.all(|((found, wanted), (&close, threshold))| match (found.get(sample), wanted.get(sample)) {
                (Some(Answer::Class(a)), Some(Answer::Class(b))) => a == b,
                (Some(Answer::Number(a)), Some(Answer::Number(b))) => (a - b).abs() <= close,
                // A score, with the label of one of two classes.
                (Some(Answer::Number(a)), Some(Answer::Class(b))) => usize::from(a > threshold) == *b,
                _ => false,
            })
        };
        (0..self.samples()).filter(|&sample| alike(sample)).count() as f64 / self.samples().max(1) as f64
    }

    /// The root mean square of the outputs' errors, as a share of their standard deviation about the mean of each.
    pub(super) fn error(&self, wanted: &Self) -> f64 {
        let length = wanted.numbers.first().map_or(0, Vec::len);
        let (mut errors, mut spread) = (0.0, 0.0);
        for i in 0..length {
            let column = || wanted.numbers.iter().map(move |sample| sample[i]);
            let mean = column().sum::<f64>() / wanted.samples().max(1) as f64;
            spread += column().map(|x| (x - mean) * (x - mean)).sum::<f64>();
            errors += self.numbers.iter().zip(column()).map(|(found, x)| (found[i] - x) * (found[i] - x)).sum::<f64>();
        }
        if errors == 0.0 { 0.0 } else { (errors / spread).sqrt() }
    }

    pub(super) fn samples(&self) -> usize {
        self.numbers.len()
    }
}

fn answer(output: &Tensor) -> Answer {
    let values = output.values();
    let largest = values.iter().enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i)));
    match values {
        // Negative ones too are classes of their own.
        [one] if !output.element().is_float() => Answer::Class(*one as i64 as usize),
        [one] => Answer::Number(*one),
        _ => Answer::Class(largest.map_or(0, |(i, _)| i)),
    }
}

/// A probability parts classes at one half, a score at 0.
fn threshold(graph: &TensorGraph, output: Value) -> f64 {
    let mut value = output;
    loop {
        let node = graph.node(value);
        match (node.op(), node.operands()) {
            (Op::Unary(Unary::Sigmoid | Unary::HardSigmoid { .. }), _) => return 0.5,
            (Op::Reshape(_) | Op::Cast(_) | Op::Transpose(_), &[operand, ..]) => value = operand,
            _ => return 0.0,
        }
    }
}

fn deviation(answers: &[Answer]) -> f64 {
    let numbers = || answers.iter().filter_map(|a| if let Answer::Number(x) = a { Some(*x) } else { None });
    let count = numbers().count().max(1) as f64;
    let mean = numbers().sum::<f64>() / count;
    (numbers().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt()
}

/// All values of one sample; those that are used up are dropped.
pub(crate) fn evaluate(
    graph: &TensorGraph,
    samples: &Samples,
    sample: usize,
    see: &mut dyn FnMut(Value, &Tensor),
) -> Result<Vec<Option<Tensor>>, CompileError> {
    let mut values: Vec<Option<Tensor>> = Vec::with_capacity(graph.len());
    let mut uses = graph.use_counts();
    for (at, node) in graph.nodes() {
        let value = match (node.op(), node.ty().known()) {
            (Op::Input(input), Some(ty)) => {
                let elements = ty.elements();
                let all = samples.get(&input.name).map_or(&[][..], Vec::as_slice);
                let own = all.get(sample * elements..(sample + 1) * elements).unwrap_or(&[]);
                let tensor = Tensor::from_values(ty.element, &ty.shape, own.to_vec());
                Some(tensor.map_err(|cause| super::at(node.origin().as_str(), cause))?)
            }
            (op, _) => {
                let operands: Option<Vec<&Tensor>> =
                    node.operands().iter().map(|operand| values[operand.index()].as_ref()).collect();
                let result = operands.map(|operands| op.evaluate(&operands)).transpose();
                result.map_err(|cause| super::at(node.origin().as_str(), cause))?
            }
        };
        if let Some(value) = &value {
            see(at, value);
        }
        values.push(value);
        for operand in node.operands() {
            let left: &mut u32 = &mut uses[Value::index(*operand)];
            *left -= 1;
            if *left == 0 {
                values[operand.index()] = None;
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use hec_ir::graph::Builder;
    use hec_ir::tensor::{Element, Input, TensorType, Tensors};

    use super::*;

    fn numbers(values: &[f64]) -> Answers {
        let numbers = values.iter().map(|&x| vec![x]).collect();
        let outputs = vec![values.iter().map(|&x| Answer::Number(x)).collect()];
        Answers { outputs, thresholds: vec![0.0], numbers }
    }

    #[test]
    fn probabilities_part_classes_at_one_half() {
        let mut builder = Builder::<Tensors>::new(());
        let ty = TensorType::new(Element::F32, [1]);
        let x = builder.push(Op::Input(Input { name: "x".to_owned(), ty }), &[]).unwrap();
        let scores = builder.push(Op::Unary(Unary::Neg), &[x]).unwrap();
        let probability = builder.push(Op::Unary(Unary::Sigmoid), &[scores]).unwrap();
        builder.output("p", probability);
        let graph = builder.finish();
        let samples = Samples::from([("x".to_owned(), vec![3.0, -0.1, 0.2, -4.0])]);
        let own = Answers::of(&graph, None, &samples).unwrap();
        assert_eq!(own.share(&own.clone().labelled(&[0, 1, 0, 1])), 1.0);
        assert_eq!(own.share(&own.clone().labelled(&[0, 1, 1, 1])), 0.75);
    }

    #[test]
    fn numbers_are_compared_by_their_spread_and_scores_by_their_class() {
        let own = numbers(&[-10.0, 10.0, -10.0, 10.0]);
        assert_eq!(numbers(&[-12.4, 12.4, -7.6, 12.6]).share(&own), 0.75);
        assert_eq!(numbers(&[-9.0, 11.0, -10.0, 10.0]).error(&own), 0.005f64.sqrt());
        assert_eq!(numbers(&[-1.0, 2.0, 3.0, 4.0]).share(&own.labelled(&[0, 1, 0, 1])), 0.75);
    }
}
