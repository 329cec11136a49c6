//! Commands to a device, done one after the other: copies and launches.
//!
//! What is written is handed over and kept until the device has it, so that copies need not be waited for. A second
//! queue copies what is for later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ocl::core::{self, CommandQueue, CommandQueueProperties, Context, DeviceId, Event, Kernel, Mem};
use ocl::core::{MemFlags, ProfilingInfo, ProfilingInfoResult, Status};

use super::OpenClError;
use super::devices::brief;

/// The last kernel of any queue whose work-groups wait for each other: two of them at once might each keep the other
/// one's work-groups from starting. Those of one queue follow each other anyway.
static ALONE: Mutex<Option<(usize, Event)>> = Mutex::new(None);
/// Numbers of queues.
static QUEUES: AtomicUsize = AtomicUsize::new(0);

/// The queue of a device.
pub struct Queue {
    queue: CommandQueue,
    /// For copies beside it.
    transfers: CommandQueue,
    number: usize,
    device: String,
    /// Bytes that the device may not have read yet.
    pending: Mutex<Vec<Vec<u8>>>,
    /// Launches whose times have not been asked for; none are kept while nobody wants them.
    events: Mutex<Option<Vec<(String, Event)>>>,
}

impl Queue {
    /// A queue that keeps the order of its commands.
    pub(super) fn new(context: &Context, device: DeviceId, name: &str) -> Result<Queue, OpenClError> {
        let made = || {
            let properties = Some(CommandQueueProperties::PROFILING_ENABLE);
            core::create_command_queue(context, device, properties).map_err(|error| OpenClError::Lost {
                device: name.to_string(),
                what: "opening it",
                message: brief(&error),
            })
        };
        let queue = made()?;
        let transfers = made()?;
        let number = QUEUES.fetch_add(1, Ordering::Relaxed);
        let (device, pending, events) = (name.to_string(), Mutex::default(), Mutex::default());
        Ok(Queue { queue, transfers, number, device, pending, events })
    }

    fn check<T>(&self, what: &'static str, result: core::Result<T>) -> Result<T, OpenClError> {
        result.map_err(|error| OpenClError::Lost {
            device: self.device.clone(),
            what,
            message: brief(&error),
        })
    }

    /// Memory on the device; nothing if there is not so much.
    ///
    /// # Errors
    /// The device is gone, or something before has failed.
    pub(super) fn allocate(&self, context: &Context, bytes: usize) -> Result<Option<Mem>, OpenClError> {
        // What has failed before is not for want of memory here.
        self.finish()?;
        let bytes = bytes.max(1);
        let flags = MemFlags::new().read_write();
        // SAFETY: no host memory is handed over.
        let made = unsafe { core::create_buffer::<_, u8>(context, flags, bytes, None) };
        // Some drivers look for the memory when it is first used.
        let used = made.and_then(|memory| {
            // SAFETY: the call returns when the byte has been copied.
            let written = unsafe {
                core::enqueue_write_buffer(
                    &self.queue,
                    &memory,
                    true,
                    bytes - 1,
                    &[0u8],
                    None::<&Event>,
                    None::<&mut Event>,
                )
            };
            written.map(|()| memory)
        });
        match used {
            Err(error) if is_full(&error) => Ok(None),
            other => self.check("taking memory", other).map(Some),
        }
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
        let mut timed = self.timed();
        // SAFETY: the bytes stay where they are, and unchanged, until all commands are done.
        let written = unsafe {
            core::enqueue_write_buffer(&self.queue, to, false, offset, &bytes, None::<&Event>, timed.as_mut())
        };
        pending.push(bytes);
        self.check("copying to it", written)?;
        self.note("copies to the device", timed);
        Ok(())
    }

    /// Begins a copy to the device beside everything else; the bytes must stay until it is done.
    ///
    /// # Errors
    /// The device is gone, or the copy does not fit.
    pub(super) fn write_ahead(&self, to: &Mem, offset: usize, bytes: &[u8]) -> Result<Event, OpenClError> {
        let mut copied = Event::null();
        // SAFETY: whoever asks keeps the bytes until the event has come.
        let begun = unsafe {
            core::enqueue_write_buffer(
                &self.transfers,
                to,
                false,
                offset,
                bytes,
                None::<&Event>,
                Some(&mut copied),
            )
        };
        self.check("copying to it", begun)?;
        self.note("copies ahead", self.timed().map(|_| copied.clone()));
        Ok(copied)
    }

    /// Hands over what [`Queue::write_ahead`] has begun.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) fn flush_ahead(&self) -> Result<(), OpenClError> {
        self.check("copying to it", core::flush(&self.transfers))
    }

    /// Copies on the device what a copy to it has brought there, all of whose bytes are handed over.
    ///
    /// # Errors
    /// The device is gone.
    pub(super) fn copy(
        &self,
        from: &Mem,
        to: &Mem,
        from_offset: usize,
        to_offset: usize,
        bytes: Vec<u8>,
        after: &Event,
    ) -> Result<(), OpenClError> {
        let copied = core::enqueue_copy_buffer::<u8, _, _, _>(
            &self.queue,
            from,
            to,
            from_offset,
            to_offset,
            bytes.len(),
            Some(after),
            None::<&mut Event>,
        );
        locked(&self.pending).push(bytes);
        self.check("copying on it", copied)
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
        let mut timed = self.timed();
        // SAFETY: the call returns when the bytes are there.
        let read = unsafe {
            core::enqueue_read_buffer(&self.queue, from, true, offset, bytes, None::<&Event>, timed.as_mut())
        };
        self.check("copying from it", read)?;
        self.note("copies from the device", timed);
        pending.clear();
        Ok(())
    }

    /// Runs a kernel, all of whose arguments are set, on so many work-items, `team` of them in a work-group along
    /// the first dimension. Where `waits`, work-groups wait for each other.
    ///
    /// # Errors
    /// The device is gone, or has no resources for it.
    pub(super) fn launch(
        &self,
        name: &str,
        kernel: &Kernel,
        size: [usize; 3],
        team: usize,
        waits: bool,
    ) -> Result<(), OpenClError> {
        let mut timed = locked(&self.events);
        let mut event = Event::null();
        let mut alone = waits.then(|| locked(&ALONE));
        if let Some((_, before)) =
            alone.as_deref_mut().and_then(|last| last.take_if(|(own, _)| *own != self.number))
        {
            self.check("waiting for it", core::wait_for_event(&before))?;
        }
        let local = [team, 1, 1];
        // SAFETY: the kernel is of a source made for the plan by which its buffers were laid out, so that it
        // touches nothing outside them.
        let launched = unsafe {
            core::enqueue_kernel(
                &self.queue,
                kernel,
                3,
                None,
                &size,
                Some(local),
                None::<&Event>,
                (timed.is_some() || waits).then_some(&mut event),
            )
        };
        self.check("running a kernel", launched)?;
        if let Some(last) = alone.as_deref_mut() {
            *last = Some((self.number, event.clone()));
        }
        if let Some(events) = timed.as_mut() {
            events.push((name.to_string(), event));
        }
        Ok(())
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

    /// An event for a command, if times are kept.
    fn timed(&self) -> Option<Event> {
        locked(&self.events).as_ref().map(|_| Event::null())
    }

    /// Keeps the event of a command.
    fn note(&self, name: &str, event: Option<Event>) {
        if let (Some(events), Some(event)) = (locked(&self.events).as_mut(), event) {
            events.push((name.to_string(), event));
        }
    }

    /// Begins to note how long kernels and copies take.
    pub fn keep_times(&self) {
        *locked(&self.events) = Some(Vec::new());
    }

    /// Time by kernel, and of copies, since [`Queue::keep_times`] or the last call, when everything is done.
    ///
    /// # Errors
    /// Something has failed.
    pub fn times(&self) -> Result<Vec<(String, Duration)>, OpenClError> {
        self.finish()?;
        self.check("waiting for it", core::finish(&self.transfers))?;
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

/// Whether an error says that there is no memory.
fn is_full(error: &core::Error) -> bool {
    let full = [
        Status::CL_MEM_OBJECT_ALLOCATION_FAILURE,
        Status::CL_OUT_OF_RESOURCES,
        Status::CL_OUT_OF_HOST_MEMORY,
    ];
    error.api_status().is_some_and(|status| full.contains(&status))
}

/// What is behind a lock; nothing here is left half-done by a panic.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
