//! What the executor does in which order, how many ciphertexts it holds at once, and what it refuses.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hec_ir::ckks::{Circuit, Ckks, Combine, DropLevel, Input, Op};
use hec_ir::matrix::BlockMatrix;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};
use hec_ir::slots::{Gather, Layout};
use hec_ir::{Builder, Scale, Value};
use hec_runtime::{EngineError, Evaluator, Layer, Metadata, Progress, RunError, Silent, execute};

/// Counts the ciphertexts that exist.
#[derive(Default)]
struct Meter {
    live: AtomicUsize,
    peak: AtomicUsize,
}

/// Nothing but metadata and its place in the meter.
struct Counted {
    metadata: Metadata,
    meter: Arc<Meter>,
}

impl Counted {
    fn new(metadata: Metadata, meter: &Arc<Meter>) -> Self {
        let live = meter.live.fetch_add(1, Ordering::SeqCst) + 1;
        meter.peak.fetch_max(live, Ordering::SeqCst);
        Self { metadata, meter: meter.clone() }
    }

    fn with(&self, change: impl FnOnce(&mut Metadata)) -> Result<Self, EngineError> {
        let mut metadata = self.metadata.clone();
        change(&mut metadata);
        Ok(Self::new(metadata, &self.meter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.meter.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Computes metadata only. `forgets_to_rescale` is the bug that the executor must notice.
#[derive(Default)]
struct Counter {
    primes: Vec<u64>,
    forgets_to_rescale: bool,
    has_no_key: bool,
}

impl Evaluator for Counter {
    type Ciphertext = Counted;

    fn metadata(&self, ciphertext: &Counted) -> Metadata {
        ciphertext.metadata.clone()
    }

    fn key_bytes(&self) -> u64 {
        0
    }

    fn encode(&self, _slots: &[f64], _level: usize, _scale: &Scale) -> Result<Counted, EngineError> {
        Err(EngineError::new("no input here is public"))
    }

    fn add(&self, a: &Counted, b: &Counted) -> Result<Counted, EngineError> {
        a.with(|m| m.degree = m.degree.max(b.metadata.degree))
    }

    fn subtract(&self, a: &Counted, b: &Counted) -> Result<Counted, EngineError> {
        self.add(a, b)
    }

    fn add_constant(&self, a: &Counted, _value: f64) -> Result<Counted, EngineError> {
        a.with(|_| ())
    }

    fn multiply_integer(&self, a: &Counted, _weight: i32, weight_scale: &Scale) -> Result<Counted, EngineError> {
        a.with(|m| m.scale = m.scale.times(weight_scale))
    }

    fn multiply(&self, a: &Counted, b: &Counted) -> Result<Counted, EngineError> {
        a.with(|m| {
            m.scale = m.scale.times(&b.metadata.scale);
            m.degree += b.metadata.degree;
        })
    }

    fn relinearize(&self, a: &Counted) -> Result<Counted, EngineError> {
        if self.has_no_key {
            return Err(EngineError::new("there is no relinearization key"));
        }
        a.with(|m| m.degree = 1)
    }

    fn rescale(&self, a: &Counted) -> Result<Counted, EngineError> {
        if self.forgets_to_rescale {
            return a.with(|_| ());
        }
        a.with(|m| {
            m.scale = m.scale.over(&Scale::prime(self.primes[m.level]));
            m.level -= 1;
        })
    }

    fn slots(&self) -> usize {
        1 << 9
    }

    fn rotate(&self, a: &Counted, _steps: usize) -> Result<Counted, EngineError> {
        a.with(|_| ())
    }

    fn multiply_plain(&self, a: &Counted, _weights: &[f64], weight_scale: &Scale) -> Result<Counted, EngineError> {
        self.multiply_integer(a, 0, weight_scale)
    }

    fn add_plain(&self, a: &Counted, _values: &[f64]) -> Result<Counted, EngineError> {
        a.with(|_| ())
    }

    fn drop_level(&self, a: &Counted, levels: usize) -> Result<Counted, EngineError> {
        a.with(|m| m.level -= levels)
    }
}

fn parameters() -> Parameters {
    let mut search = PrimeSearch::new(10);
    let special_primes = vec![search.take(50).unwrap()];
    let moduli = [49, 40, 40, 40, 40, 40].map(|bits| search.take(bits).unwrap()).to_vec();
    Parameters::insecure_for_tests(Literal {
        ring_type: RingType::Standard,
        log_n: 10,
        moduli,
        special_primes,
        security: Security::Bits128,
    })
    .unwrap()
}

fn scale() -> Scale {
    Scale::power_of_two(40)
}

fn input(b: &mut Builder<Ckks>, name: &str, length: usize) -> Value {
    b.set_origin(name);
    let layout = Layout::Batch { shape: vec![length] };
    b.push(Op::Input(Input { name: name.to_owned(), layout, level: 5, scale: scale(), public: false }), &[]).unwrap()
}

fn dense(rows: usize, cols: usize) -> Op {
    let matrix = BlockMatrix::dense(rows, cols, vec![1.0; rows * cols].into()).unwrap().map(|&w| w as i32);
    Op::Combine(Combine {
        matrix: Arc::new(matrix),
        weight_scale: Scale::power_of_two(10),
        bias: vec![0.5; rows].into(),
    })
}

/// The outputs' lengths, the number of ciphertexts alive after the run, and the most that were alive at once, on one thread.
fn run(circuit: &Circuit) -> (Vec<usize>, usize, usize) {
    let meter = Arc::new(Meter::default());
    let evaluator = Counter { primes: circuit.context().moduli().to_vec(), ..Counter::default() };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let outputs = pool.install(|| execute(circuit, &evaluator, inputs(circuit, &meter), &Silent)).unwrap();
    let lengths = outputs.iter().map(|(_, array)| array.len()).collect();
    (lengths, meter.live.load(Ordering::SeqCst), meter.peak.load(Ordering::SeqCst))
}

fn inputs(circuit: &Circuit, meter: &Arc<Meter>) -> BTreeMap<String, Vec<Counted>> {
    let array = |value: Value| {
        let ty = circuit.ty(value);
        (0..ty.length).map(|_| Counted::new(Metadata::from(ty), meter)).collect()
    };
    circuit.inputs().map(|(value, name)| (name.to_owned(), array(value))).collect()
}

#[test]
fn elementwise_operations_at_a_last_use_hold_one_array_and_one_ciphertext() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 100);
    let y = b.push(Op::Square, &[x]).unwrap();
    let y = b.push(Op::Relinearize, &[y]).unwrap();
    let y = b.push(Op::Rescale, &[y]).unwrap();
    let y = b.push(Op::DropLevel(DropLevel { levels: 1 }), &[y]).unwrap();
    let y = b.push(Op::Multiply, &[y, y]).unwrap();
    b.output("y", y);
    assert_eq!(run(&b.finish()), (vec![100], 100, 101));
}

#[test]
fn an_operand_that_is_used_again_stays() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 100);
    let square = b.push(Op::Square, &[x]).unwrap();
    let cube = b.push(Op::Multiply, &[square, x]).unwrap();
    b.output("y", cube);
    // x and its square; then the cube takes the place of both, element by element.
    assert_eq!(run(&b.finish()), (vec![100], 100, 201));
}

#[test]
fn a_combine_holds_its_operand_and_its_result() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 20);
    let y = b.push(dense(5, 20), &[x]).unwrap();
    let y = b.push(Op::Square, &[y]).unwrap();
    b.output("y", y);
    // The expansion holds a sum, a term and their new sum at once, beside the operand and four finished rows.
    assert_eq!(run(&b.finish()), (vec![5], 5, 20 + 4 + 3));
}

#[test]
fn gather_and_concat_share_and_free_what_is_left_out() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 10);
    let y = b.push(Op::Gather(Gather { indices: [7, 7, 1].into() }), &[x]).unwrap();
    let z = b.push(Op::Concat, &[y, y]).unwrap();
    b.output("z", z);
    assert_eq!(run(&b.finish()), (vec![6], 2, 10));
}

#[test]
fn what_nobody_uses_is_freed_at_once() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 10);
    let unused = input(&mut b, "unused", 10);
    b.push(Op::Square, &[x]).unwrap();
    let sum = b.push(Op::Add, &[x, x]).unwrap();
    b.output("sum", sum);
    b.output("x", x);
    let circuit = b.finish();
    assert_eq!(circuit.ty(unused).length, 10);
    // Both inputs come in together; x and its (dead) square, then x and the sum.
    assert_eq!(run(&circuit), (vec![10, 10], 20, 20));
}

#[test]
fn an_output_can_be_named_twice() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 3);
    b.output("a", x);
    b.output("b", x);
    assert_eq!(run(&b.finish()), (vec![3, 3], 3, 3));
}

/// Writes down what it is told.
#[derive(Default)]
struct Diary(RefCell<Vec<String>>);

impl Progress for Diary {
    fn started(&self, layer: &Layer<'_>) {
        let Layer { index, total, origin, op, ty } = layer;
        self.0.borrow_mut().push(format!("{}/{total} {origin}: {op} -> {ty}", index + 1));
    }

    fn finished(&self, layer: &Layer<'_>, _elapsed: Duration) {
        self.0.borrow_mut().push(format!("{}/{} done", layer.index + 1, layer.total));
    }
}

#[test]
fn nodes_run_in_order_and_are_announced() {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 2);
    b.set_origin("dense1");
    let y = b.push(dense(1, 2), &[x]).unwrap();
    b.set_origin("act1");
    let y = b.push(Op::Square, &[y]).unwrap();
    b.output("y", y);
    let (circuit, diary) = (b.finish(), Diary::default());
    execute(&circuit, &Counter::default(), inputs(&circuit, &Arc::default()), &diary).unwrap();
    assert_eq!(
        diary.0.into_inner(),
        [
            "1/3 x: input -> ct[2]<L5, 2^40, degree 1>",
            "1/3 done",
            "2/3 dense1: combine -> ct[1]<L5, 2^50, degree 1>",
            "2/3 done",
            "3/3 act1: square -> ct[1]<L5, 2^100, degree 2>",
            "3/3 done",
        ]
    );
}

/// The error of a run of the circuit of one square, relinearised and rescaled.
fn refusal(evaluator: Counter, change: impl FnOnce(&mut BTreeMap<String, Vec<Counted>>, &Arc<Meter>)) -> RunError {
    let mut b = Builder::new(parameters());
    let x = input(&mut b, "x", 2);
    b.set_origin("act1");
    let y = b.push(Op::Square, &[x]).unwrap();
    let y = b.push(Op::Relinearize, &[y]).unwrap();
    let y = b.push(Op::Rescale, &[y]).unwrap();
    b.output("y", y);
    let (circuit, meter) = (b.finish(), Arc::default());
    let mut inputs = inputs(&circuit, &meter);
    change(&mut inputs, &meter);
    let error = execute(&circuit, &evaluator, inputs, &Silent).err().unwrap();
    assert_eq!(meter.live.load(Ordering::SeqCst), 0, "an error frees everything");
    error
}

#[test]
fn inputs_that_do_not_match_are_named() {
    let text =
        |change: fn(&mut BTreeMap<String, Vec<Counted>>, &Arc<Meter>)| refusal(Counter::default(), change).to_string();
    assert_eq!(text(|inputs, _| inputs.clear()), "no value was given for input \"x\"");
    assert_eq!(
        text(|inputs, _| drop(inputs.get_mut("x").unwrap().pop())),
        "input \"x\": expected 2 ciphertexts, found 1"
    );
    assert_eq!(
        text(|inputs, _| drop(inputs.insert("z".to_owned(), vec![]))),
        "the program has no input \"z\": its inputs are \"x\""
    );
    assert_eq!(
        text(|inputs, meter| {
            inputs.get_mut("x").unwrap()[1] = Counted::new(Metadata { level: 4, scale: scale(), degree: 1 }, meter);
        }),
        "node \"x\" (input): the circuit declares <L5, 2^40, degree 1>, but ciphertext 1 of the result is \
         <L4, 2^40, degree 1>"
    );
}

#[test]
fn a_failing_operation_is_named_by_its_model_node() {
    let error = refusal(Counter { has_no_key: true, ..Counter::default() }, |_, _| ());
    assert_eq!(error.to_string(), "node \"act1\" (relinearize): there is no relinearization key");
}

#[test]
fn an_engine_that_disagrees_with_the_circuit_is_caught() {
    let error = refusal(Counter { forgets_to_rescale: true, ..Counter::default() }, |_, _| ());
    let q = parameters().moduli()[5];
    assert_eq!(
        error.to_string(),
        format!(
            "node \"act1\" (rescale): the circuit declares <L4, 2^80 * {q}^-1, degree 1>, but ciphertext 0 of the result \
             is <L5, 2^80, degree 1>"
        )
    );
}
