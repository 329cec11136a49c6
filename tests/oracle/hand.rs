//! Small programs whose values are worked out by hand.

use std::collections::BTreeMap;

use rnnc::base::Span;
use rnnc::eval::{Elements, EvalError, Feeds, InputData, Value, Values, evaluate};
use rnnc::ir::{
    Access, Along, AxisId, AxisKind, AxisSet, Binary, Contract, Element, Graph, InputSpec, Node, NodeId, Op,
    Operand, Origin, Output, OutputKind, ParamSpec, Reduction, Unary, ValueType,
};

const ORIGIN: Origin = Origin { span: Span::NONE, kind: rnnc::ir::OriginKind::Forward, through: None };

/// A program over one axis `t`, with the few helpers that the tests below need.
struct Hand {
    graph: Graph,
    feeds: Feeds,
    t: AxisId,
    steps: AxisSet,
}

impl Hand {
    fn new(lengths: &[usize]) -> Hand {
        let mut graph = Graph::new("Hand");
        let t = graph.axis("t", AxisKind::Time).unwrap();
        let feeds = Feeds {
            examples: lengths.len(),
            lengths: BTreeMap::from([("t".to_string(), lengths.to_vec())]),
            ..Feeds::default()
        };
        Hand { graph, feeds, t, steps: AxisSet::BATCH.with(t) }
    }

    fn input(&mut self, name: &str, shape: &[usize], axes: AxisSet, data: &[&[f64]]) -> NodeId {
        let ty = ValueType::real(shape.to_vec(), axes);
        self.graph.inputs.push(InputSpec { name: name.into(), ty: ty.clone(), observed: false });
        let data = data.iter().map(|example| example.to_vec()).collect();
        self.feeds.inputs.insert(name.into(), InputData::Real(data));
        self.graph.leaf(Op::Input(name.into()), ty, ORIGIN, None)
    }

    fn ids(&mut self, name: &str, range: usize, data: &[&[Option<u32>]]) -> NodeId {
        let ty = ValueType { shape: Vec::new(), element: Element::Id(range), axes: self.steps };
        self.graph.inputs.push(InputSpec { name: name.into(), ty: ty.clone(), observed: false });
        let data = data.iter().map(|example| example.to_vec()).collect();
        self.feeds.inputs.insert(name.into(), InputData::Ids(data));
        self.graph.leaf(Op::Input(name.into()), ty, ORIGIN, None)
    }

    fn param(&mut self, name: &str, shape: &[usize], data: &[f64]) -> NodeId {
        let init = ("glorot".to_string(), None);
        self.graph.params.push(ParamSpec { name: name.into(), shape: shape.to_vec(), init, trainable: true });
        self.feeds.params.insert(name.into(), data.to_vec());
        self.graph.leaf(Op::Param(name.into()), ValueType::real(shape.to_vec(), AxisSet::NONE), ORIGIN, None)
    }

    fn apply<const N: usize>(&mut self, op: Op, operands: [impl Into<Operand>; N]) -> NodeId {
        self.graph.apply(op, &operands.map(Into::into), ORIGIN).unwrap()
    }

    fn binary(&mut self, op: Binary, a: impl Into<Operand>, b: impl Into<Operand>) -> NodeId {
        let operands: [Operand; 2] = [a.into(), b.into()];
        self.apply(Op::Binary(op), operands)
    }

    fn product(&mut self, weight: NodeId, x: impl Into<Operand>) -> NodeId {
        let operands: [Operand; 2] = [weight.into(), x.into()];
        self.apply(Op::Contract(Contract::parse("ij,j->i").unwrap()), operands)
    }

    fn reduce(&mut self, way: Reduction, axes: AxisSet, x: NodeId) -> NodeId {
        self.apply(Op::Reduce(way, Along::Axes(axes)), [x])
    }

    /// A state, to be closed by `close`.
    fn state(&mut self, shape: &[usize]) -> NodeId {
        let ty = ValueType::real(shape.to_vec(), self.steps);
        self.graph.insert(Node { op: Op::Copy, ty, origin: ORIGIN, name: Some("h".into()) }, &[])
    }

    fn close(&mut self, state: NodeId, op: Op, value: NodeId) {
        self.graph.node_mut(state).op = op;
        self.graph.set_operands(state, &[value.into()]);
    }

    fn at(&self, node: NodeId, access: Access) -> Operand {
        Operand { node, access }
    }

    fn run(&self) -> Values {
        evaluate(&self.graph, &self.feeds).unwrap()
    }
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{found:?} is not {expected:?}");
    }
}

fn numbers(values: &Values, value: impl Into<Operand>) -> Vec<f64> {
    values.padded(value.into()).unwrap().numbers()
}

#[test]
fn elman_steps_over_ragged_sequences() {
    let mut hand = Hand::new(&[2, 0, 1]);
    let x = hand.input("x", &[1], hand.steps, &[&[1.0, -1.0], &[], &[2.0]]);
    let inner = hand.param("W_x", &[2, 1], &[0.5, -0.25]);
    let outer = hand.param("W_h", &[2, 2], &[0.1, 0.2, 0.3, 0.4]);
    let h = hand.state(&[2]);
    let before = hand.at(h, Access::Delay { axis: hand.t, by: 1 });
    let from_x = hand.product(inner, x);
    let from_h = hand.product(outer, before);
    let sum = hand.binary(Binary::Add, from_x, from_h);
    hand.close(h, Op::Unary(Unary::Tanh), sum);
    let values = hand.run();
    let first = [0.5f64.tanh(), (-0.25f64).tanh()];
    let second =
        [(-0.5 + 0.1 * first[0] + 0.2 * first[1]).tanh(), (0.25 + 0.3 * first[0] + 0.4 * first[1]).tanh()];
    let third = [1.0f64.tanh(), (-0.5f64).tanh()];
    let padded = values.padded(h.into()).unwrap();
    assert_eq!(padded.shape, [3, 2, 2]);
    let expected = [&first[..], &second, &[0.0; 4], &third, &[0.0; 2]].concat();
    close(&padded.numbers(), &expected);
    // h[last], with nothing at the end of the empty sequence.
    let last = hand.at(h, Access::Last(hand.t));
    close(&numbers(&values, last), &[&second[..], &[0.0; 2], &third].concat());
    assert_eq!(values.at(h, 0, &[1]), Some(Value::Real(second.to_vec().into())));
    assert_eq!(values.at(h, 2, &[1]), None);
}

#[test]
fn a_long_short_term_memory_by_hand() {
    // One unit: f = sigmoid(x + h'), g = tanh(2 x), c = f c' + (1 - f) g, h = c tanh(c) from c0 = 0.5.
    let mut hand = Hand::new(&[2]);
    let x = hand.input("x", &[], hand.steps, &[&[0.3, -0.6]]);
    let (h, c) = (hand.state(&[]), hand.state(&[]));
    let delay = Access::Delay { axis: hand.t, by: 1 };
    let sum = {
        let before = hand.at(h, delay);
        hand.binary(Binary::Add, x, before)
    };
    let forget = hand.apply(Op::Unary(Unary::Sigmoid), [sum]);
    let [start, one, two] = [0.5, 1.0, 2.0].map(|value| hand.graph.constant(value, &[], ORIGIN));
    let double = hand.binary(Binary::Multiply, x, two);
    let candidate = hand.apply(Op::Unary(Unary::Tanh), [double]);
    let before: [Operand; 2] = [hand.at(c, delay), start.into()];
    let before = hand.apply(Op::Initially, before);
    let kept = hand.binary(Binary::Multiply, forget, before);
    let input = hand.binary(Binary::Subtract, one, forget);
    let new = hand.binary(Binary::Multiply, input, candidate);
    let cell = hand.binary(Binary::Add, kept, new);
    hand.close(c, Op::Copy, cell);
    let squashed = hand.apply(Op::Unary(Unary::Tanh), [c]);
    let hidden = hand.binary(Binary::Multiply, squashed, c);
    hand.close(h, Op::Copy, hidden);
    let values = hand.run();
    let (mut last_h, mut last_c, mut expected) = (0.0f64, 0.5f64, Vec::new());
    for x in [0.3f64, -0.6] {
        let f = 1.0 / (1.0 + (-(x + last_h)).exp());
        last_c = f * last_c + (1.0 - f) * (2.0 * x).tanh();
        last_h = last_c * last_c.tanh();
        expected.push(last_h);
    }
    close(&numbers(&values, h), &expected);
}

#[test]
fn a_backward_run_starts_at_the_end_of_each_sequence() {
    // h[t] = x[t] + 2 h[t+1]
    let mut hand = Hand::new(&[3, 1]);
    let x = hand.input("x", &[], hand.steps, &[&[1.0, 2.0, 3.0], &[5.0]]);
    let h = hand.state(&[]);
    let two = hand.graph.constant(2.0, &[], ORIGIN);
    let after = hand.at(h, Access::Advance { axis: hand.t, by: 1 });
    let double = hand.binary(Binary::Multiply, two, after);
    let sum = hand.binary(Binary::Add, x, double);
    hand.close(h, Op::Copy, sum);
    close(&numbers(&hand.run(), h), &[17.0, 8.0, 3.0, 5.0, 0.0, 0.0]);
}

#[test]
fn reductions_and_softmax_along_an_axis() {
    let mut hand = Hand::new(&[3, 0, 1]);
    let x = hand.input("x", &[], hand.steps, &[&[-1.0, -2.0, -3.0], &[], &[4.0]]);
    let t = AxisSet::one(hand.t);
    let [sum, mean, max] = [Reduction::Sum, Reduction::Mean, Reduction::Max].map(|r| hand.reduce(r, t, x));
    // The mean over everything is not a mean of means.
    let whole = hand.reduce(Reduction::Mean, hand.steps, x);
    let softmax = hand.apply(Op::Softmax(Along::Axes(t)), [x]);
    let product = Contract { over: hand.steps, mean: true, ..Contract::parse(",->").unwrap() };
    let square = hand.apply(Op::Contract(product), [x, x]);
    let single = ValueType::real(Vec::new(), AxisSet::NONE);
    let count = hand.graph.leaf(Op::Count(hand.steps), single, ORIGIN, None);
    let values = hand.run();
    close(&numbers(&values, sum), &[-6.0, 0.0, 4.0]);
    close(&numbers(&values, mean), &[-2.0, 0.0, 4.0]);
    close(&numbers(&values, max), &[-1.0, 0.0, 4.0]);
    close(&numbers(&values, whole), &[-0.5]);
    close(&numbers(&values, square), &[30.0 / 4.0]);
    close(&numbers(&values, count), &[4.0]);
    let total = 1.0 + (-1.0f64).exp() + (-2.0f64).exp();
    let first = [1.0 / total, (-1.0f64).exp() / total, (-2.0f64).exp() / total];
    close(&numbers(&values, softmax), &[&first[..], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]].concat());
}

#[test]
fn embeddings_of_delayed_words() {
    let mut hand = Hand::new(&[3, 2]);
    let words = hand.ids("words", 3, &[&[Some(2), Some(0), Some(1)], &[None, Some(1)]]);
    let table = hand.param("embed", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let before: [Operand; 2] = [table.into(), hand.at(words, Access::Delay { axis: hand.t, by: 1 })];
    let rows = hand.apply(Op::Gather, before);
    let hot = hand.apply(Op::OneHot(3), [words]);
    let delayed = hand.at(words, Access::Delay { axis: hand.t, by: 2 });
    let same = hand.binary(Binary::Equal, words, delayed);
    hand.graph.outputs.push(Output { kind: OutputKind::Value, name: "before".into(), value: delayed });
    let values = hand.run();
    close(&numbers(&values, rows), &[0.0, 0.0, 5.0, 6.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let expected =
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0; 3], [0.0, 1.0, 0.0], [0.0; 3]].concat();
    close(&numbers(&values, hot), &expected);
    // No id is the same as no id.
    close(&numbers(&values, same), &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    let output = values.output(OutputKind::Value, "before").unwrap();
    assert_eq!(output.elements, Elements::Ids(vec![None, None, Some(2), None, None, None]));
}

#[test]
fn positions_lengths_and_starts() {
    // initially(t[t-2], length): the length of the example stands before its third step.
    let mut hand = Hand::new(&[3, 1]);
    let ty = ValueType::real(Vec::new(), hand.steps);
    let position = hand.graph.leaf(Op::Position(hand.t), ty, ORIGIN, None);
    let ty = ValueType::real(Vec::new(), AxisSet::BATCH);
    let length = hand.graph.leaf(Op::Length(hand.t), ty, ORIGIN, None);
    let operands: [Operand; 2] = [hand.at(position, Access::Delay { axis: hand.t, by: 2 }), length.into()];
    let value = hand.apply(Op::Initially, operands);
    close(&numbers(&hand.run(), value), &[3.0, 3.0, 0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let mut hand = Hand::new(&[1]);
    let words = hand.ids("words", 3, &[&[Some(2)]]);
    let table = hand.param("embed", &[3], &[1.0, 2.0, 3.0]);
    hand.apply(Op::Gather, [table, words]);
    let error = |change: &dyn Fn(&mut Feeds)| {
        let mut feeds = hand.feeds.clone();
        change(&mut feeds);
        evaluate(&hand.graph, &feeds).unwrap_err()
    };
    let missing = |kind, name: &str| EvalError::Missing { kind, name: name.into() };
    assert_eq!(error(&|feeds| feeds.params.clear()), missing("parameter", "embed"));
    assert_eq!(error(&|feeds| feeds.inputs.clear()), missing("input", "words"));
    assert_eq!(error(&|feeds| feeds.lengths.clear()), missing("lengths of axis", "t"));
    let long = error(&|feeds| {
        feeds.params.insert("embed".into(), vec![0.0; 4]);
    });
    assert_eq!(long.to_string(), "parameter `embed` has 4 entries, expected 3");
    let large = error(&|feeds| {
        feeds.inputs.insert("words".into(), InputData::Ids(vec![vec![Some(3)]]));
    });
    assert_eq!(large.to_string(), "id 3 of input `words` at position 0 of example 0 is not below 3");
    let real = error(&|feeds| {
        feeds.inputs.insert("words".into(), InputData::Real(vec![vec![3.0]]));
    });
    assert_eq!(real.to_string(), "input `words` takes ids");
}
