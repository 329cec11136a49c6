//! What programs run on: this machine's processor, or an OpenCL device.
//!
//! ```
//! use rnnc::driver::machine::MachineName;
//! assert_eq!("opencl:1".parse(), Ok(MachineName::OpenCl(Some(1))));
//! assert!("cuda".parse::<MachineName>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::runtime::opencl::devices::Kind;
pub use crate::runtime::opencl::{Device, list};
use crate::runtime::opencl::{DeviceInfo, OpenClError, choose};

/// A machine as the command line names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MachineName {
    /// `cpu`: native code.
    #[default]
    Cpu,
    /// `opencl` or `opencl:N`.
    OpenCl(Option<usize>),
}

impl FromStr for MachineName {
    type Err = String;

    fn from_str(text: &str) -> Result<MachineName, String> {
        let wrong = || "a device is `cpu`, `opencl` or, by its number, `opencl:0`".to_string();
        match text.split_once(':') {
            None if text == "cpu" => Ok(MachineName::Cpu),
            None if text == "opencl" => Ok(MachineName::OpenCl(None)),
            Some(("opencl", number)) => {
                number.parse().map(|number| MachineName::OpenCl(Some(number))).map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MachineName::Cpu => write!(f, "cpu"),
            MachineName::OpenCl(None) => write!(f, "opencl"),
            MachineName::OpenCl(Some(number)) => write!(f, "opencl:{number}"),
        }
    }
}

impl MachineName {
    /// The machine, ready to run.
    ///
    /// # Errors
    /// There is no such device, or it cannot be opened.
    pub fn open(self) -> Result<Machine, OpenClError> {
        match self {
            MachineName::Cpu => Ok(Machine::Processor),
            MachineName::OpenCl(index) => Ok(Machine::Device(Device::open(index)?)),
        }
    }
}

/// What programs run on.
#[derive(Clone, Debug, Default)]
pub enum Machine {
    /// Native code.
    #[default]
    Processor,
    /// Kernels.
    Device(Arc<Device>),
}

/// All machines by their names, each with a line about it, and which device `opencl` takes and why.
pub fn table() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut rows =
        vec![("cpu".to_string(), format!("native code, {threads} threads (taken if nothing is said)"))];
    let devices = list();
    rows.extend(devices.iter().map(|device| (format!("opencl:{}", device.index), line(device))));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text: String = rows.iter().map(|(name, line)| format!("{name:width$}  {line}\n")).collect();
    if let Some(chosen) = choose(&devices) {
        let reason = match devices.len() {
            1 => "the only one",
            _ if chosen.kind == Kind::Gpu => "a graphics processor, the one with the most units",
            _ => "there is no graphics processor; the one with the most units",
        };
        text += &format!("`--device opencl` takes opencl:{}: {reason}\n", chosen.index);
    }
    text
}

fn line(device: &DeviceInfo) -> String {
    let kind = match device.kind {
        Kind::Cpu => "processor",
        Kind::Gpu => "graphics processor",
        Kind::Accelerator => "accelerator",
    };
    format!(
        "{} ({kind}, {} units, {:.1} GiB, at most {:.1} GiB in one piece{}), {}: {}",
        device.name,
        device.units,
        gibibytes(device.memory),
        gibibytes(device.largest),
        if device.doubles { "" } else { ", f32 only" },
        device.platform,
        device.version
    )
}

fn gibibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1u32 << 30)
}
