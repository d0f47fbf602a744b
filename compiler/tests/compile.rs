//! Whole compilations, as text and as counts.

mod common;

use hec_compiler::management::{self, Goal, Plan, ProductPolicy};
use hec_compiler::ranges::{Ranges, Samples};
use hec_compiler::weights::Weights;
use hec_compiler::{Compilation, CompileError, ExplicitParameters, Options, compile, lower};
use hec_ir::ckks;
use hec_ir::parameters::{Ring, RingType, Security};
use hec_ir::tensor::TensorGraph;

#[test]
fn cryptonets_is_squashed_and_managed() {
    let compiled = compile(&common::cryptonets(), &Options::default()).expect("compiles");
    insta::assert_snapshot!(compiled.program.circuit());
    insta::assert_snapshot!(compiled.decisions);
    assert_eq!(
        ckks::counts(compiled.program.circuit()),
        ckks::OpCounts { scalar_products: 105_980, products: 945, rescales: 100, ..ckks::OpCounts::default() }
    );
}

#[test]
fn every_security_level_is_held() {
    for security in Security::ALL {
        let options = Options { security, ..Options::default() };
        let compiled = compile(&common::cryptonets(), &options).expect("compiles");
        let parameters = compiled.program.parameters();
        assert_eq!(parameters.security(), Some(security));
        assert!(compiled.decisions.log_qp <= f64::from(compiled.decisions.allowed_log_qp));
    }
}

#[test]
fn more_precision_costs_more_modulus() {
    let log_qp = |precision| {
        let options = Options { precision, ..Options::default() };
        let decisions = compile(&common::cryptonets(), &options).expect("compiles").decisions;
        assert!(decisions.precision.1 >= precision);
        decisions.log_qp
    };
    assert!(log_qp(6.0) < log_qp(20.0));
}

fn squarings(count: usize) -> TensorGraph {
    let mut m = common::Model::new();
    let mut x = m.input("x", &[1, 2]);
    for i in 0..count {
        x = m.square(&format!("square{i}"), x);
    }
    m.finish(x)
}

#[test]
fn a_model_that_is_too_deep_is_refused_with_the_numbers() {
    let error = compile(&squarings(150), &Options::default()).expect_err("too deep").to_string();
    assert!(error.contains("too deep") && error.contains("log2(QP)") && error.contains("allows 3523"), "{error}");
}

#[test]
fn explicit_parameters_stand_under_the_same_check() {
    let explicit = |poly_modulus_degree, coeff_modulus: &[u32]| {
        let parameters =
            ExplicitParameters { poly_modulus_degree, coeff_modulus: coeff_modulus.to_vec(), scale_bits: None };
        compile(&common::cryptonets(), &Options { precision: 6.0, parameters: Some(parameters), ..Options::default() })
    };
    let compiled = explicit(8192, &[49, 49, 49, 49]).expect("compiles");
    assert_eq!(compiled.program.parameters().moduli().len(), 3);
    let error = explicit(4096, &[49, 49, 49, 49]).expect_err("196 of 106 bits").to_string();
    assert!(error.contains("the parameters are refused") && error.contains("allows 106 bits"), "{error}");
    let error = explicit(8192, &[40, 40]).expect_err("40 bits are too few").to_string();
    assert!(error.contains("too short") && error.contains("node"), "{error}");
    assert!(matches!(explicit(1000, &[40, 40]), Err(CompileError::Option { name: "params", .. })));
}

#[test]
fn the_ring_is_the_cheapest_for_a_sample_unless_asked_for() {
    let compiled = |ring_type, parameters| {
        let options = Options { ring_type, parameters, precision: 6.0, ..Options::default() };
        compile(&common::cryptonets(), &options).expect("compiles")
    };
    let ring = |compiled: &Compilation| compiled.program.parameters().ring();
    let [auto, standard, invariant] =
        [None, Some(RingType::Standard), Some(RingType::ConjugateInvariant)].map(|asked| compiled(asked, None));
    assert_eq!(ring(&auto), ring(&invariant));
    assert_eq!(ring(&invariant).ring_type, RingType::ConjugateInvariant);
    assert_eq!(ring(&standard).ring_type, RingType::Standard);
    assert_eq!(auto.decisions.batch, ring(&auto).degree());
    let per_sample = |compiled: &Compilation| compiled.decisions.seconds / compiled.decisions.batch as f64;
    assert!(per_sample(&auto) < 0.6 * per_sample(&standard));
    let said = auto.decisions.to_string();
    assert!(said.contains("(conjugate-invariant, the least cost a sample)"), "{said}");
    assert!(said.contains("standard") && said.contains("dearer"), "{said}");
    assert!(standard.decisions.to_string().contains("(standard, as asked for)"));

    let explicit = |coeff_modulus: &[u32]| {
        let coeff_modulus = coeff_modulus.to_vec();
        Some(ExplicitParameters { poly_modulus_degree: 8192, coeff_modulus, scale_bits: None })
    };
    let given = compiled(None, explicit(&[49, 49, 49, 49]));
    assert_eq!(ring(&given), Ring::conjugate_invariant(13));
    let given = compiled(Some(RingType::Standard), explicit(&[49, 49, 49, 49]));
    assert_eq!(ring(&given), Ring::standard(13));
    // Two primes of about 16 bits are 1 modulo 2N = 2^14, 49153 and 65537; only the second is 1 modulo 4N.
    let given = compiled(None, explicit(&[49, 49, 49, 16, 16]));
    assert_eq!(ring(&given), Ring::standard(13));
}

#[test]
fn branches_of_different_scales_are_brought_together() {
    let mut m = common::Model::new();
    let x = m.input("x", &[1, 8]);
    let a = m.dense("a", x, 8, 8);
    let s = m.square("s", a);
    let b = m.dense("b", s, 8, 8);
    let sum = m.push("residual", hec_ir::tensor::Binary::Add, &[a, b]);
    let out = m.dense("out", sum, 8, 2);
    let compiled = compile(&m.finish(out), &Options::default()).expect("compiles");
    let sums = compiled.program.circuit().nodes().filter(|(_, n)| *n.op() == ckks::Op::Add).count();
    assert_eq!(sums, 1);
}

#[test]
fn the_search_finds_what_trying_every_policy_finds() {
    let (_, slots) = lower(&common::cryptonets()).expect("packs");
    let weights = Weights::of_graph(&slots);
    let ranges = Ranges::of_graph(&slots, (0.0, 1.0), &Samples::new());
    let goal = Goal {
        sharing: None,
        values: 10,
        witnesses: Vec::new(),
        aided: None,
        public: std::collections::BTreeSet::new(),
        ring_types: RingType::ALL.to_vec(),
        security: Security::Bits128,
        precision: 10.0,
        input_range: (0.0, 1.0),
        batch: None,
        log_n: None,
        explicit: None,
    };
    let cost = Options::default().cost;
    let found = management::search(&slots, &weights, &ranges, &goal, &cost, &Samples::new()).expect("a plan");
    let model = management::Model { cost: &cost, rounding_factor: 1.0, flooding: None };
    let policy = |mask: usize| ProductPolicy {
        relinearize_before: mask & 1 == 1,
        rescale_before: mask & 2 == 2,
        relinearize_after: mask & 4 == 4,
        rescale_after: mask & 8 == 8,
    };
    for mask in 0..256 {
        let products = vec![policy(mask % 16), policy(mask / 16)];
        let plan = Plan { products, ..found.plan.clone() };
        let Ok(other) = management::simulate(&slots, &weights, &ranges, &plan, model) else { continue };
        let feasible = other.precision >= 10.0 && other.log_qp() <= 214.0;
        assert!(!feasible || other.nanoseconds >= found.simulation.nanoseconds * 0.999, "policy {mask} is cheaper");
    }
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let bytes = || compile(&common::cryptonets(), &Options::default()).expect("compiles").program.to_bytes();
    assert_eq!(bytes(), bytes());
}

/// Everything that a plan chooses, over a grid: the search may be dearer than the best of these by a hundredth.
#[test]
fn the_search_is_as_good_as_an_exhaustive_one_on_a_small_graph() {
    let mut m = common::Model::new();
    let x = m.input("x", &[1, 6]);
    let a = m.dense("a", x, 6, 4);
    let s = m.square("s", a);
    let b = m.dense("b", s, 4, 3);
    let (_, slots) = lower(&m.finish(b)).expect("packs");
    let weights = Weights::of_graph(&slots);
    let ranges = Ranges::of_graph(&slots, (0.0, 1.0), &Samples::new());
    let (cost, ring_types) = (Options::default().cost, RingType::ALL.to_vec());
    let security = Security::Bits128;
    for precision in [8.0, 14.0] {
        let goal = Goal {
            sharing: None,
            values: 10,
            witnesses: Vec::new(),
            aided: None,
            public: std::collections::BTreeSet::new(),
            ring_types: ring_types.clone(),
            security,
            precision,
            input_range: (0.0, 1.0),
            batch: None,
            log_n: None,
            explicit: None,
        };
        let found = management::search(&slots, &weights, &ranges, &goal, &cost, &Samples::new()).expect("a plan");
        let model = management::Model { cost: &cost, rounding_factor: 1.0, flooding: None };
        let per_slot = |ring: Ring, nanoseconds: f64| nanoseconds / ring.slots() as f64;
        let reached = per_slot(found.plan.ring, found.simulation.nanoseconds);
        let mut best = f64::INFINITY;
        let rings = [11, 12, 13].into_iter().flat_map(|n| [Ring::standard(n), Ring::conjugate_invariant(n)]);
        for ring in rings {
            let allowed = f64::from(hec_ir::parameters::max_log_qp(security, ring.log_n).expect("in the table"));
            for code in 0..5 * 6 * 4 * 4 * 3 * 16usize {
                let digit = |place: usize, base: usize| code / place % base;
                let policy = digit(1, 16);
                let bit = |i: usize| policy >> i & 1 == 1;
                let plan = Plan {
                    ring,
                    chain: management::Chain::Uniform([26.0, 32.0, 38.0, 44.0, 49.0][digit(16, 5)]),
                    special: 1,
                    input_bits: 18 + 4 * digit(80, 6) as i32,
                    weight_bits: vec![8 + 4 * digit(480, 4) as i32, 8 + 4 * digit(1920, 4) as i32],
                    waterline: [18.0, 26.0, 34.0][digit(7680, 3)],
                    products: vec![ProductPolicy {
                        relinearize_before: bit(0),
                        rescale_before: bit(1),
                        relinearize_after: bit(2),
                        rescale_after: bit(3),
                    }],
                    blind_bits: 0,
                    fold_first: Vec::new(),
                };
                let Ok(other) = management::simulate(&slots, &weights, &ranges, &plan, model) else { continue };
                if other.precision >= precision && other.log_qp() + 0.1 <= allowed {
                    best = best.min(per_slot(ring, other.nanoseconds));
                }
            }
        }
        assert!(reached <= 1.01 * best, "{precision} bits: {reached} found, {best} is possible");
    }
}
