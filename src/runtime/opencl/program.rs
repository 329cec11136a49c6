//! A plan's kernels compiled for a device.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use ocl::core::{self, ArgVal, Kernel, Mem};

use super::devices::{Device, Kind};
use super::{OpenClError, cache};
use crate::backend::opencl::{Each, Emission, EmitError, Emitted, Range, Rows, emit};
use crate::plan::{BufferId, Plan, Precision, Role, SpaceId, Steps};
use crate::runtime::layout::Layout;
use crate::runtime::program::{ProgramError, Real};

/// Which form of the source a device gets, and its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// One kernel does everything.
    pub whole: bool,
    /// Work-items of a team.
    pub lanes: usize,
    /// Columns that a work-item does.
    pub chunk: usize,
    /// Rows of a tile.
    pub tile_rows: usize,
    /// Panels of a tile.
    pub tile_panels: usize,
    /// Work-items that a launch has at most in each group.
    pub most: usize,
}

impl Form {
    /// The form for a device, from what it says of itself.
    pub fn of(device: &Device) -> Form {
        let info = &device.info;
        match info.kind {
            // A tile's sums are in the vector registers: 32 of 16 numbers, or 16 of 8 or 4.
            Kind::Cpu => Form {
                whole: true,
                lanes: 1,
                chunk: 1 << 16,
                tile_rows: if info.vector >= 16 { 8 } else { 4 },
                tile_panels: if info.vector >= 16 { 2 } else { 1 },
                most: 4 * info.units,
            },
            Kind::Gpu | Kind::Accelerator => {
                let lanes = info.group.clamp(1, 256);
                let most = (8 * info.units * lanes).max(lanes);
                Form { whole: false, lanes, chunk: 1, tile_rows: 4, tile_panels: 1, most }
            }
        }
    }

    /// As options of the compiler.
    pub fn options(&self) -> String {
        let whole = if self.whole { " -DWHOLE" } else { "" };
        format!(
            "-cl-std=CL1.2 -w -DLANES={} -DCHUNK={} -DTILE_ROWS={} -DTILE_PANELS={}{whole}",
            self.lanes, self.chunk, self.tile_rows, self.tile_panels
        )
    }

    /// Work-items of a launch in a group.
    pub fn items(&self, range: &Range, layout: &Layout) -> usize {
        let Range::Items { rows, rows_each, columns, columns_each } = range else { return self.lanes };
        let size = |each: &Each| match each {
            Each::One => 1,
            Each::Chunk => self.chunk,
            Each::TileRows => self.tile_rows,
            Each::TileColumns => 16 * self.tile_panels,
        };
        let of = |space: SpaceId, steps: Steps| {
            let space = &layout.spaces[space];
            steps.rows(space.rows, &space.step_offsets).len()
        };
        let rows = match rows {
            Rows::Of(space) => of(*space, Steps::All),
            Rows::First(space) => of(*space, Steps::First),
            Rows::Rest(space) => of(*space, Steps::Rest),
            Rows::Exactly(rows) => *rows,
        };
        let pieces = rows.div_ceil(size(rows_each)).saturating_mul(columns.div_ceil(size(columns_each)));
        pieces.clamp(1, self.most).next_multiple_of(self.lanes)
    }
}

/// A kernel that is launched.
struct Step {
    name: String,
    kernel: Kernel,
    range: Range,
    constant: bool,
}

/// A plan and its kernels.
pub struct Program<R: Real> {
    pub(super) device: Arc<Device>,
    pub(super) emitted: Emission,
    pub(super) form: Form,
    /// Arguments belong to the kernels, not to a launch: one run at a time sets them.
    steps: Mutex<Vec<Step>>,
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
        let built = cache::build(device, &plan.name, &source, &form.options())?;
        let kernel = |name: &str| {
            core::create_kernel(&built, name).map_err(|error| device.lost("making a kernel", &error))
        };
        let mut steps = Vec::new();
        if form.whole {
            let name = emitted.launches.whole.clone();
            steps.push(Step { kernel: kernel(&name)?, name, range: Range::Team, constant: false });
        } else {
            for launch in &emitted.launches.spread {
                let (name, range, constant) = (launch.kernel.clone(), launch.range, launch.constant);
                steps.push(Step { kernel: kernel(&name)?, name, range, constant });
            }
        }
        let is_parameter = |id: &BufferId| matches!(emitted.plan.buffers[*id].role, Role::Parameter(_));
        let parameters = (0..emitted.plan.buffers.len()).filter(is_parameter).collect();
        Ok(Program {
            device: Arc::clone(device),
            emitted,
            form,
            steps: Mutex::new(steps),
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

    /// Runs everything for so many groups in their memory (buffers, parameters, tables); the layouts say how
    /// much there is.
    pub(super) fn launch(
        &self,
        buffers: [&Mem; 3],
        layouts: &[Layout],
        held: bool,
    ) -> Result<(), OpenClError> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let flag = i32::from(held);
        for step in steps.iter().filter(|step| !(held && step.constant)) {
            let of_memory = buffers.into_iter().map(ArgVal::mem);
            for (at, value) in of_memory.chain([ArgVal::scalar(&flag)]).enumerate() {
                core::set_kernel_arg(&step.kernel, at as u32, value)
                    .map_err(|error| self.device.lost("setting up a kernel", &error))?;
            }
            let items = layouts.iter().map(|layout| self.form.items(&step.range, layout)).max().unwrap_or(0);
            if items > 0 {
                self.device.queue.launch(&step.name, &step.kernel, items, layouts.len(), self.form.lanes)?;
            }
        }
        Ok(())
    }
}
