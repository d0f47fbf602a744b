//! The runtime's cases, on clear numbers.

mod small_ring {
    use hec_ir::parameters::RingType;
    use hec_plain::ClearEngine;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        ClearEngine,
        Setting { ring_type: RingType::Standard, log_n: 10, special_primes: 1, tolerance: 1e-9 }
    );
}

mod larger_ring {
    use hec_ir::parameters::RingType;
    use hec_plain::ClearEngine;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        ClearEngine,
        Setting { ring_type: RingType::Standard, log_n: 11, special_primes: 2, tolerance: 1e-9 }
    );
}

mod conjugate_invariant_ring {
    use hec_ir::parameters::RingType;
    use hec_plain::ClearEngine;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(
        ClearEngine,
        Setting { ring_type: RingType::ConjugateInvariant, log_n: 10, special_primes: 1, tolerance: 1e-9 }
    );
}
