//! From groups to kernels: buffers, maps, and the instructions of every phase.

mod instructions;

use std::collections::{BTreeMap, HashMap};

use self::instructions::{Writer, contract_additions};
use super::PlanError;
use super::groups::Group;
use super::joins::pieces;
use super::kernel::{
    AxisKind, Buffer, BufferId, Combine, Combining, Element, Gemm, GemmRows, Kernel, Outer, Pack, Phase,
    Place, Plan, Position, Random, Region, Residency, Role, Row, RowKernel, RowList, RowMap, RowRef, Scatter,
    Space, SpaceId, Steps, Work, packed_width,
};
use super::memory::{Places, Residencies, Spot};
use super::phases::{Item, RowPlan};
use super::regions::{Kind, gemm_sides, major};
use super::views::{Source, View, view};
use crate::ir::{
    self, Access, Along, AxisId, AxisSet, BATCH, Graph, Listing, NodeId, Op, Operand, Reduction,
};

/// Makes the plan out of everything that has been decided.
pub(super) struct Assembler<'a> {
    /// The edition that is being written.
    pub places: Places<'a>,
    steps: Steps,
    editions: Vec<(Steps, Places<'a>)>,
    pub residencies: Residencies,
    pub majors: BTreeMap<AxisSet, AxisId>,
    pub listing: Listing,
    pub plan: Plan,
    memory: HashMap<NodeId, (BufferId, usize)>,
    leaves: HashMap<(Role2, SpaceId), BufferId>,
    packs: HashMap<(View2, usize, [usize; 2]), BufferId>,
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
        editions: Vec<(Steps, Places<'a>)>,
        residencies: Residencies,
        majors: BTreeMap<AxisSet, AxisId>,
        listing: Listing,
        name: &str,
    ) -> Assembler<'a> {
        let (steps, places) = editions[0];
        let plan = Plan {
            name: name.to_string(),
            axes: places.graph.axes.iter().map(|axis| axis.name.clone()).collect(),
            kinds: places.graph.axes.iter().map(|axis| kind_of(axis.kind)).collect(),
            spaces: vec![Space { axes: Vec::new(), major: None }],
            ..Plan::default()
        };
        Assembler {
            places,
            steps,
            editions,
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
        let regions = self.places.groups.len();
        for region in 0..regions {
            self.region = region;
            let mut kernels = Vec::new();
            for at in 0..self.places.groups[region].len() {
                // What is done above the leaves first: it stands behind the products that it reads.
                for number in (0..self.editions.len()).rev() {
                    (self.steps, self.places) = self.editions[number];
                    let group = &self.places.groups[region][at];
                    if !group.nodes.is_empty() {
                        self.group((region, at), group, &mut kernels)?;
                    }
                }
            }
            (self.steps, self.places) = self.editions[0];
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
        let major = major(axes, along, &self.majors);
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
        let axis = |axis: AxisId| usize::from(axis.0);
        let at = match access {
            Access::Here => Vec::new(),
            Access::Delay { axis: along, by } => vec![(axis(along), Position::Back(by))],
            Access::Advance { axis: along, by } => vec![(axis(along), Position::Forward(by))],
            Access::First(along) => vec![(axis(along), Position::First)],
            Access::Last(along) => vec![(axis(along), Position::Last)],
            Access::Nth { tree, number } => vec![(axis(tree), Position::Nth(number))],
            Access::NthOf { tree, number } => vec![(axis(tree), Position::NthOf(number))],
            Access::Parent(tree) => vec![(axis(tree), Position::Parent)],
            Access::Child { tree, .. } => vec![(axis(tree), Position::Child)],
            Access::Edge { tree, children } => {
                vec![(axis(tree), Position::Edge), (axis(children), Position::Edge)]
            }
            Access::AtNode { leaves, .. } => vec![(axis(leaves), Position::LeafOfNode)],
            Access::AtLeaf { tree, .. } => vec![(axis(tree), Position::NodeOfLeaf)],
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
                let (otherwise, other_offset, pitch) = self.source(axes, otherwise)?;
                match main.row {
                    Row::Map(map) if offset == other_offset => {
                        let row = Row::MapOr(map, Box::new(otherwise));
                        Ok((RowRef { buffer: main.buffer, row }, offset, pitch))
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
        kernels.push(Kernel { work, equations, constant: false, steps: self.steps });
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
        let packed = self.packed(matrix, sides.contracted, [k, n], kernels)?;
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
        matrix: Operand,
        contracted: usize,
        whole: [usize; 2],
        kernels: &mut Vec<Kernel>,
    ) -> Result<BufferId, PlanError> {
        let graph = self.graph();
        let pieces = pieces(graph, self.places.stored, matrix);
        let views = pieces.iter().map(|piece| self.view(piece.operand)).collect::<Result<Vec<_>, _>>()?;
        // A matrix and its first columns begin at the same place: both sizes tell them apart.
        let key = (format!("{views:?}"), contracted, whole);
        let flat = (0..=self.region).rev().find(|&region| self.places.stretches[region].along.is_none());
        let flat = flat.unwrap_or(0);
        if let Some(&known) = self.packs.get(&key) {
            self.plan.buffers[known].life.1 = self.plan.buffers[known].life.1.max(self.region);
            return Ok(known);
        }
        let width = packed_width(whole[0], whole[1]);
        self.plan.buffers.push(Buffer {
            name: format!("{} packed", self.name(matrix.node)),
            element: Element::Real,
            width,
            shape: vec![width],
            space: 0,
            residency: Residency::All,
            role: Role::Temporary,
            life: (flat, self.region),
        });
        let to = self.plan.buffers.len() - 1;
        self.packs.insert(key, to);
        let free = 1 - contracted;
        for (piece, view) in pieces.iter().zip(&views) {
            let shape = graph.type_at(piece.operand).shape;
            let strides = vec![view.strides[contracted], view.strides[free]];
            let source = self.place(AxisSet::NONE, view, strides)?;
            let at = [piece.at[contracted], piece.at[free]];
            let pack = Pack { source, k: shape[contracted], n: shape[free], at, whole, to };
            let kernel =
                Kernel { work: Work::Pack(pack), equations: Vec::new(), constant: false, steps: Steps::All };
            if flat == self.region {
                kernels.push(kernel);
            } else {
                self.prologue.entry(flat).or_default().push(kernel);
            }
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
        // As part of a join it lies in the join's rows.
        out.pitch = self.places.aliases.get(&node).map_or(n, |(join, _)| graph.ty(*join).shape[1]);
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

fn kind_of(kind: ir::AxisKind) -> AxisKind {
    match kind {
        ir::AxisKind::Batch | ir::AxisKind::Time => AxisKind::Sequence,
        ir::AxisKind::Tree => AxisKind::Tree,
        ir::AxisKind::Children(tree) => AxisKind::Children(usize::from(tree.0)),
        ir::AxisKind::Leaves(tree) => AxisKind::Leaves(usize::from(tree.0)),
    }
}

/// The word before the colon in an output's name.
pub(super) fn kind_name(kind: ir::OutputKind) -> &'static str {
    match kind {
        ir::OutputKind::Value => "value",
        ir::OutputKind::Loss => "loss",
        ir::OutputKind::Metric => "metric",
        ir::OutputKind::Gradient => "gradient",
        ir::OutputKind::Carry => "carry",
        ir::OutputKind::Update => "update",
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
