//! Systems of linear equations, small and dense.

use crate::double::Double;

/// Solves equations, each its coefficients and then its right side, by elimination with row scaling and partial pivoting
/// (Golub and Van Loan, "Matrix Computations", section 3.4). Nothing if they are singular to working precision.
pub(crate) fn solve(mut rows: Vec<Vec<Double>>) -> Option<Vec<Double>> {
    let size = rows.len();
    for row in &mut rows {
        let largest = row[..size].iter().map(|v| v.abs()).fold(0.0, f64::max);
        if !(largest.is_finite() && largest > 0.0) {
            return None;
        }
        // A power of two: exact.
        let scale = Double::from((-largest.log2().round()).exp2());
        row.iter_mut().for_each(|v| *v = *v * scale);
    }
    for column in 0..size {
        let pivot = (column..size).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        // Below this, 106 bits hold nothing but rounding errors.
        if rows[pivot][column].abs() <= 1e-30 {
            return None;
        }
        rows.swap(column, pivot);
        let (done, rest) = rows.split_at_mut(column + 1);
        let top = &done[column];
        for row in rest {
            let factor = row[column] / top[column];
            row[column..].iter_mut().zip(&top[column..]).for_each(|(v, &t)| *v = *v - factor * t);
        }
    }
    let mut solution = vec![Double::ZERO; size];
    for (i, row) in rows.iter().enumerate().rev() {
        let known = row[i + 1..size].iter().zip(&solution[i + 1..]).fold(row[size], |sum, (&a, &x)| sum - a * x);
        solution[i] = known / row[i];
    }
    solution.iter().all(|v| v.rounded().is_finite()).then_some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hilbert_matrix_of_size_12_is_no_obstacle() {
        let size = 12;
        let entry = |i: usize, j: usize| Double::ONE / Double::from((i + j + 1) as f64);
        let row = |i: usize| {
            let mut row: Vec<Double> = (0..size).map(|j| entry(i, j)).collect();
            row.push(row.iter().fold(Double::ZERO, |sum, &v| sum + v));
            row
        };
        for x in solve((0..size).map(row).collect()).unwrap() {
            assert!((x - Double::ONE).abs() < 1e-12, "{x:?}");
        }
    }

    #[test]
    fn singular_equations_have_no_solution() {
        let row = |a: f64, b: f64, c: f64| [a, b, c].map(Double::from).to_vec();
        assert_eq!(solve(vec![row(1.0, 2.0, 3.0), row(2.0, 4.0, 6.0)]), None);
    }
}
