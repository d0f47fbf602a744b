//! What a program and keys promise about security: for people, and as JSON for machines.

use hec::Program;
use hec::ir::ckks::{KeyNeeds, key_needs};
use hec::ir::parameters::{
    ATTACK_COST_MODEL, ERROR_STD, ESTIMATOR, Estimate, ParameterError, Parameters, SECRET, Statement, TABLE_NAME,
};
use hec_ckks::GaloisKey;
use hec_ckks::adapter::EvaluationKeys;
use serde_json::{Value, json};

/// The statement of a program: of its parameters, and of each kind of evaluation key.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramStatement {
    pub parameters: Statement,
    pub keys: Vec<Keys>,
}

/// Evaluation keys of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    pub kind: &'static str,
    pub count: usize,
    /// log2 of the largest modulus that one of them lives at.
    pub log_qp: f64,
}

impl ProgramStatement {
    /// Recomputes the statement of `program` from its parameters and its circuit.
    pub fn of(program: &Program) -> Result<Self, ParameterError> {
        Self::with_needs(program.parameters(), &key_needs(program.circuit()))
    }

    /// The statement of parameters with evaluation keys as `needs` says.
    pub fn with_needs(parameters: &Parameters, needs: &KeyNeeds) -> Result<Self, ParameterError> {
        let KeyNeeds { relinearization, rotations } = needs;
        let relinearization = relinearization.map(|needed| (needed.degree.saturating_sub(1), needed.level));
        let rotations = rotations.values().max().map(|&level| (rotations.len(), level));
        Self::with_keys(parameters, relinearization, rotations)
    }

    /// The statement of parameters without evaluation keys.
    pub fn alone(parameters: &Parameters) -> Result<Self, ParameterError> {
        Self::with_keys(parameters, None, None)
    }

    /// The statement of evaluation keys that are there, which may be more than a program needs.
    pub fn of_keys(parameters: &Parameters, keys: &EvaluationKeys) -> Result<Self, ParameterError> {
        let relinearization = keys.relinearization.as_ref();
        let relinearization = relinearization.map(|own| (own.max_degree().saturating_sub(1), own.level()));
        let level = keys.rotations.iter().map(GaloisKey::level).max();
        Self::with_keys(parameters, relinearization, level.map(|level| (keys.rotations.len(), level)))
    }

    /// The statement of parameters with evaluation keys: of each kind their number and highest level.
    fn with_keys(
        parameters: &Parameters,
        relinearization: Option<(usize, usize)>,
        rotations: Option<(usize, usize)>,
    ) -> Result<Self, ParameterError> {
        let kinds = [("relinearization", relinearization), ("rotation", rotations)];
        let keys = kinds.into_iter().filter_map(|(kind, keys)| {
            let (count, level) = keys?;
            Some(Keys { kind, count, log_qp: modulus_of_key(parameters, level) })
        });
        Ok(Self { parameters: Statement::of(parameters)?, keys: keys.collect() })
    }

    /// One object; sizes in bits, rounded to thousandths.
    pub fn json(&self) -> Value {
        let Statement { ring, log_q, log_p, log_qp, security, allowed, reached, attacks, .. } = &self.parameters;
        let attack = |a: &Estimate| json!({ "attack": a.attack, "log2_cost": a.log2_cost, "beta": a.beta });
        let keys = |k: &Keys| json!({ "kind": k.kind, "count": k.count, "log_qp": rounded(k.log_qp) });
        json!({
            "ring_type": ring.ring_type.name(),
            "log_n": ring.log_n,
            "log_q": rounded(*log_q),
            "log_p": rounded(*log_p),
            "log_qp": rounded(*log_qp),
            "secret": SECRET,
            "error_std": ERROR_STD,
            "security": security.bits(),
            "table": TABLE_NAME,
            "allowed_log_qp": allowed,
            "reached": reached.bits(),
            "estimates": {
                "estimator": ESTIMATOR,
                "cost_model": ATTACK_COST_MODEL,
                "at_log_q": attacks.first().map(|attack| attack.log_q),
                "attacks": attacks.iter().map(attack).collect::<Vec<_>>(),
            },
            "keys": self.keys.iter().map(keys).collect::<Vec<_>>(),
        })
    }

    /// Name and value, a line each.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let Statement { ring, log_q, log_p, log_qp, security, allowed, reached, attacks, .. } = &self.parameters;
        let spare = f64::from(*allowed) - log_qp;
        let mut rows = vec![
            ("ring", format!("{ring} ({})", ring.ring_type)),
            ("secret", SECRET.to_owned()),
            ("errors", format!("discrete Gaussian, standard deviation {ERROR_STD}")),
            ("modulus", format!("log2(QP) = {log_qp:.1}: {log_q:.1} for ciphertexts, {log_p:.1} of special primes")),
            (
                "bound",
                format!(
                    "{allowed} bits for {} bits of security at N = 2^{}: {spare:.1} to spare",
                    security.bits(),
                    ring.log_n
                ),
            ),
            ("table", TABLE_NAME.to_owned()),
        ];
        for Keys { kind, count, log_qp } in &self.keys {
            let keys = if *count == 1 { "key" } else { "keys" };
            rows.push(("evaluation keys", format!("{count} {kind} {keys}, log2(QP) at most {log_qp:.1}")));
        }
        if self.keys.is_empty() {
            rows.push(("evaluation keys", "none".to_owned()));
        }
        for Estimate { attack, log_q, log2_cost, beta } in attacks {
            let at = format!("2^{log2_cost:.1} operations at log2(Q) = {log_q}, block size {beta}");
            rows.push(("attack", format!("{attack}: {at}")));
        }
        let than = match security == reached {
            true => "this modulus is no larger",
            false => "this modulus is within the bound of a higher level",
        };
        rows.push((
            "estimates",
            format!("{ESTIMATOR}, cost model {ATTACK_COST_MODEL}; {than}, so attacks cost at least that"),
        ));
        rows
    }
}

/// log2 of the modulus of a key for ciphertexts up to `level`.
fn modulus_of_key(parameters: &Parameters, level: usize) -> f64 {
    let special: f64 = parameters.special_primes().iter().map(|&q| (q as f64).log2()).sum();
    parameters.log_q(level.min(parameters.max_level())) + special
}

fn rounded(bits: f64) -> f64 {
    (bits * 1000.0).round() / 1000.0
}
