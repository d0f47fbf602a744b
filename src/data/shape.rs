//! Fits the shape found in a file to the shape of a model's input.

use std::path::Path;

use super::{DataError, Purpose, Wanted};

/// The most numbers read from one file: 8 GiB of `f64`.
pub(super) const MOST_NUMBERS: usize = 1 << 30;

/// What of a file is to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Samples in the file.
    pub(super) declared: usize,
    /// Samples to keep: the first ones.
    pub(super) take: usize,
    /// Numbers in each sample, at least one.
    pub(super) size: usize,
    /// The dimensions of each sample in the file.
    pub(super) sample: Vec<usize>,
}

/// Refuses requests that no file can meet.
pub(super) fn check_wanted(path: &Path, wanted: &Wanted) -> Result<(), DataError> {
    if wanted.limit == Some(0) {
        let advice = "raise the limit to 1 or more";
        return Err(DataError::Empty { path: path.to_owned(), found: "a limit of 0".into(), advice });
    }
    match elements(wanted.shape) {
        Some(1..=MOST_NUMBERS) => Ok(()),
        Some(_) | None => Err(DataError::Shape {
            path: path.to_owned(),
            expected: format!("an input of 1 to {MOST_NUMBERS} numbers"),
            found: format!("a model input of shape {:?}", wanted.shape),
            advice: "give the model's input a fixed shape".into(),
        }),
    }
}

/// Splits the dimensions `found` into a batch and samples of the wanted shape. With `may_flatten`, a sample may also be
/// flattened in the file, or in the model.
pub(super) fn plan(path: &Path, found: &[usize], wanted: &Wanted, may_flatten: bool) -> Result<Plan, DataError> {
    let fits = |sample: &[usize]| {
        let (sample, wanted) = (without_outer_ones(sample), without_outer_ones(wanted.shape));
        let flat = may_flatten && (sample.len() <= 1 || wanted.len() <= 1);
        sample == wanted || (flat && elements(sample) == elements(wanted))
    };
    // Both readings can fit only if the batch is 1 and they agree, as samples are not empty.
    let (declared, sample) = match found {
        [batch, sample @ ..] if fits(sample) => (*batch, sample),
        _ if fits(found) => (1, found),
        _ => return Err(mismatch(path, found, wanted)),
    };
    if declared == 0 {
        let found = format!("shape {found:?}");
        return Err(DataError::Empty { path: path.to_owned(), found, advice: "give a file that has some" });
    }
    let take = wanted.limit.map_or(declared, |limit| limit.min(declared));
    let size = elements(sample).unwrap_or(usize::MAX);
    if take.checked_mul(size).is_none_or(|total| total > MOST_NUMBERS) {
        let found = format!("{take} samples of {size}");
        return Err(DataError::TooLarge { path: path.to_owned(), limit: MOST_NUMBERS, found });
    }
    Ok(Plan { declared, take, size, sample: sample.to_vec() })
}

/// The number of elements of a shape, unless it overflows.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    // A dimension of 0 makes the whole 0, whatever comes before.
    if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1_usize, |all, &one| all.checked_mul(one)) }
}

fn without_outer_ones(mut shape: &[usize]) -> &[usize] {
    while let [1, rest @ ..] = shape {
        shape = rest;
    }
    while let [rest @ .., 1] = shape {
        shape = rest;
    }
    shape
}

fn mismatch(path: &Path, found: &[usize], wanted: &Wanted) -> DataError {
    let expected = match wanted.purpose {
        Purpose::Labels => "one label a sample, shape [samples]".into(),
        Purpose::Samples => format!("samples of shape {:?}, with or without a batch dimension before", wanted.shape),
    };
    let tail = found.get(1..).unwrap_or_default();
    let reordered = |sample: &[usize]| {
        let (mut a, mut b) = (sample.to_vec(), wanted.shape.to_vec());
        a.sort_unstable();
        b.sort_unstable();
        a == b
    };
    let advice = if wanted.purpose == Purpose::Labels && found.len() == 2 {
        "if these are scores or one-hot rows, store argmax(axis=1) of them".into()
    } else if reordered(tail) || reordered(found) {
        format!("the same dimensions in another order: transpose the samples to {:?}", wanted.shape)
    } else if elements(tail) == elements(wanted.shape) || elements(found) == elements(wanted.shape) {
        format!("as many numbers: if they are in the right order, reshape the samples to {:?}", wanted.shape)
    } else {
        "check that these data belong to this model".into()
    };
    DataError::Shape { path: path.to_owned(), expected, found: format!("shape {found:?}"), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(found: &[usize], shape: &[usize], may_flatten: bool) -> Result<(usize, usize), String> {
        let wanted = Wanted { purpose: Purpose::Samples, name: None, shape, limit: None };
        let plan = plan(Path::new("f"), found, &wanted, may_flatten).map_err(|e| e.to_string())?;
        Ok((plan.declared, plan.size))
    }

    #[test]
    fn batches_ones_and_flattened_samples_fit() {
        for (found, shape) in [
            (&[5, 1, 28, 28][..], &[1, 28, 28][..]),
            (&[5, 28, 28], &[1, 28, 28]),
            (&[5, 28, 28], &[28, 28, 1]),
            (&[5, 28, 28, 1], &[1, 28, 28]),
            (&[5], &[]),
            (&[5], &[1]),
            (&[5, 1], &[]),
            (&[5, 3], &[3]),
        ] {
            assert_eq!(split(found, shape, false), Ok((5, shape.iter().product())), "{found:?} {shape:?}");
        }
        assert_eq!(split(&[1, 28, 28], &[1, 28, 28], false), Ok((1, 784)));
        assert_eq!(split(&[28, 28], &[1, 28, 28], false), Ok((1, 784)));
        assert_eq!(split(&[], &[1], false), Ok((1, 1)));
        assert_eq!(split(&[3, 3], &[3], false), Ok((3, 3)));
        assert_eq!(split(&[5, 784], &[1, 28, 28], true), Ok((5, 784)));
        assert_eq!(split(&[5, 28, 28], &[784], true), Ok((5, 784)));
        assert_eq!(split(&[784], &[28, 28], true), Ok((1, 784)));
    }

    #[test]
    fn other_shapes_are_explained() {
        for (found, shape, flat, says) in [
            (&[5, 784][..], &[1, 28, 28][..], false, "reshape"),
            (&[5, 32, 32, 3], &[3, 32, 32], false, "transpose"),
            (&[5, 32, 32, 3], &[3, 32, 32], true, "transpose"),
            (&[5, 27, 28], &[1, 28, 28], true, "belong"),
            (&[0, 28, 28], &[1, 28, 28], true, "at least one sample"),
            (&[], &[3], true, "belong"),
            (&[1 << 40, 28], &[28], true, "at most"),
            (&[usize::MAX, 28], &[28], true, "at most"),
        ] {
            let error = split(found, shape, flat).unwrap_err();
            assert!(error.contains(says) && error.starts_with("f: "), "{error}");
        }
    }
}
