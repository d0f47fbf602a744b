//! The planning: numbers and exact scales, no residues yet.

use std::collections::BTreeSet;

use hec_ir::Scale;

use super::{Basis, PolynomialCost, Power, Sum};
use crate::context::{Context, check_scale};
use crate::error::Error;

/// A sum as it will be computed.
#[derive(Clone)]
pub(super) struct Draft {
    level: usize,
    scale: Scale,
    constant: f64,
    terms: Vec<(usize, f64)>,
    products: Vec<(Draft, usize)>,
}

/// The level and exact scale of every power, were it computed.
pub(super) struct Powers<'c> {
    context: &'c Context,
    basis: Basis,
    /// By index, from 1; index 0 is not used.
    known: Vec<(usize, Scale)>,
}

/// The two lower powers that make one: halves of a power of two; else, of depth no more than the power's own,
/// `2^k - 1` and the rest, which is odd for odd powers' sake and makes few new ones.
fn factors(index: usize) -> [usize; 2] {
    if index.is_power_of_two() {
        [index / 2, index / 2]
    } else {
        let below = index.next_power_of_two() / 2;
        [below - 1, index + 1 - below]
    }
}

impl<'c> Powers<'c> {
    pub(super) fn new(context: &'c Context, basis: Basis, level: usize, scale: &Scale, degree: usize) -> Self {
        let mut known = vec![(level, scale.clone()), (level, scale.clone())];
        // Below the degree, each power fits the levels that the degree takes.
        for index in 2..=degree {
            let [(l0, s0), (l1, s1)] = factors(index).map(|i| &known[i]);
            let level = *l0.min(l1);
            let scale = s0.times(s1).over(&Scale::prime(context.modulus(level).value()));
            known.push((level.saturating_sub(1), scale));
        }
        Self { context, basis, known }
    }

    fn level(&self, index: usize) -> usize {
        self.known[index].0
    }

    fn scale(&self, index: usize) -> &Scale {
        &self.known[index].1
    }

    /// Splits a polynomial, whose last coefficient is not 0, of degree below `2^(l - level + 1)` for an operand at
    /// level `l`. What has a degree below `leaf`, and only powers that exist at `level`, is left whole.
    pub(super) fn split(&self, mut coefficients: Vec<f64>, level: usize, scale: &Scale, leaf: usize) -> Draft {
        let mut draft = Draft { level, scale: scale.clone(), constant: 0.0, terms: Vec::new(), products: Vec::new() };
        loop {
            let degree = coefficients.iter().rposition(|&c| c != 0.0).unwrap_or(0);
            coefficients.truncate(degree + 1);
            let exists = |(i, &c): (usize, &f64)| i == 0 || c == 0.0 || self.level(i) >= level;
            if degree == 0 || degree < leaf && coefficients.iter().enumerate().all(exists) {
                draft.constant = coefficients.first().copied().unwrap_or(0.0);
                let terms = coefficients.into_iter().enumerate().skip(1).filter(|&(_, c)| c != 0.0);
                draft.terms.extend(terms);
                return draft;
            }
            let at = (degree + 1).next_power_of_two() / 2;
            let mut quotient = coefficients.split_off(at);
            match self.basis {
                Basis::Monomial => (),
                Basis::Chebyshev => {
                    for (i, c) in quotient.iter_mut().enumerate().skip(1) {
                        coefficients[at - i] -= *c;
                        *c *= 2.0;
                    }
                }
            }
            if let [c] = &*quotient {
                draft.terms.push((at, *c));
            } else {
                let prime = Scale::prime(self.context.modulus(level + 1).value());
                let wanted = scale.times(&prime).over(self.scale(at));
                draft.products.push((self.split(quotient, level + 1, &wanted, leaf), at));
            }
        }
    }

    /// The powers from index 2 that a draft needs, and those that are factors of products.
    fn needed(&self, draft: &Draft) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut needed, mut factored) = (BTreeSet::new(), BTreeSet::new());
        draft.collect(&mut needed, &mut factored);
        let largest = needed.last().copied().unwrap_or(1);
        for index in (2..=largest).rev() {
            if needed.contains(&index) {
                let [a, b] = factors(index);
                factored.extend([a, b]);
                needed.extend([a, b]);
                if self.basis == Basis::Chebyshev && a != b {
                    needed.insert(a.abs_diff(b));
                }
            }
        }
        needed.remove(&1);
        (needed, factored)
    }

    pub(super) fn cost(&self, draft: &Draft, lazy: bool, depth: usize) -> PolynomialCost {
        let (needed, factored) = self.needed(draft);
        let square: BTreeSet<usize> =
            if lazy { needed.difference(&factored).copied().collect() } else { BTreeSet::new() };
        let corrections = match self.basis {
            Basis::Monomial => 0,
            Basis::Chebyshev => needed.iter().map(|&index| factors(index)).filter(|[a, b]| a != b).count(),
        };
        let mut cost = PolynomialCost {
            depth,
            products: needed.len(),
            relinearizations: needed.len() - square.len(),
            rescalings: square.len(),
            constant_products: corrections,
        };
        draft.add_cost(&square, &mut cost);
        cost
    }

    /// How to compute the powers that a draft needs.
    pub(super) fn steps(&self, draft: &Draft, lazy: bool) -> Result<Vec<Power>, Error> {
        let (needed, factored) = self.needed(draft);
        let step = |index: usize| {
            let [a, b] = factors(index);
            let level = self.level(a).min(self.level(b));
            let scale = self.scale(a).times(self.scale(b));
            check_scale("polynomial", &scale)?;
            let correction = |terms, constant| {
                let draft = Draft { level, scale: scale.clone(), constant, terms, products: Vec::new() };
                draft.encode(self).map(Some)
            };
            let correction = match self.basis {
                Basis::Monomial => None,
                Basis::Chebyshev if a == b => correction(Vec::new(), -1.0)?,
                Basis::Chebyshev => correction(vec![(a.abs_diff(b), -1.0)], 0.0)?,
            };
            let relinearize = !lazy || factored.contains(&index);
            Ok(Power { index, factors: [a, b], correction, relinearize })
        };
        needed.iter().copied().map(step).collect()
    }
}

impl Draft {
    fn collect(&self, needed: &mut BTreeSet<usize>, factored: &mut BTreeSet<usize>) {
        needed.extend(self.terms.iter().map(|&(index, _)| index));
        for (draft, index) in &self.products {
            needed.insert(*index);
            factored.insert(*index);
            draft.collect(needed, factored);
        }
    }

    /// Adds the cost of the sum and of its rescaling; `square` are the powers that are not relinearised.
    fn add_cost(&self, square: &BTreeSet<usize>, cost: &mut PolynomialCost) {
        cost.products += self.products.len();
        cost.constant_products += self.terms.len();
        if self.products.is_empty() && !self.terms.iter().any(|(index, _)| square.contains(index)) {
            cost.rescalings += 1;
        } else {
            cost.relinearizations += 1;
        }
        self.products.iter().for_each(|(draft, _)| draft.add_cost(square, cost));
    }

    /// The residues of all constants, each at the scale that makes its term one of the sum's scale.
    pub(super) fn encode(&self, powers: &Powers<'_>) -> Result<Sum, Error> {
        let operation = "polynomial";
        check_scale(operation, &self.scale)?;
        let residues = |value: f64, scale: &Scale| powers.context.constant(operation, value, self.level, scale);
        let term = |&(index, c): &(usize, f64)| Ok((index, residues(c, &self.scale.over(powers.scale(index)))?));
        let product = |(draft, index): &(Draft, usize)| Ok((draft.encode(powers)?, *index));
        Ok(Sum {
            level: self.level,
            scale: self.scale.clone(),
            constant: if self.constant == 0.0 { None } else { Some(residues(self.constant, &self.scale)?) },
            terms: self.terms.iter().map(term).collect::<Result<_, Error>>()?,
            products: self.products.iter().map(product).collect::<Result<_, Error>>()?,
        })
    }
}
