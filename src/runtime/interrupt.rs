//! Ctrl-C: the first press asks training to finish its step and save, the second leaves at once.
//!
//! ```
//! use rnnc::runtime::interrupt::Interrupt;
//! let interrupt = Interrupt::default();
//! assert!(!interrupt.requested());
//! interrupt.press();
//! assert!(interrupt.requested()); // the training loop asks this after every step
//! ```
//!
//! It neither prints nor saves: that is for the loop that asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use thiserror::Error;

/// What a shell shows for a program that an interrupt ended: 128 + SIGINT.
pub const EXIT_CODE: i32 = 130;

/// Why Ctrl-C cannot be caught.
#[derive(Debug, Error)]
#[error("cannot catch Ctrl-C: {0}")]
pub struct InterruptError(#[from] ctrlc::Error);

/// Counts presses of Ctrl-C; clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    presses: Arc<AtomicU32>,
}

impl Interrupt {
    /// Catches Ctrl-C from now on; the second press ends the process with [`EXIT_CODE`]. A process
    /// can do this once.
    ///
    /// # Errors
    /// It was done before, or the system refuses.
    pub fn install() -> Result<Interrupt, InterruptError> {
        let interrupt = Interrupt::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || {
            if handler.press() > 1 {
                std::process::exit(EXIT_CODE);
            }
        })?;
        Ok(interrupt)
    }

    /// Catches Ctrl-C from now on; no press ends the process: an interactive session ends what it is doing.
    ///
    /// # Errors
    /// As [`Interrupt::install`].
    pub fn install_forever() -> Result<Interrupt, InterruptError> {
        let interrupt = Interrupt::default();
        let handler = interrupt.clone();
        ctrlc::set_handler(move || {
            handler.press();
        })?;
        Ok(interrupt)
    }

    /// Whether there was a press.
    pub fn requested(&self) -> bool {
        self.presses.load(Ordering::Relaxed) > 0
    }

    /// The count of presses, for what asks very often.
    pub fn presses(&self) -> &AtomicU32 {
        &self.presses
    }

    /// One more press; how many there were with it.
    pub fn press(&self) -> u32 {
        self.presses.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Forgets the presses: an interactive session goes on after an interrupted training.
    pub fn reset(&self) {
        self.presses.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presses_are_shared_and_counted() {
        let interrupt = Interrupt::default();
        let clone = interrupt.clone();
        assert_eq!((clone.press(), clone.press()), (1, 2));
        assert!(interrupt.requested());
        interrupt.reset();
        assert!(!clone.requested());
    }

    #[cfg(unix)]
    #[test]
    fn a_signal_is_a_press() {
        let interrupt = Interrupt::install().unwrap();
        assert!(Interrupt::install().is_err());
        let id = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        for _ in 0..500 {
            if interrupt.requested() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the signal did not arrive");
    }
}
