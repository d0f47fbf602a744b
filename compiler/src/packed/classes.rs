//! Values that lie alike because they meet elementwise.

use super::steps::{Operation, Steps};

/// Which class each step belongs to, and what makes and reads the classes.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    /// For each step its class; classes are numbered by their first step.
    pub(super) of: Vec<usize>,
    pub(super) list: Vec<Class>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    /// Inputs and linear steps whose results are in the class.
    pub(super) made_by: Vec<usize>,
    /// Linear steps that read a value of the class, each with the position of the term.
    pub(super) read_by: Vec<(usize, usize)>,
    /// Whether a value of the class is a result of the model.
    pub(super) is_output: bool,
    /// Whether slots beside the elements may hold partial sums.
    pub(super) bears_partial_sums: bool,
}

impl Classes {
    pub(super) fn new(steps: &Steps) -> Self {
        let mut parent: Vec<usize> = (0..steps.list.len()).collect();
        for (index, step) in steps.list.iter().enumerate() {
            for operand in step.operation.alike() {
                let (a, b) = (root(&parent, index), root(&parent, operand));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut numbers = vec![usize::MAX; steps.list.len()];
        let mut list: Vec<Class> = Vec::new();
        let mut of = Vec::with_capacity(steps.list.len());
        for (index, step) in steps.list.iter().enumerate() {
            let number = &mut numbers[root(&parent, index)];
            if *number == usize::MAX {
                *number = list.len();
                list.push(Class { bears_partial_sums: true, ..Class::default() });
            }
            let class = &mut list[*number];
            class.bears_partial_sums &= step.operation.bears_partial_sums();
            if matches!(step.operation, Operation::Input(_) | Operation::Linear { .. }) {
                class.made_by.push(index);
            }
            of.push(*number);
        }
        for (index, step) in steps.list.iter().enumerate() {
            if let Operation::Linear { terms, .. } = &step.operation {
                terms
                    .iter()
                    .enumerate()
                    .for_each(|(term, (operand, _))| list[of[*operand]].read_by.push((index, term)));
            }
        }
        steps.outputs.iter().for_each(|(_, index)| list[of[*index]].is_output = true);
        Self { of, list }
    }
}

fn root(parent: &[usize], mut of: usize) -> usize {
    while parent[of] != of {
        of = parent[of];
    }
    of
}
