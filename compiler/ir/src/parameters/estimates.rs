//! What the known attacks cost at the bounds of the security table, computed once with the lattice estimator and kept as data:
//! an estimate takes minutes to hours, far too long for every compilation.

use super::Security;

/// Where the estimates come from.
pub const ESTIMATOR: &str = "lattice-estimator, commit 27a581b (2026-06-06)";
/// How the estimator counts the cost of lattice reduction.
pub const ATTACK_COST_MODEL: &str = "MATZOV";

/// What one attack costs on a ring degree and a modulus: uniform ternary secret, errors of [`super::ERROR_STD`].
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The attack, as the estimator calls it.
    pub attack: &'static str,
    /// log2 of the modulus.
    pub log_q: u32,
    /// log2 of the number of operations.
    pub log2_cost: f64,
    /// Block size of the lattice reduction.
    pub beta: u32,
}

const DATA: &str = include_str!("estimates.csv");

/// The estimates at the table's bound for `security` at ring degree `2^log_n`, cheapest attack first. A smaller modulus makes every
/// attack dearer.
pub fn estimates(security: Security, log_n: u32) -> Vec<Estimate> {
    let wanted = |&(level, degree, _): &(u32, u32, Estimate)| (level, degree) == (security.bits(), log_n);
    let mut found: Vec<Estimate> = rows().filter(wanted).map(|(_, _, estimate)| estimate).collect();
    found.sort_by(|a, b| a.log2_cost.total_cmp(&b.log2_cost));
    found
}

/// Level, log2 of the degree, estimate.
fn rows() -> impl Iterator<Item = (u32, u32, Estimate)> {
    DATA.lines().filter_map(|line| {
        let mut fields = line.split(',');
        let mut field = || fields.next();
        let (level, log_n) = (field()?.parse().ok()?, field()?.parse().ok()?);
        let log_q = field()?.parse().ok()?;
        let (attack, log2_cost, beta) = (field()?, field()?.parse().ok()?, field()?.parse().ok()?);
        Some((level, log_n, Estimate { attack, log_q, log2_cost, beta }))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{MAX_LOG_N, MIN_LOG_N, max_log_qp};
    use super::*;

    #[test]
    fn every_line_is_read_and_stands_at_a_bound_of_the_table() {
        let lines = DATA.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!(rows().count(), lines);
        for (level, log_n, estimate) in rows() {
            let security = Security::from_bits(level).expect("a level");
            assert_eq!(max_log_qp(security, log_n), Some(estimate.log_q));
        }
        assert!(DATA.contains("27a581b (2026-06-06)") && DATA.contains(ATTACK_COST_MODEL));
    }

    /// The table's authors used an earlier version of the estimator: differences of a fraction of a bit are expected.
    #[test]
    fn every_entry_of_the_table_has_an_estimate_near_its_level() {
        for security in Security::ALL {
            for log_n in (MIN_LOG_N..=MAX_LOG_N).filter(|&log_n| max_log_qp(security, log_n).is_some()) {
                let cheapest = estimates(security, log_n).first().expect("an estimate").log2_cost;
                let level = f64::from(security.bits());
                assert!((level - 0.25..level + 6.0).contains(&cheapest), "{security:?}, 2^{log_n}: {cheapest}");
            }
        }
    }
}
