//! Parameters and the optimiser's state that stay on the device through a whole training.
//!
//! A step adds up the gradients of a batch's groups, measures the sum, and moves the parameters; the host sees
//! the losses and the norms only, until it asks for the rest ([`Updates::fetch`]). The kernels are those of
//! `kernels/update.cl`, whose arithmetic is that of [`crate::runtime::optimizer`].

use std::ops::Range;
use std::sync::Arc;

use ocl::core::{self, ArgVal, Kernel, Mem};

use super::instance::{Instance, allocate};
use super::program::Form;
use super::{OpenClError, cache};
use crate::backend::opencl::UPDATE;
use crate::plan::{BufferId, Role};
use crate::runtime::groups::Treatment;
use crate::runtime::optimizer::{Algorithm, Optimizer, StateError};
use crate::runtime::parameters::Parameters;
use crate::runtime::program::ProgramError;

/// Work-items of a range whose squares are added up apart, at least.
const PIECES: usize = 16;

/// What a batch's gradient is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// The sum of all losses.
    pub loss: f64,
    /// The gradient's norm.
    pub norm: f64,
    /// The same after elements were clamped.
    pub clamped: f64,
}

/// Training's memory on a device.
pub struct Updates {
    add_up: Kernel,
    squares: Kernel,
    update: Kernel,
    update_name: &'static str,
    algorithm: Algorithm,
    steps: u64,
    /// What the program reads: its gradients, behind them the losses.
    read: Block,
    /// What no equation of the program reads: its gradient is zero, but decay moves it and moments fade.
    unread: Option<(Block, Mem)>,
    entries: Mem,
    partial: Mem,
    treatments: Vec<Treatment>,
    /// Results that are added up.
    results: usize,
    /// Losses, and where they are in `sums`.
    losses: Range<usize>,
    wide: bool,
    /// Work-items of a launch in each range, of a work-group, and of those that add up squares.
    items: usize,
    team: usize,
    pieces: usize,
}

/// Parameters that are moved together, and vectors laid out as they are.
struct Block {
    /// Gradients.
    sums: Mem,
    state: Vec<Mem>,
    ranges: Mem,
    parts: Vec<Part>,
    /// What is trained: place in the host's flat array, and first element on the device.
    trained: Vec<(Range<usize>, usize)>,
}

/// What of a block is moved in one way.
struct Part {
    ranges: Mem,
    count: usize,
    treatment: Treatment,
    rule: Algorithm,
}

impl Updates {
    /// Makes room on an instance's device for the optimiser `optimizer` of these parameters, and copies both
    /// there. `losses` are outputs.
    ///
    /// # Errors
    /// The device has no room, or does not take the kernels.
    pub fn new(
        instance: &mut Instance<f32>,
        parameters: &Parameters,
        optimizer: &Optimizer,
        losses: &[String],
    ) -> Result<Updates, ProgramError> {
        let program = Arc::clone(instance.program());
        let device = Arc::clone(program.device());
        let queue = &device.queue;
        let form = Form::of(&device);
        let wide = if device.info.doubles { " -DWIDE" } else { "" };
        let options = format!("-cl-std=CL1.2 -w -DCHUNK={}{wide}", form.chunk.min(4096));
        let built = cache::build(&device, "update", UPDATE, &options)?;
        let kernel = |name: &str| {
            core::create_kernel(&built, name).map_err(|error| device.lost("making a kernel", &error))
        };
        let algorithm = optimizer.algorithm();
        let update_name = kernel_name(algorithm);
        let block = instance.parameter_bytes() / 4;
        let (mut trained, mut unread, mut unread_count) = (Vec::new(), Vec::new(), 0);
        for (index, spec) in parameters.specs().iter().enumerate().filter(|(_, spec)| spec.trainable) {
            match instance.parameter_start(&spec.name) {
                Some(start) => trained.push((index, start)),
                None => {
                    unread.push((index, unread_count));
                    unread_count += parameters.range(index).len();
                }
            }
        }
        let slot = |output: &str| -> Option<BufferId> {
            let is = |role: &Role| matches!(role, Role::Output(own) if own == output);
            program.plan().buffers.iter().position(|buffer| is(&buffer.role))
        };
        let slots = program.emitted.slots;
        let mut entries: Vec<i32> = Vec::new();
        for (spec, range) in parameters.trainable() {
            let buffer = slot(&format!("gradient:{}", spec.name));
            if let (Some(buffer), Some(start)) = (buffer, instance.parameter_start(&spec.name)) {
                entries.extend([slots.buffer(buffer) as i32, start as i32, range.len() as i32]);
            }
        }
        for (at, buffer) in losses.iter().filter_map(|output| slot(output)).enumerate() {
            entries.extend([slots.buffer(buffer) as i32, (block + at) as i32, 1]);
        }
        let results = entries.len() / 3;
        let pieces = PIECES.next_multiple_of(form.lanes);
        let taken = |bytes: usize| -> Result<Mem, OpenClError> {
            let memory = allocate(&program, bytes)?;
            queue.write(&memory, 0, vec![0; bytes])?;
            Ok(memory)
        };
        let of = |trained: Vec<(usize, usize)>, elements, sums| -> Result<Block, OpenClError> {
            let state =
                algorithm.state_names().iter().map(|_| taken(4 * elements)).collect::<Result<Vec<_>, _>>()?;
            let put = |ranges: &[i32]| -> Result<Mem, OpenClError> {
                let memory = taken(4 * ranges.len())?;
                queue.write(&memory, 0, bytes_of(ranges, i32::to_ne_bytes))?;
                Ok(memory)
            };
            let mut all = Vec::new();
            let mut ways: Vec<(Treatment, Algorithm, Vec<i32>)> = Vec::new();
            for &(index, start) in &trained {
                let own = [start as i32, parameters.range(index).len() as i32];
                let (treatment, rule) = optimizer.treatment(index);
                all.extend(own);
                match ways.iter_mut().find(|(known, ..)| *known == treatment) {
                    Some((.., ranges)) => ranges.extend(own),
                    None => ways.push((treatment, rule, own.to_vec())),
                }
            }
            let part = |(treatment, rule, ranges): (Treatment, Algorithm, Vec<i32>)| {
                Ok::<_, OpenClError>(Part { ranges: put(&ranges)?, count: ranges.len() / 2, treatment, rule })
            };
            let parts = ways.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
            let trained =
                trained.into_iter().map(|(index, start)| (parameters.range(index), start)).collect();
            Ok(Block { sums: taken(4 * sums)?, state, ranges: put(&all)?, parts, trained })
        };
        let partial = taken(16 * pieces * trained.len())?;
        let unread = match unread_count {
            0 => None,
            count => Some((of(unread, count, count)?, taken(4 * count)?)),
        };
        let mut updates = Updates {
            treatments: optimizer.treatments().to_vec(),
            add_up: kernel("add_up")?,
            squares: kernel("squares")?,
            update: kernel(update_name)?,
            update_name,
            algorithm,
            steps: optimizer.steps(),
            read: of(trained, block, block + losses.len())?,
            unread,
            entries: taken(4 * entries.len())?,
            partial,
            results,
            losses: block..block + losses.len(),
            wide: device.info.doubles,
            items: form.most.min(1 << 14).next_multiple_of(form.lanes),
            team: form.lanes,
            pieces,
        };
        queue.write(&updates.entries, 0, bytes_of(&entries, i32::to_ne_bytes))?;
        updates.put(instance, parameters, optimizer)?;
        Ok(updates)
    }

    /// Copies parameters and state to the device.
    fn put(
        &mut self,
        instance: &mut Instance<f32>,
        parameters: &Parameters,
        optimizer: &Optimizer,
    ) -> Result<(), ProgramError> {
        let program = Arc::clone(instance.program());
        let named = |id: &BufferId| match &program.plan().buffers[*id].role {
            Role::Parameter(name) => parameters.get(name).unwrap_or(&[]),
            _ => &[],
        };
        let values: Vec<&[f32]> = program.parameters().iter().map(named).collect();
        instance.set_parameters(&values)?;
        let queue = &program.device().queue;
        let write = |block: &Block, memory: &Mem, values: &[f32]| {
            block.trained.iter().try_for_each(|(range, start)| {
                queue.write(memory, 4 * start, bytes_of(&values[range.clone()], f32::to_ne_bytes))
            })
        };
        if let Some((block, memory)) = &self.unread {
            write(block, memory, parameters.values())?;
        }
        for block in self.blocks() {
            for (memory, (_, values)) in block.state.iter().zip(optimizer.state()) {
                write(block, memory, values)?;
            }
        }
        self.steps = optimizer.steps();
        Ok(())
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        [&self.read].into_iter().chain(self.unread.iter().map(|(block, _)| block))
    }

    /// Adds up the gradients of the last run's groups and measures the sum; `bound` is what its elements will be
    /// clamped to.
    ///
    /// # Errors
    /// The device fails.
    pub fn measure(&self, instance: &Instance<f32>, bound: Option<f64>) -> Result<Measure, ProgramError> {
        let (Some(memory), Some(tables)) = (instance.main_memory(), instance.tables_memory()) else {
            return Ok(Measure { loss: 0.0, norm: 0.0, clamped: 0.0 });
        };
        let program = instance.program();
        let device = program.device();
        let (slots, groups) = (program.emitted.slots.len() as i32, instance.layouts().len() as i32);
        let run = |name, kernel: &Kernel, arguments: &[ArgVal], items: usize, count: usize| {
            run(instance, name, kernel, arguments, (items, self.team), count)
        };
        let arguments = [
            ArgVal::mem(memory),
            ArgVal::mem(tables),
            ArgVal::mem(&self.entries),
            ArgVal::mem(&self.read.sums),
            ArgVal::scalar(&slots),
            ArgVal::scalar(&groups),
        ];
        run("add_up", &self.add_up, &arguments, self.items, self.results)?;
        let bound = bound.map_or(f32::INFINITY, |bound| bound.abs() as f32);
        let arguments = [
            ArgVal::mem(&self.read.sums),
            ArgVal::mem(&self.read.ranges),
            ArgVal::mem(&self.partial),
            ArgVal::scalar(&bound),
        ];
        run("squares", &self.squares, &arguments, self.pieces, self.read.trained.len())?;
        let width = if self.wide { 8 } else { 4 };
        let mut partial = vec![0; 2 * width * self.pieces * self.read.trained.len()];
        device.queue.read(&self.partial, 0, &mut partial)?;
        let mut losses = vec![0; 4 * self.losses.len()];
        device.queue.read(&self.read.sums, 4 * self.losses.start, &mut losses)?;
        let number = |bytes: &[u8]| match bytes.try_into() {
            Ok(eight) => f64::from_ne_bytes(eight),
            Err(_) => real(bytes).into(),
        };
        let of = |which: usize| partial.chunks_exact(width).skip(which).step_by(2).map(number).sum::<f64>();
        let loss = losses.chunks_exact(4).map(|bytes| f64::from(real(bytes))).sum();
        Ok(Measure { loss, norm: of(0).sqrt(), clamped: of(1).sqrt() })
    }

    /// Moves the parameters by the gradient last measured, clamped to `bound` and multiplied by `factor`.
    ///
    /// # Errors
    /// The device fails.
    pub fn step(
        &mut self,
        instance: &Instance<f32>,
        rate: f64,
        bound: Option<f64>,
        factor: f64,
    ) -> Result<(), ProgramError> {
        self.steps += 1;
        let bound = bound.map_or(f32::INFINITY, |bound| bound.abs() as f32);
        let unread = self.unread.iter().map(|(block, memory)| (block, memory));
        for (block, memory) in [(&self.read, instance.parameter_memory())].into_iter().chain(unread) {
            for part in &block.parts {
                let numbers = vec![bound, factor as f32, part.treatment.l1 as f32];
                self.move_part(instance, (block, memory), part, rate * part.treatment.factor, numbers)?;
            }
        }
        Ok(())
    }

    /// Moves what is trained in one way; `numbers` are those that all rules begin with.
    fn move_part(
        &self,
        instance: &Instance<f32>,
        (block, memory): (&Block, &Mem),
        part: &Part,
        rate: f64,
        mut numbers: Vec<f32>,
    ) -> Result<(), ProgramError> {
        let mut nesterov = None;
        match part.rule {
            Algorithm::Sgd { momentum, nesterov: ahead, weight_decay } => {
                numbers.extend([rate as f32, weight_decay as f32]);
                if momentum != 0.0 {
                    numbers.push(momentum as f32);
                    nesterov = Some(i32::from(ahead));
                }
            }
            Algorithm::Adam(constants) | Algorithm::AdamW(constants) => {
                let step = constants.step(rate, self.steps);
                let decoupled = matches!(part.rule, Algorithm::AdamW(_));
                let decay = constants.weight_decay;
                let (inside, kept) = if decoupled { (0.0, 1.0 - rate * decay) } else { (decay, 1.0) };
                let keeps = [constants.beta1, 1.0 - constants.beta1, constants.beta2, 1.0 - constants.beta2];
                numbers.extend([step.size, step.root]);
                numbers.extend(keeps.into_iter().chain([constants.eps, inside, kept]).map(|x| x as f32));
            }
            Algorithm::RmsProp { alpha, eps, momentum, weight_decay } => {
                numbers.extend([rate, alpha, 1.0 - alpha, eps, weight_decay].map(|x| x as f32));
                if momentum != 0.0 {
                    numbers.push(momentum as f32);
                }
            }
        }
        let of_memory = [memory, &block.sums, &part.ranges].into_iter().chain(&block.state);
        let mut arguments: Vec<ArgVal> = of_memory.map(ArgVal::mem).collect();
        arguments.extend(numbers.iter().map(ArgVal::scalar));
        arguments.extend(nesterov.iter().map(ArgVal::scalar));
        run(instance, self.update_name, &self.update, &arguments, (self.items, self.team), part.count)
    }

    /// Sets a parameter that is not trained, by its place among all.
    ///
    /// # Errors
    /// The device fails.
    pub fn set(
        &self,
        instance: &Instance<f32>,
        parameters: &Parameters,
        index: usize,
        values: &[f32],
    ) -> Result<(), ProgramError> {
        // What the program does not read has no place there.
        let Some(start) = instance.parameter_start(&parameters.specs()[index].name) else { return Ok(()) };
        let bytes = bytes_of(values, f32::to_ne_bytes);
        Ok(instance.program().device().queue.write(instance.parameter_memory(), 4 * start, bytes)?)
    }

    /// The gradient last measured, laid out as the host's parameters are.
    ///
    /// # Errors
    /// The device fails.
    pub fn gradient(&self, instance: &Instance<f32>, count: usize) -> Result<Vec<f32>, ProgramError> {
        let mut flat = vec![0.0; count];
        copy(instance, &self.read, &self.read.sums, &mut flat)?;
        Ok(flat)
    }

    /// Copies what is trained, and the optimiser's state, back to the host.
    ///
    /// # Errors
    /// The device fails.
    pub fn fetch(
        &self,
        instance: &Instance<f32>,
        parameters: &mut Parameters,
        optimizer: &mut Optimizer,
    ) -> Result<(), ProgramError> {
        copy(instance, &self.read, instance.parameter_memory(), parameters.values_mut())?;
        if let Some((block, memory)) = &self.unread {
            copy(instance, block, memory, parameters.values_mut())?;
        }
        let mut vectors = Vec::new();
        for (at, (name, values)) in optimizer.state().enumerate() {
            let mut values = values.to_vec();
            for block in self.blocks() {
                copy(instance, block, &block.state[at], &mut values)?;
            }
            vectors.push((name, values));
        }
        let vector = |name: &str| {
            let found = vectors.iter().find(|(own, _)| *own == name);
            found.map(|(_, values)| values.clone())
        };
        match Optimizer::restore(self.algorithm, parameters, self.steps, vector) {
            Ok(restored) => *optimizer = restored.with_treatments(self.treatments.clone()),
            // The vectors are those that the optimiser itself has listed.
            Err(StateError::Missing(_) | StateError::Length { .. }) => {}
        }
        Ok(())
    }
}

/// Copies what is trained of a block from the device to its place in the host's flat array.
fn copy(instance: &Instance<f32>, block: &Block, from: &Mem, to: &mut [f32]) -> Result<(), ProgramError> {
    for (range, start) in &block.trained {
        let mut bytes = vec![0; 4 * range.len()];
        instance.program().device().queue.read(from, 4 * start, &mut bytes)?;
        to[range.clone()].iter_mut().zip(bytes.chunks_exact(4)).for_each(|(slot, own)| *slot = real(own));
    }
    Ok(())
}

fn kernel_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Sgd { momentum: 0.0, .. } => "sgd",
        Algorithm::Sgd { .. } => "momentum",
        Algorithm::Adam(_) | Algorithm::AdamW(_) => "adam",
        Algorithm::RmsProp { momentum: 0.0, .. } => "rmsprop",
        Algorithm::RmsProp { .. } => "rmsprop_momentum",
    }
}

fn run(
    instance: &Instance<f32>,
    name: &str,
    kernel: &Kernel,
    arguments: &[ArgVal],
    (items, team): (usize, usize),
    count: usize,
) -> Result<(), ProgramError> {
    let device = instance.program().device();
    if count == 0 {
        return Ok(());
    }
    for (at, argument) in arguments.iter().enumerate() {
        core::set_kernel_arg(kernel, at as u32, argument.clone())
            .map_err(|error| device.lost("setting up a kernel", &error))?;
    }
    Ok(device.queue.launch(name, kernel, [items, count, 1], team, false)?)
}

fn bytes_of<T: Copy>(values: &[T], bytes: impl Fn(T) -> [u8; 4]) -> Vec<u8> {
    values.iter().flat_map(|&value| bytes(value)).collect()
}

fn real(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(0.0, f32::from_ne_bytes)
}
