//! What to change in the model, or in how it is compiled, to make it cheaper.

use hec::Bound;
use hec::approximate::Rung;

use super::facts::{Facts, Layer, Side};
use super::html::percent;

/// A share of the time from which on a kind of work is worth a word.
const WORTH: f64 = 0.2;
/// Bits of precision above what was asked for from which on they are called spare.
const SPARE_BITS: f64 = 4.0;

/// Plain sentences, the most useful first; names of the model stand in them as they are.
pub fn of(facts: &Facts) -> Vec<String> {
    let mut advice = Vec::new();
    let total = facts.seconds.max(1e-12);
    // Kinds of work for which the same helps stand in one sentence.
    let mut about_kinds: Vec<(Vec<&str>, f64, String)> = Vec::new();
    for (kind, seconds) in facts.spent.iter().filter(|(_, seconds)| seconds / total >= WORTH) {
        let Some(text) = about(kind, facts) else { continue };
        match about_kinds.iter_mut().find(|(_, _, other)| *other == text) {
            Some((kinds, all, _)) => {
                kinds.push(kind);
                *all += seconds;
            }
            None => about_kinds.push((vec![kind], *seconds, text)),
        }
    }
    let sentence = |(kinds, seconds, text): (Vec<&str>, f64, String)| {
        format!("{} of the time goes to {}: {text}", percent(seconds / total), kinds.join(" and "))
    };
    advice.extend(about_kinds.into_iter().map(sentence));
    advice.extend(smaller_ring(facts));
    advice.extend(degrees(facts));
    advice.extend(rounds(facts));
    advice.extend(precision(facts));
    if advice.is_empty() {
        advice.push("Nothing stands out: the time is spread over the layers.".to_owned());
    }
    advice
}

/// What makes one kind of work less.
fn about(kind: &str, facts: &Facts) -> Option<String> {
    let largest = |of: fn(&Layer) -> usize| {
        let layer = facts.layers.iter().max_by_key(|layer| of(layer)).filter(|layer| of(layer) > 0)?;
        Some(format!("“{}” does {} of {}", layer.name, of(layer), facts.layers.iter().map(of).sum::<usize>()))
    };
    match kind {
        "encryption" => Some(
            "each element of an input is a ciphertext of its own in this layout; crop or shrink the inputs, or take --layout packed for few samples at a time"
                .to_owned(),
        ),
        "weighted sums of ciphertexts" => {
            let most = largest(|l| l.counts.scalar_products)?;
            Some(format!("fewer channels, larger strides or pruned weights make them fewer; {most}"))
        }
        "products with diagonals, and their rotations" | "rotations that add up slots" => {
            let most = largest(|l| l.counts.rotations)?;
            Some(format!(
                "smaller kernels, fewer channels and grouped convolutions take fewer rotations; {most} rotations. With thousands of samples at a time --layout batch needs none"
            ))
        }
        "products of ciphertexts" | "relinearization" => {
            let most = largest(|l| l.counts.products)?;
            Some(format!("polynomials of lower degree, or fewer elements at the activations, make them fewer; {most} products"))
        }
        "rescaling" => Some("it comes with every product: fewer elements at the activations make it less".to_owned()),
        "rounds with the client" | "random factors for rounds" => {
            Some("fewer activations, or fewer elements at them, make the client's work less; --activations mixed leaves to it only what no polynomial comes near".to_owned())
        }
        _other => None,
    }
}

/// Half the ring, if a few levels less would carry the model there.
fn smaller_ring(facts: &Facts) -> Option<String> {
    let parameters = facts.program.parameters();
    let allowed = facts.statement.parameters.allowed_at_half?;
    let above = parameters.log_qp() - f64::from(allowed);
    let prime = parameters.moduli().last().map(|&q| (q as f64).log2())?;
    let levels = (above / prime).ceil();
    if above <= 0.0 || levels > 3.0 || levels >= parameters.max_level() as f64 {
        return None;
    }
    let (log_n, plural) = (parameters.log_n() - 1, if levels > 1.0 { "s" } else { "" });
    let gain =
        if facts.packed() { "half the time and memory" } else { "half the memory, at half as many samples in a batch" };
    let mut dear: Vec<&Layer> = facts.layers.iter().filter(|layer| layer.side == Side::Server).collect();
    dear.sort_by_key(|layer| std::cmp::Reverse(layer.levels.0.saturating_sub(layer.levels.1)));
    let named = dear.first().map_or(String::new(), |layer| {
        format!(" “{}” takes most of them, {}.", layer.name, layer.levels.0.saturating_sub(layer.levels.1))
    });
    Some(format!(
        "The modulus is {above:.0} bits above what N = 2^{log_n} allows: {levels:.0} level{plural} fewer, or a lower --precision, may reach that ring, with {gain}.{named}"
    ))
}

/// The activation with the highest degree.
fn degrees(facts: &Facts) -> Option<String> {
    let summary = facts.decisions?.approximation.as_ref()?;
    let degree = |rung: Rung| match rung {
        Rung::Degree(degree) | Rung::Tournament(degree) | Rung::Moments { degree, .. } => degree,
        Rung::Average | Rung::Client => 1,
    };
    let highest = summary.replacements.iter().max_by_key(|r| degree(r.rung)).filter(|r| degree(r.rung) > 2)?;
    Some(format!(
        "“{}” ({}) is replaced with {}: a model that is fine-tuned with polynomials of degree 2 in place of such functions needs fewer levels.",
        highest.origin, highest.function, highest.rung
    ))
}

fn rounds(facts: &Facts) -> Option<String> {
    let rounds = facts.program.rounds().len();
    let refreshed = facts.counts.refreshed;
    let plural = if rounds == 1 { "round" } else { "rounds" };
    (rounds > 0).then(|| {
        format!("The client takes part in {rounds} {plural} of each batch and encrypts {refreshed} ciphertexts in them: over a slow network these decide, not the times above.")
    })
}

fn precision(facts: &Facts) -> Option<String> {
    let decisions = facts.decisions?;
    let (asked, predicted) = decisions.precision;
    let (kind, spare) = match decisions.bound.asked {
        Bound::Bits(_) => ("bound", -decisions.bound.missing),
        Bound::Any | Bound::Decisions | Bound::Error(_) => ("expected precision", predicted - asked),
    };
    (spare > SPARE_BITS && spare.is_finite()).then(|| {
        format!("The {kind} is {spare:.1} bits better than asked for: asking for more with --precision may cost nothing here.")
    })
}
