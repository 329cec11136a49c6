//! Instructions of the kernel language as C expressions, and its functions as C functions.
//!
//! `v3 = tanh v2` is a call of `rnn_tanh`, whose body is the expansion that every backend has from
//! [`crate::plan::math`].

use super::address::number_text;
use super::text::Text;
use crate::plan::{BinaryInst, Inst, Phase, Precision, UnaryInst, Val, math};

/// The functions that are written out before they are used, and their names.
const FUNCTIONS: &[(UnaryInst, &str)] = &[
    (UnaryInst::Exp, "rnn_exp"),
    (UnaryInst::Log, "rnn_log"),
    (UnaryInst::Tanh, "rnn_tanh"),
    (UnaryInst::Sigmoid, "rnn_sigmoid"),
    (UnaryInst::Softplus, "rnn_softplus"),
    (UnaryInst::Sin, "rnn_sin"),
    (UnaryInst::Cos, "rnn_cos"),
];

/// The value `a op b`.
pub(super) fn binary(op: BinaryInst, a: &str, b: &str) -> String {
    let compare = |how: &str| format!("(real)({a} {how} {b})");
    match op {
        BinaryInst::Add => format!("{a} + {b}"),
        BinaryInst::Subtract => format!("{a} - {b}"),
        BinaryInst::Multiply => format!("{a} * {b}"),
        BinaryInst::Divide | BinaryInst::DivideByModerate => format!("{a} / {b}"),
        BinaryInst::Min => format!("least({a}, {b})"),
        BinaryInst::Max => format!("most({a}, {b})"),
        BinaryInst::Equal => compare("=="),
        BinaryInst::NotEqual => compare("!="),
        BinaryInst::Less => compare("<"),
        BinaryInst::LessEqual => compare("<="),
        BinaryInst::Greater => compare(">"),
        BinaryInst::GreaterEqual => compare(">="),
    }
}

/// The value `op a`.
pub(super) fn unary(op: UnaryInst, a: &str) -> String {
    let plain = |name: &str| format!("{name}({a})");
    match op {
        UnaryInst::Negate => format!("-{a}"),
        UnaryInst::Abs => plain("fabs"),
        UnaryInst::Sqrt => plain("sqrt"),
        UnaryInst::Floor => plain("floor"),
        UnaryInst::Round => plain("rint"),
        UnaryInst::Sign => plain("sign_of"),
        UnaryInst::Exponent => plain("exponent_of"),
        UnaryInst::Mantissa => plain("mantissa_of"),
        UnaryInst::Exp
        | UnaryInst::Log
        | UnaryInst::Tanh
        | UnaryInst::Sigmoid
        | UnaryInst::Softplus
        | UnaryInst::Sin
        | UnaryInst::Cos => {
            let name = FUNCTIONS.iter().find(|(own, _)| *own == op).map_or("", |(_, name)| name);
            plain(name)
        }
    }
}

/// An instruction that only calculates, in a body that it is part of; `value` names a value. Instructions
/// that touch memory are the caller's.
pub(super) fn pure(
    precision: Precision,
    body: &[Inst],
    inst: &Inst,
    value: impl Fn(Val) -> String,
) -> Option<String> {
    Some(match inst {
        Inst::Const(number) => number_text(precision, *number),
        Inst::Unary(op, a) => unary(*op, &value(*a)),
        Inst::Binary(op, a, b) => binary(*op, &value(*a), &value(*b)),
        Inst::Fma(a, b, c) => format!("fma({}, {}, {})", value(*a), value(*b), value(*c)),
        Inst::ScaleByPowerOfTwo(x, n) => {
            let (low, high) = math::range(body, *n);
            let most = match precision {
                Precision::F32 => 127.0,
                Precision::F64 => 1023.0,
            };
            let within = |factor: f64| low >= factor * (1.0 - most) && high <= factor * most;
            let steps = if within(1.0) { 1 } else { 2 + usize::from(!within(2.0)) };
            format!("scale_{steps}({}, {})", value(*x), value(*n))
        }
        // A comparison is a condition by itself.
        Inst::Select(c, yes, no) => {
            let condition = match &body[*c] {
                Inst::Binary(op, a, b) if is_comparison(*op) => {
                    binary(*op, &value(*a), &value(*b)).replacen("(real)", "", 1)
                }
                _ => format!("{} != 0", value(*c)),
            };
            format!("{condition} ? {} : {}", value(*yes), value(*no))
        }
        Inst::Index(_)
        | Inst::Load(_)
        | Inst::IdIs(..)
        | Inst::SameId(..)
        | Inst::IdValue(_)
        | Inst::Store(..)
        | Inst::CopyId(..)
        | Inst::SelectId(..)
        | Inst::Reduce(..)
        | Inst::ArgMax(..) => return None,
    })
}

/// Instructions that do something or whose value is named: a comparison that is only chosen by is written
/// where that is done.
pub(super) fn used(body: &[Inst]) -> Vec<bool> {
    let mut used: Vec<bool> = body.iter().map(|inst| !is_value(inst)).collect();
    if let Some(last) = used.last_mut() {
        *last = true;
    }
    for (number, inst) in body.iter().enumerate().rev().filter(|(_, inst)| !matches!(inst, Inst::Const(_))) {
        if !used[number] {
            continue;
        }
        let mut operands = inst.operands();
        if let Inst::Select(c, yes, no) = inst
            && let Inst::Binary(op, a, b) = &body[*c]
            && is_comparison(*op)
        {
            operands = vec![*a, *b, *yes, *no];
        }
        operands.into_iter().for_each(|operand| used[operand] = true);
    }
    used
}

fn is_value(inst: &Inst) -> bool {
    !matches!(
        inst,
        Inst::Store(..) | Inst::CopyId(..) | Inst::SelectId(..) | Inst::Reduce(..) | Inst::ArgMax(..)
    )
}

fn is_comparison(op: BinaryInst) -> bool {
    !matches!(
        op,
        BinaryInst::Add
            | BinaryInst::Subtract
            | BinaryInst::Multiply
            | BinaryInst::Divide
            | BinaryInst::DivideByModerate
            | BinaryInst::Min
            | BinaryInst::Max
    )
}

/// Writes the functions that the phases of a program call.
pub(super) fn functions<'p>(precision: Precision, text: &mut Text, phases: impl Iterator<Item = &'p Phase>) {
    let mut used: Vec<UnaryInst> = Vec::new();
    for inst in phases.flat_map(|phase| &phase.body) {
        if let Inst::Unary(op, _) = inst
            && !used.contains(op)
        {
            used.push(*op);
        }
    }
    for (op, name) in FUNCTIONS.iter().filter(|(op, _)| used.contains(op)) {
        // The index stands in for the argument: a number of which nothing is known.
        let body = math::expand_body(&[Inst::Index(0), Inst::Unary(*op, 0)], precision, true);
        let value = |value: Val| match &body[value] {
            Inst::Const(number) => number_text(precision, *number),
            _ => format!("v{value}"),
        };
        text.line("");
        text.block(format!("static inline real {name}(const real v0)"), |text| {
            let used = self::used(&body);
            for (number, inst) in body.iter().enumerate().skip(1).filter(|(number, _)| used[*number]) {
                if !matches!(inst, Inst::Const(_))
                    && let Some(value) = pure(precision, &body, inst, value)
                {
                    text.line(format!("const real v{number} = {value};"));
                }
            }
            text.line(format!("return v{};", body.len() - 1));
        });
    }
}
