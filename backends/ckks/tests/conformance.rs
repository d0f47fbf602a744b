//! The runtime's cases, under encryption.

/// What scale 2^40 allows. At N = 2^12 a fresh error is 1.3e-10 a slot (`noise::fresh`); most cases end below 1e-8. Two go
/// further: weights of 2^24 at scale 2^12 multiply it by 4096 in each of three terms, which is 9e-7, and the network's last
/// square stands at scale 2^32, where rounding is 256 times as large. The largest error in 60 runs was 2.0e-6.
/// The smallest weight that could be forgotten is 2^-12 = 2.4e-4.
const TOLERANCE: f64 = 1e-5;

mod one_special_prime {
    use hec_ckks::adapter::CkksEngine;
    use hec_ir::parameters::RingType;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        CkksEngine,
        Setting { ring_type: RingType::Standard, log_n: 11, special_primes: 1, tolerance: super::TOLERANCE }
    );
}

/// Digits of two primes.
mod two_special_primes {
    use hec_ckks::adapter::CkksEngine;
    use hec_ir::parameters::RingType;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        CkksEngine,
        Setting { ring_type: RingType::Standard, log_n: 12, special_primes: 2, tolerance: super::TOLERANCE }
    );
}

mod conjugate_invariant_ring {
    use hec_ckks::adapter::CkksEngine;
    use hec_ir::parameters::RingType;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        CkksEngine,
        Setting { ring_type: RingType::ConjugateInvariant, log_n: 11, special_primes: 2, tolerance: super::TOLERANCE }
    );
}
