//! Functions of one value: a subgraph that computes one, as `x * sigmoid(x)`, becomes one node. So a polynomial can stand in for
//! the whole.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::graph::{Builder, GraphError, Value};
use hec_ir::tensor::{Binary, Composite, MAX_STEPS, Op, Step, TensorGraph, TensorType, Tensors, Unary};

use super::polynomials::scalar;

/// A value as a function of another.
#[derive(Clone)]
struct Expression {
    /// The argument.
    of: Value,
    steps: Vec<Step>,
    /// Whether it is a polynomial: arithmetic can compute it, nothing has to stand in.
    polynomial: bool,
}

/// An operand of an operation.
enum Operand {
    Constant(f64),
    Expression(Expression),
}

/// Turns what is a function of one value, and no polynomial, into one [`Composite`] of it.
pub(super) fn recognise(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    let uses = graph.use_counts();
    let mut known: BTreeMap<Value, Expression> = BTreeMap::new();
    let mut composites: BTreeSet<Value> = BTreeSet::new();
    graph.translate((), |builder, _, node, operands| {
        let inputs: Vec<Operand> = operands.iter().map(|&value| operand(builder, &known, value)).collect();
        let whole = expression(node.op(), &inputs).filter(|e| has_type(builder, e.of, node.ty().known()));
        let once = |value: &Value| uses[value.index()] == 1;
        let replaced = whole.as_ref().filter(|e| !e.polynomial).and_then(|whole| match (node.op(), &inputs[..]) {
            (Op::Unary(Unary::Neg), _) => None,
            // By itself, a function stays what it is.
            (Op::Unary(_) | Op::Composite(_), inputs) => takes_function(inputs).then(|| whole.clone()),
            // What was true or false is a number now.
            (Op::Cast(_), _) if !is_real(builder.ty(operands[0]).known()) => Some(whole.clone()),
            (Op::Where(_), _) | (Op::Binary(_), [Operand::Expression(_), Operand::Expression(_)]) => {
                Some(whole.clone())
            }
            // What scales and shifts a composition that nobody else needs belongs to it.
            (Op::Binary(binary), inputs) if takes_function(inputs) => {
                let own = operands.iter().zip(node.operands()).any(|(new, old)| composites.contains(new) && once(old));
                (own || !is_affine(*binary, inputs)).then(|| whole.clone())
            }
            // A comparison with a constant, or a power, of a polynomial: the polynomial stays outside.
            (Op::Binary(_), _) => {
                let direct: Vec<Operand> = operands.iter().map(|&v| operand(builder, &BTreeMap::new(), v)).collect();
                expression(node.op(), &direct)
            }
            (_, _) => None,
        });
        let replaced = replaced.filter(|_| is_real(node.ty().known())).and_then(|e| Some((e.of, function(&e.steps)?)));
        let value = match replaced {
            Some((of, op)) => {
                let composite = matches!(op, Op::Composite(_));
                let value = builder.push(op, &[of])?;
                composite.then(|| composites.insert(value));
                value
            }
            None => builder.push(node.op().clone(), operands)?,
        };
        if let Some(whole) = whole {
            known.insert(value, whole);
        }
        Ok(value)
    })
}

fn operand(builder: &Builder<Tensors>, known: &BTreeMap<Value, Expression>, value: Value) -> Operand {
    if let Some(constant) = scalar(builder, value) {
        return Operand::Constant(constant);
    }
    let itself = || Expression { of: value, steps: vec![Step::Argument], polynomial: true };
    Operand::Expression(known.get(&value).cloned().unwrap_or_else(itself))
}

/// Whether the shape of a value is that of its argument, which is of floating-point numbers.
fn has_type(builder: &Builder<Tensors>, of: Value, ty: Option<&TensorType>) -> bool {
    let of = builder.ty(of).known().filter(|of| of.element.is_float());
    ty.zip(of).is_some_and(|(ty, of)| ty.shape == of.shape)
}

fn is_real(ty: Option<&TensorType>) -> bool {
    ty.is_some_and(|ty| ty.element.is_float())
}

/// Whether an operand is a function already.
fn takes_function(inputs: &[Operand]) -> bool {
    inputs.iter().any(|input| matches!(input, Operand::Expression(e) if !e.polynomial))
}

/// Whether the operation scales and shifts its only variable operand.
fn is_affine(binary: Binary, inputs: &[Operand]) -> bool {
    match binary {
        Binary::Add | Binary::Sub | Binary::Mul => true,
        Binary::Div => matches!(inputs, [_, Operand::Constant(_)]),
        Binary::Mod
        | Binary::Remainder
        | Binary::Pow
        | Binary::Max
        | Binary::Min
        | Binary::Equal
        | Binary::Greater
        | Binary::Less => false,
    }
}

/// The operation on expressions of one argument; `None` if they have several, if there is none, or if it becomes too long.
fn expression(op: &Op, inputs: &[Operand]) -> Option<Expression> {
    let mut arguments = inputs.iter().filter_map(|input| match input {
        Operand::Expression(e) => Some(e.of),
        Operand::Constant(_) => None,
    });
    let of = arguments.next()?;
    if arguments.any(|other| other != of) {
        return None;
    }
    let mut steps = Vec::new();
    for input in inputs {
        match input {
            Operand::Constant(value) => steps.push(Step::Constant(*value)),
            Operand::Expression(e) => steps.extend(&e.steps),
        }
    }
    let mut polynomial = !takes_function(inputs);
    match (op, inputs) {
        (Op::Unary(unary), _) => {
            steps.push(Step::Unary(*unary));
            polynomial &= *unary == Unary::Neg;
        }
        (Op::Composite(composite), _) => {
            steps = substituted(composite.steps(), &steps);
            polynomial = false;
        }
        // Horner's scheme.
        (Op::Polynomial(p), _) => {
            let (last, others) = p.coefficients.split_last()?;
            let mut horner = vec![Step::Constant(*last)];
            for &coefficient in others.iter().rev() {
                horner.extend([Step::Argument, Step::Binary(Binary::Mul)]);
                if coefficient != 0.0 {
                    horner.extend([Step::Constant(coefficient), Step::Binary(Binary::Add)]);
                }
            }
            steps = substituted(&horner, &steps);
        }
        (Op::Binary(binary), inputs) => {
            let power = |k: f64| (0.0..=32.0).contains(&k) && k.fract() == 0.0;
            polynomial &= match (binary, inputs) {
                (Binary::Pow, [_, Operand::Constant(k)]) => power(*k),
                (binary, inputs) => is_affine(*binary, inputs),
            };
            steps.push(Step::Binary(*binary));
        }
        // To floating-point numbers, it changes no value.
        (Op::Cast(cast), _) if cast.element.is_float() => {}
        (Op::Where(_), _) => {
            steps.push(Step::Select);
            polynomial = false;
        }
        (_, _) => return None,
    }
    (steps.len() <= MAX_STEPS).then_some(Expression { of, steps, polynomial })
}

/// `outer` of what `inner` computes.
fn substituted(outer: &[Step], inner: &[Step]) -> Vec<Step> {
    let of = |step: &Step| if *step == Step::Argument { inner.to_vec() } else { vec![*step] };
    // Nobody keeps more.
    outer.iter().flat_map(of).take(MAX_STEPS + 1).collect()
}

/// The operation that these steps are, a simple one if there is one.
fn function(steps: &[Step]) -> Option<Op> {
    let clip = |least: f64, most: f64| {
        let relu = (least, most) == (0.0, f64::INFINITY);
        Op::from(if relu { Unary::Relu } else { Unary::Clip { least, most } })
    };
    Some(match steps {
        [Step::Argument, Step::Unary(unary)] => (*unary).into(),
        [Step::Argument, Step::Constant(c), Step::Binary(Binary::Max)]
        | [Step::Constant(c), Step::Argument, Step::Binary(Binary::Max)] => clip(*c, f64::INFINITY),
        [Step::Argument, Step::Constant(c), Step::Binary(Binary::Min)]
        | [Step::Constant(c), Step::Argument, Step::Binary(Binary::Min)] => clip(f64::NEG_INFINITY, *c),
        _longer => Composite::new(steps).ok()?.into(),
    })
}
