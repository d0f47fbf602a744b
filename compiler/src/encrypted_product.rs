//! The product of two encrypted matrices, as products of their elements.

use std::sync::Arc;

use hec_ir::graph::TypeError;
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::tensor::{MatMul, Operation, TensorType, broadcast_shape};

use crate::error::CompileError;

/// More products of elements than this are refused.
const MAX_PRODUCTS: usize = 1 << 22;

/// Which elements are multiplied: element `i` of the result is the sum of products `i * depth ..`.
pub(crate) struct EncryptedProduct {
    /// The element of the left operand in each product.
    pub(crate) left: Arc<[u32]>,
    /// The element of the right operand in each product.
    pub(crate) right: Arc<[u32]>,
    /// How many products are summed up.
    pub(crate) depth: usize,
}

impl EncryptedProduct {
    /// Of operands with these shapes, with the broadcasting of `MatMul`.
    pub(crate) fn new(a: &[usize], b: &[usize]) -> Result<Self, TypeError> {
        let ty = |shape: &[usize]| TensorType::new(hec_ir::tensor::Element::F64, shape);
        let elements = MatMul.infer(&[&ty(a), &ty(b)])?.elements();
        // A vector is a row on the left and a column on the right.
        let a = if let [n] = *a { vec![1, n] } else { a.to_vec() };
        let b = if let [n] = *b { vec![n, 1] } else { b.to_vec() };
        let ([lead_a @ .., rows, depth], [lead_b @ .., _, cols]) = (&a[..], &b[..]) else {
            return Err(TypeError::new(format!("shapes {a:?} and {b:?} do not multiply")));
        };
        let (rows, depth, cols) = (*rows, *depth, *cols);
        match elements.checked_mul(depth) {
            Some(products) if depth > 0 && products <= MAX_PRODUCTS => {}
            _too_many => {
                return Err(TypeError::new(format!(
                    "{elements} sums of {depth} products of encrypted values; at most {MAX_PRODUCTS} products are supported"
                )));
            }
        }
        let (mut left, mut right) = (Vec::with_capacity(elements * depth), Vec::with_capacity(elements * depth));
        for index in ndarray::indices(ndarray::IxDyn(&broadcast_shape(lead_a, lead_b)?)) {
            let index = ndarray::Dimension::slice(&index);
            let first = |lead: &[usize], matrix: usize| {
                let axes = lead.iter().zip(&index[index.len() - lead.len()..]);
                axes.fold(0, |flat, (&size, &at)| flat * size + if size == 1 { 0 } else { at }) * matrix
            };
            let (a_base, b_base) = (first(lead_a, rows * depth), first(lead_b, depth * cols));
            for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
                left.extend((0..depth).map(|k| (a_base + row * depth + k) as u32));
                right.extend((0..depth).map(|k| (b_base + k * cols + col) as u32));
            }
        }
        Ok(Self { left: left.into(), right: right.into(), depth })
    }

    /// The matrix that sums up the products.
    pub(crate) fn sums(&self) -> Result<BlockMatrix<f64>, CompileError> {
        let (rows, depth) = (self.left.len() / self.depth, self.depth);
        let weights: Arc<[f64]> = vec![1.0; depth].into();
        let block = |row: usize| Block {
            rows: [row as u32].into(),
            cols: (row * depth..(row + 1) * depth).map(|col| col as u32).collect(),
            weights: weights.clone(),
        };
        let matrix = BlockMatrix::new(rows, rows * depth, (0..rows).map(block).collect());
        matrix.map_err(|e| CompileError::internal(&e.to_string()))
    }
}
