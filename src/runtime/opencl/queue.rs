//! Commands to a device, done one after the other: copies and launches.
//!
//! What is written is handed over and kept until the device has it, so that copies need not be waited for.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ocl::core::{self, CommandQueue, CommandQueueProperties, Context, DeviceId, Event, Kernel, Mem};
use ocl::core::{MemFlags, ProfilingInfo, ProfilingInfoResult};

use super::OpenClError;
use super::devices::brief;

/// The queue of a device.
pub struct Queue {
    queue: CommandQueue,
    device: String,
    /// Bytes that the device may not have read yet.
    pending: Mutex<Vec<Vec<u8>>>,
    /// Launches whose times have not been asked for; none are kept while nobody wants them.
    events: Mutex<Option<Vec<(String, Event)>>>,
}

impl Queue {
    /// A queue that keeps the order of its commands.
    pub(super) fn new(context: &Context, device: DeviceId, name: &str) -> Result<Queue, OpenClError> {
        let queue =
            core::create_command_queue(context, device, Some(CommandQueueProperties::PROFILING_ENABLE));
        let queue = queue.map_err(|error| OpenClError::Lost {
            device: name.to_string(),
            what: "opening it",
            message: brief(&error),
        })?;
        Ok(Queue { queue, device: name.to_string(), pending: Mutex::default(), events: Mutex::default() })
    }

    fn check<T>(&self, what: &'static str, result: core::Result<T>) -> Result<T, OpenClError> {
        result.map_err(|error| OpenClError::Lost {
            device: self.device.clone(),
            what,
            message: brief(&error),
        })
    }

    /// Memory on the device.
    ///
    /// # Errors
    /// The driver has none.
    pub(super) fn allocate(&self, context: &Context, bytes: usize) -> Result<Mem, OpenClError> {
        // SAFETY: no host memory is handed over.
        let made = unsafe {
            core::create_buffer::<_, u8>(context, MemFlags::new().read_write(), bytes.max(1), None)
        };
        self.check("taking memory", made)
    }

    /// Copies to the device; returns before that is done.
    ///
    /// # Errors
    /// The device is gone, or the copy does not fit.
    pub(super) fn write(&self, to: &Mem, offset: usize, bytes: Vec<u8>) -> Result<(), OpenClError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut pending = locked(&self.pending);
        // SAFETY: the bytes stay where they are, and unchanged, until all commands are done.
        let written = unsafe {
            core::enqueue_write_buffer(
                &self.queue,
                to,
                false,
                offset,
                &bytes,
                None::<&Event>,
                None::<&mut Event>,
            )
        };
        pending.push(bytes);
        self.check("copying to it", written)
    }

    /// Copies from the device, when everything before is done.
    ///
    /// # Errors
    /// The device is gone, or something before has failed.
    pub(super) fn read(&self, from: &Mem, offset: usize, bytes: &mut [u8]) -> Result<(), OpenClError> {
        if bytes.is_empty() {
            return Ok(());
        }
        // Locked until all that was pending is done: nobody adds to it in between.
        let mut pending = locked(&self.pending);
        // SAFETY: the call returns when the bytes are there.
        let read = unsafe {
            core::enqueue_read_buffer(
                &self.queue,
                from,
                true,
                offset,
                bytes,
                None::<&Event>,
                None::<&mut Event>,
            )
        };
        self.check("copying from it", read)?;
        pending.clear();
        Ok(())
    }

    /// Runs a kernel, all of whose arguments are set, with `groups` groups of `items` work-items, `team` of
    /// them in a work-group.
    ///
    /// # Errors
    /// The device is gone, or has no resources for it.
    pub(super) fn launch(
        &self,
        name: &str,
        kernel: &Kernel,
        items: usize,
        groups: usize,
        team: usize,
    ) -> Result<(), OpenClError> {
        let mut timed = locked(&self.events);
        let mut event = Event::null();
        let (global, local) = ([items, groups, 1], [team, 1, 1]);
        // SAFETY: the kernel is of a source made for the plan by which its buffers were laid out, so that it
        // touches nothing outside them.
        let launched = unsafe {
            core::enqueue_kernel(
                &self.queue,
                kernel,
                2,
                None,
                &global,
                Some(local),
                None::<&Event>,
                timed.as_ref().map(|_| &mut event),
            )
        };
        if let Some(events) = timed.as_mut() {
            events.push((name.to_string(), event));
        }
        self.check("running a kernel", launched)
    }

    /// Waits until everything is done.
    ///
    /// # Errors
    /// Something has failed.
    pub fn finish(&self) -> Result<(), OpenClError> {
        let mut pending = locked(&self.pending);
        self.check("waiting for it", core::finish(&self.queue))?;
        pending.clear();
        Ok(())
    }

    /// Begins to note how long kernels take.
    pub fn keep_times(&self) {
        *locked(&self.events) = Some(Vec::new());
    }

    /// Time by kernel since [`Queue::keep_times`] or the last call, when everything is done.
    ///
    /// # Errors
    /// Something has failed.
    pub fn times(&self) -> Result<Vec<(String, Duration)>, OpenClError> {
        self.finish()?;
        let events = locked(&self.events).as_mut().map(std::mem::take).unwrap_or_default();
        let mut times = Vec::new();
        for (name, event) in events {
            let at = |asked| match core::get_event_profiling_info(&event, asked) {
                Ok(ProfilingInfoResult::Start(at) | ProfilingInfoResult::End(at)) => at,
                _ => 0,
            };
            let taken = at(ProfilingInfo::End).saturating_sub(at(ProfilingInfo::Start));
            times.push((name, Duration::from_nanos(taken)));
        }
        Ok(times)
    }
}

/// What is behind a lock; nothing here is left half-done by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
