//! Plans for evaluating polynomials: which products at which level, and every scale, before anything is computed.

mod draft;

use hec_ir::Scale;

use crate::context::{Context, check_scale};
use crate::error::Error;
use draft::{Draft, Powers};

/// What the coefficients of a polynomial stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// `x^i`.
    Monomial,
    /// The Chebyshev polynomials of the first kind, `T_i(cos t) = cos(i t)`, for `x` in [-1, 1]. Beyond it they grow
    /// like `(2 x)^i / 2`.
    Chebyshev,
}

/// The highest degree of a polynomial that can be planned.
pub const MAX_POLYNOMIAL_DEGREE: usize = 1023;

/// What evaluating a polynomial takes, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolynomialCost {
    /// Levels: `ceil(log2(degree + 1))`.
    pub depth: usize,
    /// Products of ciphertexts.
    pub products: usize,
    /// Relinearizations, each of one polynomial and merged with a rescaling.
    pub relinearizations: usize,
    /// Rescalings of their own.
    pub rescalings: usize,
    /// Products of a ciphertext with a constant.
    pub constant_products: usize,
}

/// A polynomial prepared for ciphertexts of one level and scale, with a result of one scale.
///
/// Like Paterson and Stockmeyer's method: `p = q x^m + r` with the largest power of two `m` up to the degree (or `T_m`,
/// by `T_(m+i) = 2 T_m T_i - T_(m-i)`), and so on for `q` and `r` until few coefficients are left; sums of these with
/// constants need no products. Levels and exact scales are computed first, from the result backwards: `q` is wanted one
/// level higher, at the scale that the product with `x^m` and the rescaling will turn into that of `r`. Each constant
/// is encoded at just the scale that its sum needs, so that all additions are of equal scales and the result has the
/// scale asked for exactly (as Lattigo does; Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021, eprint
/// 2020/1203, section 3). Only powers that occur are computed; odd and even polynomials need fewer. Sums of
/// products are relinearised once, and powers that are only ever multiplied by constants may stay unrelinearised. Where
/// to stop splitting, and whether that is done, is decided by counting, fewest relinearizations first.
#[derive(Clone)]
pub struct PolynomialPlan {
    basis: Basis,
    degree: usize,
    pub(crate) level: usize,
    pub(crate) input_scale: Scale,
    target_scale: Scale,
    /// Ascending: each after those that it is made of.
    pub(crate) powers: Vec<Power>,
    pub(crate) root: Sum,
    cost: PolynomialCost,
    fingerprint: [u8; 32],
}

/// How to compute a power, the product of two lower ones.
#[derive(Clone)]
pub(crate) struct Power {
    pub(crate) index: usize,
    pub(crate) factors: [usize; 2],
    /// For Chebyshev polynomials: what is added to twice the product.
    pub(crate) correction: Option<Sum>,
    /// Whether the result is relinearised.
    pub(crate) relinearize: bool,
}

/// A sum of constants, powers times constants, and products, at one level and scale.
#[derive(Clone)]
pub(crate) struct Sum {
    pub(crate) level: usize,
    pub(crate) scale: Scale,
    /// Residues of the constant, if it is not 0.
    pub(crate) constant: Option<Vec<u64>>,
    /// Indices of powers, and residues of what they are multiplied by.
    pub(crate) terms: Vec<(usize, Vec<u64>)>,
    /// Sums of one level more, which are rescaled and multiplied by the power of the index.
    pub(crate) products: Vec<(Sum, usize)>,
}

impl PolynomialPlan {
    /// Plans the polynomial with these coefficients, that of index 0 first, for ciphertexts at `level` with
    /// `input_scale`. The result is at `level - ceil(log2(degree + 1))`, the degree being that of the last coefficient
    /// that is not 0, and has `target_scale` exactly.
    ///
    /// Powers keep about the operand's scale if that is about the size of the primes that rescaling divides by; the
    /// power of index `i` has the scale's distance from the primes to the power `i`. Coefficients are rounded at about
    /// the prime's size. Exponents of scales grow with the degree, and are bounded: beyond degree 63 or so a scale that
    /// is one of the primes goes further than a power of two.
    ///
    /// # Errors
    /// [`Error::DegreeRange`] unless the degree is from 1 to [`MAX_POLYNOMIAL_DEGREE`]; [`Error::Depth`] if `level` is
    /// too low for it; [`Error::LevelTooHigh`]; [`Error::NotFinite`]; [`Error::Overflow`] where a constant does not fit
    /// the modulus; [`Error::ScaleRange`].
    pub fn new(
        context: &Context,
        basis: Basis,
        coefficients: &[f64],
        level: usize,
        input_scale: &Scale,
        target_scale: &Scale,
    ) -> Result<Self, Error> {
        let operation = "polynomial";
        context.check_level(operation, level)?;
        check_scale(operation, input_scale)?;
        check_scale(operation, target_scale)?;
        if let Some(index) = coefficients.iter().position(|c| !c.is_finite()) {
            return Err(Error::NotFinite { operation, index });
        }
        let degree = coefficients.iter().rposition(|&c| c != 0.0).unwrap_or(0);
        if !(1..=MAX_POLYNOMIAL_DEGREE).contains(&degree) {
            return Err(Error::DegreeRange { operation, min: 1, max: MAX_POLYNOMIAL_DEGREE, found: degree });
        }
        let depth = (degree + 1).next_power_of_two().trailing_zeros() as usize;
        if depth > level {
            return Err(Error::Depth { needed: depth, found: level });
        }
        let powers = Powers::new(context, basis, level, input_scale, degree);
        let (root_level, last) = (level + 1 - depth, context.modulus(level + 1 - depth).value());
        let root_scale = target_scale.times(&Scale::prime(last));
        let mut best: Option<(Draft, bool, PolynomialCost)> = None;
        for log_leaf in 1..=depth {
            let draft = powers.split(coefficients[..=degree].to_vec(), root_level, &root_scale, 1 << log_leaf);
            for lazy in [false, true] {
                let cost = powers.cost(&draft, lazy, depth);
                let rank = |c: &PolynomialCost| (c.relinearizations, c.products, c.rescalings, c.constant_products);
                if best.as_ref().is_none_or(|(_, _, least)| rank(&cost) < rank(least)) {
                    best = Some((draft.clone(), lazy, cost));
                }
            }
        }
        let (draft, lazy, cost) = best.ok_or(Error::Depth { needed: depth, found: level })?;
        Ok(Self {
            basis,
            degree,
            level,
            input_scale: input_scale.clone(),
            target_scale: target_scale.clone(),
            powers: powers.steps(&draft, lazy)?,
            root: draft.encode(&powers)?,
            cost,
            fingerprint: *context.parameters().fingerprint(),
        })
    }

    /// The basis.
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// The degree.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The level of the operand.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The level of the result.
    pub fn output_level(&self) -> usize {
        self.level - self.cost.depth
    }

    /// The scale of the operand.
    pub fn input_scale(&self) -> &Scale {
        &self.input_scale
    }

    /// The scale of the result.
    pub fn target_scale(&self) -> &Scale {
        &self.target_scale
    }

    /// What evaluating it takes.
    pub fn cost(&self) -> PolynomialCost {
        self.cost
    }

    pub(crate) fn check(&self, context: &Context, operation: &'static str) -> Result<(), Error> {
        context.check_fingerprint(operation, &self.fingerprint)
    }
}

impl std::fmt::Debug for PolynomialPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolynomialPlan")
            .field("basis", &self.basis)
            .field("degree", &self.degree)
            .field("level", &self.level)
            .field("input_scale", &self.input_scale)
            .field("target_scale", &self.target_scale)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}
