//! What holds for every operation.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::matrix::BlockMatrix;

/// At least one of every kind.
fn every_operation() -> Vec<Op> {
    let window = Window { strides: vec![2], pads_begin: vec![1], pads_end: vec![0], dilations: vec![3] };
    let tensor = Tensor::from_values(Element::I64, &[2], vec![1.0, 2.0]).unwrap();
    let average = Pooling::Average { counted_begin: vec![1], counted_end: vec![0] };
    let matrix = BlockMatrix::dense(1, 2, [1.0, 2.0].into()).unwrap();
    let mut all: Vec<Op> = vec![
        Input { name: "x".into(), ty: TensorType::new(Element::Bool, [1, 2]) }.into(),
        Constant(Arc::new(tensor)).into(),
        Unsupported { operator: "Einsum".into(), reason: Unsupported::FOLLOWS.into(), result: 1 }.into(),
        Conv { window: window.clone(), groups: 2 }.into(),
        MatMul.into(),
        Unary::Sigmoid.into(),
        Unary::LeakyRelu { alpha: 0.25 }.into(),
        Composite::parse("x x clip(-inf,0.5) mul").unwrap().into(),
        ArgMax { axis: 1, keep: true, last: false }.into(),
        CumulativeSum { axis: 1, exclusive: true, reverse: false }.into(),
        Binary::Less.into(),
        Polynomial::square().into(),
        Chebyshev { coefficients: [0.5, 0.0, 1.5].into() }.into(),
        Pool { pooling: average, kernel: vec![2], window: window.clone() }.into(),
        Pool { pooling: Pooling::Max, kernel: vec![2], window }.into(),
        Softmax { axis: 1 }.into(),
        Cast { element: Element::F64 }.into(),
        Where.into(),
        Reshape { shape: vec![1, 0] }.into(),
        Transpose { permutation: vec![1, 0] }.into(),
        Expand { shape: vec![4, 2] }.into(),
        Slice { starts: vec![3], steps: vec![-2], sizes: vec![1] }.into(),
        Gather { axis: 1, indices: [1, 0].into(), shape: vec![2, 1] }.into(),
        Concat { axis: 2 }.into(),
        Pad { begin: vec![1], end: vec![0], value: -0.5 }.into(),
        Affine { matrix: Arc::new(matrix), bias: [0.5].into(), shape: vec![1] }.into(),
    ];
    for reduction in [Reduction::Sum, Reduction::Mean, Reduction::Product, Reduction::Max, Reduction::Min] {
        all.push(Reduce { reduction, axes: vec![0, 2], keep: true }.into());
    }
    all
}

#[test]
fn rebuild_inverts_attributes() {
    let all = every_operation();
    let kinds: Vec<_> = all.iter().map(std::mem::discriminant).collect();
    let distinct = kinds.iter().enumerate().filter(|(i, kind)| !kinds[..*i].contains(kind)).count();
    assert_eq!(distinct, Op::KINDS, "the table above lacks a kind of operation");
    for op in all {
        let (name, attributes) = Tensors::describe(&op);
        assert_eq!(Tensors::rebuild(name, attributes.clone()).as_ref(), Ok(&op));
        let mut more = attributes.clone();
        more.insert("surplus".into(), crate::attribute::Attribute::Int(0));
        assert_eq!(Tensors::rebuild(name, more), Err(AttributeError::Unexpected("surplus".into())));
        let first = attributes.iter().next().map(|(name, _)| name.to_owned());
        if let Some(first) = first {
            let mut fewer = attributes;
            fewer.take(&first);
            assert!(Tensors::rebuild(name, fewer).is_err(), "{name} without {first}");
        }
    }
}

#[test]
fn names_are_distinct() {
    let names: Vec<&str> = every_operation().iter().map(Op::name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}
