//! The layouts that are tried for a class.

use std::sync::Arc;

use hec_ir::slots::{Digit, Fold, Packed, Place};

use super::Placement;
use super::classes::{Class, Classes};
use super::steps::{Operation, Patches, Steps};

/// An encrypted input that repeats its elements may take so many ciphertexts.
const MAX_INPUT_VECTORS: usize = 4;

/// Ways in which the values of a class could lie in vectors of `period` slots; the plainest first, at least one.
pub(super) fn of_class(steps: &Steps, classes: &Classes, class: &Class, period: usize) -> Vec<Placement> {
    let Some(&first) = class.made_by.first() else { return Vec::new() };
    let shape = &steps.list[first].shape;
    let elements: usize = shape.iter().product::<usize>().max(1);
    let has_input = class.made_by.iter().any(|&step| matches!(steps.list[step].operation, Operation::Input(_)));
    let mut found: Vec<Placement> = Vec::new();
    let mut offer = |layout: Option<Packed>, fold: Fold| {
        if let Some(layout) = layout.filter(|_| !has_input || fold == Fold::None)
            && !found.iter().any(|(other, own)| (&**other, own) == (&layout, &fold))
        {
            found.push((Arc::new(layout), fold));
        }
    };
    let strided = |digits: Vec<Digit>, every: usize, shift: usize| {
        Packed::new(shape.clone(), period, 1, [every, shift], Place::Strided(digits)).ok()
    };
    let full = |every: usize| if every < period { Fold::Full { period: every } } else { Fold::None };
    let every = elements.next_power_of_two();
    if every > period {
        offer(Packed::dense(shape, period).ok(), Fold::None);
        return found;
    }
    let line = |stride: usize| vec![Digit { size: elements, stride }];
    let only_input = has_input && class.made_by.len() == 1;
    if only_input {
        for patches in class.read_by.iter().filter_map(|(step, _)| steps.list[*step].patches.as_ref()) {
            offer(patched(shape, patches, period), Fold::None);
        }
        for turn in turns(steps, class, period / every) {
            offer(strided(line(1), every, turn % every), Fold::None);
        }
    }
    offer(strided(line(1), every, 0), if has_input { Fold::None } else { full(every) });
    if !has_input && class.bears_partial_sums && !class.is_output && period / every >= 2 {
        let width = period / every;
        offer(strided(line(width), period, 0), Fold::Window { width });
    }
    for grid in grids(steps, classes, first) {
        if let Some((digits, size)) = on_grid(shape, &grid) {
            let every = size.next_power_of_two();
            if every <= period {
                offer(strided(digits, every, 0), if has_input { Fold::None } else { full(every) });
            }
        }
    }
    found
}

/// By how many slots the copies of an input could be turned: so that the copies together have each difference of rows and columns
/// of a dense map with a full fold once.
fn turns(steps: &Steps, class: &Class, copies: usize) -> Vec<usize> {
    if copies < 2 {
        return Vec::new();
    }
    let rows = class.read_by.iter().map(|(step, _)| steps.list[*step].shape.iter().product::<usize>());
    let mut turns: Vec<usize> = rows.map(|rows| rows.next_power_of_two() / copies).filter(|&turn| turn > 0).collect();
    turns.dedup();
    turns
}

/// For a convolution of the input: all that it reads, position by position, tap by tap (what im2col makes of an image); repeated,
/// each copy turned so that together they have each difference of taps and channels once.
fn patched(shape: &[usize], patches: &Patches, period: usize) -> Option<Packed> {
    let Patches { positions, taps, reads } = patches;
    let (plane, planes) = (positions.next_power_of_two(), taps.next_power_of_two());
    let size = plane.checked_mul(planes)?;
    let vectors = size.div_ceil(period);
    if vectors > MAX_INPUT_VECTORS {
        return None;
    }
    let mut table = vec![0; size];
    for (position, taps) in reads.chunks_exact((*taps).max(1)).enumerate() {
        for (tap, read) in taps.iter().enumerate() {
            table[tap * plane + position] = read.map_or(0, |element| element + 1);
        }
    }
    let every = size.min(period);
    let turn = if vectors == 1 { planes / (period / every).min(planes) * plane % every } else { 0 };
    Packed::new(shape.to_vec(), period, vectors, [every, turn], Place::Table(table.into())).ok()
}

/// The images of the model that a value could lie on: its own, and those before it.
fn grids(steps: &Steps, classes: &Classes, step: usize) -> Vec<[usize; 2]> {
    let mut grids = Vec::new();
    let mut next = Some(step);
    while let Some(at) = next {
        if let Some([_, space @ ..]) = image(&steps.list[at].shape)
            && !grids.contains(&space)
        {
            grids.push(space);
        }
        let before = match &steps.list[at].operation {
            Operation::Linear { terms, .. } => terms.first().map(|(operand, _)| classes.of[*operand]),
            Operation::Input(_)
            | Operation::Polynomial(..)
            | Operation::Chebyshev(..)
            | Operation::Multiply(..)
            | Operation::Add(..)
            | Operation::Subtract(..) => None,
        };
        next = before.and_then(|class| classes.list[class].made_by.first().copied()).filter(|&before| before < at);
    }
    grids
}

/// Channels, height and width of one sample: of shapes `[1, C, H, W]` and `[1, C, W]`.
fn image(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [1, channels, height, width] => Some([channels, height, width]),
        [1, channels, width] => Some([channels, 1, width]),
        _ => None,
    }
}

/// Channels interleaved on a grid of which the image takes every so many rows and columns, and planes of such grids; with the slots
/// that they take.
fn on_grid(shape: &[usize], &[grid_height, grid_width]: &[usize; 2]) -> Option<(Vec<Digit>, usize)> {
    let [channels, height, width] = image(shape)?;
    let (down, right) = ((grid_height / height.max(1)).max(1), (grid_width / width.max(1)).max(1));
    if height * down > grid_height.max(height) || width * right > grid_width.max(width) {
        return None;
    }
    let pitch = grid_width.max(width);
    let plane = (grid_height.max(height) * pitch).next_power_of_two();
    let planes = channels.div_ceil(down * right);
    let digit = |size, stride| Digit { size, stride };
    let channel = [digit(planes, plane), digit(down, pitch), digit(right, 1)];
    let digits = channel.into_iter().chain([digit(height, down * pitch), digit(width, right)]).collect();
    Some((digits, planes * plane))
}
