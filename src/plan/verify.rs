//! What must hold of a plan before a backend may read it: generated code checks nothing at run time.
//!
//! `load x[map 3]` in a kernel over `[batch]` where map 3 leads from `[batch, t]` is refused here, as is a
//! place that reaches behind its row, a buffer touched outside its life, or a store to an input. Whether
//! a plan computes what the program means is not this file's business.

use super::coverage::uncovered;
use super::kernel::*;
use super::places::{Access, PlaceUse, places};

/// Everything that is wrong with a plan, in the order of its kernels; empty if nothing is.
pub fn verify(plan: &Plan) -> Vec<String> {
    let mut checker = Checker { plan, problems: Vec::new() };
    checker.declarations();
    if !checker.problems.is_empty() {
        // What follows looks things up by these numbers.
        return checker.problems;
    }
    let mut number = 0;
    for (region, contents) in plan.regions.iter().enumerate() {
        let (kernels, axis) = match contents {
            Region::Flat(kernels) => (kernels, None),
            Region::Loop { axis, kernels, .. } => (kernels, Some(*axis)),
        };
        if axis.is_some_and(|axis| axis >= plan.axes.len()) {
            checker.problem(format!("region {region} runs along an axis that does not exist"));
        }
        for kernel in kernels {
            let place = Context { number, region, axis };
            checker.kernel(&place, &kernel.work);
            number += 1;
        }
    }
    if checker.problems.is_empty() {
        // This counts elements, which the checks above have found to exist.
        checker.problems = uncovered(plan);
    }
    checker.problems
}

/// Which kernel is looked at.
struct Context {
    number: usize,
    region: usize,
    axis: Option<usize>,
}

struct Checker<'p> {
    plan: &'p Plan,
    problems: Vec<String>,
}

impl Checker<'_> {
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn declarations(&mut self) {
        let plan = self.plan;
        let spaces = plan.spaces.len();
        if plan.spaces.first().is_none_or(|space| !space.axes.is_empty()) {
            self.problem("space 0 is not the single row".into());
        }
        for (number, map) in plan.maps.iter().enumerate() {
            if map.from >= spaces || map.to >= spaces {
                self.problem(format!("map {number} has no such space"));
            }
        }
        for (number, list) in plan.lists.iter().enumerate() {
            if list.from >= spaces || list.to >= spaces {
                self.problem(format!("list {number} has no such space"));
            }
        }
        for buffer in &plan.buffers {
            if buffer.space >= spaces {
                self.problem(format!("`{}` lies in no space", buffer.name));
            } else if matches!(buffer.role, Role::Parameter(_)) && !self.single(buffer.space) {
                self.problem(format!("the parameter `{}` is not a single row", buffer.name));
            }
        }
    }

    fn single(&self, space: SpaceId) -> bool {
        self.plan.spaces[space].axes.is_empty()
    }

    fn kernel(&mut self, context: &Context, work: &Work) {
        let before = self.problems.len();
        self.numbers(work);
        if self.problems.len() == before {
            for used in places(work) {
                self.place(context, &used);
            }
            match work {
                Work::Rows(kernel) => kernel.phases.iter().for_each(|phase| self.phase(phase)),
                Work::Gemm(gemm) => self.packed(context, gemm.packed, gemm.k, gemm.n),
                Work::Pack(pack) => {
                    self.packed(context, pack.to, pack.whole[0], pack.whole[1]);
                    if pack.at[0] + pack.k > pack.whole[0] || pack.at[1] + pack.n > pack.whole[1] {
                        self.problem("a part to pack reaches beyond the whole".into());
                    }
                    if pack.source.strides.len() != 2 {
                        self.problem("a matrix to pack has two strides".into());
                    }
                }
                Work::Combine(combine) => self.combine(combine),
                Work::Outer(_) | Work::Scatter(_) | Work::Random(_) => {}
            }
        }
        for problem in &mut self.problems[before..] {
            problem.insert_str(0, &format!("kernel {}: ", context.number));
        }
    }

    /// Spaces, maps, lists and buffers that a kernel names exist.
    fn numbers(&mut self, work: &Work) {
        let plan = self.plan;
        let spaces: Vec<SpaceId> = match work {
            Work::Combine(combine) => vec![combine.from, combine.to],
            _ => places(work).iter().filter_map(|used| used.space).collect(),
        };
        if spaces.iter().any(|&space| space >= plan.spaces.len()) {
            self.problem("it runs over a space that does not exist".into());
        }
        let listed = match work {
            Work::Combine(combine) => combine.list,
            _ => None,
        };
        if listed.is_some_and(|list| list >= plan.lists.len()) {
            self.problem("it reads a list that does not exist".into());
        }
        let packed = match work {
            Work::Gemm(gemm) => Some(gemm.packed),
            Work::Pack(pack) => Some(pack.to),
            _ => None,
        };
        if packed.is_some_and(|buffer| buffer >= plan.buffers.len()) {
            self.problem("its packed matrix does not exist".into());
        }
        for used in places(work) {
            for (reference, _) in super::places::references(&used.place.at) {
                if reference.buffer >= plan.buffers.len() {
                    self.problem(format!("there is no buffer {}", reference.buffer));
                }
                let map = match &reference.row {
                    Row::Map(map) | Row::MapOr(map, _) => Some(*map),
                    Row::Same | Row::Only | Row::Id(_) => None,
                };
                if map.is_some_and(|map| map >= plan.maps.len()) {
                    self.problem("it reads through a map that does not exist".into());
                }
            }
        }
    }

    fn place(&mut self, context: &Context, used: &PlaceUse) {
        let buffer = &self.plan.buffers[used.place.at.buffer];
        let name = &buffer.name;
        if used.access == Access::Write {
            if !matches!(buffer.role, Role::Temporary | Role::Output(_)) {
                self.problem(format!("it writes to `{name}`, which the caller provides"));
            }
            if !matches!(used.place.at.row, Row::Same | Row::Only) {
                self.problem(format!("it writes to a row of `{name}` that may not exist"));
            }
        }
        self.row(context, &used.place.at, used.space, used.element, used.span);
    }

    /// A row exists in its buffer, holds what is asked for, and is long enough.
    fn row(&mut self, context: &Context, at: &RowRef, space: Option<SpaceId>, element: Element, span: usize) {
        let plan = self.plan;
        let buffer = &plan.buffers[at.buffer];
        let name = &buffer.name;
        let single = self.single(buffer.space);
        if buffer.element != element {
            self.problem(format!("`{name}` holds {:?} where {element:?} is needed", buffer.element));
        }
        if span > buffer.width {
            self.problem(format!(
                "it reaches {span} elements into `{name}`, whose rows have {}",
                buffer.width
            ));
        }
        self.life(context, buffer);
        match &at.row {
            Row::Only if single => {}
            Row::Only => self.problem(format!("`{name}` has more than one row")),
            Row::Same if single || buffer.residency == Residency::Scratch || space == Some(buffer.space) => {}
            Row::Same => self.problem(format!("`{name}` does not lie in the kernel's space")),
            Row::Map(map) => self.map(*map, space, buffer),
            Row::MapOr(map, other) => {
                self.map(*map, space, buffer);
                self.row(context, other, space, element, span);
            }
            Row::Id(inner) => {
                if !single {
                    self.problem(format!("`{name}` is not a matrix in a single row"));
                }
                self.row(context, inner, space, Element::Id, 1);
            }
        }
    }

    fn map(&mut self, map: MapId, space: Option<SpaceId>, buffer: &Buffer) {
        let RowMap { from, to, .. } = self.plan.maps[map];
        if Some(from) != space || to != buffer.space || buffer.residency == Residency::Scratch {
            self.problem(format!(
                "map {map} does not lead from the kernel's space to that of `{}`",
                buffer.name
            ));
        }
    }

    fn life(&mut self, context: &Context, buffer: &Buffer) {
        let own = matches!(buffer.role, Role::Temporary | Role::Output(_));
        let (first, last) = buffer.life;
        let region = context.region;
        // An output keeps its place after its last use.
        let over = region > last && buffer.role == Role::Temporary;
        if own && (region < first || over) {
            self.problem(format!(
                "`{}` lives in regions {first}..{last} and is touched in {region}",
                buffer.name
            ));
        }
        let major = self.plan.spaces[buffer.space].major;
        if buffer.residency == Residency::Step && (major.is_none() || major != context.axis) {
            self.problem(format!("`{}` holds one step and is touched outside its loop", buffer.name));
        }
    }

    fn packed(&mut self, context: &Context, id: BufferId, k: usize, n: usize) {
        let buffer = &self.plan.buffers[id];
        if buffer.width < packed_width(k, n) || buffer.element != Element::Real || !self.single(buffer.space)
        {
            self.problem(format!("`{}` does not hold a packed {k} x {n} matrix", buffer.name));
        }
        self.life(context, buffer);
    }

    fn combine(&mut self, combine: &Combine) {
        match combine.list.map(|list| &self.plan.lists[list]) {
            Some(list) if (list.from, list.to) != (combine.from, combine.to) => {
                self.problem("its list leads between other spaces".into());
            }
            None if !self.single(combine.to) => {
                self.problem("without a list, all rows go into the single row".into());
            }
            _ => {}
        }
        if combine.value.strides.len() != 1 || combine.out.strides != [1] {
            self.problem("a combination's places have one stride, and its result is dense".into());
        }
    }

    /// Dimensions fit, and every operand is a value made before.
    fn phase(&mut self, phase: &Phase) {
        if phase.reduced > phase.dims.len() {
            self.problem("it reduces more dimensions than it has".into());
            return;
        }
        let one = RowKernel { space: 0, phases: vec![phase.clone()] };
        for used in places(&Work::Rows(one)) {
            if used.place.strides.len() != phase.dims.len() {
                self.problem("a place has not one stride for each dimension".into());
            }
        }
        let is_value = |inst: Option<&Inst>| {
            let nothing = |inst: &Inst| {
                matches!(
                    inst,
                    Inst::Store(..)
                        | Inst::CopyId(..)
                        | Inst::SelectId(..)
                        | Inst::Reduce(..)
                        | Inst::ArgMax(..)
                )
            };
            inst.is_some_and(|inst| !nothing(inst))
        };
        for (number, inst) in phase.body.iter().enumerate() {
            if let Inst::Index(dim) | Inst::IdIs(_, dim) = inst
                && *dim >= phase.dims.len()
            {
                self.problem(format!("instruction {number} asks for the index on no dimension"));
            }
            let made = |operand: &Val| *operand < number && is_value(phase.body.get(*operand));
            if !inst.operands().iter().all(made) {
                self.problem(format!("instruction {number} uses what is no value before it"));
            }
            if matches!(inst, Inst::ArgMax(..)) && phase.reduced != 1 {
                self.problem("an index of the largest is over exactly the last dimension".into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `out[batch] = x[last] + 1` over three columns.
    fn plan() -> Plan {
        let buffer = |name: &str, space, role| Buffer {
            name: name.into(),
            element: Element::Real,
            width: 3,
            shape: vec![3],
            space,
            residency: Residency::All,
            role,
            life: (0, 0),
        };
        let place = |buffer, row| Place { at: RowRef { buffer, row }, pitch: 0, offset: 0, strides: vec![1] };
        let body = vec![
            Inst::Load(place(0, Row::Map(0))),
            Inst::Const(1.0),
            Inst::Binary(BinaryInst::Add, 0, 1),
            Inst::Store(place(1, Row::Same), 2),
        ];
        let phase = Phase { dims: vec![3], reduced: 0, body };
        Plan {
            axes: vec!["batch".into(), "t".into()],
            spaces: vec![
                Space { axes: vec![], major: None },
                Space { axes: vec![0], major: None },
                Space { axes: vec![0, 1], major: Some(1) },
            ],
            maps: vec![RowMap { from: 1, to: 2, at: vec![(1, Position::Last)] }],
            buffers: vec![
                buffer("x", 2, Role::Input("x".into())),
                buffer("out", 1, Role::Output("out".into())),
            ],
            regions: vec![Region::Flat(vec![Kernel {
                work: Work::Rows(RowKernel { space: 1, phases: vec![phase] }),
                equations: vec![],
                constant: false,
                steps: Steps::All,
            }])],
            ..Plan::default()
        }
    }

    fn complains(change: impl FnOnce(&mut Plan), about: &str) {
        let mut plan = plan();
        assert_eq!(verify(&plan), Vec::<String>::new());
        change(&mut plan);
        let problems = verify(&plan);
        assert!(problems.iter().any(|problem| problem.contains(about)), "{problems:?}");
    }

    fn phase(plan: &mut Plan) -> &mut Phase {
        match &mut plan.regions[0] {
            Region::Flat(kernels) => match &mut kernels[0].work {
                Work::Rows(kernel) => &mut kernel.phases[0],
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_backend_could_not_survive_is_refused() {
        complains(|plan| plan.buffers[0].width = 2, "reaches 3 elements into `x`");
        complains(|plan| plan.maps[0].from = 2, "map 0 does not lead");
        complains(|plan| plan.buffers[1].space = 2, "does not lie in the kernel's space");
        complains(|plan| plan.buffers[0].element = Element::Id, "holds Id where Real");
        complains(|plan| plan.buffers[1].role = Role::Input("y".into()), "which the caller provides");
        complains(|plan| plan.buffers[1].life = (1, 1), "touched in 0");
        complains(|plan| plan.buffers[1].residency = Residency::Step, "outside its loop");
        complains(|plan| plan.maps.clear(), "a map that does not exist");
        complains(|plan| phase(plan).body.swap(2, 3), "no value before it");
        complains(|plan| phase(plan).dims = vec![3, 1], "one stride for each dimension");
        complains(
            |plan| {
                plan.buffers.push(Buffer {
                    name: "gap".into(),
                    role: Role::Temporary,
                    ..plan.buffers[1].clone()
                });
                let place = |offset| Place {
                    at: RowRef { buffer: 2, row: Row::Same },
                    pitch: 0,
                    offset,
                    strides: vec![0],
                };
                phase(plan).body.extend([Inst::Store(place(0), 2), Inst::Load(place(2))]);
            },
            "element 2 of `gap` is read but never written",
        );
        complains(|plan| phase(plan).body[0] = Inst::Index(1), "index on no dimension");
    }
}
