//! How good outputs are: against labels, and against the plain model.

/// Comparison of a run's outputs with the plain model's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Largest absolute difference.
    pub max: f64,
    /// Mean absolute difference.
    pub mean: f64,
    /// log2 of the plain outputs' largest absolute value over the largest difference; infinite if they are equal.
    pub precision_bits: f64,
}

/// Compares values in the same order.
pub fn errors(found: &[f64], plain: &[f64]) -> Errors {
    let differences = || found.iter().zip(plain).map(|(a, b)| (a - b).abs());
    // A NaN is the largest difference of all.
    let max = differences().fold(0.0, |max: f64, d| if d.is_nan() { f64::INFINITY } else { max.max(d) });
    let mean = differences().sum::<f64>() / plain.len().max(1) as f64;
    let range = plain.iter().fold(0.0f64, |range, v| range.max(v.abs()));
    Errors { max, mean, precision_bits: (range / max).log2() }
}

/// The index of the largest of each `classes` values; the first of equals.
pub fn classes(values: &[f64], classes: usize) -> Vec<u32> {
    let largest = |row: &[f64]| {
        let best = row.iter().enumerate().fold(0, |best, (i, v)| if *v > row[best] { i } else { best });
        best as u32
    };
    values.chunks_exact(classes.max(1)).map(largest).collect()
}

/// The part of `a` that equals `b`, 0 to 1.
pub fn agreement(a: &[u32], b: &[u32]) -> f64 {
    let equal = a.iter().zip(b).filter(|(a, b)| a == b).count();
    equal as f64 / a.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_measured_in_bits_of_the_range() {
        let e = errors(&[1.0, -4.0, 2.5], &[1.0, -4.0, 2.0]);
        assert_eq!((e.max, e.mean, e.precision_bits), (0.5, 0.5 / 3.0, 3.0));
        assert_eq!(errors(&[f64::NAN], &[1.0]).max, f64::INFINITY);
    }

    #[test]
    fn classes_are_the_largest_of_each_row() {
        assert_eq!(classes(&[0.0, 2.0, 2.0, -1.0, -3.0, -2.0], 3), vec![1, 0]);
        assert_eq!(agreement(&[1, 0, 2, 2], &[1, 1, 2, 0]), 0.5);
    }
}
