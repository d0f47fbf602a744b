//! Parameters, and the modulus against the bounds of the table.

use std::fmt::Write;

use hec::Security;
use hec::ir::parameters::max_log_qp;

use super::facts::Facts;
use super::html::{escaped, samples};

const WIDTH: f64 = 420.0;

/// The bar and the table.
pub fn section(facts: &Facts) -> String {
    let parameters = facts.program.parameters();
    let bits =
        |primes: &[u64]| primes.iter().map(|&q| format!("{:.1}", (q as f64).log2())).collect::<Vec<_>>().join(" ");
    let special =
        if parameters.special_primes().is_empty() { "none".to_owned() } else { bits(parameters.special_primes()) };
    let mut rows = facts.statement.rows();
    rows.push(("chain", format!("{} primes of {} bits", parameters.moduli().len(), bits(parameters.moduli()))));
    rows.push(("special primes", special));
    rows.push(("slots", format!("{}; {} at a time", parameters.slots(), samples(facts.program.capacity()))));
    let rows: String =
        rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value))).collect();
    format!("{}<dl class=\"facts\">{rows}</dl>", bar(facts))
}

/// log2(QP) on a scale with the bound of each level.
fn bar(facts: &Facts) -> String {
    let (log_n, log_qp) = (facts.statement.parameters.ring.log_n, facts.statement.parameters.log_qp);
    let bounds: Vec<(u32, u32)> =
        Security::ALL.into_iter().filter_map(|level| Some((level.bits(), max_log_qp(level, log_n)?))).collect();
    let end = bounds.iter().map(|(_, bound)| f64::from(*bound)).fold(log_qp, f64::max) * 1.08;
    let x = |bits: f64| 10.0 + (WIDTH - 20.0) * bits / end;
    let mut svg = format!(
        "<svg class=\"bound\" viewBox=\"0 0 {WIDTH} 86\" role=\"img\" aria-label=\"log2(QP) = {log_qp:.1} against the bounds of the table at N = 2^{log_n}\">\
         <rect class=\"frame\" x=\"10\" y=\"30\" width=\"{0}\" height=\"20\"/><rect class=\"used\" x=\"10\" y=\"30\" width=\"{1:.1}\" height=\"20\"/>\
         <text class=\"small strong\" x=\"10\" y=\"22\">log2(QP) = {log_qp:.1} bits at N = 2^{log_n}</text>",
        WIDTH - 20.0,
        x(log_qp) - 10.0
    );
    for (level, bound) in bounds {
        let at = x(f64::from(bound));
        let class = if level == facts.statement.parameters.security.bits() { "limit own" } else { "limit" };
        let anchor = if at > WIDTH - 60.0 { "end" } else { "middle" };
        let at_text = if anchor == "end" { at + 4.0 } else { at };
        let _ = write!(
            svg,
            "<path class=\"{class}\" d=\"M{at:.1} 25 V56\"/><text class=\"small\" x=\"{at_text:.1}\" y=\"68\" text-anchor=\"{anchor}\">≤ {bound}</text>\
             <text class=\"small muted\" x=\"{at_text:.1}\" y=\"81\" text-anchor=\"{anchor}\">{level} bits</text>"
        );
    }
    svg.push_str("</svg>\n");
    svg
}
