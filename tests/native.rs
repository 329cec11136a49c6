//! Native code against a slow evaluator of the same plans: every instruction and every kind of kernel,
//! on ragged batches, for widths and row counts with and without rests.

#[path = "native/build.rs"]
mod build;
#[path = "native/exact.rs"]
mod exact;
#[path = "native/functions.rs"]
mod functions;
#[path = "native/kernels.rs"]
mod kernels;
#[path = "native/outer.rs"]
mod outer;
#[path = "native/packing.rs"]
mod packing;
#[path = "native/products.rs"]
mod products;
#[path = "native/recurrent.rs"]
mod recurrent;
#[path = "native/reference.rs"]
mod reference;
#[path = "native/scalar.rs"]
mod scalar;
#[path = "native/targets.rs"]
mod targets;
#[path = "native/unpacked.rs"]
mod unpacked;

use build::*;
use recurrent::{product, recurrent};
use rnnc::driver::planned;
use rnnc::ir::OutputKind;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::Real;
use rnnc::testing::{Options, sample};

const WIDTHS: [usize; 8] = [1, 2, 3, 5, 7, 8, 17, 33];

/// Every value a body makes, stored one after the other.
fn store_all(body: Vec<Inst>, plan: &mut Plan, space: SpaceId, width: usize) -> Vec<Inst> {
    let values: Vec<usize> = (0..body.len()).collect();
    let out = plan.output("out", space, width * values.len());
    let mut all = body;
    for value in values {
        all.push(Inst::Store(place(out, Row::Same, value * width, &[1]), value));
    }
    all
}

#[test]
fn every_elementwise_instruction() {
    for width in WIDTHS {
        let mut plan = empty_plan();
        let (a, b) = (plan.input("a", TIME, width), plan.input("b", TIME, width));
        let scalar = plan.input("scalar", TIME, 1);
        let (id, ids) = (plan.ids("id", TIME, 1), plan.ids("ids", TIME, width));
        let table = plan.parameter("table", (width + 1) * IDS as usize);
        let single = plan.parameter("single", width);
        let initial = plan.input("initial", BATCH, width);
        let back = plan.map(TIME, TIME, &[(1, Position::Back(1))]);
        let forward = plan.map(TIME, TIME, &[(1, Position::Forward(2))]);
        let example = plan.map(TIME, BATCH, &[]);
        let of_id = |row| Row::Id(Box::new(RowRef { buffer: id, row }));
        let mut body = vec![
            Inst::Load(place(a, Row::Same, 0, &[1])),
            Inst::Load(place(b, Row::Same, 0, &[1])),
            Inst::Load(place(scalar, Row::Same, 0, &[0])),
            Inst::Load(place(single, Row::Only, 0, &[1])),
            Inst::Load(place(a, Row::Map(back), 0, &[1])),
            Inst::Load(place(
                a,
                Row::MapOr(back, Box::new(RowRef { buffer: initial, row: Row::Map(example) })),
                0,
                &[1],
            )),
            Inst::Load(place(
                a,
                Row::MapOr(forward, Box::new(RowRef { buffer: single, row: Row::Only })),
                0,
                &[1],
            )),
            Inst::Load(pitched(place(table, of_id(Row::Same), 1, &[1]), width + 1)),
            Inst::Load(pitched(place(table, of_id(Row::Map(back)), 0, &[1]), width + 1)),
            Inst::Const(0.75),
            Inst::Index(0),
            Inst::IdIs(place(id, Row::Same, 0, &[0]), 0),
            Inst::IdIs(place(ids, Row::Map(back), 0, &[1]), 0),
            Inst::SameId(place(ids, Row::Same, 0, &[1]), place(id, Row::Same, 0, &[0])),
            Inst::IdValue(place(ids, Row::Same, 0, &[1])),
            Inst::Fma(0, 1, 2),
            Inst::Select(11, 0, 1),
        ];
        let positive = body.len();
        body.push(Inst::Unary(UnaryInst::Exp, 0));
        for op in [
            UnaryInst::Negate,
            UnaryInst::Abs,
            UnaryInst::Floor,
            UnaryInst::Round,
            UnaryInst::Sign,
            UnaryInst::Tanh,
            UnaryInst::Sigmoid,
            UnaryInst::Softplus,
            UnaryInst::Sin,
            UnaryInst::Cos,
        ] {
            body.push(Inst::Unary(op, 1));
        }
        for op in [UnaryInst::Sqrt, UnaryInst::Exponent, UnaryInst::Mantissa, UnaryInst::Log] {
            body.push(Inst::Unary(op, positive));
        }
        for op in [
            BinaryInst::Add,
            BinaryInst::Subtract,
            BinaryInst::Multiply,
            BinaryInst::Min,
            BinaryInst::Max,
            BinaryInst::Equal,
            BinaryInst::NotEqual,
            BinaryInst::Less,
            BinaryInst::LessEqual,
            BinaryInst::Greater,
            BinaryInst::GreaterEqual,
        ] {
            body.push(Inst::Binary(op, 0, 1));
            body.push(Inst::Binary(op, 14, 1));
        }
        body.push(Inst::Binary(BinaryInst::Divide, 0, positive));
        let whole = body.len();
        body.push(Inst::Unary(UnaryInst::Round, 1));
        body.push(Inst::ScaleByPowerOfTwo(0, whole));
        let body = store_all(body, &mut plan, TIME, width);
        plan.regions.push(Region::Flat(vec![rows(TIME, vec![phase(&[width], 0, body)])]));
        check_both(&plan, &ragged(7));
    }
}

#[test]
fn special_numbers_behave_like_scalar_code() {
    special_numbers::<f32>(|value| f64::from(value as f32));
    special_numbers::<f64>(|value| value);
}

/// The reference calculates in f64, so constants are rounded for it first.
fn special_numbers<R: Real>(rounded: impl Fn(f64) -> f64) {
    let specials = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-40, -1e-310, 1.0, f64::MAX];
    for width in [1, 4, 7] {
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, width);
        let mut all = Vec::new();
        for value in specials {
            let mut body = vec![Inst::Load(place(a, Row::Same, 0, &[1])), Inst::Const(rounded(value))];
            for op in [
                BinaryInst::Min,
                BinaryInst::Max,
                BinaryInst::Equal,
                BinaryInst::NotEqual,
                BinaryInst::Less,
                BinaryInst::Add,
            ] {
                body.push(Inst::Binary(op, 0, 1));
                body.push(Inst::Binary(op, 1, 0));
            }
            body.push(Inst::Unary(UnaryInst::Sign, 1));
            body.push(Inst::Unary(UnaryInst::Abs, 1));
            body.push(Inst::Unary(UnaryInst::Floor, 1));
            body.push(Inst::Select(1, 0, 1));
            let big = body.len();
            body.push(Inst::Const(-140.0));
            body.push(Inst::ScaleByPowerOfTwo(0, big));
            all.push(body);
        }
        let count: usize = all.iter().map(Vec::len).sum();
        let out = plan.output("out", BATCH, width * count);
        let mut stored = 0;
        let phases = all
            .into_iter()
            .map(|mut body| {
                for value in 0..body.len() {
                    body.push(Inst::Store(place(out, Row::Same, stored * width, &[1]), value));
                    stored += 1;
                }
                phase(&[width], 0, body)
            })
            .collect();
        plan.regions.push(Region::Flat(vec![rows(BATCH, phases)]));
        check::<R>(&plan, &ragged(3));
    }
}

#[test]
fn reductions_inside_a_row() {
    for width in WIDTHS {
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, 6 * width);
        let scratch = plan.temporary("scratch", BATCH, 1);
        plan.buffers[scratch].residency = Residency::Scratch;
        let id_scratch = plan.buffer("best", Element::Id, BATCH, 6, Role::Temporary);
        let sums = plan.output("sums", BATCH, 6);
        let largest = plan.output("largest", BATCH, 2);
        let total = plan.output("total", BATCH, 1);
        let softmax = plan.output("softmax", BATCH, width);
        let columns = plan.output("columns", BATCH, width);
        let best = plan.output_ids("best", BATCH, 6);
        let load = |strides: &[usize]| Inst::Load(place(a, Row::Same, 0, strides));
        let here = |buffer, strides: &[usize]| place(buffer, Row::Same, 0, strides);
        let phases = vec![
            phase(
                &[6, width],
                1,
                vec![load(&[width, 1]), Inst::Reduce(Combining::Sum, 0, here(sums, &[1, 0]))],
            ),
            phase(
                &[2, 3, width],
                2,
                vec![
                    load(&[3 * width, width, 1]),
                    Inst::Reduce(Combining::Max, 0, here(largest, &[1, 0, 0])),
                ],
            ),
            phase(
                &[6, width],
                2,
                vec![load(&[width, 1]), Inst::Reduce(Combining::Sum, 0, here(total, &[0, 0]))],
            ),
            phase(&[6, width], 1, vec![load(&[width, 1]), Inst::ArgMax(0, here(id_scratch, &[1, 0]))]),
            phase(&[6], 0, vec![Inst::CopyId(here(id_scratch, &[1]), here(best, &[1]))]),
            // Sums over the first dimension: the last one is not dense.
            phase(
                &[width, 6],
                1,
                vec![load(&[1, width]), Inst::Reduce(Combining::Sum, 0, here(columns, &[1, 0]))],
            ),
            phase(
                &[width],
                1,
                vec![
                    load(&[1]),
                    Inst::Unary(UnaryInst::Exp, 0),
                    Inst::Store(here(softmax, &[1]), 1),
                    Inst::Reduce(Combining::Sum, 1, here(scratch, &[0])),
                ],
            ),
            phase(
                &[width],
                0,
                vec![
                    Inst::Load(here(softmax, &[1])),
                    Inst::Load(here(scratch, &[0])),
                    Inst::Binary(BinaryInst::Divide, 0, 1),
                    Inst::Store(here(softmax, &[1]), 2),
                ],
            ),
        ];
        plan.regions.push(Region::Flat(vec![rows(BATCH, phases)]));
        check_both(&plan, &ragged(4));
    }
}

#[test]
fn products_of_any_size() {
    for examples in 0..=20 {
        let (k, n) = ([1, 2, 5, 8, 13][examples % 5], WIDTHS[examples % 8] + 16 * (examples % 4));
        for accumulate in [false, true] {
            let mut plan = empty_plan();
            let a = plan.input("a", BATCH, k + 3);
            let out = plan.output("out", BATCH, n + 2);
            let copy = rows(
                BATCH,
                vec![phase(&[n], 0, vec![Inst::Const(1.5), Inst::Store(place(out, Row::Same, 1, &[1]), 0)])],
            );
            let mut kernels = vec![copy];
            let (a, out) = (place(a, Row::Same, 3, &[]), place(out, Row::Same, 1, &[]));
            kernels.extend(product(&mut plan, GemmRows::Space(BATCH), a, k, n, out, accumulate));
            plan.regions.push(Region::Flat(kernels));
            check_both(&plan, &Lengths::uniform(examples, &[1, 1]));
        }
    }
    // More rows than the table of addresses holds.
    for (examples, n) in [(64, 70), (131, 33)] {
        let mut plan = empty_plan();
        let a = plan.input("a", BATCH, 9);
        let out = plan.output("out", BATCH, n);
        let (a, out) = (place(a, Row::Same, 0, &[]), place(out, Row::Same, 0, &[]));
        let kernels = product(&mut plan, GemmRows::Space(BATCH), a, 9, n, out, false);
        plan.regions.push(Region::Flat(kernels));
        check_both(&plan, &Lengths::uniform(examples, &[1, 1]));
    }
}

#[test]
fn products_of_mapped_and_static_rows() {
    for n in WIDTHS {
        let mut plan = empty_plan();
        let a = plan.input("a", TIME, 5);
        let id = plan.ids("id", TIME, 1);
        let table = plan.parameter("table", 7 * IDS as usize);
        let out = plan.output("out", TIME, n);
        let of_table = plan.output("of_table", TIME, n);
        let fixed = plan.output("fixed", ONE, 3 * (n + 1));
        let back = plan.map(TIME, TIME, &[(1, Position::Back(1))]);
        let here = |buffer| place(buffer, Row::Same, 0, &[]);
        let space = GemmRows::Space(TIME);
        let mut kernels = product(&mut plan, space, place(a, Row::Map(back), 0, &[]), 5, n, here(out), false);
        let row = pitched(place(table, Row::Id(Box::new(RowRef { buffer: id, row: Row::Same })), 2, &[]), 7);
        kernels.extend(product(&mut plan, space, row, 5, n, here(of_table), false));
        let row = pitched(place(table, Row::Only, 1, &[]), 7);
        let to = pitched(place(fixed, Row::Only, 1, &[]), n + 1);
        kernels.extend(product(&mut plan, GemmRows::Static(3), row, 6, n, to, false));
        plan.regions.push(Region::Flat(kernels));
        check_both(&plan, &ragged(9));
    }
}

#[test]
fn outer_products_summed_over_rows() {
    for (m, n, examples) in
        [(1, 1, 3), (4, 16, 5), (3, 17, 0), (7, 33, 40), (70, 5, 20), (130, 40, 60), (66, 16, 2)]
    {
        for accumulate in [false, true] {
            let mut plan = empty_plan();
            let (a, b) = (plan.input("a", TIME, m + 1), plan.input("b", TIME, n));
            let out = plan.output("out", ONE, m * (n + 2) + 3);
            let back = plan.map(TIME, TIME, &[(1, Position::Back(1))]);
            let whole = m * (n + 2) + 3;
            let start = vec![Inst::Const(0.5), Inst::Store(place(out, Row::Only, 0, &[1]), 0)];
            let outer = Outer {
                space: TIME,
                a: place(a, Row::Map(back), 1, &[]),
                m,
                b: place(b, Row::Same, 0, &[]),
                n,
                out: pitched(place(out, Row::Only, 3, &[]), n + 2),
                accumulate,
            };
            plan.regions.push(Region::Flat(vec![
                rows(ONE, vec![phase(&[whole], 0, start)]),
                kernel(Work::Outer(outer)),
            ]));
            check_both(&plan, &ragged(examples));
        }
    }
}

#[test]
fn sums_and_maxima_over_rows() {
    for width in [1, 3, 4, 9, 33, 70] {
        let mut plan = empty_plan();
        let a = plan.input("a", GRID, width);
        let kernels = [
            (TIME, Combining::Sum, 1),
            (BATCH, Combining::Max, 1),
            (ONE, Combining::Sum, 0),
            (ONE, Combining::Max, 1),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, (to, how, stride))| {
            let out = plan.output(&format!("out{number}"), to, width);
            let list = match number {
                2 => Some(plan.list(GRID, to)),
                3 => None,
                _ => Some(plan.list(GRID, to)),
            };
            kernel(Work::Combine(Combine {
                from: GRID,
                to,
                list,
                how,
                width,
                value: place(a, Row::Same, 0, &[stride]),
                out: place(out, Row::Same, 0, &[1]),
            }))
        })
        .collect();
        plan.regions.push(Region::Flat(kernels));
        check_both(&plan, &ragged(8));
        check_both(&plan, &ragged(1));
        check_both(&plan, &ragged(0));
    }
}

#[test]
fn rows_added_where_ids_point() {
    for (n, accumulate) in [(1, false), (4, true), (11, false), (33, true)] {
        let mut plan = empty_plan();
        let (id, value) = (plan.ids("id", TIME, 2), plan.input("value", TIME, n));
        let out = plan.output("out", ONE, IDS as usize * (n + 1));
        let scatter = Scatter {
            space: TIME,
            id: place(id, Row::Same, 1, &[]),
            value: place(value, Row::Same, 0, &[]),
            m: IDS as usize,
            n,
            out: pitched(place(out, Row::Only, 0, &[]), n + 1),
            accumulate,
        };
        let start = vec![Inst::Const(2.0), Inst::Store(place(out, Row::Only, 0, &[1]), 0)];
        plan.regions.push(Region::Flat(vec![
            rows(ONE, vec![phase(&[IDS as usize * (n + 1)], 0, start)]),
            kernel(Work::Scatter(scatter)),
        ]));
        check_both(&plan, &ragged(10));
        check_both(&plan, &ragged(0));
    }
}

#[test]
fn random_numbers_are_those_of_the_reference() {
    for width in [1, 4, 6, 11] {
        let mut plan = empty_plan();
        let seed = plan.buffer("random", Element::Id, ONE, 3, Role::Setting("random".into()));
        for (number, space) in [BATCH, TIME, GRID].into_iter().enumerate() {
            let key = plan.buffer("key", Element::Id, space, 2, Role::RowKey);
            let out = plan.output(&format!("out{number}"), space, width);
            plan.regions.push(Region::Flat(vec![kernel(Work::Random(Random {
                space,
                stream: 7,
                key: place(key, Row::Same, 0, &[]),
                seed: place(seed, Row::Only, 0, &[]),
                out: place(out, Row::Same, 0, &[]),
                width,
            }))]));
        }
        check_both(&plan, &ragged(6));
    }
}

#[test]
fn loops_forwards_and_backwards() {
    for width in [1, 5, 8, 17] {
        for examples in [0, 1, 2, 9] {
            check_both(&recurrent(width), &ragged(examples));
        }
    }
}

/// A zero row is still zero where another buffer has lain before.
#[test]
fn shared_places_have_their_own_zero_rows() {
    let mut plan = empty_plan();
    let x = plan.input("x", TIME, 6);
    let (a, b) = (plan.temporary("a", TIME, 6), plan.temporary("b", TIME, 4));
    plan.buffers[a].life = (0, 1);
    plan.buffers[b].life = (2, 3);
    let (first, second) = (plan.output("first", TIME, 6), plan.output("second", TIME, 4));
    let back = plan.map(TIME, TIME, &[(1, Position::Back(1))]);
    let mut copy = |from, row: Row, to, width: usize| {
        let body = vec![
            Inst::Load(place(from, row, 0, &[1])),
            Inst::Const(3.0),
            Inst::Binary(BinaryInst::Add, 0, 1),
            Inst::Store(place(to, Row::Same, 0, &[1]), 2),
        ];
        plan.regions.push(Region::Flat(vec![rows(TIME, vec![phase(&[width], 0, body)])]));
    };
    copy(x, Row::Same, a, 6);
    copy(a, Row::Map(back), first, 6);
    copy(x, Row::Same, b, 4);
    copy(b, Row::Map(back), second, 4);
    check_both(&plan, &ragged(9));
}

/// What the planner makes of random programs means the same to the code and to the reference. (Whether it
/// means what the program says is held against the interpreter elsewhere.)
#[test]
fn plans_of_random_programs() {
    let mut compared = 0;
    for seed in 0..200 {
        let small = Options { operations: 2, loops: 1, ..Options::default() };
        let options = if seed % 2 == 0 { small } else { Options::default() };
        let sample = sample(seed, &options);
        let kinds = [OutputKind::Value, OutputKind::Loss];
        let Ok(plan) = planned(&sample.graph, &kinds, "sample") else { continue };
        let examples = 7;
        let mut lengths = Lengths { examples, axes: vec![vec![]], ..Lengths::default() };
        for axis in 1..plan.axes.len() {
            lengths.axes.push((0..examples).map(|example| (example * 5 + axis * 3) % 5).collect());
        }
        check_with::<f64>(&plan, &lengths, 1);
        compared += 1;
    }
    assert!(compared > 100, "only {compared} programs have a plan");
}
