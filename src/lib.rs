//! `rnnc`: a compiler for recurrent networks that are written as equations.
//!
//! ```
//! use rnnc::check::{Mode, Request};
//!
//! let source = "model M(D = 2, H = 3) {
//!   input x: [D] over t
//!   input y: [H] over t
//!   y[t] ~ normal(RNN(D, H)(x))
//! }";
//! let request = Request { model: None, set: &[], mode: Mode::Train, everything: false };
//! let program = rnnc::driver::front(source, &request).map_err(|mistakes| format!("{mistakes:?}"))?;
//! let wrt: Vec<String> = program.graph.params.iter().map(|param| param.name.clone()).collect();
//! let gradient = rnnc::grad::grad(&program.graph, &wrt).map_err(|error| error.to_string())?;
//! assert!(gradient.outputs.len() > program.graph.outputs.len());
//! # Ok::<(), String>(())
//! ```
//!
//! # What the graph means
//!
//! One idea carries the compiler: a program is a system of equations over *axes*, and every stage
//! transforms that system or walks over it. A node of the [`ir::Graph`] is one equation for one example:
//! an operation with a static shape, and the set of axes (time, or another sequence) along which it has a
//! value at every position. An edge says where its operand is read: at the same position, `k` earlier or
//! later, at the first or the last. A delayed edge is what makes a cycle legal; a cycle is a loop.
//!
//! A tree is one more axis: its positions are nodes, a value is read at a child or at the parent instead of
//! earlier or later, and a loop runs along its levels. The children of each node are an axis of their own,
//! so that a sum over them is a sum like any other.
//!
//! The notation is closed under differentiation. The adjoint of a value read at `t-1` is read at `t+1`, that
//! of one read at the left child is read at the parent, that of a value repeated along an axis is a sum along
//! it, and so on. A gradient is therefore a graph
//! like any other: it prints as equations, is interpreted, optimised, compiled, and differentiated again.
//!
//! # The way of a program
//!
//! ```text
//! text ─ syntax ─▶ tree ─ check ─▶ Graph ─ grad ─▶ Graph ─ opt ─▶ Graph ─ plan ─▶ Plan ─ backend ─▶ code
//!                                    │                                                              │
//!                                    └─ eval: what it means, slowly, in f64       runtime: rows, parameters,
//!                                                                                 steps of training, files
//! ```
//!
//! A [`plan::Plan`] is over *rows*. The positions of an axis over a whole batch are packed in step order
//! (all first steps, then all second steps of the examples that have one; of trees all leaves, then level by
//! level), so that a step is a range of rows and ragged lengths need no mask.
//!
//! # The folders, lowest first
//!
//! | folder | holds | may call |
//! | --- | --- | --- |
//! | [`base`] | spans, diagnostics, random numbers, shapes of trees | nothing |
//! | [`library`] (`src/std`) | cells written in the language | nothing |
//! | [`syntax`] | text to tree, tree to text | base |
//! | [`ir`] | the graph, its verifier and printer | base |
//! | [`check`] | tree to graph: names, dimensions, axes, causality | base, syntax, ir |
//! | [`eval`] | the interpreter, the oracle of all the rest | ir |
//! | [`grad`] | graph to graph: derivatives | base, ir |
//! | [`opt`] | graph to graph: one pass a file | ir |
//! | [`plan`] | graph to loops, kernels, buffers | ir, opt |
//! | [`backend`] | plan to code | base, plan |
//! | [`runtime`] | batches, parameters, optimisers, data, files | base, plan, backend |
//! | [`driver`] | the stages as functions over data | all above |
//! | [`repl`] | a session: a line to text | driver, and the stages whose results it shows |
//! | [`cli`] | arguments and words | driver, repl, and the types that they hand out |
//!
//! `testing` makes random programs and is called by tests only. `tests/tidy.rs` keeps this table true.
//!
//! # What always holds
//!
//! - Every graph that leaves a stage passes [`ir::verify`]; debug builds run it after every pass. A plan
//!   passes [`plan::verify`] before code is made of it. Backends see nothing else.
//! - Whatever a file holds, the compiler answers with diagnostics: it does not panic, overflow its stack
//!   or run away. Errors are values, each raised by the stage that knows the reason.
//! - The same program, data and seed give the same bits, on any number of threads and after a resume:
//!   random numbers are functions of a counter, and the order of every sum is fixed by the data.
//! - Generated code calls nothing but itself, allocates nothing and keeps no state; its caller owns the memory.
//! - `unsafe` is where generated code is entered and where OpenCL is called, and nowhere else.
//!
//! # What is deliberately absent
//!
//! - No tape and no operator overloading: gradients are made from the graph, before optimisation.
//! - No masks and no padding in the arithmetic, and no batch in the language.
//! - No pass knows a cell by name. The LSTM is fast by rules that any cell of the same form profits from.
//! - No global state, and no printing below the command line.

pub mod backend;
pub mod base;
pub mod check;
pub mod cli;
pub mod driver;
pub mod eval;
pub mod grad;
pub mod ir;
#[path = "std/mod.rs"]
pub mod library;
pub mod opt;
pub mod plan;
pub mod repl;
pub mod runtime;
pub mod syntax;
#[doc(hidden)]
pub mod testing;
