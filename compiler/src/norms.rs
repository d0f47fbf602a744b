//! How much a linear map enlarges independent errors.

/// The 2-norms of a matrix's rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowNorms {
    /// Of the row that enlarges errors most.
    pub largest: f64,
    /// The root mean square over the rows.
    pub mean: f64,
}

impl RowNorms {
    /// From the squares of the norms.
    pub(crate) fn of(squares: &[f64]) -> Self {
        let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
        Self { largest: squares.iter().copied().fold(0.0, f64::max).sqrt(), mean: mean.sqrt() }
    }

    pub(crate) fn uniform(norm: f64) -> Self {
        Self { largest: norm, mean: norm }
    }
}
