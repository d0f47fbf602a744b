//! The runtime's cases, under encryption.

mod one_special_prime {
    use hec_ckks::adapter::CkksEngine;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(CkksEngine, Setting { log_n: 11, special_primes: 1, tolerance: 1e-4 });
}

mod two_special_primes {
    use hec_ckks::adapter::CkksEngine;
    use hec_runtime::conformance::Setting;

    hec_runtime::conformance!(CkksEngine, Setting { log_n: 12, special_primes: 2, tolerance: 1e-4 });
}
