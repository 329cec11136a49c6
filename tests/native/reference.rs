//! A slow evaluator of plans: every buffer holds all its rows (step buffers too), every sum is f64.

use std::collections::HashMap;

use rnnc::base::philox::{philox4x32, uniform};
use rnnc::plan::*;
use rnnc::runtime::layout::{Content, Layout};

use crate::scalar::arithmetic;

/// The contents of a buffer; row -1 comes first.
#[derive(Clone, Debug)]
pub enum Data {
    Real(Vec<f64>),
    Id(Vec<u32>),
}

pub struct Machine<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    pub data: Vec<Data>,
}

/// Where a window begins: buffer and element, or zeros.
type At = Option<(BufferId, usize)>;

impl<'a> Machine<'a> {
    pub fn new(plan: &'a Plan, layout: &'a Layout) -> Machine<'a> {
        let data = plan
            .buffers
            .iter()
            .map(|buffer| {
                let elements = buffer.width * (layout.spaces[buffer.space].rows + 1);
                match buffer.element {
                    Element::Real => Data::Real(vec![0.0; elements]),
                    Element::Id => Data::Id(vec![u32::MAX; elements]),
                }
            })
            .collect();
        let mut machine = Machine { plan, layout, data };
        for id in 0..plan.buffers.len() {
            match layout.content(plan, id).unwrap() {
                Some(Content::Real(values)) => machine.set(id, &values),
                Some(Content::Id(ids)) => machine.set_ids(id, &ids),
                None => {}
            }
        }
        machine
    }

    /// Sets packed rows.
    pub fn set(&mut self, id: BufferId, rows: &[f64]) {
        let width = self.plan.buffers[id].width;
        if let Data::Real(data) = &mut self.data[id] {
            data[width..width + rows.len()].copy_from_slice(rows);
        }
    }

    pub fn set_ids(&mut self, id: BufferId, rows: &[u32]) {
        let width = self.plan.buffers[id].width;
        if let Data::Id(data) = &mut self.data[id] {
            data[width..width + rows.len()].copy_from_slice(rows);
        }
    }

    /// Packed rows.
    pub fn rows(&self, id: BufferId) -> Vec<f64> {
        let width = self.plan.buffers[id].width;
        match &self.data[id] {
            Data::Real(data) => data[width..].to_vec(),
            Data::Id(data) => data[width..].iter().map(|&id| f64::from(id)).collect(),
        }
    }

    fn at(&self, place: &RowRef, pitch: usize, row: usize) -> At {
        let width = self.plan.buffers[place.buffer].width;
        let of_row = |row: i64| Some((place.buffer, ((row + 1) as usize) * width));
        match &place.row {
            Row::Only => of_row(0),
            Row::Same if self.plan.buffers[place.buffer].residency == Residency::Scratch => of_row(0),
            Row::Same => of_row(row as i64),
            Row::Map(map) => of_row(i64::from(self.layout.maps[*map][row])),
            Row::MapOr(map, other) => match self.layout.maps[*map][row] {
                -1 => self.at(other, pitch, row),
                mapped => of_row(i64::from(mapped)),
            },
            Row::Id(inner) => {
                let at = self.at(inner, 0, row);
                match self.id(at, 0) {
                    u32::MAX => None,
                    id => Some((place.buffer, width + id as usize * pitch)),
                }
            }
        }
    }

    fn real(&self, at: At, element: usize) -> f64 {
        match at.map(|(buffer, start)| (&self.data[buffer], start)) {
            Some((Data::Real(data), start)) => data[start + element],
            _ => 0.0,
        }
    }

    fn id(&self, at: At, element: usize) -> u32 {
        match at.map(|(buffer, start)| (&self.data[buffer], start)) {
            Some((Data::Id(data), start)) => data[start + element],
            _ => u32::MAX,
        }
    }

    fn store(&mut self, at: At, element: usize, value: f64) {
        let (buffer, start) = at.unwrap();
        match &mut self.data[buffer] {
            Data::Real(data) => data[start + element] = value,
            Data::Id(data) => data[start + element] = value as u32,
        }
    }

    pub fn run(&mut self) {
        for region in &self.plan.regions {
            match region {
                Region::Flat(kernels) => kernels.iter().for_each(|kernel| self.kernel(kernel, None)),
                Region::Loop { axis, backward, kernels } => {
                    let steps = self.layout.steps[*axis];
                    for turn in 0..steps {
                        let step = if *backward { steps - 1 - turn } else { turn };
                        kernels.iter().for_each(|kernel| self.kernel(kernel, Some((*axis, step))));
                    }
                }
            }
        }
    }

    fn range(&self, space: SpaceId, step: Option<(usize, usize)>) -> std::ops::Range<usize> {
        let rows = &self.layout.spaces[space];
        match step {
            Some((axis, step)) if rows.space.major == Some(axis) => {
                rows.step_offsets[step] as usize..rows.step_offsets[step + 1] as usize
            }
            _ => 0..rows.rows,
        }
    }

    fn kernel(&mut self, kernel: &Kernel, step: Option<(usize, usize)>) {
        match &kernel.work {
            Work::Rows(rows) => {
                for row in self.range(rows.space, step) {
                    rows.phases.iter().for_each(|phase| self.phase(phase, row));
                }
            }
            Work::Gemm(gemm) => {
                let rows = match gemm.rows {
                    GemmRows::Space(space) => self.range(space, step),
                    GemmRows::Static(rows) => 0..rows,
                };
                for row in rows {
                    let find = |place: &Place| match gemm.rows {
                        GemmRows::Space(_) => (self.at(&place.at, place.pitch, row), place.offset),
                        GemmRows::Static(_) => (self.at(&place.at, 0, 0), place.offset + row * place.pitch),
                    };
                    let ((a, a_offset), (out, out_offset)) = (find(&gemm.a), find(&gemm.out));
                    let packed = self.at(&RowRef { buffer: gemm.packed, row: Row::Only }, 0, 0);
                    for column in 0..gemm.n {
                        let mut sum = match gemm.accumulate {
                            true => self.real(out, out_offset + column),
                            false => 0.0,
                        };
                        for index in 0..gemm.k {
                            let panel = column / PANEL * PANEL * gemm.k;
                            sum += self.real(a, a_offset + index)
                                * self.real(packed, panel + index * PANEL + column % PANEL);
                        }
                        self.store(out, out_offset + column, sum);
                    }
                }
            }
            Work::Pack(pack) => {
                let source = self.at(&pack.source.at, 0, 0);
                let to = self.at(&RowRef { buffer: pack.to, row: Row::Only }, 0, 0);
                // The last part of a row fills its panel up with zeros.
                let last = pack.at[1] + pack.n == pack.whole[1];
                let columns = match last {
                    true => pack.whole[1].div_ceil(PANEL) * PANEL - pack.at[1],
                    false => pack.n,
                };
                for column in 0..columns {
                    for row in 0..pack.k {
                        let element = pack.source.offset
                            + row * pack.source.strides[0]
                            + column * pack.source.strides[1];
                        let value = if column < pack.n { self.real(source, element) } else { 0.0 };
                        let (row, column) = (pack.at[0] + row, pack.at[1] + column);
                        let panel = column / PANEL * PANEL * pack.whole[0];
                        self.store(to, panel + row * PANEL + column % PANEL, value);
                    }
                }
            }
            Work::Outer(outer) => {
                let out = self.at(&outer.out.at, 0, 0);
                for i in 0..outer.m {
                    for j in 0..outer.n {
                        let element = outer.out.offset + i * outer.out.pitch + j;
                        let mut sum = if outer.accumulate { self.real(out, element) } else { 0.0 };
                        for row in self.range(outer.space, step) {
                            let a = self.at(&outer.a.at, outer.a.pitch, row);
                            let b = self.at(&outer.b.at, outer.b.pitch, row);
                            sum += self.real(a, outer.a.offset + i) * self.real(b, outer.b.offset + j);
                        }
                        self.store(out, element, sum);
                    }
                }
            }
            Work::Combine(combine) => {
                let targets = match combine.list {
                    Some(_) => self.range(combine.to, step),
                    None => 0..1,
                };
                for target in targets {
                    let sources: Vec<usize> = match combine.list {
                        Some(list) => {
                            let list = &self.layout.lists[list];
                            let (begin, end) =
                                (list.starts[target] as usize, list.starts[target + 1] as usize);
                            list.rows[begin..end].iter().map(|&row| row as usize).collect()
                        }
                        None => self.range(combine.from, step).collect(),
                    };
                    let out = self.at(&combine.out.at, 0, target);
                    for column in 0..combine.width {
                        let values = sources.iter().map(|&row| {
                            let at = self.at(&combine.value.at, combine.value.pitch, row);
                            self.real(at, combine.value.offset + column * combine.value.strides[0])
                        });
                        let result = match combine.how {
                            _ if sources.is_empty() => 0.0,
                            Combining::Sum => values.sum(),
                            Combining::Max => values.fold(f64::NEG_INFINITY, maximum),
                        };
                        self.store(out, combine.out.offset + column, result);
                    }
                }
            }
            Work::Scatter(scatter) => {
                let out = self.at(&scatter.out.at, 0, 0);
                if !scatter.accumulate {
                    for i in 0..scatter.m {
                        for j in 0..scatter.n {
                            self.store(out, scatter.out.offset + i * scatter.out.pitch + j, 0.0);
                        }
                    }
                }
                for row in self.range(scatter.space, step) {
                    let id = self.id(self.at(&scatter.id.at, 0, row), scatter.id.offset);
                    if id == u32::MAX {
                        continue;
                    }
                    for j in 0..scatter.n {
                        let element = scatter.out.offset + id as usize * scatter.out.pitch + j;
                        let value = self.real(self.at(&scatter.value.at, 0, row), scatter.value.offset + j);
                        let sum = self.real(out, element) + value;
                        self.store(out, element, sum);
                    }
                }
            }
            Work::Random(random) => {
                for row in self.range(random.space, step) {
                    let word =
                        |place: &Place, index| self.id(self.at(&place.at, 0, row), place.offset + index);
                    let key = [word(&random.seed, 0) ^ word(&random.seed, 2), word(&random.seed, 1)];
                    let (example, position) = (word(&random.key, 0), word(&random.key, 1));
                    let out = self.at(&random.out.at, 0, row);
                    for column in 0..random.width {
                        let words = philox4x32([example, position, column as u32 / 4, random.stream], key);
                        self.store(out, random.out.offset + column, uniform(words[column % 4]));
                    }
                }
            }
        }
    }

    fn phase(&mut self, phase: &Phase, row: usize) {
        let outer = phase.dims.len() - phase.reduced;
        let mut partial: HashMap<(usize, Vec<usize>), (f64, u32)> = HashMap::new();
        for_each(&phase.dims[..outer], &mut |index| {
            for number in 0..phase.body.len() {
                let start = match &phase.body[number] {
                    Inst::Reduce(Combining::Sum, ..) => 0.0,
                    _ => f64::NEG_INFINITY,
                };
                partial.insert((number, index.to_vec()), (start, 0));
            }
        });
        for_each(&phase.dims, &mut |index| self.point(phase, row, index, &mut partial));
        for ((number, index), (value, position)) in partial {
            match &phase.body[number] {
                Inst::Reduce(_, _, place) => self.store_at(place, row, &index, value),
                Inst::ArgMax(_, place) => self.store_at(place, row, &index, f64::from(position)),
                _ => {}
            }
        }
    }

    fn point(
        &mut self,
        phase: &Phase,
        row: usize,
        index: &[usize],
        partial: &mut HashMap<(usize, Vec<usize>), (f64, u32)>,
    ) {
        let outer = index[..phase.dims.len() - phase.reduced].to_vec();
        let mut values: Vec<Option<f64>> = Vec::new();
        for (number, inst) in phase.body.iter().enumerate() {
            let truth = |condition: bool| Some(if condition { 1.0 } else { 0.0 });
            let value = match inst {
                Inst::Index(dim) => Some(index[*dim] as f64),
                Inst::Load(place) => {
                    Some(self.real(self.at(&place.at, place.pitch, row), element(place, index)))
                }
                Inst::IdIs(place, dim) => truth(self.id_at(place, row, index) as usize == index[*dim]),
                Inst::SameId(a, b) => truth(self.id_at(a, row, index) == self.id_at(b, row, index)),
                Inst::IdValue(place) => Some(match self.id_at(place, row, index) {
                    u32::MAX => f64::NAN,
                    id => f64::from(id),
                }),
                Inst::Store(place, value) => {
                    self.store_at(place, row, index, values[*value].unwrap());
                    None
                }
                Inst::CopyId(from, to) => {
                    let id = self.id_at(from, row, index);
                    self.store_at(to, row, index, f64::from(id));
                    None
                }
                Inst::SelectId(condition, first, second, to) => {
                    let chosen = if values[*condition].unwrap() != 0.0 { first } else { second };
                    let id = self.id_at(chosen, row, index);
                    self.store_at(to, row, index, f64::from(id));
                    None
                }
                Inst::Reduce(how, value, _) => {
                    let (sum, _) = partial.get_mut(&(number, outer.clone())).unwrap();
                    let value = values[*value].unwrap();
                    *sum = match how {
                        Combining::Sum => *sum + value,
                        Combining::Max => maximum(*sum, value),
                    };
                    None
                }
                Inst::ArgMax(value, _) => {
                    let best = partial.get_mut(&(number, outer.clone())).unwrap();
                    if values[*value].unwrap() > best.0 {
                        *best = (values[*value].unwrap(), *index.last().unwrap() as u32);
                    }
                    None
                }
                other => arithmetic(other, &values),
            };
            values.push(value);
        }
    }

    fn id_at(&self, place: &Place, row: usize, index: &[usize]) -> u32 {
        self.id(self.at(&place.at, place.pitch, row), element(place, index))
    }

    fn store_at(&mut self, place: &Place, row: usize, index: &[usize], value: f64) {
        let at = self.at(&place.at, place.pitch, row);
        self.store(at, element(place, index), value);
    }
}

fn element(place: &Place, index: &[usize]) -> usize {
    let steps: usize = place.strides.iter().zip(index).map(|(stride, index)| stride * index).sum();
    place.offset + steps
}

fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn for_each(dims: &[usize], visit: &mut impl FnMut(&[usize])) {
    if dims.contains(&0) {
        return;
    }
    let mut index = vec![0; dims.len()];
    loop {
        visit(&index);
        let Some(turn) = (0..dims.len()).rev().find(|&dim| index[dim] + 1 < dims[dim]) else {
            return;
        };
        index[turn] += 1;
        index[turn + 1..].fill(0);
    }
}
