//! A recurrent plan by hand: loops in both directions, step buffers, two-axis rows.

use rnnc::plan::*;

use crate::build::*;

/// Packing a weight matrix (transposed in memory) and the product with it.
pub fn product(
    plan: &mut Plan,
    rows: GemmRows,
    a: Place,
    k: usize,
    n: usize,
    out: Place,
    accumulate: bool,
) -> Vec<Kernel> {
    let weights = plan.parameter("weights", k * n);
    let packed = plan.temporary("packed", ONE, packed_width(k, n));
    // Transposed in memory.
    let source = place(weights, Row::Only, 0, &[1, k]);
    vec![
        kernel(Work::Pack(Pack::entire(source, k, n, packed))),
        kernel(Work::Gemm(Gemm { rows, a, k, n, packed, out, accumulate })),
    ]
}

/// `h = tanh(x + h[t-1] W + sum over s)`, the same backwards, and rows of their ends.
pub fn recurrent(width: usize) -> Plan {
    let mut plan = empty_plan();
    let x = plan.input("x", TIME, width);
    let (grid, length) =
        (plan.input("grid", GRID, width), plan.buffer("n", Element::Real, BATCH, 1, Role::Length(1)));
    let position = plan.buffer("p", Element::Real, TIME, 1, Role::Position(1));
    let count = plan.buffer("c", Element::Real, ONE, 1, Role::Count(vec![0, 1]));
    let (h, back, last) =
        (plan.output("h", TIME, width), plan.output("back", TIME, width), plan.output("last", BATCH, width));
    let first = plan.output("first", OTHER, width);
    let (sum, gates) = (plan.temporary("sum", TIME, width), plan.temporary("gates", TIME, width));
    plan.buffers[sum].residency = Residency::Step;
    plan.buffers[gates].residency = Residency::Step;
    let before = plan.map(TIME, TIME, &[(1, Position::Back(1))]);
    let after = plan.map(TIME, TIME, &[(1, Position::Forward(1))]);
    let end = plan.map(BATCH, TIME, &[(1, Position::Last)]);
    let begin = plan.map(OTHER, TIME, &[(1, Position::First)]);
    let step_of_grid = plan.map(GRID, TIME, &[]);
    let example = plan.map(TIME, BATCH, &[]);
    let list = plan.list(GRID, TIME);
    let here = |buffer| place(buffer, Row::Same, 0, &[1]);
    for (state, neighbour, backward) in [(h, before, false), (back, after, true)] {
        let a = place(state, Row::Map(neighbour), 0, &[]);
        let out = place(gates, Row::Same, 0, &[]);
        let mut kernels = product(&mut plan, GemmRows::Space(TIME), a, width, width, out, false);
        let pack = kernels.remove(0);
        plan.regions.push(Region::Flat(vec![pack]));
        // The grid's rows of a step read the step buffer of another space.
        let scaled = plan.temporary("scaled", GRID, width);
        plan.buffers[scaled].residency = Residency::Step;
        kernels.push(rows(
            GRID,
            vec![phase(
                &[width],
                0,
                vec![
                    Inst::Load(place(grid, Row::Same, 0, &[1])),
                    Inst::Load(place(gates, Row::Map(step_of_grid), 0, &[1])),
                    Inst::Binary(BinaryInst::Multiply, 0, 1),
                    Inst::Store(here(scaled), 2),
                ],
            )],
        ));
        kernels.push(kernel(Work::Combine(Combine {
            from: GRID,
            to: TIME,
            list: Some(list),
            how: Combining::Sum,
            width,
            value: here(scaled),
            out: here(sum),
        })));
        kernels.push(rows(
            TIME,
            vec![phase(
                &[width],
                0,
                vec![
                    Inst::Load(here(x)),
                    Inst::Load(here(gates)),
                    Inst::Load(here(sum)),
                    Inst::Load(place(position, Row::Same, 0, &[0])),
                    Inst::Load(place(length, Row::Map(example), 0, &[0])),
                    Inst::Load(place(count, Row::Only, 0, &[0])),
                    Inst::Binary(BinaryInst::Add, 0, 1),
                    Inst::Binary(BinaryInst::Add, 6, 2),
                    Inst::Binary(BinaryInst::Subtract, 4, 3),
                    Inst::Binary(BinaryInst::Divide, 8, 5),
                    Inst::Binary(BinaryInst::Add, 7, 9),
                    Inst::Unary(UnaryInst::Tanh, 10),
                    Inst::Store(here(state), 11),
                ],
            )],
        ));
        plan.regions.push(Region::Loop { axis: 1, backward, kernels });
    }
    let copy = |from: Place, to| vec![phase(&[width], 0, vec![Inst::Load(from), Inst::Store(here(to), 0)])];
    plan.regions.push(Region::Flat(vec![
        rows(BATCH, copy(place(h, Row::Map(end), 0, &[1]), last)),
        rows(OTHER, copy(place(back, Row::Map(begin), 0, &[1]), first)),
    ]));
    // Random numbers for rows of two axes: their keys come from the layout.
    let seed = plan.buffer("random", Element::Id, ONE, 3, Role::Setting("random".into()));
    let key = plan.buffer("key", Element::Id, GRID, 2, Role::RowKey);
    let noise = plan.output("noise", GRID, width);
    plan.regions.push(Region::Flat(vec![kernel(Work::Random(Random {
        space: GRID,
        stream: 3,
        key: place(key, Row::Same, 0, &[]),
        seed: place(seed, Row::Only, 0, &[]),
        out: place(noise, Row::Same, 0, &[]),
        width,
    }))]));
    plan
}
