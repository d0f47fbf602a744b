use std::collections::BTreeMap;
use std::fmt;

use hec_ir::Program;
use hec_ir::ckks::noise::bits;
use hec_ir::ckks::precision::Promise;
use hec_ir::ckks::{self, Ckks, OpCounts};
use hec_ir::graph::{Dialect, Origin};
use hec_ir::parameters::{Ring, RingType, TABLE_NAME, max_log_qp};
use hec_ir::program::{ClientWork, Port};
use hec_ir::slots::{Layout, SlotGraph};

use crate::approximate::Summary;
use crate::cost::{CostModel, Shape};
use crate::management::{Candidate, Found};
use crate::margins;
use crate::options::{Bound, Options};
use crate::ranges::{CALIBRATION_MARGIN, Ranges};
use crate::splits::encoding_nanoseconds;

/// What the compiler decided, and why. [`fmt::Display`] is the report that `hec compile` prints.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// Security level in bits.
    pub security: u32,
    /// The ring.
    pub ring: Ring,
    /// The ring type asked for, if any was.
    pub asked_ring_type: Option<RingType>,
    /// log2(QP) of the chosen primes.
    pub log_qp: f64,
    /// What the table allows.
    pub allowed_log_qp: u32,
    /// Sizes of the chain and of the special primes in bits.
    pub prime_bits: (Vec<f64>, Vec<f64>),
    /// Bits of expected precision asked for, and predicted.
    pub precision: (f64, f64),
    /// What was asked of the bound of errors.
    pub bound: BoundDecision,
    /// Bits of statistical security for which noise is in the prediction, if decryptions are to be shared.
    pub sharing: Option<u32>,
    /// Predicted seconds on one core for one full batch, client and server.
    pub seconds: f64,
    /// Bytes of the ciphertexts that are alive at once while a batch is evaluated.
    pub peak_bytes: u64,
    /// Samples in one full batch.
    pub batch: usize,
    /// Whether ranges were narrowed by samples.
    pub calibrated: bool,
    /// What the circuit does.
    pub counts: OpCounts,
    /// The layers of the circuit.
    pub layers: Vec<LayerDecision>,
    /// For each of the model's nodes that the circuit computes, predicted bits of precision of its last value: log2 of its range over
    /// six standard deviations of its error.
    pub precisions: Vec<(Origin, f64)>,
    /// Rings that were compared.
    pub candidates: Vec<Candidate>,
    /// What was replaced by polynomials.
    pub approximation: Option<Summary>,
    /// Inputs that the client normalises before it encrypts them.
    pub normalised: Vec<String>,
    /// Inputs that are not encrypted.
    pub public: Vec<Port>,
    /// What the server computes from them in the clear.
    pub public_work: Vec<ClientWork>,
    /// What the client computes in the middle of a run, round by round.
    pub rounds: Vec<RoundDecision>,
    /// What is left to the client after decryption.
    pub client: Vec<ClientWork>,
    /// What the client decrypts.
    pub decrypted: Vec<Port>,
    /// What the packed layout takes, where that is the layout.
    pub packed: Option<PackedDecision>,
    /// Why this layout, where both were looked at.
    pub layout_reason: Option<String>,
}

/// What a circuit over packed samples takes besides its ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedDecision {
    /// How the inputs and outputs lie.
    pub layouts: Vec<(String, String)>,
    /// Number of rotation keys.
    pub rotation_keys: usize,
    /// Bytes of them, expanded.
    pub rotation_key_bytes: u64,
    /// Bytes of all evaluation keys, expanded.
    pub key_bytes: u64,
    /// Layers whose weights are encoded on load.
    pub on_load: EncodedWeights,
    /// Layers whose weights are encoded just in time.
    pub just_in_time: EncodedWeights,
    /// The most bytes that are there at once of weights that are encoded just in time: of all layers, whichever are.
    pub at_once_bytes: u64,
    /// What a file of all encoded weights takes, and the seconds of reading it once.
    pub cached: EncodedWeights,
}

/// Nanoseconds of reading a byte of encoded weights from a file that is in memory already, with its checksum, on one core.
const READ_NANOSECONDS: f64 = 0.8;

/// What encoding the weights of some layers comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncodedWeights {
    /// Number of layers.
    pub layers: usize,
    /// Bytes that their encoded weights take while they are kept.
    pub bytes: u64,
    /// Predicted seconds of encoding them once, on one core.
    pub seconds: f64,
}

/// One operation of the circuit.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerDecision {
    /// The model's node.
    pub origin: Origin,
    /// The operation.
    pub op: &'static str,
    /// The type of its result.
    pub ty: ckks::Type,
    /// Products on the longest way to it.
    pub depth: usize,
    /// Tiles in which it is computed; the type's length is that of all of them.
    pub tiles: usize,
}

/// A round with the client.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundDecision {
    /// What the client computes.
    pub work: Vec<ClientWork>,
    /// Whether random factors hide how large its operands are.
    pub blinded: bool,
    /// Bytes of the ciphertexts of one batch that the client decrypts, but for headers.
    pub down: u64,
    /// Bytes of those that it encrypts: one polynomial each, the other is a seed.
    pub up: u64,
}

impl RoundDecision {
    fn all(program: &Program) -> Vec<Self> {
        let (circuit, blinded) = (program.circuit(), program.blinded_rounds());
        let rounds = program.rounds().iter().zip(program.exchanges()).enumerate();
        rounds
            .map(|(number, (round, exchange))| Self {
                work: round.work(),
                blinded: blinded.contains(&number),
                down: (exchange.operands.iter())
                    .map(|sent| ckks::sent_bytes(circuit, sent.ty.level, (sent.ty.degree + 1) * sent.ty.length))
                    .sum(),
                up: (exchange.results.iter())
                    .map(|reply| ckks::sent_bytes(circuit, reply.level, reply.layout.array_length()))
                    .sum(),
            })
            .collect()
    }
}

/// What was asked of the bound of errors at the outputs, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundDecision {
    /// What was asked.
    pub asked: Bound,
    /// Bits by which it is missed at the worst output; negative or 0 if it holds.
    pub missing: f64,
    /// For [`Bound::Decisions`], the error that is tolerated at that output, and the one that is promised; `None` if nothing is known to be
    /// decided by the outputs.
    pub tolerated: Option<[f64; 2]>,
}

impl BoundDecision {
    /// `promises` are those of the outputs, `tolerated` the errors of [`Bound::Decisions`].
    pub(crate) fn new(asked: Bound, promises: &[(String, Promise)], tolerated: &BTreeMap<String, f64>) -> Self {
        let of = |missing: f64| Self { asked, missing, tolerated: None };
        let worst = |missing: &dyn Fn(&Promise) -> f64| {
            // A promise that could not be made is none.
            let none = if promises.is_empty() { f64::INFINITY } else { f64::NEG_INFINITY };
            promises.iter().map(|(_, promise)| missing(promise)).fold(none, f64::max)
        };
        match asked {
            Bound::Any => of(f64::NEG_INFINITY),
            // What is always 0 has no bits.
            Bound::Bits(bits) => {
                of(worst(&|own| if own.range > 0.0 { bits - own.bound_bits() } else { f64::NEG_INFINITY }))
            }
            Bound::Error(error) => of(worst(&|own| (own.bound / error).log2())),
            Bound::Decisions => {
                let pairs = promises.iter().filter_map(|(name, own)| Some([*tolerated.get(name)?, own.bound]));
                let worst = pairs.max_by(|a, b| (a[1] / a[0]).total_cmp(&(b[1] / b[0])));
                let missing = worst.map_or(f64::NEG_INFINITY, |[tolerated, bound]| (bound / tolerated).log2());
                Self { asked, missing, tolerated: worst }
            }
        }
    }
}

/// A clause about it; empty if nothing was asked.
impl fmt::Display for BoundDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alike = 100.0 * margins::ALIKE;
        match (self.asked, self.tolerated) {
            (Bound::Bits(bits), _) => write!(f, "at least {bits:.1} bits asked for"),
            (Bound::Error(error), _) => write!(f, "errors up to {} asked for", short(error)),
            (Bound::Decisions, Some([tolerated, promised])) => {
                let [tolerated, promised] = [tolerated, promised].map(short);
                let only = if self.missing > 0.0 { "only " } else { "" };
                write!(
                    f,
                    "{alike:.0} % of the calibration samples are answered alike with errors up to {tolerated}; {only}{promised} is promised"
                )
            }
            (Bound::Any, _) | (Bound::Decisions, None) => Ok(()),
        }
    }
}

/// Two digits.
fn short(x: f64) -> String {
    let digits = (1.0 - x.abs().log10().floor()).clamp(0.0, 30.0) as usize;
    if (1e-3..1e6).contains(&x.abs()) { format!("{x:.digits$}") } else { format!("{x:.1e}") }
}

impl Decisions {
    pub(crate) fn new(
        program: &Program,
        ranges: &Ranges,
        options: &Options,
        found: Found,
        tiled: bool,
        approximation: Option<Summary>,
    ) -> Self {
        let parameters = program.parameters();
        let bits = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).collect();
        let depths = ckks::multiplicative_depth(program.circuit());
        let layers = program.circuit().nodes().map(|(value, node)| LayerDecision {
            origin: node.origin().clone(),
            op: Ckks::describe(node.op()).0,
            ty: node.ty().clone(),
            depth: depths[value.index()],
            tiles: 1,
        });
        let layers = if tiled { merged(layers) } else { layers.collect() };
        Self {
            security: options.security.bits(),
            ring: parameters.ring(),
            asked_ring_type: options.ring_type,
            log_qp: parameters.log_qp(),
            allowed_log_qp: max_log_qp(options.security, parameters.log_n()).unwrap_or(0),
            prime_bits: (bits(parameters.moduli()), bits(parameters.special_primes())),
            precision: (options.precision, found.simulation.precision),
            bound: BoundDecision::new(Bound::Any, &[], &BTreeMap::new()),
            sharing: options.sharing,
            seconds: found.simulation.nanoseconds * 1e-9,
            peak_bytes: ckks::peak_ciphertext_bytes(program.circuit()),
            batch: program.capacity(),
            calibrated: ranges.calibrated,
            counts: ckks::counts(program.circuit()),
            layers,
            precisions: Vec::new(),
            candidates: found.candidates,
            approximation,
            normalised: program.normalisation().keys().cloned().collect(),
            public: program.public_inputs(),
            public_work: program.public_work(),
            rounds: RoundDecision::all(program),
            client: program.client_work(),
            decrypted: program.decrypted(),
            packed: PackedDecision::new(program, &options.cost),
            layout_reason: None,
        }
    }

    /// The largest number of products on a way through the circuit.
    pub fn depth(&self) -> usize {
        self.layers.iter().map(|layer| layer.depth).max().unwrap_or(0)
    }
}

impl PackedDecision {
    fn new(program: &Program, cost: &CostModel) -> Option<Self> {
        let circuit = program.circuit();
        let inputs = program.input_layouts().into_iter();
        let inputs: Vec<(String, String)> = inputs
            .filter(|(_, layout)| matches!(layout, Layout::Packed(_)))
            .map(|(name, layout)| (name.to_owned(), layout.to_string()))
            .collect();
        if inputs.is_empty() {
            return None;
        }
        let outputs = program.outputs().into_iter().zip(program.output_layouts());
        let outputs = outputs.map(|(port, layout)| (port.name, layout.to_string()));
        let parameters = program.parameters();
        let shape = Shape { ring: parameters.ring(), special: parameters.special_primes().len() };
        let (mut on_load, mut just_in_time, mut at_once_bytes) =
            (EncodedWeights::default(), EncodedWeights::default(), 0);
        for (_, node) in circuit.nodes() {
            if let ckks::Op::Transform(transform) = node.op() {
                let of = if transform.just_in_time { &mut just_in_time } else { &mut on_load };
                at_once_bytes = ckks::just_in_time_bytes(circuit, transform, node.ty()).max(at_once_bytes);
                of.layers += 1;
                of.bytes += ckks::weight_bytes(circuit, transform, node.ty());
                of.seconds += 1e-9 * encoding_nanoseconds(&transform.map, cost, shape, node.ty().level + 1);
            }
        }
        let bytes = on_load.bytes + just_in_time.bytes;
        let seconds = 1e-9 * READ_NANOSECONDS * bytes as f64;
        Some(Self {
            cached: EncodedWeights { layers: on_load.layers + just_in_time.layers, bytes, seconds },
            at_once_bytes,
            layouts: inputs.into_iter().chain(outputs).collect(),
            rotation_keys: ckks::key_needs(circuit).rotations.len(),
            key_bytes: ckks::evaluation_key_bytes(circuit),
            rotation_key_bytes: ckks::rotation_key_bytes(circuit),
            on_load,
            just_in_time,
        })
    }
}

/// Bits of precision of the last value of each origin, from the errors of all values of `graph`; none where there is no error.
pub(crate) fn precisions(graph: &SlotGraph, ranges: &Ranges, errors: &[f64]) -> Vec<(Origin, f64)> {
    let mut found: Vec<(Origin, f64)> = Vec::new();
    for ((value, node), &error) in graph.nodes().zip(errors).filter(|(_, error)| **error > 0.0) {
        let bits = bits(ranges.typical(value), error);
        match found.iter_mut().find(|(origin, _)| origin == node.origin()) {
            Some((_, last)) => *last = bits,
            None => found.push((node.origin().clone(), bits)),
        }
    }
    found
}

/// One line for all tiles of an operation. What only moves ciphertexts from tile to tile is left out.
fn merged(layers: impl Iterator<Item = LayerDecision>) -> Vec<LayerDecision> {
    let mut merged: Vec<LayerDecision> = Vec::new();
    for layer in layers.filter(|layer| !matches!(layer.op, "gather" | "concat")) {
        let alike = |other: &&mut LayerDecision| {
            let (a, b) = (&other.ty, &layer.ty);
            other.origin == layer.origin
                && other.op == layer.op
                && (a.level, a.degree, &a.scale) == (b.level, b.degree, &b.scale)
        };
        match merged.iter_mut().find(alike) {
            Some(first) => {
                first.ty.length += layer.ty.length;
                first.tiles += 1;
            }
            None => merged.push(layer),
        }
    }
    merged
}

impl fmt::Display for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(approximation) = &self.approximation {
            writeln!(f, "{approximation}")?;
        }
        let all = |list: Vec<String>| list.join("; ");
        if !self.normalised.is_empty() {
            let names = self.normalised.join(", ");
            writeln!(f, "brought to [-1, 1] by the client before encryption, element by element: {names}")?;
        }
        if !self.public.is_empty() {
            let ports = self.public.iter().map(|port| format!("\"{}\" {}", port.name, port.ty)).collect();
            writeln!(f, "inputs in the clear: {}", all(ports))?;
            if !self.public_work.is_empty() {
                let work = all(self.public_work.iter().map(ToString::to_string).collect());
                writeln!(f, "  from which the server computes {work}")?;
            }
        }
        if !self.rounds.is_empty() {
            let total = |part: fn(&RoundDecision) -> u64| self.rounds.iter().map(part).sum::<u64>() as f64 * 1e-6;
            let (down, up, count) = (total(|round| round.down), total(|round| round.up), self.rounds.len());
            write!(f, "computed by the client in the middle of the run, in {count} rounds a batch; ")?;
            writeln!(f, "{down:.1} MB go to it and {up:.1} MB come back")?;
            for (number, round) in self.rounds.iter().enumerate() {
                let work = all(round.work.iter().map(ToString::to_string).collect());
                let blinded = if round.blinded { "behind random factors" } else { "as it is" };
                writeln!(f, "  {number}: {work}; it sees the operand {blinded}")?;
            }
        }
        if !self.client.is_empty() {
            let work = all(self.client.iter().map(ToString::to_string).collect());
            let seen = self.decrypted.iter().map(|port| format!("\"{}\" {}", port.name, port.ty)).collect();
            writeln!(f, "done by the client after decryption: {work}")?;
            writeln!(f, "  so the client learns {}", all(seen))?;
        }
        writeln!(f, "layers (array of ciphertexts <level, scale, degree>)")?;
        for layer in &self.layers {
            let LayerDecision { origin, op, ty, depth, tiles } = layer;
            let tiles = if *tiles > 1 { format!(", {tiles} tiles") } else { String::new() };
            writeln!(f, "  depth {depth}  {op:<12} {:<36} {origin}{tiles}", ty.to_string())?;
        }
        let OpCounts { scalar_products, products, key_switches, rescales, rotations, plain_products, .. } = self.counts;
        if let Some(packed) = &self.packed {
            writeln!(
                f,
                "  {plain_products} products with diagonals, {rotations} rotations with {} keys, {products} products, {key_switches} key switches in all, {rescales} rescalings; depth {}",
                packed.rotation_keys,
                self.depth()
            )?;
            writeln!(
                f,
                "layouts (elements in vectors x slots: digits of the index, last fastest, with their strides)"
            )?;
            packed.layouts.iter().try_for_each(|(name, layout)| writeln!(f, "  {name}  {layout}"))?;
        } else {
            writeln!(
                f,
                "  {scalar_products} scalar products, {products} products, {key_switches} key switches, {rescales} rescalings; depth {}",
                self.depth()
            )?;
        }
        if let Some(reason) = &self.layout_reason {
            writeln!(f, "{reason}")?;
        }
        writeln!(f, "rings compared (cheapest plan of each)")?;
        for Candidate { ring, simulation, per_slot, allowed, feasible } in &self.candidates {
            let verdict = match (*ring == self.ring, feasible) {
                (true, _) => "chosen",
                (false, true) => "dearer",
                (false, false) => "too small",
            };
            writeln!(
                f,
                "  N = 2^{} {:<19}  log2(QP) {:.0} of {allowed} bits, {} primes, precision {:.1} bits, {:.3} ms a sample: {verdict}",
                ring.log_n,
                ring.ring_type,
                simulation.log_qp(),
                simulation.moduli.len() + simulation.special.len(),
                simulation.precision,
                per_slot * 1e-6
            )?;
        }
        writeln!(f, "parameters")?;
        let sizes = |bits: &[f64]| bits.iter().map(|b| format!("{b:.1}")).collect::<Vec<_>>().join(", ");
        let numbers = match self.ring.ring_type {
            RingType::Standard => "complex",
            RingType::ConjugateInvariant => "real",
        };
        let why = match self.asked_ring_type {
            Some(_) => "as asked for",
            None if self.packed.is_some() => "the least time an answer",
            None => "the least cost a sample",
        };
        writeln!(f, "  ring {} ({}, {why})", self.ring, self.ring.ring_type)?;
        match &self.packed {
            Some(_) => {
                let samples = if self.batch == 1 { "sample" } else { "samples" };
                writeln!(f, "  {} {samples} at once in {} {numbers} slots", self.batch, self.ring.slots())?;
            }
            None => writeln!(f, "  batches of up to {} samples, one in each of the {numbers} slots", self.batch)?,
        }
        writeln!(f, "  chain [{}] bits, special primes [{}]", sizes(&self.prime_bits.0), sizes(&self.prime_bits.1))?;
        writeln!(
            f,
            "  log2(QP) = {:.1} of the {} bits that {} bits of security allow ({TABLE_NAME})",
            self.log_qp, self.allowed_log_qp, self.security
        )?;
        let (wanted, predicted) = self.precision;
        write!(f, "  precision {predicted:.1} bits predicted, {wanted:.1} asked for")?;
        match self.sharing {
            Some(bits) => writeln!(f, ", with noise that shares a batch at {bits} bits of statistical security")?,
            None => writeln!(f)?,
        }
        let bound = self.bound.to_string();
        if !bound.is_empty() {
            writeln!(f, "  of the bound of errors: {bound}")?;
        }
        if self.calibrated {
            writeln!(f, "  ranges from calibration samples, with a margin of {CALIBRATION_MARGIN}")?;
        } else {
            writeln!(f, "  ranges from interval bounds (calibration samples would narrow them)")?;
        }
        let megabytes = self.peak_bytes as f64 / 1e6;
        if let Some(packed) = &self.packed {
            let PackedDecision {
                rotation_keys,
                rotation_key_bytes,
                key_bytes,
                on_load,
                just_in_time,
                at_once_bytes,
                cached,
                ..
            } = packed;
            let [rotations, keys] = [rotation_key_bytes, key_bytes].map(|bytes| *bytes as f64 / 1e6);
            writeln!(f, "  evaluation keys take {keys:.0} MB, {rotation_keys} rotation keys {rotations:.0} MB of it")?;
            let EncodedWeights { layers, bytes, seconds } = on_load;
            writeln!(
                f,
                "  weights of {layers} layers encoded on load take {:.0} MB and {seconds:.2} s, once; just in time they take as long for each answer, and no more than {:.0} MB at a time",
                *bytes as f64 / 1e6,
                *at_once_bytes as f64 / 1e6
            )?;
            if just_in_time.layers > 0 {
                let EncodedWeights { layers, bytes, seconds } = just_in_time;
                writeln!(
                    f,
                    "  weights of {layers} layers encoded just in time save {:.0} MB and cost {seconds:.2} s for each answer",
                    *bytes as f64 / 1e6
                )?;
            }
            let EncodedWeights { layers, bytes, seconds } = cached;
            writeln!(
                f,
                "  weights of {layers} layers in a cache file (--weight-cache) take {:.0} MB there, and {seconds:.2} s to read instead of encoding them",
                *bytes as f64 / 1e6
            )?;
            return write!(
                f,
                "  about {:.3} s on one core for an answer, encryption included; ciphertexts take {megabytes:.0} MB",
                self.seconds + just_in_time.seconds
            );
        }
        write!(
            f,
            "  about {:.1} s on one core for a full batch, encryption included; ciphertexts take {megabytes:.0} MB",
            self.seconds
        )
    }
}
