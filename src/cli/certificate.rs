//! What a program promises of its precision: for people, and as JSON for machines; and beside it what was measured.

use hec::Checked;
use hec::ir::ckks::precision::{Certificate, MESSAGE_MARGIN, Promise};
use serde_json::{Value, json};

/// Numbers are kept with so many digits: enough to compare, and the same on every machine.
const DIGITS: usize = 5;

/// One object.
pub fn json(certificate: &Certificate) -> Value {
    let promise = |name: &str, own: &Promise| {
        json!({
            "name": name,
            "range": rounded(own.range),
            "error": rounded(own.error),
            "bound": rounded(own.bound),
            "bits": bits(own.expected_bits()),
            "bound_bits": bits(own.bound_bits()),
        })
    };
    let Certificate { layers, outputs, noise_failure, overflow, escape, calibrated, samples } = certificate;
    json!({
        "layers": layers.iter().map(|(origin, own)| promise(origin.as_str(), own)).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(|(name, own)| promise(name, own)).collect::<Vec<_>>(),
        "log2_failure": { "noise": noise_failure, "overflow": bits(*overflow), "escape": bits(*escape) },
        "message_margin": MESSAGE_MARGIN,
        "calibrated": calibrated,
        "samples": samples,
    })
}

/// Name and value, a line each.
pub fn rows(certificate: &Certificate) -> Vec<(&'static str, String)> {
    let Certificate { layers, outputs, noise_failure, overflow, escape, calibrated, samples } = certificate;
    let output = |(name, own): &(String, Promise)| {
        let (expected, bound) = (own.expected_bits(), own.bound_bits());
        let value = format!(
            "\"{}\": {expected:.1} bits expected, {bound:.1} at least (error below {:.1e})",
            name.escape_debug(),
            own.bound
        );
        ("precision", value)
    };
    let mut rows: Vec<_> = outputs.iter().map(output).collect();
    let of = if *calibrated { "calibration samples" } else { "made-up samples" };
    rows.push(("precision of", format!("{} layers is stated, from {samples} {of}", layers.len())));
    rows.push((
        "failure",
        format!("an error above its bound 2^{noise_failure:.0}, a value out of the modulus 2^{overflow:.0}, out of its range 2^{escape:.0}"),
    ));
    rows
}

/// A table of what was promised and what was measured.
pub fn table(checked: &[Checked]) -> String {
    let width = checked.iter().map(|own| own.name.chars().count()).max().unwrap_or(0).clamp(5, LONGEST_NAME);
    let line = |own: &Checked| {
        let name: String = own.name.escape_debug().take(LONGEST_NAME).collect();
        let Promise { range, error, bound, .. } = own.promise;
        let verdict = if own.holds() { "" } else { "  BROKEN" };
        let kind = if own.output { "output" } else { "layer" };
        let bits = own.promise.expected_bits();
        format!(
            "  {kind:<7}{name:<width$}  {range:>9.2e}  {bits:>6.1}  {error:>9.2e}  {:>9.2e}  {bound:>9.2e}  {:>9.2e}{verdict}\n",
            own.error, own.largest
        )
    };
    let header = format!(
        "  {:<7}{:<width$}  {:>9}  {:>6}  {:>9}  {:>9}  {:>9}  {:>9}\n",
        "", "", "range", "bits", "expected", "measured", "bound", "largest"
    );
    header + checked.iter().map(line).collect::<String>().trim_end_matches('\n')
}

/// One object for each value.
pub fn checked_json(checked: &[Checked]) -> Value {
    let one = |own: &Checked| {
        let Promise { range, error, bound, .. } = own.promise;
        json!({
            "name": own.name, "output": own.output, "range": range, "expected": error, "measured": own.error, "bound": bound,
            "largest": finite(own.largest), "count": own.count, "holds": own.holds(),
        })
    };
    checked.iter().map(one).collect()
}

/// The names of layers and outputs whose promise is broken.
pub fn broken(checked: &[Checked]) -> Option<String> {
    let names = checked.iter().filter(|own| !own.holds()).map(|own| {
        let kind = if own.output { "output" } else { "node" };
        let (name, found, bound) = (own.name.escape_debug(), own.largest, own.promise.bound);
        format!("{kind} \"{name}\" has an error of {found:.2e}, above its bound {bound:.2e}")
    });
    let list = names.collect::<Vec<_>>().join("; ");
    (!list.is_empty()).then(|| {
        format!(
            "the precision certificate is broken: {list}; the samples may be unlike those of the calibration: compile the model again \
             with --calibrate, or with more --precision"
        )
    })
}

const LONGEST_NAME: usize = 40;

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

fn rounded(x: f64) -> Option<f64> {
    format!("{x:.DIGITS$e}").parse().ok().filter(|x: &f64| x.is_finite())
}

/// To thousandths; none where an error is 0.
fn bits(x: f64) -> Option<f64> {
    finite((x * 1000.0).round() / 1000.0)
}
