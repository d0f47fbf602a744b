//! What operations cost, in nanoseconds on one core.
//!
//! A model of the engine's kernels: each constant is the time of one inner step, and the formulas count the steps. Only
//! ratios matter to the choices made with it.

use hec_ir::matrix::{BlockShape, NARROW_BITS};
use hec_ir::parameters::{Ring, RingType};

/// The machine's constants.
#[derive(Clone, Debug, PartialEq)]
pub struct CostModel {
    /// One residue times one integer weight, added: in floats, for a residue in two halves.
    pub float_multiply_add: f64,
    /// One digit of a residue times one weight below [`NARROW_BITS`] bits, added in 16-bit integers.
    pub digit_multiply_add: f64,
    /// One digit's sum of [`NARROW_BITS`] bits, added to floats.
    pub digit_carry: f64,
    /// Writing one residue of an operand in the form that the kernels multiply.
    pub pack: f64,
    /// Reducing and storing one residue of a sum.
    pub store: f64,
    /// One butterfly of a number-theoretic transform.
    pub butterfly: f64,
    /// One modular product of residues, with loads and stores.
    pub pointwise: f64,
    /// Reading or writing one residue of an operand once.
    pub pass: f64,
    /// One residue of a digit times one of a rotation key, added: keys come from memory.
    pub key_product: f64,
    /// One residue of a rotated operand times one of an encoded diagonal, added: diagonals come from memory.
    pub diagonal: f64,
    /// Moving one residue as an automorphism does.
    pub permute: f64,
    /// One multiply-add of a change of base: to the special primes and back.
    pub base_change: f64,
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
            float_multiply_add: 0.1,
            digit_multiply_add: 0.0167,
            digit_carry: 0.12,
            pack: 1.1,
            store: 1.35,
            butterfly: 0.47,
            pointwise: 0.48,
            pass: 0.45,
            key_product: 0.8,
            diagonal: 0.65,
            permute: 1.1,
            base_change: 0.38,
            uniform: 5.9,
            gaussian: 12.6,
            complex_butterfly: 2.7,
        }
    }
}

impl CostModel {
    /// Every constant with its name.
    pub fn constants(&mut self) -> [(&'static str, &mut f64); 15] {
        [
            ("float_multiply_add", &mut self.float_multiply_add),
            ("digit_multiply_add", &mut self.digit_multiply_add),
            ("digit_carry", &mut self.digit_carry),
            ("pack", &mut self.pack),
            ("store", &mut self.store),
            ("butterfly", &mut self.butterfly),
            ("pointwise", &mut self.pointwise),
            ("pass", &mut self.pass),
            ("key_product", &mut self.key_product),
            ("diagonal", &mut self.diagonal),
            ("permute", &mut self.permute),
            ("base_change", &mut self.base_change),
            ("uniform", &mut self.uniform),
            ("gaussian", &mut self.gaussian),
            ("complex_butterfly", &mut self.complex_butterfly),
        ]
    }

    /// Sets the constant called `name`.
    ///
    /// # Errors
    /// If there is none, or the value is not a time.
    pub fn set(&mut self, name: &str, nanoseconds: f64) -> Result<(), CostError> {
        if !nanoseconds.is_finite() || nanoseconds < 0.0 {
            return Err(CostError::Value { name: name.to_owned(), nanoseconds });
        }
        let found = self.constants().into_iter().find(|(own, _)| *own == name);
        let (_, constant) = found.ok_or_else(|| CostError::Unknown { name: name.to_owned() })?;
        *constant = nanoseconds;
        Ok(())
    }
}

/// A constant that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// There is no such constant.
    #[error("there is no cost constant \"{name}\"")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// Not a time.
    #[error("cost constant \"{name}\": expected nanoseconds, found {nanoseconds}")]
    Value {
        /// Its name.
        name: String,
        /// What was given.
        nanoseconds: f64,
    },
}

/// What a linear map over the slots does, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotations {
    /// Vectors of the operand that are rotated.
    pub operands: usize,
    /// Baby steps other than 0, over all vectors of the operand.
    pub babies: usize,
    /// Giant steps other than 0, over all vectors of the result.
    pub giants: usize,
    /// Diagonals.
    pub diagonals: usize,
    /// Vectors of the result.
    pub results: usize,
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

    /// Integer-weighted sums with weights of `weight_bits` bits, modulo primes of `moduli` bits.
    pub fn combine(&self, shape: Shape, moduli: &[f64], degree: usize, weight_bits: i32, block: BlockShape) -> f64 {
        let multiply_adds = block.multiply_adds as f64;
        let passes = self.pass * (block.operands + block.results) as f64 + self.store * block.sums as f64;
        let limb = |&bits: &f64| {
            let sums = if block.prefers_digits() && weight_bits < NARROW_BITS as i32 {
                self.digit_sums(bits, weight_bits) * multiply_adds + self.pack * block.packed as f64
            } else {
                let whole = bits + f64::from(weight_bits) + WHOLE_TERMS_BITS <= FLOAT_BITS;
                let halves = if whole { 0.5 } else { 1.0 };
                self.float_multiply_add * halves * multiply_adds + self.pack * block.operands as f64
            };
            sums + passes
        };
        shape.n() * (degree + 1) as f64 * moduli.iter().map(limb).sum::<f64>()
    }

    /// One multiply-add of the 16-bit kernel: a residue has two to four digits, and sums of 32 bits are carried over to floats
    /// before they overflow.
    fn digit_sums(&self, modulus_bits: f64, weight_bits: i32) -> f64 {
        let digits = ((modulus_bits + 2.0) / f64::from(NARROW_BITS + 1)).ceil().clamp(2.0, 4.0);
        let bits = ((modulus_bits + 2.0) / digits).ceil();
        let terms = (32.0 - bits - f64::from(weight_bits)).exp2().clamp(1.0, MAX_DIGIT_TERMS);
        digits * (self.digit_multiply_add + self.digit_carry / terms)
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

    /// One rotation of a ciphertext of degree 1, and its sum with another.
    pub fn rotation(&self, shape: Shape, limbs: usize) -> f64 {
        let switch = Switch::new(shape, limbs);
        let moved = 2.0 * (self.permute + 4.0 * self.pass + self.pointwise) * switch.limbs;
        self.cut(shape, switch) + shape.n() * (self.keyed(switch) + moved) + 2.0 * self.divide(shape, switch)
    }

    /// The diagonals of a linear map over the slots with its rotations, everything modulo `Q P` until the end: baby steps are products
    /// of digits that are there with keys, giant steps divide one polynomial and cut it into digits.
    pub fn transform(&self, shape: Shape, limbs: usize, rotations: Rotations) -> f64 {
        let Rotations { operands, babies, giants, diagonals, results } = rotations;
        let switch = Switch::new(shape, limbs);
        let [operands, babies, giants, diagonals, results] =
            [operands, babies, giants, diagonals, results].map(|count| count as f64);
        if babies + giants == 0.0 {
            return shape.n() * 2.0 * switch.limbs * (self.diagonal + 2.0 * self.pass) * diagonals;
        }
        let cuts = (operands + giants) * self.cut(shape, switch);
        let divisions = (giants + 2.0 * results) * self.divide(shape, switch);
        let keyed = (babies + giants) * self.keyed(switch);
        // Both halves: raised, permuted, and for giant steps cleared, copied back and added.
        let baby = 2.0 * switch.extended * (self.permute + 1.5 * self.pass);
        let giant = 2.0 * switch.extended * (self.permute + 6.0 * self.pass);
        let products = 2.0 * switch.extended * self.diagonal * diagonals;
        cuts + divisions + shape.n() * (keyed + babies * baby + giants * giant + products)
    }

    /// A polynomial cut into digits modulo `Q P`.
    fn cut(&self, shape: Shape, Switch { limbs, special, extended, digits }: Switch) -> f64 {
        let terms = if special > 1.0 { special + 1.0 } else { 1.0 };
        let bases = digits * (extended - special) * terms + limbs;
        self.transforms(shape, digits * extended) + shape.n() * self.base_change * bases
    }

    /// A polynomial divided by the special primes.
    fn divide(&self, shape: Shape, Switch { limbs, special, extended, .. }: Switch) -> f64 {
        let bases = limbs * (special + 1.0) + special;
        self.transforms(shape, extended) + shape.n() * (self.base_change * bases + self.pointwise * limbs)
    }

    /// For each coefficient: all digits times both halves of a key.
    fn keyed(&self, Switch { extended, digits, .. }: Switch) -> f64 {
        2.0 * digits * extended * self.key_product
    }

    /// Encoding one diagonal for operands of so many limbs.
    pub fn encode_diagonal(&self, shape: Shape, limbs: usize) -> f64 {
        let extended = (limbs + shape.special) as f64;
        let rounded = shape.n() * (self.pointwise + self.pass) * extended;
        shape.embedding() * self.complex_butterfly + self.transforms(shape, extended) + rounded
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

/// Sizes of a key switch, as factors.
#[derive(Clone, Copy)]
struct Switch {
    limbs: f64,
    special: f64,
    /// Limbs and special primes.
    extended: f64,
    digits: f64,
}

impl Switch {
    fn new(shape: Shape, limbs: usize) -> Self {
        let (limbs, special) = (limbs as f64, shape.special.max(1) as f64);
        Self { limbs, special, extended: limbs + special, digits: (limbs / special).ceil() }
    }
}

/// Sums in floats are exact up to this many bits.
const FLOAT_BITS: f64 = 52.0;
/// Residues that are left whole have room for so many terms, in bits, before a reduction.
const WHOLE_TERMS_BITS: f64 = 6.0;
/// The kernel of 16-bit integers carries after as many terms at the latest.
const MAX_DIGIT_TERMS: f64 = 256.0;
