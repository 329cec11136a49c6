//! The stages as functions over data: what the command line, the REPL and the tests all call.
//!
//! - `front`, `session`: text to checked graph; `compile`: graph to code; `aot`: graph to files for C;
//!   `timings`: how long the stages took
//! - `batch`, `carried`, `figures`: a program run on a batch, on chunk after chunk, and what it measured; `parts`,
//!   `in_order`: its groups, and results taken in their order
//! - `machine`: what programs run on
//! - `corpus`, `data`, `table`, `arrays`, `treebank`, `material`: what is trained on; `tasks`: data of known answers
//! - `train` with `prepare`, `vectors`, `trainer` and `gradient`; `evaluate`, `generate`, `run`, `gradcheck`
//! - `predict`: what a trained model says of examples; `answer`: of those in a file
//! - `example`: one example to look at; `flow`: how gradients travel; `cost`: what equations cost;
//!   `practice`: a few steps of training on it; `pictures`: SVG
//! - `bench`: how fast programs of known work run
//! - `summary`, `emit`: a model in words

pub mod answer;
pub mod aot;
pub mod arrays;
pub mod batch;
pub mod bench;
pub mod carried;
mod compile;
pub mod corpus;
pub mod cost;
pub mod data;
pub mod emit;
pub mod evaluate;
pub mod example;
pub mod figures;
pub mod flow;
mod front;
pub mod generate;
pub mod gradcheck;
mod gradient;
mod in_order;
pub mod machine;
mod material;
mod parts;
pub mod pictures;
pub mod practice;
pub mod predict;
mod prepare;
pub mod run;
pub mod session;
pub mod summary;
pub mod table;
pub mod tasks;
pub mod timings;
pub mod train;
mod trainer;
pub mod treebank;
pub mod vectors;

pub use compile::{CompileError, Pipeline, optimise, optimised, planned, program};
pub use front::{front, library};
pub use trainer::StepError;
