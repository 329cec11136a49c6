//! Plans by hand, and their comparison with the reference.

use std::ops::Range;
use std::sync::Arc;

use rnnc::backend::native::Target;
use rnnc::plan::*;
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program, Real};

use crate::reference::Machine;
use crate::targets::targets_of;

/// The spaces of every test plan: the single row, the batch, [batch, t], [batch, t, s] by t, [batch, s].
pub const ONE: SpaceId = 0;
pub const BATCH: SpaceId = 1;
pub const TIME: SpaceId = 2;
pub const GRID: SpaceId = 3;
pub const OTHER: SpaceId = 4;

pub fn empty_plan() -> Plan {
    let space = |axes: &[usize], major| Space { axes: axes.to_vec(), major };
    Plan {
        name: "Test".into(),
        axes: vec!["batch".into(), "t".into(), "s".into()],
        spaces: vec![
            space(&[], None),
            space(&[0], None),
            space(&[0, 1], Some(1)),
            space(&[0, 1, 2], Some(1)),
            space(&[0, 2], Some(2)),
        ],
        ..Plan::default()
    }
}

/// Adds to a plan.
pub trait Build {
    fn buffer(&mut self, name: &str, element: Element, space: SpaceId, width: usize, role: Role) -> BufferId;
    fn map(&mut self, from: SpaceId, to: SpaceId, at: &[(usize, Position)]) -> MapId;
    fn list(&mut self, from: SpaceId, to: SpaceId) -> ListId;

    fn input(&mut self, name: &str, space: SpaceId, width: usize) -> BufferId {
        self.buffer(name, Element::Real, space, width, Role::Input(name.into()))
    }

    fn ids(&mut self, name: &str, space: SpaceId, width: usize) -> BufferId {
        self.buffer(name, Element::Id, space, width, Role::Input(name.into()))
    }

    fn parameter(&mut self, name: &str, width: usize) -> BufferId {
        self.buffer(name, Element::Real, ONE, width, Role::Parameter(name.into()))
    }

    fn output(&mut self, name: &str, space: SpaceId, width: usize) -> BufferId {
        self.buffer(name, Element::Real, space, width, Role::Output(name.into()))
    }

    fn temporary(&mut self, name: &str, space: SpaceId, width: usize) -> BufferId {
        self.buffer(name, Element::Real, space, width, Role::Temporary)
    }

    fn output_ids(&mut self, name: &str, space: SpaceId, width: usize) -> BufferId {
        self.buffer(name, Element::Id, space, width, Role::Output(name.into()))
    }
}

impl Build for Plan {
    fn buffer(&mut self, name: &str, element: Element, space: SpaceId, width: usize, role: Role) -> BufferId {
        self.buffers.push(Buffer {
            name: name.into(),
            element,
            width,
            shape: vec![width],
            space,
            residency: Residency::All,
            role,
            life: (0, 99),
        });
        self.buffers.len() - 1
    }

    fn map(&mut self, from: SpaceId, to: SpaceId, at: &[(usize, Position)]) -> MapId {
        self.maps.push(RowMap { from, to, at: at.to_vec() });
        self.maps.len() - 1
    }

    fn list(&mut self, from: SpaceId, to: SpaceId) -> ListId {
        self.lists.push(RowList { from, to });
        self.lists.len() - 1
    }
}

pub fn place(buffer: BufferId, row: Row, offset: usize, strides: &[usize]) -> Place {
    Place { at: RowRef { buffer, row }, pitch: 0, offset, strides: strides.to_vec() }
}

pub fn pitched(mut place: Place, pitch: usize) -> Place {
    place.pitch = pitch;
    place
}

pub fn kernel(work: Work) -> Kernel {
    Kernel { work, equations: vec!["a test".into()], constant: false, steps: Steps::All }
}

pub fn rows(space: SpaceId, phases: Vec<Phase>) -> Kernel {
    kernel(Work::Rows(RowKernel { space, phases }))
}

pub fn phase(dims: &[usize], reduced: usize, body: Vec<Inst>) -> Phase {
    Phase { dims: dims.to_vec(), reduced, body }
}

/// Numbers that look random, between -2 and 2.
pub fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(((state >> 40) as u32 as f32) / (1 << 22) as f32 - 2.0)
        })
        .collect()
}

/// Ragged lengths along t and s, with empty examples among them.
pub fn ragged(examples: usize) -> Lengths {
    let along =
        |seed: usize, most: usize| (0..examples).map(|example| (example * 7 + seed) % (most + 1)).collect();
    Lengths { examples, axes: vec![vec![], along(3, 5), along(1, 3)], ..Lengths::default() }
}

/// Ids that buffers of ids are filled with: below this, or none.
pub const IDS: u32 = 5;

/// Runs a plan on parts of a batch, for every target, and compares every output with the reference.
pub fn check<R: Real>(plan: &Plan, lengths: &Lengths) {
    check_with::<R>(plan, lengths, IDS);
}

/// As [`check`], with ids below a number.
pub fn check_with<R: Real>(plan: &Plan, lengths: &Lengths, ids: u32) {
    for target in targets_of(R::PRECISION) {
        let program = Arc::new(Program::<R>::compile(plan.clone(), target, false).unwrap());
        check_part(&program, target, lengths, 0..lengths.examples, ids);
        if lengths.examples > 2 {
            check_part(&program, target, lengths, 1..lengths.examples - 1, ids);
        }
    }
}

pub fn check_both(plan: &Plan, lengths: &Lengths) {
    check::<f32>(plan, lengths);
    check::<f64>(plan, lengths);
}

fn check_part<R: Real>(
    program: &Arc<Program<R>>,
    target: Target,
    lengths: &Lengths,
    part: Range<usize>,
    most: u32,
) {
    let plan = program.plan();
    let mut instance = Instance::new(program, lengths, part).unwrap();
    let layout = instance.layout().clone();
    let mut machine = Machine::new(plan, &layout);
    let mut parameters: Vec<Vec<R>> = Vec::new();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let values =
            |count| -> Vec<R> { numbers(count, id as u64 + 1).into_iter().map(R::from_f64).collect() };
        let wide = |values: &[R]| -> Vec<f64> { values.iter().map(|value| value.to_f64()).collect() };
        let padded = layout.padded_elements(buffer.space, buffer.width).unwrap();
        let packed = layout.spaces[buffer.space].rows * buffer.width;
        match (&buffer.role, buffer.element) {
            (Role::Parameter(_), _) => {
                parameters.push(values(buffer.width));
                machine.set(id, &wide(&parameters[parameters.len() - 1]));
            }
            (Role::Input(name) | Role::Setting(name), Element::Real) => {
                let values = values(padded);
                let mut rows = vec![R::default(); packed];
                layout.pack(buffer.space, buffer.width, &values, &mut rows).unwrap();
                machine.set(id, &wide(&rows));
                match &buffer.role {
                    Role::Input(_) => instance.set_input(name, &values).unwrap(),
                    _ => instance.set_setting(name, &values).unwrap(),
                }
            }
            (Role::Input(name) | Role::Setting(name), Element::Id) => {
                let id_of = |value: f64| match ((value + 2.0) * 1e4) as u32 % (most + 1) {
                    none if none == most => u32::MAX,
                    id => id,
                };
                let ids: Vec<u32> = numbers(padded, id as u64 + 1).into_iter().map(id_of).collect();
                let mut rows = vec![0; packed];
                layout.pack(buffer.space, buffer.width, &ids, &mut rows).unwrap();
                machine.set_ids(id, &rows);
                match &buffer.role {
                    Role::Input(_) => instance.set_input_ids(name, &ids).unwrap(),
                    _ => instance.set_setting_ids(name, &ids).unwrap(),
                }
            }
            _ => {}
        }
    }
    let parameters: Vec<&[R]> = parameters.iter().map(Vec::as_slice).collect();
    machine.run();
    // Twice: a run must not depend on what an earlier one left behind.
    instance.run(&parameters).unwrap();
    instance.run(&parameters).unwrap();
    for (id, buffer) in plan.buffers.iter().enumerate() {
        let Role::Output(name) = &buffer.role else {
            continue;
        };
        let expected = machine.rows(id);
        let packed = layout.spaces[buffer.space].rows * buffer.width;
        let mut found = vec![R::default(); packed];
        match buffer.element {
            Element::Real => {
                layout.pack(buffer.space, buffer.width, &instance.output(name).unwrap(), &mut found).unwrap()
            }
            Element::Id => {
                let mut ids = vec![0; packed];
                layout
                    .pack(buffer.space, buffer.width, &instance.output_ids(name).unwrap(), &mut ids)
                    .unwrap();
                found = ids.into_iter().map(|id| R::from_f64(f64::from(id))).collect();
            }
        }
        for (element, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let found = found.to_f64();
            let tolerance = if R::PRECISION == Precision::F32 { 2e-5 } else { 1e-12 };
            let same = found == *expected
                || found.is_nan() && expected.is_nan()
                || (found - expected).abs() <= tolerance * (1.0 + expected.abs());
            assert!(
                same,
                "{:?} for {target}: `{name}`, row {}, column {}: {found} instead of {expected}",
                R::PRECISION,
                element / buffer.width,
                element % buffer.width
            );
        }
    }
}
