//! `:check`: the gradient against finite differences, against forward mode, and on every OpenCL device.

use super::{Done, Failure, Session, of_session};
use crate::driver::gradcheck::{GradcheckError, TOLERANCE, forward_mode, gradcheck, on_device};
use crate::driver::machine::{Device, list};

impl Session {
    /// `:check [M]`
    pub(super) fn check(&mut self, rest: &str) -> Done {
        let model = self.choose(rest)?;
        let stop = Some(self.stop());
        let wrong = |error| match error {
            GradcheckError::Session(error) => of_session(error),
            other => Failure::Message(other.to_string()),
        };
        let report = gradcheck(&model, self.seed, stop).map_err(wrong)?;
        let dims: Vec<String> = report.dims.iter().map(|(name, size)| format!("{name} = {size}")).collect();
        let mut text = format!("{}({}), native code in f64\n", report.model, dims.join(", "));
        let width = report.parameters.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        for (name, count, compared, error) in &report.parameters {
            let verdict = if *error <= TOLERANCE { "agrees" } else { "does not agree" };
            text += &format!(
                "  {name:width$}  {compared} of {count} elements against finite differences: {verdict} ({})\n",
                below(*error)
            );
        }
        let forward = forward_mode(&model, self.seed, stop).map_err(wrong)?;
        let verdict = if forward <= TOLERANCE { "agrees" } else { "does not agree" };
        text += &format!("  along a random direction against forward mode: {verdict} ({})\n", below(forward));
        let mut alike = true;
        for info in list() {
            let device = Device::open(Some(info.index)).map_err(|error| Failure::new(error.to_string()))?;
            let (worst, tolerance) = on_device(&model, self.seed, &device).map_err(wrong)?;
            let own = worst <= tolerance;
            alike &= own;
            let verdict = if own { "agrees" } else { "does not agree" };
            let figure = if own { format!("below {tolerance:.0e}") } else { format!("{worst:.1e}") };
            text += &format!("  on opencl:{} ({}): {verdict} ({figure})\n", info.index, info.name);
        }
        match report.agrees() && forward <= TOLERANCE && alike {
            true => Ok(text),
            false => Err(Failure::new(format!("the gradient is not what it should be\n{text}"))),
        }
    }
}

/// An error beside what counts as agreement: the digits below that are noise.
fn below(error: f64) -> String {
    match error <= TOLERANCE {
        true => format!("below {TOLERANCE:.0e}"),
        false => format!("{error:.1e}"),
    }
}
