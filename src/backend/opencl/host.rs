//! The host plan: what a program must know to run the kernels of a source, as data.
//!
//! Sizes are functions of the batch: `rows` of a buffer is how many rows its space has for the lengths at
//! hand. Everything here is plain from the plan; [`super::slots`] says how the numbers are handed over.

use serde::Serialize;

use super::{Emission, Launches, Slots};
use crate::backend::opencl::slots::UNIT;
use crate::plan::{AxisKind, Element, Plan, Position, Precision, Residency, Role};

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostPlan {
    /// The program's name.
    pub program: String,
    /// The type of real numbers: `f32` or `f64`.
    pub precision: &'static str,
    /// Arguments of every kernel, in order.
    pub arguments: [&'static str; 5],
    /// Macros that may be defined when the source is compiled, and what they mean.
    pub macros: [(&'static str, &'static str); 10],
    /// Numbers of a group's context.
    pub context: Slots,
    /// Names and kinds of the axes; axis 0 is the batch.
    pub axes: Vec<Axis>,
    /// Sets of rows.
    pub spaces: Vec<Space>,
    /// Tables of row numbers.
    pub maps: Vec<Map>,
    /// Lists of rows.
    pub lists: Vec<List>,
    /// Memory of a group, and parameters.
    pub buffers: Vec<Buffer>,
    /// Bytes of the block of parameters.
    pub parameter_bytes: usize,
    /// What is launched.
    pub launches: Launches,
}

/// An axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    name: String,
    kind: &'static str,
}

/// A set of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Space {
    axes: Vec<String>,
    /// In whose step order the rows are packed.
    order: Option<String>,
    rows: String,
}

/// A table: for each row of `from` the row of `to` that it reads, -1 for none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    from: usize,
    to: usize,
    at: Vec<(String, String)>,
}

/// Which rows of `from` lie in each row of `to`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct List {
    from: usize,
    to: usize,
}

/// A piece of memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Buffer {
    name: String,
    element: &'static str,
    shape: Vec<usize>,
    space: usize,
    /// `all` rows of its space or those of one `step`.
    rows: &'static str,
    /// Bytes as a function of the number of rows, a zero row in front included.
    bytes: String,
    role: String,
    /// First and last region in which it is alive.
    life: (usize, usize),
    /// Of a parameter: first byte in the block of parameters.
    offset: Option<usize>,
}

/// Where each parameter begins in the block of all parameters, in bytes, by buffer; and the block's bytes.
pub fn parameter_places(plan: &Plan, precision: Precision) -> (Vec<Option<usize>>, usize) {
    let mut next = 0usize;
    let place = |buffer: &crate::plan::Buffer| {
        matches!(buffer.role, Role::Parameter(_)).then(|| {
            let start = next;
            next += (buffer.width * buffer.element.bytes(precision)).next_multiple_of(UNIT);
            start
        })
    };
    let places = plan.buffers.iter().map(place).collect();
    (places, next)
}

/// The host plan of a program.
pub fn host_plan(emitted: &Emission, precision: Precision) -> HostPlan {
    let plan = &emitted.plan;
    let name = |axis: usize| plan.axes.get(axis).cloned().unwrap_or_default();
    let (offsets, parameter_bytes) = parameter_places(plan, precision);
    HostPlan {
        program: plan.name.clone(),
        precision: match precision {
            Precision::F32 => "f32",
            Precision::F64 => "f64",
        },
        arguments: [
            "memory: all groups' buffers",
            "parameters: the block of parameters",
            "tables: a context for each group, then tables of row numbers",
            "held: 1 if the last run had the same parameters and memory, else 0",
            "turn: in a launch for a step how many steps were before, else 0",
        ],
        macros: [
            ("WHOLE", "one kernel does everything, a work-group of LANES work-items for each group"),
            ("LANES", "work-items of a team"),
            ("CHUNK", "columns of a row that a work-item does"),
            ("TILE_ROWS", "rows of a product's tile"),
            ("TILE_PANELS", "panels of 16 columns of a product's tile"),
            (
                "EACH",
                "rows of a team's block that a work-item has; a block has 4 columns for each of LANE_COLUMNS",
            ),
            ("DEPTH", "terms of a sum that a team brings to local memory at a time, 4 or a multiple of it"),
            ("STEP_EACH", "EACH for the rows of a step"),
            ("STEP_DEPTH", "DEPTH for the rows of a step"),
            ("STEPPED", "a launch for every unit of every step, in place of one for a loop whose teams meet"),
        ],
        context: emitted.slots,
        axes: (0..plan.axes.len()).map(|axis| Axis { name: name(axis), kind: kind(plan, axis) }).collect(),
        spaces: plan
            .spaces
            .iter()
            .map(|space| Space {
                axes: space.axes.iter().map(|&axis| name(axis)).collect(),
                order: space.major.map(name),
                rows: match &space.axes[..] {
                    [] => "1".into(),
                    [_] => "examples".into(),
                    [_, others @ ..] => {
                        let others: Vec<String> = others.iter().map(|&axis| name(axis)).collect();
                        format!("sum over examples of the positions along {}", others.join(" x "))
                    }
                },
            })
            .collect(),
        maps: plan
            .maps
            .iter()
            .map(|map| Map {
                from: map.from,
                to: map.to,
                at: map.at.iter().map(|(axis, at)| (name(*axis), position(*at))).collect(),
            })
            .collect(),
        lists: plan.lists.iter().map(|list| List { from: list.from, to: list.to }).collect(),
        buffers: plan
            .buffers
            .iter()
            .zip(offsets)
            .map(|(buffer, offset)| self::buffer(plan, buffer, offset, precision))
            .collect(),
        parameter_bytes,
        launches: emitted.launches.clone(),
    }
}

fn buffer(plan: &Plan, buffer: &crate::plan::Buffer, offset: Option<usize>, precision: Precision) -> Buffer {
    let row = buffer.width * buffer.element.bytes(precision);
    let bytes = match offset {
        Some(_) => row.to_string(),
        None => format!("{} + {row} * rows", row.next_multiple_of(UNIT)),
    };
    let last = plan.regions.len().saturating_sub(1);
    Buffer {
        name: buffer.name.clone(),
        element: match buffer.element {
            Element::Real => "real",
            Element::Id => "id",
        },
        shape: buffer.shape.clone(),
        space: buffer.space,
        rows: match buffer.residency {
            Residency::Step => "step",
            Residency::All | Residency::Scratch => "all",
        },
        bytes,
        role: role(&buffer.role),
        life: (buffer.life.0.min(last), buffer.life.1.min(last)),
        offset,
    }
}

fn role(role: &Role) -> String {
    match role {
        Role::Parameter(name) => format!("parameter {name}"),
        Role::Input(name) => format!("input {name}"),
        Role::Position(axis) => format!("position along axis {axis}"),
        Role::Length(axis) => format!("length along axis {axis}"),
        Role::Count(axes) => format!("positions of the whole batch along axes {axes:?}"),
        Role::RowKey => "key of random numbers: example and position".into(),
        Role::Distinct(buffer) => format!("ids that occur in buffer {buffer}"),
        Role::Setting(name) => format!("setting {name}"),
        Role::Temporary => "temporary".into(),
        Role::Output(name) => format!("output {name}"),
    }
}

fn kind(plan: &Plan, axis: usize) -> &'static str {
    match plan.kind(axis) {
        AxisKind::Sequence if axis == 0 => "batch",
        AxisKind::Sequence => "sequence",
        AxisKind::Tree => "tree",
        AxisKind::Children(_) => "children",
        AxisKind::Leaves(_) => "leaves",
    }
}

fn position(at: Position) -> String {
    match at {
        Position::Here => "here".into(),
        Position::Back(by) => format!("{by} earlier"),
        Position::Forward(by) => format!("{by} later"),
        Position::First => "first".into(),
        Position::Last => "last".into(),
        Position::Nth(number) => format!("child {number}"),
        Position::NthOf(number) => format!("parent, where this is child {number}"),
        Position::Parent => "parent".into(),
        Position::Child => "this child".into(),
        Position::Edge => "edge to the parent".into(),
        Position::LeafOfNode => "number among the leaves".into(),
        Position::NodeOfLeaf => "node of the leaf".into(),
    }
}
