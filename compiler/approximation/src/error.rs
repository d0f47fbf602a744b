/// Why there is no approximation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApproximationError {
    /// The ends are not finite, or not in order.
    #[error("[{lower}, {upper}] is not an interval of finite, positive length")]
    Interval {
        /// The lower end.
        lower: f64,
        /// The upper end.
        upper: f64,
    },
    /// A number that has to be finite is not.
    #[error("{what} is not finite at {at}")]
    NotFinite {
        /// Which number.
        what: &'static str,
        /// Where: an abscissa, or an index.
        at: f64,
    },
    /// A parameter is out of range.
    #[error("{name}: {reason}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The intervals of two operands differ.
    #[error("the polynomials are on different intervals, {left} and {right}")]
    DifferentIntervals {
        /// Of the first operand.
        left: crate::Interval,
        /// Of the second operand.
        right: crate::Interval,
    },
    /// Rounding the result would change the polynomial by too much.
    #[error("rounding the coefficients may change the polynomial by {loss:e}, more than {tolerance:e}")]
    Conditioning {
        /// By how much it may change on its interval.
        loss: f64,
        /// What was asked for.
        tolerance: f64,
    },
    /// A system of linear equations has no single solution.
    #[error("the polynomial is not determined: the equations are singular")]
    Singular,
    /// The exchange has not reached equal errors.
    #[error(
        "the minimax polynomial was not found in {iterations} exchanges: its error is between {lower:e} and {upper:e}"
    )]
    NotConverged {
        /// How many exchanges were made.
        iterations: usize,
        /// No polynomial of this degree has a smaller error.
        lower: f64,
        /// The error of the best polynomial found.
        upper: f64,
    },
    /// A distribution without values.
    #[error("the distribution is empty")]
    Empty,
    /// The tails leave the corridor whatever their weight.
    #[error(
        "degree {degree}: the tails deviate by {reached:e}, more than {limit:e}; a higher degree or a smaller margin may do"
    )]
    Tails {
        /// The degree.
        degree: usize,
        /// The least deviation found.
        reached: f64,
        /// What was asked for.
        limit: f64,
    },
    /// No polynomial up to the degree is good enough.
    #[error("no polynomial of degree up to {degree} has an error of {error:e}; the best has {reached:e}")]
    Degree {
        /// The highest degree.
        degree: usize,
        /// The wanted error.
        error: f64,
        /// The least error up to the degree.
        reached: f64,
    },
    /// No chain of polynomials is good enough within the depth.
    #[error("no composite polynomial of depth up to {depth} has an error of {error:e}; the best has {reached:e}")]
    NoPlan {
        /// The largest depth.
        depth: usize,
        /// The wanted error.
        error: f64,
        /// The least error within the depth.
        reached: f64,
    },
}

impl ApproximationError {
    pub(crate) fn parameter(name: &'static str, reason: impl Into<String>) -> Self {
        Self::Parameter { name, reason: reason.into() }
    }
}
