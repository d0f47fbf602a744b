//! What every engine must compute and refuse. A backend's tests name their engine once:
//!
//! ```ignore
//! hec_runtime::conformance!(ClearEngine, Setting { ring_type: RingType::Standard, log_n: 10, special_primes: 1, tolerance: 1e-9 });
//! ```
//!
//! and get one test for each case. A case builds a small circuit under [`Setting::parameters`], runs it on the engine with
//! random inputs, and compares every slot with a direct evaluation in f64 ([`meaning`]). That the metadata of every
//! ciphertext is what the circuit declares is checked by the executor on the way.

mod circuits;
mod harness;
mod linear_maps;
mod meaning;
mod refusals;
mod samples;

pub use circuits::*;
pub use harness::{Setting, Verdict};
pub use linear_maps::*;
pub use meaning::meaning;
pub use refusals::*;
pub use samples::*;

/// One `#[test]` for each case of [`conformance`](mod@crate::conformance): `conformance!(engine, setting)`. Several settings go
/// into several modules.
#[macro_export]
macro_rules! conformance {
    ($engine:expr, $setting:expr) => {
        $crate::conformance! { @tests $engine, $setting =>
            encrypt_and_decrypt
            encrypt_at_every_level
            add
            add_of_unequal_degrees
            subtract
            combine_dense
            combine_blocks
            combine_rows_without_weights
            combine_wide
            combine_of_high_degree
            combine_agrees_with_its_expansion
            gather
            concat
            square
            multiply
            multiply_to_the_highest_degree
            relinearize
            relinearize_below_the_top_level
            rescale
            drop_level
            fold
            transform
            transform_of_several_vectors
            transform_agrees_with_its_expansion
            packed_batches
            polynomial_of_degree_four
            network
            two_inputs_two_outputs
            an_input_in_the_clear
            batches
            refuses_unequal_levels
            refuses_unequal_scales
            refuses_unequal_degrees_in_a_combine
            refuses_products_above_the_highest_degree
            refuses_exhausted_levels
            refuses_to_relinearize_without_a_key
            refuses_to_relinearize_above_its_key
            refuses_to_rotate_without_a_key
            refuses_values_that_cannot_be_encoded
            refuses_ciphertexts_of_other_parameters
        }
    };
    (@tests $engine:expr, $setting:expr => $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                if let Err(reason) = $crate::conformance::$case(&$engine, &$setting) {
                    panic!("{reason}");
                }
            }
        )*
    };
}
