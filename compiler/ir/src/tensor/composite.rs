use std::fmt;
use std::sync::Arc;

use super::{Binary, Effort, Element, Operation, Tensor, TensorType, Unary, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// Longer compositions are refused.
pub const MAX_STEPS: usize = 256;

/// One step of a [`Composite`]; each takes its operands from a stack and puts its value there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The argument.
    Argument,
    /// A number.
    Constant(f64),
    /// A function of the topmost value.
    Unary(Unary),
    /// A function of the two topmost values, the first operand below the second.
    Binary(Binary),
    /// Of the three topmost values, the second if the first is not 0, else the third.
    Select,
}

/// A function of one number that is composed of others, elementwise: what `x * sigmoid(x)` is of `x`.
///
/// It is written in postfix notation, as in `"x x sigmoid mul"`, with parameters in parentheses: `"x clip(0,6)"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Composite {
    steps: Arc<[Step]>,
}

impl Step {
    /// How many values it takes.
    fn operands(self) -> usize {
        match self {
            Self::Argument | Self::Constant(_) => 0,
            Self::Unary(_) => 1,
            Self::Binary(_) => 2,
            Self::Select => 3,
        }
    }

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "x" => return Some(Self::Argument),
            "select" => return Some(Self::Select),
            _other => {}
        }
        if let Some(binary) = Binary::from_text(text) {
            return Some(Self::Binary(binary));
        }
        let (name, parameters) = match text.strip_suffix(')') {
            Some(open) => open.split_once('(')?,
            None => (text, ""),
        };
        let mut parameters = parameters.split(',').filter(|text| !text.is_empty());
        let next = |_| parameters.next().and_then(|text| text.parse().ok()).ok_or(());
        match Unary::from_parts(name, next) {
            Some(Ok(unary)) if parameters.next().is_none() => Some(Self::Unary(unary)),
            Some(_) => None,
            None => Some(Self::Constant(text.parse().ok()?)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => f.write_str("x"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Binary(binary) => f.write_str(binary.text()),
            Self::Select => f.write_str("select"),
            Self::Unary(unary) => {
                f.write_str(unary.text())?;
                let values: Vec<String> = unary.parameters().iter().map(|(_, value)| value.to_string()).collect();
                if values.is_empty() { Ok(()) } else { write!(f, "({})", values.join(",")) }
            }
        }
    }
}

/// The postfix notation.
impl fmt::Display for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        f.write_str(&steps.join(" "))
    }
}

impl From<Unary> for Composite {
    fn from(unary: Unary) -> Self {
        Self { steps: [Step::Argument, Step::Unary(unary)].into() }
    }
}

impl Composite {
    /// From its steps.
    ///
    /// # Errors
    /// If a step lacks operands, if not exactly one value is left, if there are too many steps or a number is NaN.
    pub fn new(steps: impl Into<Arc<[Step]>>) -> Result<Self, TypeError> {
        let steps = steps.into();
        if steps.len() > MAX_STEPS {
            return Err(TypeError::new(format!("{} steps; at most {MAX_STEPS} make a function", steps.len())));
        }
        let mut depth = 0_usize;
        for step in &*steps {
            match step {
                Step::Unary(unary) => unary.check()?,
                Step::Constant(value) if value.is_nan() => return Err(TypeError::new("a constant is NaN")),
                Step::Argument | Step::Constant(_) | Step::Binary(_) | Step::Select => {}
            }
            let Some(left) = depth.checked_sub(step.operands()) else {
                return Err(TypeError::new(format!("step \"{step}\" lacks operands")));
            };
            depth = left + 1;
        }
        if depth != 1 {
            return Err(TypeError::new(format!("expected one value at the end, found {depth}")));
        }
        Ok(Self { steps })
    }

    /// From the postfix notation.
    ///
    /// # Errors
    /// The word that is no step, or as [`Composite::new`].
    pub fn parse(text: &str) -> Result<Self, TypeError> {
        let unknown = |word: &str| TypeError::new(format!("\"{word}\" is no step of a function"));
        let steps: Vec<Step> = text
            .split_ascii_whitespace()
            .take(MAX_STEPS + 1)
            .map(|word| Step::from_text(word).ok_or_else(|| unknown(word)))
            .collect::<Result<_, _>>()?;
        Self::new(steps)
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The function's value at `x`.
    pub fn apply(&self, x: f64) -> f64 {
        let mut stack = Vec::with_capacity(8);
        self.apply_with(x, &mut stack)
    }

    fn apply_with(&self, x: f64, stack: &mut Vec<f64>) -> f64 {
        stack.clear();
        for step in &*self.steps {
            // `new` has checked that the operands are there.
            let mut pop = || stack.pop().unwrap_or(f64::NAN);
            let value = match step {
                Step::Argument => x,
                Step::Constant(value) => *value,
                Step::Unary(unary) => unary.apply(pop()),
                Step::Binary(binary) => {
                    let (b, a) = (pop(), pop());
                    binary.apply(Element::F64, a, b)
                }
                Step::Select => {
                    let (no, yes, condition) = (pop(), pop(), pop());
                    if condition == 0.0 { no } else { yes }
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or(f64::NAN)
    }

    /// Whether it compares numbers: it has a kink or a jump.
    pub fn compares(&self) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Unary(unary) => unary.compares(),
            Step::Binary(binary) => binary.compares(),
            Step::Select => true,
            Step::Argument | Step::Constant(_) => false,
        })
    }
}

impl Operation for Composite {
    fn name(&self) -> &'static str {
        "function"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if !x.element.is_float() {
            return Err(TypeError::new(format!("expected floating-point elements, found {x}")));
        }
        Ok(x.clone())
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let mut stack = Vec::with_capacity(8);
        Ok(Tensor::new(x.element(), x.array().mapv(|v| self.apply_with(v, &mut stack))))
    }

    fn effort(&self) -> Effort {
        Effort::More
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_text("of", self.to_string())
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            let parsed = Self::parse(&attributes.text("of")?);
            parsed.map_err(|e| AttributeError::Value { name: "of", reason: e.0 })
        };
        (name == "function").then(&mut read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value() {
        for (text, at_two) in [
            ("x x sigmoid mul", 2.0 / (1.0 + (-2.0_f64).exp())),
            ("x 3 add clip(0,6) x mul 6 div", 10.0 / 6.0),
            ("x 0 greater x -0.5 x mul select", 2.0),
            ("x clip(-inf,1.25)", 1.25),
        ] {
            let function = Composite::parse(text).unwrap();
            assert_eq!(function.to_string(), text);
            assert!((function.apply(2.0) - at_two).abs() < 1e-15, "{text}");
        }
        assert_eq!(Composite::from(Unary::Relu).to_string(), "x relu");
        assert!(Composite::parse("x abs").unwrap().compares() && !Composite::parse("x exp").unwrap().compares());
    }

    #[test]
    fn what_is_no_function() {
        let refused = |text: &str| Composite::parse(text).unwrap_err().to_string();
        assert_eq!(refused("x sigmoid mul"), "step \"mul\" lacks operands");
        assert_eq!(refused("x x"), "expected one value at the end, found 2");
        assert_eq!(refused(""), "expected one value at the end, found 0");
        assert_eq!(refused("x nonsense"), "\"nonsense\" is no step of a function");
        assert_eq!(refused("x clip(1)"), "\"clip(1)\" is no step of a function");
        assert_eq!(refused("x relu(1)"), "\"relu(1)\" is no step of a function");
        assert_eq!(refused("NaN"), "a constant is NaN");
        assert_eq!(refused(&"x neg ".repeat(200)), "257 steps; at most 256 make a function");
        assert_eq!(refused("x leaky_relu(inf)"), "expected a finite alpha, found inf");
    }
}
