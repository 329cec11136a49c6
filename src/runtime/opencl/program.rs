//! A plan's kernels compiled for a device.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use ocl::core::{self, ArgVal, Kernel, Mem};

use super::devices::{Device, Kind};
use super::{OpenClError, cache};
use crate::backend::opencl::{Each, Emission, EmitError, Emitted, Launch, Loop, Range, Rows, emit};
use crate::plan::{BufferId, Plan, Precision, Role, SpaceId, Steps};
use crate::runtime::layout::Layout;
use crate::runtime::program::{ProgramError, Real};

/// Which form of the source a device gets, and its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// One kernel does everything.
    pub whole: bool,
    /// Work-items of a team; a power of two.
    pub lanes: usize,
    /// Columns that a work-item does.
    pub chunk: usize,
    /// Rows of a tile.
    pub tile_rows: usize,
    /// Panels of a tile.
    pub tile_panels: usize,
    /// Bytes of local memory that a team may have.
    pub local: usize,
    /// Work-items that a launch has at most in each group.
    pub most: usize,
    /// How loops run.
    pub loops: Loops,
}

/// How a loop runs in the form that is spread over the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loops {
    /// One launch, by so many teams at most in all groups together: they meet after each unit of a step.
    Together(usize),
    /// The same if the matrices of a step have at most so many bytes, else a launch for each unit of each step.
    TogetherWithin(usize, usize),
    /// A launch for each unit of each step.
    Stepped,
}

/// Platforms whose drivers let work-groups wait for each other, and for which `kernels/teams.cl` knows how one sees
/// what another one wrote. Elsewhere a loop is a launch a step.
const MEETING: &[&str] = &["NVIDIA", "AMD"];
/// Work-items of a team at most.
const MOST_LANES: usize = 256;
/// Work-items of a team at least: the windows of a block need columns.
const LEAST_LANES: usize = 8;

impl Form {
    /// The form for a device, from what it says of itself.
    pub fn of(device: &Device) -> Form {
        let info = &device.info;
        let lanes = 1 << info.group.clamp(1, MOST_LANES).ilog2();
        if info.kind == Kind::Cpu || lanes < LEAST_LANES {
            // A tile's sums are in the vector registers: 32 of 16 numbers, or 16 of 8 or 4.
            return Form {
                whole: true,
                lanes: 1,
                chunk: 1 << 16,
                tile_rows: if info.vector >= 16 { 8 } else { 4 },
                tile_panels: if info.vector >= 16 { 2 } else { 1 },
                local: info.local,
                most: 4 * info.units,
                loops: Loops::Together(1),
            };
        }
        // A unit runs at least one team of any kernel that it can run at all. Matrices that are no larger than the
        // local memory of all units stay in their caches from step to step; larger ones are better read by as many
        // teams as there can be.
        let loops = match MEETING.iter().any(|name| info.platform.contains(name)) {
            true => Loops::TogetherWithin(info.units, info.units * info.local),
            false => Loops::Stepped,
        };
        let most = 8 * info.units * lanes;
        Form { lanes, loops, ..Form::spread(lanes, info.local, most) }
    }

    /// The form that is spread over a device, whose loops are launched step by step.
    pub fn spread(lanes: usize, local: usize, most: usize) -> Form {
        let loops = Loops::Stepped;
        Form { whole: false, lanes, chunk: 1, tile_rows: 4, tile_panels: 1, local, most, loops }
    }

    /// Work-items of a team side by side, as in `kernels/blocks.cl`.
    fn lane_columns(&self) -> usize {
        match self.lanes {
            64.. => 16,
            4.. => 4,
            lanes => lanes,
        }
    }

    /// Rows of a block of the rows of a step, and of others.
    fn each(&self, precision: Precision) -> (usize, usize) {
        // The sums of a block are kept in local memory for an epilogue.
        let sums = 4 * 4 * self.lanes * precision.bytes();
        (1, if sums <= self.local { 4 } else { 2 })
    }

    /// The largest number of terms, of these, that local memory has room for.
    fn depth(&self, each: usize, depths: &[usize], precision: Precision) -> usize {
        let term = 4 * self.lane_columns() + self.lanes / self.lane_columns() * each + 1;
        let fits = |depth: &&usize| **depth * term * precision.bytes() <= self.local;
        depths.iter().find(fits).copied().unwrap_or(4)
    }

    /// Whether the loops of a plan are launched step by step.
    fn is_stepped(&self, launches: &[Launch], precision: Precision) -> bool {
        let matrices = |launch: &Launch| match &launch.range {
            Range::Loop(own) => own.matrices * precision.bytes(),
            Range::Team | Range::Items { .. } | Range::Teams { .. } | Range::Each(_) => 0,
        };
        match self.loops {
            Loops::Together(_) => false,
            Loops::TogetherWithin(_, bytes) => launches.iter().any(|launch| matrices(launch) > bytes),
            Loops::Stepped => true,
        }
    }

    /// Teams of a group that may wait for each other.
    fn together(&self, groups: usize) -> usize {
        match self.loops {
            Loops::Together(teams) | Loops::TogetherWithin(teams, _) => (teams / groups.max(1)).max(1),
            Loops::Stepped => 1,
        }
    }

    /// As options of the compiler, for a program in this precision.
    pub fn options(&self, precision: Precision, stepped: bool) -> String {
        let whole = if self.whole { " -DWHOLE" } else { "" };
        let stepped = if stepped { " -DSTEPPED" } else { "" };
        let (step_each, each) = self.each(precision);
        let step_depth = self.depth(step_each, &[128, 64, 32, 16, 8], precision);
        let depth = self.depth(each, &[16, 8], precision);
        format!(
            "-cl-std=CL1.2 -w -DLANES={} -DCHUNK={} -DTILE_ROWS={} -DTILE_PANELS={} -DLANE_COLUMNS={} -DEACH={each} \
             -DDEPTH={depth} -DSTEP_EACH={step_each} -DSTEP_DEPTH={step_depth}{whole}{stepped}",
            self.lanes,
            self.chunk,
            self.tile_rows,
            self.tile_panels,
            self.lane_columns(),
        )
    }

    /// Work-items of a launch in a group, for a step of a loop if it is one; none if it has nothing to do.
    fn items(&self, range: &Range, layout: &Layout, step: usize, precision: Precision) -> usize {
        if let Range::Each(ranges) = range {
            return ranges.iter().map(|own| self.items(own, layout, step, precision)).max().unwrap_or(0);
        }
        let (Range::Items { rows, rows_each, columns, columns_each }
        | Range::Teams { rows, rows_each, columns, columns_each }) = range
        else {
            return self.lanes;
        };
        let (step_each, each) = self.each(precision);
        let lane_rows = self.lanes / self.lane_columns();
        let size = |own: &Each| match own {
            Each::One => 1,
            Each::Chunk => self.chunk,
            Each::TileRows => self.tile_rows,
            Each::TileColumns => 16 * self.tile_panels,
            Each::BlockRows => lane_rows * each,
            Each::StepRows => lane_rows * step_each,
            // As the macro PIECE.
            Each::Piece(windows) => match 4 * self.lane_columns() / windows {
                piece @ 4.. => piece / 4 * 4,
                piece => piece.max(1),
            },
        };
        let of = |space: SpaceId, steps: Steps| {
            let space = &layout.spaces[space];
            steps.rows(space.rows, &space.step_offsets).len()
        };
        let rows = match rows {
            Rows::Of(space) => of(*space, Steps::All),
            Rows::First(space) => of(*space, Steps::First),
            Rows::Rest(space) => of(*space, Steps::Rest),
            Rows::Step(space) => {
                let bound = |step: usize| layout.spaces[*space].step_offsets.get(step).copied();
                bound(step + 1).zip(bound(step)).map_or(0, |(end, begin)| (end - begin) as usize)
            }
            Rows::Exactly(rows) => *rows,
        };
        let pieces = rows.div_ceil(size(rows_each)).saturating_mul(columns.div_ceil(size(columns_each)));
        match range {
            Range::Teams { .. } => pieces.clamp(1, self.most / self.lanes) * self.lanes,
            _ => pieces.clamp(1, self.most).next_multiple_of(self.lanes),
        }
    }

    /// Work-items of a launch for a whole loop in a group of so many: teams for all the work of its largest step.
    fn items_together(&self, own: &Loop, layout: &Layout, groups: usize, precision: Precision) -> usize {
        let steps = layout.steps.get(own.axis).copied().unwrap_or(0);
        let largest = |launch: &Launch| {
            (0..steps).map(|step| self.items(&launch.range, layout, step, precision)).max().unwrap_or(0)
        };
        let wanted = own.launches.iter().map(largest).max().unwrap_or(0);
        wanted.min(self.together(groups) * self.lanes).max(self.lanes)
    }
}

/// A kernel that is launched.
struct Step {
    name: String,
    kernel: Kernel,
    range: Range,
    constant: bool,
    /// For which steps of a loop.
    steps: Steps,
}

/// What is launched one after the other: a kernel, or those of a loop again and again.
enum Stage {
    Once(Step),
    EachStep { axis: usize, backward: bool, steps: Vec<Step> },
}

/// A plan and its kernels.
pub struct Program<R: Real> {
    pub(super) device: Arc<Device>,
    pub(super) emitted: Emission,
    pub(super) form: Form,
    /// Arguments belong to the kernels, not to a launch: one run at a time sets them.
    stages: Mutex<Vec<Stage>>,
    parameters: Vec<BufferId>,
    real: PhantomData<R>,
}

impl<R: Real> Program<R> {
    /// Compiles a plan for a device.
    ///
    /// # Errors
    /// The plan contradicts itself, or the device's driver refuses its kernels.
    pub fn new(plan: &Plan, device: &Arc<Device>) -> Result<Program<R>, ProgramError> {
        Program::in_form(plan, device, Form::of(device))
    }

    /// The same in another form than the one that suits the device.
    ///
    /// # Errors
    /// As [`Program::new`].
    pub fn in_form(plan: &Plan, device: &Arc<Device>, form: Form) -> Result<Program<R>, ProgramError> {
        if R::PRECISION == Precision::F64 && !device.info.doubles {
            return Err(OpenClError::Doubles { device: device.info.name.clone() }.into());
        }
        let Emitted { source, program: emitted } =
            emit(plan, R::PRECISION).map_err(|EmitError::Plan(why)| {
                ProgramError::Emit(crate::backend::native::EmitError::Plan(why))
            })?;
        let launches = &emitted.launches;
        let stepped = !form.whole && form.is_stepped(&launches.spread, R::PRECISION);
        let options = form.options(R::PRECISION, stepped);
        let built = cache::build(device, &plan.name, &source, &options)?;
        let step = |launch: &Launch| -> Result<Step, OpenClError> {
            let (name, range) = (launch.kernel.clone(), launch.range.clone());
            let kernel =
                core::create_kernel(&built, &name).map_err(|error| device.lost("making a kernel", &error))?;
            Ok(Step { name, kernel, range, constant: launch.constant, steps: launch.steps })
        };
        let stage = |launch: &Launch| -> Result<Stage, OpenClError> {
            match &launch.range {
                Range::Loop(Loop { axis, backward, launches, .. }) if stepped => {
                    let steps = launches.iter().map(step).collect::<Result<Vec<_>, _>>()?;
                    Ok(Stage::EachStep { axis: *axis, backward: *backward, steps })
                }
                _ => step(launch).map(Stage::Once),
            }
        };
        let stages = match form.whole {
            true => Vec::from([stage(&Launch {
                kernel: launches.whole.clone(),
                range: Range::Team,
                constant: false,
                steps: Steps::All,
                equations: Vec::new(),
            })?]),
            false => launches.spread.iter().map(stage).collect::<Result<Vec<_>, _>>()?,
        };
        let is_parameter = |id: &BufferId| matches!(emitted.plan.buffers[*id].role, Role::Parameter(_));
        let parameters = (0..emitted.plan.buffers.len()).filter(is_parameter).collect();
        Ok(Program {
            device: Arc::clone(device),
            emitted,
            form,
            stages: Mutex::new(stages),
            parameters,
            real: PhantomData,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.emitted.plan
    }

    /// Buffers of the parameters, in the order in which runs take them.
    pub fn parameters(&self) -> &[BufferId] {
        &self.parameters
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Whether a batch runs in groups of examples: otherwise all of it is work for the whole device.
    pub fn in_groups(&self) -> bool {
        self.form.whole
    }

    /// Runs everything for so many groups in their memory (buffers, parameters, tables); the layouts say how
    /// much there is.
    pub(super) fn launch(
        &self,
        buffers: [&Mem; 3],
        layouts: &[Layout],
        held: bool,
    ) -> Result<(), OpenClError> {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        for stage in stages.iter() {
            match stage {
                Stage::Once(step) if held && step.constant => {}
                Stage::Once(step) => self.launch_step(step, buffers, layouts, held, (0, 0))?,
                Stage::EachStep { axis, backward, steps } => {
                    let count = layouts.iter().filter_map(|layout| layout.steps.get(*axis)).max().copied();
                    let count = count.unwrap_or(0);
                    for turn in 0..count {
                        let number = if *backward { count - 1 - turn } else { turn };
                        let now = |step: &&Step| match step.steps {
                            Steps::All => true,
                            Steps::First => *backward || number == 0,
                            Steps::Rest => *backward || number != 0,
                        };
                        for step in steps.iter().filter(now) {
                            self.launch_step(step, buffers, layouts, held, (turn, number))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Launches a kernel, in a loop for the turn and step of this number.
    fn launch_step(
        &self,
        step: &Step,
        buffers: [&Mem; 3],
        layouts: &[Layout],
        held: bool,
        (turn, number): (usize, usize),
    ) -> Result<(), OpenClError> {
        let (held, turn) = (i32::from(held), turn as i32);
        let of_memory = buffers.into_iter().map(ArgVal::mem);
        for (at, value) in of_memory.chain([ArgVal::scalar(&held), ArgVal::scalar(&turn)]).enumerate() {
            core::set_kernel_arg(&step.kernel, at as u32, value)
                .map_err(|error| self.device.lost("setting up a kernel", &error))?;
        }
        let groups = layouts.len();
        let items = layouts.iter().map(|layout| match &step.range {
            Range::Loop(own) => self.form.items_together(own, layout, groups, R::PRECISION),
            range => self.form.items(range, layout, number, R::PRECISION),
        });
        let items = items.max().unwrap_or(0);
        if items == 0 {
            return Ok(());
        }
        let waits = matches!(step.range, Range::Loop(_)) && items > self.form.lanes;
        let several = match &step.range {
            Range::Each(ranges) => ranges.len(),
            _ => 1,
        };
        let size = [items, groups, several];
        self.device.queue.launch(&step.name, &step.kernel, size, self.form.lanes, waits)
    }
}
