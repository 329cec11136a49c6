//! From groups to kernels: buffers, maps, and the instructions of every phase.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::PlanError;
use super::groups::Group;
use super::kernel::{
    Buffer, BufferId, Combine, Combining, Element, Gemm, GemmRows, Inst, Kernel, Outer, Pack, Phase, Place,
    Plan, Position, Random, Region, Residency, Role, Row, RowKernel, RowList, RowMap, RowRef, Scatter, Space,
    SpaceId, Val, Work, packed_width,
};
use super::memory::{Places, Residencies, Spot};
use super::phases::{Item, PhasePlan, RowPlan, contracted_labels, definition};
use super::regions::{Kind, gemm_sides};
use super::views::{Source, View, is_view_op, row_major, view};
use crate::ir::{
    self, Access, Along, AxisId, AxisSet, BATCH, Binary, Graph, Listing, NodeId, Op, Operand, Reduction,
    Unary,
};

/// Makes the plan out of everything that has been decided.
pub(super) struct Assembler<'a> {
    pub places: Places<'a>,
    pub residencies: Residencies,
    pub majors: BTreeMap<AxisSet, AxisId>,
    pub listing: Listing,
    pub plan: Plan,
    memory: HashMap<NodeId, (BufferId, usize)>,
    leaves: HashMap<(Role2, SpaceId), BufferId>,
    packs: HashMap<(View2, usize, usize), BufferId>,
    /// Packing to be done at the end of a flat region, by region.
    prologue: HashMap<usize, Vec<Kernel>>,
    region: usize,
}

/// A role as a key.
type Role2 = String;
/// A view as a key.
type View2 = String;

impl<'a> Assembler<'a> {
    pub fn new(
        places: Places<'a>,
        residencies: Residencies,
        majors: BTreeMap<AxisSet, AxisId>,
        listing: Listing,
        name: &str,
    ) -> Assembler<'a> {
        let plan = Plan {
            name: name.to_string(),
            axes: places.graph.axes.iter().map(|axis| axis.name.clone()).collect(),
            spaces: vec![Space { axes: Vec::new(), major: None }],
            ..Plan::default()
        };
        Assembler {
            places,
            residencies,
            majors,
            listing,
            plan,
            memory: HashMap::new(),
            leaves: HashMap::new(),
            packs: HashMap::new(),
            prologue: HashMap::new(),
            region: 0,
        }
    }

    fn graph(&self) -> &'a Graph {
        self.places.graph
    }

    /// All regions.
    pub fn assemble(mut self) -> Result<Plan, PlanError> {
        self.outputs_first();
        let groups = self.places.groups;
        for (region, its) in groups.iter().enumerate() {
            self.region = region;
            let mut kernels = Vec::new();
            for (at, group) in its.iter().enumerate() {
                self.group((region, at), group, &mut kernels)?;
            }
            self.plan.regions.push(match self.places.stretches[region].along {
                None => Region::Flat(kernels),
                Some((axis, backward)) => Region::Loop { axis: usize::from(axis.0), backward, kernels },
            });
        }
        for (region, packs) in std::mem::take(&mut self.prologue) {
            if let Some(Region::Flat(kernels)) = self.plan.regions.get_mut(region) {
                kernels.extend(packs);
            }
        }
        let last = self.plan.regions.len().saturating_sub(1);
        for buffer in &mut self.plan.buffers {
            buffer.life.0 = buffer.life.0.min(last);
            buffer.life.1 = buffer.life.1.min(last);
        }
        Ok(self.plan)
    }

    /// Outputs get their buffers before anything else, so that their order is the graph's.
    fn outputs_first(&mut self) {
        for at in 0..self.graph().outputs.len() {
            let node = self.graph().outputs[at].value.node;
            self.memory_of(node);
        }
    }

    /// The rows of a kernel of this region over these axes: in the order of the loop it is in.
    fn space(&mut self, axes: AxisSet) -> SpaceId {
        self.space_in(axes, Some(self.region))
    }

    /// The rows of values over these axes that are computed in a region; outside loops and for data the
    /// usual order.
    fn space_in(&mut self, axes: AxisSet, region: Option<usize>) -> SpaceId {
        let along = region.and_then(|region| self.places.stretches[region].along).map(|(axis, _)| axis);
        let major = along
            .filter(|&axis| axes.contains(axis))
            .or_else(|| self.majors.get(&axes).copied())
            .or_else(|| axes.without(BATCH).iter().next());
        let space = Space {
            axes: axes.iter().map(|axis| usize::from(axis.0)).collect(),
            major: major.map(|axis| usize::from(axis.0)),
        };
        if let Some(found) = self.plan.spaces.iter().position(|known| *known == space) {
            return found;
        }
        self.plan.spaces.push(space);
        self.plan.spaces.len() - 1
    }

    /// The rows in which a node's value lies.
    fn space_of(&mut self, node: NodeId) -> SpaceId {
        let region = self.places.spots.get(&node).map(|spot| spot.region);
        self.space_in(self.graph().ty(node).axes, region)
    }

    fn element(&self, node: NodeId) -> Element {
        match self.graph().ty(node).element {
            ir::Element::Real => Element::Real,
            ir::Element::Id(_) => Element::Id,
        }
    }

    /// The buffer of a computed node and the first element of its value in it.
    fn memory_of(&mut self, node: NodeId) -> (BufferId, usize) {
        if let Some(&known) = self.memory.get(&node) {
            return known;
        }
        if let Some(&(join, start)) = self.places.aliases.get(&node) {
            let (buffer, offset) = self.memory_of(join);
            let life = self.residencies.life.get(&node).copied();
            if let Some((first, last)) = life {
                let own = &mut self.plan.buffers[buffer].life;
                *own = (own.0.min(first), own.1.max(last));
            }
            self.memory.insert(node, (buffer, offset + start));
            return (buffer, offset + start);
        }
        let ty = self.graph().ty(node).clone();
        let space = self.space_of(node);
        let output = self.graph().outputs.iter().find(|output| output.value.node == node);
        let role = match output {
            Some(output) => Role::Output(format!("{}:{}", kind_name(output.kind), output.name)),
            None => Role::Temporary,
        };
        let residency = self.residencies.of.get(&node).copied().unwrap_or(Residency::Scratch);
        let life = self.residencies.life.get(&node).copied().unwrap_or((self.region, self.region));
        let buffer = Buffer {
            name: self.name(node),
            element: self.element(node),
            width: ty.size(),
            shape: ty.shape,
            space,
            residency,
            role,
            life,
        };
        self.plan.buffers.push(buffer);
        let id = self.plan.buffers.len() - 1;
        self.memory.insert(node, (id, 0));
        (id, 0)
    }

    fn name(&self, node: NodeId) -> String {
        match self.listing.name(node).map(str::to_string).or_else(|| self.graph().node(node).name.clone()) {
            Some(name) => name,
            None => format!("v{}", node.index()),
        }
    }

    /// The buffer of something that the caller or the layout provides.
    fn leaf(
        &mut self,
        role: Role,
        axes: AxisSet,
        element: Element,
        shape: &[usize],
        name: String,
    ) -> BufferId {
        let space = self.space_in(axes, None);
        let key = (format!("{role:?}"), space);
        if let Some(&known) = self.leaves.get(&key) {
            return known;
        }
        self.plan.buffers.push(Buffer {
            name,
            element,
            width: shape.iter().product(),
            shape: shape.to_vec(),
            space,
            residency: Residency::All,
            role,
            life: (0, usize::MAX),
        });
        let id = self.plan.buffers.len() - 1;
        self.leaves.insert(key, id);
        id
    }

    /// The buffer that holds a node's value and the first element of it.
    fn base(&mut self, node: NodeId) -> Result<(BufferId, usize), PlanError> {
        let ty = self.graph().ty(node).clone();
        let element = self.element(node);
        let role = match self.graph().op(node).clone() {
            Op::Input(name) => Role::Input(name),
            Op::Param(name) => Role::Parameter(name),
            Op::Position(axis) => Role::Position(usize::from(axis.0)),
            Op::Length(axis) => Role::Length(usize::from(axis.0)),
            Op::Count(axes) => Role::Count(axes.with(BATCH).iter().map(|axis| usize::from(axis.0)).collect()),
            Op::Setting(name) => Role::Setting(name),
            // A setting that nobody sets holds no id.
            Op::NoId => Role::Setting("none".into()),
            _ => {
                if !self.places.spots.contains_key(&node) {
                    return Err(PlanError::Internal(format!("{:?} has no memory", self.graph().op(node))));
                }
                return Ok(self.memory_of(node));
            }
        };
        let name = match &role {
            Role::Input(name) | Role::Parameter(name) | Role::Setting(name) => name.clone(),
            other => format!("{other:?}").to_lowercase(),
        };
        Ok((self.leaf(role, ty.axes, element, &ty.shape, name), 0))
    }

    /// How a kernel over `axes` addresses a row of `node` read at `access`.
    fn row(&mut self, axes: AxisSet, node: NodeId, access: Access) -> Result<(RowRef, usize), PlanError> {
        let (buffer, offset) = self.base(node)?;
        let (from, to) = (self.space(axes), self.space_of(node));
        let row = if to == 0 {
            Row::Only
        } else if from == to && access == Access::Here {
            Row::Same
        } else {
            Row::Map(self.map(from, to, access))
        };
        Ok((RowRef { buffer, row }, offset))
    }

    fn map(&mut self, from: SpaceId, to: SpaceId, access: Access) -> usize {
        let at = match access {
            Access::Here => Vec::new(),
            Access::Delay { axis, by } => vec![(usize::from(axis.0), Position::Back(by))],
            Access::Advance { axis, by } => vec![(usize::from(axis.0), Position::Forward(by))],
            Access::First(axis) => vec![(usize::from(axis.0), Position::First)],
            Access::Last(axis) => vec![(usize::from(axis.0), Position::Last)],
        };
        let map = RowMap { from, to, at };
        if let Some(found) = self.plan.maps.iter().position(|known| *known == map) {
            return found;
        }
        self.plan.maps.push(map);
        self.plan.maps.len() - 1
    }

    fn source(&mut self, axes: AxisSet, source: &Source) -> Result<(RowRef, usize, usize), PlanError> {
        match source {
            Source::At(node, access) => {
                let (row, offset) = self.row(axes, *node, *access)?;
                Ok((row, offset, 0))
            }
            Source::Or(node, access, otherwise) => {
                let (main, offset) = self.row(axes, *node, *access)?;
                let (otherwise, other_offset, _) = self.source(axes, otherwise)?;
                match main.row {
                    Row::Map(map) if offset == other_offset => {
                        let row = Row::MapOr(map, Box::new(otherwise));
                        Ok((RowRef { buffer: main.buffer, row }, offset, 0))
                    }
                    _ => Err(PlanError::Internal("a start lies elsewhere than what it starts".into())),
                }
            }
            Source::Row { table, pitch, id } => {
                let (id, id_offset, _) = self.source(axes, id)?;
                let (buffer, offset) = self.base(*table)?;
                if id_offset != 0 {
                    return Err(PlanError::Internal("an id inside a join".into()));
                }
                Ok((RowRef { buffer, row: Row::Id(Box::new(id)) }, offset, *pitch))
            }
        }
    }

    /// The place of a view with one stride for each dimension of a phase.
    fn place(&mut self, axes: AxisSet, view: &View, strides: Vec<usize>) -> Result<Place, PlanError> {
        let (at, offset, pitch) = self.source(axes, &view.source)?;
        Ok(Place { at, pitch, offset: offset + view.offset, strides })
    }

    fn view(&self, operand: Operand) -> Result<View, PlanError> {
        view(self.graph(), self.places.stored, operand)
            .ok_or_else(|| PlanError::Internal(format!("{:?} has no window", self.graph().op(operand.node))))
    }

    /// Where a node's own value is written by a kernel over its rows.
    fn own_place(&mut self, node: NodeId, strides: Vec<usize>) -> Place {
        let (buffer, offset) = self.memory_of(node);
        let row = if self.graph().ty(node).axes == AxisSet::NONE { Row::Only } else { Row::Same };
        Place { at: RowRef { buffer, row }, pitch: 0, offset, strides }
    }

    fn equations(&self, nodes: &[NodeId]) -> Vec<String> {
        let found = self.listing.equations.iter().filter(|(node, _)| nodes.contains(node));
        found.map(|(_, equation)| equation.clone()).collect()
    }

    fn group(
        &mut self,
        spot: (usize, usize),
        group: &Group,
        kernels: &mut Vec<Kernel>,
    ) -> Result<(), PlanError> {
        let equations = self.equations(&group.nodes);
        let node = group.nodes[0];
        let work = match group.kind {
            Kind::None => return Ok(()),
            Kind::Row => {
                let plan = self.places.rows.get(&spot).cloned().unwrap_or_default();
                let kernel = self.row_kernel(group, &plan)?;
                if kernel.phases.is_empty() {
                    return Ok(());
                }
                Work::Rows(kernel)
            }
            Kind::Gemm => self.gemm(node, kernels)?,
            Kind::Outer => self.outer(node)?,
            Kind::Scatter => self.scatter(node)?,
            Kind::Combine => self.combine(node)?,
            Kind::Random => self.random(node),
        };
        kernels.push(Kernel { work, equations });
        Ok(())
    }

    fn gemm(&mut self, node: NodeId, kernels: &mut Vec<Kernel>) -> Result<Work, PlanError> {
        let graph = self.graph();
        let Op::Contract(contract) = graph.op(node) else {
            return Err(PlanError::Internal("a product that is none".into()));
        };
        let sides = gemm_sides(graph, node, contract)
            .ok_or_else(|| PlanError::Internal("a product without a matrix".into()))?;
        let operands = graph.operands(node);
        let (rows, matrix) = (operands[sides.rows], operands[sides.matrix]);
        let shape = graph.type_at(matrix).shape;
        let k = shape[sides.contracted];
        let n = shape[1 - sides.contracted];
        let axes = graph.ty(node).axes;
        let matrix_view = self.view(matrix)?;
        let packed = self.packed(&matrix_view, sides.contracted, k, n, kernels)?;
        let rows_view = self.view(rows)?;
        let mut a = self.place(axes, &rows_view, Vec::new())?;
        let mut out = self.own_place(node, Vec::new());
        let rows = if sides.single {
            a.pitch = rows_view.strides[0];
            out.pitch = n;
            GemmRows::Static(graph.type_at(rows).shape[0])
        } else {
            GemmRows::Space(self.space(axes))
        };
        Ok(Work::Gemm(Gemm { rows, a, k, n, packed, out, accumulate: false }))
    }

    /// The packed form of a matrix: made once, before the loop that uses it.
    fn packed(
        &mut self,
        matrix: &View,
        contracted: usize,
        k: usize,
        n: usize,
        kernels: &mut Vec<Kernel>,
    ) -> Result<BufferId, PlanError> {
        let key = (format!("{matrix:?}"), contracted, n);
        let flat = (0..=self.region).rev().find(|&region| self.places.stretches[region].along.is_none());
        let flat = flat.unwrap_or(0);
        if let Some(&known) = self.packs.get(&key) {
            self.plan.buffers[known].life.1 = self.plan.buffers[known].life.1.max(self.region);
            return Ok(known);
        }
        let strides = vec![matrix.strides[contracted], matrix.strides[1 - contracted]];
        let source = self.place(AxisSet::NONE, matrix, strides)?;
        let name = format!("{} packed", self.plan.buffers[source.at.buffer].name);
        self.plan.buffers.push(Buffer {
            name,
            element: Element::Real,
            width: packed_width(k, n),
            shape: vec![packed_width(k, n)],
            space: 0,
            residency: Residency::All,
            role: Role::Temporary,
            life: (flat, self.region),
        });
        let to = self.plan.buffers.len() - 1;
        self.packs.insert(key, to);
        let kernel = Kernel { work: Work::Pack(Pack { source, k, n, to }), equations: Vec::new() };
        if flat == self.region {
            kernels.push(kernel);
        } else {
            self.prologue.entry(flat).or_default().push(kernel);
        }
        Ok(to)
    }

    /// The axes over which a product or reduction over rows runs.
    fn rows_over(&self, node: NodeId) -> AxisSet {
        let operands = self.graph().operands(node);
        operands.iter().fold(AxisSet::NONE, |axes, &operand| axes.union(self.graph().type_at(operand).axes))
    }

    fn outer(&mut self, node: NodeId) -> Result<Work, PlanError> {
        let graph = self.graph();
        let operands = graph.operands(node);
        let axes = self.rows_over(node);
        let [m, n] = graph.ty(node).shape[..] else {
            return Err(PlanError::Internal("an outer product that is no matrix".into()));
        };
        let a = self.view(operands[0]).and_then(|view| self.place(axes, &view, Vec::new()))?;
        let b = self.view(operands[1]).and_then(|view| self.place(axes, &view, Vec::new()))?;
        let mut out = self.own_place(node, Vec::new());
        out.pitch = n;
        Ok(Work::Outer(Outer { space: self.space(axes), a, m, b, n, out, accumulate: false }))
    }

    fn scatter(&mut self, node: NodeId) -> Result<Work, PlanError> {
        let graph = self.graph();
        let operands = graph.operands(node);
        let axes = self.rows_over(node);
        let [m, n] = graph.ty(node).shape[..] else {
            return Err(PlanError::Internal("an outer product that is no matrix".into()));
        };
        let id = graph.operands(operands[0].node)[0];
        let id = self.view(id).and_then(|view| self.place(axes, &view, Vec::new()))?;
        let value = self.view(operands[1]).and_then(|view| self.place(axes, &view, Vec::new()))?;
        let mut out = self.own_place(node, Vec::new());
        out.pitch = n;
        Ok(Work::Scatter(Scatter { space: self.space(axes), id, value, m, n, out, accumulate: false }))
    }

    fn combine(&mut self, node: NodeId) -> Result<Work, PlanError> {
        let graph = self.graph();
        let operand = graph.operands(node)[0];
        let Op::Reduce(reduction, Along::Axes(_)) = graph.op(node) else {
            return Err(PlanError::Internal("a reduction that is none".into()));
        };
        let from = graph.type_at(operand).axes;
        let to = graph.ty(node).axes;
        let value = self.view(operand).and_then(|view| self.place(from, &view, vec![1]))?;
        let out = self.own_place(node, vec![1]);
        let (from, to) = (self.space(from), self.space(to));
        let list = (to != 0).then(|| {
            let list = RowList { from, to };
            self.plan.lists.iter().position(|known| *known == list).unwrap_or_else(|| {
                self.plan.lists.push(list);
                self.plan.lists.len() - 1
            })
        });
        let how = if *reduction == Reduction::Max { Combining::Max } else { Combining::Sum };
        Ok(Work::Combine(Combine { from, to, list, how, width: graph.ty(node).size(), value, out }))
    }

    fn random(&mut self, node: NodeId) -> Work {
        let ty = self.graph().ty(node).clone();
        let space = self.space(ty.axes);
        let key = self.leaf(Role::RowKey, ty.axes, Element::Id, &[2], "row key".into());
        let key_space = self.plan.buffers[key].space;
        let seed =
            self.leaf(Role::Setting("random".into()), AxisSet::NONE, Element::Id, &[3], "random".into());
        let row = match () {
            () if space == 0 => Row::Only,
            () if space == key_space => Row::Same,
            () => Row::Map(self.map(space, key_space, Access::Here)),
        };
        let place = |buffer: BufferId, row: Row| Place {
            at: RowRef { buffer, row },
            pitch: 0,
            offset: 0,
            strides: Vec::new(),
        };
        let stream = match self.graph().op(node) {
            Op::Random(stream) => *stream,
            _ => 0,
        };
        Work::Random(Random {
            space,
            stream,
            key: place(key, row),
            seed: place(seed, Row::Only),
            out: self.own_place(node, Vec::new()),
            width: ty.size(),
        })
    }

    fn row_kernel(&mut self, group: &Group, plan: &RowPlan) -> Result<RowKernel, PlanError> {
        let mut phases = Vec::new();
        for phase in &plan.phases {
            let mut writer = Writer {
                axes: group.axes,
                phase,
                body: Vec::new(),
                values: HashMap::new(),
                loads: Vec::new(),
                constants: HashMap::new(),
                members: phase
                    .items
                    .iter()
                    .filter_map(|item| match item {
                        Item::Node(node) => Some(*node),
                        Item::Part(..) => None,
                    })
                    .collect(),
            };
            for item in &phase.items {
                match *item {
                    Item::Node(node) => self.write_node(&mut writer, node)?,
                    Item::Part(join, index) => self.write_part(&mut writer, join, index)?,
                }
            }
            let body = contract_additions(writer.body);
            phases.push(Phase { dims: phase.dims.clone(), reduced: phase.reduced, body });
        }
        Ok(RowKernel { space: self.space(group.axes), phases })
    }
}

/// The instructions of one phase as they are written.
struct Writer<'p> {
    axes: AxisSet,
    phase: &'p PhasePlan,
    body: Vec<Inst>,
    /// Values in registers.
    values: HashMap<NodeId, Val>,
    loads: Vec<(Place, Val)>,
    constants: HashMap<u64, Val>,
    members: HashSet<NodeId>,
}

impl Writer<'_> {
    fn push(&mut self, inst: Inst) -> Val {
        self.body.push(inst);
        self.body.len() - 1
    }

    fn constant(&mut self, value: f64) -> Val {
        if let Some(&known) = self.constants.get(&value.to_bits()) {
            return known;
        }
        let made = self.push(Inst::Const(value));
        self.constants.insert(value.to_bits(), made);
        made
    }

    fn load(&mut self, place: Place) -> Val {
        if let Some((_, known)) = self.loads.iter().find(|(other, _)| *other == place) {
            return *known;
        }
        let made = self.push(Inst::Load(place.clone()));
        self.loads.push((place, made));
        made
    }

    /// Strides along the phase's dimensions of a value with these strides, whose dimensions are the
    /// phase's dimensions `dims`.
    fn spread(&self, strides: &[usize], dims: &[usize]) -> Vec<usize> {
        let mut spread = vec![0; self.phase.dims.len()];
        for (&stride, &dim) in strides.iter().zip(dims) {
            spread[dim] = stride;
        }
        spread
    }
}

impl Assembler<'_> {
    /// The value of an operand at each point; `dims` are the phase's dimensions it runs along.
    fn read(&mut self, writer: &mut Writer, operand: Operand, dims: &[usize]) -> Result<Val, PlanError> {
        let graph = self.graph();
        let seen = self.view(operand)?;
        if let Source::At(node, access) = &seen.source {
            if let Op::Constant(value) = graph.op(*node) {
                return Ok(writer.constant(*value));
            }
            let identity = dims.iter().copied().eq(0..writer.phase.dims.len());
            let shape = &graph.ty(*node).shape;
            let whole = seen.offset == 0 && seen.strides == row_major(shape) && *shape == writer.phase.dims;
            let own_row = *access == Access::Here && graph.ty(*node).axes == writer.axes;
            if identity
                && whole
                && own_row
                && writer.members.contains(node)
                && let Some(&value) = writer.values.get(node)
            {
                return Ok(value);
            }
        }
        let strides = writer.spread(&seen.strides, dims);
        let place = self.place(writer.axes, &seen, strides)?;
        Ok(writer.load(place))
    }

    /// An elementwise operand: along all dimensions, or a scalar.
    fn read_elementwise(&mut self, writer: &mut Writer, operand: Operand) -> Result<Val, PlanError> {
        let rank = self.graph().type_at(operand).shape.len();
        let dims: Vec<usize> = if rank == 0 { Vec::new() } else { (0..rank).collect() };
        self.read(writer, operand, &dims)
    }

    fn id_place(&mut self, writer: &Writer, operand: Operand) -> Result<Place, PlanError> {
        let seen = self.view(operand)?;
        self.place(writer.axes, &seen, vec![0; writer.phase.dims.len()])
    }

    fn keep(&mut self, writer: &mut Writer, node: NodeId, value: Val) {
        let aliased = self.places.aliases.contains_key(&node);
        if aliased || self.residencies.of.contains_key(&node) {
            let strides = row_major(&self.graph().ty(node).shape);
            let dims: Vec<usize> = (0..strides.len()).collect();
            let strides = writer.spread(&strides, &dims);
            let place = self.own_place(node, strides);
            writer.push(Inst::Store(place, value));
        }
        writer.values.insert(node, value);
    }

    fn write_part(&mut self, writer: &mut Writer, join: NodeId, index: usize) -> Result<(), PlanError> {
        let graph = self.graph();
        let Op::Concat { dim } = *graph.op(join) else { return Ok(()) };
        let operands = graph.operands(join);
        let start: usize = operands[..index].iter().map(|&part| graph.type_at(part).shape[dim]).sum();
        let value = self.read_elementwise(writer, operands[index])?;
        let strides = row_major(&graph.ty(join).shape);
        let dims: Vec<usize> = (0..strides.len()).collect();
        let mut place = self.own_place(join, writer.spread(&strides, &dims));
        place.offset += start * strides[dim];
        writer.push(Inst::Store(place, value));
        Ok(())
    }

    fn write_node(&mut self, writer: &mut Writer, node: NodeId) -> Result<(), PlanError> {
        let graph = self.graph();
        let op = graph.op(node).clone();
        let operands = graph.operands(node);
        let is_id = self.element(node) == Element::Id;
        if is_view_op(&op) {
            let seen = definition(graph, self.places.stored, node)
                .ok_or_else(|| PlanError::Internal(format!("{op:?} has no definition")))?;
            return self.write_copy(writer, node, &seen, is_id);
        }
        let value = match op {
            Op::Constant(value) => writer.constant(value),
            Op::Unary(unary) => {
                let x = self.read_elementwise(writer, operands[0])?;
                self.write_unary(writer, unary, x)
            }
            Op::Binary(binary) => return self.write_binary(writer, node, binary, operands[0], operands[1]),
            Op::Select if is_id => {
                let condition = self.read_elementwise(writer, operands[0])?;
                let a = self.id_place(writer, operands[1])?;
                let b = self.id_place(writer, operands[2])?;
                let to = self.own_place(node, vec![0; writer.phase.dims.len()]);
                writer.push(Inst::SelectId(condition, a, b, to));
                return Ok(());
            }
            Op::Select => {
                let condition = self.read_elementwise(writer, operands[0])?;
                let a = self.read_elementwise(writer, operands[1])?;
                let b = self.read_elementwise(writer, operands[2])?;
                writer.push(Inst::Select(condition, a, b))
            }
            Op::OneHot(_) => {
                let place = self.id_place(writer, operands[0])?;
                writer.push(Inst::IdIs(place, 0))
            }
            Op::ArgMax => {
                let x = self.read_elementwise(writer, operands[0])?;
                let place = self.own_place(node, vec![0; writer.phase.dims.len()]);
                writer.push(Inst::ArgMax(x, place));
                return Ok(());
            }
            Op::Reduce(reduction, Along::Last) => {
                let x = self.read_elementwise(writer, operands[0])?;
                let how = if reduction == Reduction::Max { Combining::Max } else { Combining::Sum };
                self.reduce(writer, node, how, x);
                return Ok(());
            }
            Op::Contract(contract) => {
                let labels: Vec<u8> =
                    contract.out.iter().copied().chain(contracted_labels(&contract)).collect();
                let dims = |own: &[u8]| -> Vec<usize> {
                    own.iter().filter_map(|label| labels.iter().position(|l| l == label)).collect()
                };
                let a = self.read(writer, operands[0], &dims(&contract.left))?;
                let b = self.read(writer, operands[1], &dims(&contract.right))?;
                let product = writer.push(Inst::Binary(super::BinaryInst::Multiply, a, b));
                if labels.len() > contract.out.len() {
                    self.reduce(writer, node, Combining::Sum, product);
                    return Ok(());
                }
                product
            }
            other => return Err(PlanError::Internal(format!("{other:?} is no work of a row"))),
        };
        self.keep(writer, node, value);
        Ok(())
    }

    fn reduce(&mut self, writer: &mut Writer, node: NodeId, how: Combining, value: Val) {
        let strides = row_major(&self.graph().ty(node).shape);
        let dims: Vec<usize> = (0..strides.len()).collect();
        let place = self.own_place(node, writer.spread(&strides, &dims));
        writer.push(Inst::Reduce(how, value, place));
    }

    fn write_copy(
        &mut self,
        writer: &mut Writer,
        node: NodeId,
        seen: &View,
        is_id: bool,
    ) -> Result<(), PlanError> {
        let rank = self.graph().ty(node).shape.len();
        let dims: Vec<usize> = (0..rank).collect();
        if let Source::At(source, _) = &seen.source
            && let Op::Constant(value) = self.graph().op(*source)
        {
            let value = writer.constant(*value);
            self.keep(writer, node, value);
            return Ok(());
        }
        let strides = writer.spread(&seen.strides, &dims);
        let from = self.place(writer.axes, seen, strides)?;
        if is_id {
            let to = self.own_place(node, vec![0; writer.phase.dims.len()]);
            writer.push(Inst::CopyId(from, to));
            return Ok(());
        }
        // What was computed in this very phase is still in a register.
        let own = match &seen.source {
            Source::At(source, Access::Here) if from.at.row == Row::Same => {
                writer.values.get(source).copied().filter(|_| {
                    seen.offset == 0
                        && seen.strides == row_major(&self.graph().ty(*source).shape)
                        && self.graph().ty(*source).shape == writer.phase.dims
                })
            }
            _ => None,
        };
        let value = match own {
            Some(value) => value,
            None => writer.load(from),
        };
        self.keep(writer, node, value);
        Ok(())
    }

    fn write_unary(&mut self, writer: &mut Writer, unary: Unary, x: Val) -> Val {
        use super::UnaryInst as U;
        let op = match unary {
            Unary::Negate => U::Negate,
            Unary::Exp => U::Exp,
            Unary::Log => U::Log,
            Unary::Sqrt => U::Sqrt,
            Unary::Tanh => U::Tanh,
            Unary::Sigmoid => U::Sigmoid,
            Unary::Relu => {
                let zero = writer.constant(0.0);
                return writer.push(Inst::Binary(super::BinaryInst::Max, x, zero));
            }
            Unary::Softplus => U::Softplus,
            Unary::Abs => U::Abs,
            Unary::Sign => U::Sign,
            Unary::Floor => U::Floor,
            Unary::Sin => U::Sin,
            Unary::Cos => U::Cos,
        };
        writer.push(Inst::Unary(op, x))
    }

    fn write_binary(
        &mut self,
        writer: &mut Writer,
        node: NodeId,
        binary: Binary,
        a: Operand,
        b: Operand,
    ) -> Result<(), PlanError> {
        use super::BinaryInst as B;
        let graph = self.graph();
        let ids = !graph.is_real(a.node);
        let (x, y) = if ids {
            let (left, right) = (self.id_place(writer, a)?, self.id_place(writer, b)?);
            if matches!(binary, Binary::Equal | Binary::NotEqual) {
                let mut same = writer.push(Inst::SameId(left, right));
                if binary == Binary::NotEqual {
                    let one = writer.constant(1.0);
                    same = writer.push(Inst::Binary(B::Subtract, one, same));
                }
                self.keep(writer, node, same);
                return Ok(());
            }
            (writer.push(Inst::IdValue(left)), writer.push(Inst::IdValue(right)))
        } else {
            (self.read_elementwise(writer, a)?, self.read_elementwise(writer, b)?)
        };
        let op = match binary {
            Binary::Add => B::Add,
            Binary::Subtract => B::Subtract,
            Binary::Multiply => B::Multiply,
            Binary::Divide => B::Divide,
            Binary::Min => B::Min,
            Binary::Max => B::Max,
            Binary::Equal => B::Equal,
            Binary::NotEqual => B::NotEqual,
            Binary::Less => B::Less,
            Binary::LessEqual => B::LessEqual,
            Binary::Greater => B::Greater,
            Binary::GreaterEqual => B::GreaterEqual,
            Binary::Power => {
                let exponent = match graph.op(b.node) {
                    Op::Constant(value) => Some(*value),
                    _ => None,
                };
                let value = power(writer, x, y, exponent);
                self.keep(writer, node, value);
                return Ok(());
            }
        };
        let value = writer.push(Inst::Binary(op, x, y));
        self.keep(writer, node, value);
        Ok(())
    }
}

/// `x ^ y`: by multiplication for small whole exponents, by exp and log else (NaN for negative x).
fn power(writer: &mut Writer, x: Val, y: Val, exponent: Option<f64>) -> Val {
    use super::{BinaryInst as B, UnaryInst as U};
    let whole = exponent.filter(|value| value.fract() == 0.0 && value.abs() <= 64.0);
    if exponent == Some(0.5) {
        return writer.push(Inst::Unary(U::Sqrt, x));
    }
    let Some(whole) = whole else {
        let log = writer.push(Inst::Unary(U::Log, x));
        let product = writer.push(Inst::Binary(B::Multiply, y, log));
        return writer.push(Inst::Unary(U::Exp, product));
    };
    let mut left = whole.abs() as u32;
    let mut square = x;
    let mut result: Option<Val> = None;
    while left > 0 {
        if left & 1 == 1 {
            result = Some(match result {
                None => square,
                Some(result) => writer.push(Inst::Binary(B::Multiply, result, square)),
            });
        }
        left >>= 1;
        if left > 0 {
            square = writer.push(Inst::Binary(B::Multiply, square, square));
        }
    }
    let one = writer.constant(1.0);
    match (result, whole < 0.0) {
        (None, _) => one,
        (Some(result), false) => result,
        (Some(result), true) => writer.push(Inst::Binary(B::Divide, one, result)),
    }
}

/// `a * b + c` in one instruction where the product is used nowhere else.
fn contract_additions(mut body: Vec<Inst>) -> Vec<Inst> {
    use super::BinaryInst as B;
    let mut uses = vec![0usize; body.len()];
    for inst in &body {
        for value in inst.operands() {
            uses[value] += 1;
        }
    }
    for at in 0..body.len() {
        let Inst::Binary(B::Add, a, b) = body[at] else { continue };
        for (product, other) in [(a, b), (b, a)] {
            if let Inst::Binary(B::Multiply, x, y) = body[product]
                && uses[product] == 1
            {
                body[at] = Inst::Fma(x, y, other);
                break;
            }
        }
    }
    body
}

/// The word before the colon in an output's name.
pub(super) fn kind_name(kind: ir::OutputKind) -> &'static str {
    match kind {
        ir::OutputKind::Value => "value",
        ir::OutputKind::Loss => "loss",
        ir::OutputKind::Metric => "metric",
        ir::OutputKind::Gradient => "gradient",
        ir::OutputKind::Carry => "carry",
    }
}

/// Where work is done, by node.
pub(super) fn spots(groups: &[Vec<Group>]) -> HashMap<NodeId, Spot> {
    let mut found = HashMap::new();
    for (region, its) in groups.iter().enumerate() {
        for (group, members) in its.iter().enumerate() {
            found.extend(members.nodes.iter().map(|&node| (node, Spot { region, group })));
        }
    }
    found
}
