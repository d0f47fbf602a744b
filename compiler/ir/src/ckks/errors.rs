//! The errors that operations add, with the deviations of [`super::noise`], and how they are drawn.

use std::sync::LazyLock;

use super::noise;
use super::{Circuit, Ckks, MAX_DEGREE, Op};
use crate::graph::Node;
use crate::parameters::{ERROR_STD, Parameters, RingType};

/// The error that an operation adds to a slot, in units of the message.
///
/// What is multiplied by powers of the secret `s` has a variance that depends on the slot: it follows the secret's value there, which is
/// the same in a whole run. `variances[i]` goes with `z^i` where `z = |s(zeta)|^2 / E |s|^2`, of mean 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Added {
    /// By the power of `z`.
    pub variances: [f64; MAX_DEGREE + 1],
}

impl Added {
    /// Of this variance, whatever the secret.
    pub(super) fn constant(variance: f64) -> Self {
        let mut variances = [0.0; MAX_DEGREE + 1];
        variances[0] = variance;
        Self { variances }
    }

    /// Rounding the polynomials of a ciphertext of `degree` to integers.
    pub(super) fn rounding(parameters: &Parameters, degree: usize) -> Self {
        let h = noise::secret_norm(parameters.ring(), 1);
        let mut variances = [0.0; MAX_DEGREE + 1];
        let powers = variances.iter_mut().take(degree + 1);
        powers.enumerate().for_each(|(i, variance)| *variance = h.powi(i as i32) / 12.0);
        Self { variances }
    }

    /// Both.
    pub(super) fn plus(mut self, other: Self) -> Self {
        self.variances.iter_mut().zip(other.variances).for_each(|(a, b)| *a += b);
        self
    }

    /// From coefficients at a scale to the real parts of slots.
    pub(super) fn in_slots(mut self, parameters: &Parameters, log2_scale: f64) -> Self {
        let factor = parameters.ring().real_slot_norm() * (-2.0 * log2_scale).exp2();
        self.variances.iter_mut().for_each(|variance| *variance *= factor);
        self
    }

    /// The variance in a slot where the secret's square is `z` times its mean.
    pub fn variance(&self, z: f64) -> f64 {
        self.variances.iter().rev().fold(0.0, |sum, variance| sum * z + variance)
    }

    /// The variance over all slots of a ring.
    pub fn mean_variance(&self, parameters: &Parameters) -> f64 {
        let moment = |i: usize| parameters.ring().slot_moment(i);
        self.variances.iter().enumerate().map(|(i, variance)| variance * moment(i)).sum()
    }
}

/// What a node adds to each slot of its result whatever the messages are; `None` for operations that add nothing, or whose errors depend
/// on them (a transform, random factors).
pub fn added(circuit: &Circuit, node: &Node<Ckks>) -> Option<Added> {
    let parameters = circuit.context();
    let scale = node.ty().scale.log2();
    match node.op() {
        Op::Input(input) => Some(fresh(parameters, !input.public, scale)),
        Op::Refresh(_) => Some(fresh(parameters, true, scale)),
        Op::Rescale => Some(Added::rounding(parameters, node.ty().degree).in_slots(parameters, scale)),
        Op::Relinearize => {
            let parts = node.operands().first().map_or(1, |operand| circuit.ty(*operand).degree.saturating_sub(1));
            Some(key_switch(parameters, parts, node.ty().level).in_slots(parameters, scale))
        }
        Op::Combine(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::Concat
        | Op::Gather(_)
        | Op::DropLevel(_)
        | Op::Transform(_)
        | Op::Fold(_)
        | Op::Blind(_) => None,
    }
}

fn fresh(parameters: &Parameters, encrypted: bool, log2_scale: f64) -> Added {
    let encryption = if encrypted { ERROR_STD * ERROR_STD } else { 0.0 };
    Added::constant(encryption + noise::encoding().powi(2)).in_slots(parameters, log2_scale)
}

/// Variance of what a key switch has before it is divided by the special primes, over their square.
pub(super) fn undivided(parameters: &Parameters, parts: usize, level: usize) -> f64 {
    let special: f64 = parameters.special_primes().iter().map(|&q| (q as f64).log2()).sum();
    let digits = noise::log2_digits(parameters, level);
    noise::undivided_key_switch(parameters.ring(), parts, digits, special).powi(2)
}

/// In coefficients.
pub(super) fn key_switch(parameters: &Parameters, parts: usize, level: usize) -> Added {
    Added::constant(undivided(parameters, parts, level)).plus(Added::rounding(parameters, 1))
}

/// Draws errors.
pub struct Errors<B> {
    bits: B,
    secret: Secret,
}

/// What is assumed of the secret's squares in the slots, over their mean.
enum Secret {
    /// One for each virtual slot, and the deviations there of the error that was drawn last: it is often drawn again.
    Slots { squares: Vec<f64>, of: Added, deviations: Vec<f64> },
    /// The mean of each power.
    Mean(Parameters),
    /// The same everywhere.
    Everywhere(f64),
}

impl<B: FnMut() -> u64> Errors<B> {
    /// From a source of random bits, for vectors of `width` virtual slots, with a secret that is drawn once.
    pub fn new(parameters: &Parameters, width: usize, mut bits: B) -> Self {
        // A slot of the secret is a Gaussian variable: real, or complex.
        let square = |_| match parameters.ring().ring_type {
            RingType::Standard => (normal(&mut bits).powi(2) + normal(&mut bits).powi(2)) / 2.0,
            RingType::ConjugateInvariant => normal(&mut bits).powi(2),
        };
        let squares = (0..width).map(square).collect();
        Self { bits, secret: Secret::Slots { squares, of: Added::default(), deviations: vec![0.0; width] } }
    }

    /// The same, with the deviations that errors have over all secrets.
    pub fn averaged(parameters: &Parameters, bits: B) -> Self {
        Self { bits, secret: Secret::Mean(parameters.clone()) }
    }

    /// The same for a secret whose squares are all `z` times their mean.
    pub fn with_secret(z: f64, bits: B) -> Self {
        Self { bits, secret: Secret::Everywhere(z) }
    }

    /// Adds an error to each slot of whole vectors.
    pub fn disturb(&mut self, x: &mut [f64], added: &Added) {
        let deviation = match &mut self.secret {
            Secret::Slots { squares, of, deviations } => {
                if of != added {
                    *of = *added;
                    deviations.iter_mut().zip(squares).for_each(|(d, z)| *d = added.variance(*z).sqrt());
                }
                for x in x.chunks_mut(deviations.len().max(1)) {
                    x.iter_mut().zip(&*deviations).for_each(|(x, deviation)| *x += deviation * normal(&mut self.bits));
                }
                return;
            }
            Secret::Mean(parameters) => added.mean_variance(parameters).sqrt(),
            Secret::Everywhere(z) => added.variance(*z).sqrt(),
        };
        x.iter_mut().for_each(|x| *x += deviation * normal(&mut self.bits));
    }

    /// A number from 0 to 1 excluded.
    pub fn uniform(&mut self) -> f64 {
        uniform((self.bits)())
    }
}

/// A Gaussian variable of mean 0 and variance 1: the ziggurat of Marsaglia and Tsang (2000), in the form that Doornik (2005) gives it.
fn normal(bits: &mut impl FnMut() -> u64) -> f64 {
    let ziggurat = &*ZIGGURAT;
    loop {
        let drawn = bits();
        // The layer is from bits that the number does not use.
        let layer = (drawn % LAYERS as u64) as usize;
        let u = 2.0 * uniform(drawn) - 1.0;
        let x = u * ziggurat.edges[layer];
        if x.abs() < ziggurat.edges[layer + 1] {
            return x;
        }
        if layer == 0 {
            return tail(bits).copysign(u);
        }
        let above = |edge: f64| (-0.5 * (edge * edge - x * x)).exp();
        let (low, high) = (above(ziggurat.edges[layer]), above(ziggurat.edges[layer + 1]));
        if high + uniform(bits()) * (low - high) < 1.0 {
            return x;
        }
    }
}

/// A Gaussian variable beyond the last edge (Marsaglia, 1964).
fn tail(bits: &mut impl FnMut() -> u64) -> f64 {
    loop {
        let x = -(1.0 - uniform(bits())).ln() / LAST_EDGE;
        let y = -(1.0 - uniform(bits())).ln();
        if 2.0 * y > x * x {
            return LAST_EDGE + x;
        }
    }
}

/// From the 53 upper bits.
fn uniform(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// Layers of equal area under the Gaussian curve, where the last ends, and their area.
const LAYERS: usize = 128;
const LAST_EDGE: f64 = 3.442619855899;
const AREA: f64 = 9.91256303526217e-3;

/// Right edges of the layers, from the lowest, which has the tail, to 0.
struct Ziggurat {
    edges: [f64; LAYERS + 1],
}

static ZIGGURAT: LazyLock<Ziggurat> = LazyLock::new(|| {
    let curve = |x: f64| (-0.5 * x * x).exp();
    let mut edges = [0.0; LAYERS + 1];
    edges[0] = AREA / curve(LAST_EDGE);
    edges[1] = LAST_EDGE;
    for layer in 2..LAYERS {
        edges[layer] = (-2.0 * (AREA / edges[layer - 1] + curve(edges[layer - 1])).ln()).sqrt();
    }
    Ziggurat { edges }
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{Literal, PrimeSearch, Ring, Security};

    fn generator(mut state: u64) -> impl FnMut() -> u64 {
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }
    }

    fn parameters(ring: Ring) -> Parameters {
        let mut search = PrimeSearch::for_ring(ring);
        let moduli = [40, 40].map(|bits| search.take(bits).unwrap()).to_vec();
        let special_primes = vec![search.take(45).unwrap()];
        let (log_n, ring_type, security) = (ring.log_n, ring.ring_type, Security::Bits128);
        Parameters::insecure_for_tests(Literal { ring_type, log_n, moduli, special_primes, security }).unwrap()
    }

    /// Moments, and the shares beyond 2 and beyond the ziggurat's last edge, within five deviations of their own.
    #[test]
    fn normals_are_normal() {
        const COUNT: usize = 1 << 20;
        let mut bits = generator(1);
        let draws: Vec<f64> = (0..COUNT).map(|_| normal(&mut bits)).collect();
        let mean = |f: &dyn Fn(f64) -> f64| draws.iter().map(|&x| f(x)).sum::<f64>() / COUNT as f64;
        let near = |found: f64, wanted: f64, variance: f64| {
            let allowed = 5.0 * (variance / COUNT as f64).sqrt();
            assert!((found - wanted).abs() < allowed, "{found}, not {wanted} within {allowed}");
        };
        near(mean(&|x| x), 0.0, 1.0);
        near(mean(&|x| x * x), 1.0, 2.0);
        near(mean(&|x| x.powi(4)), 3.0, 96.0);
        for (edge, share) in
            [(0.25, 0.802_587_348_6), (1.0, 0.317_310_507_9), (2.0, 0.045_500_263_9), (LAST_EDGE, 5.761e-4)]
        {
            near(mean(&|x| f64::from(x.abs() > edge)), share, share * (1.0 - share));
        }
    }

    /// What is drawn has the deviation of the formulas, whichever way the secret is treated.
    #[test]
    fn errors_are_as_large_as_the_formulas_say() {
        for ring in [Ring::standard(11), Ring::conjugate_invariant(11)] {
            let parameters = parameters(ring);
            for degree in 0..=2 {
                let added = Added::rounding(&parameters, degree).in_slots(&parameters, 20.0);
                let wanted = noise::slot_std(ring, noise::rounding(ring, degree), 20f64.exp2());
                assert!((added.mean_variance(&parameters).sqrt() / wanted - 1.0).abs() < 1e-12);
                const WIDTH: usize = 1 << 16;
                let measured = |errors: &mut Errors<_>| {
                    let mut x = vec![0.0; WIDTH];
                    errors.disturb(&mut x, &added);
                    (x.iter().map(|x| x * x).sum::<f64>() / WIDTH as f64).sqrt() / wanted
                };
                let drawn =
                    measured(&mut Errors::new(&parameters, WIDTH, Box::new(generator(2)) as Box<dyn FnMut() -> u64>));
                let averaged = measured(&mut Errors::averaged(&parameters, Box::new(generator(3))));
                // Fourth powers of Gaussian variables scatter.
                assert!(
                    (drawn - 1.0).abs() < 0.08 && (averaged - 1.0).abs() < 0.02,
                    "{ring}, {degree}: {drawn}, {averaged}"
                );
            }
            let switched = key_switch(&parameters, 1, 1).in_slots(&parameters, 0.0).mean_variance(&parameters).sqrt();
            let special = (parameters.special_primes()[0] as f64).log2();
            let digits = noise::log2_digits(&parameters, 1);
            let wanted = noise::slot_std(ring, noise::key_switch(ring, 1, digits, special), 1.0);
            assert!((switched / wanted - 1.0).abs() < 1e-12, "{switched}, not {wanted}");
        }
    }
}
