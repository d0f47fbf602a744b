//! Where the elements of each value of a circuit lie.

use std::sync::Arc;

use super::{Circuit, Input, Op, Refresh};
use crate::slots::{Layout, Packed, Place};

/// The layout of each value, as far as it follows from inputs and transforms: `None` for arrays without a packed layout, which have one
/// ciphertext for each element.
pub fn layouts(circuit: &Circuit) -> Vec<Option<Arc<Packed>>> {
    let mut all: Vec<Option<Arc<Packed>>> = Vec::with_capacity(circuit.len());
    let mut left = MAX_JOINED;
    for (_, node) in circuit.nodes() {
        let of = |i: usize| node.operands().get(i).and_then(|operand| all[operand.index()].clone());
        all.push(match node.op() {
            Op::Input(Input { layout, .. }) | Op::Refresh(Refresh { layout, .. }) => match layout {
                Layout::Packed(packed) => Some(packed.clone()),
                Layout::Batch { .. } => None,
            },
            Op::Transform(transform) => Some(transform.map.to().clone()),
            Op::Concat => (0..node.operands().len())
                .map(of)
                .collect::<Option<Vec<_>>>()
                .and_then(|parts| joined(&parts, &mut left)),
            Op::Gather(_) => None,
            // Weights of a packed array are those of a diagonal: each vector stays where it is.
            Op::Combine(_)
            | Op::Multiply
            | Op::Square
            | Op::Add
            | Op::Subtract
            | Op::Relinearize
            | Op::Rescale
            | Op::DropLevel(_)
            | Op::Fold(_)
            | Op::Blind(_) => of(0),
        });
    }
    all
}

/// Slots of all joined arrays of a circuit together: a file of a few bytes could ask for any number. What goes beyond has no layout.
const MAX_JOINED: usize = 1 << 26;

/// Packed arrays one after the other, as one of all their elements; `left` is how many slots there may still be.
fn joined(parts: &[Arc<Packed>], left: &mut usize) -> Option<Arc<Packed>> {
    let period = parts.first()?.period();
    let slots = parts.iter().fold(0usize, |sum, part| sum.saturating_add(part.vectors().saturating_mul(part.period())));
    *left = left.checked_sub(slots)?;
    let mut table = Vec::new();
    let (mut elements, mut vectors) = (0, 0);
    for part in parts {
        table.extend(part.table().into_iter().map(|entry| if entry == 0 { 0 } else { entry + elements as u32 }));
        elements += part.elements();
        vectors += part.vectors();
    }
    Packed::new(vec![elements], period, vectors, [period, 0], Place::Table(table.into())).ok().map(Arc::new)
}
