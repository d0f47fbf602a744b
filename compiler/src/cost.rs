//! What operations cost, in nanoseconds on one core.
//!
//! A model of the engine's kernels: each constant is the time of one inner step, and the formulas count the steps. Only
//! ratios matter to the choices made with it.

use hec_ir::parameters::{Ring, RingType};

/// The machine's constants.
#[derive(Clone, Debug, PartialEq)]
pub struct CostModel {
    /// One residue times one integer weight, added.
    pub scalar_multiply_add: f64,
    /// One butterfly of a number-theoretic transform.
    pub butterfly: f64,
    /// One modular product of residues, with loads and stores.
    pub pointwise: f64,
    /// Reading or writing one residue of an operand once.
    pub pass: f64,
    /// Drawing one uniform residue from a seed.
    pub uniform: f64,
    /// Drawing one Gaussian error.
    pub gaussian: f64,
    /// One butterfly of the complex transform of the encoder.
    pub complex_butterfly: f64,
}

impl Default for CostModel {
    /// A 2 to 3 GHz x86-64 core with AVX2.
    fn default() -> Self {
        Self {
            scalar_multiply_add: 0.17,
            butterfly: 0.55,
            pointwise: 0.8,
            pass: 0.5,
            uniform: 2.5,
            gaussian: 12.0,
            complex_butterfly: 2.0,
        }
    }
}

/// What sizes follow from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// The ring.
    pub ring: Ring,
    /// Number of special primes; 0 if no key is switched.
    pub special: usize,
}

impl Shape {
    fn n(self) -> f64 {
        self.ring.degree() as f64
    }

    /// Stages of a transform. The conjugate-invariant ring folds first, with a product for every coefficient: two stages.
    fn stages(self) -> f64 {
        let fold = match self.ring.ring_type {
            RingType::Standard => 0,
            RingType::ConjugateInvariant => 2,
        };
        f64::from(self.ring.log_n + fold)
    }

    /// Butterflies of the encoder's complex transform, which has as many points as there are slots.
    fn embedding(self) -> f64 {
        self.ring.slots() as f64 * f64::from(self.ring.log_n) / 2.0
    }
}

impl CostModel {
    fn transforms(&self, shape: Shape, count: f64) -> f64 {
        count * self.butterfly * shape.n() * shape.stages() / 2.0
    }

    /// Integer-weighted sums: `multiply_adds` weights from `operands` to `results` ciphertexts of `limbs` limbs.
    pub fn combine(&self, shape: Shape, limbs: usize, degree: usize, combine: CombineShape) -> f64 {
        let residues = shape.n() * limbs as f64 * (degree + 1) as f64;
        let passes = self.pass * (combine.operands + combine.results) as f64;
        residues * (self.scalar_multiply_add * combine.multiply_adds as f64 + passes)
    }

    /// One product of ciphertexts.
    pub fn product(&self, shape: Shape, limbs: usize, degrees: (usize, usize)) -> f64 {
        shape.n() * limbs as f64 * ((degrees.0 + 1) * (degrees.1 + 1)) as f64 * self.pointwise
    }

    /// One relinearization from `degree` to 1.
    pub fn relinearize(&self, shape: Shape, limbs: usize, degree: usize) -> f64 {
        let (limbs, special) = (limbs as f64, shape.special.max(1) as f64);
        let digits = (limbs / special).ceil();
        let powers = degree.saturating_sub(1) as f64;
        let transforms = powers * (limbs + digits * (limbs + special)) + 2.0 * (special + limbs);
        let products = powers * 2.0 * digits * (limbs + special) + powers * digits * special * limbs;
        self.transforms(shape, transforms) + products * shape.n() * self.pointwise
    }

    /// One rescaling.
    pub fn rescale(&self, shape: Shape, limbs: usize, degree: usize) -> f64 {
        let polynomials = (degree + 1) as f64;
        self.transforms(shape, polynomials * limbs as f64) + polynomials * limbs as f64 * shape.n() * self.pointwise
    }

    /// Encoding and encrypting one ciphertext with the secret key.
    pub fn encrypt(&self, shape: Shape, limbs: usize) -> f64 {
        let limbs = limbs as f64;
        let encode = shape.embedding() * self.complex_butterfly;
        encode + self.transforms(shape, limbs) + shape.n() * (self.gaussian + limbs * (self.uniform + self.pointwise))
    }

    /// Decrypting and decoding one ciphertext.
    pub fn decrypt(&self, shape: Shape, limbs: usize, degree: usize) -> f64 {
        let encode = shape.embedding() * self.complex_butterfly;
        let limbs = limbs as f64;
        encode + self.transforms(shape, limbs) + shape.n() * limbs * self.pointwise * (degree + 1) as f64
    }
}

/// The size of a combine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CombineShape {
    /// Number of weights.
    pub multiply_adds: usize,
    /// Length of the operand.
    pub operands: usize,
    /// Length of the result.
    pub results: usize,
}
