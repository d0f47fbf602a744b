use super::{Estimate, MAX_LOG_N, ParameterError, Parameters, Ring, Security, estimates, log2_product, max_log_qp};

/// How a secret is drawn.
pub const SECRET: &str = "uniform over {-1, 0, 1}, dense";

/// What parameters promise, computed from the table anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The ring.
    pub ring: Ring,
    /// log2 of the modulus of fresh ciphertexts.
    pub log_q: f64,
    /// log2 of the product of the special primes.
    pub log_p: f64,
    /// log2 of both together: what the table bounds.
    pub log_qp: f64,
    /// The level that the parameters are held to.
    pub security: Security,
    /// The table's bound on log2(QP) for it.
    pub allowed: u32,
    /// The highest level within whose bound they are.
    pub reached: Security,
    /// What the known attacks cost at the bound of [`Statement::reached`], cheapest first: at least as much here.
    pub attacks: Vec<Estimate>,
    /// What the table allows for [`Statement::security`] at half the degree.
    pub allowed_at_half: Option<u32>,
}

impl Statement {
    /// Recomputes what `parameters` promise.
    ///
    /// # Errors
    /// [`ParameterError`]: they are not what the table allows, whoever made them.
    pub fn of(parameters: &Parameters) -> Result<Self, ParameterError> {
        let literal = parameters.literal();
        // Checked again, whether or not they were when they were made.
        let checked = Parameters::new(literal.clone())?;
        let (log_n, log_qp) = (literal.log_n, checked.log_qp());
        let holds = |security: &Security| max_log_qp(*security, log_n).is_some_and(|most| log_qp <= f64::from(most));
        let reached = Security::ALL.into_iter().rev().find(holds).unwrap_or(literal.security);
        Ok(Self {
            ring: checked.ring(),
            log_q: log2_product(&literal.moduli),
            // An empty sum is -0.
            log_p: log2_product(&literal.special_primes) + 0.0,
            log_qp,
            security: literal.security,
            allowed: max_log_qp(literal.security, log_n).unwrap_or(0),
            reached,
            attacks: estimates(reached, log_n),
            allowed_at_half: log_n.checked_sub(1).and_then(|log_n| max_log_qp(literal.security, log_n.min(MAX_LOG_N))),
        })
    }
}
