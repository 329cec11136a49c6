//! Random row kernels: any dimensions, strides, offsets, several phases, ids, reductions; compiled for every
//! target, run by one worker or several, and evaluated one number at a time in f32. The results must be the
//! same bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;
use rnnc::backend::native::Target;
use rnnc::base::philox::philox4x32;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program};

use crate::build::*;
use crate::exact::{BINARY, SPECIALS, same};
use crate::scalar::{Number, arithmetic};
use crate::targets::targets;

const EXAMPLES: usize = 3;
const KERNELS: u32 = 400;
const WORKERS: usize = 3;

/// Numbers that depend on a seed.
struct Dice {
    seed: u32,
    rolls: u32,
}

impl Dice {
    /// Below a number.
    fn roll(&mut self, below: usize) -> usize {
        self.rolls += 1;
        philox4x32([self.rolls, 0, 0, 0], [self.seed, 7])[0] as usize % below
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }
}

/// A kernel as it grows.
struct Maker {
    dice: Dice,
    plan: Plan,
    reals: Vec<(BufferId, Row)>,
    ids: BufferId,
    /// Whether this kernel has minima, which may give either zero, or quotients, which show which.
    minima: bool,
}

impl Maker {
    fn new(seed: u32) -> Maker {
        let mut dice = Dice { seed, rolls: 0 };
        let mut plan = empty_plan();
        let reals = vec![
            (plan.input("a", BATCH, 1), Row::Same),
            (plan.input("b", BATCH, 1), Row::Same),
            (plan.parameter("single", 1), Row::Only),
        ];
        let ids = plan.ids("ids", BATCH, 1);
        let minima = dice.chance(50);
        Maker { dice, plan, reals, ids, minima }
    }

    /// A place within a buffer, which grows to hold it.
    fn place(&mut self, buffer: BufferId, row: Row, dims: &[usize]) -> Place {
        let offset = self.dice.pick(&[0, 0, 1, 3, 16]);
        let mut strides: Vec<usize> = dims.iter().map(|_| self.dice.pick(&[0, 1, 4, 17, 40])).collect();
        let dense = self.dice.chance(85);
        if let Some(last) = strides.last_mut() {
            *last = if dense { self.dice.pick(&[1, 1, 1, 0]) } else { self.dice.pick(&[2, 3, 8, 33]) };
        }
        let place = place(buffer, row, offset, &strides);
        self.hold(&place, dims);
        place
    }

    fn hold(&mut self, place: &Place, dims: &[usize]) {
        let steps: usize = dims.iter().zip(&place.strides).map(|(dim, stride)| (dim - 1) * stride).sum();
        let buffer = &mut self.plan.buffers[place.at.buffer];
        buffer.width = buffer.width.max(place.offset + steps + 1);
        buffer.shape = vec![buffer.width];
    }

    fn value(&mut self, made: &[Val]) -> Val {
        // Recent ones are read more often, early ones live long.
        match self.dice.chance(60) {
            true => made[made.len() - 1 - self.dice.roll(made.len().min(6))],
            false => self.dice.pick(made),
        }
    }

    /// A place of an output of its own, each element once.
    fn result(&mut self, dims: &[usize], kept: usize) -> Place {
        let out = self.plan.output(&format!("out{}", self.plan.buffers.len()), BATCH, 1);
        let mut strides = vec![0; dims.len()];
        let mut next = if self.dice.chance(10) { 2 } else { 1 };
        for dim in (0..kept).rev() {
            strides[dim] = next;
            next *= dims[dim];
        }
        let place = place(out, Row::Same, self.dice.roll(5), &strides);
        self.hold(&place, &dims[..kept]);
        place
    }

    fn phase(&mut self) -> Phase {
        let rank = self.dice.pick(&[0, 1, 1, 2, 2, 3]);
        let mut dims: Vec<usize> = (0..rank).map(|_| self.dice.pick(&[1, 2, 3, 5])).collect();
        if let Some(last) = dims.last_mut() {
            *last = self.dice.pick(&[1, 2, 3, 8, 15, 16, 17, 31, 33, 50, 100]);
        }
        let reduced = if self.dice.chance(25) && rank > 0 { 1 + self.dice.roll(rank) } else { 0 };
        let (mut body, mut made) = (Vec::new(), Vec::new());
        let count = self.dice.pick(&[3, 8, 20, 60]);
        for _ in 0..1 + self.dice.roll(4) + if count == 60 { 30 } else { 0 } {
            let (buffer, row) = self.reals[self.dice.roll(self.reals.len())].clone();
            made.push(body.len());
            let place = self.place(buffer, row, &dims);
            body.push(Inst::Load(place));
        }
        for _ in 0..count {
            let inst = self.instruction(&dims, &body, &made);
            made.push(body.len());
            body.push(inst);
            if self.dice.chance(10) {
                let (place, value) = (self.result(&dims, rank), self.value(&made));
                body.push(Inst::Store(place, value));
            }
        }
        let last = made[made.len() - 1];
        let place = self.result(&dims, rank - reduced);
        body.push(match reduced {
            0 => Inst::Store(place, last),
            _ => Inst::Reduce(Combining::Max, last, place),
        });
        phase(&dims, reduced, body)
    }

    fn instruction(&mut self, dims: &[usize], body: &[Inst], made: &[Val]) -> Inst {
        let (x, y, z) = (self.value(made), self.value(made), self.value(made));
        let is_product = |value: Val| matches!(body[value], Inst::Binary(BinaryInst::Multiply, ..));
        match self.dice.roll(20) {
            0 => Inst::Const(f64::from(self.dice.pick(&SPECIALS))),
            1 if !dims.is_empty() => Inst::Index(self.dice.roll(dims.len())),
            2 if !dims.is_empty() => {
                let (place, dim) = (self.place(self.ids, Row::Same, dims), self.dice.roll(dims.len()));
                Inst::IdIs(place, dim)
            }
            3 => Inst::IdValue(self.place(self.ids, Row::Same, dims)),
            4 => {
                let first = self.place(self.ids, Row::Same, dims);
                Inst::SameId(first, self.place(self.ids, Row::Same, dims))
            }
            5 | 6 => Inst::Fma(x, y, z),
            7 | 8 => Inst::Select(x, y, z),
            9..=11 => Inst::Unary(
                self.dice.pick(&[
                    UnaryInst::Negate,
                    UnaryInst::Abs,
                    UnaryInst::Sqrt,
                    UnaryInst::Floor,
                    UnaryInst::Round,
                    UnaryInst::Sign,
                ]),
                x,
            ),
            _ => match self.dice.pick(&BINARY) {
                BinaryInst::Divide if self.minima => Inst::Binary(BinaryInst::Add, x, y),
                BinaryInst::Min | BinaryInst::Max if !self.minima => Inst::Binary(BinaryInst::Less, x, y),
                // A difference of a product may be rounded once.
                BinaryInst::Subtract if is_product(x) || is_product(y) => {
                    Inst::Binary(BinaryInst::Multiply, x, y)
                }
                op => Inst::Binary(op, x, y),
            },
        }
    }
}

/// What a kernel does to one example's rows.
struct Rows<'k> {
    ids: &'k [u32],
    reals: BTreeMap<BufferId, Vec<f32>>,
}

impl Rows<'_> {
    fn run(&mut self, phase: &Phase) {
        let mut index = vec![0; phase.dims.len()];
        let mut partial: BTreeMap<(usize, Vec<usize>), f32> = BTreeMap::new();
        loop {
            self.point(phase, &index, &mut partial);
            let Some(turn) = (0..index.len()).rev().find(|&dim| index[dim] + 1 < phase.dims[dim]) else {
                break;
            };
            index[turn] += 1;
            index[turn + 1..].fill(0);
        }
        for ((number, outer), largest) in partial {
            let Inst::Reduce(_, _, place) = &phase.body[number] else { continue };
            self.reals.get_mut(&place.at.buffer).unwrap()[element(place, &outer)] = largest;
        }
    }

    fn point(&mut self, phase: &Phase, index: &[usize], partial: &mut BTreeMap<(usize, Vec<usize>), f32>) {
        let mut values: Vec<Option<f32>> = Vec::new();
        for (number, inst) in phase.body.iter().enumerate() {
            let id = |place: &Place| self.ids[element(place, index)];
            let truth = |holds: bool| Some(f32::from(u8::from(holds)));
            let value = match inst {
                Inst::Index(dim) => Some(index[*dim] as f32),
                Inst::Load(place) => Some(self.reals[&place.at.buffer][element(place, index)]),
                Inst::IdIs(place, dim) => truth(id(place) as usize == index[*dim]),
                Inst::SameId(a, b) => truth(id(a) == id(b)),
                Inst::IdValue(place) => Some(match id(place) {
                    u32::MAX => f32::NAN,
                    id => id as f32,
                }),
                Inst::Store(place, value) => {
                    let stored = values[*value].unwrap();
                    self.reals.get_mut(&place.at.buffer).unwrap()[element(place, index)] = stored;
                    None
                }
                Inst::Reduce(_, value, _) => {
                    let outer = index[..index.len() - phase.reduced].to_vec();
                    let largest = partial.entry((number, outer)).or_insert(f32::NEG_INFINITY);
                    *largest = f32::arithmetic(BinaryInst::Max, *largest, values[*value].unwrap());
                    None
                }
                other => Some(arithmetic(other, &values).unwrap()),
            };
            values.push(value);
        }
    }
}

fn element(place: &Place, index: &[usize]) -> usize {
    place.offset + place.strides.iter().zip(index).map(|(stride, index)| stride * index).sum::<usize>()
}

fn holds(seed: u32) -> Result<(), String> {
    let mut maker = Maker::new(seed);
    let phases: Vec<Phase> = (0..1 + seed % 3).map(|_| maker.phase()).collect();
    let (mut plan, mut dice) = (maker.plan, maker.dice);
    let mut real = |count: usize| -> Vec<f32> {
        let plain = numbers(count, u64::from(seed) + count as u64);
        let number = |plain: f64| if dice.chance(25) { dice.pick(&SPECIALS) } else { plain as f32 };
        plain.into_iter().map(number).collect()
    };
    let width = |id: BufferId| plan.buffers[id].width;
    let (a, b) = (real(EXAMPLES * width(0)), real(EXAMPLES * width(1)));
    let single = real(width(2));
    let id_width = width(maker.ids);
    let ids: Vec<u32> = (0..EXAMPLES * id_width)
        .map(|_| {
            dice.pick(&[0, 1, 2, 7, 16, 40, 1 << 24, (1 << 24) + 1, 0x8000_0001, u32::MAX - 1, u32::MAX])
        })
        .collect();
    let kernels = vec![rows(BATCH, phases.clone())];
    // Inside a loop, here of one step, workers divide the columns of a kernel.
    let workers = if seed.is_multiple_of(2) { 1 } else { WORKERS };
    plan.regions.push(match workers {
        1 => Region::Flat(kernels),
        _ => Region::Loop { axis: 1, backward: false, kernels },
    });
    let pool = ThreadPoolBuilder::new().num_threads(workers).build().unwrap();
    for target in targets().into_iter().filter(|&target| target != Target::V2) {
        let program =
            Program::<f32>::compile(plan.clone(), target, false).map_err(|e| format!("{target}: {e}"))?;
        let lengths = Lengths::uniform(EXAMPLES, &[1, 1]);
        let mut instance = Instance::new(&Arc::new(program), &lengths, 0..EXAMPLES).unwrap();
        instance.set_input("a", &a).unwrap();
        instance.set_input("b", &b).unwrap();
        instance.set_input_ids("ids", &ids).unwrap();
        match workers {
            1 => instance.run(&[&single]).unwrap(),
            _ => {
                let groups = std::slice::from_mut(&mut instance);
                Instance::run_together(groups, &[&single], &mut [], None, &pool, workers).unwrap();
            }
        }
        for example in 0..EXAMPLES {
            let row = |all: &[f32], width: usize| all[example * width..(example + 1) * width].to_vec();
            let mut expected = Rows {
                ids: &ids[example * id_width..(example + 1) * id_width],
                reals: BTreeMap::from([(0, row(&a, width(0))), (1, row(&b, width(1))), (2, single.clone())]),
            };
            for (id, buffer) in plan.buffers.iter().enumerate().skip(4) {
                expected.reals.insert(id, vec![0.0; buffer.width]);
            }
            phases.iter().for_each(|phase| expected.run(phase));
            for (id, buffer) in plan.buffers.iter().enumerate().skip(4) {
                let found = row(&instance.output(&buffer.name).unwrap(), buffer.width);
                for (at, (&found, &expected)) in found.iter().zip(&expected.reals[&id]).enumerate() {
                    if !same(found, expected, maker.minima) {
                        return Err(format!(
                            "kernel {seed} for {target}: `{}`, example {example}, element {at}: {found:e} \
                             instead of {expected:e}\n{phases:#?}",
                            buffer.name
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_kernels_give_the_same_bits_on_every_target() {
    let mut failures: Vec<String> = (0..KERNELS).filter_map(|seed| holds(seed).err()).collect();
    // The shortest kernel is the easiest to look into.
    failures.sort_by_key(String::len);
    assert!(
        failures.is_empty(),
        "{} of {KERNELS} kernels differ; the shortest: {}",
        failures.len(),
        failures[0]
    );
}
