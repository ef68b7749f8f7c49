//! Sums, products and functions of numbers, and the normalisations that are written with them.

use super::attributes::{Operator, axis};
use super::channels::changed;
use super::constant::Constant;
use super::draft::{Operand, State, Weight};
use super::error::Outcome;
use super::fold;
use super::function::Step;
use super::reader::{Item, Reader, Scores};
use super::view::{Axis, View, is_beside, whole};
use crate::op::Op;

/// Known numbers beside a value of the network.
enum Beside {
    Number(f64),
    /// One for each channel.
    Channels(Weight),
    /// One for each channel of each pixel, `[pixels, channels]`.
    Pixels(Weight),
}

impl Reader<'_> {
    /// Reads a function of each number.
    pub(super) fn unary(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let float = |name: &str, default: f64| operator.float(name).unwrap_or(default);
        let bound = |index: usize, name: &str, default: f64| match constants.get(index) {
            Some(Some(bound)) => bound.scalar().unwrap_or(default),
            _ => float(name, default),
        };
        let step = match kind {
            "Relu" => Step::Relu,
            "Sigmoid" => Step::Sigmoid,
            "Erf" => Step::Erf,
            "Tanh" => Step::Tanh,
            "Exp" => Step::Exp,
            "Sqrt" => Step::Sqrt,
            "Neg" => Step::Neg,
            "Abs" => Step::Abs,
            "Reciprocal" => Step::Reciprocal,
            "Softplus" => Step::Softplus,
            "HardSwish" => Step::HardSwish,
            "HardSigmoid" => Step::HardSigmoid(float("alpha", 0.2), float("beta", 0.5)),
            "LeakyRelu" => Step::LeakyRelu(float("alpha", 0.01)),
            "Elu" => Step::Elu(float("alpha", 1.0)),
            "Clip" => Step::Clip(
                bound(1, "min", f64::NEG_INFINITY),
                bound(2, "max", f64::INFINITY),
            ),
            "Gelu" => match operator.text("approximate").as_deref() {
                Some("tanh") => Step::GeluTanh,
                _ => Step::Gelu,
            },
            // x * sigmoid(alpha * x), and x * tanh(softplus(x)).
            "Swish" => {
                let alpha = float("alpha", 1.0);
                let scaled = self.function(view, Step::Mul, Operand::Number(alpha))?;
                let gate = self.function(&scaled, Step::Sigmoid, Operand::Number(0.0))?;
                return self.function(view, Step::Mul, Operand::Base(gate.base));
            }
            "Mish" => {
                let soft = self.function(view, Step::Softplus, Operand::Number(0.0))?;
                let gate = self.function(&soft, Step::Tanh, Operand::Number(0.0))?;
                return self.function(view, Step::Mul, Operand::Base(gate.base));
            }
            _ => return Err("it is not known on values of the network".into()),
        };
        let base = view.base;
        let next = match (step, self.draft.state(base)) {
            (Step::Sqrt, State::Above { of, epsilon }) => Some(State::Deviation {
                of: *of,
                epsilon: *epsilon,
            }),
            (Step::Reciprocal, State::Deviation { of, epsilon }) => Some(State::InverseDeviation {
                of: *of,
                epsilon: *epsilon,
            }),
            _ => None,
        };
        match next {
            Some(state) => Ok(view.on(self.draft.like(base, state))),
            None => self.function(view, step, Operand::Number(0.0)),
        }
    }

    /// Adds a step to a function of each number.
    fn function(&mut self, view: &View, step: Step, other: Operand) -> Outcome<View> {
        self.step(view, step, [Operand::Base(view.base), other])
    }

    fn step(&mut self, view: &View, step: Step, operands: [Operand; 2]) -> Outcome<View> {
        let root = self.root(view.base);
        let state = State::Function {
            root,
            step,
            operands,
        };
        let base = self.draft.like(view.base, state);
        Ok(view.on(base))
    }

    fn root(&self, base: usize) -> usize {
        match self.draft.state(base) {
            State::Function { root, .. } => *root,
            _ => base,
        }
    }

    pub(super) fn arithmetic(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Item> {
        let kind = operator.kind();
        let step = match kind.as_str() {
            "Add" => Step::Add,
            "Sub" => Step::Sub,
            "Mul" => Step::Mul,
            "Div" => Step::Div,
            "Max" => Step::Max,
            "Min" => Step::Min,
            _ => Step::Pow,
        };
        let [Some(a), Some(b)] = inputs else {
            return Err("it does not take two values".into());
        };
        if operator.opset < 7
            && let (Item::View(a), Item::Constant(b), Some(at)) = (a, b, operator.int("axis"))
        {
            let b = aligned(b, axis(at, a.dims.len())?, a.dims.len())?;
            return self.with(step, a, &b).map(Item::View);
        }
        match (a, b) {
            (Item::View(a), Item::View(b)) => self.both(step, a, b).map(Item::View),
            (Item::View(a), Item::Constant(b)) => self.with(step, a, b).map(Item::View),
            (Item::Constant(a), Item::View(b)) => match step {
                Step::Add | Step::Mul | Step::Max | Step::Min => {
                    self.with(step, b, a).map(Item::View)
                }
                _ => self.before(step, a, b).map(Item::View),
            },
            (Item::Scores(scores), Item::Constant(number))
            | (Item::Constant(number), Item::Scores(scores)) => {
                let is_first = matches!(a, Item::Scores(_));
                scaled(step, scores, number, is_first).map(Item::Scores)
            }
            _ => Err("it takes zeros around maps, or scores of attention".into()),
        }
    }

    /// Reads a known number in front of a value: `1 / x`.
    fn before(&mut self, step: Step, a: &Constant, b: &View) -> Outcome<View> {
        let number = a
            .scalar()
            .ok_or("it takes known numbers from values of the network")?;
        let number = self.draft.precision.meant(number);
        if let (Step::Div, 1.0, State::Deviation { of, epsilon }) =
            (step, number, self.draft.state(b.base).clone())
        {
            let state = State::InverseDeviation { of, epsilon };
            return Ok(b.on(self.draft.like(b.base, state)));
        }
        self.step(b, step, [Operand::Number(number), Operand::Base(b.base)])
    }

    /// Reads what known numbers beside a value mean.
    fn beside(&self, view: &View, constant: &Constant) -> Outcome<Beside> {
        let shape = view.shape();
        if constant.elements() == 1
            && let Some(number) = constant.scalar()
        {
            return Ok(Beside::Number(number));
        }
        if fold::broadcast(&shape, &constant.shape).as_ref() != Some(&shape) {
            return Err(format!("{shape:?} and {:?} don't fit together", constant.shape).into());
        }
        let extents = self.draft.extents(view.base);
        let channels = whole(Axis::Channel, extents[1]);
        let mut own = vec![1; shape.len() - constant.shape.len()];
        own.extend(&constant.shape);
        let wide: Vec<usize> = (0..own.len()).filter(|at| own[*at] > 1).collect();
        if let &[at] = wide.as_slice()
            && view.dims[at] == channels
        {
            let weight = Weight::of(constant).ok_or("they are whole numbers")?;
            return Ok(Beside::Channels(weight));
        }
        if let Some(number) = constant.scalar() {
            return Ok(Beside::Number(number));
        }
        // Pixels in their order, channels last.
        let at = view.dims.iter().position(|dim| *dim == channels);
        let at = at.ok_or("known numbers lie across the channels")?;
        let mut order: Vec<usize> = (0..own.len()).filter(|index| *index != at).collect();
        order.push(at);
        let pixels: Vec<_> = order.iter().flat_map(|index| &view.dims[*index]).collect();
        let is_in_order = pixels
            .windows(2)
            .all(|pair| pair[0].axis <= pair[1].axis || pair[1].axis == Axis::Channel);
        let is_all = own
            .iter()
            .zip(&shape)
            .zip(&view.dims)
            .all(|((own, all), dim)| own == all || dim.iter().all(|atom| atom.axis == Axis::Batch));
        if !is_in_order || !is_all || !view.is_whole(extents) {
            return Err(
                "known numbers are neither one per channel nor one per channel and pixel".into(),
            );
        }
        let lifted = Constant {
            shape: own,
            ..constant.clone()
        };
        let table = fold::transposed(&lifted, &order)?;
        let weight = Weight::of(&table).ok_or("they are whole numbers")?;
        Ok(Beside::Pixels(weight))
    }

    fn with(&mut self, step: Step, view: &View, constant: &Constant) -> Outcome<View> {
        match (step, self.beside(view, constant)?) {
            (_, Beside::Number(number)) => self.with_number(step, view, number),
            (Step::Add, Beside::Channels(weight)) => self.add_channels(view, weight),
            (Step::Sub, Beside::Channels(weight)) => {
                self.add_channels(view, changed(weight, |v| -v))
            }
            (Step::Mul, Beside::Channels(weight)) => self.scale_channels(view, weight),
            (Step::Div, Beside::Channels(weight)) => {
                self.scale_channels(view, changed(weight, |v| 1.0 / v))
            }
            (Step::Add, Beside::Pixels(weight)) => self.place(view, weight),
            _ => Err("known numbers are neither added nor multiplied".into()),
        }
    }

    fn with_number(&mut self, step: Step, view: &View, number: f64) -> Outcome<View> {
        let number = self.draft.precision.meant(number);
        let changes_nothing = match step {
            Step::Add | Step::Sub => number == 0.0,
            Step::Mul | Step::Div | Step::Pow => number == 1.0,
            _ => false,
        };
        if changes_nothing {
            return Ok(view.clone());
        }
        let next = match (step, self.draft.state(view.base)) {
            (Step::Pow, State::Centered { of }) if number == 2.0 => {
                Some(State::Squared { of: *of })
            }
            (Step::Add, State::Variance { of }) => Some(State::Above {
                of: *of,
                epsilon: number,
            }),
            (Step::Pow, State::Above { of, epsilon }) if number == 0.5 => Some(State::Deviation {
                of: *of,
                epsilon: *epsilon,
            }),
            (Step::Pow, State::Above { of, epsilon }) if number == -0.5 => {
                Some(State::InverseDeviation {
                    of: *of,
                    epsilon: *epsilon,
                })
            }
            (Step::Add, State::MeanOfNorms { of }) => Some(State::AboveNorms {
                of: *of,
                epsilon: number,
            }),
            _ => None,
        };
        match next {
            Some(state) => Ok(view.on(self.draft.like(view.base, state))),
            None => self.function(view, step, Operand::Number(number)),
        }
    }

    /// Reads an operator on two values of the network.
    fn both(&mut self, step: Step, a: &View, b: &View) -> Outcome<View> {
        if let Some(view) = self.normalised(step, a, b)? {
            return Ok(view);
        }
        let is_one_place = a.dims == b.dims && a.start == b.start;
        if is_one_place && self.root(a.base) == self.root(b.base) {
            return self.step(a, step, [Operand::Base(a.base), Operand::Base(b.base)]);
        }
        let (a, b) = (self.draft.settle(a)?, self.draft.settle(b)?);
        let op = match step {
            Step::Add => Op::Add,
            Step::Sub => Op::Sub,
            Step::Mul => Op::Mul,
            _ => return Err("it is no sum, difference or product of two computed values".into()),
        };
        let (a, b) = match (step, self.draft.extents(a.base), self.draft.extents(b.base)) {
            // Factors come second.
            (Step::Mul, [_, _, 1, 1], [_, _, h, w]) if h * w > 1 => (b, a),
            _ => (a, b),
        };
        let fits = match step {
            Step::Mul => a.dims == b.dims || is_beside(&a, &b, &[Axis::Row, Axis::Column]),
            _ => a.dims == b.dims,
        };
        if !fits {
            let (a, b) = (a.shape(), b.shape());
            return Err(format!("dimensions of {a:?} and {b:?} mean different things").into());
        }
        let (x, y) = (self.draft.value(a.base)?, self.draft.value(b.base)?);
        let kind = match step {
            Step::Add => "add",
            Step::Sub => "sub",
            _ => "mul",
        };
        let value = self.draft.apply(kind, op, vec![x, y])?;
        let base = self.draft.like(a.base, State::Ready(value));
        Ok(a.on(base))
    }
}

/// Puts a tensor's first dimension at an axis, as operator sets before 7 say it.
fn aligned(constant: &Constant, at: usize, rank: usize) -> Outcome<Constant> {
    let missing = rank.checked_sub(at + constant.shape.len());
    let missing = missing.ok_or("known numbers have more dimensions than what is computed")?;
    let mut shape = constant.shape.clone();
    shape.extend(vec![1; missing]);
    Ok(Constant {
        shape,
        ..constant.clone()
    })
}

/// Scales the scores of attention.
fn scaled(step: Step, scores: &Scores, number: &Constant, is_first: bool) -> Outcome<Scores> {
    let number = number.scalar().ok_or("scores of attention are masked")?;
    let factor = match step {
        Step::Mul => scores.factor * number,
        Step::Div if is_first => scores.factor / number,
        Step::Add if number == 0.0 => scores.factor,
        _ => return Err("scores of attention are not only scaled".into()),
    };
    if scores.is_softmax {
        return Err("shares of attention are changed".into());
    }
    Ok(Scores {
        factor,
        ..scores.clone()
    })
}
