//! How a command fails: what it says and the exit status it leaves.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use super::output::colour;
use crate::driver::answer::AnswerError;
use crate::driver::bench::{BenchError, ChoiceError};
use crate::driver::emit::EmitError;
use crate::driver::evaluate::EvaluateError;
use crate::driver::generate::GenerateError;
use crate::driver::gradcheck::GradcheckError;
use crate::driver::predict::PredictError;
use crate::driver::run::RunError;
use crate::driver::session::{Report, SessionError};
use crate::driver::train::TrainError;
use crate::runtime::opencl::OpenClError;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The command makes no sense: exit status 2.
    Usage(String),
    /// The program is wrong: shown at its places.
    Mistakes(Box<Report>),
    /// Something given is wrong.
    Message(String),
    /// What is wrong has been said.
    Silent,
    /// Nobody reads on: no failure at all.
    Closed,
}

impl Failure {
    /// Any error in its own words.
    pub fn of(error: impl Display) -> Failure {
        Failure::Message(error.to_string())
    }

    /// Says it on standard error.
    pub fn report(self) -> ExitCode {
        let mut err = std::io::stderr().lock();
        let paint = colour(&std::io::stderr());
        let (before, after) = if paint { ("\u{1b}[1;31merror\u{1b}[0m", "") } else { ("error", "") };
        // That standard error is closed cannot be told to anyone.
        let _ = match &self {
            Failure::Usage(message) => {
                writeln!(err, "{before}: {message}{after}\n\nFor more information, try '--help'.")
            }
            Failure::Message(message) => writeln!(err, "{before}: {message}{after}"),
            Failure::Mistakes(report) => write!(err, "{}", report.render(paint)),
            Failure::Silent | Failure::Closed => Ok(()),
        };
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Closed => ExitCode::SUCCESS,
            Failure::Mistakes(_) | Failure::Message(_) | Failure::Silent => ExitCode::FAILURE,
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Failure {
        match error {
            SessionError::Mistakes(report) => Failure::Mistakes(report),
            other => Failure::of(other),
        }
    }
}

/// The mistakes of a program keep their form wherever they come up.
macro_rules! with_session {
    ($($error:ident),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                match error {
                    $error::Session(error) => error.into(),
                    other => Failure::of(other),
                }
            }
        }
    )*};
}
with_session!(BenchError, EmitError, EvaluateError, GradcheckError, RunError);

impl From<ChoiceError> for Failure {
    fn from(error: ChoiceError) -> Failure {
        Failure::Usage(error.to_string())
    }
}

impl From<OpenClError> for Failure {
    fn from(error: OpenClError) -> Failure {
        Failure::of(error)
    }
}

impl From<PredictError> for Failure {
    fn from(error: PredictError) -> Failure {
        match error {
            PredictError::Session(error) => error.into(),
            PredictError::Search(error) => Failure::Usage(error.to_string()),
            other => Failure::of(other),
        }
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Failure {
        match error {
            GenerateError::Answer(error) => error.into(),
            other => Failure::of(other),
        }
    }
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Failure {
        match error {
            AnswerError::Session(error) => error.into(),
            AnswerError::Predict(error) => error.into(),
            other => Failure::of(other),
        }
    }
}

impl From<TrainError> for Failure {
    fn from(error: TrainError) -> Failure {
        match error {
            TrainError::Session(error) => error.into(),
            TrainError::Evaluate(error) => error.into(),
            TrainError::Incomplete(message) => Failure::Usage(message.to_string()),
            other => Failure::of(other),
        }
    }
}
