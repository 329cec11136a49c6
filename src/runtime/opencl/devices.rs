//! The devices of this machine, and one of them opened.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocl::core::{self, ContextProperties, DeviceInfo as Asked, DeviceInfoResult as Answer, DeviceType};
use ocl::core::{DeviceId, PlatformId, PlatformInfo};

use super::OpenClError;
use super::queue::Queue;

/// What kind of processor a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A processor that runs this program, too.
    Cpu,
    /// Something else.
    Accelerator,
    /// A graphics processor.
    Gpu,
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceInfo {
    /// Its number: `opencl:N`.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The platform that it belongs to.
    pub platform: String,
    /// The platform's and the driver's versions.
    pub version: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of the largest piece of it.
    pub largest: usize,
    /// Compute units.
    pub units: usize,
    /// Work-items of a work-group at most.
    pub group: usize,
    /// Numbers of 32 bits in its vectors.
    pub vector: usize,
    /// Bytes of memory that a work-group has for itself.
    pub local: usize,
    /// Whether it has 64-bit reals.
    pub doubles: bool,
}

/// A device that programs run on.
pub struct Device {
    /// What it is.
    pub info: DeviceInfo,
    pub(super) id: DeviceId,
    pub(super) context: core::Context,
    pub(super) queue: Queue,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "opencl:{} ({})", self.info.index, self.info.name)
    }
}

/// All devices, in the order of their numbers; none where there is no OpenCL.
pub fn list() -> Vec<DeviceInfo> {
    found().into_iter().map(|(_, _, info)| info).collect()
}

/// The device that is taken where none is named: a graphics processor before others, then the one with more
/// units.
pub fn choose(devices: &[DeviceInfo]) -> Option<&DeviceInfo> {
    devices.iter().max_by_key(|device| (device.kind, device.units, std::cmp::Reverse(device.index)))
}

impl Device {
    /// Opens a device by its number, or the one to be preferred.
    ///
    /// # Errors
    /// There is no OpenCL, no such device, or it cannot be opened.
    pub fn open(index: Option<usize>) -> Result<Arc<Device>, OpenClError> {
        let all = found();
        let infos: Vec<DeviceInfo> = all.iter().map(|(_, _, info)| info.clone()).collect();
        let Some(preferred) = choose(&infos).map(|info| info.index) else { return Err(OpenClError::Absent) };
        let index = index.unwrap_or(preferred);
        let count = all.len();
        let Some((platform, id, info)) = all.into_iter().nth(index) else {
            return Err(OpenClError::Index { index, count });
        };
        let name = info.name.clone();
        let failed = |error: core::Error| OpenClError::Lost {
            device: name.clone(),
            what: "opening it",
            message: brief(&error),
        };
        let properties = ContextProperties::new().platform(platform);
        let context = core::create_context(Some(&properties), &[id], None, None).map_err(failed)?;
        let queue = Queue::new(&context, id, &info.name)?;
        Ok(Arc::new(Device { info, id, context, queue }))
    }

    /// That the driver takes a source with these options; what it says if not.
    ///
    /// # Errors
    /// It does not.
    pub fn compiles(&self, source: &str, options: &str) -> Result<(), OpenClError> {
        super::cache::compile(self, "source", source, &format!("-cl-std=CL1.2 {options}")).map(drop)
    }

    /// Begins to note how long kernels take.
    pub fn keep_times(&self) {
        self.queue.keep_times();
    }

    /// Launches and their times since [`Device::keep_times`] or the last call, when everything is done.
    ///
    /// # Errors
    /// Something has failed.
    pub fn times(&self) -> Result<Vec<(String, Duration)>, OpenClError> {
        self.queue.times()
    }

    /// An error of this device.
    pub(super) fn lost(&self, what: &'static str, error: &core::Error) -> OpenClError {
        OpenClError::Lost { device: self.info.name.clone(), what, message: brief(error) }
    }
}

/// An error of the driver in one line.
pub(super) fn brief(error: &core::Error) -> String {
    match error.api_status() {
        Some(status) => format!("{status:?}"),
        None => error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn found() -> Vec<(PlatformId, DeviceId, DeviceInfo)> {
    // Drivers are brought up by the first who asks, and not all of them can be asked by two at once.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(all(unix, not(target_os = "macos")))]
    if !super::loader::present() || !super::loader::platforms() {
        return Vec::new();
    }
    let mut all = Vec::new();
    // A platform without a device answers with an error.
    for platform in core::get_platform_ids().unwrap_or_default() {
        for id in core::get_device_ids(platform, Some(DeviceType::ALL), None).unwrap_or_default() {
            if let Some(info) = describe(all.len(), platform, id) {
                all.push((platform, id, info));
            }
        }
    }
    all
}

fn describe(index: usize, platform: PlatformId, id: DeviceId) -> Option<DeviceInfo> {
    let text =
        |asked: Asked| core::get_device_info(id, asked).map(|answer| answer.to_string()).unwrap_or_default();
    let of_platform = |asked: PlatformInfo| {
        core::get_platform_info(platform, asked).map(|answer| answer.to_string()).unwrap_or_default()
    };
    let number = |asked: Asked| match core::get_device_info(id, asked).ok()? {
        Answer::GlobalMemSize(bytes) | Answer::MaxMemAllocSize(bytes) | Answer::LocalMemSize(bytes) => {
            usize::try_from(bytes).ok()
        }
        Answer::MaxComputeUnits(count) | Answer::NativeVectorWidthFloat(count) => Some(count as usize),
        Answer::MaxWorkGroupSize(count) => Some(count),
        _ => None,
    };
    let kind = match core::get_device_info(id, Asked::Type).ok()? {
        Answer::Type(kind) if kind.contains(DeviceType::GPU) => Kind::Gpu,
        Answer::Type(kind) if kind.contains(DeviceType::CPU) => Kind::Cpu,
        _ => Kind::Accelerator,
    };
    Some(DeviceInfo {
        index,
        name: text(Asked::Name).trim().to_string(),
        platform: of_platform(PlatformInfo::Name).trim().to_string(),
        version: format!(
            "{}, {}",
            of_platform(PlatformInfo::Version).trim(),
            text(Asked::DriverVersion).trim()
        ),
        kind,
        memory: number(Asked::GlobalMemSize)?,
        largest: number(Asked::MaxMemAllocSize)?,
        units: number(Asked::MaxComputeUnits)?,
        group: number(Asked::MaxWorkGroupSize)?,
        vector: number(Asked::NativeVectorWidthFloat).unwrap_or(1),
        // The least that a device may have.
        local: number(Asked::LocalMemSize).unwrap_or(1 << 15),
        doubles: text(Asked::Extensions).contains("cl_khr_fp64"),
    })
}
