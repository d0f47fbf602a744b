//! The same in a few lines, for the terminal.

use hec::{Compilation, CostModel};

use super::super::Failure;
use super::facts::Facts;
use super::html::{keys, percent, samples, size, time};
use super::{advice, layers};

/// Cost, what dominates it, what to change, security and precision.
pub fn summary(compiled: &Compilation, cost: &CostModel) -> Result<String, Failure> {
    let facts = Facts::new(String::new(), &compiled.program, Some(&compiled.decisions), cost, None)?;
    let capacity = facts.program.capacity().max(1);
    let each =
        if capacity > 1 { format!(", {} a sample", time(facts.seconds / capacity as f64)) } else { String::new() };
    let total = facts.seconds.max(1e-12);
    let kind =
        facts.spent.first().map_or(String::new(), |(kind, seconds)| format!("{} {kind}", percent(seconds / total)));
    let largest = layers::largest(&facts);
    let named = largest.iter().take(3).map(|l| format!("{} {}", l.name.escape_debug(), percent(l.seconds / total)));
    let security = &facts.statement.parameters;
    let mut rows = vec![
        (
            "cost",
            format!(
                "about {} on one core for {}{each}; {} of ciphertexts, {}",
                time(facts.seconds),
                samples(capacity),
                size(facts.peak_bytes),
                keys(facts.key_bytes)
            ),
        ),
        ("dominated by", format!("{kind}; {}", named.collect::<Vec<_>>().join(", "))),
    ];
    rows.extend(advice::of(&facts).first().map(|text| ("cheaper with", text.escape_debug().to_string())));
    rows.push((
        "security",
        format!(
            "{} bits, {:.1} of {} bits of modulus spare",
            security.security.bits(),
            f64::from(security.allowed) - security.log_qp,
            security.allowed
        ),
    ));
    rows.extend(facts.precision().map(|own| ("precision", own.asked(&compiled.decisions))));
    rows.extend(compiled.decisions.bound.tolerated.map(|_| ("answers", compiled.decisions.bound.to_string())));
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<14}{value}")).collect();
    Ok(format!("in short (hec explain shows more)\n{}", lines.join("\n")))
}
