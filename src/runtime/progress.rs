//! The progress of training: a bar on a terminal, plain lines elsewhere.
//!
//! ```
//! use rnnc::runtime::progress::{Status, status};
//! let now = Status { epoch: 2, epochs: 5, done: 300, total: 1000, loss: Some(1.5), speed: Some(100.0), unit: "chars" };
//! assert_eq!(status(&now), "epoch 2/5  30%  loss 1.5000  100 chars/s  0:07 left");
//! ```
//!
//! The texts are pure functions; [`Progress`] adds the clock and is the only thing in the runtime that
//! prints. That printing fails (a closed pipe) does not end a training.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Seconds between plain lines within an epoch.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A moment of training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status<'a> {
    /// The present epoch, from 1.
    pub epoch: u64,
    /// How many there will be.
    pub epochs: u64,
    /// Units that the whole training has had.
    pub done: u64,
    /// Units that it will have had.
    pub total: u64,
    /// Mean loss of the epoch so far.
    pub loss: Option<f64>,
    /// Units a second.
    pub speed: Option<f64>,
    /// What the units are: `chars`, `examples`.
    pub unit: &'a str,
}

/// A moment of training in one line.
pub fn status(now: &Status) -> String {
    let percent = (100 * u128::from(now.done)).checked_div(u128::from(now.total)).unwrap_or(100);
    let mut text = format!("epoch {}/{}  {percent}%", now.epoch, now.epochs);
    if let Some(loss) = now.loss {
        text += &format!("  loss {loss:.4}");
    }
    if let Some(speed) = now.speed.filter(|speed| speed.is_finite() && *speed > 0.0) {
        let left = now.total.saturating_sub(now.done) as f64 / speed;
        text += &format!("  {} {}/s  {} left", thousands(speed), now.unit, clock(left));
    }
    text
}

/// What an epoch came to, in one line.
pub fn epoch_line(now: &Status, held_out: Option<f64>) -> String {
    let mut text = format!("epoch {}/{}:", now.epoch, now.epochs);
    if let Some(loss) = now.loss {
        text += &format!(" loss {loss:.4}");
    }
    if let Some(held_out) = held_out {
        text += &format!(", held-out {held_out:.4}");
    }
    if let Some(speed) = now.speed.filter(|speed| speed.is_finite()) {
        text += &format!(", {} {}/s", thousands(speed), now.unit);
    }
    text
}

/// `12,345` from 100 up, and two significant decimals below.
fn thousands(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0:07`, `12:34`, `1:02:03`.
fn clock(seconds: f64) -> String {
    // A century is as good as for ever, and keeps the arithmetic whole.
    let seconds = seconds.clamp(0.0, 3.2e9) as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// A bar on standard error, which is a terminal; lines for epochs.
    Bar,
    /// Lines only.
    Lines,
    /// Nothing.
    Quiet,
}

/// Shows a training as it goes.
pub struct Progress {
    display: Display,
    bar: ProgressBar,
    out: Box<dyn Write + Send>,
    unit: String,
    epoch: u64,
    epochs: u64,
    /// Units of finished epochs, of the present one so far, and in one epoch.
    before: u64,
    within: u64,
    each: u64,
    loss: Option<f64>,
    /// Time spent in epochs by this process, and units done in it: a resumed run is no faster for
    /// what was done before.
    spent: Duration,
    units: u64,
    epoch_began: Instant,
    last_line: Instant,
}

impl Progress {
    /// Progress of `epochs` epochs of `each` units. Lines go to `out` (standard output), a bar goes to
    /// standard error.
    pub fn new(display: Display, out: Box<dyn Write + Send>, unit: &str, epochs: u64, each: u64) -> Progress {
        let now = Instant::now();
        let bar = match display {
            Display::Bar => ProgressBar::new(epochs.saturating_mul(each)).with_style(style()),
            Display::Lines | Display::Quiet => ProgressBar::hidden(),
        };
        Progress {
            display,
            bar,
            out,
            unit: unit.to_string(),
            epoch: 1,
            epochs,
            before: 0,
            within: 0,
            each,
            loss: None,
            spent: Duration::ZERO,
            units: 0,
            epoch_began: now,
            last_line: now,
        }
    }

    /// An epoch (from 1) begins, or goes on after `within` of its units.
    pub fn begin_epoch(&mut self, epoch: u64, within: u64) {
        self.epoch = epoch;
        self.before = epoch.saturating_sub(1).saturating_mul(self.each);
        self.within = within;
        self.loss = None;
        self.epoch_began = Instant::now();
        self.show();
    }

    /// A step has done `units` more; `loss` is the mean of the epoch so far.
    pub fn step(&mut self, units: u64, loss: f64) {
        self.within += units;
        self.units += units;
        self.loss = Some(loss);
        self.show();
    }

    /// The epoch's training is over, and what was held out has been looked at.
    ///
    /// Call [`Progress::pause`] before the evaluation to keep it out of the speed.
    pub fn end_epoch(&mut self, training: f64, held_out: Option<f64>) {
        self.pause();
        self.loss = Some(training);
        let line = epoch_line(&self.status(Instant::now()), held_out);
        self.note(&line);
    }

    /// Stops the clock until the next epoch.
    pub fn pause(&mut self) {
        let now = Instant::now();
        self.spent += now.saturating_duration_since(self.epoch_began);
        // Nothing more is counted until `begin_epoch` sets this anew; a second pause adds nothing.
        self.epoch_began = now + Duration::from_secs(365 * 24 * 3600);
    }

    /// Prints a line, above the bar where there is one.
    pub fn note(&mut self, line: &str) {
        if self.display != Display::Quiet {
            let out = &mut self.out;
            self.bar.suspend(|| {
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
            });
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
    }

    fn status(&self, now: Instant) -> Status<'_> {
        let spent = (self.spent + now.saturating_duration_since(self.epoch_began)).as_secs_f64();
        Status {
            epoch: self.epoch,
            epochs: self.epochs,
            done: self.before.saturating_add(self.within),
            total: self.epochs.saturating_mul(self.each),
            loss: self.loss,
            // The first moments say nothing about the speed.
            speed: Some(self.units as f64 / spent).filter(|_| spent > 0.0 && self.units > 0),
            unit: &self.unit,
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        match self.display {
            Display::Quiet => {}
            Display::Bar => {
                let moment = self.status(now);
                let (done, text) = (moment.done, status(&moment));
                self.bar.set_position(done);
                self.bar.set_message(text);
            }
            Display::Lines if now.duration_since(self.last_line) >= LINE_EVERY => {
                self.last_line = now;
                let line = status(&self.status(now));
                self.note(&line);
            }
            Display::Lines => {}
        }
    }
}

fn style() -> ProgressStyle {
    // A template is a constant; were it wrong, a plain bar is still a bar.
    let style = ProgressStyle::with_template("{bar:24} {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const NOW: Status =
        Status { epoch: 1, epochs: 3, done: 0, total: 90_000, loss: None, speed: None, unit: "chars" };

    #[test]
    fn status_lines() {
        assert_eq!(status(&NOW), "epoch 1/3  0%");
        let later = Status { done: 45_000, loss: Some(2.34567), speed: Some(12_345.6), ..NOW };
        assert_eq!(status(&later), "epoch 1/3  50%  loss 2.3457  12,346 chars/s  0:03 left");
        assert_eq!(status(&Status { speed: Some(0.0), ..NOW }), "epoch 1/3  0%");
        assert_eq!(status(&Status { total: 0, ..NOW }), "epoch 1/3  100%");
        let end = Status { done: 90_000, total: 90_000, loss: Some(f64::NAN), ..NOW };
        assert_eq!(status(&end), "epoch 1/3  100%  loss NaN");
    }

    #[test]
    fn epoch_lines() {
        let now = Status { loss: Some(1.5), speed: Some(9.5), ..NOW };
        assert_eq!(epoch_line(&now, Some(1.75)), "epoch 1/3: loss 1.5000, held-out 1.7500, 9.50 chars/s");
        assert_eq!(epoch_line(&Status { speed: None, ..now }, None), "epoch 1/3: loss 1.5000");
    }

    #[test]
    fn numbers_and_times() {
        let text: Vec<String> = [3.0, 99.5, 100.0, 1234.5, 1e9].into_iter().map(thousands).collect();
        assert_eq!(text, ["3.00", "99.50", "100", "1,234", "1,000,000,000"]);
        let text: Vec<String> = [0.0, 7.9, 754.0, 3723.0, -1.0].into_iter().map(clock).collect();
        assert_eq!(text, ["0:00", "0:07", "12:34", "1:02:03", "0:00"]);
        assert!(clock(f64::INFINITY).starts_with("888888:"));
    }

    #[test]
    fn lines_where_there_is_no_terminal() {
        let out = Shared::default();
        let mut progress = Progress::new(Display::Lines, Box::new(out.clone()), "chars", 2, 100);
        for epoch in 1..=2 {
            progress.begin_epoch(epoch, 0);
            progress.step(50, 2.0);
            progress.step(50, 1.5);
            progress.end_epoch(1.5, Some(1.6));
        }
        progress.note("saved");
        progress.finish();
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("epoch 1/2: loss 1.5000, held-out 1.6000, "), "{text}");
        assert!(lines[1].starts_with("epoch 2/2: ") && lines[1].ends_with("chars/s"), "{text}");
        assert_eq!(lines[2], "saved");
    }

    #[test]
    fn a_line_within_a_long_epoch() {
        let out = Shared::default();
        let mut progress = Progress::new(Display::Lines, Box::new(out.clone()), "chars", 2, 100);
        progress.begin_epoch(2, 20);
        progress.last_line -= LINE_EVERY;
        progress.step(30, 2.0);
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("epoch 2/2  75%  loss 2.0000  "), "{text}");
    }

    #[test]
    fn quiet_and_closed_pipes() {
        let out = Shared::default();
        let mut progress = Progress::new(Display::Quiet, Box::new(out.clone()), "chars", 1, 1);
        progress.begin_epoch(1, 0);
        progress.step(1, 1.0);
        progress.end_epoch(1.0, None);
        assert!(out.0.lock().unwrap().is_empty());
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        Progress::new(Display::Lines, Box::new(Closed), "chars", 1, 1).end_epoch(1.0, None);
    }
}
